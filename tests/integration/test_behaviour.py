"""The rows B1 to B4 of the specification."""

import signal

from harness import ServerTestCase
from timing import SLOWDOWN, Stopwatch, wait_until


class B1SignalsThroughEpoll(ServerTestCase):
    def test_sigterm_breaks_the_wait_at_once(self):
        """Fails when a stop is noticed by a periodic check of a flag, or only when a client moves."""
        for number in (signal.SIGTERM, signal.SIGINT):
            for _ in range(3):
                with self.subTest(signal=number.name):
                    server = self.start()
                    self.assertEqual(self.connect(server).ask("echo x"), "result: x")
                    time_to_end = Stopwatch()
                    server.signal(number)
                    self.assertEqual(server.wait_exit(), 0)
                    self.assert_quick(time_to_end.seconds, 0.25)

    def test_signalfd_is_watched_by_epoll(self):
        """Fails when signals are taken by a handler or a waiting thread instead of a signalfd in the loop's epoll."""
        server = self.start()
        signal_fds = server.process.descriptor_of("anon_inode:[signalfd]")
        self.assertEqual(len(signal_fds), 1)
        self.assertLessEqual(set(signal_fds), server.process.polled_descriptors())


class B2PoolThatGrowsAndShrinks(ServerTestCase):
    def worker_count(self, server):
        return len(server.process.workers())

    def test_two_to_eight_and_back(self):
        """Fails when the pool starts big, does not grow, grows past its limit, shrinks too early or never."""
        server = self.start("--workers=2-8", "--worker-idle-timeout=1s")
        self.assertEqual(server.stats()["workers"], 2)
        wait_until(lambda: self.worker_count(server) == 2, "two workers at first")
        most = 0
        clients = [self.connect(server) for _ in range(16)]
        for client in clients:
            client.send(*["sleep 50"] * 40)

        def grown():
            nonlocal most
            most = max(most, self.worker_count(server))
            return most >= 8
        wait_until(grown, "eight workers under load")
        self.assertEqual(server.stats()["workers"], 8)
        for client in clients:
            self.assertEqual(client.lines(40), ["result: slept 50 ms"] * 40)
            most = max(most, self.worker_count(server))
        self.assertEqual(most, 8)
        idle = Stopwatch()
        wait_until(lambda: self.worker_count(server) < 8, "the pool shrinks")
        self.assertGreater(idle.seconds, 0.7)
        wait_until(lambda: self.worker_count(server) == 2, "two workers again")
        self.assertEqual(server.stats()["workers"], 2)
        settled = Stopwatch()
        wait_until(lambda: settled.seconds > 1.5 or self.worker_count(server) < 2, "a second idle timeout passes")
        self.assertEqual(self.worker_count(server), 2)
        self.assertEqual(clients[0].ask("echo still here"), "result: still here")

    def test_no_busy_worker_is_ended(self):
        """Fails when shrinking ends a worker with a task, or waits for it and stalls the loop."""
        server = self.start("--workers=1-4", "--worker-idle-timeout=300ms")
        clients = [self.connect(server) for _ in range(4)]
        clients[0].send("sleep 2500")
        for client in clients[1:]:
            client.send(*["sleep 20"] * 60)
        for client in clients[1:]:
            self.assertEqual(client.lines(60), ["result: slept 20 ms"] * 60)
        slowest = 0

        def long_task_ended():
            nonlocal slowest
            answer = Stopwatch()
            server.stats()
            slowest = max(slowest, answer.seconds)
            return clients[0].has_input()
        wait_until(long_task_ended, "the long task ends")
        self.assertEqual(clients[0].line(), "result: slept 2500 ms")
        self.assert_quick(slowest, 0.5)
        wait_until(lambda: self.worker_count(server) == 1, "one worker is left")

    def test_tasks_while_the_pool_breathes(self):
        """Fails when a task is lost to a worker that is just ending, or growth stops after a shrink."""
        server = self.start("--workers=1-3", "--worker-idle-timeout=100ms")
        clients = [self.connect(server) for _ in range(6)]
        for _ in range(3):
            for client in clients:
                client.send(*["sleep 20"] * 10)
            wait_until(lambda: self.worker_count(server) == 3, "three workers under load")
            for client in clients:
                self.assertEqual(client.lines(10), ["result: slept 20 ms"] * 10)
            wait_until(lambda: self.worker_count(server) == 1, "one worker at rest")


class B3TaskTimeout(ServerTestCase):
    REPLY = "ERROR: timed out after 500 ms"

    def test_answer_within_50_ms_of_the_deadline(self):
        """Fails when a timeout is answered early, late, by a coarse tick, or not at all."""
        server = self.start("--workers=2", "--task-timeout=500ms")
        client = self.connect(server)
        took = []
        for task in ("sleep 30000", "spin 30000", "sleep 600", "spin 30000", "sleep 30000"):
            answer = Stopwatch()
            self.assertEqual(client.ask(task), self.REPLY)
            took.append(answer.seconds)
        self.assertGreaterEqual(min(took), 0.499)
        self.assert_quick(sorted(took)[2], 0.55)  # the median, as the machine may be busy

    def test_the_stop_token_ends_the_task_early(self):
        """Fails when a timed out task keeps its worker: the stop token was not set."""
        server = self.start("--workers=1", "--task-timeout=500ms")
        client = self.connect(server)
        for task in ("sleep 30000", "spin 30000"):
            client.send(task, "echo next")
            self.assertEqual(client.line(), self.REPLY)
            next_one = Stopwatch()
            self.assertEqual(client.line(), "result: next")
            self.assert_quick(next_one.seconds, 0.3)
        server.wait_for_stats(lambda s: s["active_workers"] == 0, "an idle worker")

    def test_the_late_result_is_dropped(self):
        """Fails when a task that was answered by its timeout is answered again when it ends."""
        server = self.start("--workers=2", "--task-timeout=200ms")
        client, other = self.connect(server), self.connect(server)
        for index in range(5):
            client.send("sleep 30000", f"echo {index}")
            other.send(f"echo other {index}")
            self.assertEqual(client.lines(2), ["ERROR: timed out after 200 ms", f"result: {index}"])
            self.assertEqual(other.line(), f"result: other {index}")
        server.wait_for_stats(lambda s: s["active_workers"] == 0, "idle workers")
        client.finish()
        other.finish()
        self.assertEqual(client.rest() + other.rest(), [])

    def test_order_is_kept_around_a_timeout(self):
        """Fails when the reply of a timeout overtakes earlier replies, or lets later ones overtake it."""
        server = self.start("--workers=4", "--task-timeout=300ms")
        client = self.connect(server)
        client.send("echo a", "sleep 30000", "sleep 50", "sleep 30000", "echo b")
        late = "ERROR: timed out after 300 ms"
        self.assertEqual(client.lines(5), ["result: a", late, "result: slept 50 ms", late, "result: b"])

    def test_waiting_in_the_queue_does_not_count(self):
        """Fails when the deadline is measured from the arrival of the request."""
        server = self.start("--workers=1", "--task-timeout=500ms")
        client = self.connect(server)
        client.send(*["sleep 200"] * 5)
        self.assertEqual(client.lines(5), ["result: slept 200 ms"] * 5)
        self.assertEqual(server.stats()["timeouts"], 0)

    def test_no_timeout_by_default(self):
        """Fails when a task is timed out although --task-timeout was not given or is 0."""
        for options in ((), ("--task-timeout=0",)):
            with self.subTest(options=options):
                server = self.start(*options)
                self.assertEqual(self.connect(server).ask("sleep 700"), "result: slept 700 ms")
                self.assertEqual(server.stats()["timeouts"], 0)


class B4Stats(ServerTestCase):
    KEYS = {"uptime_seconds", "connections", "accepted", "workers", "active_workers", "queue_depth",
            "queue_capacity", "completed", "errors", "timeouts", "cancelled", "dropped", "wait_p50_us",
            "wait_p99_us", "run_p50_us", "run_p99_us"}

    def test_fifty_good_and_seven_bad(self):
        """Fails when failures are not counted, STATS counts itself, or a count lags behind what clients saw."""
        server = self.start("--workers=4", handler="digest")
        for count in range(1, 4):
            client = self.connect(server)
            client.send(*(["good data"] * 10 + ["bad"]) * 4, *["good data"] * 10, *["bad"] * 3)
            client.lines(57)
            stats = server.stats()
            self.assertEqual((stats["completed"], stats["errors"]), (57 * count, 7 * count))
            self.assertEqual(stats["timeouts"], 0)

    def test_every_key_is_there_once_with_a_number(self):
        """Fails when a key is missing or doubled, or the reply is more than one line."""
        server = self.start("--workers=3", "--queue-capacity=77")
        client = self.connect(server)
        client.send("STATS")
        client.finish()
        replies = client.rest()
        self.assertEqual(len(replies), 1)
        fields = replies[0].removeprefix("stats: ").split(" ")
        names = [field.partition("=")[0] for field in fields]
        self.assertEqual(len(names), len(set(names)))
        self.assertLessEqual(self.KEYS, set(names))
        for field in fields:
            self.assertRegex(field, r"^[a-z0-9_]+=[0-9]+(\.[0-9]+)?$")
        stats = server.stats()
        self.assertEqual((stats["workers"], stats["queue_capacity"], stats["completed"]), (3, 77, 0))

    def test_gauges_follow_the_load(self):
        """Fails when queue_depth, active_workers or connections do not show what is going on."""
        server = self.start("--workers=2")
        self.assertEqual(server.stats()["connections"], 1)
        clients = [self.connect(server) for _ in range(3)]
        for client in clients:
            client.send("sleep 300", "sleep 300")
        stats = server.wait_for_stats(lambda s: (s["queue_depth"], s["active_workers"]) == (4, 2), "a queue of four")
        self.assertEqual((stats["connections"], stats["accepted"]), (4, 4))
        for client in clients:
            client.lines(2)
            client.close()
        stats = server.wait_for_stats(lambda s: s["connections"] == 1, "that the clients left")
        self.assertEqual((stats["queue_depth"], stats["active_workers"], stats["completed"]), (0, 0, 6))

    def test_times_are_told_in_microseconds(self):
        """Fails when waiting and running are mixed up, in another unit, or not measured."""
        server = self.start("--workers=1")
        client = self.connect(server)
        client.send(*["sleep 30"] * 10)
        client.lines(10)
        stats = server.stats()
        slack = 1.25  # a histogram may round
        self.assertGreaterEqual(stats["run_p50_us"], 30000 / slack)
        self.assertLess(stats["run_p50_us"], 60000 * SLOWDOWN)
        self.assertGreaterEqual(stats["run_p99_us"], stats["run_p50_us"])
        self.assertGreater(stats["wait_p50_us"], 90000)
        self.assertGreater(stats["wait_p99_us"], 200000)
        self.assertLess(stats["wait_p99_us"], 1000000 * SLOWDOWN)

    def test_timeouts_count_as_completed_and_as_errors(self):
        """Fails when a timed out task is missing from completed, errors or timeouts, or is counted twice."""
        server = self.start("--workers=2", "--task-timeout=100ms")
        client = self.connect(server)
        client.send("sleep 30000", "echo x", "sleep 30000", "fail")
        client.lines(4)
        server.wait_for_stats(lambda s: s["active_workers"] == 0, "idle workers")
        stats = server.stats()
        self.assertEqual((stats["completed"], stats["errors"], stats["timeouts"]), (4, 3, 2))

    def test_refused_lines_are_errors_but_no_tasks(self):
        """Fails when an empty or too long line is counted as a task, or its ERROR reply is not counted."""
        server = self.start("--max-line=50")
        client = self.connect(server)
        client.send("", "z" * 51, "echo fine")
        client.lines(3)
        stats = server.stats()
        self.assertEqual((stats["completed"], stats["errors"]), (1, 2))

    def test_stats_among_other_requests(self):
        """Fails when STATS overtakes earlier requests, or is counted before its turn."""
        server = self.start("--workers=4")
        client = self.connect(server)
        client.send("sleep 100", "STATS", "fail", "echo x", "STATS")
        replies = client.lines(5)
        self.assertEqual(replies[0], "result: slept 100 ms")
        self.assertRegex(replies[1], r"^stats: .*\bcompleted=[1-3] errors=[01]\b")
        self.assertEqual(replies[2:4], ["ERROR: task failed", "result: x"])
        self.assertRegex(replies[4], r"\bcompleted=3 errors=1\b")

    def test_uptime_runs(self):
        """Fails when uptime_seconds stands still or is not in seconds."""
        server = self.start()
        since_start = Stopwatch()
        self.assertLess(server.stats()["uptime_seconds"], 2 * SLOWDOWN)
        server.wait_for_stats(lambda s: s["uptime_seconds"] >= 2, "two seconds of uptime", 10 * SLOWDOWN)
        self.assertGreater(since_start.seconds, 0.9)
