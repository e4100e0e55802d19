"""The page of the monitor socket in a real browser, shown whatever a test wants by a stand-in for the server."""

import os
import time
import unittest

from chromium import COMMAND, Browser
from monitor_mock import STEP, Mock, busy_rows, busy_state, policy, row, state

# The least ratio of contrast that each text has to what is behind it, by WCAG's formula.
CONTRAST = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => numbers(color).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if ((numbers(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  let least = [99, ""];
  for (const node of document.querySelectorAll("body *")) {
    const said = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!said || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const pair = [light(node instanceof SVGElement ? style.fill : style.color), light(behind(node))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < least[0]) least = [ratio, node.tagName + " " + node.textContent];
  }
  return least;
})()"""


def chart(title):
    """JavaScript for the figure with that title."""
    return f"[...document.querySelectorAll('figure')].find((f) => f.querySelector('figcaption').textContent.startsWith('{title}'))"


def legend(title):
    """JavaScript for what the legend of a chart says, such as {"ok": "12"}."""
    return (f"Object.fromEntries([...{chart(title)}.querySelectorAll('.legend > div')]"
            ".map((d) => [d.querySelector('dt').textContent, d.querySelector('dd').textContent]))")


class BrowserTestCase(unittest.TestCase):
    """One browser for the tests of a class; each test has a page of its own."""

    @classmethod
    def setUpClass(cls):
        if not COMMAND:
            if os.environ.get("CI") == "true":
                raise AssertionError("chromium is not installed")
            raise unittest.SkipTest("chromium is not installed")
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def open(self, url, **how):
        page = self.browser.open(url, **how)
        self.addCleanup(page.close)
        return page

    def assert_fits(self, page):
        self.assertEqual(page.evaluate("[document.documentElement.scrollWidth, innerWidth]"), [360, 360])


class Page(BrowserTestCase):
    def setUp(self):
        self.mock = Mock()
        self.addCleanup(self.mock.stop)

    def show(self, state_=state, rows=list, **how):
        self.mock.state, self.mock.rows = state_, rows
        page = self.open(self.mock.url, **how)
        page.wait("document.querySelectorAll('#now dd').length > 0", "the page shows a state")
        return page

    def test_loads_without_a_complaint_and_asks_nobody_else(self):
        """Fails if the page breaks its policy, throws, warns, or requests anything from anywhere else."""
        for scheme in ("light", "dark"):
            page = self.show(busy_state, busy_rows, scheme=scheme)
            page.wait(f"{chart('Answered')}.querySelector('.area') !== null", "the charts are drawn")
            self.assertEqual(page.complaints(), [])
            asked = {url.removeprefix(self.mock.url).partition("?")[0] for url in page.requests()}
            self.assertEqual(asked, {"", "state.json", "history.json"})

    def test_a_breach_of_the_policy_is_seen(self):
        """Fails if the other tests could not see a page break its policy, or the policy allowed more than the page needs."""
        whole = self.mock.page
        for breach in ('<p style="color: red">', "<script src='x.js'></script>", "<p id=b onclick='x()'>", "<img src=x.png>",
                       "<link rel=stylesheet href=x.css>"):
            self.mock.page = whole.replace("<main", breach + "<main")
            page = self.show()
            self.assertIn("Content Security Policy", "".join(page.complaints()), breach)
        self.assertNotIn("unsafe", policy(whole))

    def test_workers_are_shown_as_what_they_are(self):
        """Fails if an idle, running, stuck or crashed worker looks like another one, or what it runs is not told."""
        page = self.show(busy_state, busy_rows)
        cells = page.evaluate("[...document.querySelectorAll('#workers li')].map((li) => [li.className, li.innerText])")
        self.assertEqual([look for look, _ in cells], ["running", "running", "running", "idle", "stuck", "crashed"])
        for look, text in cells:
            self.assertIn(look, text)
        self.assertRegex(cells[0][1], r"worker-0\s+running\s+for [\d.]+ (ms|µs)\s+task \d+\s+connection 3$")
        self.assertRegex(cells[4][1], r"worker-4\s+stuck\s+for .* (s|ms|µs)\s+task 12\s+connection 99$")
        self.assertNotIn("task", cells[3][1])
        colours = page.evaluate("[...document.querySelectorAll('#workers li')].map((li) => getComputedStyle(li).borderLeftColor)")
        self.assertEqual(len(set(colours)), 4)
        self.assertIn("1 stuck, 1 crashed", page.evaluate("document.getElementById('now').innerText"))

    def test_updates(self):
        """Fails if the page does not follow the server: state, workers that come and go, clients, log and totals."""
        page = self.show()
        page.wait_for_text("Nobody is connected.")
        page.wait_for_text("serving")
        self.mock.state = busy_state
        page.wait_for_text("127.0.0.1:44441")
        page.wait_for_text("81,234,567")
        page.wait_for_text("a task of connection 99 runs for longer than 30 s (task-timeout, 4 times)")
        self.assertEqual(page.evaluate("document.querySelectorAll('#workers li').length"), 6)
        self.mock.state = lambda: state(ready=False, not_ready_because="the queue is full for 5 s", workers=[])
        page.wait_for_text("not ready: the queue is full for 5 s")
        page.wait_for_text("Nobody is connected.")
        self.assertEqual(page.evaluate("document.querySelectorAll('#workers li').length"), 0)
        self.assertTrue(page.evaluate("document.title").startswith("!"))
        self.mock.state = lambda: state(state="draining", ready=False, not_ready_because="draining: it finishes")
        page.wait("document.getElementById('condition').innerText.endsWith('draining: it finishes')", "it says that it stops")

    def test_a_flood_is_seen_as_a_flood(self):
        """Fails if requests that are shed do not stand out: where they begin, how many they are, and that the queue is full."""
        last = int(time.time()) // STEP * STEP
        quiet = [row(when, ok=200, wait_p99=0.001) for when in range(last - 800, last - 100, STEP)]
        flood = [row(when, ok=4000, shed=20000, wait_p99=0.9, queue_depth=1024) for when in range(last - 100, last + 1, STEP)]
        page = self.show(rows=lambda: quiet + flood)
        page.wait(f"{legend('Failed')}.shed === '10,000'", "the rate of what is shed is told")
        self.assertEqual(page.evaluate(legend("Answered"))["ok"], "2,000")
        self.assertEqual(page.evaluate(legend("Queue")), {"depth": "1,024", "capacity": "1,024"})
        self.assertEqual(page.evaluate(legend("Wait"))["p99"], "900 ms")
        page.wait_for_text("83 % failed")
        # The area of what is shed: the last ninth of the chart, and as high as it gets.
        box, whole = page.evaluate(f"""[{chart('Failed')}.querySelector('svg.chart path.area.shed'),
          {chart('Failed')}.querySelector('svg.chart')].map((node) => (({{x, width, height}}) => [x, width, height])(node.getBoundingClientRect()))""")
        heights = page.evaluate(f"""{chart('Failed')}.querySelector('path.area.shed').getAttribute('d').match(/[\\d.]+ [\\d.]+/g)
          .map((p) => p.split(' ').map(Number))""")
        tops = {where < box[0] - whole[0] - 2 for where, height in heights if height < 20}
        self.assertEqual(tops, {False})  # high only within the flood
        begin = min(where for where, height in heights if height < 20)
        self.assertAlmostEqual((begin - 46) / (whole[1] - 48), 8 / 9, delta=0.02)
        self.assertGreater(box[2], whole[2] * 0.6)
        # Nothing of it in the chart of what has been answered, and no area for what never happened.
        self.assertEqual(page.evaluate("document.querySelectorAll('svg.chart .area.crashed, svg.chart .area.timeout').length"), 0)

    def test_a_server_that_cannot_be_reached(self):
        """Fails if the page hides that it cannot reach the server, does not go on once it can, or forgets what it had seen."""
        begin = int(time.time()) // STEP * STEP
        page = self.show(rows=lambda: [row(when, ok=84) for when in range(begin - 60, begin + 1, STEP)])
        page.wait(f"{legend('Answered')}.ok === '42'", "the history is shown")
        self.assertFalse(page.evaluate("document.getElementById('alarm').checkVisibility()"))
        self.mock.stop()
        page.wait("document.getElementById('alarm').checkVisibility()", "it says that the server is gone")
        page.wait_for_text("The server cannot be reached since")
        page.wait_for_text("(no connection). What is below was true then.")
        self.assertIn("cannot be reached", page.evaluate("document.title"))
        # The next process has another id and an empty history.
        later = begin + 20
        self.mock.state = lambda: state(pid=124, restarts_survived=1, now=later)
        self.mock.rows = lambda: [row(later - STEP, ok=20), row(later, ok=20)]
        self.mock.start()
        page.wait("!document.getElementById('alarm').checkVisibility()", "it goes on")
        page.wait_for_text("1 restart survived")
        page.wait_for_text("process 124")
        page.wait(f"{legend('Answered')}.ok === '10'", "the new history is shown")
        # Two areas: what was, a hole, what is.
        self.assertEqual(page.evaluate(f"{chart('Answered')}.querySelector('path.area').getAttribute('d').match(/M/g).length"), 2)

    def test_answers_that_are_none(self):
        """Fails if an answer that is broken, of another format or a refusal is shown as a state, or ends the page."""
        page = self.show()
        for answer, words in (("{", "JSON"), ('{"format": 2}', "load the page anew"), ("null", "load the page anew")):
            self.mock.state = lambda answer=answer: answer
            page.wait_for_text("cannot be reached")
            page.wait(f"document.getElementById('alarm').textContent.includes({words!r})", f"it says {words}")
        # What is there, but of no use, is a dash.
        self.mock.state = lambda: {"format": 1, "state": 7, "workers": [None, 3, {}], "queue": None, "connections": [], "log": {},
                                   "wait": None, "run": "x", "requests": [1]}
        page.wait("!document.getElementById('alarm').checkVisibility()", "it goes on")
        self.assertIn("of – tasks", page.text())
        self.mock.rows = lambda: '{"format": 1, "step": null, "columns": ["time", "ok"], "rows": [null, [], [1], ["x", "y"], [1e99, 3]]}'
        self.mock.state = busy_state
        page.wait_for_text("81,234,567")
        self.assertEqual(page.complaints(), [])

    def test_what_the_server_says_is_text(self):
        """Fails if a name, an address or a line of the log can bring an element into the page."""
        evil = "<img src=x onerror=document.title=1><b>bold</b>&amp;"
        page = self.show(lambda: busy_state() | {
            "handler": evil, "version": evil, "not_ready_because": evil, "ready": False, "state": evil, "pid": evil,
            "workers": [{"name": evil, "state": evil, "task": 1}],
            "connections": {"open": 1, "greediest": [{"peer": evil, "connection": evil}]},
            "log": [{"time": 1, "level": evil, "event": evil, "text": evil, "count": evil}]})
        page.wait("document.querySelectorAll('#log li').length === 1", "the log is shown")
        self.assertEqual(page.evaluate("document.querySelectorAll('img, b').length"), 0)
        for where in ("#name", "#condition", "#about", "#workers li", "#clients", "#log"):
            self.assertIn(evil, page.evaluate(f"document.querySelector('{where}').textContent"))
        self.assertEqual(page.complaints(), [])

    def test_light_and_dark(self):
        """Fails if the page does not follow the system's scheme, or a text of it cannot be read in one."""
        grounds = []
        for scheme in ("light", "dark"):
            page = self.show(lambda: busy_state() | {"ready": False, "not_ready_because": "draining"}, busy_rows, scheme=scheme)
            self.mock.stop()
            page.wait_for_text("cannot be reached since")
            self.mock.start()
            least, where = page.evaluate(CONTRAST)
            self.assertGreaterEqual(least, 4.5, where)
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(grounds, ["rgb(255, 255, 255)", "rgb(19, 23, 28)"])

    def test_a_phone(self):
        """Fails if the page, with the longest that there can be in it, is wider than a narrow phone."""
        address = "[2001:0db8:1234:5678:9abc:def0:1234:5678]:65535"
        log = [{"time": 1e9, "level": "error", "event": "program-out-of-step-and-more", "text": "x" * 300, "count": 123456789}]
        page = self.show(lambda: busy_state() | {
            "handler": "/usr/lib/pool-server/handlers/" + "long" * 20, "log": log, "ready": False, "not_ready_because": "y" * 200,
            "connections": {"open": 123456, "limit": 1048576, "carried": 123456, "greediest": [
                {"peer": address, "connection": 4294967295, "requests": 10**9, "in_flight": 10**6, "work_seconds": 10**7}] * 10},
            "workers": [{"name": "worker-1000000000", "state": "running", "task": 2**53, "connection": 2**32, "for_seconds": 1e9}] * 9,
        }, busy_rows, width=360, height=740)
        page.wait("document.querySelectorAll('#log li').length === 1", "the log is shown")
        self.assert_fits(page)
        self.mock.stop()
        page.wait_for_text("cannot be reached since")
        self.assert_fits(page)

    def test_without_eyes_or_pointer(self):
        """Fails if a chart has no alternative in words, or its values can be had with a pointer only."""
        page = self.show(busy_state, busy_rows)
        page.wait(f"{chart('Answered')}.querySelector('.area') !== null", "the charts are drawn")
        labels = page.evaluate("[...document.querySelectorAll('svg.chart')].map((s) => s.getAttribute('aria-label'))")
        self.assertEqual(len(labels), 6)
        for label in labels:
            self.assertRegex(label, r"the last 15 minutes\. .* \d.*, at most \d")
        page.evaluate(f"{chart('Answered')}.focus()")
        page.key("ArrowLeft")
        page.wait("/^at ..:..:..$/.test(document.getElementById('moment').textContent)", "it says which moment is looked at")
        first = page.evaluate("document.getElementById('spoken').textContent")
        self.assertRegex(first, r"\d: ok [\d,.]+$")
        for _ in range(10):
            page.key("ArrowLeft")
        self.assertNotEqual(page.evaluate("document.getElementById('spoken').textContent"), first)
        page.key("Escape")
        page.wait("document.getElementById('moment').textContent === ''", "it is about now again")
