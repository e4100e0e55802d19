"""What the monitor's socket tells, and to whom."""

import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import http_client
from client import Client
from harness import BINARY, RUNTIME_ERROR, USAGE_ERROR, ServerTestCase, run_to_end
from http_client import ask
from timing import PATIENCE, SLOWDOWN, Stopwatch, wait_until

JSON = "application/json"
COLUMNS = ["time", "ok", "error", "timeout", "shed", "crashed", "wait_p50", "wait_p99", "wait_max", "run_p50", "run_p99",
           "run_max", "queue_depth", "queue_capacity", "workers", "running", "stuck", "connections"]
SECRET = "Tr0ub4dor-and-3"


class MonitorMixin:
    """Servers with a monitor, on a unix socket that the test knows by `address`."""

    def start_monitored(self, *options, program=None, **settings):
        self.address = f"{self.temporary_directory()}/monitor"
        options += (f"--program={program}",) if program else ()
        return self.start(f"--monitor={self.address}", *options, **settings)

    def get(self, path, method="GET", **headers):
        return ask(self.address, path, method, **headers)

    def state(self):
        return self.get("/state.json").json

    def wait_for_state(self, condition, what):
        def check():
            found = self.state()
            return found if condition(found) else None
        return wait_until(check, what)

    def values(self):
        """Name with labels → value, of /metrics."""
        lines = self.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


class DownAndBack(MonitorMixin, ServerTestCase):
    def test_without_a_request(self):
        """Fails when a server of whose program all copies have died is not ready again once it lives, unless it is asked."""
        cure = Path(self.temporary_directory()) / "cure"
        server = self.start_monitored("--workers=2", program=f"sh -c 'test -e {cure} && exec cat; exit 3'", handler=None)
        wait_until(lambda: self.get("/readyz").status == 503, "no program can be kept alive")
        cure.touch()
        wait_until(lambda: self.get("/readyz").status == 200, "it is ready again")
        self.assertEqual(server.stats()["completed"], 0)
        self.wait_for_state(lambda state: [worker["state"] for worker in state["workers"]] == ["idle"] * 2, "both are able")

    def test_a_worker_more(self):
        """Fails when a server is told to be unable to get on that would start a worker as soon as somebody asks."""
        server = self.start_monitored("--workers=1-2", "--task-timeout=100ms", "--kill-grace=3s",
                                      program=f"{sys.executable} -ISu {Path(__file__).with_name('unruly_program.py')}",
                                      handler=None)
        client, other = Client(server.address), Client(server.address)
        client.send("hang-deaf")
        self.assertEqual(client.line(), "ERROR: timed out after 100 ms")
        self.assertEqual(self.get("/readyz").text, "ready\n")
        self.assertEqual(other.ask("echo x"), "result: x")
        client.close()
        other.close()
        server.kill()  # it would wait for the one that does not end


class Endpoints(MonitorMixin, ServerTestCase):
    def test_kinds_and_statuses(self):
        """Fails when a path, a method or a header is answered otherwise than agreed."""
        self.start_monitored()
        for path, kind in {"/": "text/html; charset=utf-8", "/metrics": "text/plain; version=0.0.4; charset=utf-8",
                           "/healthz": "text/plain; charset=utf-8", "/readyz": "text/plain; charset=utf-8",
                           "/state.json": JSON, "/history.json": JSON, "/history.json?since=3": JSON}.items():
            with self.subTest(path):
                answer = self.get(path)
                self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind))
                self.assertEqual(answer.headers["cache-control"], "no-store")
                self.assertEqual(int(answer.headers["content-length"]), len(answer.body))
                head = self.get(path, "HEAD")
                self.assertEqual((head.status, head.headers["content-type"], head.body), (200, kind, b""))
        self.assertEqual(self.get("/healthz").text, "ok\n")
        self.assertEqual(self.get("/readyz").text, "ready\n")
        for path in ("/nothing", "/metrics/", "//", "/state.json/../x"):
            self.assertEqual(self.get(path).status, 404)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"):
            answer = self.get("/metrics", method)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"))

    def test_accept(self):
        """Fails when a scraper gets another format than it asked for, or one under the name of the other."""
        self.start_monitored()
        plain, newer = "text/plain; version=0.0.4; charset=utf-8", "application/openmetrics-text; version=1.0.0; charset=utf-8"
        for accept, kind in {
                "*/*": plain, "text/plain": plain, "application/openmetrics-text": newer,
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1": newer,
                "application/openmetrics-text;q=0.1,text/plain;q=0.9": plain,
                "application/openmetrics-text;q=0": plain, ";;,,q=": plain}.items():
            with self.subTest(accept):
                answer = self.get("/metrics", Accept=accept)
                self.assertEqual(answer.headers["content-type"], kind)
                self.assertEqual(answer.text.endswith("# EOF\n"), kind == newer)

    def test_page_with_its_policy(self):
        """Fails when a browser would not run what is in the page, or would run something else."""
        self.start_monitored()
        answer = self.get("/")
        policy = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual(policy["connect-src"], "'self'")
        for tag, rule in (("script", "script-src"), ("style", "style-src")):
            found = re.findall(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}>", answer.text, re.S)
            self.assertTrue(found)
            digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found]
            self.assertEqual(policy[rule].split(), [f"'sha256-{digest}'" for digest in digests])

    def test_several_addresses(self):
        """Fails when only one of the addresses is served, or a socket's file is left behind."""
        path = f"{self.temporary_directory()}/other"
        server = self.start_monitored("--monitor=127.0.0.1:0", f"--monitor={path}")
        found = re.search(r"tells how it fares on (\S+), 127\.0\.0\.1:(\d+), (\S+)$", server.log(), re.M)
        self.assertEqual((found[1], found[3]), (self.address, path))
        for address in (self.address, ("127.0.0.1", int(found[2])), path):
            self.assertEqual(ask(address, "/healthz").status, 200)
        self.assertEqual(server.stop(), 0)
        for address in (self.address, path):
            with self.assertRaises(FileNotFoundError):
                http_client.connect(address)

    def test_an_address_that_cannot_be_had(self):
        """Fails when the server starts without the monitor that was asked for, or does not say why not."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = run_to_end("--listen=127.0.0.1:0", f"--monitor=127.0.0.1:{port}")
        self.assertEqual(done.returncode, RUNTIME_ERROR)
        self.assertIn(f"127.0.0.1:{port}", done.stderr)
        self.assertIn("in use", done.stderr)

    def test_passed_sockets(self):
        """Fails when a socket passed as "monitor" serves clients, or one passed otherwise is a monitor."""
        with socket.create_server(("127.0.0.1", 0)) as clients, socket.create_server(("127.0.0.1", 0)) as monitor:
            self.address = monitor.getsockname()
            env = {"LISTEN_FDS": "2", "LISTEN_PID": "{pid}", "LISTEN_FDNAMES": "monitor:pool-server"}
            server = self.launch(listen=(), env=env, **{"pass": [monitor.fileno(), clients.fileno()]})
            server.wait_ready()
            self.assertEqual(self.get("/readyz").text, "ready\n")
            self.assertEqual(self.connect(clients.getsockname()).ask("echo x"), "result: x")

    def test_none_unless_asked_for(self):
        """Fails when a server without a monitor loads what one takes, or wakes up for it."""
        server = self.start()
        maps = (server.process.root / "maps").read_text()
        self.assertNotIn("microhttpd", maps)
        self.assertNotIn("gnutls", maps)


class State(MonitorMixin, ServerTestCase):
    def test_what_clients_and_workers_do(self):
        """Fails when the state does not show a running task, who asked for it, or what became of requests."""
        server = self.start_monitored("--workers=2", "--task-timeout=200ms", "--max-stuck-workers=0")
        client = self.connect(server)
        client.send("echo x", "fail", "sleep 1000", "echo y")
        self.assertEqual(client.lines(4)[0], "result: x")
        state = self.wait_for_state(lambda s: s["requests"]["timeout"] == 1, "a request has timed out")
        self.assertEqual(state["requests"] | {"ok": 2, "error": 1}, state["requests"])
        greediest, = state["connections"]["greediest"]
        self.assertEqual((greediest["connection"], greediest["requests"], greediest["in_flight"]), (1, 4, 0))
        self.assertRegex(greediest["peer"], r"^127\.0\.0\.1:\d+$")
        self.assertEqual((state["handler"], state["pid"], state["state"]), ("drill", server.pid, "serving"))
        self.assertAlmostEqual(state["now"], time.time(), delta=PATIENCE)
        self.assertLessEqual(state["started"], state["now"])
        self.assertEqual(state["serving_since"], state["started"])
        self.assertGreater(state["run"]["max"], 0)

        client.send("hang 1500")
        running = self.wait_for_state(lambda s: any(w["state"] == "running" for w in s["workers"]), "a worker is at work")
        worker = next(w for w in running["workers"] if w["state"] == "running")
        self.assertEqual((worker["task"], worker["connection"]), (5, 1))
        self.assertGreaterEqual(worker["for_seconds"], 0)
        stuck = self.wait_for_state(lambda s: any(w["state"] == "stuck" for w in s["workers"]), "a worker is stuck")
        self.assertIn("task-timeout", [line["event"] for line in stuck["log"]])
        self.wait_for_state(lambda s: [w["state"] for w in s["workers"]] == ["idle", "idle"], "it has come back")

    def test_greediest_of_many(self):
        """Fails when the greediest of many clients are not found, or not in order."""
        server = self.start_monitored("--workers=4")
        clients = [self.connect(server) for _ in range(30)]
        for number, client in enumerate(clients[:-1]):
            client.send(*["sleep 100" if number >= 20 else "echo x"] * 2)
        clients[-1].send(*["sleep 200"] * 2)
        for client in clients:
            client.lines(2)
        state = self.wait_for_state(lambda s: len(s["connections"]["greediest"]) == 10 and s["requests"]["ok"] == 60,
                                    "ten clients are shown")
        greediest = state["connections"]["greediest"]
        self.assertEqual(greediest, sorted(greediest, key=lambda c: -c["work_seconds"]))
        self.assertEqual(greediest[0]["connection"], 30)
        self.assertEqual({c["connection"] for c in greediest}, set(range(21, 31)))

    def test_nothing_of_a_request(self):
        """Fails when a piece of a request, or of what a handler made of it, can be read at the monitor."""
        server = self.start_monitored("--workers=1", handler=None,
                                      program="/bin/sh -c 'read line; echo $line >&2; sleep 0.5; exit 3'")
        self.connect(server).send(SECRET, f"{SECRET} again")
        state = self.wait_for_state(lambda s: "worker-crashed" in [line["event"] for line in s["log"]], "it crashed")
        self.assertIn("having said: ", state["log"][0]["text"])
        self.assertEqual(state["handler"], "sh")
        server.wait_for_log(f"having said: {SECRET}")
        for path in ("/", "/metrics", "/state.json", "/history.json"):
            self.assertNotIn(SECRET, self.get(path).text)

    def test_log(self):
        """Fails when a warning is missing, what was left out is not counted, or more than 50 lines are kept."""
        server = self.start_monitored("--max-connections=1")
        self.connect(server).ask("echo x")
        for _ in range(20):
            refused = self.connect(server)
            self.assertIn("too many connections", refused.line())
        def refusals():
            return [line for line in self.state()["log"] if line["event"] == "connection-limit"]
        wait_until(lambda: sum(line["count"] for line in refusals()) == 20, "all refusals are counted")
        self.assertEqual({line["level"] for line in refusals()}, {"warning"})
        self.assertLess(len(refusals()), 20)

    def test_history(self):
        """Fails when a step does not tell what was in it, or `since` gives other rows than those after it."""
        server = self.start_monitored("--workers=3")
        client = self.connect(server)
        client.send("echo x", "fail", "sleep 10")
        client.lines(3)
        def rows():
            found = self.get("/history.json").json
            self.assertEqual((found["format"], found["step"], found["columns"]), (1, 2, COLUMNS))
            return [dict(zip(COLUMNS, row)) for row in found["rows"]]
        wait_until(lambda: len(rows()) >= 2, "two steps are over")
        first, second = rows()[:2]
        self.assertEqual((first["ok"], first["error"], first["connections"], first["workers"]), (2, 1, 1, 3))
        self.assertGreater(first["run_max"], 0.0099)
        self.assertLess(first["run_max"], 0.1 * SLOWDOWN)  # nor is it told in another unit
        self.assertLessEqual(first["run_p50"], first["run_p99"])
        self.assertEqual((second["ok"], second["run_p50"], second["wait_max"]), (0, None, None))
        self.assertAlmostEqual(second["time"] - first["time"], 2, delta=1)
        later = self.get(f"/history.json?since={second['time']}").json["rows"]
        self.assertEqual(later[0][0], second["time"])
        for since in ("nonsense", "1e9999", "-1", "%00", "nan"):
            self.assertGreaterEqual(len(self.get(f"/history.json?since={since}").json["rows"]), 2, since)
        self.assertEqual(self.get("/history.json?since=99999999999").json["rows"], [])


class Readiness(MonitorMixin, ServerTestCase):
    def assert_not_ready(self, reason):
        answer = wait_until(lambda: (found := self.get("/readyz")).status == 503 and found, f"not ready: {reason}")
        self.assertRegex(answer.text, rf"^{reason}[^\n]*\n$")
        self.assertEqual(self.get("/healthz").status, 200)
        self.assertEqual(self.values()["pool_server_ready"], 0)
        state = self.state()
        self.assertEqual((state["ready"], state["not_ready_because"] + "\n"), (False, answer.text))
        return state

    def assert_ready_again(self):
        wait_until(lambda: self.get("/readyz").text == "ready\n", "ready again")

    def test_lame_duck_and_draining(self):
        """Fails when a server that takes no newcomers calls itself ready, or its monitor goes before its clients."""
        server = self.start_monitored()
        client = self.connect(server)
        server.signal(signal.SIGUSR2)
        self.assertEqual(self.assert_not_ready("lame duck")["state"], "lame-duck")
        server.signal(signal.SIGUSR2)
        self.assert_ready_again()
        client.send("sleep 2500")
        self.wait_for_state(lambda s: any(w["state"] == "running" for w in s["workers"]), "a worker is at work")
        server.signal()
        self.assertEqual(self.assert_not_ready("draining")["state"], "draining")
        self.assertEqual(client.rest(), ["result: slept 2500 ms"])
        self.assertEqual(server.wait_exit(), 0)

    def test_full_queue(self):
        """Fails when a queue that has been full for long is no reason, or one that has just become full is one."""
        server = self.start_monitored("--workers=1", "--queue-capacity=4")
        client = self.connect(server)
        full_since = Stopwatch()
        client.send(*["sleep 1000"] * 12)
        self.wait_for_state(lambda s: s["queue"]["depth"] == 4, "the queue is full")
        self.assertEqual(self.get("/readyz").status, 200)
        self.assert_not_ready("queue full")
        self.assertGreaterEqual(full_since.seconds, 5)
        client.lines(12)
        self.assert_ready_again()

    def test_no_progress(self):
        """Fails when a server all of whose workers are in tasks that do not end calls itself ready."""
        server = self.start_monitored("--workers=2", "--task-timeout=1")
        client = self.connect(server)
        client.send(*["hang 1900"] * 2)
        self.assert_not_ready("no worker can progress")
        client.lines(2)
        self.assert_ready_again()

    def test_no_worker(self):
        """Fails when a server whose programs cannot be kept alive calls itself ready, or shows them as idle."""
        self.start_monitored("--workers=2", handler=None, program="/bin/sh -c 'sleep 0.2; exit 3'")
        state = self.assert_not_ready("no worker available")
        self.assertEqual({worker["state"] for worker in state["workers"]}, {"crashed"})


class Verbs(ServerTestCase):
    """"pool-server check" and "top" are another program, which is told all the words."""

    def setUp(self):
        super().setUp()
        self.directory = self.temporary_directory()
        self.binary = shutil.copy(BINARY, self.directory)

    def test_the_program_beside_it(self):
        """Fails when the words do not reach the other program, or its status and output do not come back."""
        Path(self.directory, "pool-server-views").write_text("#!/bin/sh\nprintf '%s,' \"$@\"\nexit 7\n")
        os.chmod(f"{self.directory}/pool-server-views", 0o755)
        for words in (["check"], ["check", "/run/x.sock", "--more"], ["top", "a b"]):
            done = run_to_end(*words, command=[self.binary])
            self.assertEqual((done.returncode, done.stdout, done.stderr), (7, ",".join(words) + ",", ""))
        self.assertEqual(run_to_end("checks", command=[self.binary]).returncode, USAGE_ERROR)

    def test_without_it(self):
        """Fails when it is not said what is missing, or a monitoring plug-in could take that for health."""
        for verb in ("check", "top"):
            done = run_to_end(verb, command=[self.binary])
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertRegex(done.stderr, rf"^pool-server: cannot run /\S+/pool-server-views \(package pool-server-views\), which '{verb}' takes: "
                                          r"No such file or directory\n$")
