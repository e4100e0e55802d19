"""The clients in examples/clients against the real server: restarts, crashes, overload, time-outs, and a balancer."""

import asyncio
import json
import os
import queue
import re
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from harness import ServerTestCase, clean_environment, free_port, parse_stats
from manager import RestartTestCase
from timing import PATIENCE, SLOWDOWN, let_pass, wait_until

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "examples/clients"
ENOUGH = 6 * PATIENCE  # a time-out that no request is to reach
HAPROXY = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
REFUSED = ("", "STATS", "x" * 65537)


class Running:
    """The command line of a client: requests go in, and what becomes of them comes out, in order."""

    def __init__(self, command):
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment())
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._child.stdout:
            self._lines.put(line.decode().removesuffix("\n"))
        self._lines.put(None)

    def send(self, *lines):
        """From a thread: the client takes no more than it may have on its way."""
        def run():
            try:
                self._child.stdin.write("".join(f"{line}\n" for line in lines).encode())
                self._child.stdin.flush()
            except OSError:
                pass  # what is missing shows in the replies
        threading.Thread(target=run, daemon=True).start()

    def line(self):
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("the client has no reply in time") from None
        if line is None:
            raise AssertionError(f"the client ended with {self._child.wait()}")
        return line

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def ask(self, line):
        self.send(line)
        return self.line()

    def close(self):
        self._child.kill()
        self._child.wait()
        self._reader.join()
        self._child.stdout.close()
        try:
            self._child.stdin.close()
        except OSError:
            pass  # it had not read all


class Clients:
    """What is asked of each of them."""

    SIZE = 4  # connections

    def run_client(self, address, timeout=ENOUGH, size=None):
        text = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        client = Running([*self.command(), text, str(timeout), *([str(size)] if size and self.SIZE > 1 else [])])
        self.addCleanup(client.close)
        return client

    def load(self, client, count):
        """Work of a second or two; the replies that are due."""
        client.send(*(f"echo {index}" if index % 2 else "sleep 4" for index in range(count)))
        return [f"result: {index}" if index % 2 else "result: slept 4 ms" for index in range(count)]

    def accepted(self, server):
        return server.stats()["accepted"] - 1  # less the one that asks

    def test_order(self):
        """Fails when replies to requests sent ahead are mixed up, or an error is taken for a result, or tried again."""
        server = self.start("--workers=4")
        client = self.run_client(server.address)
        lines = {f"echo {index}": f"result: {index}" for index in range(500)}
        for index in range(0, 500, 5):
            lines[f"echo {index}"], lines[f"sleep {index % 7}"] = f"result: {index}", f"result: slept {index % 7} ms"
        lines |= {"fail": "ERROR: task failed", "bad": "ERROR: invalid input", "throw": "ERROR: internal error"}
        client.send(*lines)
        self.assertEqual(client.lines(len(lines)), list(lines.values()))
        self.assertEqual(server.stats()["completed"], len(lines))
        self.assertLessEqual(self.accepted(server), self.SIZE)

    def test_what_cannot_be_sent(self):
        """Fails when what the server takes for something else is sent: what follows would get another one's reply."""
        server = self.start("--max-line=64KiB")
        client = self.run_client(server.address)
        for refused in REFUSED:
            self.assertRegex(client.ask(refused), "^FAILED: .*too long")
        self.assertEqual(client.ask("echo x"), "result: x")
        self.assertEqual(server.stats()["completed"], 1)
        self.assertEqual(server.stats()["errors"], 0)

    def check_new_server(self, end):
        held = socket.socket()  # so that nobody else is given the port while no server has it
        self.addCleanup(held.close)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        server = self.start(listen=(address,))
        client = self.run_client(address)
        replies = self.load(client, 1000)
        self.assertEqual(client.lines(200), replies[:200])
        end(server)
        let_pass(0.2)  # who connects is refused
        follower = self.start(listen=(address,))
        self.assertEqual(client.lines(800), replies[200:])
        self.assertGreaterEqual(self.accepted(follower), 1)
        # Connected again with back-off: each connection is made once, and not over and over.
        self.assertLessEqual(self.accepted(follower), self.SIZE)

    def test_killed(self):
        """Fails when a request is lost with the server's process, or comes to another one's reply."""
        self.check_new_server(lambda server: server.kill())

    def test_stopped(self):
        """Fails when the end of connections that a stop is to clients loses what it had not accepted."""
        self.check_new_server(lambda server: self.assertEqual(server.stop(), 0))

    def test_busy(self):
        """Fails when a refused request is given up, or is sent again without leaving the server time."""
        server = self.start("--workers=1", "--overload=reject", "--queue-capacity=2")
        client = self.run_client(server.address)
        client.send(*["sleep 20"] * 40)
        self.assertEqual(client.lines(40), ["result: slept 20 ms"] * 40)
        refused = server.stats()["shed_busy"]
        self.assertGreater(refused, 0)
        # Of a request at most one more each time that the wait has doubled, and a few at the longest wait.
        self.assertLess(refused, 40 * 10)

    def test_a_closed_connection(self):
        """Fails when a connection that the server closes while nothing is owed costs the next request anything."""
        server = self.start("--idle-timeout=300ms", "--log-level=debug")
        client = self.run_client(server.address, size=1)
        for number in range(2):
            opened = len(server.log_lines(r"connection \d+ from"))
            self.assertEqual(client.ask(f"echo {number}"), f"result: {number}")
            self.assertGreater(len(server.log_lines(r"connection \d+ from")), opened)
            wait_until(lambda: len(server.log_lines(r"connection \d+ (ended|broke)")) ==
                       len(server.log_lines(r"connection \d+ from")), "the connection is closed")

    def test_late_reply(self):
        """Fails when a reply that comes after its time-out is given to the next request, or costs the connection."""
        server = self.start("--workers=2")
        timeout = 2 * SLOWDOWN
        client = self.run_client(server.address, timeout, size=1)
        self.assertRegex(client.ask(f"sleep {1500 * timeout:.0f}"), "^FAILED: ")
        client.send(*(f"echo {index}" for index in range(10)))
        self.assertEqual(client.lines(10), [f"result: {index}" for index in range(10)])
        self.assertEqual(server.stats()["completed"], 11)
        self.assertEqual(self.accepted(server), 1)

    def test_a_stuck_connection(self):
        """Fails when a connection whose replies do not come is kept, or the server goes on for it."""
        server = self.start("--workers=8")
        client = self.run_client(server.address, 1 * SLOWDOWN, size=1)
        client.send(*["sleep 600000"] * 4)
        for line in client.lines(4):
            self.assertRegex(line, "^FAILED: ")
        server.wait_for_stats(lambda stats: stats["active_workers"] == 0, "nobody works for nobody")
        self.assertEqual(client.ask("echo x"), "result: x")
        self.assertEqual(self.accepted(server), 2)

    def check_python(self, name, ask):
        module = runpy.run_path(DIRECTORY / name)
        for text in ("a\nb", "a\n", "a\r"):
            with self.assertRaises(ValueError):
                ask(module, text)

    def test_over_a_balancer(self):
        """Fails when one of two servers that is killed behind HAProxy takes a request along."""
        if not HAPROXY:
            self.skipTest("there is no haproxy")
        servers = [self.start(), self.start()]
        port = free_port()
        config = Path(self.temporary_directory(), "haproxy.cfg")
        config.write_text(f"""
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  retries 3
  option redispatch 1
  default-server check inter 100ms
listen pool-server
  bind 127.0.0.1:{port}
""" + "".join(f"  server s{server.port} 127.0.0.1:{server.port}\n" for server in servers))
        with open(f"{config}.log", "wb") as log:
            balancer = subprocess.Popen([HAPROXY, "-db", "-f", config],
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(balancer.wait)
        self.addCleanup(balancer.kill)

        def listens():
            try:
                return socket.create_connection(("127.0.0.1", port)).close() is None
            except ConnectionRefusedError:
                self.assertIsNone(balancer.poll(), Path(f"{config}.log").read_text())
        wait_until(listens, "haproxy listens")
        client = self.run_client(("127.0.0.1", port))
        replies = self.load(client, 1000)
        self.assertEqual(client.lines(200), replies[:200])
        busiest = max(servers, key=lambda server: server.stats()["completed"])
        busiest.kill()
        self.assertEqual(client.lines(800), replies[200:])


    def test_restarts(self):
        """Fails when a restart costs a client a request, or a connection."""
        self.start_next()
        control = self.meet()

        def accepted():
            return parse_stats(control.ask("STATS"))["accepted"]
        for kind in ("tcp", "unix"):
            before = accepted()
            client = self.run_client(self.addresses[kind])
            replies = self.load(client, 600)
            wait_until(lambda: accepted() == before + self.SIZE, "the client has all of its connections")
            self.assertEqual(client.lines(200), replies[:200])
            self.restart()
            self.assertEqual(client.lines(400), replies[200:])
            self.assertEqual(accepted(), before + self.SIZE)
            client.close()


class Pools(Clients):
    """What is asked of those with more than one connection, too."""

    def test_more_connections_than_allowed(self):
        """Fails when a refused connection costs requests, or is made again and again at once."""
        server = self.start("--max-connections-per-peer=2")
        self.assertEqual(self.accepted(server), 0)
        client = self.run_client(server.address)
        replies = self.load(client, 500)
        self.assertEqual(client.lines(500), replies)
        stats = server.stats()
        self.assertGreater(stats["refused"], 0)
        self.assertLess(stats["refused"], 20 * SLOWDOWN)
        self.assertEqual(stats["completed"], 500)


class Asyncio(Pools, RestartTestCase):
    def command(self):
        return [sys.executable, DIRECTORY / "pool_client.py"]

    def test_line_feed_and_carriage_return(self):
        """Fails when one request could be sent as two, or without its end."""
        self.check_python("pool_client.py", lambda module, text: asyncio.run(module["Pool"]("/nowhere").ask(text)))


class Plain(Clients, RestartTestCase):
    SIZE = 1

    def command(self):
        return [sys.executable, DIRECTORY / "sync_client.py"]

    def test_line_feed_and_carriage_return(self):
        """Fails when one request could be sent as two, or without its end."""
        self.check_python("sync_client.py", lambda module, text: module["Client"]("/nowhere").ask(text))


@unittest.skipUnless(shutil.which("node"), "there is no node")
class Node(Pools, RestartTestCase):
    def command(self):
        return ["node", DIRECTORY / "pool-client.js"]

    def test_line_feed_and_carriage_return(self):
        """Fails when one request could be sent as two, or without its end."""
        for text in ("a\nb", "a\r"):
            script = (f"const {{ Pool }} = require({json.dumps(str(DIRECTORY / 'pool-client.js'))});"
                      f"new Pool('/nowhere').ask({json.dumps(text)}).catch((error) => console.log(error.name));")
            done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.stdout, "RangeError\n", done.stderr)


def go(*arguments, cache):
    return subprocess.run(["go", *arguments], capture_output=True, text=True, env={
        **os.environ, "GOCACHE": cache, "GO111MODULE": "off", "GOFLAGS": ""})


@unittest.skipUnless(shutil.which("go"), "there is no go")
class Go(Pools, RestartTestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="pool-server-test-")
        cls.addClassCleanup(directory.cleanup)
        cls.binary = f"{directory.name}/poolclient"
        done = go("build", "-o", cls.binary, DIRECTORY / "poolclient.go", cache=directory.name)
        if done.returncode != 0:
            raise AssertionError(done.stderr)

    def command(self):
        return [self.binary]

    def test_carriage_return(self):
        """Fails when a request could be sent without its end."""
        client = self.run_client("/nowhere")
        self.assertRegex(client.ask("x\r"), "^FAILED: .*too long")


class Checked(ServerTestCase):
    def test_errors(self):
        """Fails when the manual's table lacks an error of the server, or a client does not do what it says."""
        page = (ROOT / "man/pool-server.7").read_text()
        rows = dict(re.findall(r"^\.It Li (.+) Ta (yes|once|no) Ta (?:yes|no)$", page, re.M))
        words = (ROOT / "src/core/protocol.h").read_text()
        told = re.findall(r'kT?\w+ = "([a-z][^"\n]* [^"\n]*)";', words)
        code = (ROOT / "src/core/protocol.cc").read_text()
        told += re.findall(r'return (?:std::string\()?"([a-z][^"]*)"', code)
        self.assertEqual(len(told), 17)
        for text in told:
            self.assertTrue([row for row in rows if row == text or text[-1] in "( " and row.startswith(text)], text)
        files = [file for file in DIRECTORY.iterdir() if file.is_file()]
        self.assertEqual(len(files), 4)
        for file in files:
            quoted = set(re.findall(r"""["']([^"'\n]+)["']""", file.read_text()))
            self.assertEqual(quoted & set(rows), {row for row, again in rows.items() if again == "yes"}, file.name)

    @unittest.skipUnless(shutil.which("mypy"), "there is no mypy")
    def test_types(self):
        """Fails when the types of the two clients in Python do not hold."""
        done = subprocess.run(["mypy", "--strict", "--cache-dir=/dev/null", *DIRECTORY.glob("*.py")],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @unittest.skipUnless(shutil.which("go"), "there is no go")
    def test_vet(self):
        """Fails when go vet finds fault with the client in Go, or gofmt with its looks."""
        done = go("vet", DIRECTORY / "poolclient.go", cache=self.temporary_directory())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        looks = subprocess.run(["gofmt", "-l", DIRECTORY], capture_output=True, text=True)
        self.assertEqual((looks.returncode, looks.stdout), (0, ""))
