"""Visitors of the monitor that are up to no good: others, clients above all, must not feel them."""

import contextlib
import json
import os
import random
import resource
import shutil
import socket
import struct
import subprocess
import sys
import threading
import unittest

import harness
from harness import BINARY, RUNTIME_ERROR, ServerTestCase, run_to_end
from http_client import Answer, connect, read_all, request
from test_monitor import MonitorMixin
from timing import SLOWDOWN, Stopwatch, wait_until

MOST_CONNECTIONS = 16
INSTALLED = "/usr/local/lib/pool-server/monitor.so"
GENERATOR = os.environ.get("POOL_SERVER_LOAD_GENERATOR", "")


class VisitorsTestCase(MonitorMixin, ServerTestCase):
    def setUp(self):
        super().setUp()
        self.sockets = contextlib.ExitStack()
        self.addCleanup(self.sockets.close)

    def visit(self, data=b"", **settings):
        visitor = self.sockets.enter_context(connect(self.address, **settings))
        visitor.sendall(data)
        return visitor

    def descriptors(self, server):
        return len(server.process.descriptors())

    def assert_all_well(self, server, descriptors):
        """The polite are served, clients and visitors, and nothing is left of the others."""
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        self.assertEqual(self.get("/healthz").text, "ok\n")
        self.sockets.close()
        wait_until(lambda: self.descriptors(server) <= descriptors + 1, "the descriptors of visitors are closed")


class Visitors(VisitorsTestCase):
    def setUp(self):
        super().setUp()
        self.server = self.start_monitored()
        self.get("/healthz")
        self.before = self.descriptors(self.server)

    def test_who_sends_a_byte_now_and_then(self):
        """Fails when slow visitors, of whom there are more than places, keep the polite out or stay for ever."""
        slow = [self.visit(b"GET /metrics HTTP/1.1\r\nX: ") for _ in range(3 * MOST_CONNECTIONS)]
        ended = threading.Event()
        def dribble():
            while not ended.wait(0.05):
                for visitor in slow:
                    with contextlib.suppress(OSError):
                        visitor.send(b"x", socket.MSG_DONTWAIT)
        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            open_now = self.descriptors(self.server) - self.before
            self.assertLessEqual(open_now, MOST_CONNECTIONS)
            waited = Stopwatch()
            self.assertEqual(self.get("/readyz").text, "ready\n")
            self.assert_quick(waited.seconds, 5)
            wait_until(lambda: self.descriptors(self.server) <= self.before, "the slow are shown out", 15 * SLOWDOWN)
        finally:
            ended.set()
            thread.join()
        self.assert_all_well(self.server, self.before)

    def test_who_says_nothing(self):
        """Fails when a visitor that sends nothing is kept for longer than its ten seconds, or not as long."""
        silent = self.visit()
        stayed = Stopwatch()
        self.assertEqual(silent.recv(1), b"")
        self.assertGreaterEqual(stayed.seconds, 9)
        self.assert_quick(stayed.seconds, 12)
        self.assert_all_well(self.server, self.before)

    def test_who_does_not_read(self):
        """Fails when a visitor that never reads its answer keeps its place."""
        for _ in range(2 * MOST_CONNECTIONS):
            self.visit(request("/metrics"))
        wait_until(lambda: self.descriptors(self.server) <= self.before, "their connections end", 15 * SLOWDOWN)
        self.assert_all_well(self.server, self.before)

    def test_who_sends_too_much(self):
        """Fails when heads without an end, or of nonsense, are not refused, or harm anybody."""
        rng = random.Random(1)
        for data in (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000, b"GET /" + b"x" * 100_000,
                     b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, rng.randbytes(50_000), b"\r\n" * 50_000,
                     b"POST / HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n" + b"z" * 50_000,
                     b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                     b"GET / HTTP/9.9\r\n\r\n", b"\0" * 10_000):
            with connect(self.address) as visitor, contextlib.suppress(ConnectionError):
                visitor.sendall(data)
                visitor.shutdown(socket.SHUT_WR)
                if answer := read_all(visitor):
                    self.assertGreaterEqual(Answer(answer).status, 400)
        self.assert_all_well(self.server, self.before)

    def test_who_pipelines(self):
        """Fails when more than one request of a connection is answered."""
        for count in (5, 300):  # the rest of so many is not even read, so that the end may be a reset
            with connect(self.address) as visitor:
                with contextlib.suppress(ConnectionError):
                    visitor.sendall(request("/healthz") * count)
                data = b""
                with contextlib.suppress(ConnectionError):
                    while piece := visitor.recv(1 << 16):
                        data += piece
                self.assertLessEqual(data.count(b"HTTP/1.1 200"), 1)
                self.assertTrue(data or count > 5)
        self.assert_all_well(self.server, self.before)

    def test_thousands_who_come_and_go(self):
        """Fails when newcomers that leave at once, in good order or not, use anything up."""
        for number in range(3000):
            visitor = connect(self.address)
            if number % 3:
                visitor.sendall(request("/state.json")[:20 * (number % 4)])
            visitor.close()
        self.assert_all_well(self.server, self.before)

    def test_resets(self):
        """Fails when a reset in the middle of an answer ends more than its connection."""
        server = self.start_monitored("--monitor=127.0.0.1:0")
        self.address = "127.0.0.1", int(server.wait_for_log(r"tells how .*127\.0\.0\.1:(\d+)$")[1])
        before = self.descriptors(server)
        for _ in range(300):
            visitor = connect(self.address)
            visitor.sendall(request("/metrics"))
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            visitor.close()
        self.assert_all_well(server, before)


class Limits(VisitorsTestCase):
    @unittest.skipIf(harness.sanitizer() in ("address", "undefined"), "the sanitizer's runtime needs descriptors itself")
    def test_out_of_descriptors(self):
        """Fails when a monitor that has no descriptor for a visitor spins, fails, or takes those of clients."""
        server = self.start_monitored("--workers=1")
        self.get("/healthz")
        before = self.descriptors(server)
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        highest = max(server.process.descriptors())
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        waiting = self.visit(request("/healthz"))
        server.wait_for_log("monitor lets nobody in for now")
        busy = server.process.cpu_seconds()
        wait_until((pause := Stopwatch()) and (lambda: pause.seconds > 1), "a second passes")
        self.assertLess(server.process.cpu_seconds() - busy, 0.3)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual(Answer(read_all(waiting)).text, "ok\n")
        self.assert_all_well(server, before)

    def test_a_socket_that_ends(self):
        """Fails when a monitor's socket that listens no more spins, is not told of, or ends the service."""
        with socket.create_server(("127.0.0.1", 0)) as monitor:
            self.address = f"{self.temporary_directory()}/monitor"
            server = self.launch(f"--monitor={self.address}", env={
                "LISTEN_FDS": "1", "LISTEN_PID": "{pid}", "LISTEN_FDNAMES": "monitor"}, **{"pass": [monitor.fileno()]})
            server.wait_ready()
            before = self.descriptors(server)
            monitor.shutdown(socket.SHUT_RDWR)
            server.wait_for_log("monitor-failed|does not listen")
        self.assert_all_well(server, before)

    def test_the_module_is_missing(self):
        """Fails when a service whose monitor cannot be loaded is not there for its clients, or says nothing of it."""
        self.addCleanup(setattr, harness, "BINARY", BINARY)
        harness.BINARY = shutil.copy(BINARY, self.temporary_directory())
        self.assertFalse(os.path.exists(INSTALLED), "this machine has the package")
        with socket.create_server(("127.0.0.1", 0)) as clients, socket.create_server(("127.0.0.1", 0)) as monitor:
            env = {"LISTEN_FDS": "2", "LISTEN_PID": "{pid}", "LISTEN_FDNAMES": "pool-server:monitor"}
            server = self.launch(listen=(), env=env, **{"pass": [clients.fileno(), monitor.fileno()]})
            server.wait_ready()
            self.assertEqual(self.connect(clients.getsockname()).ask("echo x"), "result: x")
        server.wait_for_log("the monitor cannot be loaded: .*monitor.so")
        done = run_to_end("--listen=127.0.0.1:0", "--monitor=127.0.0.1:0", command=[harness.BINARY])
        self.assertEqual(done.returncode, RUNTIME_ERROR)
        self.assertIn("the monitor cannot be loaded", done.stderr)


@unittest.skipUnless(GENERATOR, "no load generator is named by POOL_SERVER_LOAD_GENERATOR")
class Clients(VisitorsTestCase):
    def test_latency_beside_a_flood(self):
        """Fails when a flood of visitors delays what clients get by a millisecond or more."""
        server = self.start_monitored("--workers=64")
        idle = [self.connect(server) for _ in range(500)]
        for client in idle:
            self.assertEqual(client.ask("echo x"), "result: x")
        alone = self.latency(server)
        flood = subprocess.Popen([sys.executable, "-S", __file__, self.address])
        self.addCleanup(flood.wait)
        self.addCleanup(flood.kill)
        self.get("/healthz")
        beside = self.latency(server)
        print(f"alone {alone}, beside a flood {beside}", flush=True)
        self.assertLess(beside["p50_us"] - alone["p50_us"], 1000 * SLOWDOWN)
        self.assertLess(beside["p99_us"] - alone["p99_us"], 5000 * SLOWDOWN)

    def latency(self, server):
        done = subprocess.run([GENERATOR, str(server.port), str(server.pid), "--exchange=echo", "--connections=2",
                               "--warm-up=0", "--requests=10000"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)


def flood(address):
    """Asks for everything, as fast as it goes, and for more than there are places."""
    paths = ["/metrics", "/state.json", "/history.json", "/"]
    while True:
        visitors = []
        for number in range(MOST_CONNECTIONS):
            visitor = socket.socket(socket.AF_UNIX)
            visitor.connect(address)
            visitor.sendall(request(paths[number % len(paths)]))
            visitors.append(visitor)
        for visitor in visitors:
            with contextlib.suppress(OSError):
                read_all(visitor)
            visitor.close()


if __name__ == "__main__":
    flood(sys.argv[1])
