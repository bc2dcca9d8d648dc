"""A page of a report, measured in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

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


def measure(page: Path, folder: Path, width: int, dark: bool = False) -> dict[str, Any]:
    """How many `plots` a page has, and what is wrong: `beyond` the page, `cut` and `over` each other, `blank`, and the
    `console`'s lines. In a frame, since a window cannot be as narrow as a telephone. Skips without a Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
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
