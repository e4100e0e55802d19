"""What the kernel tells about a running process."""

import glob
import os
import re
from pathlib import Path


class Process:
    def __init__(self, pid):
        self.pid = pid
        self.root = Path(f"/proc/{pid}")

    def threads(self):
        """Thread id → name."""
        names = {}
        for task in (self.root / "task").iterdir():
            try:
                names[int(task.name)] = (task / "comm").read_text().strip()
            except (FileNotFoundError, ProcessLookupError):
                pass  # ended while we looked
        return names

    def workers(self):
        """Thread id → name of the threads named as workers."""
        return {tid: name for tid, name in self.threads().items() if name.startswith("worker-")}

    def descriptors(self):
        """Descriptor number → what it is, such as `socket:[1234]` or `anon_inode:[eventpoll]`."""
        found = {}
        for entry in (self.root / "fd").iterdir():
            try:
                found[int(entry.name)] = os.readlink(entry)
            except FileNotFoundError:
                pass
        return found

    def sockets(self):
        return {fd for fd, target in self.descriptors().items() if target.startswith("socket:")}

    def kinds(self):
        """The sorted kinds of all descriptors, inode numbers of sockets and pipes left out."""
        return sorted(re.sub(r":\[\d+\]", "", t) for t in self.descriptors().values())

    def descriptor_of(self, target):
        """The numbers of the descriptors of one kind, such as `anon_inode:[eventfd]`."""
        return [fd for fd, found in self.descriptors().items() if found == target]

    def flags(self, fd):
        """The open flags of a descriptor (O_NONBLOCK, O_CLOEXEC)."""
        text = (self.root / "fdinfo" / str(fd)).read_text()
        return int(re.search(r"^flags:\s+([0-7]+)$", text, re.M)[1], 8)

    def polled_descriptors(self):
        """The descriptors that the process's epoll watches."""
        watched = set()
        for fd in self.descriptor_of("anon_inode:[eventpoll]"):
            text = (self.root / "fdinfo" / str(fd)).read_text()
            watched |= {int(found) for found in re.findall(r"^tfd:\s+(\d+)", text, re.M)}
        return watched

    def state(self):
        """One letter: R runs, S sleeps, T is stopped."""
        return (self.root / "stat").read_text().rsplit(")", 1)[1].split()[0]

    def resident_bytes(self):
        text = (self.root / "status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", text, re.M)[1]) * 1024

    def private_bytes(self):
        """Of memory that it has written to and shares with nobody."""
        text = (self.root / "smaps_rollup").read_text()
        return int(re.search(r"^Private_Dirty:\s+(\d+) kB$", text, re.M)[1]) * 1024

    def descendants(self):
        """The ids of all processes below it, zombies too."""
        found = []
        for path in glob.glob(f"{self.root}/task/*/children"):
            try:
                below = [int(child) for child in Path(path).read_text().split()]
            except OSError:
                continue  # it has ended
            for child in below:
                found += [child, *Process(child).descendants()]
        return found

    def context_switches(self):
        """Of all threads there are, voluntary or not."""
        counts = [re.findall(r"ctxt_switches:\s+(\d+)", status.read_text())
                  for status in self.root.glob("task/*/status")]
        return sum(int(count) for pair in counts for count in pair)

    def cpu_seconds(self, thread=None):
        """The time of the CPU that the process, or one thread of it, has used."""
        directory = self.root / "task" / str(thread) if thread else self.root
        fields = (directory / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bytes_in_flight(port):
    """Bytes on their way to the server of that TCP port on 127.0.0.1 that it has not read yet."""
    waiting = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        local, remote = (int(fields[column].split(":")[1], 16) for column in (1, 2))
        unsent, unread = (int(part, 16) for part in fields[4].split(":"))
        if local == port:
            waiting += unread
        elif remote == port:
            waiting += unsent
    return waiting
