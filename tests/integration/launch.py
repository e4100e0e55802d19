"""Becomes the server, with descriptors, limits and environment set first: launch.py PLAN COMMAND...

The process id stays the same, so the environment can name it (LISTEN_PID, WATCHDOG_PID): each value
`{pid}` is replaced. PLAN is JSON: "pass" lists descriptors to be moved to 3, 4, ...; "close" descriptors
to close; "limits" resource limits by name; "ignored" signals by name; "user" the user id to run as; "journal" a
socket to be seen as the journal's.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | (1 << 18)
CANNOT_LAUNCH = 125


def put_journal_in_place(path, libc):
    """Shows the socket at the journal's place, in a mount namespace of this process alone."""
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None):
        sys.exit(CANNOT_LAUNCH)
    if libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None):
        sys.exit(CANNOT_LAUNCH)
    os.makedirs("/run/systemd/journal")
    os.symlink(path, "/run/systemd/journal/socket")


def main():
    plan = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None)
    if "journal" in plan:
        put_journal_in_place(plan["journal"], libc)
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in plan.get("pass", [])]
    for fd in plan.get("pass", []):
        os.close(fd)
    for target, fd in enumerate(aside, start=3):
        os.dup2(fd, target, inheritable=True)
    for name, value in os.environ.items():
        if value == "{pid}":
            os.environ[name] = str(os.getpid())
    for name, limit in plan.get("limits", {}).items():
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), tuple(limit) if isinstance(limit, list) else (limit, limit))
    for fd in plan.get("close", []):
        os.close(fd)
    if "user" in plan:
        os.setgroups([])
        os.setgid(plan["user"])
        os.setuid(plan["user"])
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    for name in plan.get("ignored", []):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the server never outlives its test
    os.execvp(sys.argv[2], sys.argv[2:])


main()
