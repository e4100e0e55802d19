"""What a fleet has to stand. Each case makes a Row of figures, and notes in it what is not as it should be."""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import threading
import time
from pathlib import Path

import harness
from client import Client
from fleet import Fleet, Load, group
from network import CLIENTS, MACHINES
from timing import PATIENCE, SLOWDOWN, Stopwatch, let_pass, wait_until

# Of a client, over a restart or after a crash. It is reported; the bound is for whoever is forgotten, on a machine that does
# other things beside.
LONGEST_PAUSE = 4 * SLOWDOWN
AT_ONCE = 1.5 * SLOWDOWN  # less than it takes if a connect that failed is tried again at the same machine
CHECK_INTERVAL = 1.0  # `inter` of the example
NAMES = tuple(MACHINES)


class Row:
    def __init__(self):
        self.connections = self.requests = self.lost = self.doubled = self.wrong = 0
        self.pause = None  # seconds
        self.figures = []
        self.impossible = ""  # why it cannot be tried here
        self.faults = []

    def count(self, tally):
        self.connections += len(tally.connections)
        self.requests += tally.sum("asked")
        self.lost += tally.sum("asked") - tally.sum("answered")
        self.doubled += tally.sum("doubled")
        self.wrong += tally.sum("wrong")

    def require(self, condition, otherwise):
        if not condition:
            self.faults.append(otherwise)

    def require_nothing_lost(self, tally):
        self.require(not tally.broken().connections, f"{len(tally.broken().connections)} connections lost: {tally.told()}")
        self.require(self.lost == 0, f"{self.lost} requests lost")

    def require_sound(self):
        self.require(self.doubled == self.wrong == 0, f"{self.doubled} replies doubled, {self.wrong} wrong")

    def paused(self, seconds, bound=LONGEST_PAUSE):
        self.pause = seconds
        self.require(seconds < bound, f"a pause of {ms(seconds)}, which is more than {ms(bound)}")


def ms(seconds):
    return f"{seconds * 1000:.0f} ms"


def p99(values):
    return statistics.quantiles(values, n=100)[98]


def clients_of_every_kind():
    return (group("one at a time", "steady", 32, pause=0.02), group("ahead", "steady", 6, window=200, pause=0.1),
            group("hesitant", "hesitant", 8, pause=0.1), group("heavy", "heavy", 4, window=15, size=20_000, pause=0.2),
            group("sleepers", "steady", 4, task="sleep 30"), group("visitors", "visitor", 8, window=5, pause=0.05),
            group("waiting visitors", "visitor", 4, window=2, task="sleep 40", pause=0.05))


# --- Restarts ---

def rolling(setting, row, rounds, prepare):
    """All three are restarted, one after the other; `prepare` is called before each restart."""
    with Fleet(setting) as fleet:
        with Load(fleet.balancer.address, *clients_of_every_kind()) as load:
            for _ in range(rounds):
                for name in NAMES:
                    prepare(fleet[name])
                    fleet[name].stop_and_start()
                    fleet.wait_until_up(name)
                    let_pass(0.3)
            tally = load.finish()
        row.count(tally)
        row.require_nothing_lost(tally)
        row.require(fleet.computed() == row.requests, f"{fleet.computed()} requests computed, of {row.requests}")
        survived = [fleet[name].state()["restarts_survived"] for name in NAMES]
        row.require(survived == [rounds] * 3, f"restarts survived: {survived}")
        row.paused(max(tally.of("one at a time", "visitors").waits()))
        row.figures += [f"{3 * rounds} restarts", f"{len(tally.of('visitors', 'waiting visitors').connections)} newcomers"]
        return [os.readlink(f"/proc/{fleet[name].server.pid}/exe") for name in NAMES]


def rolling_restart(setting, row):
    """Fails when a restart costs a connection or a request, has one computed twice, or keeps a client waiting."""
    rolling(setting, row, 2, lambda machine: None)


def rolling_upgrade(setting, row):
    """Fails when that is so for an upgrade, in which each machine goes over to other files."""
    directory = setting.directory("upgrade")
    for file in ("pool-server", "monitor.so"):
        shutil.copy(Path(harness.BINARY).with_name(file), directory)

    def install(machine):
        machine.binary = str(directory / "pool-server")
    running = rolling(setting, row, 1, install)
    row.require(running == [str(directory / "pool-server")] * 3, f"what runs is {running}")


# --- One goes ---

def stays(count=45):
    return group("steady", "steady", count, reconnect=True)


def comes_and_goes(count=10):
    return group("newcomers", "visitor", count, window=5, pause=0.03)


def maintenance(setting, row):
    """Fails when newcomers still get to a machine that drains, others are affected, or a request stays unanswered."""
    with Fleet(setting) as fleet, Load(fleet.balancer.address, stays(), comes_and_goes()) as load:
        let_pass(1)
        fleet["a"].server.signal(signal.SIGUSR2)
        fleet.balancer.wait_for(lambda servers: servers["a"]["status"].startswith(("DRAIN", "DOWN")), "newcomers are sent elsewhere")
        before = int(fleet.balancer.servers()["a"]["stot"])
        let_pass(0.5)
        at = fleet.balancer.servers_of_sessions()
        row.require(int(fleet.balancer.servers()["a"]["stot"]) == before, "newcomers got to the machine that drains")
        stopped = time.monotonic()
        elsewhere = fleet["b"].computed() + fleet["c"].computed()
        fleet["a"].server.signal()
        row.require(fleet["a"].server.wait_exit() == 0, "it did not stop in good order")
        told = int(re.search(r"stopped after (\d+) tasks", fleet["a"].server.log())[1])
        let_pass(1)
        computed = fleet["b"].computed() + fleet["c"].computed()
        row.require(computed > elsewhere, "nobody else served")
        tally = load.finish()
        computed = told + fleet["b"].computed() + fleet["c"].computed()
    ours = tally.of("steady").where(lambda each: at.get(each["port"]) == "a" and each["began"] < stopped)
    again = ours.sum("asked") - ours.sum("answered")
    row.count(tally)
    row.lost -= again
    row.requests -= again
    others = tally.where(lambda each: each not in ours.connections)
    row.require(ours.connections, "no client was there")
    row.require({each["how"] for each in ours.connections} == {"ended"}, f"they were not ended cleanly: {ours.told()}")
    row.require_nothing_lost(others)
    row.require(computed == row.requests, f"{computed} requests computed, of {row.requests}")
    row.paused(max(tally.waits()))
    row.figures += [f"{len(ours.connections)} clients moved", f"{again} requests asked anew"]


def gone(tally, at, when, row, soon):
    """What the end of `a` at that time has broken must have been there, and its clients were served again soon.

    `at` tells who was where before; `when`, from when to when it ended; `soon` is so many seconds.
    """
    begin, end = when
    broken = tally.broken()
    theirs = tally.of("steady").where(lambda each: at.get(each["port"]) == "a" and each["began"] < begin < each["ended"])
    row.require(theirs.connections, "no client was there")
    whole = [each for each in theirs.connections if each["how"] == "finished"]
    row.require(not whole, f"{len(whole)} connections to it seem to go on")
    # Who comes back while it dies may be given to it once more: the balancer cannot know.
    strangers = broken.of("steady").where(lambda each: each["began"] < begin and each not in theirs.connections)
    row.require(not strangers.connections, f"connections of others broke: {strangers.told()}")
    late = broken.where(lambda each: each["began"] > end)
    row.require(not late.connections, f"{len(late.connections)} newcomers were not served: {late.told()}")
    again = tally.of("steady").where(lambda each: each["began"] > begin and each["answered"])
    served = {each["number"]: each["waits"][0][1] - begin for each in again.connections}
    cut = {each["number"] for each in theirs.connections}
    row.require(cut <= served.keys(), f"{len(cut - served.keys())} of the clients did not get back in")
    longest = max(served.values(), default=0)
    row.require(longest < soon, f"they waited {ms(longest)} for that")
    row.figures += [f"{len(broken.connections)} connections broke with it", f"back in within {ms(longest)}"]


def kill(setting, row):
    """Fails when connections of others break, newcomers are not served, or the dead one is tried for too long."""
    with Fleet(setting) as fleet, Load(fleet.balancer.address, stays(), comes_and_goes()) as load:
        let_pass(1)
        at = fleet.balancer.servers_of_sessions()
        wall_clock = time.time()
        when = fleet["a"].kill()
        fleet.balancer.wait_for(lambda servers: servers["a"]["status"].startswith("DOWN"), "HAProxy has noticed")
        noticed = time.monotonic() - when[0]
        let_pass(CHECK_INTERVAL)
        fleet["a"].come_back()
        before = int(fleet.balancer.servers()["a"]["stot"])
        back = Stopwatch()
        fleet.balancer.wait_for(lambda servers: int(servers["a"]["stot"]) > before, "it gets newcomers again")
        back = back.seconds
        let_pass(0.5)
        tally = load.finish()
        fleet.balancer.wait_for(lambda servers: all(server["scur"] == "0" for server in servers.values()), "all have left")
        fleet.balancer.log.catch_up()
        tries = [each.accepted - wall_clock for each in fleet.balancer.log.sessions if each.retries]
    row.count(tally.where(lambda each: each["how"] == "finished"))
    gone(tally, at, when, row, AT_ONCE)
    longest = max(tries, default=0)
    row.require(longest < CHECK_INTERVAL, f"the dead one was tried for {ms(longest)}")
    row.paused(max(tally.of("newcomers").waits(since=when[1])), AT_ONCE)
    row.figures += [f"DOWN after {ms(noticed)}", f"{len(tries)} newcomers tried it, for {ms(longest)}, and were sent on at once",
                    f"newcomers {ms(back)} after it is back"]


def crash(setting, row):
    """Fails when, its sockets being kept by systemd and itself back at once, connections of others break or anybody is refused."""
    with Fleet(setting) as fleet, Load(fleet.balancer.address, stays(), comes_and_goes()) as load:
        let_pass(1)
        at = fleet.balancer.servers_of_sessions()
        when = fleet["a"].kill(keep_sockets=True)
        let_pass(0.1)
        fleet["a"].start()
        let_pass(1)
        row.require(fleet.balancer.servers()["a"]["status"] == "UP", "HAProxy took it out")
        tally = load.finish()
    row.count(tally.where(lambda each: each["how"] == "finished"))
    gone(tally, at, when, row, LONGEST_PAUSE)
    row.paused(max(tally.of("newcomers").waits(since=when[1])))


def vanish(setting, row):
    """Fails when, a machine being off the network without a word, newcomers find nobody, or its clients are left to wait."""
    if not hasattr(setting.network, "cut"):
        row.impossible = "it takes network namespaces"
        return
    # The kernel gives up after three seconds instead of the minute and a half that the example recommends.
    Path("/proc/sys/net/ipv4/tcp_retries2").write_text("3", encoding="ascii")
    with Fleet(setting) as fleet, Load(fleet.balancer.address, stays(), comes_and_goes()) as load:
        let_pass(1)
        at = fleet.balancer.servers_of_sessions()
        begin = time.monotonic()
        setting.network.cut("a")
        when = begin, time.monotonic()
        try:
            fleet.balancer.wait_for(lambda servers: servers["a"]["status"].startswith("DOWN"), "HAProxy has noticed")
            noticed = time.monotonic() - when[0]
            wait_until(lambda: "a" not in fleet.balancer.servers_of_sessions().values(), "its clients are let go")
            let_pass(0.5)
            tally = load.finish()
        finally:
            setting.network.mend("a")
    row.count(tally.where(lambda each: each["how"] == "finished"))
    gone(tally, at, when, row, 3 * LONGEST_PAUSE)
    row.paused(max(tally.of("newcomers").waits(since=when[1])))
    row.figures.append(f"DOWN after {ms(noticed)}")


# --- One is slow ---

RUNS, PERIOD = 0.08, 0.3  # seconds that it runs, of so many
TASK_MS = 100  # longer than it runs, and so done once in a period instead of three times


class Hindered:
    """For a `with` statement: the machine runs for a third of the time, as its process is stopped and continued in turns.

    That is what a neighbour or a quota does to it: work, and what the agent and /readyz say, all wait. Tasks sleep, as the work of
    three machines would not fit on two processors.
    """

    def __init__(self, machine):
        self._process = machine.server.child
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.wait(RUNS):
            self._process.send_signal(signal.SIGSTOP)
            self._over.wait(PERIOD - RUNS)
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *failure):
        self._over.set()
        self._thread.join()


def rate(tally, since, until):
    """Requests a second."""
    return len(tally.waits(since, until)) / (until - since)


class Work:
    """What clients that come, ask twice and go get out of the fleet in so many seconds, after it has settled."""

    def __init__(self, fleet, settle, seconds, circumstances=contextlib.nullcontext(), count=30):
        clients = group("callers", "caller", count, window=2, pause=0.01, task=f"sleep {TASK_MS}")
        with Load(fleet.balancer.address, clients) as load:
            with circumstances:
                let_pass(settle)
                since, before = time.monotonic(), fleet.balancer.servers()
                let_pass(seconds)
                until, after = time.monotonic(), fleet.balancer.servers()
            self.tally = load.finish()
        self.weights = [int(after[name]["weight"]) for name in NAMES]
        newcomers = {name: int(after[name]["stot"]) - int(before[name]["stot"]) for name in NAMES}
        self.share = newcomers["a"] / sum(newcomers.values())
        self.rate = rate(self.tally, since, until)
        self.p99 = p99(self.tally.waits(since, until))


def slowed(setting, row):
    """Fails when a machine slowed to a third gets more newcomers than it can serve, or the fleet does less than it can, or its
    agent does not tell."""
    plain = [("balance leastconn", "balance roundrobin"), (r"^ *default-server agent-check .*\n", "")]
    with Fleet(setting) as fleet:
        for _ in range(3):  # what else goes on at this machine can only make less of it
            alike = Work(fleet, 1, 2)
            fleet.balancer.set_apart("b", "c")
            alone = Work(fleet, 1, 3, Hindered(fleet["a"]))
            fleet.balancer.take_back("b", "c")
            fleet.wait_until_up(*NAMES)
            can = alike.rate * 2 / 3 + alone.rate
            wanted = alone.rate / can
            mixed = Work(fleet, 3, 4, Hindered(fleet["a"]))
            enough, matches = mixed.rate / can >= 0.9, abs(mixed.share - wanted) < 0.07
            if enough and matches:
                break
        light = Work(fleet, 7, 2, Hindered(fleet["a"]), count=9)  # with all workers busy weights tell of queues, too
    with Fleet(setting, changes=plain) as fleet:
        in_turns = Work(fleet, 3, 4, Hindered(fleet["a"]))
    for work in (alike, alone, mixed, light, in_turns):
        row.count(work.tally)
        row.require_nothing_lost(work.tally)
    row.require(matches, "its share does not match")
    row.require(enough, "less than nine tenths of what they can do")
    row.require(mixed.p99 < in_turns.p99, "not quicker than round robin")
    row.require(light.weights[0] < 0.75 * min(light.weights[1:]), "its agent does not say so")
    row.figures += [f"{alike.rate / 3:.0f} requests/s each, {alone.rate:.0f} slowed",
                    f"share of newcomers {alike.share:.2f}, then {mixed.share:.2f} (it can: {wanted:.2f})",
                    f"throughput {mixed.rate / can:.2f} of what they can (round robin {in_turns.rate / can:.2f})",
                    f"p99 {ms(mixed.p99)} (round robin {ms(in_turns.p99)})",
                    f"weights {', '.join(map(str, light.weights))} with workers to spare"]


# --- All are full ---

def saturated(setting, row, overload):
    """All are asked for more than they can do, with --overload=wait until /readyz says so; then for no more."""
    busy = overload == "reject"
    crowd = group("crowd", "flood", 24, window=24, pause=0.02, task="sleep 60", busy=busy)
    visitors = group("newcomers", "visitor", 4, pause=0.05, busy=busy)

    def full():
        """Whether all say so. Who rejects keeps room for clients that ask for little, so that the queue is never full."""
        let_pass(0.5)  # to look when there is room for just a moment begins those five seconds anew: not too often
        states = [fleet[name].state() for name in NAMES]
        return all(state["requests"]["busy"] if busy else state["not_ready_because"].startswith("queue full") for state in states)

    with Fleet(setting, "--queue-capacity=32", f"--overload={overload}") as fleet:
        with Load(fleet.balancer.address, visitors) as others, Load(fleet.balancer.address, crowd) as load:
            since = time.monotonic()
            wait_until(full, "all are full")
            let_pass(2.5)  # HAProxy looks again
            up = [fleet.balancer.servers()[name]["status"] for name in NAMES]
            until = time.monotonic()
            crowd = load.finish()
            let_pass(1 * SLOWDOWN + 1)
            newcomers = others.finish()
    for tally in (crowd, newcomers):
        row.count(tally)
        row.require_nothing_lost(tally)
    row.require(up == ["UP"] * 3, f"HAProxy took servers that were full for {up}")
    told = crowd.sum("busy") + newcomers.sum("busy")
    row.require(bool(told) == busy, f"{told} were told that the server is busy")
    quick = [sent for each in newcomers.connections for sent, got in each["waits"] if sent > until and got - sent < 0.1 * SLOWDOWN]
    recovered = min(quick, default=float("inf")) - until
    row.require(recovered < 1 * SLOWDOWN, "it does not recover within a second")
    while_full, later = (statistics.median(newcomers.waits(*span)) for span in ((since, until), (until + 1 * SLOWDOWN,)))
    row.require(later < 0.1 * SLOWDOWN, f"newcomers still wait for {ms(later)} in the median")
    row.paused(max(newcomers.waits()))
    row.figures += [f"full for {until - since:.0f} s", f"{told} 'server busy'",
                    f"newcomers' median {ms(while_full)}, then {ms(later)}, from {ms(recovered)} after it on"]


def saturated_waiting(setting, row):
    """Fails when a full fleet has a client wait for ever or turns it away, or takes a second to recover."""
    saturated(setting, row, "wait")


def saturated_rejecting(setting, row):
    """Fails when a full fleet does not say `server busy`, has a client wait for ever, or takes a second to recover."""
    saturated(setting, row, "reject")


# --- Ways in ---

def half_closing(setting, row):
    """Fails when `nc -N`, which ends its input and then waits, does not get every reply through HAProxy, however late.

    Some of them have ended their input before there is room for them at a machine.
    """
    with Fleet(setting, changes=[("maxconn 4000", "maxconn 2")]) as fleet:
        host, port = fleet.balancer.address
        lines = [*(f"echo {number}" for number in range(200)), "sleep 1500", "echo last"]
        replies = [*(f"result: {number}" for number in range(200)), "result: slept 1500 ms", "result: last"]
        clients = [subprocess.Popen(["nc", "-N", host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                   for _ in range(9)]
        for client in clients:
            client.stdin.write("\n".join(lines))  # the last line has no end of line
            client.stdin.close()
        for client in clients:
            got = client.stdout.read().splitlines()
            row.connections += 1
            row.requests += len(lines)
            row.lost += max(0, len(lines) - len(got))
            row.wrong += sum(line != wanted for line, wanted in zip(got, replies))
            row.require(got == replies, f"{len(got)} replies: {got[-3:]}")
            row.require(client.wait(PATIENCE) == 0, "nc failed")


def real_clients(setting, row):
    """Fails when a server takes HAProxy for the client, believes a client that claims to be another, or HAProxy without a header."""
    network = setting.network
    greedy, other, unlisted = (network.translate(address) for address in CLIENTS[:3])
    with Fleet(setting, "--max-connections-per-peer=2", "--log-connections=yes") as fleet, contextlib.ExitStack() as stack:
        def connect(source, address=fleet.balancer.address):
            client = Client(address, source=source)
            stack.callback(client.close)
            row.connections += 1
            return client

        def ask(client, line, wanted):
            row.requests += 1
            got = client.ask(line)
            row.require(got == wanted, f"{line!r} is answered {got!r}")

        clients = [connect(greedy) for _ in range(6)]  # two for each machine
        for client in clients:
            ask(client, "echo one", "result: one")
        refusal = connect(greedy).line()
        row.require(refusal == "ERROR: too many connections from this client", f"a seventh was answered {refusal!r}")
        clients.append(connect(other))
        ask(clients[-1], "echo two", "result: two")
        header = f"PROXY TCP4 {unlisted} {greedy} 1 9090"
        ask(clients[-1], header, "ERROR: invalid input")  # it is a request: HAProxy has said who that is
        direct = fleet["a"].addresses["pool-server"]
        ask(connect(unlisted, direct), header, "ERROR: invalid input")  # so here: that is no proxy
        ask(connect(network.source, direct), "echo three", "ERROR: no valid PROXY header")
        logged = set(re.findall(r"connection \d+ from (\S+), through", "".join(fleet[name].server.log() for name in NAMES)))
        wanted = {"{}:{}".format(*client.socket.getsockname()) for client in clients}
        row.require(logged == wanted, f"the logs have {logged}, not {wanted}")


def tls(setting, row):
    """Fails when a client with a certificate is not served over TLS, or one without, or with a stranger's, is."""
    def ask(certificate):
        context = ssl.create_default_context(cafile=setting.certificates / "pool-server.pem")
        context.check_hostname = False  # addresses are not in the certificate
        if certificate:
            context.load_cert_chain(setting.certificates / f"{certificate}.pem", setting.certificates / f"{certificate}.key")
        with socket.create_connection(fleet.balancer.tls_address, timeout=PATIENCE) as plain, \
                context.wrap_socket(plain) as connection:
            connection.sendall(b"echo over TLS\n")
            return connection.recv(1000)

    with Fleet(setting) as fleet:
        row.connections, row.requests = 3, 1
        row.require(ask("client") == b"result: over TLS\n", "a client with a certificate is not served")
        for certificate in (None, "stranger"):
            try:
                got = ask(certificate)
            except (ssl.SSLError, ConnectionResetError):
                got = b""
            row.require(got == b"", f"a client with {certificate or 'no certificate'} was served: {got!r}")


CASES = {
    "rolling-restart": rolling_restart,
    "rolling-upgrade": rolling_upgrade,
    "maintenance": maintenance,
    "kill": kill,
    "crash": crash,
    "vanish": vanish,
    "slowed": slowed,
    "saturated-waiting": saturated_waiting,
    "saturated-rejecting": saturated_rejecting,
    "half-closing": half_closing,
    "tls": tls,
    "real-clients": real_clients,
}
