"""The configuration file: read whole or not at all, and by the check, the start and a reload alike."""

import os
import random
import re
import resource
import signal
import subprocess
from pathlib import Path

from harness import BINARY, RUNTIME_ERROR, USAGE_ERROR, ServerTestCase, clean_environment, run_to_end, sanitizer
from strace import require_strace
from timing import PATIENCE, SLOWDOWN, let_pass, wait_until

UNIT = Path(__file__).parents[2] / "packaging/systemd/pool-server.service.in"
# What systemd's @default lets every process do, as far as it may be seen here.
SYSTEMD_DEFAULT = set("""
    arch_prctl brk clock_gettime clock_nanosleep execve exit exit_group futex getegid geteuid getgid getpid getppid
    getrandom getresgid getresuid getrlimit gettid getuid membarrier mmap mprotect munmap nanosleep prlimit64 rseq
    rt_sigreturn sched_yield set_robust_list set_tid_address sysinfo time uname""".split())


class ConfigTestCase(ServerTestCase):
    def setUp(self):
        super().setUp()
        directory = self.temporary_directory()
        os.chmod(directory, 0o755)  # what only root may read, the check refuses
        self.path = Path(directory, "config")

    def write(self, text):
        self.path.write_bytes(text.encode())
        self.path.chmod(0o644)

    def check(self):
        return run_to_end("--check-config", str(self.path))

    def one_line(self, ended, status, *parts):
        self.assertEqual(ended.returncode, status, ended.stderr)
        self.assertEqual(len(ended.stderr.splitlines()), 1, ended.stderr)
        for part in parts:
            self.assertIn(part, ended.stderr)

    def reload(self, server):
        """SIGHUP, and what the log says of it: the faults, or []."""
        before = len(server.log())
        readies = server.notify.named("READY")
        server.signal(signal.SIGHUP)
        wait_until(lambda: len(server.notify.named("READY")) > len(readies), "the reload is over")
        told = server.log()[before:]
        faults = re.findall(r"configuration not changed: (.*)", told)
        self.assertNotEqual(bool(faults), "configuration reloaded" in told, told)
        return faults


class Unreadable(ConfigTestCase):
    # A directory, and a file of which no byte can be read.
    ERRORS = (("/usr", "Is a directory"), ("/proc/self/mem", "Input/output error"),
              ("/nonexistent", "No such file or directory"))

    def test_a_read_error_at_the_start(self):
        """Fails when a server starts with the defaults because its configuration could not be read."""
        for target, error in self.ERRORS:
            with self.subTest(target=target):
                self.one_line(run_to_end("--config", target, "--listen=/nonexistent/socket"), RUNTIME_ERROR,
                              f"cannot read {target}: {error}")
                self.one_line(run_to_end("--check-config", target), RUNTIME_ERROR, f"cannot read {target}: {error}")

    def test_a_read_that_fails_in_the_middle(self):
        """Fails when what was read before the error is taken for the whole."""
        require_strace()
        if sanitizer() == "address":
            self.skipTest("it looks for leaks at the end, and cannot while it is traced")
        self.write("workers=3\n" + "# filler\n" * 5000 + "queue-capacity=77\n")
        for error in ("EIO", "ENOMEM"):
            with self.subTest(error=error):
                command = ["strace", "-o", os.devnull, "-P", str(self.path),
                           "-e", f"inject=read,readv:error={error}:when=2+", BINARY]
                self.one_line(run_to_end("--config", str(self.path), "--listen=/nonexistent/socket", command=command),
                              RUNTIME_ERROR, f"cannot read {self.path}")

    def test_a_read_error_at_a_reload(self):
        """Fails when a reload goes on with the defaults because the file could not be read, or says nothing."""
        self.write("queue-capacity=77\nworkers=3\n")
        server = self.start(f"--config={self.path}")
        for target, error in self.ERRORS:
            with self.subTest(target=target):
                self.path.unlink()
                self.path.symlink_to(target)
                self.assertEqual(self.reload(server), [f"cannot read {self.path}: {error}"])
                stats = server.stats()
                self.assertEqual((stats["queue_capacity"], stats["workers"]), (77, 3))
        self.path.unlink()
        self.write("queue-capacity=78\nworkers=3\n")
        self.assertEqual(self.reload(server), [])
        self.assertEqual(server.stats()["queue_capacity"], 78)

    def test_a_pipe(self):
        """Fails when the loop waits for whoever writes into a configuration that is a pipe."""
        self.write("queue-capacity=77\n")
        server = self.start(f"--config={self.path}")
        self.path.unlink()
        os.mkfifo(self.path)
        self.one_line(self.check(), RUNTIME_ERROR, "cannot be read again")
        self.assertEqual(len(self.reload(server)), 1)
        self.assertEqual(server.stats()["queue_capacity"], 77)


class NothingDropped(ConfigTestCase):
    def test_addresses_apart(self):
        """Fails when a setting that may be repeated loses the values that are not on neighbouring lines."""
        paths = [f"{self.temporary_directory()}/socket" for _ in range(4)]
        self.write(f"listen={paths[0]}\nworkers=2\nlisten={paths[1]};\n\nqueue-capacity=9\n"
                   f"listen=[\"{paths[2]}\", {paths[3]}]\n")
        self.assertEqual(self.check().returncode, 0)
        server = self.start(f"--config={self.path}", listen=())
        self.assertEqual(server.addresses(), [paths[0], paths[1] + ";", *paths[2:]])
        self.assertEqual(self.connect(paths[3]).ask("echo x"), "result: x")

    def test_what_is_ambiguous_is_refused(self):
        """Fails when a line is passed over or cut, by whichever of the three."""
        self.write("")
        server = self.start(f"--config={self.path}")
        for text in ("workers=2\nqueue-capacity=9\nworkers=3\n", "workers=2;3\n", "workers=2 3\n", "PORT=7000\n",
                     "[default]\nworkers=2\n", "[x]\nworkers=2\n", "workers\n", "config=/dev/null\n",
                     "check-config=/dev/null\n", "help=true\n", "workers='2'\n", "overload=\"wait\0\"\n",
                     "\0", "#\0\n", "x\n", "handler=drill\nhandler=drill\n"):
            with self.subTest(text=text):
                self.write(text)
                self.one_line(self.check(), RUNTIME_ERROR, f"{self.path}:")
                self.one_line(run_to_end("--config", str(self.path), "--listen=/nonexistent/socket"), USAGE_ERROR,
                              f"{self.path}:")
                self.assertEqual(len(self.reload(server)), 1)

    def test_what_was_documented(self):
        """Fails when a file written by the manual of an earlier version is refused, or means something else."""
        path = f"{self.temporary_directory()}/socket"
        self.write("# a comment\n   \nworkers = 2-3\r\ntask-timeout=\"90 s\"\n"
                   f"listen=[\"127.0.0.1:0\", \"{path}\"]\n  # indented\n")
        self.assertEqual(self.check().returncode, 0)
        server = self.start(f"--config={self.path}", listen=())
        self.assertEqual(len(server.addresses()), 2)
        self.assertEqual(server.stats()["workers"], 2)


class WhatAReloadSets(ConfigTestCase):
    """For who is connected as well. What STATS says of it is not enough."""

    def start_with(self, text):
        self.write(text)
        return self.start(f"--config={self.path}")

    def set(self, server, text):
        self.write(text)
        self.assertEqual(self.reload(server), [])

    def replies_beside_a_busy_worker(self, server, lines):
        """To `lines` requests of one client that come while the only worker is busy with another's."""
        occupant, client = self.connect(server), self.connect(server)
        occupant.send(f"sleep {int(500 * SLOWDOWN)}")
        server.wait_for_stats(lambda s: s["active_workers"] == 1 and s["queue_depth"] == 0, "the worker is busy")
        client.send(*["echo x"] * lines)
        replies = client.lines(lines)
        occupant.line()
        return replies

    def test_capacity_and_overload(self):
        """Fails when a reload does not set how many requests the queue takes, or what becomes of the others."""
        server = self.start_with("workers=1\nqueue-capacity=2\noverload=reject\n")
        for text, refused in (("", True), ("queue-capacity=100\noverload=reject\n", False),
                              ("queue-capacity=2\noverload=reject\n", True), ("queue-capacity=2\noverload=wait\n", False)):
            if text:
                self.set(server, "workers=1\n" + text)
            self.assertEqual("ERROR: server busy" in self.replies_beside_a_busy_worker(server, 10), refused, text)

    def test_waits(self):
        """Fails when a reload does not set how long a request may wait for a worker."""
        server = self.start_with("workers=1\n")
        for text, late in (("queue-timeout=100ms\n", True), ("", False)):
            self.set(server, "workers=1\n" + text)
            wanted = "ERROR: waited too long" if late else "result: x"
            self.assertEqual(self.replies_beside_a_busy_worker(server, 2), [wanted] * 2)

    def test_times(self):
        """Fails when a reload does not set how long a task may run, or a client be idle or at a line."""
        server = self.start_with("")
        client, idle, slow = self.connect(server), self.connect(server), self.connect(server)
        self.assertEqual(idle.ask("echo x"), "result: x")
        slow.send_bytes(b"echo half")
        self.set(server, "task-timeout=100ms\nidle-timeout=300ms\nline-timeout=200ms\n")
        self.assertEqual(client.ask("sleep 60000"), "ERROR: timed out after 100 ms")
        self.assertEqual(idle.rest(), ["ERROR: idle for too long"])
        self.assertEqual(slow.rest(), ["ERROR: request not completed in time"])

    def test_times_of_what_is_under_way(self):
        """Fails when the limits of a reload reach what runs or waits only once there is something else to do."""
        server = self.start_with("workers=1\n")
        busy, waiting = self.connect(server), self.connect(server)
        busy.send("sleep 60000")
        server.wait_for_stats(lambda s: s["active_workers"] == 1, "the worker is busy")
        waiting.send("echo x")
        server.wait_for_stats(lambda s: s["queue_depth"] == 1, "the other one waits")
        let_pass(0.2)  # nothing more happens by itself
        self.set(server, "workers=1\nqueue-timeout=100ms\n")
        self.assertEqual(waiting.line(), "ERROR: waited too long")
        let_pass(0.2)
        self.set(server, "workers=1\ntask-timeout=100ms\n")
        self.assertEqual(busy.line(), "ERROR: timed out after 100 ms")

    def test_sizes(self):
        """Fails when a reload does not set how long a line may be, or how many clients and workers there are."""
        server = self.start_with("")
        client = self.connect(server)
        self.assertEqual(client.ask("echo " + "x" * 20), "result: " + "x" * 20)
        self.set(server, "max-line=10\nmax-connections=2\nworkers=3\n")
        self.assertEqual(client.ask("echo " + "x" * 20), "ERROR: line too long (max 10 bytes)")
        server.wait_for_stats(lambda s: s["workers"] == 3, "so many workers")  # over a second connection
        self.assertEqual(self.connect(server).rest(), ["ERROR: too many connections"])

    def test_log_level(self):
        """Fails when a reload does not set what is logged."""
        server = self.start_with("")
        client = self.connect(server)
        for text, is_told in (("", False), ("log-level=debug\n", True), ("", False)):
            self.set(server, text)
            before = len(server.log_lines("read [0-9]+ bytes"))
            self.assertEqual(client.ask("echo x"), "result: x")
            self.assertEqual(len(server.log_lines("read [0-9]+ bytes")) > before, is_told)


class Agreement(ConfigTestCase):
    PIECES = ("workers", "queue-capacity", "listen", "handler-option", "PORT", "config", "task-timeout", "=", "=", "=",
              "4", "2-3", "0", "\n", "\n", "\n", "\"", "[", "]", ",", ";", "#", " ", "\t", "\r\n", "'", "\0",
              "=7\n", "=1s\n", "workers=3\n", "queue-capacity=5\n", "overload=reject\n", "max-line=1KiB\n",
              "[default]\n")
    FILES = 120

    def test_check_start_and_reload(self):
        """Fails when one of the three takes a file that another refuses, or gives another reason."""
        seed = 20261126
        chance = random.Random(seed)
        self.write("")
        server = self.start(f"--config={self.path}")
        verdicts = set()
        for number in range(self.FILES // 4 if sanitizer() else self.FILES):  # three processes for each
            text = "".join(chance.choice(self.PIECES) for _ in range(chance.randrange(9)))
            if "handler-option" in text:
                text += "\nhandler=nosuch\n"  # else it is the handler's to judge, which a reload does not load
            with self.subTest(seed=seed, number=number, text=text):
                self.write(text)
                check = self.check()
                # A start that gets as far as its sockets ends at this one.
                start = run_to_end("--config", str(self.path), "--listen=/nonexistent/socket")
                faults = self.reload(server)
                checked = [line.removeprefix("pool-server: ") for line in check.stderr.splitlines()]
                others = f" (and {len(checked) - 1} more faults)" if len(checked) > 1 else ""
                self.assertEqual(faults, [checked[0] + others] if checked else [])
                if faults:
                    self.assertEqual((check.returncode, start.returncode), (RUNTIME_ERROR, USAGE_ERROR))
                    self.assertEqual(start.stderr, check.stderr)
                else:
                    self.assertEqual((check.returncode, start.returncode), (0, RUNTIME_ERROR), start.stderr)
                    self.assertIn("/nonexistent/socket", start.stderr)
                verdicts.add(bool(faults))
        self.assertEqual(verdicts, {True, False})


class OutOfMemory(ConfigTestCase):
    def test_reload(self):
        """Fails when a reload for which there is no memory ends the server, changes a part, or says nothing."""
        if sanitizer():
            self.skipTest("a sanitizer reserves its memory otherwise")
        self.write("queue-capacity=77\nidle-timeout=1h\nworkers=1\n")
        server = self.start(f"--config={self.path}")
        client = self.connect(server)
        self.assertEqual(client.ask("echo x"), "result: x")
        self.write("queue-capacity=5\nidle-timeout=1ms\n" + "handler-option=key=much\n" * 40_000)
        limits = resource.prlimit(server.pid, resource.RLIMIT_AS)
        status = Path(f"/proc/{server.pid}/status").read_text()
        # Enough for what else goes on, not for the file.
        size = (int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) + 256) * 1024
        resource.prlimit(server.pid, resource.RLIMIT_AS, (size, limits[1]))
        self.assertEqual(self.reload(server), ["out of memory"])
        self.assertEqual(client.ask("echo still here"), "result: still here")
        self.assertEqual(server.stats()["queue_capacity"], 77)
        resource.prlimit(server.pid, resource.RLIMIT_AS, limits)
        self.write("queue-capacity=5\nworkers=1\n")
        self.assertEqual(self.reload(server), [])
        self.assertEqual(server.stats()["queue_capacity"], 5)


class CheckAlone(ConfigTestCase):
    def test_beside_a_running_server(self):
        """Fails when a check takes or removes what the server that runs by the same file has."""
        path = f"{self.temporary_directory()}/socket"
        self.write(f"listen={path}\nworkers=3\n")
        server = self.start(f"--config={self.path}", listen=(path,))
        for _ in range(3):
            ended = self.check()
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        self.assertEqual(self.connect(path).ask("echo x"), "result: x")
        self.assertEqual(server.stats()["workers"], 3)

    def test_system_calls(self):
        """Fails when a check makes a call for which the service's sandbox would kill it."""
        require_strace()
        if sanitizer():
            self.skipTest("a sanitizer makes calls of its own")
        allowed = SYSTEMD_DEFAULT | set(" ".join(re.findall(r"^SystemCallFilter=(.*)", UNIT.read_text(), re.M)).split())
        self.write("handler=password\nhandler-option=cost=5\nlisten=[::1]:80\n")
        faulty = Path(str(self.path) + "-faulty")
        faulty.write_text("workers=none\nworkers=2\n")
        for path, status in ((self.path, 0), (faulty, RUNTIME_ERROR), ("/nonexistent", RUNTIME_ERROR)):
            calls = Path(self.temporary_directory(), "calls")
            ended = subprocess.run(["strace", "-f", "-o", calls, BINARY, "--check-config", str(path)], timeout=PATIENCE,
                                   env=clean_environment(), capture_output=True, text=True)
            self.assertEqual(ended.returncode, status, ended.stderr)
            made = set(re.findall(r"^\d+ +(\w+)\(", calls.read_text(), re.M))
            self.assertIn("openat", made)
            self.assertEqual(made - allowed, set())

    def test_a_file_that_only_root_may_read(self):
        """Fails when root finds a file in order that the service, which is not root, cannot read."""
        self.write("workers=3\n")
        if os.geteuid() != 0:
            self.path.chmod(0)
            return self.one_line(self.check(), RUNTIME_ERROR, "Permission denied")
        self.path.chmod(0o600)
        self.one_line(self.check(), RUNTIME_ERROR, f"{self.path} (mode 0600)", "only root may")
        self.path.chmod(0o644)
        self.path.parent.chmod(0o700)
        self.one_line(self.check(), RUNTIME_ERROR, f"{self.path.parent} (mode 0700)", "only root may")
        self.path.parent.chmod(0o755)
        self.assertEqual(self.check().returncode, 0)
