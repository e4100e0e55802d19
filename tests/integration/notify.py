"""The service manager's end of $NOTIFY_SOCKET: keeps each message with the time it came."""

import os
import socket
import threading
import time

from timing import PATIENCE, wait_until


class NotifySocket:
    def __init__(self, path):
        self.path = path
        self.messages = []  # (monotonic seconds, name, value), in order of arrival
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        # A thread, because the kernel queues only a few datagrams and then makes the sender wait.
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 8)
            now = time.monotonic()
            if data == b"close":
                return
            fields = [line.partition("=")[::2] for line in data.decode().splitlines()]
            self.take(dict(fields), descriptors)
            self.messages += [(now, name, value) for name, value in fields]

    def take(self, message, descriptors):
        """What is done with a message (name → value) and what came with it, before it is seen in `messages`."""
        for fd in descriptors:
            os.close(fd)

    def named(self, name):
        """(time, value) of each message with that name so far."""
        return [(when, value) for when, key, value in list(self.messages) if key == name]

    def wait_for(self, name, value="1", timeout=PATIENCE):
        wait_until(lambda: any(v == value for _, v in self.named(name)), f"{name}={value}", timeout)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"close", self.path)
        self._thread.join()
        self._socket.close()
