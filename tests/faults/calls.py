"""Which calls a server makes, told by the preloaded failing_calls.so, and which errno each of them can fail with.

The errnos are those of the ERRORS of each call's manual page (and of socket(7), tcp(7), unix(7), ip(7)).
"""

import ctypes
import errno
import mmap
import os
import tempfile

WHO = ("loop", "workers", "child", "grandchild", "descendant")
ABOUT = ("nothing", "log", "stream", "listener", "channel", "packets", "datagrams", "pipe", "file", "eventfd",
         "signalfd", "epoll", "other")
CALLS = 64  # CALLS_AT_MOST
NAME = 24
SHORT = -1

# Left out of all is what says that the caller is at fault, with an argument that he has made himself:
#   EBADF, ENOTSOCK, EOPNOTSUPP, EDESTADDRREQ   it closes what it owns once, and knows what its descriptors are
#   EFAULT, EINVAL, ENAMETOOLONG, EMSGSIZE      pointers, flags, paths and sizes are its own. EINVAL of accept says that
#                                               somebody has shut the listener down: test_listeners.py does
#   EISCONN, EALREADY, EEXIST                   it connects, and watches a descriptor, once
#   ENOENT of epoll_ctl, ECHILD                 and takes out, and waits for, what it has
# What the pages of stat(2) and others say of a whole path is left out where the call is about a descriptor.

# What a call on a socket of a client can come back with.
RECEIVE = {"EAGAIN", "EINTR", "ENOMEM", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH"}
SEND = {"EAGAIN", "EINTR", "ENOMEM", "ENOBUFS", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "EACCES"}
NEW = {"EMFILE", "ENFILE", "ENOMEM"}
PATH = {"EACCES", "ELOOP", "ENOENT", "ENOMEM", "ENOTDIR"}

# Call → what it is about → errnos; "" is whatever is not named.
ERRNOS = {
    "accept4": {"": {"EAGAIN", "ECONNABORTED", "EINTR", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EPROTO",
                     "ENOSR", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT", "ETIMEDOUT", "ENETDOWN", "EHOSTUNREACH"}},
    "access": {"": PATH | {"EIO", "EPERM", "EROFS", "ETXTBSY"}},
    "bind": {"": {"EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "ENOMEM", "ENOENT", "ENOTDIR", "EROFS", "ELOOP"}},
    "close": {"": {"EINTR", "EIO"}, "file": {"EINTR", "EIO", "ENOSPC", "EDQUOT"}},
    "close_range": {"": {"EMFILE", "ENOMEM"}},
    "connect": {"": {"EACCES", "EPERM", "EAGAIN", "ECONNREFUSED", "ENOENT", "EINTR", "EPROTOTYPE"}},
    "dup2": {"": {"EBUSY", "EINTR", "EMFILE"}},
    "dup3": {"": {"EBUSY", "EINTR", "EMFILE"}},
    "epoll_create1": {"": NEW},
    "epoll_ctl": {"": {"ENOMEM", "ENOSPC"}, "file": {"EPERM"}, "log": {"EPERM", "ENOMEM", "ENOSPC"}},
    "epoll_wait": {"": {"EINTR"}},
    "eventfd": {"": NEW | {"ENODEV"}},
    "execv": {"": PATH | {"E2BIG", "EAGAIN", "EIO", "EISDIR", "ELIBBAD", "ENOEXEC", "EMFILE", "ENFILE", "EPERM",
                          "ETXTBSY"}},
    "fcntl_dupfd": {"": {"EMFILE"}},
    "fcntl_seals": {"": {"EBUSY", "EPERM"}},
    "fcntl_flags": {"": {"EPERM"}},
    "fopen": {"": PATH | NEW | {"EINTR", "EIO", "EISDIR"}},
    "fork": {"": {"EAGAIN", "ENOMEM", "ENOSYS"}},
    "fstat": {"": {"ENOMEM", "EOVERFLOW", "EACCES"}},
    "getpeername": {"": {"ENOBUFS", "ENOTCONN"}},
    "getrlimit": {"": {"EPERM"}},
    "getsockname": {"": {"ENOBUFS"}},
    "getsockopt": {"": {"ENOPROTOOPT", "ENOMEM"}},
    "ioctl": {"": {"ENOTTY"}},
    "kill": {"": {"EPERM", "ESRCH"}},
    "listen": {"": {"EADDRINUSE"}},
    "lstat": {"": PATH | {"EOVERFLOW"}},
    "madvise": {"": {"EAGAIN", "ENOMEM", "EIO", "EPERM"}},
    "malloc": {"": {"ENOMEM"}},
    "memfd_create": {"": NEW},
    "mmap": {"": {"EAGAIN", "ENFILE", "ENODEV", "ENOMEM", "EPERM"}},
    "nanosleep": {"": {"EINTR"}},
    "open": {"": PATH | NEW | {"EBUSY", "EDQUOT", "EINTR", "EISDIR", "ENODEV", "ENOSPC", "ENXIO", "EPERM", "EROFS",
                               "ETXTBSY", "EAGAIN"}},
    "opendir": {"": PATH | NEW},
    "pipe2": {"": {"EMFILE", "ENFILE"}},
    "poll": {"": {"EINTR", "ENOMEM"}},
    "ppoll": {"": {"EINTR", "ENOMEM"}},
    "pread": {"": {"EINTR", "EIO", "EAGAIN", "SHORT"}},
    "pthread_create": {"": {"EAGAIN", "EPERM"}},
    "pwrite": {"": {"EINTR", "EIO", "ENOSPC", "EDQUOT", "EFBIG", "EPERM", "SHORT"}},
    "read": {"": {"EINTR", "EIO", "SHORT"}, "eventfd": {"EAGAIN", "EINTR"}, "signalfd": {"EAGAIN", "EINTR"},
             "pipe": {"EAGAIN", "EINTR", "SHORT"}, "file": {"EINTR", "EIO", "EISDIR", "SHORT"}},
    "readlink": {"": PATH | {"EIO"}},
    "recv": {"": RECEIVE | {"SHORT"}, "packets": {"EAGAIN", "EINTR", "ENOMEM"},
             "datagrams": {"EAGAIN", "EINTR", "ENOMEM"}},
    "recvmsg": {"": {"EAGAIN", "EINTR", "ENOMEM"}},
    "send": {"": SEND | {"SHORT"}, "packets": {"EAGAIN", "EINTR", "ENOMEM", "ENOBUFS", "EPIPE", "ECONNRESET"},
             "datagrams": {"EAGAIN", "EINTR", "ENOMEM", "ENOBUFS", "ECONNREFUSED"}},
    "sendmmsg": {"": {"EAGAIN", "EINTR", "ENOMEM", "ENOBUFS", "EPIPE", "ECONNRESET"}},
    "sendmsg": {"": SEND | {"SHORT"},
                "packets": {"EAGAIN", "EINTR", "ENOMEM", "ENOBUFS", "EPIPE", "ECONNRESET", "ETOOMANYREFS"},
                "datagrams": {"EAGAIN", "EINTR", "ENOMEM", "ENOBUFS", "ECONNREFUSED", "ENOENT", "EACCES",
                              "ETOOMANYREFS"}},
    "sendto": {"": {"EAGAIN", "EINTR", "ENOMEM", "ENOBUFS", "ECONNREFUSED", "ENOENT", "EACCES"}},
    "setrlimit": {"": {"EPERM"}},
    "setsid": {"": {"EPERM"}},
    "setsockopt": {"": {"ENOPROTOOPT", "ENOMEM", "ENOBUFS", "EPERM"}, "packets": {"ENOMEM", "ENOBUFS"}},
    "shutdown": {"": {"ENOTCONN"}},
    "sigaltstack": {"": {"ENOMEM", "EPERM"}},
    "signalfd": {"": NEW | {"ENODEV"}},
    "socket": {"": NEW | {"EACCES", "ENOBUFS", "EAFNOSUPPORT", "EPROTONOSUPPORT"}},
    "socketpair": {"": {"EMFILE", "ENFILE", "EPROTONOSUPPORT"}},
    "stat": {"": PATH | {"EOVERFLOW"}},
    "unlink": {"": PATH | {"EBUSY", "EIO", "EISDIR", "EPERM", "EROFS"}},
    "waitid": {"": {"EINTR"}},
    "waitpid": {"": {"EINTR"}},
    "write": {"": {"EINTR", "EIO", "ENOSPC"}, "eventfd": {"EAGAIN", "EINTR"},
              "pipe": {"EAGAIN", "EINTR", "EPIPE", "SHORT"},
              "log": {"EAGAIN", "EINTR", "EIO", "ENOSPC", "EDQUOT", "EFBIG", "EPERM", "EPIPE", "SHORT"},
              "file": {"EINTR", "EIO", "ENOSPC", "EDQUOT", "EFBIG", "EPERM", "SHORT"},
              "stream": SEND | {"SHORT"}},
    "writev": {"": {"EAGAIN", "EINTR", "EIO", "ENOSPC", "EDQUOT", "EFBIG", "EPERM", "EPIPE", "SHORT"},
               "stream": SEND | {"SHORT"}, "pipe": {"EAGAIN", "EINTR", "EPIPE", "SHORT"}},
}

# Of a moment, and no state that lasts: a kernel that says "not now" of what it said is ready, time and again, or
# interrupts every call, leaves nothing to do but to try again. (EAGAIN of what makes something is a lack of it.)
MOMENTARY = {"EINTR", "EAGAIN", "ECONNABORTED", "EPROTO", "ESRCH"}
LACKING = {"fork", "pthread_create", "mmap", "execv"}


def errnos(call, about):
    by_kind = ERRNOS[call]
    return sorted(by_kind.get(about, by_kind[""]))


def may_last(call, error):
    return error not in MOMENTARY or (error == "EAGAIN" and call in LACKING)


class _Layout(ctypes.Structure):
    _fields_ = [("counting", ctypes.c_int32), ("who", ctypes.c_int32), ("call", ctypes.c_int32),
                ("about", ctypes.c_int32), ("error", ctypes.c_int32), ("first", ctypes.c_uint32),
                ("lasting", ctypes.c_int32), ("failed", ctypes.c_uint32),
                ("counts", ctypes.c_uint32 * len(ABOUT) * CALLS * len(WHO)),
                ("names", ctypes.c_char * NAME * CALLS)]


class Control:
    """The file that is shared with the preloaded library of all processes of one server."""

    def __init__(self):
        self._file = tempfile.NamedTemporaryFile(prefix="pool-server-faults-")
        os.truncate(self._file.fileno(), ctypes.sizeof(_Layout))
        self._memory = mmap.mmap(self._file.fileno(), ctypes.sizeof(_Layout))
        self._shared = _Layout.from_buffer(self._memory)
        self.path = self._file.name
        self._fault = None
        self._shared.call = -1

    def names(self):
        return [name.value.decode() for name in self._shared.names if name.value]

    def tell(self, fault):
        """Which call is to fail once it is counted; the numbers are known from a run before."""
        self._shared.who = WHO.index(fault.who)
        self._shared.about = ABOUT.index(fault.about)
        self._shared.error = SHORT if fault.error == "SHORT" else getattr(errno, fault.error)
        self._shared.first = fault.number
        self._shared.lasting = fault.lasting
        self._shared.call = fault.index

    def count(self, on=True):
        self._shared.counting = on

    @property
    def failed(self):
        """How many calls were made to fail."""
        return self._shared.failed

    def counts(self):
        """(who, call, about) → how often it was made while it was counted."""
        names = self.names()
        return {(WHO[who], names[call], ABOUT[about]): number
                for who, calls in enumerate(self._shared.counts)
                for call, kinds in enumerate(calls) for about, number in enumerate(kinds) if number}

    def close(self):
        del self._shared
        self._memory.close()
        self._file.close()
