"""restart_clients.py MODE ...: clients that stay connected while COMMAND restarts the service.

  mixed N ROUNDS COMMAND...   N clients of all kinds; COMMAND is run so often. No connection and no
                              request is lost, none is answered twice or in another order.
  quick N ROUNDS COMMAND...   The same, and an active client waits no longer than 200 ms each time.
  idle N ROUNDS COMMAND...    N clients, all but one of them idle; COMMAND is run so often. All are answered
                              after it, and the active one waits no longer than 250 ms.
  ended COMMAND...            COMMAND stops the service: clients get what they are owed, then a clean
                              end of stream.
  backlog N ROUNDS COMMAND... N seconds of work for one worker are queued by a client of its own; COMMAND is
                              run so often. An active client waits no longer than 200 ms each time.
  owed N COMMAND...           N replies are owed to clients that begin to read, 1 MB/s each, when COMMAND has
                              begun to stop the service: all arrive, and then a clean end of stream.
  closed COMMAND...           COMMAND kills the service: clients see that their connections are gone.

Exit status 0: as it should be; what was measured is on standard output. POOL_SERVER_SLOWDOWN
stretches time bounds on a loaded machine.
"""
import os
import subprocess
import sys
import threading
import time

from restart_crowd import PATIENCE, SLOWDOWN, TCP, UNIX, Crowd, Failure, Idle, Stream, connected

LONGEST_GAP = 0.250
LONGEST_GAP_OF_FEW = 0.200  # up to 1,000 connections, whatever the backlog
SOME = 48  # clients where their number is not the point
# What STATS tells and only grows, over restarts too.
GROWING = ("accepted", "refused", "completed", "errors", "timeouts", "shed", "quarantined", "cancelled", "dropped")


class Stats:
    """A client of its own that asks for STATS, and sees that what grows does not shrink."""

    def __init__(self):
        self.socket = connected(TCP)
        self.last = {}

    def ask(self):
        self.socket.sendall(b"STATS\n")
        reply = b""
        while not reply.endswith(b"\n"):
            data = self.socket.recv(65536)
            if not data:
                raise Failure("the connection that asks for STATS was closed")
            reply += data
        pairs = (word.partition("=") for word in reply.decode().split()[1:])
        values = {key: int(value) for key, _, value in pairs if value.isdigit()}
        for key in GROWING:
            if values[key] < self.last.get(key, 0):
                raise Failure(f"{key} fell from {self.last[key]} to {values[key]}")
        self.last = values
        return values

    def wait_for_connections(self, count):
        for _ in range(100):  # one that has just come may not have been accepted yet
            if self.ask()["connections"] == count:
                return
            time.sleep(0.05)
        raise Failure(f"there are {self.last['connections']} connections instead of {count}")


class Active:
    """A process that asks one request after the other, and notes when it had to wait for a reply.

    A process, for the work of the other clients not to be taken for a pause of the service.
    """

    def __init__(self):
        notes, notes_in = os.pipe()
        stop_out, self._stop = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._stop)
            status = 1
            try:
                with os.fdopen(notes_in, "w") as file:
                    file.writelines(self._run(stop_out))
                status = 0
            except Exception as error:  # pylint: disable=broad-except
                print(f"the active client: {error}", flush=True)
            finally:
                os._exit(status)
        os.close(stop_out)
        os.close(notes_in)
        self._notes = os.fdopen(notes)

    @staticmethod
    def _run(stop):
        os.set_blocking(stop, False)
        connection = connected(TCP)
        waits, number, last = [], 0, time.monotonic()
        while True:
            try:
                os.read(stop, 1)
                return [f"0 {number}\n", *waits]
            except BlockingIOError:
                pass
            connection.sendall(b"echo active %d\n" % number)
            reply, wanted = b"", b"result: active %d\n" % number
            while wanted.startswith(reply) and reply != wanted:
                data = connection.recv(4096)
                if not data:
                    raise Failure("its connection was closed")
                reply += data
            if reply != wanted:
                raise Failure(f"{reply!r} instead of {wanted!r}")
            now = time.monotonic()
            if now - last > 0.002:
                waits.append(f"{last} {now}\n")
            number, last = number + 1, now
            time.sleep(0.0005)  # a client, not a flood

    def finish(self):
        """Ends it; its waits are in `waits`, what it asked in `asked`."""
        os.close(self._stop)
        lines = [tuple(map(float, line.split())) for line in self._notes]
        if os.waitpid(self._pid, 0)[1] != 0:
            raise Failure("the active client was not served as it should be")
        (_, asked), *self._waits = lines
        self.asked = int(asked)

    def longest(self, span):
        """The longest wait that lies in that span of time, or partly."""
        begin, end = span
        return max((last - first for first, last in self._waits if first < end and last > begin), default=0)


def told(pauses):
    in_order = sorted(round(pause * 1000) for pause in pauses)
    print(f"pause: median {in_order[len(in_order) // 2]} ms, worst {in_order[-1]} ms")
    return pauses


def judge(pauses, longest):
    """None is longer. Where bounds are stretched, others use the machine too: half of them are not, and none by far."""
    bounds = {"worst": (max(pauses), longest if SLOWDOWN == 1 else 3 * SLOWDOWN * longest),
              "median": (sorted(pauses)[len(pauses) // 2], SLOWDOWN * longest)}
    for which, (pause, bound) in bounds.items():
        if pause > bound:
            raise Failure(f"the {which} is more than {bound * 1000:.0f} ms")


def quick(*arguments):
    judge(mixed(*arguments), LONGEST_GAP_OF_FEW)


def mixed(count, rounds, *command):
    count = int(count)
    stats = Stats()
    before = stats.ask()
    active, crowd = Active(), Crowd()
    crowd.accepted = 1
    crowd.invite(count - 2)
    spans = []
    for _ in range(int(rounds)):
        crowd.begin()
        spans.append(crowd.during(command))
        crowd.complete()
        stats.wait_for_connections(count - sum(guest.stream.ended for guest in crowd.guests))
    active.finish()
    tasks = crowd.tasks + active.asked
    after = stats.ask()
    for key, wanted in {"completed": tasks, "accepted": crowd.accepted, "cancelled": 0, "dropped": 0}.items():
        if after[key] - before[key] != wanted:
            raise Failure(f"{key} grew by {after[key] - before[key]} instead of {wanted}")
    print(f"{rounds} times, {count} connections, {tasks} requests: none lost")
    return told([active.longest(span) for span in spans])


def idle(count, rounds, *command):
    crowd = Crowd()
    crowd.invite(int(count) - 1, [Idle])
    for guest in crowd.guests[::100]:
        guest.ask_one()
    crowd.settle()
    active = Active()
    time.sleep(0.5)
    spans = []
    for _ in range(int(rounds)):
        spans.append(crowd.during(command, going_on=False))
        time.sleep(0.5)
    active.finish()
    for guest in crowd.guests:
        guest.ask_one()
    crowd.settle()
    print(f"{rounds} times, {count} connections, nearly all idle: none lost")
    judge(told([active.longest(span) for span in spans]), LONGEST_GAP)


def ended(*command):
    crowd = Crowd()
    crowd.ending = True
    crowd.invite(SOME)
    crowd.begin()
    crowd.during(command, going_on=False)
    for guest in crowd.guests:
        guest.stream.read(True)
    crowd.serve_all(lambda guest: guest.stream.ended, "a connection was not ended")
    print(f"{SOME} connections, {crowd.tasks} requests")


def backlog(seconds, rounds, *command):
    task_ms = 20
    count = int(seconds) * 1000 // task_ms
    greedy = Stream(Crowd(), "the greedy client", TCP)
    greedy.send(b"sleep %d\n" % task_ms * count, b"")
    while greedy.unsent:
        greedy.on_writable()
    active = Active()
    time.sleep(0.5)
    spans = []
    for _ in range(int(rounds)):
        begin = time.monotonic()
        subprocess.run(command, check=True)
        time.sleep(0.3)
        spans.append((begin, time.monotonic()))
    active.finish()
    print(f"{rounds} times with {seconds} s of work queued, {active.asked} requests of an active client: none lost")
    judge(told([active.longest(span) for span in spans]), LONGEST_GAP_OF_FEW)


def owed(count, *command):
    """Threads, as each client has a pace of its own."""
    crowd_size, rate, piece = 10, 1_000_000, 20_000
    each = int(count) // crowd_size
    stats = Stats()
    before = stats.ask()["completed"]
    clients = [connected(address, 4096) for address in (TCP, UNIX) for _ in range(crowd_size // 2)]
    requests = b"".join(b"echo %d and some more text of a reply\n" % number for number in range(each))
    wanted = requests.replace(b"echo ", b"result: ")
    for client in clients:
        client.sendall(requests)
    end = time.monotonic() + PATIENCE
    while stats.ask()["completed"] - before < crowd_size * each:
        if time.monotonic() > end:
            raise Failure(f"only {stats.last['completed'] - before} requests were accepted")
        time.sleep(0.05)
    stats.socket.close()
    faults = []

    def read(client):
        received = bytearray()
        try:
            while data := client.recv(piece):
                received += data
                time.sleep(len(data) / rate)
            if received != wanted:
                faults.append(f"{received.count(10)} of {each} replies, then the end")
        except OSError as error:
            faults.append(f"{received.count(10)} of {each} replies, then {error}")

    stopping = subprocess.Popen(command)
    time.sleep(0.1)
    readers = [threading.Thread(target=read, args=(client,)) for client in clients]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    if stopping.wait() != 0:
        raise Failure("it could not be stopped")
    if faults:
        raise Failure("; ".join(faults))
    print(f"{crowd_size * each} replies to {crowd_size} clients: all arrived")


def closed(*command):
    clients = [connected(address) for address in (TCP, UNIX) for _ in range(SOME // 2)]
    for client in clients:
        client.sendall(b"echo good\n")
        if client.recv(100) != b"result: good\n":
            raise Failure("a client was not served")
    subprocess.run(command, check=True)
    for client in clients:
        try:
            if client.recv(1):
                raise Failure("there was something to read")
        except ConnectionResetError:
            pass
    print(f"{SOME} connections")


def main():
    modes = {"mixed": mixed, "quick": quick, "idle": idle, "ended": ended, "backlog": backlog, "owed": owed, "closed": closed}
    try:
        modes[sys.argv[1]](*sys.argv[2:])
    except (Failure, OSError, subprocess.CalledProcessError) as failure:
        sys.exit(f"FAILED: {failure}")


if __name__ == "__main__":
    main()
