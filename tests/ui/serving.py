"""`hpo ui` as a process of its own, and a browser without pictures that has opened its link."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

import psutil

REPOSITORY = Path(__file__).parents[2]


class Served:
    """`hpo ui` on a runs folder, at any free port."""

    def __init__(self, runs: Path, *options: str) -> None:
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
        command = [sys.executable, "-P", "-m", "hpo", "ui", "--port", "0", "--runs", str(runs), *options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.link = self.process.stdout.readline().strip()
        assert self.link.startswith("http://"), self.process.communicate()[1]
        self.root = self.link.partition("/?")[0]
        self.port = int(self.root.rpartition(":")[2])
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        self.get("/" + self.link.partition("/?")[2].join(["?", ""]))

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            code, said = self.end()
            if kind is None:
                assert (code, said) == (0, "")

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """End it, and return its exit code and what it complained of."""
        self.process.send_signal(how)
        _, complaint = self.process.communicate(timeout=300)
        return self.process.returncode, complaint

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str, dict[str, str]]:
        """The status, the text and the headers of an answer."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            self.root + path, method=method, headers=given, data=body.encode() if method == "POST" else None
        )
        try:
            with self._browser.open(request, timeout=300) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)

    def get(self, path: str) -> str:
        """The text of a page, which must be there."""
        status, text, _ = self.ask(path)
        assert status in (200, 204), (path, status, text)
        return text

    def press(self, path: str, body: str = "") -> str:
        """What a button's request is answered, sent as a page sends it."""
        status, text, _ = self.ask(
            path, "POST", body, HX_Request="true", Origin=self.root, Sec_Fetch_Site="same-origin"
        )
        assert status == 200, (path, status, text)
        return text

    def stranger(self) -> Served:
        """The same pages, for a browser that has not opened the link."""
        other = copy.copy(self)
        other._browser = urllib.request.build_opener()
        return other

    @property
    def memory(self) -> float:
        """Megabytes of memory that the process holds."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    @property
    def cpu_seconds(self) -> float:
        """Seconds of processor that it has used: what does not depend on what else a machine does."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)
