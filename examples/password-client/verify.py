"""Checks a password without holding up the event loop: pool-server does the work, in a process of its own."""

import asyncio


async def verify(hash, password, path="/run/pool-server/password.sock"):
    """Whether that is the password. False, too, for all that can be none, so whoever types it cannot raise an exception.

    ValueError: `hash` is no hash, or a too costly one. OSError: pool-server cannot be reached, or has no time.
    """
    typed = password.encode(errors="surrogatepass")
    if not 0 < len(typed) < 512 or b"\0" in typed or b"\n" in typed or typed.endswith(b"\r"):
        return False  # the server would not have hashed it
    if hash.split() != [hash]:
        raise ValueError("a hash is one word")
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"verify %s %s\n" % (hash.encode(), typed))
        reply = (await reader.readline()).decode()
    finally:
        writer.close()
    if reply in ("result: match\n", "result: no-match\n"):
        return reply == "result: match\n"
    if reply == "ERROR: hash too costly\n" and len(typed) > 72:
        return False  # too costly with a password of that length
    if reply in ("ERROR: hash too costly\n", "ERROR: invalid input\n"):
        raise ValueError(reply.strip())
    raise ConnectionError(reply.strip() or "pool-server closed the connection")


if __name__ == "__main__":
    import getpass, sys
    print("match" if asyncio.run(verify(sys.argv[1], getpass.getpass())) else "no match")
