"""clients.py [--refused-too] N: N clients connected at once, each with requests of its own.

Checks every reply against its request. With --refused-too a client may also be told that there are
too many, or wait in the backlog until others have gone.
"""
import hashlib
import resource
import selectors
import socket
import sys

HOST, PORT, TIMEOUT = "127.0.0.1", 9090, 60
REFUSED = b"ERROR: too many connections\n"


def requests_of(number):
    good = f"client {number}".encode()
    other = f"other {number}".encode()
    return [(good, result(good)), (b"bad", b"ERROR: invalid input"), (other, result(other))]


def result(line):
    return b"result: " + hashlib.sha256(line).hexdigest().encode()


def main():
    refused_too = "--refused-too" in sys.argv
    count = int(sys.argv[-1])
    wanted = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, count + 1000), wanted))

    selector = selectors.DefaultSelector()
    received = {}
    for number in range(count):
        client = socket.create_connection((HOST, PORT), timeout=TIMEOUT)
        received[number] = b""
        selector.register(client, selectors.EVENT_READ, number)
    # All are connected before the first one asks.
    for key in list(selector.get_map().values()):
        lines = b"".join(line + b"\n" for line, _ in requests_of(key.data))
        try:
            key.fileobj.sendall(lines)
            key.fileobj.shutdown(socket.SHUT_WR)
        except OSError:
            if not refused_too:
                raise
    while selector.get_map():
        ready = selector.select(TIMEOUT)
        if not ready:
            sys.exit(f"{len(selector.get_map())} clients were not answered in {TIMEOUT} s")
        for key, _ in ready:
            try:
                data = key.fileobj.recv(65536)
            except OSError:
                data = b""
                if not refused_too:
                    raise
            received[key.data] += data
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()

    served = refused = 0
    for number, data in received.items():
        if data == b"".join(reply + b"\n" for _, reply in requests_of(number)):
            served += 1
        elif refused_too and data in (b"", REFUSED):
            refused += 1
        else:
            sys.exit(f"client {number} was answered {data!r}")
    print(f"{served} served, {refused} refused")
    if served == 0:
        sys.exit("none was served")


main()
