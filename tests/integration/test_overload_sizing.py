"""A pool that grows because tasks wait, not because the queue is full, and never at the cost of a running task."""

from concurrent.futures import ThreadPoolExecutor

from harness import ServerTestCase
from timing import Stopwatch


class DynamicSizing(ServerTestCase):
    def test_growth_before_the_queue_is_full(self):
        """Fails when the pool grows only once the queue is full, or only after a while."""
        server = self.start("--workers=1-8", "--queue-capacity=1024")
        clients = [self.connect(server) for _ in range(8)]
        at_once = Stopwatch()
        for client in clients:
            client.send("sleep 1000")
        stats = server.wait_for_stats(lambda s: s["active_workers"] == 8, "eight tasks at once", 0.9)
        self.assert_quick(at_once.seconds, 0.3)
        self.assertEqual((stats["workers"], stats["completed"]), (8, 0))
        for client in clients:
            self.assertEqual(client.line(), "result: slept 1000 ms")

    def test_no_more_than_are_needed(self):
        """Fails when the pool grows to its limit where a few more workers are enough."""
        server = self.start("--workers=1-64")
        clients = [self.connect(server) for _ in range(4)]
        for client in clients:
            client.send("sleep 700")
        server.wait_for_stats(lambda s: s["active_workers"] == 4, "four tasks at once")
        for client in clients:
            self.assertEqual(client.line(), "result: slept 700 ms")
        self.assertLessEqual(server.stats()["workers"], 8)

    def test_shrinking_spares_running_tasks(self):
        """Fails when a worker is ended, or its task stopped, because the pool shrinks round it."""
        server = self.start("--workers=1-6", "--worker-idle-timeout=100ms")
        clients = [self.connect(server) for _ in range(6)]
        for client in clients[:3]:
            client.send("sleep 1500")
        for client in clients[3:]:
            client.send("sleep 100")
        server.wait_for_stats(lambda s: s["active_workers"] == 6, "six tasks at once")
        for client in clients[3:]:
            self.assertEqual(client.line(), "result: slept 100 ms")
        server.wait_for_workers(3, "only the busy workers are left")
        self.assertFalse(any(client.has_input() for client in clients[:3]))
        for client in clients[:3]:
            self.assertEqual(client.line(), "result: slept 1500 ms")
        server.wait_for_workers(1, "one worker is left")
        stats = server.stats()
        self.assertEqual((stats["errors"], stats["cancelled"], stats["completed"]), (0, 0, 6))

    def test_stuck_workers_do_not_count(self):
        """Fails when workers that were given up take the places of those that can work."""
        server = self.start("--workers=1-3", "--task-timeout=200ms", "--worker-idle-timeout=100ms")
        stuck = [self.connect(server) for _ in range(3)]
        for client in stuck:
            client.send("hang 2500")
        server.wait_for_stats(lambda s: s["stuck_workers"] == 3, "three stuck workers")
        clients = [self.connect(server) for _ in range(3)]
        for client in clients:
            client.send("sleep 150")
        server.wait_for_stats(lambda s: s["active_workers"] == 3, "three tasks beside them")
        for client in clients:
            self.assertEqual(client.line(), "result: slept 150 ms")
        server.wait_for_workers(1, "one worker is left of all")
        self.assertEqual(server.stats()["workers"], 1)


class ShortAndLongTogether(ServerTestCase):
    def test_room_in_the_queue_is_never_promised_twice(self):
        """Fails when tasks taken back from behind a long one find their place in the queue given away."""
        server = self.start("--workers=32")
        short = b"echo x\n" * 500
        mixed = b"echo a\nsleep 20\nfail\necho b\n"
        kinds = [(short, 500)] * 48 + [(mixed, 4)] * 36
        clients = [(self.connect(server), data, count) for data, count in kinds]

        def go_on(client, data, count):
            for _ in range(30):
                client.send_bytes(data)
                self.assertEqual(len(client.lines(count)), count)
        with ThreadPoolExecutor(len(clients)) as threads:
            for done in [threads.submit(go_on, *each) for each in clients]:
                done.result()
        self.assertEqual(server.stats()["errors"], 36 * 30)
