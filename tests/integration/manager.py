"""A service manager with a descriptor store: the server's life over restarts, with its clients connected."""

import os
import signal
import socket

from harness import ServerTestCase
from notify import NotifySocket
from timing import Stopwatch, wait_until

CONNECTIONS = "pool-server-connections"  # the name under which the server stores them
FAILED_STARTS = "pool-server-failed-starts"  # and the count of starts that failed, until one succeeds


class Store:
    """The descriptors that a service has asked its manager to keep."""

    def __init__(self):
        self.keeps = True  # or does it drop what it is given?
        self.drops = set()  # what it does not keep in any case
        self.answers = True  # or does it leave barriers unanswered?
        self.requests = []  # the FDSTORE=1 messages for connections, name → value
        self._entries = []  # (name, descriptor)
        self._unanswered = []

    def names(self):
        return [name for name, _ in self._entries]

    def descriptors(self):
        return [fd for _, fd in self._entries]

    def add(self, name, fd):
        self._entries.append((name, fd))

    def remove(self, name):
        gone = [fd for found, fd in self._entries if found == name]
        self._entries = [entry for entry in self._entries if entry[0] != name]
        for fd in gone:
            os.close(fd)

    def drop(self):
        """What a stop does, or a service that failed for good."""
        for name in set(self.names()):
            self.remove(name)

    def take(self, message, descriptors):
        if "FDSTORE" in message:
            if message.get("FDNAME") != FAILED_STARTS:
                self.requests.append(message)
            name = message.get("FDNAME", "stored")
            keeps = self.keeps and name not in self.drops
            for fd in descriptors if keeps else ():
                self.add(name, fd)
            unused = () if keeps else descriptors
        else:
            if "FDSTOREREMOVE" in message:
                self.remove(message["FDNAME"])
            unused = descriptors
        if "BARRIER" in message and not self.answers:
            self._unanswered += unused
            return
        for fd in unused:
            os.close(fd)  # of a barrier: the answer

    def close(self):
        self.drop()
        for fd in self._unanswered:
            os.close(fd)


class StoringSocket(NotifySocket):
    def __init__(self, path, store):
        self._store = store
        super().__init__(path)
        os.chmod(path, 0o777)  # for servers that run as another user
        os.chmod(os.path.dirname(path), 0o711)

    def take(self, message, descriptors):
        self._store.take(message, descriptors)


class RestartTestCase(ServerTestCase):
    """A test in which one server process follows another. It has a TCP listener and a unix one."""

    def setUp(self):
        super().setUp()
        self.store = Store()
        self.addCleanup(self.store.close)
        self.sockets = self.open_sockets()
        for opened in self.sockets.values():
            self.addCleanup(opened.close)
        self.addresses = {name: opened.getsockname() for name, opened in self.sockets.items()}
        self.server = None

    def open_sockets(self):
        """Name → listening socket, which each process of the service is passed."""
        local = socket.socket(socket.AF_UNIX)
        local.bind(f"{self.temporary_directory()}/socket")
        local.listen(1024)
        return {"tcp": socket.create_server(("127.0.0.1", 0), backlog=1024), "unix": local}

    def launch_next(self, *options, env=None, **settings):
        """Launches the next process of the service, without waiting for it."""
        passed = [(name, opened.fileno()) for name, opened in self.sockets.items()]
        passed += zip(self.store.names(), self.store.descriptors())
        environment = {"LISTEN_PID": "{pid}", "LISTEN_FDS": str(len(passed)),
                       "LISTEN_FDNAMES": ":".join(name for name, _ in passed)}
        settings["pass"] = [fd for _, fd in passed]
        return self.launch(*options, listen=(), env=environment | (env or {}),
                           notify=lambda path: StoringSocket(path, self.store), **settings)

    def start_next(self, *options, **settings):
        self.server = self.launch_next(*options, **settings)
        self.server.wait_ready()
        return self.server

    def ask_for_restart(self):
        """What the service's ExecStop= and the manager do at a restart."""
        self.server.signal(signal.SIGUSR1)
        self.server.signal()

    def end(self, status=0):
        """Stops the server as a restart does."""
        self.ask_for_restart()
        self.assertEqual(self.server.wait_exit(), status)

    def cut_short(self):
        """Stops the server with a second signal that does not let it finish what is running."""
        self.ask_for_restart()
        self.server.notify.wait_for("STOPPING")
        self.server.signal()
        self.assertEqual(self.server.wait_exit(), 0)

    def restart(self, *options, **settings):
        """How long nobody served, in seconds."""
        gap = Stopwatch()
        self.end()
        self.start_next(*options, **settings)
        return gap.seconds

    def meet(self, kind="tcp", **settings):
        return self.connect(self.addresses[kind], **settings)

    def assert_ended(self, client, replies=()):
        """The client gets these replies, then a clean end of stream, and all of that soon."""
        self.assertEqual(client.rest(), list(replies))

    def assert_serves(self, *clients):
        for client in clients:
            self.assertEqual(client.ask("echo still here"), "result: still here")

    def wait_for_busy(self, workers):
        """Waits until so many workers are at work, asked by a client of its own."""
        with_stats = self.meet()
        wait_until(lambda: f" active_workers={workers} " in with_stats.ask("STATS"), f"{workers} busy workers")
        with_stats.close()
