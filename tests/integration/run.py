"""Runs test classes against a binary: run.py BINARY MODULE[.CLASS[.METHOD]]...

Exit status 0 if all passed, 1 if one failed, 77 if every test was skipped; each skip is told with its reason.
At a SIGTERM, which ends a test that takes too long, it tells where each thread is.
"""

import faulthandler
import os
import signal
import sys
import unittest
from pathlib import Path

SKIPPED = 77


class Result(unittest.TextTestResult):
    """Shows the servers' logs with a failure."""

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._show_logs(test)

    def addError(self, test, err):
        super().addError(test, err)
        self._show_logs(test)

    def _show_logs(self, test):
        if hasattr(test, "logs"):
            self.stream.writeln(test.logs())


def main():
    binary, *names = sys.argv[1:]
    faulthandler.register(signal.SIGTERM, file=sys.stdout, chain=True)
    os.environ["POOL_SERVER_BINARY"] = str(Path(binary).resolve(strict=True))
    sys.path.insert(0, str(Path(__file__).parent))
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result, descriptions=False)
    result = runner.run(suite)
    for test, reason in result.skipped:
        print(f"SKIPPED {test}: {reason}")
    if not result.wasSuccessful():
        sys.exit(1)
    if result.skipped and len(result.skipped) >= result.testsRun:
        sys.exit(SKIPPED)


main()
