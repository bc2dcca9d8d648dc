"""Checks of the machine rather than of a study: the disk, and the clocks."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from optuna.trial import TrialState

from hpo import layout
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import Finding
from hpo.doctor.optuna_checks import SLACK
from hpo.storage import history

# A disk is full below either: a checkpoint may take a GB, and file systems get slow above 98 %.
LEAST_BYTES = 2**30
LEAST_PART = 0.02
_LARGEST = 5
_REMEDY = "set both by NTP; until then the times of trials and of files contradict each other"


def full_disks(runs: Path, names: Sequence[str], surplus: Callable[[str], int]) -> Iterator[Finding]:
    """Find full disks, of the runs folder and of where trials are kept elsewhere.

    Args:
        runs: The runs folder.
        names: Its studies.
        surplus: Returns the bytes of a study's files that `checkpoints:` does not keep.
    """
    folders: dict[int, tuple[Path, list[str]]] = {}
    for path, name in [(runs, ""), *((layout.trials_directory(runs / name), name) for name in names)]:
        if path.exists():
            folders.setdefault(path.stat().st_dev, (path.resolve(), []))[1].append(name)
    for path, studies in folders.values():
        usage = shutil.disk_usage(path)
        if usage.free >= LEAST_BYTES and usage.free >= LEAST_PART * usage.total:
            continue
        sizes = {name: _size(layout.trials_place(runs / name)) for name in studies if name}
        largest = sorted(sizes, key=lambda name: -sizes[name])[:_LARGEST]
        takes = ", ".join(f"{name} {_gb(sizes[name])}" for name in largest)
        freed = sum(map(surplus, sizes))
        remedy = "make room there, or bound what studies keep with `checkpoints: {max_gb: 20}` in their YAML"
        if freed:
            remedy += f" (surplus checkpoints of {_gb(freed)} are removed by --fix)"
        yield Finding(
            "disk-full", "", None,
            f"the disk of {path} has {_gb(usage.free)} of {_gb(usage.total)} left"
            + (f"; the largest studies there: {takes}" if takes else ""),
            "certain", remedy,
        )  # fmt: skip


def clocks_apart(runs: Path) -> Iterator[Finding]:
    """Compare the time that the file server gives to a file with this host's clock. A file is made for it."""
    try:
        with tempfile.NamedTemporaryFile(dir=runs, prefix=".clock-") as file:
            before = time.time()
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
            there = os.fstat(file.fileno()).st_mtime
            after = time.time()
    except OSError:
        return  # nothing can be written here
    # A file's time is no finer than a tick, and coarse on some file systems.
    apart = there - after if there > after else min(0.0, there - before)
    if abs(apart) > SLACK:
        how = "ahead of" if apart > 0 else "behind"
        yield Finding(
            "clocks-apart", "", None,
            f"the clock of the file server of {runs} is {abs(apart):.0f} s {how} that of this host, "
            f"{socket.gethostname()}",
            "certain", _REMEDY,
        )  # fmt: skip


def driver_clock_apart(context: StudyContext) -> Iterator[Finding]:
    """Compare the clock of the host that drives a study with the file server's.

    The former dates the rows of a history, the latter the file.
    """
    if context.driver is None:
        return
    for trial in context.trials:
        path = context.folder(trial.number) / layout.HISTORY
        apart = _row_against_file(path) if trial.state == TrialState.RUNNING else None
        if apart is not None and abs(apart) > SLACK:
            how = "ahead of" if apart > 0 else "behind"
            yield Finding(
                "clocks-apart", context.name, None,
                f"the clock of host {context.driver.get('host', '?')}, which drives the study, is {abs(apart):.0f} s "
                f"{how} that of the file server, by {path}",
                "likely", _REMEDY,
            )  # fmt: skip
            return


def _row_against_file(path: Path) -> float | None:
    """Return seconds by which the newest row is dated after its file; None if it is written too often to tell."""
    for _ in range(3):
        try:
            written = path.stat().st_mtime
            rows = history.read(path)
            same = path.stat().st_mtime == written
        except OSError:
            return None
        if rows and same:
            return max(row.time for row in rows) - written
    return None


def _size(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


CHECKS: tuple[Check, ...] = (driver_clock_apart,)
