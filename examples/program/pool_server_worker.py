"""Makes a worker of pool-server of a function: pool-server --program 'python3 -u worker.py', with this as worker.py:

    from pool_server_worker import serve
    serve(str.upper)

The function is called with the text of each request, one after the other, and returns the text of the reply. What it
raises is the request's error: the client reads "ERROR: " and what a `RequestError` says; of any other exception it reads
"ERROR: internal error", and the traceback goes to standard error, which is the service's log. A result that begins with
"ERROR: " is an error, too; None is an empty result. What the function prints, or a program that it starts, goes to the log.

Text that is no UTF-8 comes and goes as it is, as bytes do that Python keeps as surrogates. For bytes instead of text:
`serve(function, encoding=None)`.
"""

import os
import struct
import sys
import traceback

__all__ = ["RequestError", "serve"]


class RequestError(Exception):
    """What is wrong with the request, in words for the client."""


def _to_bytes(reply, encoding):
    if reply is None:
        return b""
    return reply if encoding is None else str(reply).encode(encoding, "surrogateescape")


def _answer(function, request, encoding):
    """The reply to a request, and whether it is an error."""
    try:
        reply = _to_bytes(function(request if encoding is None else request.decode(encoding, "surrogateescape")), encoding)
        return (reply[7:], True) if reply.startswith(b"ERROR: ") else (reply, False)
    except RequestError as error:
        words = "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else " " for c in str(error)).split()
        return " ".join(words).encode(encoding or "utf-8", "surrogateescape"), True
    except KeyboardInterrupt:
        raise
    except BaseException:  # SystemExit, too: it is one request that has failed
        traceback.print_exc()
        return b"internal error", True


def _serve_lines(answer, requests, replies):
    for line in requests:
        if not line.endswith(b"\n"):
            return  # the server has gone in the middle of it
        reply, is_error = answer(line[:-1])
        if b"\n" in reply:
            print("the reply has more than one line", file=sys.stderr)
            reply, is_error = b"internal error", True
        replies.write((b"ERROR: " if is_error else b"") + reply + b"\n")
        replies.flush()


def _serve_frames(answer, requests, replies):
    while len(header := requests.read(8)) == 8:
        length, number = struct.unpack(">II", header)
        request = requests.read(length)
        if len(request) < length:
            return
        reply, is_error = answer(request)
        replies.write(struct.pack(">IIB", len(reply), number, is_error) + reply)
        replies.flush()


def serve(function, *, encoding="utf-8"):
    """Answers requests until there are no more, in the protocol that the server speaks."""
    # The streams are ours alone: what the function prints, or a program that it runs, is no reply, and reads no request.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    serve_all = _serve_frames if os.environ.get("POOL_SERVER_PROTOCOL") == "frames" else _serve_lines
    serve_all(lambda request: _answer(function, request, encoding), requests, replies)
