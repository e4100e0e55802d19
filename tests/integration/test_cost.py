"""What a request costs, counted rather than timed: a bound that is broken is a change in the code, not noise.

The bounds are the figures of the day they were recorded and some room; who makes a request cheaper lowers them.
"""

import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from harness import ServerTestCase, plugin, sanitizer
from strace import Strace
from timing import PATIENCE, let_pass, wait_until

GENERATOR = os.environ.get("POOL_SERVER_LOAD_GENERATOR", "")
FEW, MANY = 2_000, 12_000
ONE_AT_A_TIME, PIPELINED = ("--connections=32",), ("--connections=32", "--pipeline=16")


@unittest.skipIf(sanitizer(), "what a sanitizer adds is not the server's cost")
class CostTestCase(ServerTestCase):
    def assert_cost(self, what, figure, bound):
        print(f"{what}: {figure:.3f} per request, bound {bound}", flush=True)
        self.assertLessEqual(figure, bound)


@unittest.skipUnless(GENERATOR, "no load generator is named by POOL_SERVER_LOAD_GENERATOR")
class LoadTestCase(CostTestCase):
    def load(self, server, requests, *how):
        """Puts load on the server; returns how many requests it served in all."""
        done = subprocess.run([GENERATOR, str(server.port), str(server.pid), "--exchange=echo", "--warm-up=0",
                               f"--requests={requests}", *how], capture_output=True, text=True, timeout=6 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return server.wait_for_stats(lambda s: s["connections"] == 1 and not s["active_workers"] and
                                     not s["queue_depth"], "the clients are gone", 6 * PATIENCE)["completed"]

class SystemCalls(LoadTestCase):
    def calls_per_request(self, requests, *how):
        server = self.start("--workers=4")
        server.stats()
        with Strace(server.pid, trace=("all",)) as strace:
            before = server.stats()["completed"]
            served = self.load(server, requests, *how) - before
        return sum(1 for _, _, line in strace.all_calls() if "resumed>" not in line) / served

    def test_pipelined(self):
        """Fails when a system call is made for each request rather than for each batch."""
        self.assert_cost("system calls, pipelined", self.calls_per_request(MANY, *PIPELINED), 0.4)

    def test_one_at_a_time(self):
        """Fails when a request that comes alone takes more than its recv, its send and a share of what all need."""
        self.assert_cost("system calls, one at a time", self.calls_per_request(FEW, *ONE_AT_A_TIME), 3.5)


class Idle(ServerTestCase):
    def test_no_system_call_in_a_minute(self):
        """Fails when a server with nothing to do wakes up."""
        server = self.start("--workers=1-4", notify=False)
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        server.stats()
        with Strace(server.pid, trace=("all",)) as strace:
            let_pass(60)
        # What each thread waited in from before shows once.
        calls = sorted((name, tid) for tid, name, _ in strace.all_calls())
        self.assertEqual([name for name, _ in calls], ["epoll_wait", "futex"])


class ContextSwitches(LoadTestCase):
    def test_pipelined(self):
        """Fails when a thread is woken for each request."""
        server = self.start("--workers=4")
        self.load(server, MANY, *PIPELINED)
        before, served_before = server.process.context_switches(), server.stats()["completed"]
        served = self.load(server, 20 * MANY, *PIPELINED) - served_before
        self.assert_cost("context switches, pipelined", (server.process.context_switches() - before) / served, 0.1)


class Locks(LoadTestCase):
    def locks_per_request(self, requests, *how):
        count = Path(self.temporary_directory(), "count")
        count.write_bytes(bytes(8))
        server = self.start("--workers=4", prefix=(
            "/usr/bin/env", f"LD_PRELOAD={plugin('count_locks')}", f"COUNT_LOCKS={count}"))
        self.load(server, requests, *how)

        def so_far():
            return int.from_bytes(count.read_bytes(), sys.byteorder)
        before, served_before = so_far(), server.stats()["completed"]
        served = self.load(server, 5 * requests, *how) - served_before
        return (so_far() - before) / served

    def test_pipelined(self):
        """Fails when a request takes more than its worker's own lock, and a share of what all that cross together take."""
        self.assert_cost("locks, pipelined", self.locks_per_request(MANY, *PIPELINED), 1.2)

    def test_one_at_a_time(self):
        self.assert_cost("locks, one at a time", self.locks_per_request(FEW, *ONE_AT_A_TIME), 3)


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
class UnderValgrind(CostTestCase):
    """One client that awaits the replies to what it sent before it sends more, and one worker.

    So that the test says how many requests come at once. How many of them the server hands over at a time follows from
    how long a task takes, and so from how slow the machine just was: what counts is the least of several measurements.
    """

    MEASUREMENTS = 5

    def run_under(self, tool, count, batches, size):
        """What `count` finds in the report of the tool about a server that served that many batches."""
        report = Path(self.temporary_directory(), "report")
        server = self.launch("--workers=1", prefix=(
            "valgrind", *[word.format(report=report) for word in tool], "--fair-sched=yes"))
        wait_until(lambda: server.notify.named("READY"), "the server gets ready under valgrind", 6 * PATIENCE)
        client = self.connect(server)
        for _ in range(batches):
            client.send(*["echo x"] * size)
            self.assertEqual(client.lines(size, 6 * PATIENCE), ["result: x"] * size)
        client.close()
        server.signal()
        self.assertEqual(server.wait_exit(6 * PATIENCE), 0)
        return count(report.read_text())

    def assert_least_cost(self, what, tool, count, *, size, few, many, bound):
        """What more batches of that size add, so that start and end of the server do not count."""
        figure = float("inf")
        for _ in range(self.MEASUREMENTS):
            more = self.run_under(tool, count, many, size) - self.run_under(tool, count, few, size)
            figure = min(figure, more / ((many - few) * size))
            if figure <= bound:
                break
        self.assert_cost(what, figure, bound)

    def assert_instructions(self, what, **how):
        self.assert_least_cost(what, ("--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-file={report}"),
                               lambda log: int(re.search(r"Collected : (\d+)", log)[1]), **how)

    def test_allocations(self):
        """Fails when a request allocates memory in the steady state."""
        self.assert_least_cost(
            "allocations, in batches",
            ("--tool=memcheck", "--leak-check=no", "--undef-value-errors=no", "--log-file={report}"),
            lambda log: int(re.search(r"total heap usage: ([\d,]+) allocs", log)[1].replace(",", "")),
            size=64, few=400, many=1_200, bound=0.015)

    def test_instructions(self):
        """Fails when the way of a request through the server gets longer."""
        self.assert_instructions("instructions, in batches", size=64, few=20, many=320, bound=2_000)

    def test_instructions_one_at_a_time(self):
        """Fails when the way of a request that comes alone gets longer."""
        self.assert_instructions("instructions, one at a time", size=1, few=500, many=4_500, bound=9_000)
