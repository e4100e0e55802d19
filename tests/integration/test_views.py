"""`pool-server-views`, that is `pool-server top` and `check`, shown a stand-in for the server."""

import os
import re
import signal
import socket
import subprocess
import threading
import unittest
from pathlib import Path

import tmux
from harness import BINARY, clean_environment, free_port
from monitor_mock import Mock, busy_rows, busy_state, state
from timing import PATIENCE, SLOWDOWN, Stopwatch, wait_until

VIEWS = str(Path(BINARY).with_name("pool-server-views"))
READY, NOT_READY, NO_ANSWER, WRONG = range(4)


def run(*arguments, **environment):
    """Exit status, what is printed, what is complained; without a terminal."""
    done = subprocess.run([VIEWS, *arguments], env=clean_environment({"LC_ALL": "C.UTF-8", "TZ": "UTC"} | environment),
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Listener:
    """Something that is no HTTP server: `behave` gets each connection."""

    def __init__(self, behave):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._connections = []
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

        def accept():
            while True:
                try:
                    connection, _ = self._socket.accept()
                except OSError:
                    return
                self._connections.append(connection)
                threading.Thread(target=self._behave, args=(behave, connection), daemon=True).start()
        self._thread = threading.Thread(target=accept, daemon=True)
        self._thread.start()

    @staticmethod
    def _behave(behave, connection):
        try:
            behave(connection)
        except OSError:
            pass  # the other end has had enough

    def close(self):
        # Closing alone does not wake who waits in accept(), and might find it in that of another socket by then.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for connection in self._connections:
            connection.close()


def answer(connection, data):
    connection.recv(4096)
    connection.sendall(data)
    connection.close()


def answer_for_ever(connection):
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def evil_state():
    """All text in it is what one would not like to have in a terminal."""
    evil = "\x1b]2;owned\x07\x1b[2J\x9b31m\u202e\n\r\x00"
    return state(handler=evil, version=evil, not_ready_because=evil + "だ" * 300, ready=False,
                 workers=[{"name": evil, "state": evil}], connections={"greediest": [{"peer": evil, "work_seconds": 1}]},
                 log=[{"time": 1, "level": evil, "event": evil, "text": evil + "漢" * 300}])


class ViewsTestCase(unittest.TestCase):
    def mock(self, **where):
        mock = Mock(**where)
        self.addCleanup(mock.stop)
        return mock

    def listener(self, behave):
        listener = Listener(behave)
        self.addCleanup(listener.close)
        return listener


class Check(ViewsTestCase):
    def test_ready_not_ready_and_gone(self):
        """Fails if the exit status or the line does not tell one from the other, over TCP or a unix socket."""
        path = f"/tmp/pool-server-test-{os.getpid()}.sock"
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        for mock in (self.mock(), self.mock(path=path)):
            self.assertEqual(run("check", mock.address), (READY, f"pool-server ready: {mock.address}\n", ""))
            mock.ready = (503, "draining\nand more")
            self.assertEqual(run("check", mock.address), (NOT_READY, "pool-server not ready: draining\n", ""))
            mock.ready = (503, "\x1b[2J\x9b" + "x" * 1000)
            self.assertRegex(run("check", mock.address)[1], r"^pool-server not ready: \?\[2J\?x{190,199}…\n$")
            mock.stop()
            gone = f"pool-server cannot be reached: {mock.address}: no connection: "
            self.assertEqual(run("check", mock.address), (NO_ANSWER, f"{gone}Connection refused\n", ""))
        os.unlink(path)
        self.assertEqual(run("check", path), (NO_ANSWER, f"{gone}No such file or directory\n", ""))

    def test_answers_that_are_none(self):
        """Fails if what is no pool-server, or one whose loop does not answer, counts as alive."""
        mock = self.mock()
        mock.health = (500, "no")
        self.assertEqual(run("check", mock.address)[0], NO_ANSWER)
        mock.health = (200, "<html>ok")
        self.assertIn("not that of a pool-server", run("check", mock.address)[1])
        mock.health, mock.ready = (200, "ok\n"), (404, "there is nothing here")
        status, line, _ = run("check", mock.address)
        self.assertEqual((status, line), (NO_ANSWER, f"pool-server cannot be reached: {mock.address}: it answers with status 404\n"))
        for wrong in ((302, "elsewhere"), (200, "")):
            mock.ready = wrong
            self.assertEqual(run("check", mock.address)[0], NO_ANSWER)
        for behave in (lambda c: answer(c, b""), lambda c: answer(c, b"result: \x1b[2J\n"), lambda c: answer(c, b"HTTP/1.1 200 OK\r\n"),
                       lambda c: answer(c, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")):
            status, line, complaint = run("check", self.listener(behave).address)
            self.assertEqual((status, complaint), (NO_ANSWER, ""))
            self.assertRegex(line, r"^pool-server cannot be reached: 127.0.0.1:\d+: [ -~]+\n$")
        self.assertIn("its answer is too long", run("check", self.listener(answer_for_ever).address)[1])

    def test_a_server_that_hangs(self):
        """Fails if a server that takes the connection and says nothing is waited for beyond the time-out, for both questions."""
        hanging = self.listener(lambda connection: None)
        watch = Stopwatch()
        self.assertEqual(run("check", "--timeout", "200ms", hanging.address),
                         (NO_ANSWER, f"pool-server cannot be reached: {hanging.address}: no answer in time\n", ""))
        self.assertLess(watch.seconds, 2 * SLOWDOWN)
        self.assertGreaterEqual(watch.seconds, 0.2)

        def first_only(connection):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
        self.assertEqual(run("check", self.listener(first_only).address, "--timeout=0.2")[0], NO_ANSWER)

    def test_asks_the_server_and_nobody_else(self):
        """Fails if a proxy of the environment is asked, or a redirection followed."""
        mock, other = self.mock(), self.mock()
        status, _, _ = run("check", mock.address, http_proxy=other.url, ALL_PROXY=other.url)
        self.assertEqual(status, READY)
        redirecting = self.listener(lambda c: answer(c, f"HTTP/1.1 302 Found\r\nLocation: {other.url}healthz\r\n\r\n".encode()))
        self.assertEqual(run("check", redirecting.address)[0], NO_ANSWER)
        self.assertEqual(other.asked, [])

    def test_questions_that_are_wrong(self):
        """Fails if a mistake in the command line looks like an answer about a server."""
        for arguments in ([], ["bottom"], ["check", "9101"], ["check", "http://localhost:1"], ["check", "a:1", "b:1"],
                          ["check", "--timeout"], ["check", "--timeout", "0"], ["check", "--timeout=soon"], ["check", "--frobnicate"],
                          ["top", "--timeout", "1"], ["top", "nobody"], ["check", ""], ["check", "u@h:1"]):
            status, printed, complaint = run(*arguments)
            self.assertEqual((status, printed), (WRONG, ""), arguments)
            self.assertEqual(complaint.count("\n"), 1)
        status, printed, complaint = run("check", "--help")
        self.assertEqual((status, complaint), (0, ""))
        self.assertIn("exit status", printed)
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([VIEWS, "check", self.mock().address], stdout=full, timeout=PATIENCE)
        self.assertEqual(done.returncode, WRONG)


class Snapshot(ViewsTestCase):
    def test_without_a_terminal_it_is_text_once(self):
        """Fails if a pipe gets control characters, or less than the server tells."""
        mock = self.mock()
        mock.state, mock.rows = busy_state, busy_rows
        status, printed, complaint = run("top", mock.address)
        self.assertEqual((status, complaint), (0, ""))
        self.assertEqual(re.findall(r"[^\n -~µ–…▁▂▃▄▅▆▇█]", printed), [])
        self.assertRegex(printed, r"(?m)^requests/s   ok [\d,.]+   error [\d,.]+   time-out [\d,.]+   shed 1,500   crashed 0$")
        self.assertRegex(printed, r"(?m)^last minute  [▁▂▃▄▅▆▇█]+   at most [\d,]+$")
        self.assertRegex(printed, r"(?m)^worker-4 stuck .* task 12 conn 99$")
        self.assertRegex(printed, r"(?m)^\[2001:db8:12:34::0\]:51312 +3 +91,234 +40 +8 min 32 s$")
        self.assertEqual(len(re.findall(r"(?m)^\d\d:\d\d:\d\d (?:warning|error) a task", printed)), 12)
        self.assertNotIn("quit", printed)
        self.assertTrue(run("top", mock.address, LC_ALL="C")[1].isascii())

    def test_what_the_server_says_is_text(self):
        """Fails if a control character of the server gets through a pipe to whoever shows it."""
        mock = self.mock()
        mock.state = evil_state
        printed = run("top", mock.address)[1]
        self.assertEqual(re.findall(r"[^\n -~だ漢–…]", printed), [])
        self.assertIn("?]2;owned??[2J?31m????", printed)

    def test_answers_that_are_none(self):
        """Fails if a snapshot that could not be had is not told by the exit status, in a line, or wastes memory or time."""
        mock = self.mock()
        for text in ("{", '{"format": 2}', "[" * 100000):
            mock.state = lambda text=text: text
            status, printed, complaint = run("top", mock.address)
            self.assertEqual((status, printed), (NO_ANSWER, ""))
            self.assertRegex(complaint, rf"^pool-server top: cannot reach {mock.address}: it.*\n$")
        mock.state, mock.rows = state, lambda: "{}"
        self.assertEqual(run("top", mock.address)[0], NO_ANSWER)
        self.assertEqual(run("top", self.listener(answer_for_ever).address)[0], NO_ANSWER)
        self.assertEqual(run("top", f"127.0.0.1:{free_port()}")[0], NO_ANSWER)

    def test_output_that_cannot_be_written(self):
        """Fails if a full disk or a reader that has gone counts as success, or ends the process by a signal."""
        mock = self.mock()
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([VIEWS, "top", mock.address], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write", done.stderr)
        for verb, status in (("top", b"1"), ("check", b"3")):
            done = subprocess.run(["sh", "-c", f"(sleep 0.1; '{VIEWS}' {verb} {mock.address}; echo $? >&2) | true"],
                                  capture_output=True, timeout=PATIENCE)
            self.assertEqual(done.stderr.splitlines()[-1], status)


@unittest.skipUnless(tmux.COMMAND or os.environ.get("CI") == "true", "tmux is not installed")
class Top(ViewsTestCase):
    def terminal(self, **settings):
        terminal = tmux.Terminal(**settings)
        self.addCleanup(terminal.close)
        return terminal

    def show(self, address, part, **settings):
        return self._type(f"'{VIEWS}' top {address}; status=$?", part, **settings)

    def show_once(self, address, **settings):
        """As text. A stand-in that a busy machine keeps from its answer for three seconds is asked again."""
        asks = f"'{VIEWS}' top {address}; status=$?"
        return self._type(f"while {asks}; [ $status = {NO_ANSWER} ]; do :; done", "status=0", **settings)

    def _type(self, command, part, **settings):
        terminal = self.terminal(**settings)
        terminal.type(f"clear; echo before; {command}; echo status=$status")
        terminal.wait_for(part)
        return terminal

    def busy(self):
        mock = self.mock()
        mock.state, mock.rows = busy_state, busy_rows
        return mock

    def test_all_of_it_in_80_by_24(self):
        """Fails if one of the parts has no place on the smallest screen, or lines of it are broken."""
        terminal = self.show(self.busy().address, "q quit")  # the last line, which comes last
        terminal.wait_for("WORKERS")
        screen = terminal.screen()
        self.assertEqual(len(screen), 24)
        self.assertRegex(screen[0], r"^pool-server digest  serving +0\.1\.0, process 123, up 2 h 1 min, 2 restarts$")
        self.assertRegex(screen[2], r"^requests/s   ok [\d,.]+   error [\d,.]+   time-out [\d,.]+   shed 1,500   crashed 0$")
        self.assertEqual(screen[23].rstrip(), "sort by w work   r requests   f in flight   q quit")
        for part in ("worker-4 stuck", "worker-5 crashed", "CLIENT", "[2001:db8:12:34::0]:51312", "warning a task of"):
            self.assertIn(part, terminal.text())

    def test_refreshes_in_place(self):
        """Fails if the screen does not follow the server each second."""
        mock = self.busy()
        terminal = self.show(mock.address, "up 2 h 1 min")
        first = len(mock.asked)
        mock.state = lambda: state(workers=[{"name": "worker-9", "state": "running", "task": 77, "connection": 5, "for_seconds": 3}],
                                   ready=False, not_ready_because="no worker can go on")
        terminal.wait_for("worker-9 running 3.0 s task 77 conn 5")
        terminal.wait_for("\nnot ready: no worker can go on")
        terminal.wait_without("worker-4")
        wait_until(lambda: len(mock.asked) > first + 4, "it goes on asking")

    def test_keys(self):
        """Fails if a key does not sort by what the last line says, or q does not quit."""
        mock = self.mock()
        mock.state = lambda: state(connections={"open": 3, "greediest": [
            {"peer": "work", "work_seconds": 3}, {"peer": "flight", "in_flight": 3}, {"peer": "requests", "requests": 3}]})
        terminal = self.show(mock.address, "CLIENT")

        def first_client():
            screen = terminal.screen()
            return screen[next(i for i, line in enumerate(screen) if line.startswith("CLIENT")) + 1].split()[0]
        for key, first in (("r", "requests"), ("f", "flight"), ("w", "work"), ("x", "work"), ("Up", "work"), ("r", "requests")):
            terminal.keys(key)
            wait_until(lambda first=first: first_client() == first, f"{key} brings {first} up")
        terminal.keys("q")
        terminal.wait_for("status=0")

    def test_other_sizes(self):
        """Fails if a larger screen shows no more, or a tiny one or a change of size breaks it."""
        terminal = self.show(self.busy().address, "WORKERS")
        self.assertNotIn("127.0.0.1:44449", terminal.text())
        terminal.resize(140, 50)
        terminal.wait_for("127.0.0.1:44449")
        wait_until(lambda: terminal.screen()[49].startswith("sort by"), "the keys are in the last line")
        for width, height in ((10, 3), (1, 1), (200, 5), (3, 60)):
            terminal.resize(width, height)
        terminal.resize(80, 24)
        wait_until(lambda: terminal.screen()[23].startswith("sort by"), "the keys are in the last line again")
        terminal.wait_for("worker-4 stuck")
        terminal.keys("q")
        terminal.wait_for("status=0")

    def test_over_a_restart(self):
        """Fails if it ends with the server, hides that it has gone, or does not go on with the next one."""
        mock = self.busy()
        terminal = self.show(mock.address, "process 123")
        mock.stop()
        terminal.wait_for(f"Cannot reach {mock.address}")
        self.assertIn("worker-4", terminal.text())
        mock.state = lambda: state(pid=124, restarts_survived=3)
        mock.start()
        terminal.wait_for("process 124")
        terminal.wait_for("3 restarts")
        terminal.wait_without("Cannot reach")

    def test_begins_without_a_server(self):
        """Fails if it cannot be started before the server."""
        mock = self.mock()
        mock.stop()
        terminal = self.show(mock.address, "Cannot reach")
        mock.start()
        terminal.wait_for("WORKERS")

    def test_a_server_that_hangs(self):
        """Fails if keys wait for a server that does not answer."""
        terminal = self.show(self.listener(lambda connection: None).address, "q quit")
        watch = Stopwatch()
        terminal.keys("q")
        terminal.wait_for("status=0")
        self.assertLess(watch.seconds, 2 * SLOWDOWN)
        terminal = self.show(self.listener(lambda connection: None).address, "no answer in time")

    def test_leaves_the_terminal_as_it_was(self):
        """Fails if a way out, a crash included, leaves settings, cursor or screen of the terminal changed, or hides what it was."""
        mock = self.busy()
        for way in ("q", signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, "C-c", signal.SIGSEGV, signal.SIGABRT):
            terminal = self.terminal()
            terminal.type("ulimit -c 0; clear; stty -g")
            wait_until(lambda: len(self.settings(terminal)) == 1, "stty has spoken")
            terminal.type(f"'{VIEWS}' top {mock.address}")
            terminal.wait_for("WORKERS")
            self.assertEqual((terminal.get("alternate_on"), terminal.get("cursor_flag")), ("1", "0"))
            if isinstance(way, str):
                terminal.keys(way)
            else:
                os.kill(self.process_of(terminal), way)
            terminal.wait_without("WORKERS")
            status = {"q": 0, "C-c": 130}.get(way) if isinstance(way, str) else 128 + way
            # Not in one go: the shell drops the rest of a line in which something was interrupted.
            terminal.type("echo status=$?; stty -g")
            terminal.wait_for(f"status={status}")
            wait_until(lambda: len(self.settings(terminal)) == 2, "stty has spoken again")
            before, after = self.settings(terminal)
            self.assertEqual(before, after, way)
            self.assertEqual((terminal.get("alternate_on"), terminal.get("cursor_flag")), ("0", "1"), way)

    @staticmethod
    def settings(terminal):
        """What stty -g has printed each time, put together from the lines of the screen."""
        return re.findall(r"\b[0-9a-f]+(?::[0-9a-f]+){20,}", "".join(line.ljust(80) for line in terminal.screen()))

    @staticmethod
    def process_of(terminal):
        """The views program in that terminal."""
        number = os.stat(terminal.get("pane_tty")).st_rdev
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rsplit(")", 1)[1].split()
                if int(fields[4]) == number and "pool-server-vi" in entry.read_text():
                    return int(entry.parent.name)
            except (FileNotFoundError, ProcessLookupError):
                pass  # ended while we looked
        raise AssertionError("it does not run there")

    def test_stopped_and_continued(self):
        """Fails if Ctrl-Z leaves the shell with a terminal that it cannot use, or fg does not bring the screen back."""
        terminal = self.show(self.busy().address, "WORKERS")
        terminal.keys("C-z")
        terminal.wait_for("Stopped")
        self.assertEqual((terminal.get("alternate_on"), terminal.get("cursor_flag")), ("0", "1"))
        terminal.type("fg")
        terminal.wait_for("WORKERS")
        terminal.keys("q")
        terminal.wait_without("WORKERS")
        self.assertEqual((terminal.get("alternate_on"), terminal.get("cursor_flag")), ("0", "1"))

    def test_what_the_server_says_does_nothing_to_the_terminal(self):
        """Fails if a control character of the server gets to the terminal, or a wide one breaks the lines below."""
        mock = self.mock()
        mock.state = evil_state
        terminal = self.show(mock.address, "CLIENT")
        terminal.wait_for("?]2;owned??[2J?31m????")
        terminal.wait_for("q quit")  # the last line, which comes last
        self.assertNotEqual(terminal.get("pane_title"), "owned")
        screen = terminal.screen()
        self.assertEqual(screen[23].rstrip(), "sort by w work   r requests   f in flight   q quit")
        self.assertTrue(screen[1].startswith("not ready: ?]2;owned?") and screen[2].startswith("requests/s"))

    def test_terminals_that_can_do_little(self):
        """Fails if a dumb or unknown terminal gets more than text, or one without UTF-8 or colours more than it has."""
        mock = self.busy()
        for name in ("dumb", "no-such-terminal"):
            terminal = self.show_once(mock.address, TERM=name, height=60)
            self.assertIn("WORKERS", terminal.text())
            self.assertNotIn("quit", terminal.text())
        terminal = self.show(mock.address, "WORKERS", TERM="vt100", LC_ALL="C")
        self.assertTrue(terminal.text().isascii())
        self.assertIn(" us ", terminal.text())
