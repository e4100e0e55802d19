"""More work than the pool can do: who is served, who waits, who is told no."""

import threading

from harness import ServerTestCase
from timing import Stopwatch, wait_until

BUSY = "ERROR: server busy"
WAITED = "ERROR: waited too long"


class Fair(ServerTestCase):
    """A first-come-first-served queue would make the polite client wait for all that is before it: 2,000 tasks of
    2 ms on 2 workers, two seconds. Round-robin makes it wait for one task of the flood, a few milliseconds."""

    FLOOD = 2000
    ROUNDS = 5
    ASKED = 30
    GOAL = 0.012

    def latencies(self, client, count):
        took = []
        for _ in range(count):
            answer = Stopwatch()
            self.assertEqual(client.ask("sleep 2"), "result: slept 2 ms")
            took.append(answer.seconds)
        return sorted(took)

    def check_polite_client(self, *options):
        server = self.start("--workers=2", "--max-inflight-per-connection=5000", *options)
        polite, greedy = self.connect(server), self.connect(server)
        greedy.send(*["sleep 2"] * self.FLOOD)
        server.wait_for_stats(lambda s: s["queue_depth"] >= 64, "a queue")
        rounds = []
        while len(rounds) < self.ROUNDS:
            took = self.latencies(polite, self.ASKED)
            if server.stats()["queue_depth"] < 64:
                break  # the flood was over before this round was
            rounds.append(took)
        self.assertTrue(rounds, "the flood was over too soon to measure anything")
        everything = sorted(took for round in rounds for took in round)
        best = min(round[-1] for round in rounds)
        print(f"polite client: median {everything[len(everything) // 2] * 1e3:.1f} ms, worst of {self.ASKED} in the "
              f"best of {len(rounds)} rounds {best * 1e3:.1f} ms, worst of all {everything[-1] * 1e3:.1f} ms")
        # Others on this machine may spoil one round; an unfair queue spoils each of them.
        self.assert_quick(best, self.GOAL)
        self.assert_quick(everything[len(everything) // 2], self.GOAL)
        self.assertEqual(greedy.lines(self.FLOOD), ["result: slept 2 ms"] * self.FLOOD)

    def test_polite_client_beside_a_flood(self):
        """Fails when tasks are taken first come first served: the polite client waits for the whole flood."""
        self.check_polite_client("--queue-capacity=4096")

    def test_polite_client_beside_a_full_queue(self):
        """Fails when a flood that fills the queue keeps others from getting room in it."""
        self.check_polite_client("--queue-capacity=100")

    def test_order_of_each_connection(self):
        """Fails when taking turns mixes up the order of one connection's replies, or gives them to another."""
        server = self.start("--workers=4", "--queue-capacity=50", "--max-inflight-per-connection=20")
        clients = [self.connect(server) for _ in range(8)]
        for number, client in enumerate(clients):
            client.send_aside("".join(f"echo {number} {index}\n" if index % 7 else f"sleep {index % 3}\n"
                                      for index in range(300)).encode())
        for number, client in enumerate(clients):
            self.assertEqual(client.lines(300), [
                f"result: {number} {index}" if index % 7 else f"result: slept {index % 3} ms"
                for index in range(300)])

    def test_inflight_bound_per_connection(self):
        """Fails when --max-inflight-per-connection does not bound what one client has queued."""
        server = self.start("--workers=2", "--max-inflight-per-connection=10")
        greedy = self.connect(server)
        greedy.send(*["sleep 40"] * 100)
        most = 0

        def forty_done():
            nonlocal most
            stats = server.stats()
            most = max(most, stats["queue_depth"] + stats["active_workers"])
            return stats["completed"] >= 40
        wait_until(forty_done, "forty tasks are done")
        self.assertEqual(most, 10)
        self.assertEqual(greedy.lines(100), ["result: slept 40 ms"] * 100)


class WaitOrReject(ServerTestCase):
    def start_full(self, *options, queue=4):
        """A server whose worker is busy for a while and whose queue is full; the client that made it so."""
        server = self.start("--workers=1", f"--queue-capacity={queue}", *options)
        filler = self.connect(server)
        filler.send("sleep 1500")
        server.wait_for_stats(lambda s: s["active_workers"] == 1 and not s["queue_depth"], "a busy worker")
        filler.send(*(f"echo {index}" for index in range(queue)))
        server.wait_for_stats(lambda s: s["queue_depth"] == queue, "a full queue")
        return server, filler, ["result: slept 1500 ms", *(f"result: {index}" for index in range(queue))]

    def check_waits(self, *options):
        server, filler, expected = self.start_full(*options)
        late = self.connect(server)
        late.send(*(f"echo late {index}" for index in range(20)))
        self.assertEqual(filler.lines(5), expected)
        self.assertEqual(late.lines(20), [f"result: late {index}" for index in range(20)])
        stats = server.stats()
        self.assertEqual((stats["shed"], stats["completed"], stats["errors"]), (0, 25, 0))

    def test_wait(self):
        """Fails when a full queue loses or refuses a request although clients are to wait."""
        self.check_waits("--overload=wait")

    def test_wait_is_the_default(self):
        """Fails when requests are refused without --overload=reject."""
        self.check_waits()

    def test_reject_at_once(self):
        """Fails when a refusal waits for room, is not counted, or is counted as a task."""
        server, filler, expected = self.start_full("--overload=reject")
        late = self.connect(server)
        self.assertEqual(late.ask("echo late"), BUSY)
        late.send(*["echo late"] * 5)
        self.assertEqual(late.lines(5), [BUSY] * 5)
        self.assertFalse(filler.has_input(), "the refusals came only when there was room")
        stats = server.stats()
        self.assertEqual((stats["shed"], stats["shed_busy"], stats["errors"], stats["completed"]), (6, 6, 6, 0))
        self.assertEqual(filler.lines(5), expected)
        self.assertEqual(late.ask("echo in time"), "result: in time")
        self.assertEqual(server.stats()["completed"], 6)

    def test_reject_in_order(self):
        """Fails when a refusal overtakes earlier replies of its connection."""
        server, filler, expected = self.start_full("--overload=reject")
        filler.send("echo too many", "", "echo too many")
        self.assertEqual(filler.lines(8), expected + [BUSY, "ERROR: empty request", BUSY])
        self.assertEqual(server.stats()["shed_busy"], 2)

    def test_stats_are_answered_by_a_full_server(self):
        """Fails when STATS needs a worker or room in the queue."""
        for overload in ("wait", "reject"):
            with self.subTest(overload=overload):
                server, filler, _ = self.start_full(f"--overload={overload}")
                self.assertEqual(server.stats()["queue_depth"], 4)
                self.assertFalse(filler.has_input())


class RejectFairly(ServerTestCase):
    """Greedy clients that send more than is done fill the queue at any time; refused are they, not the others."""

    def check(self, greedy_count, queue):
        server = self.start("--workers=2", f"--queue-capacity={queue}", "--overload=reject")
        greedy = [self.connect(server) for _ in range(greedy_count)]
        flood = b"sleep 1\n" * 40
        stop = threading.Event()

        def keep_sending(client):
            while not stop.is_set():
                client.send_bytes(flood)
                client.lines(40)
        threads = [threading.Thread(target=keep_sending, args=(client,)) for client in greedy]
        for thread in threads:
            thread.start()
        try:
            server.wait_for_stats(lambda s: s["shed_busy"] > 500, "a queue that is full again and again")
            polite = self.connect(server)
            replies = [polite.ask("sleep 1") for _ in range(200)]
            newcomers = [self.connect(server).ask("echo x") for _ in range(50)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual((replies.count(BUSY), newcomers.count(BUSY)), (0, 0))
        stats = server.stats()
        self.assertGreater(stats["shed_busy"], 500)
        self.assertEqual(stats["shed"], stats["shed_busy"])

    def test_four_greedy_clients(self):
        """Fails when connections that keep the queue full leave no room for one that asks for little."""
        self.check(4, queue=100)

    def test_a_small_queue(self):
        """Fails when shares of a small queue are rounded so that nothing is left."""
        self.check(3, queue=16)


class QueueTimeout(ServerTestCase):
    def test_answered_in_time_while_all_workers_are_busy(self):
        """Fails when a task past --queue-timeout is answered only when a worker gets to it, or is run."""
        server = self.start("--workers=1", "--queue-timeout=400ms")
        busy, waiting = self.connect(server), self.connect(server)
        busy.send("sleep 3000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        waited = Stopwatch()
        waiting.send(*["echo not run"] * 5)
        self.assertEqual(waiting.line(), WAITED)
        first = waited.seconds
        self.assertEqual(waiting.lines(4), [WAITED] * 4)
        self.assertGreaterEqual(first, 0.399)
        self.assert_quick(waited.seconds, 0.6)
        stats = server.stats()
        self.assertEqual((stats["shed"], stats["shed_timeout"], stats["completed"]), (5, 5, 0))
        self.assertFalse(busy.has_input())
        self.assertEqual(busy.line(), "result: slept 3000 ms")
        self.assertEqual(waiting.ask("echo now"), "result: now")
        self.assertEqual(server.stats()["completed"], 2)

    def test_no_worker_wastes_time_on_it(self):
        """Fails when a worker runs tasks whose clients were told that they waited too long."""
        server = self.start("--workers=1", "--queue-timeout=300ms")
        client = self.connect(server)
        client.send(*["sleep 100"] * 40)
        all_answered = Stopwatch()
        replies = client.lines(40)
        self.assert_quick(all_answered.seconds, 1.5)  # four seconds of work
        done = replies.count("result: slept 100 ms")
        self.assertEqual(done + replies.count(WAITED), 40)
        self.assertIn(done, range(1, 5))
        stats = server.stats()
        self.assertEqual((stats["completed"], stats["shed_timeout"]), (done, 40 - done))

    def test_room_is_made_for_those_who_wait(self):
        """Fails when tasks that expire leave clients unread that wait for room in the queue."""
        server = self.start("--workers=1", "--queue-timeout=300ms", "--queue-capacity=4")
        busy, waiting = self.connect(server), self.connect(server)
        busy.send("sleep 3000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        waiting.send(*["echo not run"] * 12)
        waited = Stopwatch()
        self.assertEqual(waiting.lines(12), [WAITED] * 12)
        self.assertGreaterEqual(waited.seconds, 0.9)  # three fillings of the queue
        self.assertFalse(busy.has_input())


class QueueTarget(ServerTestCase):
    def check_standing(self, task_ms, count, *options):
        server = self.start("--workers=1", "--queue-target=20ms", *options)
        client = self.connect(server)
        all_answered = Stopwatch()
        client.send(*[f"sleep {task_ms}"] * count)
        replies = client.lines(count)
        took = all_answered.seconds
        done = replies.count(f"result: slept {task_ms} ms")
        shed = replies.count(WAITED)
        self.assertEqual(done + shed, count)
        stats = server.stats()
        self.assertEqual((stats["shed_target"], stats["shed"], stats["completed"]), (shed, shed, done))
        self.assertGreater(shed, 0)
        self.assert_quick(took, count * task_ms / 1000 / 2)

    def test_standing_wait_is_shed(self):
        """Fails when a wait that stays above --queue-target is left standing."""
        self.check_standing(5, 600)

    def test_standing_wait_of_long_tasks_is_shed(self):
        """Fails when the wait is not seen to stand because tasks begin less often than it is judged."""
        self.check_standing(300, 16)

    def test_polite_client_does_not_save_the_flooder(self):
        """Fails when one who hardly waits, thanks to fairness, makes the flooder's standing wait look short."""
        server = self.start("--workers=1", "--queue-target=20ms")
        flooder, polite = self.connect(server), self.connect(server)
        flooded = Stopwatch()
        flooder.send(*["sleep 5"] * 400)
        server.wait_for_stats(lambda s: s["queue_depth"] > 0, "the flood")
        while server.stats()["queue_depth"] > 0:
            self.assertEqual(polite.ask("sleep 1"), "result: slept 1 ms")
        self.assert_quick(flooded.seconds, 1.5)  # served to the last, they take 2 s and more
        replies = flooder.lines(400)
        shed = replies.count(WAITED)
        self.assertEqual(shed + replies.count("result: slept 5 ms"), 400)
        self.assertEqual(server.stats()["shed_target"], shed)
        self.assertGreater(shed, 200)

    def test_burst_is_not_shed(self):
        """Fails when a burst that the queue absorbs at once is shed for waiting longer than the target."""
        server = self.start("--workers=1", "--queue-target=5ms")
        client = self.connect(server)
        for _ in range(10):
            client.send(*["sleep 2"] * 12)  # the last of them waits over 20 ms
            self.assertEqual(client.lines(12), ["result: slept 2 ms"] * 12)
            wait_until(lambda: not server.stats()["active_workers"], "the burst is over")
        stats = server.stats()
        self.assertEqual(stats["shed"], 0)
        self.assertGreater(stats["wait_p99_us"], 20000 / 1.25)

    def test_nothing_is_shed_by_default(self):
        """Fails when a standing wait is shed without --queue-target or --queue-timeout."""
        server = self.start("--workers=1")
        client = self.connect(server)
        client.send(*["sleep 5"] * 150)
        self.assertEqual(client.lines(150), ["result: slept 5 ms"] * 150)
        self.assertEqual(server.stats()["shed"], 0)
        self.assertGreater(server.stats()["wait_p99_us"], 500000)
