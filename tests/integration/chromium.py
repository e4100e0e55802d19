"""A headless Chromium, driven over its pipe: no port, no driver, nothing beside the browser itself."""

import base64
import collections
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from timing import PATIENCE, wait_until

COMMAND = shutil.which("chromium")
# No sandbox: it is not to be had as root. Nothing that Chromium does on its own accord: no updates, no metrics.
OPTIONS = ["--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
           "--force-color-profile=srgb", "--no-default-browser-check", "--disable-sync"]


class Browser:
    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="pool-server-chromium-", ignore_cleanup_errors=True)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # The browser reads from 3 and writes to 4; the shell moves them there.
        command = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        self._log = open(f"{self._directory.name}/log", "wb")
        self.child = subprocess.Popen(
            ["bash", "-c", command, "bash", COMMAND, *OPTIONS, f"--user-data-dir={self._directory.name}/profile", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, pass_fds=(to_browser, from_browser),
            env=os.environ | {"HOME": self._directory.name, "XDG_CONFIG_HOME": self._directory.name}, start_new_session=True)
        os.close(to_browser)
        os.close(from_browser)
        self._number = 0
        self._received = b""
        self.events = collections.deque()

    def call(self, method, session=None, **parameters):
        """Sends a command of the DevTools protocol and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self._message(deadline)
            if "id" not in found:
                self.events.append(found)
            elif found["id"] == self._number:
                if "error" in found:
                    raise AssertionError(f"{method}: {found['error']}")
                return found["result"]

    def _message(self, deadline):
        while b"\0" not in self._received:
            if not select.select([self._in], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"Chromium says nothing:\n{self.log()}")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise AssertionError(f"Chromium has ended:\n{self.log()}")
            self._received += data
        text, _, self._received = self._received.partition(b"\0")
        return json.loads(text)

    def log(self):
        return Path(self._log.name).read_text(errors="replace")[-3000:]

    def open(self, url, width=1200, height=1000, scheme="light"):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        page.resize(width, height)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Page.navigate", url=url)
        page.wait("document.readyState === 'complete'", f"{url} is loaded")
        return page

    def close(self):
        if self.child.poll() is None:
            os.killpg(self.child.pid, 9)
        self.child.wait()
        os.close(self._in)
        os.close(self._out)
        self._log.close()
        self._directory.cleanup()


class Page:
    def __init__(self, browser, target, session):
        self.browser, self._target, self._session = browser, target, session
        self._messages = []

    def call(self, method, **parameters):
        return self.browser.call(method, self._session, **parameters)

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)

    def evaluate(self, expression):
        """The value of a JavaScript expression; the test fails if it throws."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, expression, what):
        return wait_until(lambda: self.evaluate(expression), lambda: f"{what}\nthe page says:\n{self.text()[:2000]}")

    def text(self):
        """What one reads."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def wait_for_text(self, part):
        wait_until(lambda: part in self.text(), f"the page says {part!r}")

    def _take_events(self):
        """What came for this page, which the deque of all is left without."""
        self.evaluate("0")  # what happened before is told before the answer
        mine = [event for event in self.browser.events if event.get("sessionId") == self._session]
        self.browser.events = collections.deque(e for e in self.browser.events if e.get("sessionId") != self._session)
        self._messages += mine
        return self._messages

    def complaints(self):
        """What the console has of errors, violations of the policy and exceptions."""
        found = []
        for event in self._take_events():
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
                found.append(parameters["entry"]["text"] + " " + parameters["entry"].get("url", ""))
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(json.dumps(parameters["args"]))
        return found

    def requests(self):
        """The addresses of all requests that the page made or tried to make."""
        return [event["params"]["request"]["url"] for event in self._take_events()
                if event["method"] == "Network.requestWillBeSent"]

    def key(self, name):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                      windowsVirtualKeyCode={"ArrowLeft": 37, "Escape": 27}[name])

    def screenshot(self, path, whole=True):
        size = self.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1} if whole else None
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **({"clip": clip} if clip else {}))["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self._target)
