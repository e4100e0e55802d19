"""A client of the monitor: one request, one answer."""

import json
import socket

from timing import PATIENCE


class Answer:
    def __init__(self, data):
        head, separator, self.body = data.partition(b"\r\n\r\n")
        if not separator:
            raise AssertionError(f"no HTTP answer: {data[:200]!r}")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


def connect(address, timeout=PATIENCE):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def request(path, method="GET", **headers):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_all(sock):
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data


def ask(address, path, method="GET", **headers):
    with connect(address) as sock:
        sock.sendall(request(path, method, **headers))
        return Answer(read_all(sock))
