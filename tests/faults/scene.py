"""A scene: a server, clients that look on, and what must not be seen, whatever fails."""

import re
import signal
import time
from pathlib import Path

from crowd import Crowd, Finding
from harness import BINARY, RUNTIME_ERROR
from manager import RestartTestCase
from procfs import Process
from timing import PATIENCE, SLOWDOWN, Stopwatch, wait_until

PRELOADED = str(Path(BINARY).parents[1] / "tests/plugins/failing_calls.so")
DRAIN_TIMEOUT = 5 * SLOWDOWN
# Beyond the drain timeout, until a stop is taken to be stuck.
STOP_BOUND = 5 * SLOWDOWN
# In which a process that does not come up is given up.
LATE_PROCESS = 5 + 3 * SLOWDOWN
RIGHT, REFUSED, NOT_MET, RESTART = "right", "refused", "not met", "restart"


class Refused(Exception):
    """A start that was given up in good order."""


class Restart(Exception):
    """The server ended in good order, to be started anew: its clients wait for the next process."""


def is_alive(pid):
    try:
        return Process(pid).state() != "Z"
    except OSError:
        return False


def cpu_seconds(pid):
    """Of a process and of all below it."""
    total = 0
    for one in [pid, *Process(pid).descendants()]:
        try:
            total += time.clock_gettime((~one << 3) | 2)  # its clock: see clock_getcpuclockid(3)
        except OSError:
            pass  # it has ended
    return total


class Scene(RestartTestCase):
    """One server, or two that follow each other, and one call that fails. Each subclass is a phase."""

    OPTIONS = ()
    HANDLER = "drill"
    OF_DRILL = True

    def __init__(self, control, fault):
        super().__init__()
        self.control = control
        self.fault = fault
        self.crowds = []
        self.first_end = None

    # --- Building blocks ---

    def preloaded(self):
        return ("/usr/bin/env", f"LD_PRELOAD={PRELOADED}", f"FAILING_CALLS={self.control.path}",
                f"FAILING_CALLS_IN={BINARY}")

    def launch_watched(self, *options):
        self.server = self.launch_next(f"--drain-timeout={int(DRAIN_TIMEOUT)}s", *self.OPTIONS, *options,
                                       handler=self.HANDLER, prefix=self.preloaded())

    def wait_until_it_serves(self):
        """Until the server is ready, or has given up, which raises Refused."""
        def decided():
            return self.server.child.poll() is not None or self.server.notify.named("READY")
        try:
            wait_until(decided, "READY=1, or an end", self.patience_for_ready())
        except AssertionError:
            if not self.tolerates_silence() or " serves " not in self.server.log():
                raise Finding("STUCK", "the start comes to no end") from None
        if self.server.child.poll() is not None:
            self.check_refusal()
            raise Refused

    def tolerates_silence(self):
        """Whether the call that fails is what would tell the service manager, or says that there is none."""
        return self.fault and self.fault.about == "datagrams" and (
            self.fault.lasting or self.fault.error in ("ECONNREFUSED", "ENOENT", "EACCES"))

    def patience_for_ready(self):
        return 1 * SLOWDOWN if self.tolerates_silence() else PATIENCE

    def check_refusal(self):
        status = self.server.child.returncode
        lines = [line for line in self.server.log().splitlines() if not re.search(" (info|warning) ", line)]
        if status < 0:
            raise Finding("CRASH", f"ended by {signal.Signals(-status).name} at its start")
        if status != RUNTIME_ERROR:
            raise Finding("WRONG", f"refused to start with status {status}: {lines}")
        if self.fault.about != "log" and len(lines) != 1:
            raise Finding("WRONG", f"refused to start with {len(lines)} lines, not one: {lines}")

    def come(self, count=20):
        crowd = Crowd([self.addresses["tcp"], self.addresses["unix"]], count, self.OF_DRILL)
        self.crowds.append(crowd)
        for guest in crowd.guests:
            self.addCleanup(guest.close)
        return crowd

    def may_be_harmed(self):
        """How many connections the fault may cost: what is no matter of a connection costs none."""
        if self.fault is None or not self.fault.concerns_connections:
            return 0
        return 20 if self.fault.lasting else 1

    def ask_while_it_fails(self, crowd):
        """Clients ask; what a call that fails for good keeps from them, they get when it works again."""
        crowd.ask()
        if self.fault and self.fault.lasting:
            # By one byte at a time, all comes in the end; until then the server has what to do.
            crowd.read_for(PATIENCE if self.fault.error == "SHORT" else 0.5 * SLOWDOWN)
        else:
            crowd.read()
            crowd.leave()
        self.check_alive()
        self.check_rest()
        self.control.count(False)
        crowd.read()
        self.check_alive()
        crowd.check_harm(self.may_be_harmed())

    def ask_and_check(self, count=20, most=None):
        crowd = self.come(count).ask().read()
        self.check_alive()
        crowd.check_harm(self.may_be_harmed() if most is None else most)
        return crowd

    def check_alive(self):
        status = self.server.child.poll()
        if status is None:
            return
        if status < 0:
            raise Finding("CRASH", f"ended by {signal.Signals(-status).name}")
        of_nursery = self.fault and self.fault.lasting and self.fault.who in ("child", "grandchild")
        if of_nursery and status == RUNTIME_ERROR and re.search("the process that holds the others has gone", self.server.log()) \
                and self.store.names():
            raise Restart
        raise Finding("LOST", f"it ended with status {status} while it served: {self.server.log().splitlines()[-2:]}")

    def check_rest(self):
        """Nothing is asked: the server takes no time."""
        for seconds in (0.15, 1):
            before, window = cpu_seconds(self.server.pid), Stopwatch()
            time.sleep(seconds)
            if cpu_seconds(self.server.pid) - before < 0.5 * window.seconds:
                return
        spent = cpu_seconds(self.server.pid) - before
        raise Finding("SPIN", f"{spent:.2f} s of CPU time in a second without a request")

    def held(self):
        return self.server.process.kinds(), len(self.server.process.descendants())

    def check_leaks(self, before):
        """The clients have gone: so has all that was theirs."""
        for crowd in self.crowds:
            crowd.close()
        def more():
            kinds, count = self.held()
            counts = {kind: (kinds.count(kind), before[0].count(kind)) for kind in set(kinds)}
            found = [f"{now} {kind}, not {then}" for kind, (now, then) in counts.items() if now > then]
            return found + ["process"] * (count - before[1])
        try:
            wait_until(lambda: not more(), "what was the clients' is gone", LATE_PROCESS)
        except AssertionError:
            raise Finding("LEAK", f"left behind: {more()}") from None

    def check_stop(self):
        self.server.signal()
        self.check_end((0,))

    def check_end(self, statuses):
        below = self.server.process.descendants()
        try:
            status = self.server.wait_exit(DRAIN_TIMEOUT + STOP_BOUND)
        except AssertionError:
            raise Finding("STUCK", "a stop comes to no end") from None
        if status < 0:
            raise Finding("CRASH", f"ended by {signal.Signals(-status).name} at a stop")
        if status not in statuses:
            raise Finding("WRONG", f"a stop ends with status {status}: {self.server.log().splitlines()[-2:]}")
        try:
            wait_until(lambda: not any(is_alive(pid) for pid in below), "its processes are gone", 3 * SLOWDOWN)
        except AssertionError:
            raise Finding("LEAK", "processes are left behind by a stop") from None

    # --- What a scene is ---

    def play(self):
        raise NotImplementedError

    def run_to_outcome(self):
        """(outcome, what was seen)"""
        self.setUp()
        try:
            outcome = self.play() or RIGHT
        except Refused:
            outcome = REFUSED
        except Restart:
            outcome = RESTART
        except Finding as found:
            return found.outcome, f"{found.text}\n{self.told()}"
        finally:
            for server in self.servers:
                if server.child.poll() is None:
                    server.kill()
            self.doCleanups()
        is_met = self.fault is None or not self.fault.call or self.control.failed
        return (outcome if is_met else NOT_MET), ""

    def told(self):
        """The last words of each server."""
        return "".join(f"    | {line[:300]}\n" for server in self.servers for line in server.log().splitlines()[-5:])
