"""Every call of the server fails, in every phase of its life, with every errno it can have, while 20 clients look on.

  faults.py [--all] [--phase NAME]... [--call NAME]... [--seed N] [--jobs N] [--server PATH] [--replay FAULT]...

Which calls are made in a phase, by whom and on what, and how often, a first run finds out. Without --all a
sample of the faults is taken, the same for the same seed. A fault is PHASE:WHO:CALL:ABOUT:ERRNO:NUMBER, with a + where
each call after the NUMBER-th fails as well; that is what --replay takes. A shortage is PHASE:OF.

Outcomes: right; refused (a start that ends with one line and status 1); restart (without the process that holds the others, its
clients handed over: where that one fails for good); not met (the call was not made so often this
time); late (right, when it was tried again alone, with more time); and those that fail the run: LOST (a connection or reply more than the one that the call was for), WRONG (another
reply, status or word than there must be), CRASH (a signal), SPIN (half of a CPU without a request), LEAK (a descriptor
or process is left when the clients have gone), STUCK (no reply, or no end of a stop or start).
"""

import argparse
import collections
import dataclasses
import multiprocessing
import os
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))


def parse_arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--server", default="build/src/pool-server")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--phase", action="append", default=[])
    parser.add_argument("--call", action="append", default=[])
    parser.add_argument("--replay", action="append", default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    return parser.parse_args()


options = parse_arguments()
os.environ["POOL_SERVER_BINARY"] = str(Path(options.server).resolve(strict=True))

from calls import ABOUT, Control, errnos, may_last  # noqa: E402
from harness import BINARY, clean_environment, sanitizer  # noqa: E402
from scene import NOT_MET, PRELOADED, REFUSED, RESTART, RIGHT  # noqa: E402
from scenes import SCENES as PHASES_OF_CALLS  # noqa: E402
from shortages import SCENES as PHASES_OF_SHORTAGES  # noqa: E402
from shortages import Shortage, shortages  # noqa: E402

SCENES = PHASES_OF_CALLS | PHASES_OF_SHORTAGES
FAILURES = ("LOST", "WRONG", "CRASH", "SPIN", "LEAK", "STUCK")
SKIPPED = 77  # of meson
LATE = "late"
OUTCOMES = (RIGHT, REFUSED, RESTART, NOT_MET, LATE, *FAILURES)
OF_TIME = ("SPIN", "LEAK", "STUCK")  # what a machine that is busy with something else can be at fault for
MORE_TIME = 4
EACH = 12  # of the calls of one kind, each up to here fails; samples beyond
ALLOCATIONS = 2_000  # the same of those of a start
PER_CALL = 1  # faults of a sample,
SHARE = 0.4  # ... for so many of the calls
# What has failed once is in each sample.
FOUND = """
start:loop:malloc:nothing:ENOMEM:6 reload:loop:read:file:EIO:4 drain:loop:epoll_ctl:listener:ENOMEM:2
handover-out:loop:malloc:nothing:ENOMEM:1 handover-out:loop:malloc:nothing:ENOMEM:10
handover-out:loop:malloc:nothing:ENOMEM:15 handover-out:loop:epoll_ctl:signalfd:ENOMEM:1+
handover-out:loop:malloc:nothing:ENOMEM:1+ handover-out:loop:pwrite:file:EIO:1 handover-out:loop:pwrite:file:ENOSPC:2
handover-out:loop:pwrite:file:ENOSPC:1+ program:loop:recvmsg:packets:ENOMEM:1+
isolate:workers:poll:nothing:ENOMEM:1+ isolate:workers:sendmmsg:packets:ENOBUFS:1+ isolate:grandchild:poll:nothing:ENOMEM:5+
isolate:loop:malloc:nothing:ENOMEM:330+ drain:loop:malloc:nothing:ENOMEM:1+
program:child:malloc:nothing:ENOMEM:3 program:loop:malloc:nothing:ENOMEM:1+ program:child:sendmsg:packets:ENOBUFS:1
program-start:child:recvmsg:packets:ENOMEM:3 isolate:grandchild:malloc:nothing:ENOMEM:11
isolate-start:child:malloc:nothing:ENOMEM:5+ isolate-start:child:malloc:nothing:ENOMEM:1 monitor:loop:send:stream:SHORT:1+
""".split()


@dataclasses.dataclass(frozen=True)
class Fault:
    phase: str
    who: str
    call: str
    about: str
    error: str
    number: int
    lasting: bool

    def __str__(self):
        return ":".join((self.phase, self.who, self.call, self.about, self.error, f"{self.number}{'+' * self.lasting}"))

    @staticmethod
    def parse(text):
        if text.count(":") == 1:
            return Shortage(*text.split(":"))
        phase, who, call, about, error, number = text.split(":")
        return Fault(phase, who, call, about, error, int(number.rstrip("+")), number.endswith("+"))

    @property
    def index(self):
        return names().index(self.call)

    @property
    def concerns_connections(self):
        """Whether it may cost one: what is done on it, on who is to become one, on nothing yet, as memory, or on what
        carries its request to another process, or itself to the next server."""
        carries = self.phase.startswith(("program", "isolate", "handover"))
        return self.about in ("nothing", "stream", "listener") or (
            carries and self.about in ("pipe", "packets", "channel", "file"))


_names = []


def names():
    """Of all calls, in the order of the library that is preloaded."""
    if not _names:
        control = Control()
        subprocess.run([BINARY, "--version"], stdout=subprocess.DEVNULL, check=True, env=clean_environment(
            {"LD_PRELOAD": PRELOADED, "FAILING_CALLS": control.path, "FAILING_CALLS_IN": BINARY}))
        _names.extend(control.names())
        control.close()
    return _names


def play(phase, fault):
    """(outcome, what was seen, counts of the calls)"""
    control = Control()
    try:
        if fault and fault.call:
            control.tell(fault)
        outcome, text = SCENES[phase](control, fault).run_to_outcome()
        return outcome, text, control.counts()
    finally:
        control.close()


def play_one(fault):
    began = time.monotonic()
    try:
        outcome, text, _ = play(fault.phase, fault)
    except Exception:  # the test itself is at fault, or what the harness found
        outcome, text = "WRONG", traceback.format_exc()
    return fault, outcome, text, time.monotonic() - began


def try_again_alone(result):
    """Whether what took too long only did so because of the others."""
    fault, outcome, text, seconds = result
    if outcome not in OF_TIME:
        return result
    slowdown = MORE_TIME * float(os.environ.get("POOL_SERVER_SLOWDOWN") or 1)
    again = subprocess.run([sys.executable, __file__, "--server", BINARY, "--replay", str(fault)],
                           env=os.environ | {"POOL_SERVER_SLOWDOWN": str(slowdown)}, stdout=subprocess.DEVNULL)
    return (fault, outcome if again.returncode else LATE, text, seconds)


def record(phase):
    outcome, text, counts = play(phase, None)
    if outcome != RIGHT:
        sys.exit(f"{phase} without a fault: {outcome} {text}")
    return counts


def is_untrue(phase, call, about, error):
    """Whether it says that somebody has gone, or that all has been read, where nothing else would tell the server."""
    between_processes = about == "packets" and not phase.startswith("handover")
    if between_processes:  # programs-killed and isolated-killed do end them
        return error in ("EPIPE", "ECONNRESET")
    return (phase, call, about, error) == ("handover-in", "recvmsg", "packets", "EAGAIN")


def faults_of(phase, counts):
    """All faults of a phase, those of one call of one kind in a list."""
    for (who, call, about), count in sorted(counts.items()):
        if options.call and call not in options.call:
            continue
        found = []
        for error in errnos(call, about):
            if is_untrue(phase, call, about, error):
                continue
            most = ALLOCATIONS if (phase, call) == ("start", "malloc") else EACH
            numbers = [*range(1, min(count, most) + 1)]
            numbers += sorted({count * part // 8 for part in range(1, 9)} - set(numbers) - {0})
            found += [Fault(phase, who, call, about, error, number, False) for number in numbers]
            if may_last(call, error):
                found += [Fault(phase, who, call, about, error, number, True) for number in {1, max(1, count // 2)}]
        if found:
            yield found


def sample(faults):
    """Some of them, which depend on the seed and the call only, and not on what else there is."""
    chance = random.Random(f"{options.seed} {faults[0].phase} {faults[0].who} {faults[0].call} {faults[0].about}")
    if chance.random() > SHARE:
        return []
    first = [fault for fault in faults if fault.number == 1]  # how often the others come, depends on the machine
    return chance.sample(first, min(PER_CALL, len(first)))


def choose():
    chosen = []
    for phase in options.phase or SCENES:
        if phase in PHASES_OF_SHORTAGES:
            found = shortages(phase)
            chosen += found if options.all else found[::3]
            continue
        for faults in faults_of(phase, record(phase)):
            chosen += faults if options.all else sample(faults)
    if not (options.all or options.phase or options.call):
        chosen += map(Fault.parse, FOUND)
    return list(dict.fromkeys(chosen))


def print_table(results):
    table = collections.defaultdict(collections.Counter)
    for fault, outcome, _, _ in results:
        table[fault.phase][outcome] += 1
    table["all"] = sum(table.values(), collections.Counter())
    print(f"\n{'phase':16}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    for phase, counts in table.items():
        print(f"{phase:16}" + "".join(f"{counts[outcome] or '.':>9}" for outcome in OUTCOMES))


def main():
    if sanitizer():
        print("SKIPPED: the sanitizer's runtime has the same calls")
        sys.exit(SKIPPED)
    began = time.monotonic()
    names()
    chosen = [Fault.parse(text) for text in options.replay] or choose()
    # Long ones do not come last.
    random.Random(options.seed).shuffle(chosen)
    results = []
    print(f"{len(chosen)} faults, after {time.monotonic() - began:.0f} s", flush=True)
    with multiprocessing.Pool(options.jobs) as pool:
        for result in pool.imap_unordered(play_one, chosen):
            results.append(result)
            fault, outcome, text, seconds = result
            if outcome in FAILURES or options.replay:
                print(f"{outcome} {fault} ({seconds:.1f} s): {text}", flush=True)
            if len(results) % 1000 == 0:
                print(f"{len(results)} of {len(chosen)}, after {time.monotonic() - began:.0f} s", flush=True)
    if not options.replay:
        results = [try_again_alone(result) for result in results]
    print_table(results)
    failed = [result for result in results if result[1] in FAILURES]
    for fault, outcome, text, _ in failed:
        print(f"{outcome}: tests/faults/run --replay {fault}: {text.splitlines()[0] if text else ''}")
    print(f"{len(results)} faults, {len(failed)} failures, in {time.monotonic() - began:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
