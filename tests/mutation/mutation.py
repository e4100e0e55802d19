"""Breaks the code in small ways, one at a time, and looks whether a test notices.

  mutation.py [--count N] [--seed N] [--jobs N] [--in PREFIX]... [--list] [--only MUTANT]... [--thorough]

A mutant is FILE:LINE:NUMBER, the NUMBER-th small change that can be made in that line: a comparison turned or off by one, a
condition turned, `and` for `or`, a call left out, a number off by one, the lesser for the greater. COUNT of them are taken by
chance from src/core, pool, net and server (or where the path begins with a PREFIX), the same for the same SEED. Each is
made in a copy of the tree, which is built anew as far as need be; then the unit tests are run, and if these hold, those of the
whole server that are quick (all, to be THOROUGH), until one fails. All of them are run once without a mutant before: they must
hold.

What is known to change nothing that anybody could see stands in harmless.txt, with the reason, and is left out.
Exit status 1: a mutant survived that does not stand there.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).parents[2]
HARMLESS = Path(__file__).with_name("harmless.txt")
FLOORS = ("src/core/", "src/pool/", "src/net/", "src/server/")
SUITES = (["unit"], ["requirements", "hard-cases"], ["integration"], ["quick"])  # as of tools/test --quick
MORE_SUITES = (["overload", "handover"], ["programs", "isolate", "monitor", "handlers", "flood"])
TRIES = 3  # of a suite
KILLED, SURVIVED, NOT_BUILT = "killed", "SURVIVED", "not built"
# A pattern, and what takes its place; all that spell one token in C++ as clang-format leaves it.
CHANGES = (
    (r" == ", " != "), (r" != ", " == "), (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "),
    (r" && ", " || "), (r" \|\| ", " && "), (r" \+ 1\b", ""), (r" - 1\b", ""), (r"\bif \((?!const|auto)(.*)\) ", r"if (!(\1)) "),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"\bstd::min\b", "std::max"), (r"\bstd::max\b", "std::min"),
    (r"\bbreak;", "continue;"), (r"^(\s+)(?!return|throw|using|delete|co_)[\w.:>-]+\(.*\);$", r"\1;"),
)
# What is no code, or does nothing in itself.
PASSED_OVER = re.compile(r'^\s*(//|#|using|assert|static_assert|template|\}|\{|class|struct|enum|case|default)|operator|log::')


@dataclasses.dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    number: int
    before: str
    after: str

    def __str__(self):
        return f"{self.file}:{self.line}:{self.number}"

    @property
    def told(self):
        """As it stands in harmless.txt: without the number of the line, which changes."""
        return f"{self.file}: {self.before.strip()} => {self.after.strip()}"


def mutants_of(path):
    """All of one file."""
    name = str(path.relative_to(TOP))
    for at, line in enumerate(path.read_text().splitlines(), start=1):
        if PASSED_OVER.search(line):
            continue
        code = line.split(" // ")[0]
        number = 0
        for pattern, new in CHANGES:
            for match in re.finditer(pattern, code):
                changed = code[:match.start()] + match.expand(new) + code[match.end():]
                number += 1
                yield Mutant(name, at, number, line, changed)


def all_mutants(prefixes):
    harmless = {line.split(" | ")[0] for line in HARMLESS.read_text().splitlines() if not line.startswith("#")}
    files = [path for path in sorted(TOP.glob("src/**/*.cc")) if str(path.relative_to(TOP)).startswith(tuple(prefixes))]
    return [mutant for path in files for mutant in mutants_of(path) if mutant.told not in harmless]


class Workshop:
    """A copy of the tree with a build of its own."""

    def __init__(self, directory, suites):
        self.suites = suites
        self.tree = Path(directory) / "tree"
        files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP, check=True,
                               capture_output=True).stdout.decode().split("\0")
        for name in filter(None, files):
            if (TOP / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TOP / name, self.tree / name)
        self.be_impatient()
        self.build = self.tree / "build"
        with open(TOP / "meson.build") as turn:  # one after the other: where there is a compiler cache, it helps all but the first
            fcntl.flock(turn, fcntl.LOCK_EX)
            self.run(["meson", "setup", self.build, "--buildtype=plain", "--warnlevel=0", "-Dviews=disabled"], check=True)
            self.run(["ninja", "-C", self.build], check=True)

    def be_impatient(self):
        """Only a broken program is waited for in vain; here, most are."""
        waiting = self.tree / "tests/unit/support/waiting.h"
        text, count = re.subn(r"kPatience\{\d+\}", "kPatience{5}", waiting.read_text())
        assert count == 1
        waiting.write_text(text)

    def run(self, command, check=False):
        return subprocess.run(command, cwd=self.tree, check=check, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode

    def try_out(self, mutant):
        """(outcome, what noticed)"""
        path = self.tree / mutant.file
        original = path.read_text()
        lines = original.splitlines()
        lines[mutant.line - 1] = mutant.after
        path.write_text("\n".join(lines) + "\n")
        try:
            if self.run(["ninja", "-C", self.build]) != 0:
                return NOT_BUILT, ""
            by = self.failing_test()
            return (KILLED, by) if by else (SURVIVED, "")
        finally:
            path.write_text(original)

    def failing_test(self):
        """The first that is found; empty: all hold. What fails but once on a busy machine has noticed nothing."""
        for suites in self.suites:
            chosen = [argument for suite in suites for argument in ("--suite", suite)]
            for _ in range(TRIES):
                if self.holds("--maxfail", "1", *chosen):
                    break
                failed = self.failed()
                if not failed or "TIMEOUT" in failed.values() or not self.holds(*failed):
                    return ", ".join(failed) or "a test"
        return ""

    def holds(self, *chosen):
        return self.run(["meson", "test", "-C", self.build, "--no-rebuild", "-t", "2", *chosen]) == 0

    def failed(self):
        """Its name, and how."""
        with open(self.build / "meson-logs/testlog.json") as log:
            results = [json.loads(line) for line in log]
        return {result["name"].split(" / ")[-1]: result["result"] for result in results
                if result["result"] not in ("OK", "SKIP", "INTERRUPT")}


_workshop = _all_are_open = None


def open_workshop(directory, suites, all_are_open):
    global _workshop, _all_are_open  # one in each process
    _workshop = Workshop(Path(directory) / str(os.getpid()), suites)
    _all_are_open = all_are_open


def try_none(_):
    """What fails without a mutant says nothing of one."""
    _all_are_open.wait()  # once in each of them
    return _workshop.failing_test()


def try_one(mutant):
    began = time.monotonic()
    return mutant, *_workshop.try_out(mutant), time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--in", action="append", dest="prefixes")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--thorough", action="store_true")
    options = parser.parse_args()
    found = all_mutants(options.prefixes or FLOORS)
    if options.only:
        chosen = [mutant for mutant in found if str(mutant) in options.only]
    else:
        chosen = random.Random(options.seed).sample(found, min(options.count, len(found)))
    if options.list:
        print(*(f"{mutant} {mutant.told}" for mutant in chosen), sep="\n")
        return
    print(f"{len(chosen)} of {len(found)} mutants", flush=True)
    results = []
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pool-server-mutation-"))
        os.chmod(directory, 0o755)  # some tests run the server as another user
        pool = stack.enter_context(multiprocessing.Pool(options.jobs, open_workshop, [
            directory, SUITES + (MORE_SUITES if options.thorough else ()), multiprocessing.Barrier(options.jobs)]))
        for by in pool.map(try_none, range(options.jobs), chunksize=1):
            if by:
                sys.exit(f"{by} fails as it is, or with {options.jobs} at once: nothing can be said of mutants")
        for mutant, outcome, by, seconds in pool.imap_unordered(try_one, chosen):
            results.append(outcome)
            print(f"{outcome:9} {seconds:5.0f} s  {mutant}  {by}", flush=True)
            if outcome == SURVIVED:
                print(f"    - {mutant.before.strip()}\n    + {mutant.after.strip()}", flush=True)
    built = len(results) - results.count(NOT_BUILT)
    killed = results.count(KILLED)
    print(f"{built} mutants that can be built, {killed} killed ({100 * killed / max(built, 1):.0f}%)")
    sys.exit(1 if SURVIVED in results else 0)


if __name__ == "__main__":
    main()
