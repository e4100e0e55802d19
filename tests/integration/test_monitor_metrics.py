"""The metrics: to Prometheus' taste, in the manual, and the same service's over a restart."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

from harness import ServerTestCase, free_port
from http_client import ask
from manager import RestartTestCase
from test_monitor import MonitorMixin
from timing import PATIENCE, SLOWDOWN, wait_until

MANUAL = Path(__file__).parents[2] / "man" / "pool-server-monitoring.7"
LINE = re.compile(r'^([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (\S+)$')
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
BUSY = "/bin/sh -c 'while read line; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; done'"


class Metrics(MonitorMixin, ServerTestCase):
    def test_to_the_taste_of_prometheus(self):
        """Fails when promtool finds something to say about a name, a type, a help or a unit."""
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed")
        self.start_monitored("--workers=1", handler=None, program="/bin/cat")
        wait_until(lambda: "pool_server_programs" in self.get("/metrics").text, "programs have been looked at")
        done = subprocess.run(["promtool", "check", "metrics"], input=self.get("/metrics").text, text=True,
                              capture_output=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def families(self, text):
        """Name → type, of what is announced; every line must belong to what was announced last."""
        found, name = {}, None
        for line in text.splitlines():
            if line == "# EOF":
                continue
            if line.startswith("# HELP "):
                _, _, name, rest = line.split(" ", 3)
                self.assertRegex(rest, r"^[A-Z].*\.$")
            elif line.startswith("# TYPE "):
                self.assertEqual(line.split(" ")[2], name)
                found[name] = line.split(" ")[3]
            else:
                self.assertRegex(line, LINE)
                self.assertTrue(line.startswith(name), line)
                float(LINE.match(line)[3])
        return found

    def test_both_formats_tell_the_same(self):
        """Fails when a metric is missing in one of the formats, or has another type or name there."""
        self.start_monitored()
        older = self.families(self.get("/metrics").text)
        newer = self.families(self.get("/metrics", Accept=OPEN_METRICS).text)
        endings = {"counter": "_total", "info": "_info"}
        self.assertEqual(older, {name + endings.get(kind, ""): {"info": "gauge"}.get(kind, kind)
                                 for name, kind in newer.items()})

    def test_documented(self):
        """Fails when the manual does not have a metric, or has one that there is not."""
        self.start_monitored("--workers=1", handler=None, program="/bin/cat")
        wait_until(lambda: "pool_server_programs" in self.get("/metrics").text, "programs have been looked at")
        told = set(self.families(self.get("/metrics").text))
        documented = set(re.findall(r"^\.It Li (pool_server_\w+)", MANUAL.read_text(), re.M))
        self.assertEqual(told, documented)

    def test_histograms(self):
        """Fails when a bucket counts what is longer than its limit, or buckets, sum and count contradict."""
        server = self.start_monitored("--workers=1")
        client = self.connect(server)
        client.send(*["sleep 20"] * 8, "sleep 70", "echo x")
        client.lines(10)
        values = self.values()
        def bucket(limit):
            return values[f'pool_server_run_seconds_bucket{{le="{limit}"}}']
        # On a busy machine each may take longer, but not all of them, and none takes less.
        self.assertLessEqual(bucket("0.016384"), 1)
        self.assertIn(bucket("0.032768"), range(1, 10))
        self.assertEqual(bucket("+Inf"), 10)
        self.assertEqual(values["pool_server_run_seconds_count"], 10)
        self.assertAlmostEqual(values["pool_server_run_seconds_sum"], 8 * 0.02 + 0.07, delta=0.05 * SLOWDOWN)
        counts = [value for name, value in values.items() if name.startswith("pool_server_wait_seconds_bucket")]
        self.assertEqual(counts, sorted(counts))
        self.assertGreater(values["pool_server_wait_seconds_sum"], 0.02 + 0.04 + 0.06 + 0.08)

    def test_what_was_shed_and_sent(self):
        """Fails when a refused request is not counted under its reason, or bytes are not counted."""
        server = self.start_monitored("--workers=1", "--queue-capacity=1", "--overload=reject")
        client = self.connect(server)
        client.send(*["sleep 100"] * 10)
        replies = client.lines(10)
        busy = sum("busy" in reply for reply in replies)
        self.assertGreater(busy, 0)
        values = self.values()
        self.assertEqual(values['pool_server_shed_total{reason="busy"}'], busy)
        self.assertEqual(values['pool_server_requests_total{outcome="shed"}'], busy)
        self.assertEqual(values['pool_server_requests_total{outcome="ok"}'], 10 - busy)
        self.assertEqual(values["pool_server_error_replies_total"], busy)
        self.assertEqual(values["pool_server_received_bytes_total"], 10 * len("sleep 100\n"))
        self.assertEqual(values["pool_server_sent_bytes_total"], sum(len(reply) + 1 for reply in replies))

    def test_programs(self):
        """Fails when what programs take of the machine is not told, or a crash counts as an error of theirs."""
        server = self.start_monitored("--workers=2", handler=None, program=BUSY)
        client = self.connect(server)
        client.send("go")
        self.assertEqual(client.line(), "result: done")
        def seen():
            values = self.values()
            return values if values.get("pool_server_programs_cpu_seconds_total", 0) >= 0.01 else None
        values = wait_until(seen, "the time of the programs is seen")
        self.assertGreater(values["pool_server_programs_resident_memory_bytes"], 200_000)
        self.assertGreater(values["pool_server_process_resident_memory_bytes"], 1_000_000)
        self.assertGreater(values["pool_server_process_cpu_seconds_total"], 0)
        self.assertAlmostEqual(values["pool_server_process_start_time_seconds"], time.time(), delta=PATIENCE)


@unittest.skipUnless(shutil.which("prometheus"), "prometheus is not installed")
class RealPrometheus(ServerTestCase):
    def test_scraped_and_asked(self):
        """Fails when a real Prometheus cannot scrape the server, or a query of it does not say what was done."""
        server = self.start("--monitor=127.0.0.1:0", "--workers=2")
        target = server.wait_for_log(r"tells how .* (127\.0\.0\.1:\d+)$")[1]
        directory = self.temporary_directory()
        Path(directory, "config.yml").write_text(
            f"scrape_configs: [{{job_name: pool-server, scrape_interval: 200ms, scrape_timeout: 200ms, "
            f"static_configs: [{{targets: ['{target}']}}]}}]\n")
        port = free_port()
        prometheus = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/config.yml", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(prometheus.wait)
        self.addCleanup(prometheus.kill)

        def query(text):
            url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(text)}"
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return [float(each["value"][1]) for each in json.load(answer)["data"]["result"]]
            return []
        wait_until(lambda: query("up") == [1], "Prometheus has scraped the server", 3 * PATIENCE)
        client = self.connect(server)
        client.send(*["sleep 20"] * 40)
        client.lines(40)
        wait_until(lambda: query('pool_server_requests_total{outcome="ok"}') == [40], "it has seen what was done")
        self.assertEqual(query("pool_server_workers_max"), [2])
        quantile, = wait_until(
            lambda: [v for v in query("histogram_quantile(0.5, rate(pool_server_run_seconds_bucket[1m]))") if v > 0],
            "there is a rate of the histogram")
        self.assertGreater(quantile, 0.016)
        self.assertLess(quantile, 0.033)


class OverRestarts(MonitorMixin, RestartTestCase):
    def test_counters_go_on(self):
        """Fails when a counter or a histogram begins anew with a process, or the next one cannot have the sockets."""
        self.address = f"{self.temporary_directory()}/monitor"
        port = free_port()
        options = (f"--monitor={self.address}", f"--monitor=127.0.0.1:{port}", "--workers=2")
        self.start_next(*options)
        first = self.state()
        client = self.meet()
        client.send("echo x", "fail", "sleep 20")
        client.lines(3)
        self.wait_for_state(lambda s: s["requests"]["ok"] == 2, "it is counted")  # what is told is 50 ms old at most
        before = self.values()
        self.end()
        self.start_next(*options)
        after = self.values()
        self.assertEqual(ask(("127.0.0.1", port), "/healthz").status, 200)
        gauges = re.compile("_(connections|process_.*|service_.*|workers|state|ready|queue_.*)(\\{.*)?$")
        expected = {name: value for name, value in before.items() if not gauges.search(name)}
        expected |= {"pool_server_restarts_survived_total": 1, "pool_server_connections_carried_total": 1}
        self.assertEqual({name: after[name] for name in expected}, expected)
        self.assertGreaterEqual(after["pool_server_process_cpu_seconds_total"],
                                before["pool_server_process_cpu_seconds_total"])
        self.assertEqual(after["pool_server_service_start_time_seconds"],
                         before["pool_server_service_start_time_seconds"])
        self.assertGreater(after["pool_server_process_start_time_seconds"],
                           before["pool_server_process_start_time_seconds"])
        state = self.state()
        self.assertEqual(state["serving_since"], first["started"])
        self.assertGreater(state["started"], first["started"])
        self.assertEqual((state["restarts_survived"], state["connections"]["carried"]), (1, 1))
        self.assertEqual(client.ask("echo y"), "result: y")
        self.wait_for_state(lambda s: s["requests"]["ok"] == 3, "it is counted")

    def test_a_visitor_in_the_middle(self):
        """Fails when a restart waits for a visitor, hands it over, or leaves it without an end."""
        self.address = f"{self.temporary_directory()}/monitor"
        self.start_next(f"--monitor={self.address}")
        client = self.meet()
        self.assert_serves(client)
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.settimeout(PATIENCE)
            visitor.connect(self.address)
            visitor.sendall(b"GET /metrics HT")
            self.assertLess(self.restart(f"--monitor={self.address}"), 2 * SLOWDOWN)
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(visitor.recv(1), b"")
        self.assert_serves(client)
        self.assertEqual(self.get("/healthz").status, 200)

    def test_handing_over(self):
        """Fails when a process that waits to hand over does not say so."""
        self.address = f"{self.temporary_directory()}/monitor"
        self.start_next(f"--monitor={self.address}", "--handover-wait=10s", "--workers=1")
        client = self.meet()
        client.send("sleep 1500")
        self.wait_for_state(lambda s: any(w["state"] == "running" for w in s["workers"]), "a worker is at work")
        self.ask_for_restart()
        self.wait_for_state(lambda s: s["state"] == "handing-over" and not s["ready"], "it hands over")
        self.assertEqual(self.server.wait_exit(), 0)
        self.start_next(f"--monitor={self.address}")
        self.assertEqual(client.line(), "result: slept 1500 ms")
