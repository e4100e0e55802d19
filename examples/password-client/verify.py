"""Checks a password without holding up the event loop: pool-server does the work, in a process of its own."""

import asyncio


async def verify(hash, password, path="/run/pool-server/password.sock"):
    """True or False; OSError: not reachable, RuntimeError: no answer, ValueError: cannot be asked."""
    request = f"verify {hash} {password}"
    if " " in hash or "\n" in request or request.endswith("\r"):  # it would be read as another request
        raise ValueError("a hash with a space, or a password with a line end")
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request.encode() + b"\n")
        reply = await reader.readline()
    finally:
        writer.close()
    if reply not in (b"result: match\n", b"result: no-match\n"):
        raise RuntimeError(reply.decode().strip() or "pool-server closed the connection")
    return reply == b"result: match\n"


if __name__ == "__main__":
    import getpass, sys
    print("match" if asyncio.run(verify(sys.argv[1], getpass.getpass())) else "no match")
