"""examples/monitoring/instances.py: what it makes of a real server, of made-up numbers, and whether its formulas are right."""

import math
import os
import random
import subprocess
import sys
import unittest
from fractions import Fraction
from heapq import heapreplace
from math import factorial
from pathlib import Path

from harness import ServerTestCase, free_port
from timing import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples" / "monitoring"
SCRIPT = EXAMPLES / "instances.py"
sys.path.append(str(EXAMPLES))
import instances

LIMITS = [2.0**power / 1e6 for power in range(4, 27)]


def metrics(runs, workers=4, begun=1000.0, waited=0.0, shed=0):
    """What a server would tell that has run so many seconds for each request."""
    lines = [f'pool_server_requests_total{{outcome="shed"}} {shed}', f"pool_server_workers_max {workers}",
             f"pool_server_service_start_time_seconds {begun}"]
    for limit in [*LIMITS, math.inf]:
        name = "+Inf" if limit == math.inf else f"{limit:.9g}"
        lines.append(f'pool_server_run_seconds_bucket{{le="{name}"}} {sum(run < limit for run in runs)}')
    for name, total in (("run", sum(runs)), ("wait", waited)):
        lines += [f"pool_server_{name}_seconds_sum {total}", f"pool_server_{name}_seconds_count {len(runs)}"]
    return "\n".join(lines) + "\n"


def tell(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE)


def rows(text):
    """The lines that are printed: name → what is told of it."""
    return {line[:11].strip(): line[11:].strip() for line in text.splitlines()}


def told_of(*arguments):
    """What it would print, without a process of its own."""
    options = instances.arguments([str(argument) for argument in arguments])
    return rows(instances.report(instances.gather(options.sources, options.interval), options))


class Formulas(unittest.TestCase):
    def test_known_values(self):
        """Fails if Erlang's C formula gives other values than are known, or than its definition does in exact arithmetic."""
        known = {(1, 0.5): 1 / 2, (2, 1): 1 / 3, (3, 2): 4 / 9, (4, 2): 4 / 23, (10, 8): 0.4092, (4, 4): 1, (4, 5): 1}
        for (workers, offered), share in known.items():
            self.assertAlmostEqual(instances.erlang_c(workers, offered), share, places=4)
        for workers in (1, 2, 5, 20, 100):
            for offered in (Fraction(workers, 10), Fraction(workers, 2), Fraction(workers * 19, 20)):
                last = offered**workers / factorial(workers) * workers / (workers - offered)
                exact = last / (sum(offered**n / factorial(n) for n in range(workers)) + last)
                self.assertAlmostEqual(instances.erlang_c(workers, float(offered)), float(exact), places=9)
        # One worker: Pollaczek's and Khinchine's formula, which is exact.
        self.assertAlmostEqual(instances.Queue(0.8, 1.0, 0.0, 1).mean_wait(), 0.8 / 0.2 / 2)
        self.assertAlmostEqual(instances.Queue(0.8, 1.0, 3.0, 1).mean_wait(), 0.8 / 0.2 * 2)
        self.assertEqual(instances.Queue(8.0, 1.0, 1.0, 8).mean_wait(), math.inf)
        self.assertEqual(instances.Queue(0.1, 1.0, 1.0, 16).wait(0.99), 0.0)

    def test_simulated_queues(self):
        """Fails if waits of simulated queues are not what is estimated: mean and 99th percentile within 20%."""
        rng = random.Random(3)

        def hyperexponential():  # with the mean 1 and the SCV 3.88
            return rng.expovariate(1 / 0.4) if rng.random() < 0.8 else rng.expovariate(1 / 3.4)
        for draw, scv in ((lambda: 1.0, 0.0), (lambda: rng.uniform(0, 2), 1 / 3), (lambda: rng.expovariate(1), 1.0),
                          (hyperexponential, 0.8 * 2 * 0.16 + 0.2 * 2 * 11.56 - 1)):
            for workers, utilisation in ((4, 0.7), (8, 0.75)):
                free, now, waits = [0.0] * workers, 0.0, []
                for _ in range(120_000):
                    now += rng.expovariate(utilisation * workers)
                    begin = max(now, free[0])
                    waits.append(begin - now)
                    heapreplace(free, begin + draw())
                queue = instances.Queue(utilisation * workers, 1.0, scv, workers)
                self.assertAlmostEqual(sum(waits) / len(waits) / queue.mean_wait(), 1, delta=0.2, msg=(scv, workers))
                self.assertAlmostEqual(sorted(waits)[118_800] / queue.wait(0.99), 1, delta=0.2, msg=(scv, workers))

    def test_fewest(self):
        """Fails if the search does not find the smallest number, or does not end."""
        for bound in (1, 2, 3, 7, 8, 9, 1000, 1_000_000):
            self.assertEqual(instances.fewest(lambda number, bound=bound: number >= bound), bound)
        with self.assertRaisesRegex(instances.CannotTell, "more than"):
            instances.fewest(lambda _: False)

    def test_histograms(self):
        """Fails if mean or variation of run times is not got from a histogram: exact, and within 0.05 or a tenth."""
        rng = random.Random(6)
        draws = {"equal": lambda: 0.0017, "just below a limit": lambda: 0.00102, "just above one": lambda: 0.00103,
                 "uniform": lambda: rng.uniform(0, 0.02), "exponential": lambda: rng.expovariate(50),
                 "two kinds": lambda: rng.choice((0.0003, 0.0003, 0.0003, 0.05)), "short": lambda: rng.expovariate(1e4),
                 "lognormal": lambda: rng.lognormvariate(-6, 1)}
        for name, draw in draws.items():
            runs = [draw() for _ in range(5_000)]
            mean = sum(runs) / len(runs)
            scv = sum((run - mean) ** 2 for run in runs) / len(runs) / mean**2
            reading = instances.parse(metrics(runs), 2000.0)
            self.assertAlmostEqual(reading.mean(), mean, places=12)
            self.assertAlmostEqual(reading.scv(), scv, delta=max(0.05, scv / 10), msg=name)


class Files(ServerTestCase):
    def file(self, text, read_at=1100.0, name="metrics"):
        path = Path(self.temporary_directory()) / name
        path.write_text(text)
        os.utime(path, (read_at, read_at))
        return path

    def test_known_answer(self):
        """Fails if what is told of made-up servers is not what follows from their numbers."""
        rng = random.Random(7)
        runs = [rng.expovariate(1) for _ in range(5000)]
        runs = [run * 0.05 / (sum(runs) / 5000) for run in runs]
        file = self.file(metrics(runs, waited=100.0, shed=3))
        told = told_of(file)  # 5,000 in 100 s
        self.assertEqual(told["requests"], "50.0/s, by 4 workers of 1 instances")
        self.assertRegex(told["run time"], r"^50 ms in the mean, squared coefficient of variation (0.9|1.0)")
        self.assertRegex(told["utilisation"], "^6[23]%$")
        self.assertRegex(told["wait"], "^20 ms in the mean; ")
        self.assertIn("3 requests", told["shed"])
        self.assertNotIn("it takes", told)

        # 4 workers x 20/s x 0.8 = 64/s each: 10 at 640/s and less.
        self.assertTrue(told_of("--load=639", file)["it takes"].startswith("10 instances with 4 workers"))
        self.assertTrue(told_of("--load=641", file)["it takes"].startswith("11 instances"))
        self.assertTrue(told_of("--load=641", "--workers=8", file)["it takes"].startswith("6 instances with 8"))
        self.assertTrue(told_of("--load=500", "--skew=1.3", file)["it takes"].startswith("11 instances"))
        self.assertTrue(told_of("--load=641", "--utilisation=0.9", file)["it takes"].startswith("9 instances"))

        reading = instances.read(str(file))
        for goal, wait in (("--wait=0.001", lambda queue: queue.mean_wait()), ("--p99=0.02", lambda queue: queue.wait(0.99))):
            number = int(told_of("--load=1000", goal, file)["it takes"].split()[0])
            bound = float(goal.split("=")[1])
            for instances_, holds in ((number, True), (number - 1, False)):
                queue = instances.Queue(1000 / instances_, reading.mean(), reading.scv(), 4)
                self.assertEqual(wait(queue) <= bound, holds, goal)
        calm, crowds = (int(told_of("--load=1000", "--wait=0.001", f"--arrival-scv={scv}", file)["it takes"].split()[0])
                        for scv in (1, 8))
        self.assertGreater(crowds, calm)

    def test_two_readings(self):
        """Fails if what was before the first reading counts, or if counters that began anew are taken for a difference."""
        early, late = (instances.parse(metrics(runs, waited=sum(runs) / 2, shed=shed), at)
                       for runs, shed, at in (([0.01] * 100, 1, 1100.0), ([0.01] * 100 + [0.2] * 300, 5, 1130.0)))
        between = late.since(early)
        self.assertEqual((between.runs, between.waits, between.shed, between.seconds, between.workers), (300, 300, 4, 30.0, 4))
        self.assertAlmostEqual(between.mean(), 0.2)
        self.assertAlmostEqual(between.seconds_waited, 30.0)
        self.assertEqual((between.buckets[LIMITS[10]], between.buckets[math.inf]), (0, 300))
        for other in (instances.parse(metrics([0.01] * 400, begun=1101.0), 1130.0), instances.parse(metrics([0.01] * 99), 1130.0)):
            with self.assertRaisesRegex(instances.CannotTell, "anew"):
                other.since(early)

    def test_several_servers(self):
        """Fails if servers are not added up, or if it is not told that machines differ."""
        one = self.file(metrics([0.01] * 1000))
        other = self.file(metrics([0.03] * 500, workers=2), read_at=1050.0)
        told = told_of(one, other)
        self.assertEqual(told["requests"], "20.0/s, by 6 workers of 2 instances")  # 10/s each
        self.assertTrue(told["run time"].startswith("16.7 ms"))
        self.assertTrue(told["machines"].startswith("differ: 10 ms to 30 ms"))
        self.assertNotIn("machines", told_of(one, one))

    def test_what_cannot_be_told(self):
        """Fails if there is an answer, or anything but one line that says why not, where numbers are too few or wrong."""
        sound = metrics([0.01] * 1000)
        cases = {
            "99 requests are too few": self.file(metrics([0.01] * 99)),
            "those are not the metrics of a pool-server": self.file("go_goroutines 7\n"),
            "not whole": self.file(sound.replace('le="+Inf"} 1000', 'le="+Inf"} 999')),
            "took no time": self.file(metrics([0.0] * 1000)),
            "cover no time": self.file(sound, read_at=999.0),
            "could not convert": self.file(sound.replace("run_seconds_sum ", "run_seconds_sum x")),
            "neither HOST:PORT nor a path": "/no/such/file",
            "refused": f"127.0.0.1:{free_port()}",
        }
        for reason, source in cases.items():
            done = tell(source)
            self.assertEqual((done.returncode, done.stdout), (1, ""), reason)
            self.assertRegex(done.stderr, rf"\Ainstances.py: .*{reason}.*\n\Z")
        file = self.file(sound)
        self.assertIn("more than 1,048,576 instances", tell("--load=1e12", file).stderr)
        for mistake in (["--load=0"], ["--load=x"], ["--wait=1"], ["--workers=0"], ["--load=5", "--p99=-1"], ["--interval=inf"]):
            done = tell(*mistake, file)
            self.assertEqual((done.returncode, done.stdout), (2, ""), mistake)
        # The same file twice: nothing happened in between.
        self.assertIn("cover no time", tell("--interval=0.01", file).stderr)


class RealServer(ServerTestCase):
    def test_real_server(self):
        """Fails if it cannot read a real server, over TCP and a unix socket, or tells something else than what it was asked for."""
        address = f"127.0.0.1:{free_port()}"
        path = f"{self.temporary_directory()}/monitor"
        server = self.start(f"--monitor={address}", f"--monitor={path}", "--workers=3")
        self.assertIn("0 requests are too few", tell(address).stderr)
        client = self.connect(server)
        count = 150
        client.send(*["sleep 10"] * count)
        for _ in range(count):
            self.assertEqual(client.line(), "result: slept 10 ms")
        for source in (address, path, f"http://{address}", f"http://{address}/metrics"):
            done = tell(source)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            told = rows(done.stdout)
            self.assertIn("3 workers of 1 instances", told["requests"])
            reading = instances.read(source)
            self.assertEqual(reading.runs, count)
            self.assertGreaterEqual(reading.mean(), 0.01)
            self.assertLess(reading.seconds_run, 3 * reading.seconds)
        # Two readings apart know nothing of what was before.
        self.assertIn("0 requests are too few", tell("--interval=0.01", address).stderr)
        self.assertIn("status 404", tell(f"http://{address}/nothing").stderr)
