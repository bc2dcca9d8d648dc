"""A runs folder of four small studies, made once and copied for each round of damage, and hpo's commands on the copy.

The copy always lies where the folder was made: files in it name it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from books import processes_of, start
from waiting import leftover, wait_until

from hostile import known
from hostile.damage import Damage, Place, damage, jobs_line
from hpo import layout

# Root may read and write the files of others, unless it gives up these rights.
_WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown"]
# Trials that each study has, that it has earlier, and to which a round resumes it.
WHOLE, CUT, SEVERAL, DATABASE = "whole", "cut", "several", "database"
STUDIES = {WHOLE: (7, 4, 9), CUT: (6, 2, 7), SEVERAL: (6, 3, 8), DATABASE: (6, 3, 7)}


@dataclass(frozen=True)
class Said:
    """A command, what it printed and its exit code; None: it hung."""

    command: Sequence[str]
    code: int | str | None
    out: str
    err: str

    @property
    def line(self) -> str:
        return " ".join(self.command)


@dataclass(frozen=True)
class Round:
    """A round: what was damaged, and everything that was said. records: by study, what readers then got."""

    damages: Sequence[Damage]
    said: Sequence[Said]
    records: Mapping[str, Mapping[str, Any] | None]
    runs: Path
    began: float
    left: int


class DamagedRuns:
    """The studies, and two servers of commands: with the rights of root, if the tests have them, and without."""

    def __init__(self, store: Path) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="hpo-damage-"))
        self._here, self._template = self.base / "here", self.base / "template"
        self._earlier, self._replies = self.base / "earlier", self.base / "replies"
        self.runs = self._here / "runs"
        self._servers = {False: _server()}
        if os.getuid() == 0 and shutil.which("setpriv"):
            self._servers[True] = _server(*_WITHOUT_RIGHTS)
        self._make(store)

    def close(self) -> None:
        for server in self._servers.values():
            server.kill()
            server.communicate()
        shutil.rmtree(self.base, ignore_errors=True)

    def books(self) -> dict[str, Mapping[str, Any] | None]:
        """What readers get of the studies that nobody has damaged."""
        self._copy()
        return self._play([])[1]

    def round(self, seed: int, most: int = 3) -> Round:
        """Damage one to three files, or `most`, and let hpo fix and resume the studies."""
        chance = random.Random(seed)
        self._copy()
        foreign = chance.random() < 0.15 and True in self._servers
        place = Place(self.runs, self._earlier, chance)
        damages = [damage(place, foreign) for _ in range(min(most, chance.choice([1, 1, 1, 2, 3])))]
        mlflow = chance.random() < 0.05 or any("mlflow" in str(one.path) for one in damages)
        local = chance.random() < 0.15
        began = (self.base / "replies").stat().st_mtime
        said, records = self._play(list(_commands(chance, local, mlflow)), foreign)
        alive = leftover(processes_of(self.runs))
        for process in alive:
            process.kill()
        psutil.wait_procs(alive)
        return Round(damages, said, records, self.runs, began, len(alive))

    def _play(
        self, commands: Sequence[Sequence[str]], without_rights: bool = False
    ) -> tuple[list[Said], dict[str, Mapping[str, Any] | None]]:
        shutil.rmtree(self._replies, ignore_errors=True)
        self._replies.mkdir()
        result = self._replies / "result.jsonl"
        environment = {
            "HPO_TEST_RUN": str(self.runs), "HPO_RUNS": str(self.runs), "COLUMNS": "200", "TMPDIR": str(self._replies),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }  # fmt: skip
        task = {
            "commands": commands, "records": list(STUDIES), "runs": str(self.runs), "folder": str(self._here),
            "environment": environment, "result": str(result),
        }  # fmt: skip
        server = self._servers[without_rights]
        assert server.stdin
        assert server.stdout
        print(json.dumps(task), file=server.stdin, flush=True)
        server.stdout.readline()
        lines = [json.loads(line) for line in result.read_text().splitlines()] if result.exists() else []
        said = [Said(line["command"], line["code"], line["out"], line["err"]) for line in lines]
        expected = [*commands, *(["records", name] for name in STUDIES)]
        if len(said) < len(expected):
            stacks = result.with_suffix(".err").read_text(errors="replace")
            said.append(Said(expected[len(said)], None, "", stacks))
        records = {
            one.command[1]: json.loads(one.out) if one.code == 0 else None
            for one in said
            if one.command[0] == "records"
        }
        return said, records

    def _copy(self) -> None:
        shutil.rmtree(self._here, ignore_errors=True)
        shutil.copytree(self._template, self._here, symlinks=True)

    # --- the studies

    def _make(self, store: Path) -> None:
        self._here.mkdir()
        self.runs.mkdir()
        shutil.copyfile(store, self.runs / layout.MLFLOW_STORE)
        for name in STUDIES:
            self._study(name, "inline")
        early = [["run", f"{name}.yaml", "--trials", str(trials), "-q"] for name, (_, trials, _) in STUDIES.items()]
        self._said(early)
        shutil.copytree(self.runs, self._earlier)
        self._said([["run", f"{name}.yaml", "-q"] for name in (WHOLE, SEVERAL)])
        self._interrupt(CUT)
        self._interrupt(CUT, signal.SIGKILL)
        self._interrupt(DATABASE, signal.SIGKILL)
        self._said([["extend", SEVERAL, "--trials", str(STUDIES[SEVERAL][2])]])
        jobs = self.runs / WHOLE / layout.JOBS
        jobs.mkdir(exist_ok=True)
        (jobs / "jobs.jsonl").write_text(jobs_line())
        (self.runs / CUT / layout.REQUESTS).mkdir(exist_ok=True)
        request = {"action": "stop", "arguments": {}, "by": "somebody@somewhere", "sent": 1.0}
        (self.runs / CUT / layout.REQUESTS / "1-a.json").write_text(json.dumps(request))
        os.utime(self.runs / CUT / layout.REQUESTS / "1-a.json", (1, 1))
        shutil.copytree(self._here, self._template, symlinks=True)

    def _study(self, name: str, engine: str) -> Path:
        several = name == SEVERAL
        directions = {"score": "maximize", "loss": "minimize"}
        study = {
            "name": name,
            "objective": f"{Path(known.__file__)}:train",
            "metrics": [{"name": m, "direction": directions[m]} for m in (known.METRICS if several else ("score",))],
            "search_space": {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}},
            "sampler": "random",
            "pruner": "none",
            "budget": {"trials": STUDIES[name][0], "failures": 99},
            "engine": {"name": engine} | ({"workers": 2, "retries": 3} if engine == "local" else {}),
            "storage": f"sqlite:///{self.runs / 'study.db'}" if name == DATABASE else None,
            "mlflow": several,
            "seed": 10 + list(STUDIES).index(name),
        }
        path = self._here / f"{name}{'' if engine == 'inline' else '-' + engine}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in study.items() if value is not None}))
        return path

    def _interrupt(self, name: str, number: int | None = None) -> None:
        """Drive a study until two trials have saved and reported, and end its driver: as Ctrl-C does, or at once."""
        path = self._study(name, "local")
        before = set(self.runs.glob(f"{name}/trials/*/{layout.HISTORY}"))
        driver = start(path, self.runs, {"KNOWN_SECONDS": "0.5"})
        found = (self.runs / name).glob
        wait_until(lambda: len(set(found(f"trials/*/{layout.HISTORY}")) - before) >= 2)
        if number is None:
            driver.send_signal(signal.SIGINT)
            driver.communicate()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, number)
            driver.communicate()
        for process in leftover(processes_of(self.runs)):
            process.kill()
        path.unlink()

    def _said(self, commands: Sequence[Sequence[str]]) -> None:
        said, _ = self._play(commands)
        for one in said[: len(commands)]:
            assert one.code == 0, one


def _server(*before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-P", str(Path(__file__).with_name("quick_commands.py"))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _commands(chance: random.Random, local: bool, mlflow: bool) -> Iterator[list[str]]:
    """What a user does who meets a damaged folder: look, let the doctor look and fix, resume, look again."""
    looks = [[command, name, "--json"] for name in STUDIES for command in ("status", "best")]
    yield ["list", "--json"]
    yield from looks
    yield ["report", chance.choice(list(STUDIES))]
    yield ["doctor"]
    yield ["doctor", "--fix"]
    for name, (_, _, trials) in STUDIES.items():
        resume = ["run", f"{name}.yaml", "--trials", str(trials), "--json", "-q"]
        if local:
            resume += ["--set", "engine={name: local, workers: 1}"]
        yield resume if mlflow or name != SEVERAL else [*resume, "--set", "mlflow=false"]
    yield ["doctor"]
    yield ["list", "--json"]
    yield from looks
    yield ["report", chance.choice(list(STUDIES))]
