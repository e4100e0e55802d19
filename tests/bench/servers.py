"""The servers that are compared: how each is started and stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 20  # seconds for a start or a stop
OURS, FLOOR, TEXTBOOK, MEMCACHED = "pool-server", "inline", "textbook", "memcached"

# Name → what it is. The order is that of the table.
PEERS = {
    FLOOR: "epoll, computes inline: no hand-off (the floor)",
    TEXTBOOK: "C, one lock, eventfd write and send per request",
    "libuv": "libuv, uv_queue_work",
    "asio": "Boost.Asio, io_context + thread_pool",
    "go": "Go, fixed pool over channels",
    "go-inline": "Go, in the connection's goroutine",
    "java": "Java, NIO selector + ThreadPoolExecutor",
    "tokio": "Tokio, spawn_blocking",
}
UNPOOLED = (FLOOR, "go-inline")  # these compute where they read


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise RuntimeError(f"{process.args[0]} does not listen")


class Servers:
    def __init__(self, pool_server, peer_directory):
        self.pool_server = pool_server
        self.peers = Path(peer_directory)

    def command(self, name, port, workers, exchange):
        if name == OURS:
            handler = "drill" if exchange == "spin" else "digest"
            return [self.pool_server, f"--listen=127.0.0.1:{port}", f"--workers={workers}",
                    f"--handler={handler}", "--max-connections=20000", "--log-level=error"]
        if name == MEMCACHED:
            return ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-t", str(workers),
                    "-c", "20000"]
        return [self.peers / name, str(port), str(workers)]

    @contextlib.contextmanager
    def running(self, name, workers, exchange):
        """Yields (port, pid) of a fresh server that listens."""
        port = free_port()
        process = subprocess.Popen(self.command(name, port, workers, exchange), stdin=subprocess.DEVNULL)
        try:
            wait_for_port(port, process)
            if name == MEMCACHED:
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"set key 0 0 5\r\nvalue\r\n")
                    assert client.recv(100) == b"STORED\r\n"
            yield port, process.pid
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_and_stop(self):
        """Seconds from our start to READY=1, and from SIGTERM to the end of the idle server."""
        with tempfile.TemporaryDirectory() as directory, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            path = os.path.join(directory, "notify")
            notify.bind(path)
            notify.settimeout(PATIENCE)
            begin = time.monotonic()
            process = subprocess.Popen(self.command(OURS, free_port(), 4, "digest"),
                                       env={**os.environ, "NOTIFY_SOCKET": path})
            while b"READY=1" not in notify.recv(4096):
                pass
            ready = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            return ready - begin, time.monotonic() - ready
