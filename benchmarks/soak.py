"""Does anything grow while a study runs for an hour with all its pages open?

    python benchmarks/soak.py FOLDER [--minutes 60] [--seconds 3] [--every 30]

A study of short trials (they sleep; 10 reports each, two workers, MLflow on) runs in FOLDER/runs, beside it `hpo ui`,
`hpo dashboard` and `hpo mlflow`. Every five seconds pages of all three are read. Printed are, of each of these
processes with its children, memory and open descriptors after a sixth of the time and at the end, and the largest in
between; and what became of the trials. Workers are left out of the driver's children: a trial is not its memory."""

from __future__ import annotations

import argparse
import http.cookiejar
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

OBJECTIVE = """
import time

def train(trial):
    for step in range(1, 11):
        time.sleep(trial.constants["seconds"] / 10)
        trial.report(step, loss=(trial.params["x"] - 0.3) ** 2 + trial.params["y"] / step)
    if trial.params["kind"] not in "abc":
        raise ValueError("no such kind")
    return {"loss": (trial.params["x"] - 0.3) ** 2}
"""
STUDY = """
name: soak
objective: objective.py:train
metrics: [{{name: loss, direction: minimize}}]
group_by: kind
search_space: {{kind: {{choices: [a, b, c]}}, x: {{low: 0.0, high: 1.0}}, y: {{low: 0.0, high: 1.0}}}}
constants: {{seconds: {seconds}}}
pruner: none
budget: {{hours: {hours}}}
engine: {{workers: 2}}
"""
PAGES = {
    "ui": ("/", "/study/soak", "/study/soak/part/state", "/study/soak/part/curves", "/study/soak/part/rows?page=2"),
    "dashboard": ("/api/studies", "/api/studies/0"),
    "mlflow": ("/", "/health"),
}
MIB = 2**20


def started(arguments: list[str], runs: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a server of hpo and return it with the link that it prints."""
    command = [sys.executable, "-m", "hpo", *arguments, "--port", "0", "--runs", str(runs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if link := next((word for word in line.split() if word.startswith("http://")), ""):
            threading.Thread(target=process.stdout.read, daemon=True).start()  # a full pipe would stop it
            return process, link
    raise SystemExit(f"hpo {' '.join(arguments)} ended without a link")


class Reader:
    """Reader of a server's pages, with the cookie that its link gives."""

    def __init__(self, link: str) -> None:
        self._address = link.split("/?")[0].rstrip("/")
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
        self.read = self.failed = 0
        for _ in range(120):  # MLflow's link is printed before it answers
            try:
                self._get(link)
                return
            except OSError:
                time.sleep(1)
        raise SystemExit(f"{link} does not answer")

    def _get(self, address: str) -> None:
        with self._opener.open(address, timeout=120) as answer:
            answer.read()

    def pages(self, pages: tuple[str, ...]) -> None:
        """Read the pages."""
        for page in pages:
            try:
                self._get(self._address + page)
                self.read += 1
            except OSError as error:
                self.failed += 1
                print(f"{page}: {error}", file=sys.stderr, flush=True)


def family(process: psutil.Process, leave_out: str) -> Iterator[psutil.Process]:
    """Yield a process and its descendants, without those whose command line has some words."""
    yield process
    for child in process.children(recursive=True):
        try:
            if not leave_out or leave_out not in " ".join(child.cmdline()):
                yield child
        except psutil.Error:
            continue


def seen(pid: int, leave_out: str = "") -> tuple[float, int]:
    """Return the MiB and the number of open descriptors of a process and its descendants."""
    memory, descriptors = 0.0, 0
    for process in family(psutil.Process(pid), leave_out):
        try:
            memory += process.memory_full_info().uss / MIB
            descriptors += process.num_fds()
        except psutil.Error:
            continue
    return memory, descriptors


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seconds", type=float, default=3, help="of a trial")
    parser.add_argument("--every", type=float, default=30, help="seconds between two looks at the processes")
    options = parser.parse_args()
    folder, runs = options.folder, options.folder / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objective.py").write_text(OBJECTIVE)
    (folder / "study.yaml").write_text(STUDY.format(seconds=options.seconds, hours=options.minutes / 60))
    command = [sys.executable, "-m", "hpo", "run", str(folder / "study.yaml"), "--runs", str(runs)]
    with open(folder / "run.log", "w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    while not (runs / "mlflow.db").exists() or not list(runs.glob("soak/trials/*/history.jsonl")):
        if driver.poll() is not None:
            raise SystemExit((folder / "run.log").read_text())
        time.sleep(1)
    servers = {
        "ui": started(["ui"], runs),
        "dashboard": started(["dashboard", "soak"], runs),
        "mlflow": started(["mlflow", "soak"], runs),
    }
    readers = {name: Reader(link) for name, (_, link) in servers.items()}
    rows: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ("driver", *servers)}
    began, looked = time.monotonic(), -options.every
    while driver.poll() is None:
        now = time.monotonic() - began
        if now - looked >= options.every and now < 60 * options.minutes:  # not while the report is written at the end
            looked = now
            for name in rows:
                pid = driver.pid if name == "driver" else servers[name][0].pid
                try:
                    rows[name].append((now, *seen(pid, "hpo.worker" if name == "driver" else "")))
                except psutil.NoSuchProcess:
                    break
            with open(folder / "rows.jsonl", "a") as file:
                file.write(json.dumps({name: found[-1] for name, found in rows.items() if found}) + "\n")
        for name, reader in readers.items():
            reader.pages(PAGES[name])
        time.sleep(5)
    for process, _ in servers.values():
        process.terminate()  # a program in the background may ignore SIGINT
    codes = {name: process.wait(120) for name, (process, _) in servers.items()}
    answer = subprocess.run(
        [sys.executable, "-m", "hpo", "status", "soak", "--runs", str(runs), "--json"], capture_output=True, text=True
    )
    status: dict[str, Any] = json.loads(answer.stdout)
    counts = {key: status[key] for key in ("finished", "complete", "pruned", "failed", "requeued", "waiting")}
    print(f"hpo run ended with {driver.returncode}, the servers with {codes}; trials: {counts}")
    print(
        "| | MiB after a sixth | at the end | largest since | descriptors after a sixth | at the end | largest since |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, found in rows.items():
        late = [row for row in found if row[0] >= found[-1][0] / 6]
        memory, descriptors = [row[1] for row in late], [row[2] for row in late]
        cells = [f"{value:.0f}" for value in (memory[0], memory[-1], max(memory))]
        cells += [str(value) for value in (descriptors[0], descriptors[-1], max(descriptors))]
        print(f"| {name} | {' | '.join(cells)} |")
    print({name: f"{reader.read} pages read, {reader.failed} failed" for name, reader in readers.items()})


if __name__ == "__main__":
    os.environ.setdefault("NO_PROXY", "*")
    main()
