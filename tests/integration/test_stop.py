"""Stopping when it is not as easy as in R3: a second signal, a drain that lasts too long, a silent reader."""

import signal

from harness import RUNTIME_ERROR, ServerTestCase
from timing import SLOWDOWN, Stopwatch, wait_until


class HardStops(ServerTestCase):
    def start_busy(self, task, *options):
        server = self.start("--workers=1", *options)
        client = self.connect(server)
        client.send(task, "echo queued")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        return server, client

    def test_second_signal_ends_the_drain_at_once(self):
        """Fails when a second signal is ignored, waits for the work, or hides that work was abandoned."""
        for first, second, task in ((signal.SIGTERM, signal.SIGTERM, "sleep 30000"),
                                    (signal.SIGTERM, signal.SIGINT, "spin 30000"),
                                    (signal.SIGINT, signal.SIGINT, "sleep 30000")):
            with self.subTest(first=first.name, second=second.name):
                server, _ = self.start_busy(task)
                server.signal(first)
                server.notify.wait_for("STOPPING")
                self.assertIsNone(server.child.poll())
                time_to_end = Stopwatch()
                server.signal(second)
                self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
                self.assert_quick(time_to_end.seconds, 1)

    def test_drain_timeout(self):
        """Fails when --drain-timeout is not heeded: the stop takes as long as the task."""
        server, _ = self.start_busy("sleep 30000", "--drain-timeout=500ms")
        time_to_end = Stopwatch()
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertGreater(time_to_end.seconds, 0.45)
        self.assert_quick(time_to_end.seconds, 1.5)

    def test_work_within_the_drain_timeout_is_done(self):
        """Fails when the drain ends before its timeout with work left, or waits it out without need."""
        server, client = self.start_busy("sleep 700", "--drain-timeout=20s")
        time_to_end = Stopwatch()
        server.signal()
        self.assertEqual(client.rest(), ["result: slept 700 ms", "result: queued"])
        self.assertEqual(server.wait_exit(), 0)
        self.assert_quick(time_to_end.seconds, 2)

    def test_task_timeout_holds_during_the_drain(self):
        """Fails when deadlines are forgotten once the drain has begun."""
        server, client = self.start_busy("sleep 30000", "--task-timeout=500ms")
        server.signal()
        self.assertEqual(client.rest(), ["ERROR: timed out after 500 ms", "result: queued"])
        self.assertEqual(server.wait_exit(), 0)

    def test_client_that_does_not_read_cannot_hold_up_the_stop(self):
        """Fails when the drain waits longer than its timeout for a client to take its replies."""
        server = self.start("--workers=2", "--drain-timeout=1s")
        client = self.connect(server, receive_buffer=4096)
        client.send_until_blocked(b"echo " + b"r" * 50000 + b"\n", limit=64 << 20, quiet=0.3)
        time_to_end = Stopwatch()
        server.signal()
        server.wait_exit()
        self.assert_quick(time_to_end.seconds, 2.5)

    def test_slow_reader_gets_all_its_replies(self):
        """Fails when the server ends, or closes, with replies still in its own buffer."""
        server = self.start("--workers=2")
        client = self.connect(server, receive_buffer=4096)
        text = "s" * 50000
        client.send_until_blocked(b"".join(f"echo {index} {text}\n".encode() for index in range(1000)),
                                  limit=50 << 20, quiet=0.3)
        done = server.stats()["completed"]
        server.signal()
        server.notify.wait_for("STOPPING")
        replies = client.rest()
        self.assertGreaterEqual(len(replies), done)
        for index, reply in enumerate(replies):
            self.assertEqual(reply, f"result: {index} {text}")
        self.assertEqual(server.wait_exit(), 0)

    def test_signal_right_after_the_start(self):
        """Fails when a signal during start-up kills the server or is lost."""
        for _ in range(10):
            server = self.launch()
            wait_until(lambda: server.log() or server.child.poll() is not None, "a first word in the log")
            server.signal()
            self.assertEqual(server.wait_exit(5 * SLOWDOWN), 0)
