"""Plays a previous process of the service: what it left in the store, as src/core/snapshot.h says it is written."""

import array
import fcntl
import os
import socket
import struct

SO_COOKIE = 57
MAGIC = b"poolsnap"
VERSION = 1
MOST_PER_MESSAGE = 253
ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
REQUEST, REPLY, STATS = range(3)  # kinds of what is owed


def cookie_of(sock):
    return struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]


def record(data):
    return struct.pack("<I", len(data)) + data


def answer(kind, text, failed=False):
    return bytes([kind, failed]) + record(text)


def connection(sock, serial=1, end_of_input=False, skipping=False, partial=b"", undecoded=b"", unsent=b"", owed=(),
               proxied=0, client=b"", client_port=0):
    """The fields of a connection's record, in order. An older release wrote fewer, a newer one writes more."""
    return [struct.pack("<Q", cookie_of(sock)), struct.pack("<Q", serial), bytes([end_of_input]), bytes([skipping]),
            record(partial), record(undecoded), record(unsent), struct.pack("<I", len(owed)) + b"".join(owed),
            bytes([proxied]), record(client), struct.pack("<H", client_port)]


def payload(connections, totals=()):
    records = [record(b"".join(fields)) for fields in connections]
    return (record(b"".join(struct.pack("<Q", total) for total in totals)) +
            struct.pack("<I", len(records)) + b"".join(records))


def checksum(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 % (1 << 64)
    return value


def snapshot(data, version=VERSION):
    return MAGIC + struct.pack("<IQQ", version, len(data), checksum(data)) + data


def memfd(content, seals=ALL_SEALS):
    fd = os.memfd_create("snapshot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    seal(fd, seals)
    return fd


def seal(fd, seals=ALL_SEALS):
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def channel(*bunches):
    """A descriptor to be stored, with the bunches of descriptors waiting inside it. Takes nothing over."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with sender:
        for bunch in bunches:
            for first in range(0, len(bunch), MOST_PER_MESSAGE):
                some = array.array("i", bunch[first:first + MOST_PER_MESSAGE])
                sender.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)])
    return receiver.detach()
