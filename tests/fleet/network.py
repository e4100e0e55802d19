"""Where the fleet's machines are: in network namespaces, or, where those cannot be had, on the loopback.

Addresses are written as examples/haproxy/haproxy.cfg has them. In namespaces they are just that; else `translate` puts
another network and other ports in their place.
"""

import contextlib
import ctypes
import os
import random
import re
import socket
import subprocess

from harness import free_port

EXAMPLE_NETWORK = "192.0.2."
BALANCER = EXAMPLE_NETWORK + "10"
CLIENTS = [f"{EXAMPLE_NETWORK}{number}" for number in range(20, 24)]
MACHINES = {"a": EXAMPLE_NETWORK + "11", "b": EXAMPLE_NETWORK + "12", "c": EXAMPLE_NETWORK + "13"}
TRAFFIC, TLS, MONITOR, AGENT, STATS = 9090, 9443, 9089, 9079, 8404
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result):
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(*words):
    subprocess.run(["ip", *words], check=True)


class Namespaces:
    """One for HAProxy and the clients, which this process enters, and one behind a bridge for each machine.

    They are gone when this process is.
    """

    name = "network namespaces"
    source = BALANCER  # of HAProxy's connections to the machines

    def __init__(self):
        _checked(_libc.unshare(CLONE_NEWNET))
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "bridge", "type", "bridge")
        for address in (BALANCER, *CLIENTS):
            _ip("address", "add", f"{address}/24", "dev", "bridge")
        _ip("link", "set", "bridge", "up")
        self._machines = {name: self._add(name, address) for name, address in MACHINES.items()}

    def _add(self, name, address):
        _checked(_libc.unshare(CLONE_NEWNET))
        machine = os.open("/proc/self/ns/net", os.O_RDONLY)
        _checked(_libc.setns(self._own, CLONE_NEWNET))
        _ip("link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", f"/proc/{os.getpid()}/fd/{machine}")
        _ip("link", "set", f"to-{name}", "master", "bridge", "up")
        _checked(_libc.setns(machine, CLONE_NEWNET))
        _ip("address", "add", f"{address}/24", "dev", "eth0")
        _ip("link", "set", "eth0", "up")
        _checked(_libc.setns(self._own, CLONE_NEWNET))
        return machine

    def translate(self, text):
        return text

    @contextlib.contextmanager
    def inside(self, machine):
        """What this thread opens meanwhile, it opens on that machine."""
        _checked(_libc.setns(self._machines[machine], CLONE_NEWNET))
        try:
            yield
        finally:
            _checked(_libc.setns(self._own, CLONE_NEWNET))

    def cut(self, machine):
        """Takes the machine off the network, without a word to anybody."""
        _ip("link", "set", f"to-{machine}", "down")

    def mend(self, machine):
        _ip("link", "set", f"to-{machine}", "up")


class Loopback:
    name = "addresses of the loopback"
    source = "127.0.0.1"

    def __init__(self):
        self._network = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}."
        self._ports = {str(port): str(free_port()) for port in (TRAFFIC, TLS, MONITOR, AGENT, STATS)}

    def translate(self, text):
        ports = "|".join(self._ports)
        text = text.replace(EXAMPLE_NETWORK, self._network)
        return re.sub(rf"(?<=[: ])({ports})\b", lambda found: self._ports[found[0]], text)

    def inside(self, machine):
        return contextlib.nullcontext()


def make_network(loopback=False):
    """Namespaces take root, and the tool `ip`."""
    if loopback or os.geteuid() != 0:
        return Loopback()
    try:
        return Namespaces()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no network namespaces: {error}")
        return Loopback()


def listen(network, machine, port):
    """A listening socket on that port of the machine."""
    host, _, port = network.translate(f"{MACHINES[machine]}:{port}").rpartition(":")
    with network.inside(machine):
        return socket.create_server((host, int(port)), backlog=1024)


def address_of(network, host, port):
    host, _, port = network.translate(f"{host}:{port}").rpartition(":")
    return host, int(port)
