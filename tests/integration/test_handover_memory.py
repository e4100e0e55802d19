"""What a hand-over takes of memory beyond what is carried over: the old process lets go as it writes."""

import contextlib
import os
import threading
import unittest

from harness import sanitizer
from manager import RestartTestCase
from timing import PATIENCE, wait_until

MIB = 1 << 20


def status(pid, name):
    """A field of /proc/PID/status, in bytes."""
    with open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise ProcessLookupError


def memfds(pid):
    """What the process's snapshot takes, in bytes."""
    total = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        with contextlib.suppress(FileNotFoundError):
            if "memfd:" in os.readlink(path):
                total += os.stat(path).st_blocks * 512
    return total


class Peak(threading.Thread):
    """The most memory that a process and its snapshot take, until it ends."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self._pid = pid
        self.own = self.snapshot = self.together = 0
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                snapshot = memfds(self._pid)
                own = status(self._pid, "VmRSS")
                self.own, self.snapshot = max(self.own, own), max(self.snapshot, snapshot)
                self.together = max(self.together, own + snapshot)


@unittest.skipIf(sanitizer(), "a sanitizer keeps freed memory")
class MemoryOfAHandover(RestartTestCase):
    CLIENTS, REPLIES, SIZE = 16, 190, 60_000  # what one connection holds is little beside the whole
    # In seconds: for 180 MB that are copied by a client, a server, a client.
    PATIENCE = 3 * PATIENCE

    def test_at_most_a_third_more_than_is_carried(self):
        """Fails when old or new process holds twice at once what is carried over."""
        options = ("--max-unsent=64M", "--workers=2", "--send-timeout=0")
        self.start_next(*options)
        self.assert_serves(self.meet())
        at_rest = status(self.server.pid, "VmRSS")
        clients = [self.meet("unix", receive_buffer=4096, timeout=self.PATIENCE) for _ in range(self.CLIENTS)]
        requests = b"".join(f"echo {index} ".encode().ljust(self.SIZE, b"m") + b"\n" for index in range(self.REPLIES))
        for client in clients:
            client.send_aside(requests)
        control = self.meet()
        done = f" completed={self.CLIENTS * self.REPLIES + 1} "
        wait_until(lambda: done in control.ask("STATS"), "all replies are computed", timeout=self.PATIENCE)
        before = status(self.server.pid, "VmRSS")
        old = Peak(self.server.pid)
        self.end()
        old.join()
        carried = old.snapshot
        self.assertGreater(carried, 150 * MIB)
        self.start_next(*options)
        new = status(self.server.pid, "VmHWM")
        print(f"{carried / MIB:.0f} MiB carried; before {before / MIB:.0f}, at rest {at_rest / MIB:.0f}; old process and "
              f"snapshot {old.together / MIB:.0f}, new process {new / MIB:.0f}")
        self.assertLess(old.own - before, 0.3 * carried)
        self.assertLess(old.together - before, 0.3 * carried)
        self.assertLess(new - at_rest, 1.3 * carried)
        for client in clients:
            for index in range(self.REPLIES):
                self.assertTrue(client.line().startswith(f"result: {index} m"))
