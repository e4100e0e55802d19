"""Makes the picture of README: picture.py BINARY FILE.png [SECONDS]

The page of a real server after so many seconds (900) of mixed work: a tide of short requests, some that fail or run too long,
a flood that is shed, a restart, and at the end a worker that is stuck.
"""

import math
import os
import sys
import threading
import time
import unittest
from pathlib import Path

binary, picture, *rest = sys.argv[1:]
SECONDS = int(rest[0]) if rest else 900
os.environ["POOL_SERVER_BINARY"] = str(Path(binary).resolve(strict=True))

from chromium import Browser  # noqa: E402
from harness import free_port  # noqa: E402
from manager import RestartTestCase  # noqa: E402
from timing import let_pass  # noqa: E402


class Picture(RestartTestCase):
    def work(self, number, lines):
        """A client that asks for what `lines` says at that second, and then does nothing until the next twentieth of one."""
        client = self.meet()

        def run():
            try:
                while True:
                    batch = lines(time.monotonic() - self.begin)
                    client.send(*batch)
                    client.lines(len(batch), timeout=60)
                    time.sleep(0.05 + number / 1000)
            except (OSError, AssertionError):
                pass  # the server has gone for good: the picture is made
        threading.Thread(target=run, daemon=True).start()

    def test_picture(self):
        monitor = f"127.0.0.1:{free_port()}"
        options = [f"--monitor={monitor}", "--workers=2-6", "--overload=reject", "--queue-capacity=256", "--task-timeout=8s"]
        self.start_next(*options)
        self.begin = time.monotonic()
        for number in range(12):
            self.work(number, lambda t, n=number: ["echo x"] * int(12 + 9 * math.sin(t / 70 + n / 3)) + ["spin 1"] * (1 + n % 2))
        self.work(20, lambda t: ["fail"] * int(1 + math.sin(t / 20)) + ["spin 4", "sleep 30"])
        self.work(21, lambda t: ["sleep 9000"] if t % 150 < 5 else ["sleep 200"])
        flood = (SECONDS * 0.62, SECONDS * 0.7)
        self.work(22, lambda t: ["echo y"] * 400 if flood[0] < t < flood[1] else ["echo y"])
        browser = Browser()
        self.addCleanup(browser.close)
        page = browser.open(f"http://{monitor}/", width=1200, height=900)
        let_pass(SECONDS * 0.4)
        self.restart(*options)
        let_pass(SECONDS * 0.6 - 40)
        self.meet().send("hang 600000")
        let_pass(38)
        page.wait("document.querySelector('#workers li.stuck') !== null", "a worker is stuck")
        page.wait("document.querySelector('#workers li.running') !== null", "another one is at work")
        page.screenshot(picture)
        self.server.kill()


unittest.main(argv=sys.argv[:1], verbosity=2)
