"""Lock of a study's driver: one process at a time drives a study, on whichever machine.

The lock is the kernel's (flock). The kernel drops it when the driver dies, however it dies. Not every network file
system passes such locks from machine to machine, so a driver also sends a heartbeat: it touches its lock file. Ages are
measured by the clock of the file system, since the clocks of two machines may differ.
"""

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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from hpo import layout
from hpo.errors import StorageError, StudyLocked
from hpo.machine.access import require_write, told_denials
from hpo.machine.files import open_plain, parse_json, read_plain
from hpo.storage.history import LARGEST_TIME

HEARTBEAT_SECONDS = 5.0
# A driver on another machine that has sent no heartbeat for so long is dead.
TIMEOUT_SECONDS = 20.0
# Clocks of two machines differ by less.
_LARGEST_DIFFERENCE = 1800.0
# `driver_of` holds the lock for a moment, so that a single refusal does not mean that there is a driver.
_TRY_SECONDS = 0.5
_MOST_BYTES = 65536
_SENSIBLE: Mapping[str, Callable[[Any], bool]] = {
    "host": lambda value: isinstance(value, str),
    "pid": lambda value: type(value) is int,
    "started": lambda value: type(value) in (int, float) and 0 < value < LARGEST_TIME,
    "job": lambda value: isinstance(value, str),
}


@contextlib.contextmanager
def driver_lock(study_directory: Path, say: Callable[[str], object] = str) -> Iterator[None]:
    """Hold the lock while a study is driven.

    Args:
        study_directory: the study's folder.
        say: told if the heartbeat of a driver on another machine, which did not shut down cleanly, must be waited for.

    Raises:
        StudyLocked: another driver is at work; with its host, pid and start time.
        AccessDenied: this user may not write in the folder.
        StorageError: something else than a file that can be written is in the place of the lock.
    """
    require_write(study_directory, f"study '{study_directory.name}' cannot be run or changed")
    path = study_directory / layout.LOCK
    _make(study_directory)
    with _open(path) as file:
        until = time.monotonic() + _TRY_SECONDS
        while not _try_lock(file):
            if time.monotonic() > until:
                raise _locked(study_directory, _read(file))
            time.sleep(0.02)
        _await_timeout(study_directory, _read(file), say)
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()} | _job()))
        file.flush()
        ended = threading.Event()
        heartbeats = threading.Thread(target=_send_heartbeats, args=(path, ended), daemon=True, name="hpo-heartbeat")
        heartbeats.start()
        try:
            yield
        finally:
            ended.set()
            heartbeats.join()
            file.truncate(0)


def driver_of(study_directory: Path) -> dict[str, Any] | None:
    """Return the driver at work on a study, or None.

    Returns:
        `host`, `pid`, `started` (seconds since the epoch) and, in a queue, `job` (such as `SLURM job 17`).
    """
    path = study_directory / layout.LOCK
    if not path.is_file():  # nobody can hold anything else
        return None
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    with file:
        driver = _read(file)
        # A shared lock needs no right to write, and those who look do not take each other for drivers.
        if not _try_lock(file, fcntl.LOCK_SH):
            return driver
    return driver if _elsewhere(driver) and _sends_heartbeats(path) else None


def last_driver(study_directory: Path) -> dict[str, Any] | None:
    """Return what the lock file says of the driver that wrote it last, as `driver_of`; None if it is empty or gone.

    Raises:
        OSError: it cannot be read, or is no plain file.
    """
    try:
        content = read_plain(study_directory / layout.LOCK, _MOST_BYTES)
    except FileNotFoundError:
        return None
    return _driver_in(content) if content else None


def _make(study_directory: Path) -> None:
    try:
        with told_denials():
            study_directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file, or a link that leads nowhere
        raise StorageError(
            f"{study_directory}, the folder of a study, cannot be made: {error.strerror}. Remove what is in its place"
        ) from error


def _open(path: Path) -> IO[str]:
    try:
        with told_denials():
            if path.is_symlink() or path.exists():
                open_plain(path, _MOST_BYTES).close()
            return path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise StorageError(
            f"{path}, which one driver at a time locks, cannot be used: {error.strerror}. Remove it, once no driver of "
            "the study is at work"
        ) from error


def _try_lock(file: IO[str], kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    return _driver_in(file.read(_MOST_BYTES))


def _driver_in(content: str | bytes) -> dict[str, Any]:
    """Return what a lock file says of its driver, as far as it makes sense."""
    try:
        driver = parse_json(content)
    except ValueError:
        return {}
    return sensible(driver)


def sensible(driver: object) -> dict[str, Any]:
    """Return what a note of a driver says of it, for `driver_text`, as far as it makes sense."""
    known = driver.items() if isinstance(driver, dict) else ()
    return {key: value for key, value in known if key in _SENSIBLE and _SENSIBLE[key](value)}


def driver_text(driver: Mapping[str, Any]) -> str:
    """Return `process 17 on host node7, SLURM job 3, since 2025-11-21 10:00:00`, as far as it is known."""
    text = f"process {driver.get('pid', '?')} on host {driver.get('host', '?')}"
    if "job" in driver:
        text += f", {driver['job']},"
    if "started" in driver:
        text += f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(driver['started']))}"
    return text.removesuffix(",")


def _job() -> dict[str, str]:
    for queue, variable in (("SLURM", "SLURM_JOB_ID"), ("PBS", "PBS_JOBID")):
        if number := os.environ.get(variable):
            return {"job": f"{queue} job {number}"}
    return {}


def _send_heartbeats(path: Path, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def _elsewhere(driver: dict[str, Any]) -> bool:
    return str(driver.get("host", socket.gethostname())) != socket.gethostname()


def _sends_heartbeats(path: Path) -> bool:
    """Return True if a driver elsewhere is alive, by reading alone: so by our clock, which may be wrong by minutes."""
    last = path.stat().st_mtime
    age = abs(time.time() - last)
    if not TIMEOUT_SECONDS <= age < _LARGEST_DIFFERENCE:
        return age < TIMEOUT_SECONDS
    until = time.monotonic() + 1.5 * HEARTBEAT_SECONDS
    while time.monotonic() < until:
        time.sleep(0.1)
        if path.stat().st_mtime != last:
            return True
    return False


def _seconds_since_heartbeat(path: Path) -> float:
    """Return the seconds since the last heartbeat, by the file system's clock; by ours if nothing may be written."""
    now = time.time()
    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=path.parent, prefix=".clock-") as probe:
        os.utime(probe.name)
        now = os.stat(probe.name).st_mtime
    return now - path.stat().st_mtime


def _await_timeout(study_directory: Path, before: dict[str, Any], say: Callable[[str], object]) -> None:
    """Wait until a driver of another machine that did not empty its lock file must be dead.

    This machine may not be able to see its lock.
    """
    if not _elsewhere(before):
        return
    path = study_directory / layout.LOCK
    last = path.stat().st_mtime
    left = TIMEOUT_SECONDS - _seconds_since_heartbeat(path)
    if left > 0:
        say(f"the driver on {before['host']} did not shut down cleanly; waiting {left:.0f} s before taking over")
    while left > 0:
        time.sleep(min(1.0, left))
        if path.stat().st_mtime != last:
            raise _locked(study_directory, before)
        left = TIMEOUT_SECONDS - _seconds_since_heartbeat(path)


def _locked(study_directory: Path, driver: dict[str, Any]) -> StudyLocked:
    stop = layout.follow_up(f"stop {shlex.quote(study_directory.name)}", study_directory.parent)
    return StudyLocked(
        f"study '{study_directory.name}' is being driven by {driver_text(driver)}; wait for it, stop it with "
        f"`{stop}`, or run under another name with --new-name"
    )
