"""The password handler: its hashes are those of mkpasswd and of login, and nothing of a password stays behind."""

import ctypes
import os
import random
import re
import string
import subprocess
import unittest

from harness import BINARY, USAGE_ERROR, ServerTestCase, sanitizer
from timing import wait_until

try:
    import argon2  # Debian's python3-argon2
except ImportError:
    argon2 = None

# What login calls.
LIBCRYPT = ctypes.CDLL("libcrypt.so.1")
LIBCRYPT.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
LIBCRYPT.crypt.restype = ctypes.c_char_p

INVALID = "ERROR: invalid input"
MATCH, NO_MATCH = "result: match", "result: no-match"
# So many passwords go both ways; at the lowest cost, for the time it takes.
MANY = int(os.environ.get("POOL_SERVER_PASSWORDS", "1000"))
COST = os.environ.get("POOL_SERVER_PASSWORD_COST", "1")
HAS_ARGON2 = "libargon2" in subprocess.run(["ldd", BINARY], capture_output=True, text=True).stdout
CHEAP_ARGON2 = "cost=m=64,t=1,p=1"


def mkpasswd(password, *options):
    return subprocess.run(["mkpasswd", "--stdin", *options], input=password, capture_output=True,
                          check=True).stdout.strip().decode()


def some_password(rng):
    """Any bytes that one line may hold, of any length; the last byte is none that a line end would take."""
    length = rng.choice((1, 2, 8, 12, 20, 64, 200, 511)) if rng.random() < 0.3 else rng.randint(1, 30)
    if rng.random() < 0.5:
        return "".join(rng.choices(string.printable[:95], k=length)).encode()
    allowed = [byte for byte in range(1, 256) if byte not in b"\r\n"]
    return bytes(rng.choices(allowed, k=length))


class PasswordTestCase(ServerTestCase):
    def start_password(self, *options, **settings):
        return self.start(*[f"--handler-option={option}" for option in options], handler="password", **settings)

    def hash(self, client, password):
        reply = client.ask(b"hash " + password)
        self.assertRegex(reply, r"^result: \$\S+$")
        return reply.removeprefix("result: ")


class Agreement(PasswordTestCase):
    def test_with_mkpasswd_and_login(self):
        """Fails when a fresh hash is not one to login, or a hash of mkpasswd is not one here."""
        rng = random.Random(7)
        passwords = [some_password(rng) for _ in range(MANY if not sanitizer() else 50)]
        client = self.connect(self.start_password(f"cost={COST}"))
        client.send(*[b"hash " + password for password in passwords])
        fresh = [reply.removeprefix("result: ") for reply in client.lines(len(passwords))]
        self.assertEqual(len(set(fresh)), len(fresh))  # no salt twice
        for password, found in zip(passwords, fresh):
            self.assertEqual(found.encode(), LIBCRYPT.crypt(password, found.encode()))
        theirs = [mkpasswd(password, "--method=yescrypt", f"--rounds={COST}") for password in passwords]
        client.send(*[b"verify %s %s" % (found.encode(), password) for found, password in zip(theirs, passwords)])
        self.assertEqual(client.lines(len(passwords)), [MATCH] * len(passwords))
        wrong = [password[:-1] + (b"a" if password[-1:] != b"a" else b"b") for password in passwords]
        client.send(*[b"verify %s %s" % (found.encode(), password) for found, password in zip(theirs, wrong)])
        self.assertEqual(client.lines(len(passwords)), [NO_MATCH] * len(passwords))

    def test_every_method(self):
        """Fails when a method cannot be chosen, is not the one that was, or does not agree with mkpasswd's."""
        for method, prefix, cost in (("yescrypt", "$y$j9T$", None), ("gost-yescrypt", "$gy$j75$", 1),
                                     ("scrypt", "$7$BU", 6), ("bcrypt", "$2b$06$", 6),
                                     ("sha512crypt", "$6$rounds=2000$", 2000), ("sha256crypt", "$5$", None)):
            with self.subTest(method=method):
                options = [f"method={method}"] + ([f"cost={cost}"] if cost else [])
                client = self.connect(self.start_password(*options))
                found = self.hash(client, b"a secret")
                self.assertTrue(found.startswith(prefix), found)
                self.assertEqual(client.ask(f"verify {found} a secret"), MATCH)
                self.assertEqual(client.ask(f"verify {found} a Secret"), NO_MATCH)
                theirs = mkpasswd(b"a secret", f"--method={method}")
                self.assertEqual(client.ask(f"verify {theirs} a secret"), MATCH)

    def test_argon2(self):
        """Fails when argon2id is not the default, not as RFC 9106 recommends it, or not the reference's."""
        if not HAS_ARGON2:
            self.skipTest("built without argon2")
        client = self.connect(self.start_password())
        found = self.hash(client, b"a secret")
        self.assertRegex(found, r"^\$argon2id\$v=19\$m=65536,t=3,p=4\$[\w+/]{22}\$[\w+/]{43}$")
        self.assertEqual(client.ask(f"verify {found} a secret"), MATCH)
        self.assertEqual(client.ask(f"verify {found} a Secret"), NO_MATCH)
        # From the tests of the reference implementation; two of them of other kinds, which old databases have.
        for known in ("$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
                      "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
                      "$argon2d$v=19$m=256,t=2,p=1$c29tZXNhbHQ$JcTui6RIBUtJ78gE5Hi52CO+H5vS6Z9R1uxAB6OhUB8"):
            self.assertEqual(client.ask(f"verify {known} password"), MATCH, known)
            self.assertEqual(client.ask(f"verify {known} Password"), NO_MATCH, known)
            self.assertEqual(client.ask(f"verify {known[:-1]}Z password"), INVALID, known)  # bits left over

    def test_with_python_argon2(self):
        """Fails when argon2-cffi, which web applications use, and the server disagree on a hash."""
        if not HAS_ARGON2 or argon2 is None:
            self.skipTest("no argon2 in the server or in Python (package python3-argon2)")
        rng = random.Random(9)
        client = self.connect(self.start_password("method=argon2id", CHEAP_ARGON2))
        theirs = argon2.PasswordHasher(time_cost=2, memory_cost=100, parallelism=3)
        for password in [some_password(rng) for _ in range(100)]:
            ours = self.hash(client, password)
            self.assertTrue(theirs.verify(ours, password))
            self.assertEqual(client.ask(b"verify %s %s" % (theirs.hash(password).encode(), password)), MATCH)
            self.assertEqual(client.ask(b"verify %s %sx" % (theirs.hash(password[:500]).encode(), password[:500])),
                             NO_MATCH)

    def test_a_count_alone_is_yescrypt(self):
        """Fails when a configuration from before argon2id, with a cost of yescrypt, cannot be used any more."""
        self.assertTrue(self.hash(self.connect(self.start_password("cost=1")), b"x").startswith("$y$j75$"))

    def test_old_hashes(self):
        """Fails when hashes that many databases still have cannot be verified."""
        client = self.connect(self.start_password())
        for found in ("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "$2y$05$aaaaaaaaaaaaaaaaaaaaaO3Q0XMjl1CZSFUsn5yCDTJNBmOIhcMuO"):
            self.assertIn(client.ask(f"verify {found} password"), (MATCH, NO_MATCH))
        self.assertEqual(client.ask("verify $1$saltsalt$qjXMvbEw8oaL.CzflDtaK/ password"), MATCH)


class Malformed(PasswordTestCase):
    def test_requests(self):
        """Fails when a request that makes no sense gets anything but an error, or ends the service."""
        client = self.connect(self.start_password("cost=1"))
        good = self.hash(client, b"x")
        for request in ("x", "hash", "hash ", "Hash x", "hashx", "verify", "verify ", "verify  ", f"verify {good}",
                        f"verify {good} ", f"verify  {good} x", "verify x y", "verify $ y", "verify $y$ y",
                        "verify $y$j9T$ y", f"verify {good[:-1]} x", f"verify {good}. x", f"verify {good[:-44]} x",
                        "verify $9$abc y", "verify *0 x", "verify ! x", "verify $y$k9T$abcdefgh$abc y",
                        "verify $2b$99$aaaaaaaaaaaaaaaaaaaaaO x", "verify $7$..... x", b"hash a\0b", b"hash \0",
                        f"verify {good} x\0", b"hash " + b"x" * 512, f"verify {good} {512 * 'x'}",
                        "verify $6$rounds=abc$salt$x y", f"verify {400 * '$'} x"):
            self.assertEqual(client.ask(request), INVALID, request)
        self.assertEqual(client.ask(f"verify {good} x"), MATCH)

    def test_what_would_be_cut_is_refused(self):
        """Fails when bcrypt, which reads 72 bytes, takes a password of which the rest would not matter."""
        client = self.connect(self.start_password("method=bcrypt", "cost=4"))
        self.hash(client, 72 * b"x")
        self.assertEqual(client.ask(b"hash " + 73 * b"x"), INVALID)

    def test_options(self):
        """Fails when a method or cost that cannot be is not refused at the start."""
        for option in ("method=md5crypt", "method=", "method=descrypt", "cost=12", "cost=-1", "cost=", "cost=x",
                       "cost=m=7,t=1,p=1", "cost=m=64,t=0,p=1", "cost=t=1,m=64,p=1"):
            with self.subTest(option=option):
                server = self.launch(f"--handler-option={option}", handler="password")
                self.assertEqual(server.wait_exit(), USAGE_ERROR)
                self.assertIn(option.split("=")[0], server.log())
                server.kill()


SALT = "LdJMENpBABJJ3hIHjB1Bi."
# Settings of each method at some cost, with what completes a hash, and the costs to look through for the limit.
COSTS = {
    "yescrypt": ("$y$j{}T$" + SALT, 43, [*"789ABCDEFGHIJ"]),
    "gost-yescrypt": ("$gy$j{}T$" + SALT, 43, [*"789ABCDEFGHIJ"]),
    "scrypt": ("$7${}U..../....abcdefgh", 43, [*"9ABCDEFGHIJ"]),
    "bcrypt": ("$2b${}$" + SALT, 31, [f"{cost:02}" for cost in range(8, 32)]),
    "sha512crypt": ("$6$rounds={}$0123456789abcdef", 86, [*range(100_000, 5_000_001, 20_000)]),
    "sha256crypt": ("$5$rounds={}$0123456789abcdef", 43, [*range(100_000, 5_000_001, 20_000)]),
    "argon2id": ("$argon2id$v=19$m=131072,t={},p=4$c29tZXNhbHQ", 43, [*range(1, 20)]),
    "argon2i of little memory": ("$argon2i$v=19$m=8,t={},p=1$c29tZXNhbHQ", 43, [*range(10_000, 500_000, 1000)]),
}
# Prints what the worst took, for more lengths of the password.
SHOW = "POOL_SERVER_SHOW_COSTS" in os.environ
TOO_COSTLY = "ERROR: hash too costly"
# Twice what the server reckons at the most: machines differ. In seconds.
WORST = 2


def cpu_seconds(pid):
    """What a process has used of the processors: unlike the time that passes, nothing that others do adds to it."""
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@unittest.skipIf(sanitizer(), "a sanitizer's time is no cost of a password")
class Costs(PasswordTestCase):
    """What a client may have the server do, with a HASH of its own, or with a long password."""

    def verify(self, client, method, cost, size):
        setting, length, _ = COSTS[method]
        # The last digit has bits that no hash uses.
        return client.ask(f"verify {setting.format(cost)}{'' if method == 'bcrypt' else '$'}{(length - 1) * 'A'}A "
                          + size * "x")

    def worst(self, client, method, size):
        """The highest cost that is accepted, its answer, and the next one. From above: to refuse takes no time."""
        costs = COSTS[method][2]
        for refused, accepted in zip(costs[::-1], costs[-2::-1]):
            self.assertEqual(self.verify(client, method, refused, size), TOO_COSTLY)
            answer = self.verify(client, method, accepted, size)
            if answer != TOO_COSTLY:
                return accepted, answer, refused
        self.fail("everything is too costly")

    def test_the_worst_that_is_accepted(self):
        """Fails when some HASH and password take over two seconds of a core, or what is too costly is computed."""
        server = self.start("--workers=1", handler="password")
        client = self.connect(server)
        for method in COSTS:
            if method.startswith("argon2") and not HAS_ARGON2:
                continue
            for size in (1, 72, 511) if SHOW else (72, 511) if method.startswith("sha") else (511,):
                with self.subTest(method=method, size=size):
                    before = cpu_seconds(server.pid)
                    accepted, answer, _ = self.worst(client, method, size)
                    self.assertIn(answer, (MATCH, NO_MATCH))
                    took = [cpu_seconds(server.pid) - before]
                    while min(took) >= WORST and len(took) < 4:
                        before = cpu_seconds(server.pid)
                        self.verify(client, method, accepted, size)
                        took.append(cpu_seconds(server.pid) - before)
                    if SHOW:
                        print(f"{method:26} {size:4} bytes  cost {accepted!s:>8}  {min(took) * 1000:7.0f} ms")
                    # A core that others share does less in its seconds.
                    self.assert_quick(min(took), 1.5 * WORST)

    def test_the_length_of_the_password_counts(self):
        """Fails when a long password makes a hash of many rounds cost seconds; a sane one must still be taken."""
        client = self.connect(self.start_password())
        for prefix, length in (("$5$", 43), ("$6$", 86)):
            hash = f"{prefix}rounds=1000000$saltsalt${length * 'A'}"
            self.assertEqual(client.ask(f"verify {hash} {511 * 'x'}"), TOO_COSTLY)
            self.assertEqual(client.ask(f"verify {hash} {72 * 'x'}"), NO_MATCH)
            self.assertEqual(client.ask(f"verify {prefix}saltsalt${length * 'A'} {511 * 'x'}"), NO_MATCH)

    def test_up_to_72_bytes_only_the_hash_decides(self):
        """Fails when whoever types a password of ordinary length can bring about that a hash is too costly."""
        client = self.connect(self.start_password())
        for method, size in (("sha256crypt", 72), ("sha512crypt", 72)):
            accepted, _, refused = self.worst(client, method, size)
            for other in (1, 30, 71):
                self.assertEqual(self.verify(client, method, refused, other), TOO_COSTLY)
                self.assertEqual(self.verify(client, method, accepted, other), NO_MATCH)

    def test_absurd_costs(self):
        """Fails when a client can make a worker spend any amount of memory or time on a hash of its own."""
        client = self.connect(self.start_password())
        hashes = [f"$y$jFT${SALT}$x", f"$gy$jET${SALT}$x", "$7$GU..../....abc$x", f"$2b$31${SALT}$x",
                  "$6$rounds=999999999$abc$x", "$5$rounds=99999999$abc$x"]
        if HAS_ARGON2:
            hashes += [f"$argon2{kind}$v=19${cost}$c29tZXNhbHQ$AAAAAA" for kind in ("id", "i", "d") for cost in (
                "m=131073,t=1,p=1", "m=4294967295,t=4294967295,p=16777215", "m=8,t=4294967295,p=1", "m=2097152,t=1,p=4")]
        for costly in hashes:
            self.assertEqual(client.ask(f"verify {costly} x"), TOO_COSTLY, costly)

    def test_costs_that_were_asked_for_are_allowed(self):
        """Fails when the server cannot verify what it hashed itself, or hashes what it would not verify."""
        client = self.connect(self.start_password("method=sha256crypt", "cost=2000000"))
        for password in (b"x", 72 * b"x"):
            found = self.hash(client, password)
            self.assertEqual(client.ask(b"verify %s %s" % (found.encode(), password)), MATCH)
        self.assertEqual(client.ask(b"hash " + 511 * b"x"), TOO_COSTLY)
        self.assertEqual(client.ask(b"verify %s %s" % (found.encode(), 511 * b"x")), TOO_COSTLY)
        if HAS_ARGON2:
            client = self.connect(self.start_password("cost=m=135000,t=1,p=1"))
            self.assertEqual(client.ask(f"verify {self.hash(client, b'x')} x"), MATCH)


class Secrets(PasswordTestCase):
    MARK = b"Xq7#secret"

    def in_memory(self, server, what=re.compile(re.escape(MARK))):
        """Where the mark, or what else is looked for, is in the server's memory."""
        found = []
        with open(f"/proc/{server.pid}/maps") as maps, open(f"/proc/{server.pid}/mem", "rb", 0) as memory:
            for line in maps:
                begin, end, mode = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
                if mode[:2] != "rw":
                    continue
                begin, end = int(begin, 16), int(end, 16)
                for start in range(begin, end, 1 << 24):
                    try:
                        memory.seek(start)
                        data = memory.read(min(end - start, 1 << 24))
                    except (OSError, OverflowError, ValueError):
                        continue
                    found += [f"{line.strip()}: {data[max(at.start() - 24, 0):at.end() + 8]!r}"
                              for at in what.finditer(data)]
        return found

    def secrets(self, server):
        """Passwords on every way that a request can take."""
        client = self.connect(server)
        good = self.hash(client, self.MARK)
        self.assertEqual(client.ask(b"verify %s %s" % (good.encode(), self.MARK)), MATCH)
        client.send(*[b"hash %s %d" % (self.MARK, i) for i in range(40)])  # more than may be in flight
        self.assertEqual(len(client.lines(40)), 40)
        for length in (1, 30, 100, 400, 511, 3000, 70000):  # in pieces, some refused
            for piece in (b"hash ", self.MARK, length * b"y", b" " + self.MARK, b"\n"):
                client.send_bytes(piece)
                server.stats()
            client.line()
        self.assertEqual(client.ask(b"Hash " + self.MARK), INVALID)
        self.assertEqual(client.ask(b"hash " + self.MARK + b"\0"), INVALID)
        for ending in ("reset", "close"):  # before the answer, and in the middle of a line
            leaver = self.connect(server)
            leaver.send(*[b"hash " + self.MARK] * 10)
            leaver.send_bytes(b"hash " + self.MARK)
            server.stats()
            getattr(leaver, ending)()
        client.send_bytes(b"hash " + self.MARK)
        client.finish()
        client.line()
        server.wait_for_stats(lambda s: s["connections"] <= 2 and s["active_workers"] == 0, "all is done")

    def test_nothing_stays_in_memory(self):
        """Fails when a password can be found in the server's memory after its reply."""
        if sanitizer():
            self.skipTest("a sanitizer's shadow memory is too large to look through")
        for cost in ("cost=1", CHEAP_ARGON2) if HAS_ARGON2 else ("cost=1",):
            with self.subTest(cost):
                server = self.start(f"--handler-option={cost}", "--max-inflight-per-connection=4", "--queue-capacity=8",
                                    handler="password")
                client = self.connect(server)
                client.send_bytes(b"hash " + self.MARK)  # a line that has not ended must be there
                wait_until(lambda: self.in_memory(server), "an unfinished line is found")
                client.send_bytes(b"\n")
                client.line()
                self.secrets(server)
                client.close()
                server.wait_for_stats(lambda s: s["connections"] == 1, "all is done")
                self.assertEqual(self.in_memory(server), [])

    def test_no_piece_stays_in_memory(self):
        """Fails when a piece of a request, such as a vector register holds, can be found after its reply."""
        if sanitizer():
            self.skipTest("a sanitizer's shadow memory is too large to look through")
        for handler, form, options in (("digest", b"%s", ()), ("drill", b"echo %s", ()),
                                       ("password", b"hash %s", ("--handler-option=cost=1",))):
            with self.subTest(handler=handler):
                server = self.start(*options, handler=handler)
                client = self.connect(server)
                for size in (8, 16, 31, 32, 64, 200, 500) * 4:
                    client.ask(form % (100 * b"Xq7#y9")[:size])
                client.close()
                server.wait_for_stats(lambda s: s["connections"] == 1, "all is done")
                self.assertEqual(self.in_memory(server, re.compile(b"Xq7#y9Xq")), [])

    def test_nothing_is_logged(self):
        """Fails when a password is logged, at any level."""
        server = self.start_password("cost=1", listen=("127.0.0.1:0",))
        debug = self.start("--handler-option=cost=1", "--log-level=debug", handler="password")
        for each in (server, debug):
            self.secrets(each)
            self.assertEqual(each.stop(), 0)
            self.assertNotIn(self.MARK.decode(), each.log())
            self.assertNotIn("$y$", each.log())
        self.assertTrue(debug.log_lines("computed task"))


class Peers(PasswordTestCase):
    def test_unix_peers_are_told_by_their_credentials(self):
        """Fails when the log does not say which user and process is at the other end of a unix socket."""
        path = f"{self.temporary_directory()}/socket"
        server = self.start("--log-connections=yes", "--handler-option=cost=1", handler="password", listen=(path,))
        client = self.connect(path)
        self.hash(client, b"x")
        server.wait_for_log(rf"connection 1 from unix uid={os.getuid()} gid={os.getgid()} pid={os.getpid()}")
