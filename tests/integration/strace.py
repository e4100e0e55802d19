"""strace on a running server: what each thread calls, and calls made to fail."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

from timing import wait_until

# The environment of a server that ends while it is traced: LeakSanitizer cannot work then.
TRACED = {"ASAN_OPTIONS": "detect_leaks=0"}

CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)")


def require_strace():
    """Skips the test where strace is missing or not permitted."""
    if not shutil.which("strace"):
        raise unittest.SkipTest("strace is not installed")
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True)
    if tried.returncode:
        raise unittest.SkipTest(f"strace is not permitted here: {tried.stderr.strip()}")


class Strace:
    """Traces every thread of a process (or some threads alone) within a `with` block.

    `trace` lists system calls; a name unknown on this machine is passed over. `inject` lists what strace
    calls injections, such as "recvfrom:error=EINTR:when=1+3".
    """

    def __init__(self, pid, trace=(), inject=(), threads=()):
        require_strace()
        names = [*trace, *(name for rule in inject for name in rule.split(":")[0].split(","))]
        self._directory = tempfile.TemporaryDirectory(prefix="pool-server-strace-")
        self._output = Path(self._directory.name, "calls")
        self._errors = Path(self._directory.name, "errors")
        whom = [f"--attach={thread}" for thread in threads] or ["-f", f"--attach={pid}"]
        self._expected = max(1, len(threads))
        self._tasks = Path(f"/proc/{pid}/task") if inject else None
        self._command = ["strace", *whom, "-y", "-o", str(self._output),
                         "-e", "trace=" + ",".join("?" + name for name in names)]
        for rule in inject:
            calls, _, what = rule.partition(":")
            unknown_allowed = ",".join("?" + name for name in calls.split(","))
            self._command += ["-e", f"inject={unknown_allowed}:{what}"]

    def __enter__(self):
        with open(self._errors, "wb") as errors:
            self._child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stderr=errors)
        try:
            wait_until(self._attached, "strace is attached")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attached(self):
        errors = self._errors.read_text()
        if self._child.poll() is not None:
            raise unittest.SkipTest(f"strace could not attach: {errors.strip()}")
        return errors.count("attached") >= self._expected

    def lines(self):
        return self._output.read_text(errors="replace").splitlines()

    def calls(self):
        """(thread id, call, whole line) of each call so far. A call that was interrupted shows twice."""
        return [(int(found[1]), found[2], line) for line in self.lines() if (found := CALL.match(line))]

    def _at_rest(self):
        """Whether every thread sleeps in a call that it has really made, or there is none any more."""
        try:
            states = [stat.read_text().rpartition(")")[2].split()[0] for stat in self._tasks.glob("*/stat")]
        except OSError:
            return False  # one has just ended
        return all(state in "SZ" for state in states)

    def __exit__(self, *_):
        if self._tasks and self._child.poll() is None:
            # Left in the middle of an injection, a call comes back as none that the kernel knows.
            with contextlib.suppress(AssertionError):
                wait_until(self._at_rest, "the server rests", timeout=2)
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
        self._child.wait()
        self._calls = self.calls() if self._output.exists() else []
        self._directory.cleanup()

    def all_calls(self):
        """The same after the end of the `with` block."""
        return self._calls
