"""What happens often is not logged as often: few lines, right counts. And what is lost is told."""

import fcntl
import os
import signal
import time
import unittest
from pathlib import Path

from client import Client
from harness import ServerTestCase, sanitizer
from timing import SLOWDOWN, Stopwatch, wait_until


class Floods(ServerTestCase):
    def check(self, server, event, pattern, count, seconds):
        """The event was logged once a second at the most, and counted as often as it was."""
        self.assertEqual(server.stop(), 0)
        lines = len(server.log_lines(pattern)) + len(server.log_lines(f"left out .*'{event}'"))
        self.assertLessEqual(lines, seconds + 3)
        self.assertEqual(server.logged(pattern, event), count)

    def test_refusals(self):
        """Fails when each client that is refused is a line in the log, or is not counted."""
        server = self.start("--max-connections-per-peer=1")
        self.assertEqual(self.connect(server).ask("echo mine"), "result: mine")
        flood = Stopwatch()
        for _ in range(500):
            with_refusal = Client(server.address)
            self.assertEqual(with_refusal.rest(), ["ERROR: too many connections from this client"])
            with_refusal.close()
        self.check(server, "connection-limit", "refusing connections", 500, flood.seconds)

    def test_timeouts(self):
        """Fails when each task that takes too long is a line in the log, or is not counted."""
        server = self.start("--workers=32", "--task-timeout=10ms")
        clients = [self.connect(server) for _ in range(4)]
        flood = Stopwatch()
        for client in clients:
            client.send(*["sleep 1000"] * 1000)
        for client in clients:
            self.assertEqual(set(client.lines(1000)), {"ERROR: timed out after 10 ms"})
        self.check(server, "task-timeout", "timed out after", 4000, flood.seconds)

    @unittest.skipIf(sanitizer() in ("address", "undefined"), "the sanitizer's runtime needs descriptors itself")
    def test_out_of_descriptors_with_churn(self):
        """Fails when each client that comes and goes at the limit of descriptors is a pair of lines."""
        server = self.start("--workers=1", "--max-connections=1000", limits={"NOFILE": 40})
        clients = [self.connect(server) for _ in range(60)]
        server.wait_for_log("cannot accept")
        churn = Stopwatch()
        while churn.seconds < 3:
            clients.pop(0).close()
            clients.append(self.connect(server))
            time.sleep(0.001)  # the pace of the clients, nothing is waited for
        seconds = churn.seconds
        for client in clients:
            client.close()
        self.assertEqual(server.stop(), 0)
        for pattern in ("cannot accept|'accept-paused'", "accepting connections again|'accept-resumed'"):
            self.assertIn(len(server.log_lines(pattern)), range(1, int(seconds) + 4))
        self.assertGreater(server.logged("cannot accept", "accept-paused"), 20)

    def test_what_was_left_out_is_told_though_nothing_happens_any_more(self):
        """Fails when an idle server keeps to itself how often something happened."""
        server = self.start("--max-connections=1")
        held = self.connect(server)
        self.assertEqual(held.ask("echo x"), "result: x")
        for _ in range(5):
            held.close()
            wait_until(lambda: self.is_welcome(server), "room for one")
            held = self.clients.pop()
            self.assertEqual(len(self.connect(server).rest()), 1)
        server.wait_for_log("left out [1-9] more of the event 'connection-limit'")

    def is_welcome(self, server):
        client = self.connect(server)
        self.clients = [client]
        return client.ask("echo x") == "result: x"

    def test_faults_of_a_reload(self):
        """Fails when a file with many faults is as many lines in the log."""
        config = Path(self.temporary_directory()) / "config"
        config.write_text("workers=2\n")
        server = self.start("--config", str(config))
        config.write_text("nonsense\n" * 200)
        server.signal(signal.SIGHUP)
        server.wait_for_log(r"error .*not changed: .*config:1: .*\(and \d+ more faults\)$")
        self.assertEqual(len(server.log_lines("error")), 1)

    def test_a_stop_that_gives_up_many_tasks(self):
        """Fails when each task that a stop gives up is a line in the log."""
        server = self.start("--workers=20", "--drain-timeout=100ms")
        client = self.connect(server)
        client.send(*["hang 60000"] * 20)
        server.wait_for_stats(lambda s: s["active_workers"] == 20, "all at work")
        self.assertNotEqual(server.stop(), None)
        line, = server.log_lines("gave up")
        self.assertRegex(line, r"task \d+ on worker-\d+, .* and 12 more$")


class Lost(ServerTestCase):
    """Lines for a standard error that does not take them."""

    def check(self, **settings):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        path = f"{self.temporary_directory()}/socket"
        if "user" in settings:
            os.chmod(os.path.dirname(path), 0o777)
        with open(writer, "wb") as stderr:
            server = self.launch("--log-level=debug", "--workers=2", listen=(path,), stderr=stderr, notify=False,
                                 **settings)
        client = wait_until(lambda: self.try_to_connect(path), "the server listens")
        client.send_aside(b"echo x\n" * 2000)
        self.assertEqual(client.lines(2000), ["result: x"] * 2000)
        os.set_blocking(reader, False)
        text = ""

        def told():
            nonlocal text
            try:
                text += os.read(reader, 1 << 16).decode()
            except BlockingIOError:
                pass
            return " lines were lost: " in text
        # It has no more to say than that.
        wait_until(told, "the loss is told", 70 * SLOWDOWN)
        self.assertRegex(text, r"warning \[main\] \d+ lines were lost: ")
        self.assertEqual(server.stop(), 0)

    def try_to_connect(self, path):
        try:
            return self.connect(path)
        except OSError:
            return None

    def test_are_told(self):
        """Fails when lines that nobody took are lost in silence."""
        self.check()

    @unittest.skipUnless(os.geteuid() == 0, "needs to start the server as another user")
    def test_another_users_pipe(self):
        """Fails when a pipe that cannot be opened anew holds up the loop once it is full, or is not written to."""
        self.check(user=65534)
