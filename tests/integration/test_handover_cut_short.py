"""Restarts that do not wait: work carried over in mid-run, next processes that are smaller or broken, stuck pools."""

import itertools
import threading

from harness import RUNTIME_ERROR, USAGE_ERROR, parse_stats
from manager import FAILED_STARTS, RestartTestCase
from timing import SLOWDOWN, Stopwatch, wait_until


def slept(ms):
    return f"result: slept {ms} ms"


class CutShort(RestartTestCase):
    def test_second_signal_carries_what_is_running_and_queued(self):
        """Fails when a request that was cut short is lost, answered twice, or answered out of order."""
        self.start_next("--workers=2")
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        for number, client in enumerate(clients):
            self.assertEqual(client.ask(f"echo early {number}"), f"result: early {number}")
        for number, client in enumerate(clients):
            client.send(*(f"sleep {1500 + index}" for index in range(3)), "", "fail", f"echo late {number}")
        self.wait_for_busy(2)
        time_to_end = Stopwatch()
        self.cut_short()
        self.assert_quick(time_to_end.seconds, 1)
        self.assertRegex(self.server.log(), "handed over 2 connections with [1-9]")
        self.start_next("--workers=6")
        for number, client in enumerate(clients):
            client.finish()
            self.assert_ended(client, [*(slept(1500 + index) for index in range(3)), "ERROR: empty request",
                                       "ERROR: task failed", f"result: late {number}"])

    def assert_seen_out(self, sends_more):
        self.start_next("--line-timeout=200ms")
        client = self.meet()
        client.send_bytes(b"sleep 2000\nhalf a li")
        self.server.wait_for_stats(lambda stats: stats["slow_lines"] == 1, "its line took too long")
        client.send_bytes(sends_more)
        self.end()
        self.assertRegex(self.server.log(), "handed over [12] connections with 1 requests")
        self.start_next()
        self.assert_ended(client, [slept(2000), "ERROR: request not completed in time"])

    def test_a_client_that_is_being_seen_out(self):
        """Fails when a restart loses the requests of a client whose end has been decided, or takes up its half line."""
        self.assert_seen_out(b"")

    def test_a_client_that_is_being_seen_out_and_goes_on(self):
        """Fails when the connection of such a client ends by a reset, which may take its replies along."""
        self.assert_seen_out(b"ne\necho x\n")

    def test_again_and_again(self):
        """Fails when what was carried over once is not carried over a second time, or counters fall back."""
        self.start_next("--workers=1")
        client = self.meet()
        client.send("sleep 1000", *(f"echo {index}" for index in range(100)), "STATS")
        accepted = parse_stats(self.meet().ask("STATS"))["accepted"]
        for _ in range(4):
            self.wait_for_busy(1)
            self.cut_short()
            self.start_next("--workers=1")
        client.finish()
        replies = client.rest()
        self.assertEqual(replies[:-1], [slept(1000), *(f"result: {index}" for index in range(100))])
        stats = parse_stats(replies[-1])
        self.assertEqual(stats["completed"], 101)
        self.assertGreater(stats["accepted"], accepted)

    def test_handover_wait(self):
        """Fails when running tasks do not get their time to end, or get more of it."""
        self.start_next("--workers=2", "--handover-wait=400ms")
        client = self.meet()
        client.send("sleep 200", "sleep 30000")
        self.wait_for_busy(2)
        self.end()
        self.assertEqual(client.line(), slept(200))
        self.assertRegex(self.server.log(), r"handed over \d connections with 1 requests")

    def test_what_takes_longer_is_handed_over(self):
        """Fails when a restart gives up work instead of handing it over, or warns of what was."""
        options = ("--workers=2", "--handover-wait=200ms")
        self.start_next(*options)
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        for client in clients:
            client.send("sleep 1000", "echo queued")
        self.wait_for_busy(2)
        time_to_end = Stopwatch()
        self.end()
        self.assertGreater(time_to_end.seconds, 0.19)
        self.assert_quick(time_to_end.seconds, 0.9)
        self.start_next(*options)
        for client in clients:
            self.assertEqual(client.lines(2), [slept(1000), "result: queued"])
        self.assertEqual(self.servers[0].log_lines(" warning "), [])

    def test_a_backlog_is_not_waited_for(self):
        """Fails when a restart takes as long as what is queued."""
        options = ("--workers=2", "--queue-capacity=4096")
        self.start_next(*options)
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        for client in clients:
            client.send(*(f"sleep {20 + index % 2}" for index in range(1000)))
        self.wait_for_busy(2)
        self.assert_quick(self.restart(*options), 0.5)
        for client in clients:
            self.assertEqual(client.line(), slept(20))
            client.reset()

    def test_under_load_of_short_tasks(self):
        """Fails when a task that ends just as the server looks at what is undone is lost or answered twice."""
        self.start_next("--workers=3")
        streams = [Stream(self.meet(kind)) for kind in ("tcp", "unix", "tcp", "unix")]
        for _ in range(20):
            busy = [stream.checked for stream in streams]
            wait_until(lambda: all(stream.failure or stream.checked > was + 50 for stream, was in zip(streams, busy)),
                       "load goes on")
            self.cut_short()
            self.start_next("--workers=3")
        for stream in streams:
            stream.finish()

    def test_a_client_that_does_not_read(self):
        """Fails when replies that the client left unread, with requests behind them, keep a stop or get lost."""
        self.start_next("--workers=2")
        client = self.meet(receive_buffer=4096)
        texts = [f"{index} ".ljust(50_000, "u") for index in range(100)]
        client.send_aside(b"".join(f"echo {text}\n".encode() for text in texts))
        wait_until(client.has_input, "the first reply")
        time_to_end = Stopwatch()
        self.end()
        self.assert_quick(time_to_end.seconds, 2)
        self.start_next("--workers=2")
        self.assertEqual(client.lines(len(texts)), [f"result: {text}" for text in texts])

    def test_time_outs_do_not_spoil_what_is_carried(self):
        """Fails when a client whose time is up during the drain is told so, and served all the same afterwards."""
        self.start_next("--workers=1", "--idle-timeout=300ms")
        idle, busy = self.meet(), self.meet()
        self.assert_serves(idle)
        busy.send("sleep 1500")
        self.wait_for_busy(1)
        self.restart("--workers=1", "--idle-timeout=30s")
        self.assertEqual(busy.line(), slept(1500))
        idle.send("echo x")
        replies = [idle.line()]
        if replies[0].startswith("ERROR"):  # told, so it has to be the end
            self.assert_ended(idle)
        else:
            self.assertEqual(replies, ["result: x"])


class Stream:
    """Pipelines short tasks without a pause, and checks the replies on a thread of its own."""

    AHEAD = 100

    def __init__(self, client):
        self.client = client
        self.checked = 0
        self.failure = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.client.send(*map(self.request, range(self.AHEAD)))
            for number in itertools.count():
                reply = self.client.line()
                expected = "result: spun 0 ms" if number % 2 else f"result: {number}"
                if reply != expected:
                    raise AssertionError(f"{reply!r} instead of {expected!r}")
                self.checked = number + 1
                if not self._done.is_set():
                    self.client.send(self.request(number + self.AHEAD))
                    self.sent = number + self.AHEAD
                elif number == self.sent:
                    return
        except Exception as failure:
            self.failure = failure

    def request(self, number):
        return "spin 0" if number % 2 else f"echo {number}"

    def finish(self):
        self._done.set()
        self._thread.join()
        if self.failure:
            raise self.failure


class NextProcesses(RestartTestCase):
    def test_broken_ones_then_a_good_one(self):
        """Fails when a new version that ends at its start takes the connections with it."""
        self.store.drops.add(FAILED_STARTS)  # else they would be paced
        self.start_next("--workers=1")
        clients = [self.meet(kind) for kind in ("tcp", "unix")]
        self.assert_serves(*clients)
        clients[0].send("sleep 1000", "echo queued")
        self.wait_for_busy(1)
        self.cut_short()
        for _ in range(2):
            for broken, status in (("--no-such-option", USAGE_ERROR), ("--config=/no/such/file", RUNTIME_ERROR),
                                   (f"--listen=127.0.0.1:{self.addresses['tcp'][1]}", RUNTIME_ERROR),
                                   ("--listen=/no/such/directory/socket", RUNTIME_ERROR)):
                with self.subTest(broken):
                    self.assertEqual(self.launch_next(broken).wait_exit(), status)
                    self.assertNotEqual(self.store.names(), [])
        self.start_next()
        self.assertEqual(clients[0].lines(2), [slept(1000), "result: queued"])
        self.assert_serves(*clients)

    def carry_many(self, *options):
        """Carries 3 × 200 requests, and their clients' further input, to a process with these options."""
        self.start_next("--workers=1")
        clients = [self.meet(kind) for kind in ("tcp", "unix", "tcp")]
        for number, client in enumerate(clients):
            client.send("sleep 1000", *(f"echo {number}.{index}" for index in range(199)))
        blocking = self.meet()
        blocking.send("sleep 1000")
        control = self.meet()
        wait_until(lambda: parse_stats(control.ask("STATS"))["queue_depth"] >= 600, "all are queued")
        self.cut_short()
        self.start_next(*options)
        for client in clients:
            client.send("echo more")
            client.finish()
        return clients, blocking

    def assert_all_answered(self, clients, blocking):
        for number, client in enumerate(clients):
            self.assert_ended(client, [slept(1000), *(f"result: {number}.{index}" for index in range(199)),
                                       "result: more"])
        self.assertEqual(blocking.line(), slept(1000))

    def test_more_carried_than_its_queue_holds(self):
        """Fails when carried requests overrun a smaller queue, or those that do not fit are forgotten."""
        self.assert_all_answered(*self.carry_many("--workers=4", "--queue-capacity=5"))

    def test_more_carried_than_a_client_may_have(self):
        """Fails when carried requests beyond --max-inflight-per-connection or --max-unsent are forgotten."""
        self.assert_all_answered(*self.carry_many("--workers=4", "--max-inflight-per-connection=3",
                                                  "--max-unsent=64"))

    def test_carried_requests_are_not_refused(self):
        """Fails when requests that one process has accepted are refused by the next, its queue being full."""
        clients, blocking = self.carry_many("--workers=4", "--queue-capacity=5", "--overload=reject")
        for number, client in enumerate(clients):
            replies = client.rest()
            self.assertEqual(replies[:200], [slept(1000), *(f"result: {number}.{index}" for index in range(199))])
        self.assertEqual(blocking.line(), slept(1000))


class StuckPools(RestartTestCase):
    OPTIONS = ("--workers=1", "--task-timeout=200ms", "--max-stuck-workers=0")

    def test_is_handed_over(self):
        """Fails when a pool that cannot go on costs the clients anything but the task that hangs."""
        self.start_next(*self.OPTIONS)
        stuck, waiting, idle = self.meet(), self.meet("unix"), self.meet()
        self.assert_serves(waiting, idle)
        stuck.send("hang 60000", "echo after")
        waiting.send("echo waits", "sleep 10")
        self.assertEqual(self.server.wait_exit(), RUNTIME_ERROR)
        self.assertIn("trigger", [value for _, value in self.server.notify.named("WATCHDOG")])
        self.assertEqual(len(self.server.notify.named("STOPPING")), 1)
        self.start_next(*self.OPTIONS)
        self.assertEqual(stuck.lines(2), ["ERROR: timed out after 200 ms", "result: after"])
        self.assertEqual(waiting.lines(2), ["result: waits", slept(10)])
        self.assert_serves(stuck, waiting, idle)

    def test_a_task_that_timed_out_is_not_answered_again(self):
        """Fails when a task that was answered for being too slow is computed again by the next process."""
        options = ("--workers=2", "--task-timeout=300ms")
        self.start_next(*options)
        client = self.meet()
        client.send("hang 60000", "echo after", "sleep 100")
        self.assertEqual(client.lines(3), ["ERROR: timed out after 300 ms", "result: after", slept(100)])
        self.ask_for_restart()
        self.server.notify.wait_for("STOPPING")
        self.ask_for_restart()
        self.assertEqual(self.server.wait_exit(3 * SLOWDOWN), RUNTIME_ERROR)  # a worker is left behind
        self.start_next(*options)
        self.assert_serves(client)
        client.finish()
        self.assert_ended(client)
        self.assertEqual(parse_stats(self.meet().ask("STATS"))["timeouts"], 1)
