import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** One thread with a Selector, and a ThreadPoolExecutor with a bounded queue for the work. */
public final class Peer {
    private static final int BACKLOG = 4096;
    private static final int MAX_LINE = 64 * 1024;
    private static final int QUEUE = 64 * 1024;
    /** Requests of one connection at work, beyond which it is not read from. */
    private static final int MAX_PENDING = 1024;
    private static final byte[] NOTHING = new byte[0];

    private final Selector selector = Selector.open();
    private final ThreadPoolExecutor pool;
    private final ConcurrentLinkedQueue<Task> completed = new ConcurrentLinkedQueue<>();
    /** Whether the selector's thread will look at the completed without being woken. */
    private final AtomicBoolean awake = new AtomicBoolean(true);
    private final ByteBuffer input = ByteBuffer.allocateDirect(64 * 1024);
    private final ByteBuffer output = ByteBuffer.allocateDirect(64 * 1024);

    private Peer(int port, int workers) throws IOException {
        pool = new ThreadPoolExecutor(workers, workers, 0, TimeUnit.MILLISECONDS,
                new ArrayBlockingQueue<>(QUEUE), Peer::waitForRoom);
        pool.prestartAllCoreThreads();
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.setOption(StandardSocketOptions.SO_REUSEADDR, true);
        listener.bind(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port), BACKLOG);
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT, listener);
    }

    /** A full queue stops the reading; the workers, which never wait for it, make room. */
    private static void waitForRoom(Runnable task, ThreadPoolExecutor pool) {
        try {
            pool.getQueue().put(task);
        } catch (InterruptedException e) {
            throw new RejectedExecutionException(e);
        }
    }

    private final class Task implements Runnable {
        final Connection connection;
        final byte[] line;
        byte[] reply;
        boolean done; // the selector's thread only

        Task(Connection connection, byte[] line) {
            this.connection = connection;
            this.line = line;
        }

        @Override
        public void run() {
            reply = Job.reply(line);
            completed.add(this);
            if (!awake.get() && awake.compareAndSet(false, true)) {
                selector.wakeup();
            }
        }
    }

    private final class Connection {
        final SocketChannel channel;
        final SelectionKey key;
        /** In the order of the requests. */
        final ArrayDeque<Task> pending = new ArrayDeque<>();
        byte[] partial = NOTHING;
        ByteBuffer unsent;
        boolean ended;
        boolean touched;

        Connection(SocketChannel channel) throws IOException {
            this.channel = channel;
            channel.configureBlocking(false);
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            key = channel.register(selector, SelectionKey.OP_READ, this);
        }

        void onReady() {
            try {
                if (key.isWritable()) {
                    write();
                }
                if (key.isValid() && key.isReadable()) {
                    read();
                }
            } catch (IOException e) {
                close();
            }
        }

        void read() throws IOException {
            input.clear();
            int size = channel.read(input);
            if (size < 0) {
                ended = true;
            }
            int start = 0;
            for (int i = 0; i < size; ++i) {
                if (input.get(i) == '\n') {
                    submit(withPartial(start, i));
                    partial = NOTHING;
                    start = i + 1;
                }
            }
            if (start < size) {
                partial = withPartial(start, size);
            }
            update();
        }

        byte[] withPartial(int start, int end) throws IOException {
            int size = partial.length + end - start;
            if (size > MAX_LINE) {
                throw new IOException("line too long");
            }
            byte[] bytes = Arrays.copyOf(partial, size);
            input.get(start, bytes, partial.length, end - start);
            return bytes;
        }

        void submit(byte[] line) {
            Task task = new Task(this, line);
            pending.add(task);
            pool.execute(task);
        }

        /** Writes all replies whose turn has come, as many at once as the buffer takes. */
        void write() throws IOException {
            if (unsent != null) {
                channel.write(unsent);
                if (unsent.hasRemaining()) {
                    return;
                }
                unsent = null;
            }
            while (unsent == null && isHeadDone()) {
                output.clear();
                while (isHeadDone() && pending.peek().reply.length <= output.remaining()) {
                    output.put(pending.poll().reply);
                }
                output.flip();
                channel.write(output);
                if (output.hasRemaining()) {
                    unsent = ByteBuffer.allocate(output.remaining()).put(output).flip();
                }
            }
            update();
        }

        boolean isHeadDone() {
            Task head = pending.peek();
            return head != null && head.done;
        }

        /** Waits for what can happen next; ends the connection when nothing can. */
        void update() {
            int operations = unsent != null ? SelectionKey.OP_WRITE : 0;
            if (!ended && unsent == null && pending.size() < MAX_PENDING) {
                operations |= SelectionKey.OP_READ;
            }
            if (ended && unsent == null && pending.isEmpty()) {
                close();
            } else if (key.interestOps() != operations) {
                key.interestOps(operations);
            }
        }

        void close() {
            try {
                channel.close();
            } catch (IOException e) {
                // It is closed all the same.
            }
        }
    }

    private void onReady(SelectionKey key) {
        if (key.attachment() instanceof Connection connection) {
            connection.onReady();
            return;
        }
        ServerSocketChannel listener = (ServerSocketChannel) key.attachment();
        try {
            for (SocketChannel channel; (channel = listener.accept()) != null;) {
                new Connection(channel);
            }
        } catch (IOException e) {
            // A client that is gone already, or no descriptor left: the next select tries again.
        }
    }

    /** Files all that is completed first, so that one write takes all that a connection is due. */
    private void onCompleted() {
        List<Connection> touched = new ArrayList<>();
        for (Task task; (task = completed.poll()) != null;) {
            task.done = true;
            Connection connection = task.connection;
            if (!connection.touched) {
                connection.touched = true;
                touched.add(connection);
            }
        }
        for (Connection connection : touched) {
            connection.touched = false;
            try {
                if (connection.key.isValid() && connection.unsent == null) {
                    connection.write();
                }
            } catch (IOException e) {
                connection.close();
            }
        }
    }

    private void run() throws IOException {
        for (;;) {
            awake.set(false);
            if (completed.isEmpty()) {
                selector.select();
            } else {
                selector.selectNow();
            }
            awake.set(true);
            for (SelectionKey key : selector.selectedKeys()) {
                onReady(key);
            }
            selector.selectedKeys().clear();
            onCompleted();
        }
    }

    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 2) {
            System.err.println("usage: java PORT WORKERS");
            System.exit(2);
        }
        new Peer(Integer.parseInt(arguments[0]), Integer.parseInt(arguments[1])).run();
    }
}

final class Job {
    private static final byte[] PREFIX = "result: ".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.US_ASCII);
    private static final ThreadLocal<MessageDigest> SHA256 = ThreadLocal.withInitial(() -> {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    });

    private Job() {}

    /** The milliseconds of `spin N`, N of one to nine digits; -1 for any other line. */
    private static long spinTime(byte[] line) {
        if (line.length < 6 || line.length > 14 || line[0] != 's' || line[1] != 'p'
                || line[2] != 'i' || line[3] != 'n' || line[4] != ' ') {
            return -1;
        }
        long ms = 0;
        for (int i = 5; i < line.length; ++i) {
            if (line[i] < '0' || line[i] > '9') {
                return -1;
            }
            ms = ms * 10 + line[i] - '0';
        }
        return ms;
    }

    /** The reply to the line, newline included. */
    static byte[] reply(byte[] line) {
        long ms = spinTime(line);
        if (ms >= 0) {
            long start = System.nanoTime();
            while (System.nanoTime() - start < ms * 1_000_000) {
                // Busy: that is the work.
            }
            return ("result: spun " + ms + " ms\n").getBytes(StandardCharsets.US_ASCII);
        }
        byte[] digest = SHA256.get().digest(line);
        byte[] reply = Arrays.copyOf(PREFIX, PREFIX.length + 2 * digest.length + 1);
        int end = PREFIX.length;
        for (byte b : digest) {
            reply[end++] = HEX[b >> 4 & 15];
            reply[end++] = HEX[b & 15];
        }
        reply[end] = '\n';
        return reply;
    }
}
