"""Clients that go away: a reset takes back what it asked for, an end of input does not."""

from harness import ServerTestCase
from timing import Stopwatch, wait_until


class ClientsThatGoAway(ServerTestCase):
    QUEUED = 50

    def start_with_work(self, *options, listen=("127.0.0.1:0",), task="sleep 60000"):
        """A client with a task that runs and others behind it."""
        server = self.start("--workers=1", *options, listen=listen)
        client = self.connect(server)
        client.send(task, *(f"echo {index}" for index in range(self.QUEUED)))
        server.wait_for_stats(lambda s: (s["active_workers"], s["queue_depth"]) == (1, self.QUEUED), "all the work")
        return server, client

    def check_cancelled(self, server):
        gone = Stopwatch()
        stats = server.wait_for_stats(lambda s: not s["active_workers"] and not s["queue_depth"], "no work")
        self.assert_quick(gone.seconds, 0.5)
        self.assertEqual((stats["cancelled"], stats["dropped"], stats["completed"]), (self.QUEUED, 1, 1))
        self.assertEqual((stats["connections"], stats["errors"]), (1, 0))

    def test_reset(self):
        """Fails when a reset does not stop the running task, runs the queued ones, or is not counted."""
        for task in ("sleep 60000", "spin 60000"):
            with self.subTest(task=task):
                server, client = self.start_with_work(task=task)
                client.reset()
                self.check_cancelled(server)

    def test_close_of_a_unix_socket(self):
        """Fails when the close of a unix socket, which says that nobody reads, is taken for a half-close."""
        server, client = self.start_with_work(listen=(f"{self.temporary_directory()}/socket",))
        client.close()
        self.check_cancelled(server)

    def test_end_of_input(self):
        """Fails when a half-close, as `nc` does it, cancels what was asked for before it."""
        server, client = self.start_with_work(task="sleep 500")
        client.finish()
        self.assertEqual(client.rest(), ["result: slept 500 ms", *(f"result: {i}" for i in range(self.QUEUED))])
        stats = server.stats()
        self.assertEqual((stats["cancelled"], stats["dropped"]), (0, 0))
        self.assertEqual(stats["completed"], self.QUEUED + 1)

    def test_reset_after_the_end_of_input(self):
        """Fails when nobody notices a reset any more after a half-close."""
        server, client = self.start_with_work()
        client.finish()
        client.reset()
        self.check_cancelled(server)

    def test_others_keep_their_work(self):
        """Fails when a reset cancels what other connections have queued, or stops their task."""
        server = self.start("--workers=2")
        leaving, staying = self.connect(server), self.connect(server)
        staying.send("sleep 1000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a task that is to stay")
        leaving.send("sleep 60000", *["echo lost"] * 10)
        server.wait_for_stats(lambda s: (s["active_workers"], s["queue_depth"]) == (2, 10), "two tasks and a queue")
        staying.send(*(f"echo {index}" for index in range(10)))
        server.wait_for_stats(lambda s: s["queue_depth"] == 20, "a longer queue")
        leaving.reset()
        self.assertEqual(staying.lines(11), ["result: slept 1000 ms", *(f"result: {i}" for i in range(10))])
        self.assertEqual(server.stats()["cancelled"], 10)

    def test_room_for_those_who_wait(self):
        """Fails when room that a leaving client makes in a full queue is not given to those who wait for it."""
        server = self.start("--workers=1", "--queue-capacity=8")
        busy, leaving, waiting = (self.connect(server) for _ in range(3))
        busy.send("sleep 1500")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        leaving.send(*["echo lost"] * 30)
        server.wait_for_stats(lambda s: s["queue_depth"] == 8, "a full queue")
        waiting.send(*(f"echo {index}" for index in range(5)))
        leaving.reset()
        server.wait_for_stats(lambda s: s["queue_depth"] == 5 and s["cancelled"] == 8, "room for others")
        self.assertFalse(busy.has_input())
        self.assertEqual(waiting.lines(5), [f"result: {index}" for index in range(5)])

    def test_many_at_once(self):
        """Fails when a count is off, or something is left behind, once many clients reset."""
        server = self.start("--workers=2", "--queue-capacity=300")
        clients = [self.connect(server) for _ in range(20)]
        for client in clients:
            client.send(*["sleep 60000"] * 10)
        server.wait_for_stats(lambda s: s["queue_depth"] == 198, "a queue")
        for client in clients:
            client.reset()
        stats = server.wait_for_stats(lambda s: s["connections"] == 1 and not s["active_workers"], "all gone")
        # The task that comes next in its turn may begin before its own client's reset is seen: it ends at once too.
        self.assertEqual(stats["cancelled"] + stats["completed"], 200)
        self.assertEqual(stats["dropped"], stats["completed"])
        self.assertEqual(stats["queue_depth"], 0)
        wait_until(lambda: self.connect(server).ask("echo fine") == "result: fine", "others are served")
