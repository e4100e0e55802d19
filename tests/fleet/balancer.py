"""The real HAProxy, with examples/haproxy/haproxy.cfg as it is but for where things are."""

import collections
import csv
import os
import re
import resource
import socket
import subprocess
import threading
import time
from pathlib import Path

from harness import clean_environment
from network import BALANCER, TLS, TRAFFIC, address_of
from timing import PATIENCE, wait_until

EXAMPLE = Path(__file__).parents[2] / "examples/haproxy/haproxy.cfg"
PROGRAM = "/usr/sbin/haproxy"
ENOUGH_FILES = 24_500  # for the example's connections; some containers allow fewer
# A line of `option tcplog`.
SESSION = re.compile(
    r"(?P<host>\S+):(?P<port>\d+) \[(?P<accepted>[^]]+)\] pool-server~? pool-servers/(?P<server>\S+) "
    r"(?P<waited>-?\d+)/(?P<connect>-?\d+)/\+?(?P<total>-?\d+) \+?(?P<bytes>\d+) (?P<end>\S\S) "
    r"\d+/\d+/\d+/\d+/\+?(?P<retries>\d+) ")
Session = collections.namedtuple("Session", "port accepted server connect end retries")


def _seconds(accepted):
    """27/Nov/2026:10:00:00.123, in local time, as Unix time."""
    whole, _, milliseconds = accepted.rpartition(".")
    return time.mktime(time.strptime(whole, "%d/%b/%Y:%H:%M:%S")) + int(milliseconds) / 1000


class Log:
    """What HAProxy would send to syslog: the sessions that ended, and the rest."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        self.sessions, self.lines = [], []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while line := self._socket.recv(1 << 16).decode(errors="replace"):
            found = SESSION.search(line)
            if found:
                self.sessions.append(Session(int(found["port"]), _seconds(found["accepted"]), found["server"],
                                             int(found["connect"]), found["end"], int(found["retries"])))
            else:
                self.lines.append(line.strip())

    def _say(self, text):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(text, self._socket.getsockname())

    def catch_up(self):
        """Everything that has been sent is read then."""
        self._say(b"caught up")
        wait_until(lambda: "caught up" in self.lines, "the log is read")
        self.lines.remove("caught up")

    def close(self):
        self._say(b"")
        self._thread.join()
        self._socket.close()


class Balancer:
    """`changes` are (pattern, replacement) for a case that needs another configuration; each must be found."""

    def __init__(self, network, directory, certificates, changes=()):
        self.log = Log()
        self.address = address_of(network, BALANCER, TRAFFIC)
        self.tls_address = address_of(network, BALANCER, TLS)
        self._admin = f"{directory}/admin.sock"
        text = EXAMPLE.read_text()
        places = [("/etc/haproxy/", f"{certificates}/"), ("/run/haproxy/", f"{directory}/"),
                  ("log /dev/log ", f"log {self.log.address} ")]
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < ENOUGH_FILES:
            places += [("^    maxconn 12100$", "    maxconn 2000")]
        if os.geteuid() != 0:
            places += [(r"^ *user .*\n", ""), (r"^ *group .*\n", ""), (r"^ *chroot .*\n", "")]
        for pattern, replacement in (*places, *changes):
            text, count = re.subn(pattern, replacement, text, flags=re.M)
            if not count:
                raise AssertionError(f"{EXAMPLE} has no {pattern!r}")
        path = Path(directory) / "haproxy.cfg"
        path.write_text(network.translate(text))
        self._output = open(f"{directory}/haproxy.output", "w+b")
        # It changes its user, and so cannot ask to be killed with its parent: the shell sees to that.
        self._process = subprocess.Popen(["sh", "-c", '"$@" & read -r end; kill $!; wait $!', "sh", PROGRAM, "-db", "-f", path],
                                         stdin=subprocess.PIPE, stdout=self._output, stderr=self._output, env=clean_environment())
        wait_until(self._answers, "HAProxy answers")

    def _answers(self):
        self._output.seek(0)
        if "[ALERT]" in (said := self._output.read().decode()):
            raise AssertionError(f"HAProxy did not start:\n{said}")
        try:
            return self.servers()
        except OSError:
            return None

    def admin(self, command):
        """What the stats socket answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(self._admin)
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
        return answer.decode()

    def servers(self):
        """Name → what the stats page has of it."""
        rows = csv.DictReader(self.admin("show stat").removeprefix("# ").splitlines())
        return {row["svname"]: row for row in rows
                if row["pxname"] == "pool-servers" and row["svname"] not in ("FRONTEND", "BACKEND")}

    def wait_for(self, condition, what):
        """Until all servers, as `servers` has them, are as they should be."""
        return wait_until(lambda: condition(self.servers()), what)

    def set_apart(self, *names):
        """They get no newcomers until `take_back`. Their agents would take them back at once."""
        for name in names:
            self.admin(f"disable agent pool-servers/{name}; set server pool-servers/{name} state maint")

    def take_back(self, *names):
        for name in names:
            self.admin(f"set server pool-servers/{name} state ready; enable agent pool-servers/{name}")

    def servers_of_sessions(self):
        """Client's port → the server that its connection is with at this moment."""
        lines = self.admin("show sess").splitlines()
        found = (re.search(r" src=\S+:(\d+) fe=pool-server .* srv=(\w+) ", line) for line in lines)
        return {int(match[1]): match[2] for match in found if match}

    def close(self):
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._output.close()
        self.log.close()


def make_certificates(directory):
    """A server's, of an authority for clients, and of two clients, one of which is a stranger's."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, cwd=directory, capture_output=True)

    def authority(name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")

    for name in ("pool-server", "clients-ca", "stranger"):
        authority(name)
    with open(f"{directory}/pool-server.pem", "ab") as file:
        file.write(Path(directory, "pool-server.key").read_bytes())
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=client",
            "-keyout", "client.key", "-out", "client.csr")
    openssl("x509", "-req", "-in", "client.csr", "-CA", "clients-ca.pem", "-CAkey", "clients-ca.key", "-CAcreateserial",
            "-days", "2", "-out", "client.pem")
