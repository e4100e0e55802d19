"""What a request costs, counted rather than timed: a bound that is broken is a change in the code, not noise.

The bounds are the figures of the day they were recorded and some room; who makes a request cheaper lowers them.
"""

import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from harness import ServerTestCase, sanitizer
from strace import Strace
from timing import PATIENCE, let_pass, wait_until

GENERATOR = os.environ.get("POOL_SERVER_LOAD_GENERATOR", "")
FEW, MANY = 2_000, 12_000
ONE_AT_A_TIME, PIPELINED = ("--connections=32",), ("--connections=32", "--pipeline=16")


@unittest.skipUnless(GENERATOR, "no load generator is named by POOL_SERVER_LOAD_GENERATOR")
@unittest.skipIf(sanitizer(), "what a sanitizer adds is not the server's cost")
class CostTestCase(ServerTestCase):
    def load(self, server, requests, *how):
        """Puts load on the server; returns how many requests it served in all."""
        done = subprocess.run([GENERATOR, str(server.port), str(server.pid), "--exchange=echo", "--warm-up=0",
                               f"--requests={requests}", *how], capture_output=True, text=True, timeout=6 * PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return server.wait_for_stats(lambda s: s["connections"] == 1 and not s["active_workers"] and
                                     not s["queue_depth"], "the clients are gone", 6 * PATIENCE)["completed"]

    def assert_cost(self, what, figure, bound):
        print(f"{what}: {figure:.3f} per request, bound {bound}", flush=True)
        self.assertLessEqual(figure, bound)


class SystemCalls(CostTestCase):
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


class ContextSwitches(CostTestCase):
    def test_pipelined(self):
        """Fails when a thread is woken for each request."""
        server = self.start("--workers=4")
        self.load(server, MANY, *PIPELINED)
        before, served_before = server.process.context_switches(), server.stats()["completed"]
        served = self.load(server, 20 * MANY, *PIPELINED) - served_before
        self.assert_cost("context switches, pipelined", (server.process.context_switches() - before) / served, 0.1)


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
class UnderValgrind(CostTestCase):
    def run_under(self, tool, pattern, requests, how):
        """The number that the tool reports at the end, and how many requests were served."""
        report = Path(self.temporary_directory(), f"report-{requests}")
        server = self.launch("--workers=4", prefix=(
            "valgrind", *tool.split(), "--fair-sched=yes", f"--log-file={report}"))
        wait_until(lambda: server.notify.named("READY"), "the server gets ready under valgrind", 6 * PATIENCE)
        served = self.load(server, requests, *how)
        server.signal()
        self.assertEqual(server.wait_exit(6 * PATIENCE), 0)
        return int(re.search(pattern, report.read_text())[1].replace(",", "")), served

    def per_request(self, tool, pattern, how, few=FEW, many=MANY):
        """What more requests add, so that start and end of the server do not count."""
        few, few_served = self.run_under(tool, pattern, few, how)
        many, many_served = self.run_under(tool, pattern, many, how)
        return (many - few) / (many_served - few_served)

    def test_allocations(self):
        """Fails when a request allocates memory in the steady state.

        Until then each run that goes round has grown to the longest it is used for, which takes some thousand requests.
        """
        self.assert_cost("allocations, pipelined", self.per_request(
            "--tool=memcheck --leak-check=no --undef-value-errors=no", r"total heap usage: ([\d,]+) allocs",
            PIPELINED, 2 * MANY, 7 * MANY), 0.02)

    def test_instructions(self):
        """Fails when the way of a request through the server gets longer."""
        self.assert_cost("instructions, pipelined", self.per_request(
            "--tool=callgrind --callgrind-out-file=/dev/null", r"Collected : (\d+)", PIPELINED), 2_100)

    def test_instructions_one_at_a_time(self):
        """Fails when the way of a request that comes alone gets longer."""
        self.assert_cost("instructions, one at a time", self.per_request(
            "--tool=callgrind --callgrind-out-file=/dev/null", r"Collected : (\d+)", ONE_AT_A_TIME), 4_500)
