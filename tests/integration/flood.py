"""Survive the flood: ten times what the pool can do, slow tasks, clients that lose patience, and then a drain.

The load is open: requests come at their rate whether or not earlier ones were answered, as from many users. One
thread drives all clients through one selector. POOL_SERVER_FLOOD_SECONDS sets the length of the sustained phase,
which is short by default; 40 is the long version.
"""

import collections
import os
import random
import selectors
import time

from client import Client
from harness import ServerTestCase, sanitizer
from timing import PATIENCE, Stopwatch, wait_until

SUSTAINED = float(os.environ.get("POOL_SERVER_FLOOD_SECONDS", "4"))
MIB = 1 << 20


class Tally:
    """What the clients saw. Every request sent is answered, shed, or abandoned by its client, or still under way."""

    def __init__(self):
        self.sent = self.results = self.busy = self.waited = self.abandoned = 0
        self.resets = 0
        self.faults = []

    @property
    def settled(self):
        return self.results + self.busy + self.waited + self.abandoned


class FloodClient:
    """A connection that never waits: it takes requests at any time and reads what has come."""

    def __init__(self, address, tally, patience=None):
        """`patience`: seconds without an answer after which it resets and asks again; None: it waits."""
        self._address, self._tally, self._patience = address, tally, patience
        self.pending = collections.deque()  # (request, expected reply, when it was sent)
        self._connect()

    def _connect(self):
        self._client = Client(self._address)
        self.socket = self._client.socket
        self.socket.setblocking(False)
        self._rest, self._unsent = b"", b""

    def ask(self, milliseconds, now):
        request = b"sleep %d\n" % milliseconds
        self.pending.append((request, b"result: slept %d ms" % milliseconds, now))
        self._tally.sent += 1
        self._unsent += request

    def push(self):
        if not self._unsent:
            return
        try:
            self._unsent = self._unsent[self.socket.send(self._unsent):]
        except BlockingIOError:
            pass  # the server does not read for now; the next visit tries again

    def pull(self):
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        if not data:
            raise AssertionError("the server closed a connection in the flood")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line):
        if not self.pending:
            self._tally.faults.append((line, "not asked for"))
            return
        _, expected, _ = self.pending.popleft()
        if line == expected:
            self._tally.results += 1
        elif line == b"ERROR: server busy":
            self._tally.busy += 1
        elif line == b"ERROR: waited too long":
            self._tally.waited += 1
        else:
            self._tally.faults.append((line, expected))

    def is_out_of_patience(self, now):
        return self._patience is not None and bool(self.pending) and now - self.pending[0][2] > self._patience

    def reset_and_retry(self, now):
        """Gives up what is under way with a reset, and asks again for the first of it on a new connection."""
        self._tally.abandoned += len(self.pending)
        self._tally.resets += 1
        again = self.pending[0][0]
        self.pending.clear()
        self._client.reset()
        self._connect()
        self.ask(int(again.split()[1]), now)

    def reset(self):
        self._tally.abandoned += len(self.pending)
        self.pending.clear()
        self._client.reset()

    def close(self):
        self._client.close()


class Flood:
    """Drives clients at a rate. `watch` is called about ten times a second."""

    WATCH_PERIOD = 0.1

    def __init__(self, watch):
        self._watch = watch
        self._selector = selectors.DefaultSelector()
        self._clients = []
        self._turn = 0
        self._next_watch = 0.0
        self._random = random.Random(1)  # the same slow tasks each time

    def add(self, clients):
        for client in clients:
            self._clients.append(client)
            self._selector.register(client.socket, selectors.EVENT_READ, client)

    def remove(self, clients):
        for client in clients:
            self._clients.remove(client)
            self._selector.unregister(client.socket)

    def run(self, seconds, rate, slow_share=0.0):
        """Sends requests for so long; rate(share of the time that has passed) tells how many a second."""
        start = last = time.monotonic()
        due = 0.0
        while (now := time.monotonic()) < start + seconds:
            due += rate((now - start) / seconds) * (now - last)
            last = now
            while due >= 1:
                slow = self._random.random() < slow_share
                self._clients[self._turn % len(self._clients)].ask(SLOW_MS if slow else TASK_MS, now)
                self._turn += 1
                due -= 1
            self._visit(now)

    def settle(self):
        """Sends nothing new; returns when every request has been settled."""
        deadline = time.monotonic() + PATIENCE
        while any(client.pending for client in self._clients):
            if time.monotonic() > deadline:
                raise AssertionError(f"{sum(len(c.pending) for c in self._clients)} requests were never answered")
            self._visit(time.monotonic())

    def _visit(self, now):
        for client in self._clients:
            if client.is_out_of_patience(now):
                self._selector.unregister(client.socket)
                client.reset_and_retry(now)
                self._selector.register(client.socket, selectors.EVENT_READ, client)
            client.push()
        for key, _ in self._selector.select(0.005):
            key.data.pull()
        if now >= self._next_watch:
            self._next_watch = now + self.WATCH_PERIOD
            self._watch()

    def close(self):
        for client in self._clients:
            client.close()
        self._selector.close()


TASK_MS, SLOW_MS = 5, 50
WORKERS = 2
SLOW_SHARE = 0.05
CAPACITY = 64
CLIENTS, IMPATIENT = 40, 8  # one in five
# What the pool can do a second: the flood is ten times that.
CAN_DO = WORKERS * 1000 / (TASK_MS * (1 - SLOW_SHARE) + SLOW_MS * SLOW_SHARE)


class SurviveTheFlood(ServerTestCase):
    OPTIONS = (f"--workers={WORKERS}", f"--queue-capacity={CAPACITY}", "--overload=reject", "--queue-timeout=120ms",
               "--queue-target=30ms", "--task-timeout=5s")

    def start_flood(self):
        self.server = self.start(*self.OPTIONS)
        self.server.stats()
        self.deepest, self.largest, self.most_descriptors, self.slowest_stats = 0, 0, 0, 0
        self.flood = Flood(self.watch)
        self.addCleanup(self.flood.close)

    def watch(self):
        answer = Stopwatch()
        stats = self.server.stats()
        self.slowest_stats = max(self.slowest_stats, answer.seconds)
        self.deepest = max(self.deepest, stats["queue_depth"])
        self.largest = max(self.largest, self.server.process.resident_bytes())
        self.most_descriptors = max(self.most_descriptors, len(self.server.process.descriptors()))

    def clients(self, count, tally, patience=None):
        clients = [FloodClient(self.server.address, tally, patience) for _ in range(count)]
        self.flood.add(clients)
        return clients

    def at_rest(self, connections):
        """STATS once nothing is under way and no result is on its way to a client that left."""
        return self.server.wait_for_stats(
            lambda s: not s["queue_depth"] and not s["active_workers"] and s["connections"] == connections, "rest")

    def assert_no_faults(self, *tallies):
        for tally in tallies:
            self.assertEqual(tally.faults[:5], [])

    def test_ramp_sustained_and_drain(self):
        """Fails when a request is lost or answered twice, a shed is not told or not counted, or something piles up."""
        self.start_flood()
        patient, impatient = Tally(), Tally()
        steady = self.clients(CLIENTS - IMPATIENT, patient)
        self.flood.run(0.5, lambda _: CAN_DO / 2)  # what is allocated once is part of the baseline
        self.flood.settle()
        baseline = self.at_rest(len(steady) + 1)
        kinds, threads = self.server.process.kinds(), self.server.process.threads()
        memory = self.server.process.resident_bytes()

        moody = self.clients(IMPATIENT, impatient, patience=0.03)
        self.flood.run(2, lambda passed: CAN_DO * (1 + 9 * passed), SLOW_SHARE)
        self.flood.run(SUSTAINED, lambda _: CAN_DO * 10, SLOW_SHARE)
        self.flood.remove(moody)
        for client in moody:
            client.reset()
        self.flood.settle()
        after = self.at_rest(len(steady) + 1)
        self.check_mixed(baseline, after, patient, impatient)
        self.check_bounds(memory, kinds, threads)
        self.report(patient, impatient, memory)

    def check_mixed(self, before, after, patient, impatient):
        self.assert_no_faults(patient, impatient)
        self.assertEqual((patient.settled, patient.abandoned), (patient.sent, 0))
        self.assertEqual(impatient.settled, impatient.sent)
        self.assertGreater(impatient.resets, 0)
        change = {key: after[key] - before[key] for key in after}
        self.assertGreater(change["shed_busy"], 0)
        self.assertGreater(change["completed"], 0)
        self.assertGreaterEqual(change["cancelled"], 1)
        # What a client abandoned may have been done, shed, cancelled, or never been read: nobody can tell which. So
        # here the two counts agree up to these; exactly they do where nobody leaves (test_counts_agree_exactly).
        busy = patient.busy + impatient.busy - before["shed_busy"]
        waited = patient.waited + impatient.waited - before["shed_timeout"] - before["shed_target"]
        abandoned = impatient.abandoned
        self.assertLessEqual(busy, change["shed_busy"])
        self.assertLessEqual(waited, change["shed_timeout"] + change["shed_target"])
        self.assertLessEqual(change["shed"], busy + waited + abandoned)
        seen = patient.results + impatient.results - before["completed"]
        self.assertLessEqual(seen, change["completed"])
        self.assertLessEqual(change["completed"], seen + abandoned)
        sent = patient.sent - before["completed"] - before["shed"] + impatient.sent
        self.assertLessEqual(change["completed"] + change["shed"] + change["cancelled"], sent)
        self.assertEqual(after["shed"], after["shed_busy"] + after["shed_timeout"] + after["shed_target"])
        self.assertEqual((change["timeouts"], change["quarantined"], change["refused"]), (0, 0, 0))

    def check_bounds(self, memory, kinds, threads):
        self.assertLessEqual(self.deepest, CAPACITY)
        self.assertLessEqual(self.most_descriptors, len(kinds) + 3 * IMPATIENT)
        self.assert_quick(self.slowest_stats, 1)
        self.assertEqual(self.server.process.threads(), threads)
        wait_until(lambda: self.server.process.kinds() == kinds, "the descriptors are back at the baseline")
        if not sanitizer():
            self.assertLess(self.largest - memory, 8 * MIB)
            self.assertLess(self.server.process.resident_bytes() - memory, 4 * MIB)

    def report(self, patient, impatient, memory):
        for name, tally in (("patient", patient), ("impatient", impatient)):
            print(f"{name}: {tally.sent} sent, {tally.results} done, {tally.busy} busy, {tally.waited} waited too "
                  f"long, {tally.abandoned} abandoned in {tally.resets} resets")
        print(f"queue at most {self.deepest} of {CAPACITY}, STATS at most {self.slowest_stats * 1e3:.0f} ms, memory "
              f"{memory / MIB:.1f} MiB before, {self.largest / MIB:.1f} at most, "
              f"{self.server.process.resident_bytes() / MIB:.1f} after")

    def test_counts_agree_exactly(self):
        """Fails when what the server counts as done or shed is not what its clients were told, one for one."""
        # Exact because nobody leaves, so that each answer is read, and because both counts are taken at rest.
        self.start_flood()
        tally = Tally()
        clients = self.clients(CLIENTS, tally)
        self.flood.run(1.5, lambda _: CAN_DO * 10, SLOW_SHARE)
        self.flood.settle()
        stats = self.at_rest(len(clients) + 1)
        self.assert_no_faults(tally)
        self.assertEqual(tally.settled, tally.sent)
        self.assertEqual(stats["completed"], tally.results)
        self.assertEqual(stats["shed_busy"], tally.busy)
        self.assertEqual(stats["shed_timeout"] + stats["shed_target"], tally.waited)
        self.assertEqual(stats["shed"], tally.busy + tally.waited)
        self.assertEqual(stats["errors"], tally.busy + tally.waited)
        self.assertGreater(tally.busy, 0)
        self.assertGreater(tally.waited, 0)
        self.assertGreater(tally.results, 0)
        self.assertEqual((stats["cancelled"], stats["dropped"]), (0, 0))

    def test_stop_amid_the_flood(self):
        """Fails when a stop under full load drops what was accepted, or does not come to an end."""
        self.start_flood()
        clients = [Client(self.server.address) for _ in range(8)]
        for client in clients:
            self.addCleanup(client.close)
            client.send(*[f"sleep {TASK_MS}"] * 40)
        self.server.wait_for_stats(lambda s: s["completed"] > 10, "work goes on")
        stop = Stopwatch()
        self.server.signal()
        replies = [reply for client in clients for reply in client.rest()]
        self.assertEqual(self.server.wait_exit(), 0)
        self.assert_quick(stop.seconds, 3)
        allowed = {f"result: slept {TASK_MS} ms", "ERROR: server busy", "ERROR: waited too long"}
        self.assertLessEqual(set(replies), allowed)
        self.assertEqual(len(replies), 320)
