//! Tokio: a reading and a writing task per connection, and spawn_blocking for each line, on as
//! many blocking threads as there are workers.

mod job;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::task::{self, JoinHandle};

const BACKLOG: u32 = 4096;
const MAX_LINE: usize = 64 * 1024;
/// Requests of one connection at work, beyond which it is not read from.
const MAX_PENDING: usize = 128;

type Reply = JoinHandle<Vec<u8>>;

async fn read_requests(input: OwnedReadHalf, replies: mpsc::Sender<Reply>) -> io::Result<()> {
    let mut input = BufReader::new(input);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut input).take(MAX_LINE as u64 + 1);
        bounded.read_until(b'\n', &mut line).await?;
        // The end of input, or a line that is too long.
        if line.pop() != Some(b'\n') {
            return Ok(());
        }
        // The writer first makes room, so that no more than that many are at work.
        match replies.reserve().await {
            Ok(place) => place.send(task::spawn_blocking(move || job::run(&line))),
            Err(_) => return Ok(()),
        }
    }
}

/// Writes in the order of the requests, and flushes before it waits for anything.
async fn write_replies(
    output: OwnedWriteHalf,
    mut replies: mpsc::Receiver<Reply>,
) -> io::Result<()> {
    let mut output = BufWriter::new(output);
    loop {
        let reply = match replies.try_recv() {
            Ok(reply) => reply,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                output.flush().await?;
                match replies.recv().await {
                    Some(reply) => reply,
                    None => break,
                }
            }
        };
        if !reply.is_finished() {
            output.flush().await?;
        }
        output.write_all(&reply.await?).await?;
    }
    output.flush().await
}

fn serve(stream: TcpStream) {
    // Without it the peer still works.
    let _ = stream.set_nodelay(true);
    let (input, output) = stream.into_split();
    let (sender, receiver) = mpsc::channel(MAX_PENDING);
    let reader = task::spawn(read_requests(input, sender));
    task::spawn(async move {
        // A client that is gone is nobody's error; what it asked for is not waited for.
        if write_replies(output, receiver).await.is_err() {
            reader.abort();
        }
    });
}

async fn listen(port: u16) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(stream),
            // Out of descriptors, or a client gone before it was accepted.
            Err(_) => task::yield_now().await,
        }
    }
}

fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|text| text.parse().ok());
    let workers = arguments.next().and_then(|text| text.parse().ok());
    let (port, workers) = match (port, workers) {
        (Some(port), Some(workers)) => (port, workers),
        _ => {
            eprintln!("usage: tokio PORT WORKERS");
            std::process::exit(2);
        }
    };
    raise_descriptor_limit();
    tokio::runtime::Builder::new_multi_thread()
        .enable_io()
        .max_blocking_threads(workers)
        .build()?
        .block_on(listen(port))
}
