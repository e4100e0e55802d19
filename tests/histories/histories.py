"""Random histories of many clients and one operator, each reply checked against a model of a page.

  histories.py BINARY [--examples N] [--steps N] [--seed S]

Clients connect by TCP and by a unix socket, send whole, split, bad and too long lines, ask for STATS, end their input, reset,
and read when they feel like it. The operator reloads with other settings, restarts, stops and kills the server. The model
says, for each connection, what it has to read and in which order. In half of the histories the handler runs in processes of
its own, crashes and hangs. Each history is one of N examples; what fails is shrunk to the shortest history that still fails,
which is printed as a script. Without --seed the examples are the same each time.
"""

import argparse
import os
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
arguments = argparse.ArgumentParser(usage=__doc__)
arguments.add_argument("binary")
arguments.add_argument("--examples", type=int, default=40)
arguments.add_argument("--steps", type=int, default=30)
arguments.add_argument("--seed", type=int)
options = arguments.parse_args()
os.environ["POOL_SERVER_BINARY"] = str(Path(options.binary).resolve(strict=True))

from hypothesis import HealthCheck, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.stateful import RuleBasedStateMachine, consumes, Bundle, invariant, rule  # noqa: E402
from hypothesis.stateful import run_state_machine_as_test  # noqa: E402
from harness import plugin, sanitizer  # noqa: E402
from manager import RestartTestCase  # noqa: E402
from timing import SLOWDOWN, wait_until  # noqa: E402

MAX_LINE = 20_000
# What a client leaves unread at most, so that neither side ever waits for the other.
MOST_UNREAD = 60_000
STATS = re.compile(r"stats: \S+=\S+( \S+=\S+)*")
TASK_TIMEOUT = round(1000 * SLOWDOWN)  # ms, of what hangs; nothing else is ever kept for so long


def reply_to(line, handler, ended=True):
    """The model: what a request is answered, as text; STATS for what is different each time."""
    request = line.removesuffix(b"\r") if ended else line  # CR is dropped before LF only
    if len(line) > MAX_LINE:
        return f"ERROR: line too long (max {MAX_LINE} bytes)"
    if not request:
        return "ERROR: empty request"
    if request == b"STATS":
        return STATS
    return handler(request)


CONTROL_BYTE = re.compile(rb"[\x00-\x1f\x7f]")


def drill(request):
    verb, space, argument = request.partition(b" ")
    if verb == b"echo":
        return "result: " + CONTROL_BYTE.sub(b"?", argument).decode(errors="surrogateescape")
    if verb == b"sleep" and space and argument.isdigit():
        return f"result: slept {argument.decode()} ms"
    return {b"fail": "ERROR: task failed", b"throw": "ERROR: internal error"}.get(request, "ERROR: invalid input")


def unruly(request):
    verb, _, argument = request.partition(b" ")
    if verb == b"echo":
        return ("ERROR: the handler's reply has control bytes" if CONTROL_BYTE.search(argument) else
                "result: " + argument.decode(errors="surrogateescape"))
    return {b"throw": "ERROR: internal error", b"exit 3": "ERROR: worker crashed (exit status 3)",
            b"abort": "ERROR: worker crashed (SIGABRT)", b"segv": "ERROR: worker crashed (SIGSEGV)",
            b"hang 1": "result: hung", b"hang 99999": f"ERROR: timed out after {TASK_TIMEOUT} ms",
            b"log info hello": "result: logged"}.get(request, "ERROR: invalid input")


class Guest:
    """A connection, what it has sent of a line that is not complete, and what it has to read."""

    def __init__(self, client, handler):
        self.client = client
        self.handler = handler
        self.begun = b""
        self.owed = []
        self.finished = False
        self.left = False

    def unread(self):
        return sum(len(wanted) for wanted in self.owed if isinstance(wanted, str))

    def send(self, data):
        self.client.send_bytes(data)
        *lines, self.begun = (self.begun + data).split(b"\n")
        self.owed += [reply_to(line, self.handler) for line in lines]

    def finish(self):
        self.client.finish()
        self.finished = True
        if self.begun:
            self.owed.append(reply_to(self.begun, self.handler, ended=False))
            self.begun = b""

    def read(self, count):
        for wanted in self.owed[:count]:
            check(self.client.line(), wanted)
        del self.owed[:count]

    def read_to_the_end(self):
        """All that is owed, and then a clean end of the stream."""
        got = self.client.rest()
        assert len(got) == len(self.owed), f"{len(got)} replies for {len(self.owed)} requests: {got} for {self.owed}"
        for line, wanted in zip(got, self.owed):
            check(line, wanted)
        self.owed = []
        self.leave()

    def read_until_cut(self, cleanly):
        """Replies as they are owed, as many as came: after a kill, or a stop, which owes for what was read before it."""
        try:
            got = self.client.rest(cut_off=not cleanly)
        except AssertionError as error:
            if cleanly or "reset" not in str(error):
                raise
            got = []
        assert len(got) <= len(self.owed), f"{len(got)} replies for {len(self.owed)} requests"
        for line, wanted in zip(got, self.owed):
            check(line, wanted)
        self.leave()

    def leave(self):
        self.client.close()
        self.left = True


def check(got, wanted):
    if wanted is STATS:
        assert STATS.fullmatch(got), f"no STATS: {got!r}"
    else:
        assert got == wanted, f"got {got[:200]!r}, not {wanted[:200]!r}"


texts = st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"|"))
lines = st.one_of(
    st.builds(lambda text: b"echo " + text, texts),
    st.sampled_from([b"", b"STATS", b"fail", b"throw", b"nonsense", b"\r", b"STATS\r", b"echo \r", b"sleep 1", b"sleep 30",
                     b"sleep", b"sleep x", b"stats", b" STATS", b"echo"]),
    st.sampled_from([b"echo " + b"x" * (MAX_LINE - 5), b"echo " + b"y" * (MAX_LINE - 4), b"z" * (3 * MAX_LINE)]),
)


class Histories(RuleBasedStateMachine):
    """The handler behaves well."""

    guests = Bundle("guests")
    handler = staticmethod(drill)
    own_settings = "handler=drill\n"

    def __init__(self):
        super().__init__()
        self.case = RestartTestCase()
        self.case.setUp()
        self.config = f"{self.case.temporary_directory()}/config"
        self.present = []
        self.configure(4, 1024, 1024, 1 << 20)
        self.start()

    def configure(self, workers, capacity, inflight, unsent):
        with open(self.config, "w", encoding="ascii") as file:
            file.write(f"{self.own_settings}max-line={MAX_LINE}\nworkers={workers}\nqueue-capacity={capacity}\n"
                       f"max-inflight-per-connection={inflight}\nmax-unsent={unsent}\n")

    def start(self):
        self.case.start_next(f"--config={self.config}", handler=None)

    def teardown(self):
        try:
            for guest in [guest for guest in self.present if not guest.left]:
                guest.read(len(guest.owed))
                if not guest.finished:
                    guest.finish()
                guest.read_to_the_end()
            self.case.server.wait_for_stats(lambda stats: stats["connections"] == 1, "no client but the one that asks")
            assert self.case.server.stop() == 0
        finally:
            self.case.doCleanups()

    # --- Clients ---

    @rule(target=guests, kind=st.sampled_from(["tcp", "unix"]), buffer=st.sampled_from([None, 4096]))
    def connect(self, kind, buffer):
        guest = Guest(self.case.meet(kind, receive_buffer=buffer), self.handler)
        # Accepted: who is in the backlog still is another server's when this one goes.
        check(guest.client.ask("echo hello"), "result: hello")
        self.present.append(guest)
        return guest

    @rule(guest=guests, batch=st.lists(lines, min_size=1, max_size=12))
    def send_lines(self, guest, batch):
        if self.may_send(guest):
            guest.send(b"".join(line + b"\n" for line in batch))

    @rule(guest=guests, line=lines, at=st.integers(0, 40))
    def send_in_pieces(self, guest, line, at):
        if self.may_send(guest):
            whole = line + b"\n"
            guest.send(whole[:at])
            guest.send(whole[at:])

    @rule(guest=guests, line=lines, size=st.integers(1, 40))
    def send_a_part(self, guest, line, size):
        if self.may_send(guest) and line:
            guest.send(line[:size])

    @rule(guest=guests, count=st.integers(1, 200))
    def send_many(self, guest, count):
        if self.may_send(guest):
            guest.send(b"".join(b"echo %d\n" % number for number in range(count)))

    @staticmethod
    def may_send(guest):
        return not guest.left and not guest.finished and guest.unread() < MOST_UNREAD

    @rule(guest=guests, count=st.integers(1, 50))
    def read(self, guest, count):
        if not guest.left:
            guest.read(count)

    @rule(guest=guests)
    def end_input(self, guest):
        if not guest.left and not guest.finished:
            guest.finish()

    @rule(guest=consumes(guests))
    def read_to_the_end(self, guest):
        if not guest.left and guest.finished:
            guest.read_to_the_end()

    @rule(guest=consumes(guests))
    def reset(self, guest):
        if not guest.left:
            guest.client.reset()
            guest.left = True

    @rule(guest=consumes(guests))
    def close(self, guest):
        if not guest.left:
            guest.leave()

    # --- The operator ---

    @rule(workers=st.integers(1, 4), capacity=st.sampled_from([1, 2, 50, 1024]), inflight=st.sampled_from([1, 2, 1024]),
          unsent=st.sampled_from([1 << 14, 1 << 20]))
    def change_settings(self, workers, capacity, inflight, unsent):
        self.configure(workers, capacity, inflight, unsent)

    @rule()
    def reload(self):
        before = self.case.server.log().count("configuration reloaded")
        self.case.server.signal(1)
        wait_until(lambda: self.case.server.log().count("configuration reloaded") > before, "it is reloaded")

    @rule()
    def restart(self):
        self.case.end()
        self.start()

    @rule()
    def restart_without_waiting(self):
        self.case.cut_short()
        self.start()

    @rule(all_read=st.booleans())
    def stop(self, all_read):
        guests = [guest for guest in self.present if not guest.left]
        if all_read:  # then nothing may be missing
            for guest in guests:
                if guest.owed:
                    guest.read(len(guest.owed) - 1)
                    wait_until(guest.client.has_input, "the last reply")
        self.case.server.signal()
        for guest in guests:
            if all_read:
                guest.read_to_the_end()
            else:
                guest.read_until_cut(cleanly=True)
        assert self.case.server.wait_exit() == 0
        self.present.clear()
        self.case.store.drop()
        self.start()

    @rule()
    def kill(self):
        self.case.server.kill()
        for guest in self.present:
            if not guest.left:
                guest.read_until_cut(cleanly=False)
        self.present.clear()
        self.start()

    @invariant()
    def serves(self):
        assert self.case.server.child.poll() is None, self.case.logs()


hang = st.just(b"hang 99999")
crash = st.sampled_from([b"exit 3", b"abort", b"segv"]) if not sanitizer() else st.just(b"hang 1")


class UnrulyHistories(Histories):
    """It crashes and hangs, in processes of its own."""

    guests = Histories.guests
    handler = staticmethod(unruly)
    own_settings = (f"handler={plugin('unruly')}\nisolate=yes\nkill-grace=20ms\n"
                    f"task-timeout={TASK_TIMEOUT}ms\n")

    @rule(guest=guests, batch=st.lists(st.tuples(lines, st.one_of(crash, lines)), max_size=5), last=st.one_of(crash, hang, lines))
    def send_lines(self, guest, batch, last):
        if self.may_send(guest):
            guest.send(b"".join(line + b"\n" for pair in batch for line in pair) + last + b"\n")

    @rule(guest=guests, count=st.integers(1, 200), misdeed=st.one_of(crash, crash, crash, crash, hang))
    def send_many(self, guest, count, misdeed):
        if self.may_send(guest):
            half = b"".join(b"echo %d\n" % number for number in range(count // 2))
            guest.send(half + misdeed + b"\nhang 1\nlog info hello\n" + half)


class EveryHistory(unittest.TestCase):
    def check(self, machine):
        machine = seed(options.seed)(machine) if options.seed is not None else machine
        run_state_machine_as_test(machine, settings=settings(
            max_examples=options.examples, stateful_step_count=options.steps, deadline=None, database=None,
            derandomize=options.seed is None, print_blob=True, suppress_health_check=list(HealthCheck)))

    def test_replies_are_as_the_model_says(self):
        """Fails when a history exists in which a reply is lost, doubled, wrong or out of order."""
        self.check(Histories)

    def test_crashes_and_hangs_cost_nobody_else(self):
        """Fails when a history exists in which what crashes or hangs costs another request anything but time."""
        self.check(UnrulyHistories)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
