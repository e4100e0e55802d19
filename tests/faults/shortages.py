"""What fails for no single call: few descriptors, nobody who reads what is logged or told. Each is one more phase."""

import contextlib
import dataclasses
import fcntl
import os
import unittest

from crowd import Finding
from scene import DRAIN_TIMEOUT, NOT_MET, Scene
from test_deaf_manager import DeafSocket
from test_logging import JournalTestCase
from timing import SLOWDOWN

# The dynamic linker's exit status: without a descriptor for it there is no server yet.
NO_LIBRARIES = 127


@dataclasses.dataclass(frozen=True)
class Shortage:
    """Written PHASE:OF."""

    phase: str
    of: str
    call = about = ""
    lasting = True
    concerns_connections = False

    def __str__(self):
        return f"{self.phase}:{self.of}"


class Short(Scene):
    """A server of its own address, with the library that fails nothing."""

    def start_short(self, *options, **settings):
        path = f"{self.temporary_directory()}/socket"
        self.addresses = {"tcp": path, "unix": path}
        self.server = self.launch(f"--drain-timeout={int(DRAIN_TIMEOUT)}s", *options, listen=(path,), **settings)


class Descriptors(Short):
    """So many descriptors; the clients for whom there is none wait for those before them to go."""

    def options(self):
        return ("--workers=2",)

    def play(self):
        limit = int(self.fault.of)
        self.start_short(*self.options(), handler=self.HANDLER, limits={"NOFILE": limit})
        self.wait_until_it_serves()
        crowd = self.come().ask().read_for(0.3 * SLOWDOWN)
        self.check_alive()
        self.check_rest()
        for guest in crowd.guests:
            guest.read()
            guest.close()
        self.check_alive()
        crowd.check_harm(0)
        self.check_stop()

    def check_refusal(self):
        if self.server.child.returncode != NO_LIBRARIES:
            super().check_refusal()


class DescriptorsOfPrograms(Descriptors):
    HANDLER = None
    OF_DRILL = False

    def options(self):
        return ("--workers=2", "--program=sed -u s/^$/./")


class Unheard(Short):
    """Standard error is full, closed, a pipe without room or a reader; the journal or the manager does not read."""

    def play(self):
        with contextlib.ExitStack() as stack:
            getattr(self, self.fault.of.replace("-", "_"))(stack)
            if self.fault.of == "manager-deaf":
                self.server.wait_for_log(" serves ")
            else:
                self.wait_until_it_serves()
            before = self.held()
            crowd = self.come().ask().read()
            self.check_alive()
            crowd.check_harm(0)
            self.check_rest()
            self.check_leaks(before)
            self.check_stop()

    def log(self, **settings):
        self.start_short("--workers=2", "--log-level=debug", **settings)

    def stderr_full(self, stack):
        self.log(stderr=stack.enter_context(open("/dev/full", "wb")))

    def stderr_closed(self, stack):
        self.log(close=[2])

    def all_standard_closed(self, stack):
        self.log(close=[0, 1, 2])

    def stderr_unread(self, stack):
        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        self.log(stderr=stack.enter_context(open(writer, "wb")))

    def stderr_without_a_reader(self, stack):
        reader, writer = os.pipe()
        os.close(reader)
        self.log(stderr=stack.enter_context(open(writer, "wb")))

    def manager_deaf(self, stack):
        self.log(notify=DeafSocket)

    def journal_deaf(self, stack):
        case = JournalTestCase()
        case.setUp()
        stack.callback(case.doCleanups)
        try:
            self.server, _, _ = case.start_with_journal("stderr", "--log-level=debug", "--workers=2")
        except unittest.SkipTest:
            raise Finding(NOT_MET, "a mount namespace is not permitted here") from None
        self.addresses = {"tcp": self.server.address, "unix": self.server.address}


UNHEARD = ("stderr-full", "stderr-closed", "all-standard-closed", "stderr-unread", "stderr-without-a-reader",
           "manager-deaf", "journal-deaf")
SCENES = {"descriptors": Descriptors, "program-descriptors": DescriptorsOfPrograms, "unheard": Unheard}


def shortages(phase):
    if phase == "unheard":
        return [Shortage(phase, of) for of in UNHEARD]
    return [Shortage(phase, str(limit)) for limit in range(4, 41)]
