"""The page, `pool-server top` and `pool-server check` with the real server behind its monitor."""

import re
import subprocess
import unittest

import tmux
from harness import BINARY, clean_environment, free_port
from manager import RestartTestCase
from test_page import BrowserTestCase, chart, legend
from timing import PATIENCE, wait_until


class LivePage(BrowserTestCase, RestartTestCase):
    def setUp(self):
        super().setUp()
        self.monitor = f"127.0.0.1:{free_port()}"

    def start_monitored(self, *options):
        return self.start_next(f"--monitor={self.monitor}", *options)

    def visit(self, **how):
        page = self.open(f"http://{self.monitor}/", **how)
        page.wait("document.querySelectorAll('#workers li').length > 0", "the page shows workers")
        return page

    def test_loads_under_the_policy_of_the_server(self):
        """Fails if what the server serves is not the page, or its policy keeps the page from working."""
        self.start_monitored("--workers=3")
        self.meet().ask("echo x")
        for scheme in ("light", "dark"):
            page = self.visit(scheme=scheme)
            page.wait_for_text("pool-server drill")
            page.wait_for_text("serving")
            page.wait(f"{chart('Answered')}.querySelector('.area') !== null", "the request of before is in a chart")
            self.assertEqual(page.evaluate("document.querySelectorAll('#workers li.idle').length"), 3)
            self.assertIn("127.0.0.1:", page.evaluate("document.getElementById('clients').textContent"))
            self.assertEqual(page.complaints(), [])
            self.assertEqual({url.removeprefix(f"http://{self.monitor}/").partition("?")[0] for url in page.requests()},
                             {"", "state.json", "history.json"})

    def test_a_flood(self):
        """Fails if a flood that the server sheds is not seen: rates, a full queue, who it is, and the area in the chart."""
        self.start_monitored("--workers=1", "--overload=reject", "--queue-capacity=4")
        page = self.visit()
        self.assertEqual(page.evaluate("document.querySelectorAll('svg.chart .area.shed').length"), 0)
        client = self.meet()

        def seen():
            client.send(*["spin 5"] * 50)
            self.assertIn("ERROR: server busy", client.lines(50))
            return page.evaluate("document.querySelectorAll('svg.chart path.area.shed').length > 0")
        wait_until(seen, "an area of what is shed")
        self.assertGreater(page.evaluate(f"parseFloat({legend('Failed')}.shed.replace(',', ''))"), 0)
        page.wait("/[1-9]/.test([...document.querySelectorAll('#totals tr')].find((r) => r.textContent.startsWith('shed: server busy')).textContent)",
                  "the total of what is shed")
        address = "%s:%d" % client.socket.getsockname()
        self.assertEqual(page.evaluate("document.querySelector('#clients td').textContent"), address)
        self.assertEqual(page.complaints(), [])

    def test_workers_at_work_and_stuck(self):
        """Fails if what a worker does, and that one is stuck, cannot be seen."""
        self.start_monitored("--workers=2", "--task-timeout=3")
        page = self.visit()
        client = self.meet()
        client.ask("echo first")
        client.send("hang 60000")
        page.wait("document.querySelector('#workers li.running') !== null", "a worker runs")
        self.assertRegex(page.evaluate("document.querySelector('#workers li.running').innerText"),
                         r"worker-\d\s+running\s+for [\d.]+ (µs|ms|s)\s+task 2\s+connection 1$")
        page.wait("document.querySelector('#workers li.stuck') !== null", "a worker is stuck")
        page.wait(f"{chart('Workers')}.querySelector('path.area.error') !== null", "and so says the chart")
        page.wait_for_text("(task-timeout)")
        self.assertEqual(page.complaints(), [])
        self.server.kill()

    def test_over_a_restart(self):
        """Fails if the page does not say that the server has gone, or does not go on with the next process and its history."""
        self.start_monitored()
        self.meet().ask("echo x")
        page = self.visit()
        page.wait(f"{chart('Answered')}.querySelector('.area') !== null", "the first request is in a chart")
        first = self.server.pid
        self.end()
        page.wait_for_text("The server cannot be reached since")
        self.start_monitored()
        page.wait("!document.getElementById('alarm').checkVisibility()", "it goes on")
        page.wait_for_text(f"process {self.server.pid}")
        page.wait_for_text("1 restart survived")
        self.assertNotEqual(first, self.server.pid)
        self.assertTrue(page.evaluate(f"{chart('Answered')}.querySelector('.area') !== null"))
        # What the browser itself says of requests that found nobody is all there is.
        self.assertEqual([c for c in page.complaints() if "ERR_CONNECTION" not in c and "ERR_EMPTY_RESPONSE" not in c], [])

    def test_a_phone(self):
        """Fails if what a real server tells is wider than a narrow phone."""
        self.start_monitored("--workers=4", "--task-timeout=200ms")
        clients = [self.meet() for _ in range(12)]
        for client in clients:
            client.ask("echo x")
        clients[0].ask("sleep 5000")
        page = self.visit(width=360, height=740)
        page.wait("document.querySelectorAll('#clients tr').length === 10", "the clients are shown")
        page.wait_for_text("(task-timeout)")
        self.assert_fits(page)


class LiveTop(RestartTestCase):
    def setUp(self):
        super().setUp()
        self.monitor = f"{self.temporary_directory()}/monitor"

    def start_monitored(self, *options):
        return self.start_next(f"--monitor={self.monitor}", *options)

    def ask(self, verb, *arguments):
        done = subprocess.run([BINARY, verb, self.monitor, *arguments], env=clean_environment({"LC_ALL": "C.UTF-8"}),
                              capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout, done.stderr

    def test_check_over_the_life_of_a_server(self):
        """Fails if `pool-server check` does not know a server that serves from one that stops, and from none."""
        status, line, _ = self.ask("check")
        self.assertEqual((status, line), (2, f"pool-server cannot be reached: {self.monitor}: no connection: No such file or directory\n"))
        self.start_monitored()
        self.assertEqual(self.ask("check"), (0, f"pool-server ready: {self.monitor}\n", ""))
        client = self.meet()
        client.send("sleep 3000")
        self.wait_for_busy(1)
        self.server.signal()
        self.server.notify.wait_for("STOPPING")
        wait_until(lambda: self.ask("check")[:2] == (1, "pool-server not ready: draining: it finishes what it has accepted, and ends\n"), "it is not ready")
        self.assertEqual(client.rest(), ["result: slept 3000 ms"])
        self.assertEqual(self.server.wait_exit(), 0)
        self.assertEqual(self.ask("check")[0], 2)

    def test_one_snapshot(self):
        """Fails if `pool-server top` in a pipe does not tell what clients and workers do."""
        self.start_monitored("--workers=2")
        client = self.meet()
        client.ask("spin 20")
        client.send("sleep 60000")
        self.wait_for_busy(1)

        def shown():  # once the server looks anew
            status, text, complaint = self.ask("top")
            self.assertEqual((status, complaint), (0, ""))
            return text if "WORKERS      1 running" in text else None
        text = wait_until(shown, "the worker is seen at work")
        self.assertRegex(text, rf"(?m)^pool-server drill  serving +\S+, process {self.server.pid}, up \d+ s$")
        self.assertRegex(text, r"(?m)^worker-\d running [\d.]+ (µs|ms|s) task \d+ conn 1$")
        self.assertRegex(text, r"(?m)^WORKERS +1 running of 2; from 2 to 2$")
        self.assertRegex(text, r"(?m)^%s:%d +1 +2 +1 +[\d.]+ ms$" % client.socket.getsockname())
        client.close()
        self.server.kill()

    @unittest.skipUnless(tmux.COMMAND, "tmux is not installed")
    def test_in_a_terminal_over_a_restart(self):
        """Fails if `pool-server top` shows no work, or does not go on over a restart of the server."""
        self.start_monitored()
        terminal = tmux.Terminal()
        self.addCleanup(terminal.close)
        terminal.type(f"'{BINARY}' top {self.monitor}; echo status=$?")
        terminal.wait_for(f"process {self.server.pid}")
        client = self.meet()

        def seen():
            client.ask("spin 1")
            return re.search(r"requests/s   ok [1-9]", terminal.text())
        wait_until(seen, "requests are shown")
        self.assertRegex(terminal.text(), r"last minute  .*[▁▂▃▄▅▆▇█]")
        self.end()
        terminal.wait_for("Cannot reach")
        self.start_monitored()
        terminal.wait_for(f"process {self.server.pid}")
        terminal.wait_without("Cannot reach")
        terminal.wait_for("1 restart")
        terminal.keys("q")
        terminal.wait_for("status=0")
