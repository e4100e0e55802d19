"""What the README shows is done here as it stands there: its commands are run, its functions called."""

import ast
import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import unittest
from pathlib import Path

from harness import BINARY, ServerTestCase, free_port, sanitizer
from timing import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / "examples/password-client/verify.py").read_text()
MANUAL = (ROOT / "man/pool-server-handler.3").read_text()
BUILD = Path(BINARY).parents[1]


def block(language, mark):
    """The one fenced block of that language that has the mark."""
    found = [text for text in re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S) if mark in text]
    if len(found) != 1:
        raise AssertionError(f"README has {len(found)} blocks of {language} with {mark!r}")
    return found[0]


def transcript(mark):
    """Commands, each with the lines that it prints, of the one indented block that has a command with the mark."""
    blocks = re.findall(r"(?:^    .*\n)+", README, re.M)
    found = [text for text in blocks if any(mark in line for line in text.splitlines() if line.startswith("    $ "))]
    if len(found) != 1:
        raise AssertionError(f"README has {len(found)} blocks with the command {mark!r}")
    commands = []
    for line in found[0].splitlines():
        line = line.removeprefix("    ")
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    return commands


def pattern(line):
    """What a line that a command printed may look like another time."""
    text = re.escape(line)
    if line.startswith("stats: "):
        text = re.sub(r"\d+", r"\\d+", text)
    if re.match(r" *\d+ ", line):  # of ps
        text = re.sub(r"^(\\ )*\d+", r" *\\d+", text)
    text = re.sub(r"(?<=\\\$)(?:[\w/]|\\[+.]){20,}", r"[\\w/+.]+", text)  # salts and tags
    return text.replace(re.escape(" ..."), r" .*").replace(r"\ ", " +")


class Transcripts(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.directory = Path(self.temporary_directory())
        for name in ("examples", "include"):
            (self.directory / name).symlink_to(ROOT / name)
        programs = self.directory / "bin"
        programs.mkdir()
        (programs / "pool-server").symlink_to(BINARY)
        self.environment = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}",
                                PKG_CONFIG_PATH=str(BUILD / "meson-uninstalled"))
        self.ports = {}
        for tool in ("nc", "c++", "pkg-config"):
            if shutil.which(tool) is None:
                self.skipTest(f"no {tool}")

    def localized(self, command):
        """With a free port for each of the README's."""
        def free(match):
            return str(self.ports.setdefault(match[0], free_port()))
        return re.sub(r"\b(9090|7000)\b", free, command)

    def stop_group(self, process):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def in_background(self, command, port):
        process = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.directory, env=self.environment,
                                   start_new_session=True, stderr=subprocess.DEVNULL)
        self.addCleanup(self.stop_group, process)

        def listens():
            self.assertIsNone(process.poll(), f"{command} ended")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        wait_until(listens, f"{command} listens")
        return process

    def follow(self, commands, replaced=()):
        """Types the commands, and compares what they print."""
        self.assertTrue(commands)
        last = None
        for command, printed in commands:
            command = self.localized(command)
            for old, new in replaced:
                command = command.replace(old, new)
            if command.endswith(" &"):
                if last is not None:
                    self.stop_group(last)
                last = self.in_background(command[:-2], int(command.split()[-2]))
                continue
            result = subprocess.run(["bash", "-c", command], cwd=self.directory, env=self.environment,
                                    capture_output=True, text=True, timeout=10 * PATIENCE)
            self.assertEqual((result.returncode, result.stderr), (0, ""), command)
            lines = result.stdout.splitlines()
            self.assertEqual(len(lines), len(printed), (command, lines))
            for line, wanted in zip(lines, printed):
                self.assertRegex(line, f"^{pattern(wanted)}$", command)

    @unittest.skipIf(sanitizer() == "thread", "its runtime has a thread of its own, which ps shows")
    def test_the_first_steps(self):
        """Fails when the first thing that a newcomer types does not print what it is said to."""
        self.ports["9090"] = free_port()
        server = self.in_background(f"pool-server {self.ports['9090']}", self.ports["9090"])
        self.follow(transcript("| sha256sum"), [("$(pidof pool-server)", str(server.pid))])

    def test_a_handler_of_ones_own(self):
        """Fails when the README's handler does not compile as it says, without an installed package, or does not work."""
        (self.directory / "repeat.cc").write_text(block("cpp", "POOL_SERVER_HANDLER(Repeat)"))
        self.follow(transcript("-o repeat.so"))

    def test_an_example(self):
        """Fails when an example does not compile, or does not do what the README shows."""
        self.follow(transcript("-o factor.so"))

    def test_a_password(self):
        """Fails when the command that hashes a password does not print such a hash."""
        if "libargon2" not in subprocess.run(["ldd", BINARY], capture_output=True, text=True).stdout:
            self.skipTest("built without argon2")
        path = f"{self.temporary_directory()}/socket"
        self.start(handler="password", listen=(path,))
        self.follow(transcript("hash correct horse"), [("/run/pool-server/password.sock", path)])


class Latency(ServerTestCase):
    def test_the_program_that_measures(self):
        """Fails when the program that the table of latencies comes from does not run, whatever is installed."""
        path = f"{self.temporary_directory()}/socket"
        self.start("--workers=2", handler="password", listen=(path,))
        result = subprocess.run([sys.executable, str(ROOT / "examples/password-client/latency.py"), "--socket", path,
                                 "--rate=4", "--seconds=0.5", "--rounds=1"], capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for kind in ("yescrypt", "bcrypt", "argon2id"):
            self.assertRegex(result.stdout, rf"(?m)^{kind}, by pool-server( +\d+\.\d+)+$")


class SameTexts(unittest.TestCase):
    def test_the_handler_of_the_manual_page(self):
        """Fails when the handler in the manual page is not the one that is tested."""
        self.assertIn(block("cpp", "POOL_SERVER_HANDLER(Repeat)"), MANUAL)

    def test_the_client_of_the_example(self):
        """Fails when verify() in examples/ is not the one that README shows and that is tested."""
        shown = ast.parse(block("python", "def verify"))
        self.assertEqual(ast.dump(shown), ast.dump(ast.Module(ast.parse(EXAMPLE).body[1:-1], [])))


class Verify(ServerTestCase):
    """verify() of the README, by the real server."""

    @classmethod
    def setUpClass(cls):
        names = {}
        exec(block("python", "def verify"), names)
        cls.function = staticmethod(names["verify"])

    def setUp(self):
        super().setUp()
        self.path = f"{self.temporary_directory()}/socket"
        self.server = self.start("--handler-option=cost=1", handler="password", listen=(self.path,))
        self.client = self.connect(self.path)

    def hash(self, password):
        return self.client.ask(b"hash " + password).removeprefix("result: ")

    def verify(self, hash, password):
        return asyncio.run(asyncio.wait_for(self.function(hash, password, self.path), PATIENCE))

    def test_right_and_wrong_passwords(self):
        """Fails when verify() takes a wrong password, or refuses a right one that a line can hold."""
        for password in ("x", "correct horse", " ", "  two  spaces ", "Pässwörd", "密码", "\t", "\r\t", 511 * "x", "STATS"):
            found = self.hash(password.encode())
            self.assertIs(self.verify(found, password), True, password)
            self.assertIs(self.verify(found, password + "x"), False, password)

    def test_whatever_a_stranger_types(self):
        """Fails when a login form gives an internal error for what somebody types into it."""
        found = self.hash(b"x")
        for typed in ("", "\0", "x\0", "\0x", "x\n", "x\r", "x\r\n", "\n", "\r", "x\nverify", f"x\nverify {found} x", "x y",
                      512 * "x", 70_000 * "x", 3_000_000 * "x", "\ud800", "x\udcff", 300 * "ä", 4 * "\U0010ffff", "\x1b[2J",
                      "x\u2028", "x\x85", "*0", "$y$", "STATS", found):
            self.assertIs(self.verify(found, typed), False, repr(typed[:20]))
        self.assertIs(self.verify(found, "x"), True)

    def test_a_long_password_for_many_rounds(self):
        """Fails when a stranger's long password makes a hash too costly, and that an internal error."""
        for hash in (f"$5$rounds=1000000$saltsalt${43 * 'A'}", f"$6$rounds=1000000$saltsalt${86 * 'A'}"):
            for length in (1, 72, 511):
                self.assertIs(self.verify(hash, length * "x"), False)

    def test_what_is_no_hash(self):
        """Fails when a hash that the program should not have is taken for a wrong password, or for another request."""
        good = self.hash(b"x")
        for hash in ("", " ", "x", "*0", "!", good[:-1], good + " x", f"{good} x\nverify {good}", "\n" + good, good + "\n",
                     f"{good}\u2028", "ä", "\ud800", good + "\0", "$2b$31$LdJMENpBABJJ3hIHjB1Bi." + 31 * "A",
                     f"$6$rounds=999999999$saltsalt${86 * 'A'}"):
            for typed in ("x", 72 * "x"):
                with self.assertRaises(ValueError, msg=repr(hash)):
                    self.verify(hash, typed)

    def test_a_server_that_cannot_be_asked(self):
        """Fails when no answer is taken for a wrong password, or is another exception than OSError."""
        found = self.hash(b"x")
        self.server.stop()
        with self.assertRaises(OSError):
            self.verify(found, "x")
        self.start("--handler-option=cost=1", "--max-connections=1", handler="password", listen=(self.path,))
        first = self.connect(self.path)
        self.assertTrue(first.ask("hash x").startswith("result: "))
        with self.assertRaises(OSError):
            self.verify(found, "x")
