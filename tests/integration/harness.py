"""Starts the real server for a test, waits until it is ready, and never leaves it behind.

The binary is named by the environment variable POOL_SERVER_BINARY.
"""

import contextlib
import json
import mmap
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from client import Client
from notify import NotifySocket
from procfs import Process
from timing import PATIENCE, SLOWDOWN, wait_until

BINARY = os.environ.get("POOL_SERVER_BINARY", "")
LAUNCHER = str(Path(__file__).with_name("launch.py"))
SYSTEMD_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
                     "LISTEN_FDNAMES", "JOURNAL_STREAM", "INVOCATION_ID")
SANITIZER_REPORT = re.compile(r"^.*(?:ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:).*$", re.M)
USAGE_ERROR = 2
RUNTIME_ERROR = 1


def plugin(name):
    """The path of one of the tests' plug-ins, as built beside the server."""
    return str(Path(BINARY).parents[1] / "tests/plugins" / f"{name}.so")


def sanitizer():
    """The sanitizer the binary was built with: "address", "thread", "undefined" or None."""
    with open(BINARY, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        for symbol, name in ((b"__tsan_init", "thread"), (b"__asan_init", "address"),
                             (b"__ubsan_handle", "undefined")):
            if data.find(symbol) >= 0:
                return name
    return None


def clean_environment(extra=None):
    environment = {k: v for k, v in os.environ.items() if k not in SYSTEMD_VARIABLES}
    return environment | (extra or {})


def free_port():
    """A TCP port free on 127.0.0.1 and, where it exists, on ::1."""
    for _ in range(100):
        with contextlib.ExitStack() as stack:
            four = stack.enter_context(socket.socket(socket.AF_INET))
            four.bind(("127.0.0.1", 0))
            port = four.getsockname()[1]
            if not has_ipv6():
                return port
            six = stack.enter_context(socket.socket(socket.AF_INET6))
            with contextlib.suppress(OSError):
                six.bind(("::1", port))
                return port
    raise AssertionError("no free port")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            return True
    except OSError:
        return False


def parse_address(text):
    """What the log calls an address → what Client connects to."""
    if text.startswith(("/", "unix:")):
        return text.removeprefix("unix:")
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def parse_stats(line):
    name, *fields = line.split(" ")
    if name != "stats:":
        raise AssertionError(f"not a STATS reply: {line!r}")
    return {key: float(value) if "." in value else int(value)
            for key, value in (field.split("=") for field in fields)}


def run_to_end(*options, env=None, timeout=PATIENCE, command=None):
    """Runs the server where it is expected to end by itself: exit status, stdout and stderr."""
    return subprocess.run([*(command or [BINARY]), *options], env=clean_environment(env), timeout=timeout,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)


class Server:
    """A running server. `launch` is the plan for launch.py; `prefix` a command that runs it, such as strace;
    `binary` another one than that of the environment.

    `notify` makes the service manager's end of $NOTIFY_SOCKET from its path; false: there is no manager.
    """

    def __init__(self, *options, listen=("127.0.0.1:0",), handler="drill", env=None, stderr=None,
                 notify=NotifySocket, prefix=(), binary=None, **launch):
        self._directory = tempfile.TemporaryDirectory(prefix="pool-server-test-")
        self.directory = self._directory.name
        self.notify = notify(f"{self.directory}/notify") if notify else None
        self.stderr_path = f"{self.directory}/stderr"
        self.listen = listen
        self._control = None
        self._killed = False
        environment = clean_environment(env)
        if notify:
            environment["NOTIFY_SOCKET"] = self.notify.path
        command = [*prefix, binary or BINARY, *(f"--listen={address}" for address in listen)]
        command += [*([f"--handler={handler}"] if handler else []), *options]
        with open(self.stderr_path, "ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-IS", LAUNCHER, json.dumps(launch), *command], env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log if stderr is None else stderr,
                pass_fds=launch.get("pass", ()))
        self.pid = self.child.pid
        self.process = Process(self.pid)

    # What it says

    def log(self):
        return Path(self.stderr_path).read_text(errors="replace")

    def log_lines(self, pattern):
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def logged(self, pattern, event):
        """How often an event whose lines match the pattern was logged, or left out with a count."""
        count = 0
        for line in self.log_lines(pattern):
            before = re.search(r"\(left out before: (\d+) more\)", line)
            count += 1 + (int(before[1]) if before else 0)
        counts = re.findall(rf"left out (\d+) more of the event '{event}'", self.log())
        return count + sum(int(found) for found in counts)

    def wait_for_log(self, pattern, timeout=PATIENCE):
        return wait_until(lambda: re.search(pattern, self.log(), re.M), f"a log line with {pattern!r}", timeout)

    def wait_ready(self):
        def ready():
            if self.child.poll() is not None:
                raise AssertionError(f"the server ended with {self.child.returncode} at its start:\n{self.log()}")
            if self.notify:
                return self.notify.named("READY")
            return self.addresses()
        wait_until(ready, "the server gets ready")

    # Where it is, and talking to it

    def addresses(self):
        return [parse_address(found) for found in re.findall(r"listening on (\S+)", self.log())]

    @property
    def address(self):
        paths = [path for path in self.listen if path.startswith("/")]
        return paths[0] if paths else self.addresses()[0]

    @property
    def port(self):
        return self.address[1]

    def stats(self):
        """STATS over a connection kept for it."""
        if self._control is None:
            self._control = Client(self.address)
        return parse_stats(self._control.ask("STATS"))

    def wait_for_stats(self, condition, what, timeout=PATIENCE):
        """Asks for STATS until they satisfy the condition; returns them."""
        def check():
            found = self.stats()
            return found if condition(found) else None
        return wait_until(check, f"STATS show {what}", timeout)

    def wait_for_workers(self, count, what=None):
        """Until so many threads are named as workers, which a new one does first; returns them."""
        def check():
            found = self.process.workers()
            return found if len(found) == count else None
        return wait_until(check, what or f"{count} threads are workers")

    # Its end

    def signal(self, number=signal.SIGTERM):
        self.child.send_signal(number)

    def wait_exit(self, timeout=PATIENCE):
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not end within {timeout:.1f} s") from None

    def stop(self):
        """SIGTERM, and its exit status."""
        self.signal()
        return self.wait_exit()

    def kill(self):
        """Ends the server with no chance to clean up."""
        self.child.kill()
        self.child.wait()
        self._killed = True

    def close(self):
        """Stops the server if the test did not; fails the test if it ends badly."""
        try:
            self._close()
        finally:
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
            if self._control:
                self._control.close()
            if self.notify:
                self.notify.close()
            log = self.log()
            self._directory.cleanup()
        if found := SANITIZER_REPORT.search(log):
            raise AssertionError(f"{found[0]}\n{log}")

    def _close(self):
        if self._killed:
            return
        if self.child.poll() is not None:
            if self.child.returncode < 0:
                raise AssertionError(f"the server was ended by signal {-self.child.returncode}")
            return
        status = self.stop()
        if status != 0:
            raise AssertionError(f"the server ended with status {status}")


class ServerTestCase(unittest.TestCase):
    """A test with servers and clients that are gone when it ends, however it ends."""

    def setUp(self):
        self.servers = []

    def launch(self, *options, **settings):
        """Starts a server without waiting for it."""
        server = Server(*options, **settings)
        self.addCleanup(server.close)
        self.servers.append(server)
        return server

    def start(self, *options, **settings):
        server = self.launch(*options, **settings)
        server.wait_ready()
        return server

    def connect(self, server_or_address, **settings):
        address = getattr(server_or_address, "address", server_or_address)
        client = Client(address, **settings)
        self.addCleanup(client.close)
        return client

    def need_descriptors(self, count):
        """Raises the limit of this process and its children for the test, or skips the test."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(count, limits[0]), max(count, limits[1])))
        except (ValueError, PermissionError):
            self.skipTest(f"needs a limit of {count} open files; it is {limits[1]}")

    def temporary_directory(self):
        directory = tempfile.TemporaryDirectory(prefix="pool-server-test-")
        self.addCleanup(directory.cleanup)
        return directory.name

    def logs(self):
        """The end of each server's log, for the report of a failure."""
        texts = []
        for server in self.servers:
            with contextlib.suppress(OSError):
                texts.append(f"--- log of {server.pid}:\n{server.log()[-3000:]}")
        return "\n".join(texts)

    def assert_quick(self, seconds, bound):
        self.assertLess(seconds, bound * SLOWDOWN)
