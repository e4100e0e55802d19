"""A stand-in for the monitor socket, for what no real server does on demand: shows the page whatever a test wants.

As a program: monitor_mock.py PORT serves a made-up, busy server, to work on the page with.
"""

import base64
import hashlib
import http.server
import json
import math
import re
import socket
import socketserver
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PAGE = Path(__file__).parents[2] / "src" / "monitor" / "page.html"
COLUMNS = ["time", "ok", "error", "timeout", "shed", "crashed", "wait_p50", "wait_p99", "wait_max", "run_p50", "run_p99",
           "run_max", "queue_depth", "queue_capacity", "workers", "running", "stuck", "connections"]
STEP = 2


def policy(page):
    """What the server allows the page: its own style and script, told by their hashes, and requests to where it is from."""
    def hashes(tag):
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        if len(found) != 1:
            raise AssertionError(f"the page has {len(found)} elements <{tag}>, not one")
        return base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
    return (f"default-src 'none'; style-src 'sha256-{hashes('style')}'; script-src 'sha256-{hashes('script')}'; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


def state(**changes):
    """A server that has just started and has nothing to do."""
    now = time.time()
    return {
        "format": 1, "version": "0.1.0", "handler": "digest", "pid": 123, "now": now, "started": now - 60,
        "serving_since": now - 60, "restarts_survived": 0, "state": "serving", "ready": True, "not_ready_because": "",
        "queue": {"depth": 0, "capacity": 1024},
        "workers": [{"name": f"worker-{i}", "state": "idle"} for i in range(4)], "workers_min": 4, "workers_max": 4,
        "connections": {"open": 0, "limit": 4096, "carried": 0, "greediest": []},
        "requests": {"ok": 0, "error": 0, "timeout": 0, "busy": 0, "queue_timeout": 0, "queue_target": 0, "crashed": 0},
        "wait": {"p50": None, "p99": None, "max": None}, "run": {"p50": None, "p99": None, "max": None}, "log": [],
    } | changes


def row(when, **changes):
    """A row of the history, all quiet but for the changes."""
    values = dict.fromkeys(COLUMNS, 0) | dict.fromkeys((c for c in COLUMNS if c[:4] in ("wait", "run_")), None)
    values |= {"time": when, "queue_capacity": 1024, "workers": 4} | changes
    return [values[column] for column in COLUMNS]


class UnixServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = socket.AF_UNIX
    daemon_threads = True

    def server_bind(self):
        Path(self.server_address).unlink(missing_ok=True)
        socketserver.TCPServer.server_bind(self)

    def get_request(self):
        connection, _ = super().get_request()
        return connection, ("unix", 0)


class Mock:
    """Serves on 127.0.0.1, or on a unix socket. `state` and `rows` make what is answered, from nothing; a str is sent as it is.

    Can be stopped and started again at the same place, as a server is by a restart.
    """

    def __init__(self, port=0, path=None):
        self.page = PAGE.read_text()
        self.state = state
        self.rows = list
        self.ready = (200, "ready\n")
        self.health = (200, "ok\n")
        self.asked = []  # the paths
        self._server = None
        self.port = port
        self.path = path
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    @property
    def address(self):
        return self.path or f"127.0.0.1:{self.port}"

    def answer(self, path, query):
        """Status, type and text."""
        if path == "/":
            return 200, "text/html; charset=utf-8", self.page
        if path == "/state.json":
            return 200, "application/json", self._text(self.state())
        if path == "/history.json":
            since = float(query.get("since", ["0"])[0])
            rows = self.rows()
            if isinstance(rows, str):
                return 200, "application/json", rows
            rows = [each for each in rows if each[0] >= since]
            return 200, "application/json", self._text({"format": 1, "step": STEP, "columns": COLUMNS, "rows": rows})
        if path == "/healthz":
            return self.health[0], "text/plain", self.health[1]
        if path == "/readyz":
            return self.ready[0], "text/plain", self.ready[1]
        return 404, "text/plain", "there is nothing here\n"

    @staticmethod
    def _text(what):
        return what if isinstance(what, str) else json.dumps(what)

    def start(self):
        mock = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                mock.asked.append(self.path)
                parts = urlsplit(self.path)
                status, kind, text = mock.answer(parts.path, parse_qs(parts.query))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Cache-Control", "no-store")
                self.send_header("Connection", "close")
                if parts.path == "/":
                    self.send_header("Content-Security-Policy", policy(mock.page))
                data = text.encode(errors="surrogatepass")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        if self.path:
            self._server = UnixServer(self.path, Handler)
        else:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
            self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def busy_state():
    now = time.time()
    workers = [{"name": f"worker-{i}", "state": "running", "task": int(now * 100) + i, "connection": 3 + i,
                "for_seconds": (now * 7 + i) % 0.4} for i in range(3)]
    workers += [{"name": "worker-3", "state": "idle"},
                {"name": "worker-4", "state": "stuck", "task": 12, "connection": 99, "for_seconds": now % 1000},
                {"name": "worker-5", "state": "crashed"}]
    clients = [{"connection": 3 + i, "peer": f"127.0.0.1:{44440 + i}" if i % 2 else f"[2001:db8:12:34::{i}]:51312",
                "requests": 91234 // (i + 1), "in_flight": 40 // (i + 1), "work_seconds": 512.5 / (i + 1)} for i in range(10)]
    log = [{"time": now - 60 * i, "level": "error" if i % 3 == 0 else "warning", "event": "task-timeout",
            "text": "a task of connection 99 runs for longer than 30 s", "count": 1 + i % 4} for i in range(12, 0, -1)]
    return state(started=now - 7300, serving_since=now - 9e5, restarts_survived=2, queue={"depth": 312, "capacity": 1024},
                 workers=workers, workers_min=1, workers_max=6, log=log,
                 connections={"open": 312, "limit": 4096, "carried": 12, "greediest": clients},
                 requests={"ok": 81234567, "error": 1234, "timeout": 12, "busy": 9123, "queue_timeout": 0, "queue_target": 4,
                           "crashed": 1},
                 wait={"p50": 0.00034, "p99": 0.012, "max": 0.21}, run={"p50": 0.0008, "p99": 0.0031, "max": 1.5})


def busy_rows():
    last = int(time.time()) // STEP * STEP
    found = []
    for when in range(last - 900, last + 1, STEP):
        if 380 < when - last + 900 < 420:
            continue
        wave = 1 + math.sin(when / 60)
        flood = when - last > -200
        found.append(row(when, ok=int(4000 * wave + (when * 7919) % 700), error=(when * 31) % 9, shed=3000 if flood else 0,
                         timeout=int(when % 50 == 0), wait_p50=0.0003 * (1 + wave), wait_p99=0.003 * (1 + wave) * (9 if flood else 1),
                         wait_max=0.02 * (1 + wave) * (9 if flood else 1), run_p50=0.0008, run_p99=0.0031 + 0.001 * wave,
                         run_max=0.02 + (when % 9) / 30, queue_depth=1000 if flood else int(150 * wave), workers=6,
                         running=int(2 + wave), stuck=int(flood), connections=300))
    return found


if __name__ == "__main__":
    mock = Mock(int(sys.argv[1]))
    mock.state, mock.rows = busy_state, busy_rows
    print(mock.url, flush=True)
    threading.Event().wait()
