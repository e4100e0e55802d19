"""Mixed traffic over reloads and restarts: what the server holds stays the same, however long it goes on.

  soak.py [--minutes N] [--server PATH] [--leak]

Three parts share the time: a server that is told other settings again and again; one process after the other, each
handed the connections of the one before; and both with a handler in processes of its own. Some clients stay, each of whose
replies is compared with its request; others come, and leave in order, with half a line, or with replies on their way; visitors
look at the monitor, and a balancer asks. Whenever all of these have gone, what is held is noted: memory (written and not
shared, the server's and its processes'), descriptors, threads, processes.

Fails where a line fitted to the memory rises by more than 1 KiB per 1,000 requests, or where there are more of the others in
the second half than in the first. With --leak the handler leaks, which must be found.
"""

import argparse
import dataclasses
import os
import random
import re
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

parser = argparse.ArgumentParser(usage=__doc__)
parser.add_argument("--minutes", type=float, default=10)
parser.add_argument("--server", default="build/src/pool-server")
parser.add_argument("--leak", action="store_true")
options = parser.parse_args()
os.environ["POOL_SERVER_BINARY"] = str(Path(options.server).resolve(strict=True))

from client import Client  # noqa: E402
from harness import plugin, sanitizer  # noqa: E402
from http_client import ask, connect, read_all  # noqa: E402
from manager import RestartTestCase  # noqa: E402
from procfs import Process  # noqa: E402
from timing import wait_until  # noqa: E402

STAYING = 20
WORKERS = 3  # whenever it is noted what is held
LEAST_NOTES = 25  # or a slope says little; a slow machine may take thrice the time for them
ROUNDS_BETWEEN = 10  # of traffic, from one reload or restart to the next
MOST = 1.0  # KiB per 1,000 requests
WARM_UP = 0.3  # of the time, in which memory is first used
SKIPPED = 77  # of meson
MAX_LINE = 10_000
STATS = re.compile(r"stats: \S+=\S+( \S+=\S+)+")


@dataclasses.dataclass(frozen=True)
class Held:
    requests: int
    memory: int  # KiB
    descriptors: int
    threads: int
    processes: int

    COUNTS = ("descriptors", "threads", "processes")

    @staticmethod
    def by(process, requests):
        processes = [process, *map(Process, process.descendants())]
        return Held(requests, sum(map(private_bytes, processes)) // 1024, len(process.descriptors()),
                    len(process.threads()), len(processes))


def private_bytes(process):
    try:
        return process.private_bytes()
    except OSError:
        return 0  # one of the processes below, which has ended


class Soak(RestartTestCase):
    """One part: `reloads` and `restarts` say what is done to the server between its rounds."""

    def __init__(self, name, *settings, reloads=False, restarts=False):
        super().__init__()
        self.name = name
        self.settings = settings
        self.reloads = reloads
        self.restarts = restarts
        self.chance = random.Random(1)
        self.requests = 0
        self.held = []

    def run_for(self, seconds):
        self.setUp()
        try:
            self.begin()
            begin = time.monotonic()
            while (passed := time.monotonic() - begin) < seconds or (len(self.held) < LEAST_NOTES and passed < 3 * seconds):
                self.go_on()
                if self.reloads:
                    self.reload(workers=self.chance.choice([2, 4]), queue_capacity=self.chance.choice([20, 500]))
                    self.go_on()
                    self.reload()
                self.note()
                if self.restarts:
                    self.end()
                    self.start_server()
            return self.judge()
        finally:
            self.doCleanups()

    def go_on(self):
        for _ in range(ROUNDS_BETWEEN):
            self.round()

    # --- The server ---

    def begin(self):
        directory = self.temporary_directory()
        self.config, self.monitor, self.agent = (f"{directory}/{name}" for name in ("config", "monitor", "agent"))
        self.configure()
        self.start_server()
        self.staying = [self.meet(kind) for _ in range(STAYING // 2) for kind in self.addresses]

    def configure(self, workers=WORKERS, queue_capacity=1000):
        handler = plugin("unruly") if options.leak else "drill"
        lines = [f"handler={handler}", f"workers={workers}", f"max-line={MAX_LINE}", f"queue-capacity={queue_capacity}",
                 f"monitor={self.monitor}", f"agent={self.agent}"]
        Path(self.config).write_text("\n".join([*lines, *self.settings]) + "\n")

    def start_server(self):
        self.start_next(f"--config={self.config}", handler=None)

    def reload(self, **settings):
        self.configure(**settings)
        before = self.server.log().count("configuration reloaded")
        self.server.signal(1)
        wait_until(lambda: self.server.log().count("configuration reloaded") > before, "it is reloaded")

    # --- Its clients ---

    def lines(self):
        """(request, reply) pairs."""
        number = self.requests
        pairs = [(f"echo {number} {index}", f"result: {number} {index}") for index in range(30)]
        pairs += [("", "ERROR: empty request"), ("STATS", STATS), ("nonsense", "ERROR: invalid input"),
                  ("m" * (MAX_LINE + 1), f"ERROR: line too long (max {MAX_LINE} bytes)"),
                  ("echo " + "x" * 3000, "result: " + "x" * 3000)]
        if not options.leak:
            pairs += [("sleep 1", "result: slept 1 ms"), ("fail", "ERROR: task failed")]
        elif self.chance.random() < 0.01:
            pairs += [("leak 1", "result: leaked")]
        self.chance.shuffle(pairs)
        return pairs

    def round(self):
        owed = []
        for client in self.staying:
            pairs = self.lines()
            client.send(*(request for request, _ in pairs))
            owed.append([reply for _, reply in pairs])
            self.requests += len(pairs)
        self.come_and_go()
        for client, replies in zip(self.staying, owed):
            for wanted, got in zip(replies, client.lines(len(replies))):
                if not (STATS.fullmatch(got) if wanted is STATS else got == wanted):
                    raise AssertionError(f"got {got[:100]!r}, not {wanted!r}")

    def come_and_go(self):
        for address in self.addresses.values():
            leaves_in_order, half_a_line, leaves_replies, ends = (Client(address) for _ in range(4))
            leaves_in_order.ask("echo hello")
            leaves_in_order.close()
            half_a_line.send_bytes(b"echo hal")
            half_a_line.reset()
            leaves_replies.send(*["echo " + "y" * 1000] * 20)
            leaves_replies.close()
            ends.send("echo one", "echo two")
            ends.finish()
            if ends.rest() != ["result: one", "result: two"]:
                raise AssertionError("who has ended its input is not served")
            ends.close()
            self.requests += 23
        if ask(self.monitor, "/metrics").status != 200:
            raise AssertionError("a visitor is turned away")
        with connect(self.agent) as balancer:
            if not read_all(balancer).startswith(b"up "):
                raise AssertionError("a balancer is told something else")

    # --- What it holds ---

    def note(self):
        """Once those who left are gone for the server as well."""
        def is_settled():
            self.requests += 1
            stats = self.staying[0].ask("STATS")
            return (f" connections={STAYING} " in stats and f" workers={WORKERS} " in stats
                    and len(self.server.process.descendants()) == descendants)
        # What a reload replaces goes one by one.
        descendants = 2 + WORKERS if "isolate=yes" in self.settings else 0
        wait_until(is_settled, f"those who came have gone, and {descendants} processes are left")
        self.held.append(Held.by(self.server.process, self.requests))

    def judge(self):
        held = [held for held in self.held if held.requests >= WARM_UP * self.requests]
        slope, _ = statistics.linear_regression(*zip(*((one.requests / 1000, one.memory) for one in held)))
        halves = held[:len(held) // 2], held[len(held) // 2:]
        faults = [f"memory rises by {slope:.2f} KiB per 1,000 requests"] if slope > MOST else []
        counts = []
        for what in Held.COUNTS:
            before, after = (round(statistics.median(getattr(one, what) for one in half)) for half in halves)
            counts.append(f"{before:4} {after:4}")
            if after > before:
                faults.append(f"{before} {what} become {after}")
        print(f"{self.name:10} {self.requests:10,} {len(held):8} {held[0].memory:10,} {held[-1].memory:8,} {slope:9.2f}"
              f"   {'   '.join(counts)}", flush=True)
        return [f"{self.name}: {fault}" for fault in faults]


def main():
    if sanitizer():
        print("SKIPPED: a sanitizer keeps what is freed for a while")
        sys.exit(SKIPPED)
    parts = [Soak("reloads", reloads=True), Soak("restarts", restarts=True),
             Soak("isolated", "isolate=yes", "worker-max-tasks=2000", reloads=True, restarts=True)]
    if options.leak:  # in the server itself: a process of its own would take what it leaks with it at the next reload
        parts = [Soak("reloads", "isolate=no", reloads=True)]
    print("                                   KiB held           KiB per   in the first and the second half:\n"
          "part         requests    notes   at first, at last  1,000   descriptors threads   processes")
    faults = [fault for part in parts for fault in part.run_for(options.minutes * 60 / len(parts))]
    if options.leak:
        found = [fault for fault in faults if "memory rises" in fault]
        sys.exit(0 if found else "FAIL: a leak was not found")
    for fault in faults:
        print(f"FAIL: {fault}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
