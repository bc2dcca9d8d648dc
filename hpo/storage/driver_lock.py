"""Who drives a study: one process at a time, on whichever machine.

The lock is the kernel's (flock), which it drops when the driver dies, however it dies. Not every network file system
passes such locks from machine to machine, so a driver also gives signs of life: it touches its lock file. Ages are
measured by the clock of the file system itself, for those of two machines may differ."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from hpo import layout
from hpo.errors import StudyLocked

BEAT_SECONDS = 5.0
# A driver on another machine that gave no sign of life for so long is dead.
SILENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.5


@contextlib.contextmanager
def driver_lock(study_directory: Path, say: Callable[[str], object] = str) -> Iterator[None]:
    """Held while a study is driven. Raises StudyLocked with the host, pid and start time of the driver that is at work.
    `say` is told when a sign of life of a driver elsewhere, which ended without a word, has to be waited for."""
    study_directory.mkdir(parents=True, exist_ok=True)
    path = study_directory / layout.LOCK
    with path.open("a+", encoding="utf-8") as file:
        # `driver_of` holds it for a moment, to see whether somebody else does.
        until = time.monotonic() + _LOOK_SECONDS
        while not _try_lock(file):
            if time.monotonic() > until:
                raise _locked(study_directory, _read(file))
            time.sleep(0.02)
        _await_silence(study_directory, _read(file), say)
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()} | _job()))
        file.flush()
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(path, ended), daemon=True, name="hpo-beat")
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()
            file.truncate(0)


def driver_of(study_directory: Path) -> dict[str, Any] | None:
    """host, pid, started (seconds since the epoch) and, in a queue, job (`SLURM job 17`) of the driver at work on a
    study, or None."""
    path = study_directory / layout.LOCK
    if not path.exists():
        return None
    # Locks over NFS need a file that is open for writing; who may only read tries without.
    with path.open("r+" if os.access(path, os.W_OK) else "r", encoding="utf-8") as file:
        driver = _read(file)
        if not _try_lock(file):
            return driver
    return driver if _elsewhere(driver) and _silence(path) < SILENCE_SECONDS else None


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        driver = json.loads(file.read())
    except ValueError:
        return {}
    return driver if isinstance(driver, dict) else {}


def _job() -> dict[str, str]:
    for queue, variable in (("SLURM", "SLURM_JOB_ID"), ("PBS", "PBS_JOBID")):
        if number := os.environ.get(variable):
            return {"job": f"{queue} job {number}"}
    return {}


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def _elsewhere(driver: dict[str, Any]) -> bool:
    return str(driver.get("host", socket.gethostname())) != socket.gethostname()


def _silence(path: Path) -> float:
    """Seconds since the last sign of life, by the file system's clock, or by ours where nothing may be written."""
    now = time.time()
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=path.parent, prefix=".clock-") as probe:
        os.utime(probe.name)
        now = os.stat(probe.name).st_mtime
    return now - path.stat().st_mtime


def _await_silence(study_directory: Path, before: dict[str, Any], say: Callable[[str], object]) -> None:
    """A driver leaves its lock file empty. If one of another machine has not, its lock may be one that this machine
    cannot see: it is dead once it is silent for long enough."""
    if not _elsewhere(before):
        return
    path = study_directory / layout.LOCK
    seen = path.stat().st_mtime
    left = SILENCE_SECONDS - _silence(path)
    if left > 0:
        say(f"the driver on host {before['host']} ended without a word: waiting {left:.0f} s to be sure")
    while left > 0:
        time.sleep(min(1.0, left))
        if path.stat().st_mtime != seen:
            raise _locked(study_directory, before)
        left = SILENCE_SECONDS - _silence(path)


def _locked(study_directory: Path, driver: dict[str, Any]) -> StudyLocked:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(driver.get("started", 0)))
    job = f", {driver['job']}," if "job" in driver else ""
    stop = layout.follow_up(f"stop {shlex.quote(study_directory.name)}", study_directory.parent)
    return StudyLocked(
        f"study '{study_directory.name}' is being driven by process {driver.get('pid', '?')} on host "
        f"{driver.get('host', '?')}{job} since {since}; wait for it, stop it with `{stop}`, or run under "
        "another name with --new-name"
    )
