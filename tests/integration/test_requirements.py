"""The rows R1 to R5 and R7 of the specification, seen from outside."""

import hashlib
import re
import signal

from harness import ServerTestCase, sanitizer
from procfs import bytes_in_flight
from strace import Strace
from timing import SLOWDOWN, Stopwatch, wait_until

LONG_TEXT = "x" * 60000
MIB = 1 << 20


class R1BoundedQueue(ServerTestCase):
    def test_full_queue_is_felt_as_tcp_backpressure(self):
        """Fails when the server reads on while the queue is full, blocks its loop on it, or loses what waited."""
        server = self.start("--workers=1", "--queue-capacity=2")
        server.stats()
        memory = server.process.resident_bytes()
        plug, flooder = self.connect(server), self.connect(server)
        plug.send(f"sleep {int(4000 * SLOWDOWN)}")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the worker is busy")
        line = f"echo {LONG_TEXT}\n".encode()
        sent = flooder.send_until_blocked(line, limit=64 * MIB)
        answer_time = Stopwatch()
        stats = server.stats()
        self.assert_quick(answer_time.seconds, 0.5)
        self.assertFalse(plug.has_input(), "the plug ended too early for this test to tell anything")
        self.assertEqual((stats["queue_depth"], stats["queue_capacity"]), (2, 2))
        self.assertEqual(stats["completed"], 0)
        self.assertLess(sent, 64 * MIB, "the server took everything although its queue was full")
        if not sanitizer():
            self.assertLess(server.process.resident_bytes() - memory, 8 * MIB)
        flooder.send_aside(line[sent % len(line):] if sent % len(line) else b"")
        expected = -(-sent // len(line))
        for _ in range(expected):
            self.assertEqual(flooder.line(), "result: " + LONG_TEXT)
        self.assertEqual(server.stats()["completed"], expected + 1)

    def test_the_queue_never_holds_more_than_its_capacity(self):
        """Fails when lines of several clients are queued past the capacity, or a held back client is forgotten."""
        server = self.start("--workers=1", "--queue-capacity=3")
        clients = [self.connect(server) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(*(f"sleep {index % 2 + 1}" for index in range(20)), f"echo {number}")
        deepest = 0

        def all_done():
            nonlocal deepest
            stats = server.stats()
            deepest = max(deepest, stats["queue_depth"])
            return stats["completed"] == 20 * 21
        wait_until(all_done, "every task is done")
        self.assertEqual(deepest, 3)
        for number, client in enumerate(clients):
            replies = client.lines(21)
            self.assertEqual(replies[:20], ["result: slept 1 ms", "result: slept 2 ms"] * 10)
            self.assertEqual(replies[20], f"result: {number}")

    def test_capacity_of_one(self):
        """Fails when the smallest queue is off by one, or held back input waits for an event that never comes."""
        server = self.start("--workers=2", "--queue-capacity=1")
        clients = [self.connect(server) for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(*(f"echo {number} {index}" for index in range(300)))
            client.finish()
        for number, client in enumerate(clients):
            self.assertEqual(client.rest(), [f"result: {number} {index}" for index in range(300)])


class R2FixedPool(ServerTestCase):
    # ThreadSanitizer's own runtime adds a thread.
    extra = 1 if sanitizer() == "thread" else 0

    def check_threads(self, server, count):
        workers = server.wait_for_workers(count)
        self.assertEqual(sorted(workers.values()), [f"worker-{n}" for n in range(count)])
        self.assertEqual(len(server.process.threads()), count + 1 + self.extra)

    def test_n_workers_and_main_and_no_one_else(self):
        """Fails when a worker is missing or unnamed, or a library starts a helper thread."""
        for count in (1, 4, 9):
            with self.subTest(workers=count):
                server = self.start(f"--workers={count}")
                self.check_threads(server, count)
                self.assertNotIn(server.pid, server.process.workers())
                self.assertEqual(server.stats()["workers"], count)

    def test_default_is_four(self):
        """Fails when the default of --workers changes."""
        self.check_threads(self.start(), 4)

    def test_pool_stays_as_it_is_under_load(self):
        """Fails when a fixed pool grows under load, or a thread is started per task or client."""
        server = self.start("--workers=2")
        server.wait_for_workers(2)
        before = server.process.threads()
        clients = [self.connect(server) for _ in range(20)]
        for client in clients:
            client.send(*["sleep 5"] * 10)
        server.wait_for_stats(lambda s: s["queue_depth"] > 50, "a deep queue")
        self.assertEqual(server.process.threads(), before)
        for client in clients:
            client.lines(10)
        self.assertEqual(server.process.threads(), before)

    def test_workers_that_wake_slowly_still_share_the_work(self):
        """Fails when a worker keeps a long task waiting in its batch while another is idle."""
        server = self.start("--workers=2")
        client = self.connect(server)
        with Strace(server.pid, threads=list(server.wait_for_workers(2)), inject=("futex:delay_exit=2000",)):
            for _ in range(4):
                client.send_aside(b"echo short\n" * 3000)
                client.lines(3000)
                client.send(*["sleep 300"] * 2)
                both = Stopwatch()
                self.assertEqual(client.lines(2), ["result: slept 300 ms"] * 2)
                self.assert_quick(both.seconds, 0.55)


class R3GracefulStop(ServerTestCase):
    def check_stop_while_idle(self, number):
        server = self.start()
        client = self.connect(server)
        self.assertEqual(client.ask("echo before"), "result: before")
        time_to_end = Stopwatch()
        server.signal(number)
        self.assertEqual(server.wait_exit(), 0)
        self.assert_quick(time_to_end.seconds, 2)
        self.assertEqual(client.rest(), [])

    def test_sigterm_while_idle(self):
        """Fails when SIGTERM is not handled, leaves a status other than 0, or resets idle clients."""
        self.check_stop_while_idle(signal.SIGTERM)

    def test_sigint_while_idle(self):
        """Fails when SIGINT is not handled like SIGTERM."""
        self.check_stop_while_idle(signal.SIGINT)

    def test_every_queued_task_is_answered_once_and_in_order(self):
        """Fails when a stop drops, doubles or reorders queued tasks, or closes before their replies are out."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=number.name):
                server = self.start("--workers=4")
                clients = [self.connect(server) for _ in range(8)]
                for name, client in enumerate(clients):
                    client.send(*(line for index in range(30) for line in ("sleep 10", f"echo {name} {index}")))
                wait_until(lambda: bytes_in_flight(server.port) == 0, "the server has read everything")
                self.assertGreater(server.stats()["queue_depth"], 50)
                time_to_end = Stopwatch()
                server.signal(number)
                for name, client in enumerate(clients):
                    expected = [line for index in range(30)
                                for line in ("result: slept 10 ms", f"result: {name} {index}")]
                    self.assertEqual(client.rest(), expected)
                self.assertEqual(server.wait_exit(), 0)
                self.assert_quick(time_to_end.seconds, 2)

    def test_input_left_unread_does_not_cost_replies(self):
        """Fails when a close with unread input resets the connection and takes replies with it."""
        server = self.start("--workers=1", "--queue-capacity=4")
        client = self.connect(server)
        numbered = b"".join(b"echo %d %b\n" % (index, b"y" * 1000) for index in range(20000))
        plug = self.connect(server)
        plug.send("sleep 1500")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the worker is busy")
        client.send_until_blocked(numbered, limit=len(numbered), quiet=0.3)
        self.assertGreater(bytes_in_flight(server.port), 0)
        server.signal()
        replies = client.rest()
        self.assertGreaterEqual(len(replies), 4)
        for index, reply in enumerate(replies):
            self.assertEqual(reply, f"result: {index} {'y' * 1000}")
        self.assertEqual(plug.rest(), ["result: slept 1500 ms"])
        self.assertEqual(server.wait_exit(), 0)

    def test_no_one_new_is_served_during_the_drain(self):
        """Fails when the listener stays open or served after SIGTERM."""
        server = self.start()
        busy = self.connect(server)
        busy.send("sleep 1500")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        server.signal()
        server.notify.wait_for("STOPPING")

        def refused():
            try:
                self.connect(server, timeout=1)
            except ConnectionRefusedError:
                return True
            return False
        wait_until(refused, "new clients are refused", timeout=1 * SLOWDOWN)
        self.assertIsNone(server.child.poll(), "the drain ended too early for this test to tell anything")
        self.assertEqual(busy.rest(), ["result: slept 1500 ms"])
        self.assertEqual(server.wait_exit(), 0)

    def test_lines_sent_after_the_signal_are_not_served(self):
        """Fails when a draining server reads on, so that a busy client could keep it up for ever."""
        server = self.start("--workers=1")
        client = self.connect(server)
        client.send("sleep 500")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "a busy worker")
        server.signal()
        server.notify.wait_for("STOPPING")
        client.send("echo too late")
        self.assertEqual(client.rest(), ["result: slept 500 ms"])
        self.assertEqual(server.wait_exit(), 0)


class R4OneLoopManyWorkers(ServerTestCase):
    def test_log_shows_who_computes_and_who_does_io(self):
        """Fails when a task is computed on main, or a worker reads or sends, or names are not logged."""
        server = self.start("--workers=3", "--log-level=debug")
        clients = [self.connect(server) for _ in range(6)]
        for number, client in enumerate(clients):
            client.send(*["sleep 5"] * 5, f"echo {number}")
        for client in clients:
            client.lines(6)
        self.assertEqual(server.stop(), 0)
        stamp = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} debug "
        computed = server.log_lines(stamp + r"\[worker-\d+\] computed task \d+ of connection \d+ in \d+ us$")
        self.assertEqual(len(computed), 36)
        self.assertEqual({re.search(r"\[(.*?)\]", line)[1] for line in computed},
                         {"worker-0", "worker-1", "worker-2"})
        self.assertEqual(len(computed), len(server.log_lines("computed task")))
        for verb in ("read", r"sent"):
            by_main = server.log_lines(stamp + rf"\[main\] {verb} \d+ bytes (from|to) connection \d+$")
            self.assertGreaterEqual(len(by_main), len(clients))
            self.assertEqual(by_main, server.log_lines(rf"\] {verb} \d+ bytes"))

    def test_the_cpu_time_is_the_workers(self):
        """Fails when main computes, whatever name the log shows: the kernel counts the time of each thread."""
        server = self.start("--workers=2")
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        at_start = server.process.cpu_seconds(server.pid)
        client.send(*["spin 300"] * 4)
        self.assertEqual(client.lines(4), ["result: spun 300 ms"] * 4)
        by_workers = sum(server.process.cpu_seconds(tid) for tid in server.process.workers())
        self.assertGreater(by_workers, 0.1)  # of 1.2 s, were the machine idle otherwise
        self.assertLess(server.process.cpu_seconds(server.pid) - at_start, by_workers / 3)

    def test_results_come_back_by_eventfd(self):
        """Fails when results are handed back by polling, a pipe or a socket instead of an eventfd in the epoll."""
        server = self.start("--workers=1")
        client = self.connect(server)
        event_fds = server.process.descriptor_of("anon_inode:[eventfd]")
        self.assertTrue(event_fds)
        self.assertLessEqual(set(event_fds), server.process.polled_descriptors())
        with Strace(server.pid, trace=("write",)) as strace:
            self.assertEqual(client.ask("sleep 50"), "result: slept 50 ms")
            workers = server.process.workers()
            wait_until(lambda: any(tid in workers and "eventfd" in line for tid, _, line in strace.calls()),
                       "a worker writes to the eventfd")


class R5FailuresReachTheRightClient(ServerTestCase):
    ANSWERS = {"fail": "ERROR: task failed", "throw": "ERROR: internal error", "bad": "ERROR: invalid input",
               "nonsense": "ERROR: invalid input"}

    def test_failures_of_interleaved_clients(self):
        """Fails when a failure answers another client, loses its place, ends a worker, or is not caught."""
        server = self.start("--workers=4")
        workers = server.wait_for_workers(4)
        clients = [self.connect(server) for _ in range(12)]
        failures = list(self.ANSWERS)
        expected = {client: [] for client in clients}
        for index in range(25):
            for number, client in enumerate(clients):
                if (index + number) % 3 == 0:
                    line = failures[(index + number) % len(failures)]
                    expected[client].append(self.ANSWERS[line])
                else:
                    line = f"echo client {number} line {index}"
                    expected[client].append("result: " + line.removeprefix("echo "))
                client.send(line)
        for client in clients:
            self.assertEqual(client.lines(25), expected[client])
            client.finish()
            self.assertEqual(client.rest(), [])
        self.assertEqual(server.process.workers(), workers)
        errors = sum(reply.startswith("ERROR") for replies in expected.values() for reply in replies)
        stats = server.stats()
        self.assertEqual((stats["completed"], stats["errors"]), (12 * 25, errors))

    def test_every_worker_survives_exceptions(self):
        """Fails when an exception ends the worker it was thrown on."""
        server = self.start("--workers=2")
        client = self.connect(server)
        client.send(*["throw"] * 200)
        self.assertEqual(client.lines(200), ["ERROR: internal error"] * 200)
        client.send(*["sleep 300"] * 2)
        both = Stopwatch()
        self.assertEqual(client.lines(2), ["result: slept 300 ms"] * 2)
        self.assert_quick(both.seconds, 0.55)

    def test_digest_rejects_bad_alone(self):
        """Fails when `bad` is computed, or its failure touches the neighbours' replies."""
        server = self.start("--workers=2", handler="digest")
        first, second = self.connect(server), self.connect(server)
        first.send("bad", "good data", "bad")
        second.send("good data", "bad", "good data")
        good = "result: " + hashlib.sha256(b"good data").hexdigest()
        self.assertEqual(first.lines(3), ["ERROR: invalid input", good, "ERROR: invalid input"])
        self.assertEqual(second.lines(3), [good, "ERROR: invalid input", good])


class R7EpollNotPoll(ServerTestCase):
    def test_the_loop_waits_by_epoll_alone(self):
        """Fails when any thread of the server calls poll or select, or main does not wait by epoll."""
        server = self.start("--workers=2", "--task-timeout=10s")
        waits = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6")
        with Strace(server.pid, trace=waits) as strace:
            clients = [self.connect(server) for _ in range(10)]
            for client in clients:
                client.send("echo a", "sleep 20", "bad")
            for client in clients:
                client.lines(3)
                client.close()
            wait_until(lambda: server.stats()["connections"] == 1, "the clients are gone")
        calls = strace.all_calls()
        self.assertEqual({name for _, name, _ in calls} - {"epoll_wait", "epoll_pwait", "epoll_pwait2"}, set())
        self.assertEqual({tid for tid, _, _ in calls}, {server.pid})
