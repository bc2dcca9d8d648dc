"""Backups of studies, also while they run.

Of each study the Optuna study is copied first and the files after it, the histories last. A row is in a history before
Optuna hears of its step, and a trial's files are whole before Optuna hears of its end. So a trial that is finished in
the copy has all its rows and files. One that was running then may have more rows; `hpo restore` queues it again, as
`hpo run` does after a kill. MLflow's runs are left out: they are written from the study (`hpo mlflow --sync`).
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from optuna.trial import FrozenTrial

from hpo import layout
from hpo.errors import HpoError, NotRestored, StorageError
from hpo.machine.files import NotPlainError, open_plain
from hpo.spec.load import load_spec
from hpo.storage.driver_lock import driver_of
from hpo.storage.open import close_storage, open_storage, storage_file, storage_url
from hpo.storage.ownership import read_key
from hpo.storage.saved_study import SavedStudy
from hpo.storage.study_copy import export_study
from hpo.text import count, redact

# Of a driver, or of a process: nobody needs them in another place.
_LEFT_OUT = {layout.LOCK, layout.REQUESTS, layout.MLFLOW_LOCK}


@dataclass(frozen=True)
class SavedResult:
    """A study that was saved: its name, and the number of its trials (None: its storage has it no more)."""

    study: str
    trials: int | None


def backup(
    runs: Path, names: Sequence[str], target: Path, knowledge: bool, say: Callable[[str], None], held: bool = False
) -> tuple[list[SavedResult], list[str]]:
    """Save studies into a new tar file or a new folder.

    Args:
        runs: The runs folder.
        names: The studies.
        target: The file, if its name ends in .tar, .tar.gz or .tgz; else the folder.
        knowledge: Save what `hpo import-knowledge` brought into the runs folder too.
        say: Gets sentences on what is left out.
        held: The caller holds the drivers' locks, so that nothing runs.

    Returns:
        The studies that were saved, and a sentence for each that could not be.

    Raises:
        NotRestored: The target is there already, is in a study's folder, or cannot be written.
    """
    _refuse_target(runs, names, target)
    saved: list[SavedResult] = []
    failed: list[str] = []
    try:
        with _sink(target) as sink:
            for name in names:
                try:
                    saved.append(_save(runs, name, sink, say, held))
                except HpoError as error:
                    failed.append(f"study '{name}' was left out: {error}")
            folder = layout.knowledge_directory(runs)
            for path in sorted(folder.glob("*.json")) if knowledge and folder.is_dir() else ():
                _copy_file(path, f"{layout.KNOWLEDGE}/{path.name}", sink)
            if not saved:
                raise NotRestored("\n".join(["nothing was saved", *failed]))
    except OSError as error:
        raise NotRestored(f"the backup was given up: {error}; there is nothing at {target}") from error
    return saved, failed


def _refuse_target(runs: Path, names: Sequence[str], target: Path) -> None:
    if os.path.lexists(target):
        raise NotRestored(f"{target} is there already; name another place, such as {_dated(target)}")
    for name in names:
        directory = layout.study_directory(runs, name)
        if Path(os.path.realpath(target)).is_relative_to(os.path.realpath(directory)):
            raise NotRestored(f"{target} is in the folder of study '{name}', which is to be saved; name another place")


def _dated(target: Path) -> str:
    suffix = "".join(target.suffixes)
    return f"{target.name.removesuffix(suffix)}-{time.strftime('%Y%m%d-%H%M%S')}{suffix}"


# --- one study


def _save(runs: Path, name: str, sink: _Sink, say: Callable[[str], None], held: bool) -> SavedResult:
    directory = layout.study_directory(runs, name)
    spec = load_spec(directory / layout.SPEC, locate=False)
    url = storage_url(spec, runs)
    driven = not held and driver_of(directory) is not None
    exported = _export(name, url)
    trials = None if exported is None else exported[1]
    saved = SavedStudy(
        name, read_key(directory), time.time(), None if trials is None else len(trials), os.path.realpath(directory),
        redact(url), driven or (not held and driver_of(directory) is not None),
    )  # fmt: skip
    sink.write(f"{name}/{layout.SAVED}", saved.to_json().encode())
    if exported is not None:
        sink.write(f"{name}/{layout.SAVED_STUDY}", exported[0].encode())
    left_out = 0
    for path, inside in _files(directory, trials, saved.driven):
        left_out += not _copy_file(path, f"{name}/{layout.SAVED_FOLDER}/{inside}", sink)
    if left_out:
        say(f"study '{name}': left out {count(left_out, 'link')} to folders, or what is no plain file")
    return SavedResult(name, saved.trials)


def _export(name: str, url: str) -> tuple[str, list[FrozenTrial]] | None:
    """Return the study as a journal, with its trials; None if its storage has it no more."""
    file = storage_file(url)
    if file is not None and not file.exists():
        raise StorageError(f"its storage {file} is gone")
    storage = open_storage(url, readonly=True)
    try:
        return export_study(storage, name)
    except KeyError:
        return None
    finally:
        close_storage(storage)


def _files(directory: Path, trials: list[FrozenTrial] | None, driven: bool) -> Iterator[tuple[Path, str]]:
    """Yield the files of a study and their paths in the backup: of each trial the history last.

    A checkpoint is never ahead of the history that is copied after it. Of a study that is driven, trials that waited
    when the Optuna study was copied are left out: what they have was written since.
    """
    folder = layout.trials_directory(directory)
    for path in sorted(directory.iterdir()):
        if path.name not in _LEFT_OUT and path != folder:
            yield from _below(path, path.name)
    segments = layout.segments_directory(directory)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path == segments:
            continue
        trial = trials[int(path.name)] if trials and path.name.isdecimal() and int(path.name) < len(trials) else None
        if driven and path.name.isdecimal() and (trial is None or trial.state.name == "WAITING"):
            continue
        inside = f"{folder.name}/{path.name}"
        if path.is_dir():  # by a link too: these are the study's trials
            yield from sorted(_in(path, inside), key=lambda one: one[0] == path / layout.HISTORY)
        else:
            yield path, inside
    # Last: a driver removes the folder of a trial after it has written the segment.
    yield from _in(segments, f"{folder.name}/{segments.name}")


def _below(path: Path, inside: str) -> Iterator[tuple[Path, str]]:
    if path.is_dir() and not path.is_symlink():
        yield from _in(path, inside)
    elif not path.name.endswith(".partial"):
        yield path, inside


def _in(folder: Path, inside: str) -> Iterator[tuple[Path, str]]:
    try:
        there = sorted(folder.iterdir())
    except FileNotFoundError:  # a running trial has removed it
        return
    for path in there:
        yield from _below(path, f"{inside}/{path.name}")


def _copy_file(path: Path, inside: str, sink: _Sink) -> bool:
    """Copy a file as it is now; what a driver puts in its place meanwhile is another file. False if it is no file."""
    try:
        file = open_plain(path)
    except FileNotFoundError:  # gone since it was listed; a link may lead nowhere
        return not path.is_symlink()
    except NotPlainError:  # a file that may not be read must not be left out in silence, and raises
        return False
    with file:
        status = os.fstat(file.fileno())
        if path.name == layout.HISTORY:
            content = file.read()
            sink.write(inside, content[: content.rfind(b"\n") + 1], status)
        else:
            sink.copy(inside, file, status)
    return True


# --- where to


class _Sink(Protocol):
    def write(self, inside: str, content: bytes, status: os.stat_result | None = None) -> None:
        """Write a file."""

    def copy(self, inside: str, file: IO[bytes], status: os.stat_result) -> None:
        """Copy a file, as long as it was when `status` was taken."""


class _FolderSink:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, inside: str, content: bytes, status: os.stat_result | None = None) -> None:
        path = self._path(inside)
        path.write_bytes(content)
        _dress(path, status)

    def copy(self, inside: str, file: IO[bytes], status: os.stat_result) -> None:
        path = self._path(inside)
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        _dress(path, status)

    def _path(self, inside: str) -> Path:
        path = self._folder / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _dress(path: Path, status: os.stat_result | None) -> None:
    if status is not None:
        path.chmod(stat.S_IMODE(status.st_mode))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


class _TarSink:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def write(self, inside: str, content: bytes, status: os.stat_result | None = None) -> None:
        self._tar.addfile(self._entry(inside, len(content), status), io.BytesIO(content))

    def copy(self, inside: str, file: IO[bytes], status: os.stat_result) -> None:
        self._tar.addfile(self._entry(inside, status.st_size, status), _Exactly(file))  # type: ignore[arg-type]

    def _entry(self, inside: str, size: int, status: os.stat_result | None) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(inside)
        entry.size = size
        entry.mtime = time.time() if status is None else status.st_mtime
        if status is not None:
            entry.mode = stat.S_IMODE(status.st_mode)
        return entry


class _Exactly:
    """File that has as many bytes as are read: one that a running trial has cut meanwhile ends in zeros."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size).ljust(size, b"\0")


@contextmanager
def _sink(target: Path) -> Iterator[_Sink]:
    """Open a new tar file or a new folder, which gets its name when all is in it."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    compressed = target.name.endswith((".tar.gz", ".tgz"))
    try:
        if compressed or target.suffix == ".tar":
            with tarfile.open(partial, "w:gz" if compressed else "w") as tar:
                yield _TarSink(tar)
        else:
            partial.mkdir()
            yield _FolderSink(partial)
        partial.rename(target)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        raise
