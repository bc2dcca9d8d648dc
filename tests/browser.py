"""A page of a report, measured in a real browser; and a browser that is told what to do, over its own protocol."""

from __future__ import annotations

import base64
import html
import itertools
import json
import os
import queue
import re
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from waiting import PATIENCE, wait_until

# What does not belong: boxes beyond the page, text beyond its figure, texts over each other, figures not drawn.
PROBE = """<script>setTimeout(() => {
  const width = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let p = element.parentElement; p; p = p.parentElement)
      if (["auto", "hidden"].includes(getComputedStyle(p).overflowX)) return true;
    return false;
  };
  const said = (element) => element.textContent.slice(0, 40);
  const beyond = [...document.querySelectorAll("body *")].filter((e) => !e.closest("svg")
    && e.getBoundingClientRect().right > width + 1 && !scrolls(e)).map((e) => `${e.tagName}: ${said(e)}`);
  const cut = [], over = [];
  for (const plot of document.querySelectorAll(".plot")) {
    const frame = plot.querySelector(".main-svg")?.getBoundingClientRect();
    const texts = [...plot.querySelectorAll("text")].filter((t) => frame && said(t).trim() && !t.closest(".hoverlayer")
      && getComputedStyle(t).visibility !== "hidden" && t.getBoundingClientRect().width);
    const boxes = texts.map((t) => t.getBoundingClientRect());
    boxes.forEach((b, i) => {
      if (b.left < frame.left - 2 || b.right > frame.right + 2 || b.top < frame.top - 2 || b.bottom > frame.bottom + 2)
        cut.push(said(texts[i]));
      boxes.slice(i + 1).forEach((c, j) => {
        const across = Math.min(b.right, c.right) - Math.max(b.left, c.left);
        const down = Math.min(b.bottom, c.bottom) - Math.max(b.top, c.top);
        if (across > 3 && down > 4) over.push(`${said(texts[i])} / ${said(texts[i + 1 + j])}`);
      });
    });
  }
  const plots = [...document.querySelectorAll(".plot")];
  const blank = plots.filter((p) => !p.querySelector(".main-svg")).length;
  parent.postMessage(JSON.stringify({ plots: plots.length, beyond, cut, over, blank }), "*");
}, 8000)</script>"""


def program() -> str:
    """The path of a Chromium. Skips without one."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    return chromium


def measure(page: Path, folder: Path, width: int, dark: bool = False) -> dict[str, Any]:
    """How many `plots` a page has, and what is wrong: `beyond` the page, `cut` and `over` each other, `blank`, and the
    `console`'s lines. In a frame, since a window cannot be as narrow as a telephone. Skips without a Chromium."""
    chromium = program()
    (folder / "inner.html").write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    frame = f"<iframe src=inner.html style='width:{width}px;height:3000px;border:0'></iframe><pre id=found></pre>"
    listen = "addEventListener('message', (e) => { document.getElementById('found').textContent = e.data; })"
    (folder / "outer.html").write_text(f"<!doctype html><body style='margin:0'>{frame}<script>{listen}</script>")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--disable-sync", "--no-first-run", "--enable-logging=stderr", f"--user-data-dir={folder / 'user'}"]
    command += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    command += [f"--window-size={width + 200},3000", "--virtual-time-budget=20000", "--dump-dom"]
    address = (folder / "outer.html").as_uri()
    drawn = subprocess.run([*command, address], capture_output=True, text=True, timeout=600, check=True)
    found = re.search(r'(?s)<pre id="found">(.+?)</pre>', drawn.stdout)
    assert found is not None, drawn.stderr[-2000:]
    console = [line for line in drawn.stderr.splitlines() if "CONSOLE" in line]
    measured: dict[str, Any] = json.loads(html.unescape(found[1]))
    return measured | {"console": console}


_OPTIONS = (
    *("--headless", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "--hide-scrollbars"),
)


class Tab:
    """A page in a browser of its own, without a window: it is opened, clicked, asked and photographed.

    It speaks the DevTools protocol through two pipes. `folder` gets the browser's files. A question of the page (such
    as `confirm`) is answered with yes, and kept in `asked`; what the page complains of is in `console`."""

    def __init__(self, folder: Path, width: int = 1400, height: int = 1000, dark: bool = False) -> None:
        # The browser reads from descriptor 3 and writes to 4.
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["bash", "-c", script, program(), *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            command, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.asked: list[str] = []
        self.console: list[str] = []
        self._ids = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._session = ""
        self._loaded = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of the protocol."""
        number = next(self._ids)
        self._answers[number] = queue.SimpleQueue()
        self._send(number, method, parameters)
        answer = self._answers[number].get(timeout=PATIENCE)
        del self._answers[number]
        assert "error" not in answer, (method, answer)
        found: dict[str, Any] = answer.get("result", {})
        return found

    def open(self, address: str) -> None:
        """Go to an address, and wait until the page and its scripts are loaded."""
        self._loaded.clear()
        self.call("Page.navigate", url=address)
        assert self._loaded.wait(PATIENCE), address

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        """What the page shows as text."""
        return str(self.run("document.body.innerText"))

    def wait(self, condition: str) -> None:
        """Until an expression is true in the page. Between two pages there is nothing that it could be true of."""
        tried = f"(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()"
        try:
            wait_until(lambda: self.run(tried), every=0.05)
        except AssertionError as error:
            raise AssertionError(f"{condition}\n{self.text()}") from error

    def wait_text(self, text: str) -> None:
        """Until the page shows a text."""
        self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def click(self, selector: str, text: str = "") -> None:
        """Click what a selector finds, of several the first that has this text, with the pointer."""
        every = f"[...document.querySelectorAll({json.dumps(selector)})]"
        found = f"{every}.find((e) => e.textContent.includes({json.dumps(text)}))"
        self.wait(found)
        middle = "((b) => [b.x + b.width / 2, b.y + b.height / 2])(e.getBoundingClientRect())"
        place = self.run(
            f"((e) => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}}); return {middle}; }})({found})"
        )
        self.press(*place)

    def press(self, x: float, y: float, to: tuple[float, float] | None = None) -> None:
        """Press the button of the pointer at a place, and let it go there or at another one."""
        end = to or (x, y)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", clickCount=1)
        if to is not None:
            for part in range(1, 9):
                at = {"x": x + (end[0] - x) * part / 8, "y": y + (end[1] - y) * part / 8}
                self.call("Input.dispatchMouseEvent", type="mouseMoved", button="left", buttons=1, **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Type a text into a field, in place of what it holds."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select(); }})()")
        self.call("Input.insertText", text=text)

    def beyond(self) -> list[str]:
        """What is wider than the page, and not in a box that scrolls."""
        return list(self.run(_BEYOND))

    def photograph(self, file: Path) -> Path:
        """Write an image of the whole page."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))
        return file

    def _send(self, number: int, method: str, parameters: dict[str, Any]) -> None:
        message = {"id": number, "method": method, "params": parameters}
        content = json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        while content:
            content = content[os.write(self._out, content) :]

    def _read(self) -> None:
        left = b""
        while piece := os.read(self._in, 1 << 20):
            *whole, left = (left + piece).split(b"\0")
            for message in whole:
                self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if (waiting := self._answers.get(message.get("id", 0))) is not None:
            waiting.put(message)
        event, told = message.get("method"), message.get("params", {})
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Page.javascriptDialogOpening":
            self.asked.append(told["message"])
            self._send(next(self._ids), "Page.handleJavaScriptDialog", {"accept": True})
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif event == "Runtime.exceptionThrown":
            self.console.append(json.dumps(told["exceptionDetails"])[:500])


_BEYOND = """(() => {
  const width = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let p = element.parentElement; p; p = p.parentElement)
      if (["auto", "hidden"].includes(getComputedStyle(p).overflowX)) return true;
    return false;
  };
  return [...document.querySelectorAll("body *")].filter((e) => !e.closest("svg")
    && e.getBoundingClientRect().right > width + 1 && !scrolls(e))
    .map((e) => `${e.tagName}: ${e.textContent.slice(0, 40)}`);
})()"""
