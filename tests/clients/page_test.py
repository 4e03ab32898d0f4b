"""The chat page in a browser nobody here wrote: chromium without a window, over its DevTools protocol.

SHOTS=FOLDER keeps pictures of the page: wide and as a phone has it, light and dark.
"""
import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import websocket

from serving_clients import KEY, ClientTest

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
SHOTS = os.environ.get("SHOTS")
SIZES = {"wide": (1100, 760), "phone": (390, 780)}


class Page:
    """One page in a browser of its own, without a profile."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="pare-chromium-", ignore_cleanup_errors=True)
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--remote-debugging-port=0", "--remote-allow-origins=*", "--hide-scrollbars",
                 "--user-data-dir=" + self.folder.name, "about:blank"]
        self.process = subprocess.Popen([CHROMIUM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        port = None
        for line in self.process.stderr:
            if found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
                port = int(found[1])
                break
        threading.Thread(target=lambda: self.process.stderr.read(), daemon=True).start()
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/json/list")
        targets = json.loads(connection.getresponse().read())
        connection.close()
        target = next(each for each in targets if each["type"] == "page")
        self.socket = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=60)
        self.count, self.requests, self.complaints = 0, [], []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")

    def close(self):
        self.socket.close()
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()
        self.process.stderr.close()
        self.folder.cleanup()

    def call(self, method, **params):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.count:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            self.note(message)

    def note(self, event):
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, expression, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if value := self.value(expression):
                    return value
            except AssertionError:
                pass  # the page is not there yet, and what is asked for neither
            time.sleep(0.03)
        raise AssertionError("never true: " + expression + "\n" + self.value("document.body.innerText"))

    def type(self, text):
        self.value("document.getElementById('text').focus()")
        self.call("Input.insertText", text=text)

    def key(self, name, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, text="\r" if kind == "keyDown" else "")

    def click(self, selector):
        x, y = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('{selector}').getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def shoot(self, name):
        if not SHOTS:
            return
        pathlib.Path(SHOTS).mkdir(parents=True, exist_ok=True)
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=size == "phone")
                self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                picture = self.call("Page.captureScreenshot", format="png")["data"]
                (pathlib.Path(SHOTS) / f"{name}-{size}-{scheme}.png").write_bytes(base64.b64decode(picture))


ANSWER = "[...document.querySelectorAll('.assistant')].pop().textContent"


@unittest.skipUnless(CHROMIUM, "chromium is not installed")
class ChatPage(ClientTest):
    SERVER_KEY = None

    def setUp(self):
        self.page = Page()
        self.addCleanup(self.page.close)
        self.page.call("Page.navigate", url=self.url + "/")
        self.page.wait("document.querySelectorAll('#start dt').length > 1")

    def check_quiet(self, but=()):
        foreign = [url for url in self.page.requests if not url.startswith(self.url) and not url.startswith(("data:", "about:"))]
        self.assertEqual(foreign, [])
        self.assertEqual([text for text in self.page.complaints if not any(word in text for word in but)], [])

    def test_a_message_is_answered_bit_by_bit_and_can_be_stopped(self):
        page = self.page
        page.shoot("start")
        self.assertIn(self.server.ready["model"], page.value("document.querySelector('#start h1').textContent"))
        page.type("Write a long story about a lighthouse and its keeper.")
        page.key("Enter", 13)
        page.wait("document.getElementById('send').textContent === 'Stop'")
        first = page.wait(ANSWER + ".length")
        page.wait(f"{ANSWER}.length > {first} + 20")
        self.assertEqual(page.value("document.getElementById('send').textContent"), "Stop", "streamed, not all at once")
        page.shoot("streaming")
        page.click("#send")
        page.wait("document.getElementById('send').textContent === 'Send'", seconds=5)
        length = page.value(ANSWER + ".length")
        time.sleep(0.5)
        self.assertEqual(page.value(ANSWER + ".length"), length)
        self.assertEqual(self.server.metric("sequences_running"), 0)
        self.assertIn("stopped", page.value("[...document.querySelectorAll('.note')].pop().textContent"))
        page.type("What is the capital of France?")
        page.click("#send")
        page.wait("document.querySelectorAll('.assistant').length === 2 && document.getElementById('send').textContent === 'Send'")
        self.assertIn("tokens/s", page.value("[...document.querySelectorAll('.note')].pop().textContent"))
        page.shoot("answered")
        page.click("#fresh")
        self.assertEqual(page.value("document.querySelectorAll('.turn').length"), 0)
        self.assertFalse(page.value("document.getElementById('start').hidden"))
        self.check_quiet()

    def test_code_is_set_apart_and_markup_stays_text(self):
        page = self.page
        text = "Call `f(1)`:\n\n```python\ndef f(x):\n    return x < 2 and '<b>bold</b>' or " + "x * " * 40 + "1\n```\nand <script>alert(1)</script> stays."
        page.value("(turn => write(turn, %s))(show('user asked', 'How?') && show('assistant', ''))" % json.dumps(text))
        self.assertEqual(page.value("document.querySelector('.assistant pre').textContent").split("\n")[0], "def f(x):")
        self.assertEqual(page.value("document.querySelector('.assistant code').textContent"), "f(1)")
        self.assertEqual(page.value("document.querySelectorAll('.assistant b, .assistant script').length"), 0)
        self.assertIn("<script>alert(1)</script> stays.", page.value(ANSWER))
        page.value("document.getElementById('start').hidden = true; write(show('assistant', ''), 'Still ```open:\\n```\\nlet x')")
        page.shoot("code")
        page.value("write(show('assistant', ''), Array(80).fill('A line of a long answer, and a few words more so that it wraps on a phone.').join('\\n'));"
                   "turns.scrollTop = turns.scrollHeight; note('80 lines')")
        page.shoot("long")
        for width in (390, 320, 1100):
            page.call("Emulation.setDeviceMetricsOverride", width=width, height=780, deviceScaleFactor=1, mobile=width < 500)
            self.assertLessEqual(page.value("document.documentElement.scrollWidth"), width)
        self.check_quiet()

    def test_what_goes_wrong_is_said_and_the_message_is_kept(self):
        page = self.page
        page.value("document.getElementById('max_tokens').value = 1000000")
        page.type("Hello")
        page.click("#send")
        page.wait("document.querySelectorAll('.fault').length === 1")
        self.assertIn("max_tokens", page.value("document.querySelector('.fault').textContent"))
        self.assertEqual(page.value("document.getElementById('text').value"), "Hello")
        page.value("document.getElementById('max_tokens').value = ''; document.getElementById('fresh').click(); "
                   "document.getElementById('text').value = ''")
        page.type("Write a long story about the sea.")
        page.click("#send")
        page.wait(ANSWER + ".length > 20")
        self.server.process.kill()
        page.wait("document.querySelectorAll('.fault').length === 1")
        self.assertEqual(page.value("document.querySelector('.fault').textContent"), "The server broke off.")
        page.type("Are you there?")
        page.click("#send")
        page.wait("document.querySelectorAll('.fault').length === 2")
        self.assertEqual(page.value("[...document.querySelectorAll('.fault')].pop().textContent"), "The server does not answer.")
        self.assertEqual(page.value("document.getElementById('text').value"), "Are you there?")
        page.shoot("fault")
        self.check_quiet(but=("400", "ERR_"))  # chromium's own lines on failed requests
        self.server.stop()
        type(self).setUpClass.__func__(type(self))  # another one for the tests that follow


class ChatPageWithKey(ClientTest):
    @unittest.skipUnless(CHROMIUM, "chromium is not installed")
    def test_the_key_is_asked_for_and_used(self):
        page = Page()
        self.addCleanup(page.close)
        page.call("Page.navigate", url=self.url + "/")
        page.wait("document.getElementById('facts').textContent.includes('key')")
        page.value(f"document.getElementById('key').value = '{KEY}'; document.getElementById('key').dispatchEvent(new Event('change'))")
        page.wait("document.querySelectorAll('#start dt').length > 1")


if __name__ == "__main__":
    unittest.main()
