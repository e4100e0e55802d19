"""Restarts that no client notices: connections of every kind, many restarts, and many connections."""

import statistics
import threading
import time

from harness import parse_stats, sanitizer
from manager import RestartTestCase
from timing import SLOWDOWN, Stopwatch, wait_until

RESTARTS = 20
GROWING = ("accepted", "refused", "completed", "errors", "timeouts", "shed", "quarantined", "cancelled", "dropped")


class Guest:
    """A client that is in a certain state at each restart. `tasks` counts what it asked to be computed."""

    def __init__(self, test, kind):
        self.test, self.kind = test, kind
        self.client = test.meet(kind, **self.settings)
        self.tasks = 0
        self.expected = []

    settings = {}

    def ask(self, lines, replies):
        """The bytes of the requests; their replies are expected from now on."""
        self.tasks += len(replies)
        self.expected += replies
        return b"".join(line.encode() + b"\n" for line in lines)

    def prepare(self, number):
        """Gets into its state before a restart."""

    def check(self, number):
        """Everything it was owed came, once and in order."""
        expected, self.expected = self.expected, []
        self.test.assertEqual(self.client.lines(len(expected)), expected)


class Idle(Guest):
    def check(self, number):
        if number % 5 == 4:
            self.client.send_bytes(self.ask([f"echo {number}"], [f"result: {number}"]))
        super().check(number)


class HalfALine(Guest):
    def prepare(self, number):
        self.whole = self.ask([f"echo {number} in two halves"], [f"result: {number} in two halves"])
        self.client.send_bytes(self.whole[:len(self.whole) // 2])

    def check(self, number):
        self.client.send_bytes(self.whole[len(self.whole) // 2:])
        super().check(number)


class Pipelined(Guest):
    COUNT = 500

    def prepare(self, number):
        names = [f"{number}.{index}" for index in range(self.COUNT)]
        self.client.send_bytes(self.ask([f"echo {name}" for name in names], [f"result: {name}" for name in names]))


class RepliesUnread(Guest):
    """Megabytes of replies that it reads only after the restart."""

    settings = {"receive_buffer": 4096}
    COUNT, SIZE = 60, 50_000

    def prepare(self, number):
        texts = [f"{number}.{index} ".ljust(self.SIZE, "u") for index in range(self.COUNT)]
        data = self.ask([f"echo {text}" for text in texts], [f"result: {text}" for text in texts])
        self.client.send_aside(data)
        wait_until(self.client.has_input, "the first of many replies")


class HalfClosed(Guest):
    """Has ended its input, and waits for the rest of its replies; then it comes back as a new client."""

    def prepare(self, number):
        self.client.send_bytes(self.ask(["sleep 100", f"echo {number}"],
                                        ["result: slept 100 ms", f"result: {number}"]) + b"STATS")
        self.client.finish()

    def check(self, number):
        super().check(number)
        stats, = self.client.rest()
        self.test.assertTrue(stats.startswith("stats: "), stats)
        self.client.close()
        self.client = self.test.meet(self.kind)


class Slow(Guest):
    """Has tasks that run while the server is told to stop."""

    def prepare(self, number):
        self.client.send_bytes(self.ask(["sleep 300", "fail", f"echo {number}"],
                                        ["result: slept 300 ms", "ERROR: task failed", f"result: {number}"]))


class Load(threading.Thread):
    """Asks and checks all the time, whatever happens to the server. The longest time without a reply is its gap."""

    WINDOW = 20

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client = client
        self.tasks = 0
        self.gap = 0
        self.failure = None
        self._done = threading.Event()

    def run(self):
        try:
            last = time.monotonic()
            while not self._done.is_set():
                names = range(self.tasks, self.tasks + self.WINDOW)
                self.client.send(*[f"echo load {name}" for name in names])
                self.tasks += self.WINDOW
                for name in names:
                    reply = self.client.line()
                    now = time.monotonic()
                    self.gap, last = max(self.gap, now - last), now
                    if reply != f"result: load {name}":
                        raise AssertionError(f"{reply!r} instead of the reply to {name}")
        except Exception as failure:
            self.failure = failure

    def finish(self):
        self._done.set()
        self.join()
        if self.failure:
            raise self.failure


class ManyRestarts(RestartTestCase):
    KINDS = (Idle, HalfALine, Pipelined, RepliesUnread, HalfClosed, Slow)

    def test_clients_of_every_kind_while_load_goes_on(self):
        """Fails when a restart loses, doubles, reorders or mixes up a reply, a connection, or a counter."""
        self.start_next("--workers=4")
        control = self.meet()
        guests = [kind(self, family) for kind in self.KINDS for family in ("tcp", "unix")]
        load = [Load(self.meet(family)) for family in ("tcp", "unix", "tcp")]
        for each in load:
            each.start()
        before = parse_stats(control.ask("STATS"))
        gaps, pauses = [], []
        for number in range(RESTARTS):
            for guest in guests:
                guest.prepare(number)
            for each in load:
                each.gap = 0
            gaps.append(self.restart("--workers=4"))
            self.assertEqual(self.store.names(), [])
            for guest in guests:
                with self.subTest(guest=type(guest).__name__, kind=guest.kind, restart=number):
                    guest.check(number)
            pauses.append(max(each.gap for each in load))
            stats = parse_stats(control.ask("STATS"))
            for counter in GROWING:
                self.assertGreaterEqual(stats[counter], before[counter], counter)
            self.assertEqual(stats["connections"], 1 + len(guests) + len(load))
            before = stats
        for each in load:
            each.finish()
        stats = parse_stats(control.ask("STATS"))
        self.assertEqual(stats["completed"], sum(each.tasks for each in (*guests, *load)))
        self.assertEqual(stats["accepted"], 1 + len(guests) + len(load) + 2 * RESTARTS)
        self.assertEqual(stats["dropped"], 0)
        for each in (*guests, *load):
            each.client.finish()
            self.assertEqual(each.client.rest(), [])
        print(f"{RESTARTS} restarts: from SIGTERM to READY=1 {self.told(gaps)}, 300 ms of them for a running task; "
              f"the longest wait for a reply {self.told(pauses)}")

    def told(self, seconds):
        return f"median {statistics.median(seconds) * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms"

    def test_stored_once_and_as_systemd_needs_it(self):
        """Fails when the manager is sent a descriptor for each connection, or without FDPOLL=0, which would drop it."""
        self.start_next()
        guests = [self.meet(kind) for kind in ("tcp", "unix") for _ in range(10)]
        self.assert_serves(*guests)
        self.end()
        request, = self.store.requests
        self.assertEqual(request, {"FDSTORE": "1", "FDPOLL": "0", "FDNAME": "pool-server-connections"})
        names = [name for _, name, _ in self.server.notify.messages]
        self.assertLess(names.index("FDSTORE"), names.index("BARRIER"))
        self.assertRegex(self.server.log(), "handed over 20 connections")
        self.start_next()
        self.assertRegex(self.server.log(), "restored 20 connections")
        self.assert_serves(*guests)


class ManyConnections(RestartTestCase):
    COUNT = 4000

    def setUp(self):
        super().setUp()
        self.need_descriptors(self.COUNT + 500)

    def test_all_idle_connections_survive_one_restart(self):
        """Fails when one of 4,000 idle connections is lost, or the time they take keeps an active one waiting."""
        options = f"--max-connections={self.COUNT + 10}"
        self.start_next(options)
        idle = [self.meet() for _ in range(self.COUNT)]
        for client in idle[::50]:
            self.assert_serves(client)
        load = Load(self.meet())
        load.start()
        wait_until(lambda: load.tasks > 5 * load.WINDOW, "load goes on")
        load.gap = 0
        gap = self.restart(options)
        served = load.tasks
        wait_until(lambda: load.failure or load.tasks > served + load.WINDOW, "load goes on")
        load.finish()
        self.assertRegex(self.server.log(), f"restored {self.COUNT + 1} connections")
        every = Stopwatch()
        for number, client in enumerate(idle):
            client.send(f"echo {number}")
        for number, client in enumerate(idle):
            self.assertEqual(client.line(), f"result: {number}")
        print(f"{self.COUNT} connections: {gap * 1000:.0f} ms from SIGTERM to READY=1, an active client waited "
              f"{load.gap * 1000:.0f} ms; each answered within {every.seconds * 1000:.0f} ms")
        if not sanitizer():
            self.assertLess(load.gap, 1 * SLOWDOWN)
