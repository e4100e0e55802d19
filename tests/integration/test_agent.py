"""What balancers are told of the server, and HAProxy makes of it."""

import contextlib
import csv
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import unittest
from pathlib import Path

import harness
from client import Client
from harness import RUNTIME_ERROR, ServerTestCase, run_to_end
from manager import RestartTestCase
from test_unannounced import ANNOUNCED
from timing import PATIENCE, Stopwatch, let_pass, wait_until

ALL = "up 100% ready"
UP = "^up [0-9]+% ready$"
STOPPED = "stopped #it has ended"
MOST_VISITORS = 16
MOST_A_SECOND = 800  # four in 5 ms
HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class AgentMixin:
    """Servers with an agent, on a unix socket that the test knows by `agent`."""

    def start_with_agent(self, *options, **settings):
        self.agent = f"{self.temporary_directory()}/agent"
        return self.start(f"--agent={self.agent}", *options, **settings)

    def ask(self, address=None):
        with contextlib.closing(Client(address or self.agent)) as visitor:
            line, = visitor.rest()
        return line

    def percent(self):
        """N of `up N% ready`."""
        up, number, ready = self.ask().split(" ")
        self.assertEqual((up, number[-1], ready), ("up", "%", "ready"))
        return int(number[:-1])

    def wait_for_percent(self, condition, what, timeout=2 * PATIENCE):
        wait_until(lambda: condition(self.percent()), what, timeout)

    @contextlib.contextmanager
    def at_work(self, server, task):
        """A client that asks for one task after the other."""
        client = self.connect(server)
        ended = threading.Event()

        def run():
            while not ended.is_set():
                client.ask(task)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            client.close()


class Lines(AgentMixin, ServerTestCase):
    def test_several_addresses(self):
        """Fails when only one of the addresses is served, serves clients, or leaves a socket's file behind."""
        server = self.start_with_agent("--agent=127.0.0.1:0")
        found = server.wait_for_log(r"tells balancers how much to send on (\S+), 127\.0\.0\.1:(\d+)$")
        self.assertEqual(found[1], self.agent)
        for address in (self.agent, ("127.0.0.1", int(found[2]))):
            self.assertEqual(self.ask(address), ALL)
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        self.assertEqual(server.stop(), 0)
        self.assertFalse(os.path.exists(self.agent))

    def test_an_address_that_cannot_be_had(self):
        """Fails when the server starts without the agent that was asked for, or does not say why not."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = run_to_end("--listen=127.0.0.1:0", f"--agent=127.0.0.1:{port}")
        self.assertEqual(done.returncode, RUNTIME_ERROR)
        self.assertIn(f"127.0.0.1:{port}", done.stderr)

    def test_no_library(self):
        """Fails when an agent loads what a monitor takes."""
        server = self.start_with_agent()
        self.assertNotIn("microhttpd", (server.process.root / "maps").read_text())

    def test_a_stop(self):
        """Fails when a server that has been asked to stop is said to be up, or work it has accepted is not done."""
        server = self.start_with_agent("--workers=1")
        client = self.connect(server)
        client.send("sleep 2500")
        server.wait_for_stats(lambda stats: stats["active_workers"] == 1, "a worker is at work")
        server.signal()
        server.wait_for_log("SIGTERM from")
        self.assertEqual(self.ask(), "drain")
        self.assertEqual(client.rest(), ["result: slept 2500 ms"])
        self.assertEqual(server.wait_exit(), 0)

    def test_a_stop_at_once(self):
        """Fails when a server that ends with its workers busy leaves the file of a socket behind."""
        monitor = f"{self.temporary_directory()}/monitor"
        server = self.start_with_agent("--workers=1", f"--monitor={monitor}")
        client = self.connect(server)
        client.send("hang 60000")
        server.wait_for_stats(lambda stats: stats["active_workers"] == 1, "a worker is at work")
        server.signal()
        server.wait_for_log("finishing the work")
        server.signal()
        self.assertEqual(server.wait_exit(), RUNTIME_ERROR)
        self.assertEqual([path for path in (self.agent, monitor) if os.path.exists(path)], [])

    def test_a_lame_duck(self):
        """Fails when a lame duck is not told, turns away whom balancers send in ignorance of it, or stays one."""
        server = self.start_with_agent()
        server.signal(signal.SIGUSR2)
        wait_until(lambda: self.ask() == "drain", "balancers are told")
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")
        wait_until(lambda: any("lame duck" in told for _, told in server.notify.named("STATUS")), "STATUS= says it")
        server.signal(signal.SIGUSR2)
        wait_until(lambda: self.ask() == ALL, "and that it is over")
        self.assertEqual(self.connect(server).ask("echo x"), "result: x")

    def test_no_progress(self):
        """Fails when a server all of whose workers are in tasks that do not end is said to be up, or stays down."""
        server = self.start_with_agent("--workers=2", "--task-timeout=1")
        client = self.connect(server)
        client.send(*["hang 1900"] * 2)
        wait_until(lambda: self.ask() == "down #no worker can progress: each is in a task that does not end", "down")
        client.lines(2)
        wait_until(lambda: self.ask().startswith("up "), "up again")

    def test_no_worker(self):
        """Fails when a server whose programs cannot be kept alive is said to be up."""
        self.start_with_agent("--program=/bin/sh -c 'sleep 0.2; exit 3'", "--workers=2", handler=None)
        wait_until(lambda: self.ask() == "down #no worker available: no program can be kept alive", "down")

    def test_the_end(self):
        """Fails when who waits for an answer as the server ends gets none."""
        server = self.start_with_agent()
        server.signal(signal.SIGSTOP)
        visitors = [self.connect(self.agent) for _ in range(3 * MOST_VISITORS)]
        server.signal()
        server.signal(signal.SIGCONT)
        heard = [visitor.rest() for visitor in visitors]
        self.assertEqual(server.wait_exit(), 0)
        self.assertLessEqual({line for line, in heard}, {ALL, "drain", STOPPED})
        self.assertEqual(heard[-1], [STOPPED])


class Weight(AgentMixin, ServerTestCase):
    def test_slower_and_back(self):
        """Fails when a server that takes ten times as long for its work says that it can do all it could, or goes on to."""
        server = self.start_with_agent("--workers=2")
        with self.at_work(server, "sleep 10"):
            let_pass(4)
        self.assertGreater(self.percent(), 50)
        with self.at_work(server, "sleep 100"):
            self.wait_for_percent(lambda percent: percent < 30, "it can do a small part")
        with self.at_work(server, "sleep 10"):
            self.wait_for_percent(lambda percent: percent > 60, "it can do most of it again")

    def test_full_rate(self):
        """Fails when a rate that is configured, or configured anew, is not what N is of."""
        config = f"{self.temporary_directory()}/config"
        Path(config).write_text("agent-full-rate=1000\n")
        server = self.start_with_agent("--workers=1", f"--config={config}")
        with self.at_work(server, "sleep 10"):
            self.wait_for_percent(lambda percent: percent < 20, "a tenth, and not much more")
            Path(config).write_text("agent-full-rate=1\n")
            server.signal(signal.SIGHUP)
            self.wait_for_percent(lambda percent: percent == 100, "more than is full")

    def test_full_queue(self):
        """Fails when a server whose queue is full asks for as many newcomers as ever."""
        server = self.start_with_agent("--workers=1", "--queue-capacity=4")
        client = self.connect(server)
        client.send(*["sleep 1000"] * 9)
        self.wait_for_percent(lambda percent: percent < 70, "fewer newcomers")
        client.lines(9)
        self.wait_for_percent(lambda percent: percent > 80, "as many as ever")


class Visitors(AgentMixin, ServerTestCase):
    def setUp(self):
        super().setUp()
        self.server = self.start_with_agent("--agent=127.0.0.1:0")
        found = self.server.wait_for_log(r"tells balancers .* 127\.0\.0\.1:(\d+)$")
        self.agent = "127.0.0.1", int(found[1])
        self.staying = self.connect(self.server)
        self.assertEqual(self.staying.ask("echo x"), "result: x")
        self.before = len(self.server.process.descriptors())

    def assert_all_well(self):
        """Clients and visitors are served, and nothing is left of those that were there."""
        self.assertEqual(self.staying.ask("echo still here"), "result: still here")
        self.assertRegex(self.ask(), UP)
        wait_until(lambda: len(self.server.process.descriptors()) <= self.before, "the descriptors of visitors are closed")

    def test_who_sends(self):
        """Fails when what a visitor sends, at once or late, costs it the line."""
        for _ in range(100):
            visitor = self.connect(self.agent)
            visitor.send("which backend, and more that nobody wants to know")
            self.assertEqual(visitor.rest(), [ALL])
            visitor.close()
        late = 0
        while late < 100:
            came = Stopwatch()
            visitor = self.connect(self.agent)
            self.assertEqual(visitor.rest(), [ALL])
            try:
                visitor.send("late")
                visitor.send("and later")  # a reset has arrived by now
                late += 1
            except ConnectionError:
                self.assertGreater(came.seconds, 1)  # that was too late
            visitor.close()
        self.assert_all_well()

    def test_who_stays(self):
        """Fails when visitors that neither read nor leave keep others out, or are kept."""
        visitors = [self.connect(self.agent) for _ in range(4 * MOST_VISITORS)]
        self.assertEqual(self.ask(), ALL)
        self.assertLessEqual(len(self.server.process.descriptors()), self.before + MOST_VISITORS + 1)  # and one who goes
        self.assert_all_well()
        for visitor in visitors:
            self.assertEqual(visitor.rest(), [ALL])

    def test_who_sends_without_end(self):
        """Fails when a visitor that sends for ever is listened to for ever."""
        visitor = self.connect(self.agent)
        with self.assertRaises(ConnectionError):
            while True:
                visitor.send_bytes(b"x" * 4096)
        self.assert_all_well()

    def test_a_thousand_who_come_and_go(self):
        """Fails when visitors that leave, whether or not they have read, and in good order or not, use anything up."""
        for number in range(1000):
            visitor = Client(self.agent)
            if number % 4 == 0:
                self.assertEqual(visitor.rest(), [ALL])
            elif number % 4 == 1:
                visitor.send("x")
            if number % 4 == 2:
                visitor.reset()
            else:
                visitor.close()
        self.assert_all_well()

    def test_a_flood(self):
        """Fails when more visitors come in than a few at a time, or clients wait for them."""
        ended = threading.Event()
        answered = []

        def run():
            while not ended.is_set():
                with contextlib.suppress(ConnectionError):
                    answered.append(self.ask())
        threads = [threading.Thread(target=run) for _ in range(8)]
        began = Stopwatch()
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(answered) > 8, "they come in")
            waits = []
            while began.seconds < 2:
                waited = Stopwatch()
                self.assertEqual(self.staying.ask("echo x"), "result: x")
                waits.append(waited.seconds)
            seconds, count = began.seconds, len(answered)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        for line in set(answered):
            self.assertRegex(line, UP)
        self.assertLess(count, MOST_A_SECOND * seconds + 8)
        self.assert_quick(sorted(waits)[len(waits) // 2], 0.1)
        self.assert_all_well()

    @unittest.skipIf(harness.sanitizer() in ("address", "undefined"), "the sanitizer's runtime needs descriptors itself")
    def test_out_of_descriptors(self):
        """Fails when an agent that has no descriptor for a visitor spins, fails, or does not get over it."""
        limits = resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE, (max(self.server.process.descriptors()) + 1, limits[1]))
        waiting = self.connect(self.agent)
        self.server.wait_for_log("agent lets nobody in for now")
        busy = self.server.process.cpu_seconds()
        let_pass(1)
        self.assertLess(self.server.process.cpu_seconds() - busy, 0.3)
        resource.prlimit(self.server.pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual(waiting.rest(), [ALL])
        self.assert_all_well()


class PassedAgent(AgentMixin, RestartTestCase):
    """The agent's socket comes from the service manager, as those of clients do."""

    def setUp(self):
        super().setUp()
        self.agent = self.addresses["agent"]

    def open_sockets(self):
        return super().open_sockets() | {"agent": socket.create_server(("127.0.0.1", 0))}


class Passed(PassedAgent):
    def test_over_a_restart(self):
        """Fails when who asks meanwhile hears of an end or a drain, or the next process knows less than the one before."""
        self.start_next("--workers=2", "--handover-wait=3")
        with self.at_work(self.addresses["tcp"], "sleep 10"):
            let_pass(3)
        with self.at_work(self.addresses["tcp"], "sleep 100"):
            self.wait_for_percent(lambda percent: percent < 30, "it can do a small part")
        before = self.percent()
        client = self.meet()
        client.send("sleep 4000")
        self.wait_for_busy(1)
        self.ask_for_restart()
        self.server.notify.wait_for("STOPPING")
        self.assertLess(self.percent(), 60)
        self.assertEqual(self.server.wait_exit(), 0)
        waiting = self.connect(self.agent)
        self.start_next("--workers=2")
        line, = waiting.rest()
        self.assertAlmostEqual(int(line.split(" ")[1][:-1]), before, delta=25)
        self.assertEqual(client.line(), "result: slept 4000 ms")

    def test_what_may_be_a_stop(self):
        """Fails when a server that may be stopping for good is said to be up while it does its work."""
        self.start_next("--workers=1", env=ANNOUNCED)
        client = self.meet()
        client.send("sleep 2500")
        self.wait_for_busy(1)
        self.server.signal()
        self.server.notify.wait_for("STOPPING")
        self.assertEqual(self.ask(), "drain")
        self.assertEqual(client.line(), "result: slept 2500 ms")
        self.assertEqual(self.server.wait_exit(), 0)

    def test_a_socket_that_ends(self):
        """Fails when an agent's socket that listens no more spins, is not told of, or ends the service."""
        self.start_next()
        self.sockets["agent"].shutdown(socket.SHUT_RDWR)
        self.server.wait_for_log("no agent on .* any more, it does not listen")
        busy = self.server.process.cpu_seconds()
        let_pass(0.5)
        self.assertLess(self.server.process.cpu_seconds() - busy, 0.2)
        self.assert_serves(self.meet())


@unittest.skipUnless(HAPROXY or os.environ.get("CI") == "true", "haproxy is not installed")
class RealHAProxy(PassedAgent):
    """A backend of one server, asked five times a second."""

    def setUp(self):
        super().setUp()
        directory = self.temporary_directory()
        self.stats_socket = f"{directory}/stats"
        self.clients = f"{directory}/clients"
        Path(directory, "config").write_text(f"""
            global
              stats socket {self.stats_socket} level admin
            defaults
              mode tcp
              timeout connect 5s
              timeout client 1m
              timeout server 1m
            backend pool
              default-server weight 100 check inter 200 agent-check agent-inter 200 agent-send "hello\\n"
              server one 127.0.0.1:{self.addresses["tcp"][1]} agent-addr 127.0.0.1 agent-port {self.agent[1]}
            frontend clients
              bind unix@{self.clients}
              default_backend pool\n""")
        haproxy = subprocess.Popen([HAPROXY, "-db", "-f", f"{directory}/config"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(haproxy.wait)
        self.addCleanup(haproxy.kill)
        wait_until(lambda: os.path.exists(self.stats_socket), "HAProxy has started")

    def seen(self):
        """What HAProxy holds of the server: its status, its weight, and what the agent said last."""
        with contextlib.closing(Client(self.stats_socket)) as admin:
            admin.send("show stat")
            rows = csv.DictReader(line.removeprefix("# ") for line in admin.rest() if line)
            one = next(row for row in rows if row["svname"] == "one")
        return one["status"], int(one["weight"]), one["last_agt"]

    def wait_for(self, status, what="", weight=range(1, 101)):
        def check():
            found = self.seen()
            return found[0] == status and found[1] in weight and what in found[2]
        try:
            wait_until(check, f"HAProxy sees {status}", 2 * PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.seen()}") from None

    def assert_answered(self):
        self.assertEqual(self.connect(self.clients).ask("echo x"), "result: x")

    def test_weight(self):
        """Fails when HAProxy does not take the weight, or not back."""
        self.start_next("--workers=1", "--agent-full-rate=1000")
        self.wait_for("UP", "via agent : up", [100])
        with self.at_work(self.clients, "sleep 10"):
            self.wait_for("UP", "via agent : up", range(5, 20))
        self.wait_for("UP", "via agent : up", range(50, 101))

    def test_drain_and_back(self):
        """Fails when a lame duck still gets newcomers from HAProxy, or none when it is none any more."""
        self.start_next()
        self.wait_for("UP", "via agent : up")
        self.server.signal(signal.SIGUSR2)
        self.wait_for("DRAIN (agent)")
        self.assertEqual(self.connect(self.clients).rest(), [])
        self.server.signal(signal.SIGUSR2)
        self.wait_for("UP", "via agent : up")
        self.assert_answered()

    def test_down_and_back(self):
        """Fails when HAProxy sends newcomers to where no worker can get on, or does not come back."""
        self.start_next("--workers=1", "--program=/bin/sh -c 'sleep 0.2; exit 3'", handler=None)
        self.wait_for("DOWN (agent)", "via agent : down (no worker available")
        self.restart()
        self.wait_for("UP", "via agent : up")
        self.assert_answered()

    def test_stop_and_start(self):
        """Fails when HAProxy does not hear of a stop, or takes the next process for one that drains."""
        self.start_next("--workers=1")
        self.wait_for("UP", "via agent : up")
        client = self.meet()
        client.send("sleep 2500")
        self.wait_for_busy(1)
        self.server.signal()
        self.wait_for("DRAIN (agent)")
        self.assertEqual(client.rest(), ["result: slept 2500 ms"])
        self.assertEqual(self.server.wait_exit(), 0)
        self.start_next()
        self.wait_for("UP", "via agent : up")
        self.assert_answered()

    def test_restarts(self):
        """Fails when HAProxy sends newcomers elsewhere for a restart that keeps clients."""
        self.start_next("--handover-wait=1")
        self.wait_for("UP", "via agent : up")
        client = self.connect(self.clients)
        client.send("sleep 1500")
        self.wait_for_busy(1)
        ended = threading.Event()
        seen = set()

        def watch():
            while not ended.is_set():
                status, _, said = self.seen()
                seen.add((status, said))
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for _ in range(3):
                self.restart("--handover-wait=1")
            self.assertEqual(client.line(), "result: slept 1500 ms")
        finally:
            ended.set()
            watcher.join()
        self.assertEqual({status for status, _ in seen}, {"UP"})
        self.assert_answered()
