"""A terminal for a program, by tmux: what is on its screen, keys, sizes, and how the terminal was left."""

import os
import shutil
import subprocess
import tempfile

from procfs import Process
from timing import wait_until

COMMAND = shutil.which("tmux")


class Terminal:
    """A shell in a terminal of its own tmux server."""

    def __init__(self, width=80, height=24, **environment):
        self._directory = tempfile.TemporaryDirectory(prefix="pool-server-tmux-")
        self._socket = f"{self._directory.name}/socket"
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": self._directory.name, "PS1": "$ ",
                            "HISTFILE": "/dev/null", "TERM": "xterm"}
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
                   "env", *(f"{name}={value}" for name, value in environment.items()), "bash", "--norc", "--noprofile")
        self.wait_for("$")

    def _tmux(self, *arguments):
        done = subprocess.run([COMMAND, "-u", "-S", self._socket, *arguments], env=self.environment, capture_output=True,
                              text=True, timeout=60)
        if done.returncode:
            raise AssertionError(f"tmux {arguments}: {done.stderr}")
        return done.stdout

    def screen(self):
        """The lines on the screen, those that are empty included."""
        return self._tmux("capture-pane", "-p").split("\n")[:-1]

    def text(self):
        return "\n".join(self.screen())

    def wait_for(self, part):
        wait_until(lambda: part in self.text(), lambda: f"the screen says {part!r}; it is\n{self.text()}")

    def wait_without(self, part):
        wait_until(lambda: part not in self.text(), lambda: f"the screen says no more {part!r}; it is\n{self.text()}")

    def keys(self, *names):
        self._tmux("send-keys", *names)

    def type(self, line):
        self._tmux("send-keys", "-l", line)
        self.keys("Enter")

    def resize(self, width, height):
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def get(self, variable):
        """What tmux knows of the terminal, such as alternate_on, cursor_flag or pane_title."""
        return self._tmux("display-message", "-p", "#{" + variable + "}").rstrip("\n")

    def settings(self):
        """The terminal's line settings, as stty has them."""
        return subprocess.run(["stty", "-g", "-F", self.get("pane_tty")], check=True, capture_output=True, text=True).stdout

    def close(self):
        shell = Process(self.get("pane_pid"))
        subprocess.run([COMMAND, "-S", self._socket, "kill-server"], capture_output=True, timeout=60)

        def ended():
            try:
                return shell.state() == "Z"
            except (FileNotFoundError, ProcessLookupError):
                return True
        wait_until(ended, "the shell has ended, which may still write to its home")
        self._directory.cleanup()
