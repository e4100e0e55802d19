"""What examples/monitoring/ has for Prometheus and Grafana: does it agree with the server, and raise what it should?"""

import json
import os
import re
import shutil
import subprocess
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

from harness import ServerTestCase, free_port
from timing import PATIENCE, wait_until

EXAMPLES = Path(__file__).parents[2] / "examples" / "monitoring"
RULES = EXAMPLES / "pool-server.rules.yml"
RULES_TEST = EXAMPLES / "pool-server.rules.test.yml"
DASHBOARD = EXAMPLES / "pool-server.dashboard.json"
CONFIG = EXAMPLES / "prometheus.yml"
ALERT = re.compile(r"(?m)^      - alert: (\w+)\n        expr:(.*?)(?=^        (?:for|labels):)", re.S)
# A metric and what is asked of its labels.
USE = re.compile(r"\b(pool_server_\w+)(?:\{([^}]*)\})?")


def alerts():
    """Name → expression."""
    return dict(ALERT.findall(RULES.read_text()))


def queries():
    """What the dashboard asks Prometheus for, as Grafana would with everything selected."""
    board = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "10s").replace("$instance", ".*") for expr in found]


def promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], cwd=EXAMPLES, capture_output=True, text=True, timeout=PATIENCE)


@unittest.skipUnless(shutil.which("promtool") or os.environ.get("CI") == "true", "promtool is not installed")
class Rules(ServerTestCase):
    def test_all_is_sound(self):
        """Fails if Prometheus would not take the configuration or the rules, or an alert is not raised as its test says."""
        for arguments in (("check", "config", CONFIG), ("check", "rules", RULES), ("test", "rules", RULES_TEST)):
            done = promtool(*arguments)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_has_its_tests(self):
        """Fails if there is an alert whose test would not see it stay silent, or raised for no reason."""
        self.assertGreater(len(alerts()), 9)
        directory = Path(self.temporary_directory())
        shutil.copy(RULES_TEST, directory)
        for name, expression in alerts().items():
            for other in (" vector(0) > 1\n", ' label_replace(vector(1), "instance", "a:9089", "", "")\n'):
                rules = RULES.read_text().replace(expression, other)
                self.assertIn(other, rules)
                (directory / RULES.name).write_text(rules)
                done = promtool("test", "rules", directory / RULES_TEST.name)
                self.assertIn(f"alertname: {name},", done.stdout + done.stderr, other)


class Monitored(ServerTestCase):
    def start_monitored(self):
        """A server that has all the metrics there are: some are those of programs only."""
        self.monitor = f"127.0.0.1:{free_port()}"
        server = self.start(f"--monitor={self.monitor}", "--program=sed -u s/a/b/", handler=None)
        self.assertEqual(self.connect(server).ask("a"), "result: b")
        return server

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.monitor}/metrics", timeout=PATIENCE) as answer:
            return answer.read().decode()


class Names(Monitored):
    def test_all_metrics_and_labels_exist(self):
        """Fails if the dashboard or an alert asks for a metric, or for a value of a label, that no server has."""
        self.start_monitored()
        # What the programs use is known once all of them have been looked at, a few at a time.
        text = wait_until(lambda: "pool_server_programs_cpu" in (told := self.metrics()) and told, "all is told")
        told = {}  # name → all of its label pairs
        for name, labels in re.findall(r"(?m)^(pool_server_\w+)(?:\{(.*)\})? ", text):
            told.setdefault(name, set()).update(re.findall(r'(\w+)="([^"]*)"', labels))
        asked = [use for text in [*alerts().values(), *queries()] for use in USE.findall(text)]
        self.assertGreater(len(asked), 40)
        for name, matchers in asked:
            self.assertIn(name, told)
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
                for each in value.split("|") if label != "instance" else ():
                    self.assertIn((label, each), told[name])
        by = {label for text in queries() for label in re.findall(r" by \((\w+)\)", text)}
        self.assertLessEqual(by, {label for pairs in told.values() for label, _ in pairs})


@unittest.skipUnless(shutil.which("prometheus") or os.environ.get("CI") == "true", "prometheus is not installed")
class RealPrometheus(Monitored):
    def start_prometheus(self):
        directory = Path(self.temporary_directory())
        text = CONFIG.read_text().replace("localhost:9089", self.monitor).replace("interval: 15s", "interval: 1s")
        (directory / CONFIG.name).write_text(text)
        shutil.copy(RULES, directory)
        self.prometheus = f"http://127.0.0.1:{free_port()}"
        log = open(directory / "log", "wb")
        self.addCleanup(log.close)
        child = subprocess.Popen(
            ["prometheus", f"--config.file={directory / CONFIG.name}", f"--storage.tsdb.path={directory / 'data'}",
             f"--web.listen-address={self.prometheus.removeprefix('http://')}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)

    def ask(self, path, **parameters):
        """What Prometheus answers, or None while it does not."""
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code != 503:  # it is starting
                raise AssertionError(error.read().decode()) from None
        except OSError:
            pass

    def values(self, query):
        found = self.ask("query", query=query)
        return [float(each["value"][1]) for each in found["result"]] if found else []

    def test_each_panel_and_rule(self):
        """Fails if a real Prometheus that scrapes a real server has nothing to show in a panel, or cannot evaluate a rule."""
        server = self.start_monitored()
        client = self.connect(server)
        self.start_prometheus()
        wait_until(lambda: self.values('up{job="pool-server"}') == [1.0], "the server is scraped")

        def rules():
            groups = (self.ask("rules") or {"groups": []})["groups"]
            found = {rule["name"]: rule for group in groups for rule in group["rules"]}
            return found if found and all(rule["health"] != "unknown" for rule in found.values()) else None
        found = wait_until(rules, "all rules have been evaluated")
        self.assertEqual(set(found), set(alerts()))
        self.assertEqual({rule["health"] for rule in found.values()}, {"ok"}, found)
        for query in queries():
            def shown(query=query):
                client.ask("a")
                values = self.values(query)
                return values and all(value == value for value in values)  # no NaN
            wait_until(shown, query)
        requests, = self.values('sum(pool_server_requests_total{outcome="ok"})')
        self.assertGreater(requests, 1)
