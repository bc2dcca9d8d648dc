"""Checks for processes of this host that belong to a study which nobody drives.

Workers end with their driver. So what is left hangs, was stopped, or was started by a trial and let go.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hpo import layout
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import Finding, not_looked_at
from hpo.machine.access import name_of
from hpo.machine.processes import status_fields
from hpo.worker.command import end_group

_PROC = Path("/proc")
# What hpo starts, and goes with its driver by itself within moments.
_OWN = {"hpo.worker.main": "a worker", "hpo.trackers.mlflow.process": "the process that writes to MLflow"}
_GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class _Process:
    """A process that writes into a study.

    started: in ticks since the boot, which tells a process from a later one of the same number. own: hpo started it, in
    a group of its own.
    """

    pid: int
    group: int
    started: str
    what: str
    own: bool
    output: Path


def left_processes(context: StudyContext) -> Iterator[Finding]:
    """Find processes that still write into a study which nobody drives."""
    if context.driver is not None:
        return
    owner = context.directory.stat().st_uid
    if os.geteuid() not in (0, owner):
        said = f"processes of {name_of(owner)} that may still write into the study cannot be seen by other users"
        yield not_looked_at(context.name, said)
    found = list(_writing_in(context))
    until = time.monotonic() + _GRACE_SECONDS
    while found and time.monotonic() < until:
        time.sleep(0.1)
        found = list(_writing_in(context))
    for process in found:
        yield Finding(
            "process-left", context.name, None,
            f"process {process.pid} on this host, {process.what}, still writes {process.output}, and nobody drives the "
            "study",
            "certain" if process.own else "likely", f"end it{' and what it started' if process.own else ''}",
            partial(_end, process),
        )  # fmt: skip


def _writing_in(context: StudyContext) -> Iterator[_Process]:
    """Yield processes whose output is the log of a worker, a trial or MLflow's writer."""
    trials = os.path.realpath(layout.trials_directory(context.directory))
    logs = os.path.realpath(layout.workers_directory(context.directory))
    own = re.compile(
        f"{re.escape(trials)}/[0-9]+/{re.escape(layout.OUTPUT)}|{re.escape(logs)}/[^/]+\\.log|"
        f"{re.escape(os.path.realpath(context.directory / layout.MLFLOW_LOG))}"
    )
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        # Those of other users cannot be looked at, and others end meanwhile.
        with contextlib.suppress(OSError):
            links = [os.readlink(folder / "fd" / stream) for stream in ("1", "2")]
            output = next(filter(own.fullmatch, links), None)
            if output is not None and (process := _process(int(folder.name), Path(output))) is not None:
                yield process


def _process(pid: int, output: Path) -> _Process | None:
    fields = status_fields(pid)
    if fields[0] == "Z":
        return None
    words = (_PROC / f"{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    own = next((_OWN[word] for word in words if word in _OWN), "")
    return _Process(pid, int(fields[2]), fields[19], own or f"`{' '.join(words).strip()[:80]}`", bool(own), output)


def _end(process: _Process) -> None:
    with contextlib.suppress(OSError):
        now = _process(process.pid, process.output)
        if now is None or now.started != process.started:
            return
        if process.own:
            end_group(process.group)
        os.kill(process.pid, signal.SIGKILL)
    until = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < until and _is_there(process):
        time.sleep(0.02)


def _is_there(process: _Process) -> bool:
    with contextlib.suppress(OSError):
        return _process(process.pid, process.output) is not None
    return False


CHECKS: tuple[Check, ...] = (left_processes,)
