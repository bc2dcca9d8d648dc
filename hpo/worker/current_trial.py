"""Trial of this process: `hpo.current_trial()` and `hpo.report()` for programs and functions.

In a worker it is the trial that is trained. In a program that a study runs as a command, it speaks to the worker over
the Unix socket named by $HPO_SOCKET: one JSON line for a report, one JSON line back (null: go on; a Stop; or why the
report is refused). In a script started by hand, outside of a study, `report` prints its JSON line.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpo.errors import ReportRefused
from hpo.trial import Job, ObjectiveRef, Stop, Trial
from hpo.worker import report_socket

_current: Trial | None = None
# A study runs its trials in this process, and none of them now.
_between_trials = False


def set_current(trial: Trial | None) -> None:
    """Set the trial of this process; None: the one of the environment."""
    global _current, _between_trials
    _current, _between_trials = trial, False


def set_none() -> None:
    """Note that this process is a study's, and that no trial of it runs now."""
    global _current, _between_trials
    _current, _between_trials = None, True


def current_trial() -> Trial:
    """Return the Trial of this process.

    Outside of a study it has number 0, seed 0, no parameters and the current directory, and its reports are printed as
    JSON lines.

    Raises:
        ReportRefused: a study runs trials in this process, and none now: its objective is being imported, or has ended.
    """
    global _current
    if _current is None:
        if _between_trials:
            raise ReportRefused(
                "no trial runs in this process now; expected hpo.current_trial() and hpo.report() inside the "
                "objective's function, not at the import of its module and not after the function has returned"
            )
        _current = _from_environment()
    return _current


def report(step: int, *given: Mapping[str, float], **metrics: float) -> None:
    """Report the metrics of a step of this process's trial; raises Pruned when the trial is to stop."""
    current_trial().report(step, *given, **metrics)


def environment(job: Job, address: str) -> dict[str, str]:
    """Return the variables that tell a command about its job; `_from_environment` reads them."""
    return {
        "HPO_SOCKET": address,
        "HPO_NUMBER": str(job.number),
        "HPO_SEED": str(job.seed),
        "HPO_ATTEMPT": str(job.attempt),
        "HPO_LINEAGE": job.lineage,
        "HPO_DIRECTORY": str(job.directory),
        "HPO_PARAMS": json.dumps(dict(job.params)),
        "HPO_CONSTANTS": json.dumps(dict(job.constants), default=str),
    }


def _from_environment() -> Trial:
    env = os.environ
    job = Job(
        number=int(env.get("HPO_NUMBER", "0")),
        params=json.loads(env.get("HPO_PARAMS", "{}")),
        seed=int(env.get("HPO_SEED", "0")),
        objective=ObjectiveRef(),
        constants=json.loads(env.get("HPO_CONSTANTS", "{}")),
        directory=Path(env.get("HPO_DIRECTORY", ".")),
        metrics=(),
        attempt=int(env.get("HPO_ATTEMPT", "1")),
        lineage=env.get("HPO_LINEAGE", ""),
    )
    address = env.get("HPO_SOCKET")
    return Trial(job, _SocketSender(address) if address else _print)


def _print(step: int, metrics: dict[str, float]) -> Stop | None:
    print(json.dumps({"step": step, **metrics}), flush=True)
    return None


class _SocketSender:
    """Connection to the worker, one for each process of the program: a forked rank opens its own.

    Threads take turns.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._connect()

    def _connect(self) -> None:
        self._process = os.getpid()
        # A lock that was held while this process was forked would never be free in it.
        self._lock = threading.Lock()
        self._file = report_socket.connect(self._address).makefile("rw", encoding="utf-8")

    def __call__(self, step: int, metrics: dict[str, float]) -> Stop | None:
        if self._process != os.getpid():
            self._connect()
        with self._lock:
            self._file.write(json.dumps({"step": step, **metrics}) + "\n")
            self._file.flush()
            line = self._file.readline()
        if not line:
            raise ReportRefused(f"step {step} is reported to a worker that is gone, or whose trial has ended")
        answer: dict[str, Any] | None = json.loads(line)
        if answer and "refused" in answer:
            raise TypeError(answer["refused"])
        return Stop(**answer) if answer else None
