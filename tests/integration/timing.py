"""Waiting for conditions. POOL_SERVER_SLOWDOWN stretches every bound, for sanitizer builds and slow machines."""

import os
import time

SLOWDOWN = float(os.environ.get("POOL_SERVER_SLOWDOWN", "1"))

# Seconds after which something that must happen is taken to never happen.
PATIENCE = 20 * SLOWDOWN


def wait_until(condition, what, timeout=PATIENCE):
    """Polls until the condition is true and returns its value; fails the test after the timeout.

    `what` is a text, or makes one of what is there when the wait has been in vain.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.1f} s in vain: {what() if callable(what) else what}")
        time.sleep(0.005)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self):
        self.start = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.start


def let_pass(seconds):
    """Lets time pass over which something is measured. No condition is waited for like this."""
    window = Stopwatch()
    wait_until(lambda: window.seconds >= seconds, "time passes", seconds + PATIENCE)
