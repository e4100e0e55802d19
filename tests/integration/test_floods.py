"""Clients that keep the loop itself busy: what needs no worker is bounded by nothing else than the loop's own fairness."""

import contextlib
import multiprocessing
import selectors
import socket

from harness import ServerTestCase
from timing import SLOWDOWN, Stopwatch, let_pass, wait_until

PIECE = 1 << 16


def flood(address, text, connections, under_way):
    """Sends `text` over and over on each connection and throws away what comes, until it is killed."""
    data = (text * (2 * PIECE // len(text) + 2))
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            client = socket.create_connection(address)
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE, [0])
        under_way.set()
        while True:
            for key, events in selector.select():
                with contextlib.suppress(BlockingIOError):
                    if events & selectors.EVENT_READ:
                        key.fileobj.recv(1 << 18)
                with contextlib.suppress(BlockingIOError):
                    if events & selectors.EVENT_WRITE:
                        start = key.data[0]
                        key.data[0] = (start + key.fileobj.send(data[start:start + PIECE])) % len(text)


class FloodTestCase(ServerTestCase):
    def begin_flood(self, server, text, connections):
        """From a process of its own, as a slow flood shows nothing."""
        context = multiprocessing.get_context("fork")
        under_way = context.Event()
        process = context.Process(target=flood, args=(server.address, text, connections, under_way), daemon=True)
        process.start()
        self.addCleanup(process.join)
        self.addCleanup(process.kill)
        wait_until(under_way.is_set, "the flood's clients are connected")
        let_pass(0.5)  # until all of them have sent as much as is taken


class BesideFloods(FloodTestCase):
    """One connection's read may bring 65,536 lines; were they answered in one go, 200 such clients would keep everyone
    else waiting for seconds. The goal for one that asks one thing at a time is 5 ms; three times that is the bound, as
    the flood itself takes a processor."""

    CONNECTIONS = 200
    ROUNDS = 5
    ASKED = 50
    BOUND = 0.015

    def check_polite_client(self, text, *options):
        server = self.start("--workers=2", *options)
        polite = self.connect(server)
        self.assertEqual(polite.ask("echo before"), "result: before")
        self.begin_flood(server, text, self.CONNECTIONS)
        medians = []
        for _ in range(self.ROUNDS):
            took = []
            while len(took) < self.ASKED and sum(took) < SLOWDOWN:
                answer = Stopwatch()
                self.assertEqual(polite.ask("echo polite"), "result: polite")
                took.append(answer.seconds)
            medians.append(sorted(took)[len(took) // 2])
        # Others on this machine may spoil one round; a loop that is kept busy spoils each of them.
        print(f"polite client: median of {self.ASKED} in the best of {len(medians)} rounds {min(medians) * 1e3:.1f} ms,"
              f" in the worst {max(medians) * 1e3:.1f} ms")
        self.assert_quick(min(medians), self.BOUND)

    def test_of_stats(self):
        """Fails when pipelined STATS are answered as far as one read goes, or each of them is rendered."""
        self.check_polite_client(b"STATS\n")

    def test_of_empty_lines(self):
        """Fails when pipelined lines that the loop answers itself are answered as far as one read goes."""
        self.check_polite_client(b"\n")

    def test_of_lines_that_are_too_long(self):
        """Fails when refusing or skipping lines that are too long has no bound in lines or in bytes read."""
        self.check_polite_client(b"x" * 41 + b"\n", "--max-line=40")
        self.check_polite_client(b"x" * 1_000_000 + b"\n")

    def test_of_errors_and_stats_in_turn(self):
        """Fails when STATS after each error is rendered again in the same round."""
        self.check_polite_client(b"\nSTATS\n")

    def test_of_work(self):
        """Fails when lines that become tasks are taken without a bound for each connection."""
        self.check_polite_client(b"echo flood\n")

    def test_of_work_that_is_refused(self):
        """Fails when refusals of a full queue are made as far as one read goes."""
        self.check_polite_client(b"echo flood\n", "--overload=reject")


class BesideManyFloods(FloodTestCase):
    INTERVAL = 1.0 * SLOWDOWN

    def test_the_watchdog_is_fed(self):
        """Fails when a round has no bound of its own, so that 512 floods make it longer than the watchdog's time."""
        server = self.start(env={"WATCHDOG_USEC": str(int(self.INTERVAL * 1e6)), "WATCHDOG_PID": "{pid}"})
        self.begin_flood(server, b"STATS\n", 512)
        have = len(server.notify.named("WATCHDOG"))
        wait_until(lambda: len(server.notify.named("WATCHDOG")) >= have + 6, "six more WATCHDOG=1")
        times = [when for when, _ in server.notify.named("WATCHDOG")][have:]
        longest = max(after - before for before, after in zip(times, times[1:]))
        print(f"longest time between two WATCHDOG=1: {longest * 1e3:.0f} ms of {self.INTERVAL * 1e3:.0f} ms")
        self.assertLess(longest, self.INTERVAL)
