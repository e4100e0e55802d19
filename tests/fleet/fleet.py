"""Three pool-servers, each under a service manager of its own, behind HAProxy; and clients."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import http_client
from balancer import Balancer
from manager import RestartTestCase
from network import AGENT, MACHINES, MONITOR, TRAFFIC, listen
from timing import PATIENCE

LOAD = Path(__file__).with_name("load.py")


class Machine(RestartTestCase):
    """A pool-server with its manager, which holds its sockets."""

    def __init__(self, network, name, options):
        super().__init__()
        self.network, self.name, self.options = network, name, options
        self.binary = None  # another than that of the environment
        self.setUp()

    def open_sockets(self):
        ports = {"pool-server": TRAFFIC, "monitor": MONITOR, "agent": AGENT}
        return {name: listen(self.network, self.name, port) for name, port in ports.items()}

    def start(self):
        self.start_next(*self.options, binary=self.binary)

    def stop_and_start(self):
        """What `systemctl restart` does."""
        self.restart(*self.options, binary=self.binary)

    def kill(self, keep_sockets=False):
        """kill -9. Without a manager that keeps them, its listening sockets go with it. From when to when it happened."""
        if not keep_sockets:
            for opened in self.sockets.values():
                opened.close()
        begin = time.monotonic()
        self.server.kill()
        return begin, time.monotonic()

    def come_back(self):
        """Starts anew, where `kill` has closed the sockets."""
        self.sockets = self.open_sockets()
        self.start()

    def state(self):
        return http_client.ask(self.addresses["monitor"], "/state.json").json

    def computed(self):
        return sum(self.state()["requests"].values())

    def close(self):
        if not self.doCleanups():
            raise AssertionError(f"{self.name} did not end in good order:\n{self.logs()}")


class Fleet:
    """For a `with` statement; it serves when that begins."""

    def __init__(self, setting, *options, changes=()):
        """`setting` has the network and the certificates of all cases; `changes` are the balancer's."""
        self._setting, self._options, self._changes = setting, options, changes

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pool-server-fleet-"))
            options = ("--proxy-protocol=yes", f"--proxy-source={self._setting.network.source}/32", *self._options)
            self.machines = {}
            for name in MACHINES:
                self.machines[name] = Machine(self._setting.network, name, options)
                stack.callback(self.machines[name].close)
                self.machines[name].start()
            self.balancer = Balancer(self._setting.network, directory, self._setting.certificates, self._changes)
            stack.callback(self.balancer.close)
            self.wait_until_up(*MACHINES)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure):
        self._stack.close()

    def __getitem__(self, name):
        return self.machines[name]

    def wait_until_up(self, *names):
        self.balancer.wait_for(lambda servers: all(servers[name]["status"] == "UP" and servers[name]["check_status"] == "L7OK"
                                                   and servers[name]["agent_status"] in ("L7OK", "") for name in names),
                               f"{names} are up")

    def computed(self):
        """By all machines, as their monitors tell."""
        return sum(machine.computed() for machine in self.machines.values())


def group(name, kind, count, window=1, pause=0.02, task="echo", **settings):
    """Clients of one kind: see load.py."""
    return {"name": name, "kind": kind, "count": count, "window": window, "pause": pause, "task": task, **settings}


class Load:
    """Clients in a process of their own, from its start until `finish`."""

    def __init__(self, address, *groups):
        plan = {"address": address, "groups": groups}
        self._process = subprocess.Popen([sys.executable, LOAD, json.dumps(plan)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE)
        self._closed = False

    def __enter__(self):
        line = self._process.stdout.readline()
        if line != b"ready\n":
            self.__exit__()
            raise AssertionError("the clients were not served")
        return self

    def __exit__(self, *failure):
        if not self._closed:
            self._process.kill()
            self._process.communicate()

    def finish(self):
        """What became of each connection, as load.py tells it."""
        output, _ = self._process.communicate(timeout=10 * PATIENCE)
        self._closed = True
        if self._process.returncode:
            raise AssertionError(f"the clients ended with {self._process.returncode}")
        return Tally(json.loads(output))


class Tally:
    """Figures of connections."""

    def __init__(self, connections):
        self.connections = connections

    def of(self, *names):
        return Tally([each for each in self.connections if each["group"] in names])

    def where(self, condition):
        return Tally([each for each in self.connections if condition(each)])

    def broken(self):
        return self.where(lambda each: each["how"] != "finished")

    def sum(self, name):
        return sum(each[name] for each in self.connections)

    def waits(self, since=0, until=float("inf")):
        """Seconds from request to reply, of the requests sent in that time."""
        return [got - sent for each in self.connections for sent, got in each["waits"] if since <= sent < until]

    def told(self):
        """How connections ended that did not finish, for a report."""
        return "; ".join(sorted({f"{each['group']}: {each['how']}" for each in self.broken().connections})[:5])
