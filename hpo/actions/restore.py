"""Restoring of saved studies: from the trash, which they leave, or from a backup, which stays.

The Optuna study comes first, then the folder, in one step: a restoring that a kill cut short is done again by the same
command.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpo import layout
from hpo.actions.deletion import LEAVING, make_trash, refuse_other_user
from hpo.control.requests import record
from hpo.errors import HpoError, NotRestored
from hpo.machine.removal import remove
from hpo.oracle.queue import Queue
from hpo.oracle.recovery import recover
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.driver_lock import driver_lock
from hpo.storage.open import close_storage, moved_with, open_storage
from hpo.storage.ownership import original_of, study_in, write_key
from hpo.storage.saved_study import SavedStudy, parse_saved, read_saved, trash_entries
from hpo.storage.shared_trials import mark_shared, own_shared, share_trials
from hpo.storage.study_copy import begins_as, import_study, read_export, remove_study, trials_in
from hpo.text import first_line, listing, nearest, redact
from hpo.warm_start.trust import WarmStart

Say = Callable[[str], None]
# The storage of the runs folder, as an option names it.
JOURNAL = "journal"


@dataclass(frozen=True)
class Restored:
    """A study that was restored: its name, its folder, and the number of its trials in Optuna."""

    study: str
    directory: Path
    trials: int


# --- from the trash


def restore_from_trash(runs: Path, name: str, say: Say) -> Restored:
    """Bring a deleted study back as it was, with its runs in MLflow.

    Args:
        runs: The runs folder.
        name: The study, of which the latest deletion is meant; or the name of an entry of the trash.
        say: Gets sentences for the user.

    Raises:
        NotRestored: The trash has no such study, or there is one of this name.
    """
    entries = trash_entries(runs)
    found = [one for one in entries if name in (one[0].name, one[1].study)]
    if not found:
        known = sorted({saved.study for _, saved in entries})
        there = f"it holds {listing(known)}" if known else "it is empty"
        raise NotRestored(
            f"no study '{name}' is in the trash {layout.trash_directory(runs)}: {there}.{nearest(name, known)} "
            "(--from FILE restores from a backup)"
        )
    entry, saved = found[0]
    refuse_other_user(entry, f"the deleted study '{saved.study}'", "restore")
    _refuse_existing(runs, saved.study)
    folder = entry / layout.SAVED_FOLDER
    shared = own_shared(folder)
    _import(entry, saved, saved.storage)
    if saved.mlflow_runs:
        _bring_runs_back(runs, folder, saved, say)
    restored = _put_in_place(runs, entry, saved)
    if saved.key and not restored.directory.is_symlink():
        write_key(restored.directory, saved.key)
    if shared is not None:
        write_key(shared, saved.key, restored.directory)
    remove(entry)
    return restored


def _bring_runs_back(runs: Path, folder: Path, saved: SavedStudy, say: Say) -> None:
    from hpo.trackers.mlflow.place import sync_command
    from hpo.trackers.mlflow.sync import bring_back

    try:
        bring_back(folder, runs, load_spec(folder / layout.SPEC, locate=False), saved.mlflow_runs)
    except HpoError as error:
        say(f"its runs in MLflow stay in the trash there: {error}. `{sync_command(runs, saved.study)}` writes them")


# --- from a backup


def restore_backup(
    runs: Path, source: Path, names: Sequence[str], storage: str | None, say: Say
) -> tuple[list[Restored], list[str]]:
    """Restore studies of a backup.

    Args:
        runs: The runs folder; it may be a new one.
        source: The tar file or the folder.
        names: The studies; none stands for all, and for imported knowledge.
        storage: The URL of another storage for them, or `journal` for the runs folder's; None: as before.
        say: Gets sentences for the user.

    Returns:
        The studies that were restored, and a sentence for each that could not be.

    Raises:
        NotRestored: It is no backup, or has no such study.
    """
    with _read(source) as archive:
        saved = archive.studies
        if missing := [name for name in names if name not in saved]:
            raise NotRestored(
                f"{source} has no study '{missing[0]}'; it holds {listing(saved)}.{nearest(missing[0], saved)}"
            )
        restored, failed = [], []
        for name in names or saved:
            try:
                restored.append(_restore_copy(runs, archive, name, storage, say))
            except HpoError as error:
                failed.append(str(error))
        if not names:
            archive.copy_knowledge(layout.knowledge_directory(runs))
    return restored, failed


def _restore_copy(runs: Path, archive: _Archive, name: str, storage: str | None, say: Say) -> Restored:
    saved = archive.studies[name]
    _refuse_existing(runs, name)
    with _stage(runs) as stage:
        entry = stage / name
        archive.extract(name, entry)
        folder = entry / layout.SAVED_FOLDER
        spec = load_spec(folder / layout.SPEC, locate=False)
        url = _url_here(spec, saved, runs, storage)
        named = None if url == _journal(runs) else url
        if spec.storage != named:
            spec = spec.model_copy(update={"storage": named})
            record(spec, folder)
        _import(entry, saved, url)
        restored = _put_in_place(runs, entry, saved)
    directory = restored.directory
    _share(spec, directory, saved.key, say)
    if saved.key and not original_of(directory):
        write_key(directory, saved.key)
    if saved.driven:
        _requeue(spec, directory, url, say)
    _write_runs(runs, name, say)
    return restored


def _journal(runs: Path) -> str:
    return f"journal:{runs / layout.JOURNAL}"


def _url_here(spec: StudySpec, saved: SavedStudy, runs: Path, given: str | None) -> str:
    """Return the storage of a restored study: what was in its runs folder is made in this one."""
    if given is not None:
        return _journal(runs) if given == JOURNAL else given
    if spec.storage is None:
        return _journal(runs)
    return moved_with(spec.storage, Path(saved.folder).parent, runs)


def _share(spec: StudySpec, directory: Path, key: str, say: Say) -> None:
    """Put the trials' folders where other machines see them, if study.yaml says so."""
    shared, trials = spec.engine.checkpoint_dir, layout.trials_directory(directory)
    if shared is None or not trials.is_dir():
        return
    beside = trials.with_name("trials.restored")
    try:
        trials.rename(beside)
        share_trials(directory, shared)
        for path in beside.iterdir():
            shutil.move(path, trials / path.name)
        beside.rmdir()
    except OSError as error:
        if not trials.exists() and not trials.is_symlink():
            beside.rename(trials)
        say(
            f"the trials of study '{directory.name}' are in {trials}, for engine.checkpoint_dir {shared} cannot be "
            f"used: {error.strerror or error}. Leave it out of the study.yaml, or move them"
        )
    mark_shared(directory, key)


def _requeue(spec: StudySpec, directory: Path, url: str, say: Say) -> None:
    """Queue what ran when the backup was made, as the next driver would."""
    storage = open_storage(url)
    try:
        with driver_lock(directory), suppress(KeyError):
            study = optuna.load_study(study_name=spec.name, storage=storage)
            queue = Queue(spec, study, WarmStart((), 0, spec.metrics[0].direction == "maximize"))
            recover(spec, study, directory, queue, time.time, lambda _: None)
    finally:
        close_storage(storage)


def _write_runs(runs: Path, name: str, say: Say) -> None:
    """Write the runs of a study that was tracked to MLflow, of which a backup has none."""
    from hpo.trackers.mlflow.place import read_place, sync_command
    from hpo.trackers.mlflow.sync import sync

    if read_place(layout.study_directory(runs, name)) is None:
        return
    try:
        sync(runs, name, lambda _: None)
    except HpoError as error:
        say(f"the runs of study '{name}' in MLflow are not written: {error}. `{sync_command(runs, name)}` writes them")


# --- both


def _refuse_existing(runs: Path, name: str) -> None:
    directory = layout.study_directory(runs, name)
    if os.path.lexists(directory):
        raise NotRestored(
            f"study '{name}' is not restored: {directory} is there. `hpo delete {name}` moves it to the trash, and "
            "--runs DIR restores to another place"
        )


@contextmanager
def _stage(runs: Path) -> Iterator[Path]:
    """Make a folder on the file system of the runs folder; what a kill leaves of it goes with the trash."""
    try:
        runs.mkdir(parents=True, exist_ok=True)
        stage = tempfile.TemporaryDirectory(prefix=LEAVING, dir=make_trash(runs))
    except OSError as error:
        raise NotRestored(f"nothing can be restored to {runs}: {error.strerror or error}") from error
    with stage as folder:
        yield Path(folder)
    with suppress(OSError):  # others are in it
        layout.trash_directory(runs).rmdir()


def _import(entry: Path, saved: SavedStudy, url: str) -> None:
    """Copy an entry's Optuna study into a storage, unless it is there: a deletion or a restoring was cut short."""
    name, log = saved.study, entry / layout.SAVED_STUDY
    if not log.exists():
        return
    try:
        exported = read_export(log)
        then = trials_in(exported, name)
    except (ValueError, KeyError, TypeError) as error:
        raise NotRestored(f"study '{name}' is not restored: {log} is damaged ({error})") from error
    storage = open_storage(url)
    try:
        if found := study_in(storage, name):
            now = trials_in(storage, name)
            is_left = found[1] == saved.key and begins_as(then, now) and not original_of(entry / layout.SAVED_FOLDER)
            if not is_left:
                raise NotRestored(
                    f"study '{name}' is not restored: the storage {redact(url)} has a study of this name. Delete it "
                    f"there (`optuna delete-study --study-name {name}`), or name another one with --storage URL"
                )
            if len(now) == len(then):
                return
            remove_study(storage, name)
        import_study(exported, name, storage)
    finally:
        close_storage(storage)


def _put_in_place(runs: Path, entry: Path, saved: SavedStudy) -> Restored:
    directory = layout.study_directory(runs, saved.study)
    try:
        (entry / layout.SAVED_FOLDER).rename(directory)
    except OSError as error:
        raise NotRestored(f"{directory} cannot be made: {error.strerror or error}") from error
    return Restored(saved.study, directory, saved.trials or 0)


# --- the two forms of a backup


class _Archive:
    """A backup: the studies that it holds, by name."""

    studies: dict[str, SavedStudy]

    def extract(self, name: str, entry: Path) -> None:
        """Copy a study's entry to a new folder. Raises NotRestored."""
        raise NotImplementedError

    def copy_knowledge(self, folder: Path) -> None:
        """Copy imported knowledge that is not in the folder."""
        raise NotImplementedError


class _FolderArchive(_Archive):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        entries = [path.parent for path in sorted(folder.glob(f"*/{layout.SAVED}"))]
        self._entries = {read_saved(entry).study: entry for entry in entries}
        self.studies = {name: read_saved(entry) for name, entry in self._entries.items()}

    def extract(self, name: str, entry: Path) -> None:
        try:
            shutil.copytree(self._entries[name], entry, symlinks=True)
        except (OSError, shutil.Error) as error:
            raise NotRestored(f"study '{name}' cannot be copied from {self._folder}: {error}") from error

    def copy_knowledge(self, folder: Path) -> None:
        for path in sorted((self._folder / layout.KNOWLEDGE).glob("*.json")):
            _add_knowledge(folder / path.name, path.read_bytes())


class _TarArchive(_Archive):
    def __init__(self, tar: tarfile.TarFile, source: Path) -> None:
        self._tar, self._source = tar, source
        self._members = tar.getmembers()
        self.studies = {}
        for member in self._members:
            if member.isfile() and member.name == f"{member.name.partition('/')[0]}/{layout.SAVED}":
                saved = parse_saved(self._content(member))
                self.studies[saved.study] = saved

    def extract(self, name: str, entry: Path) -> None:
        own = [member for member in self._members if member.name.startswith(f"{name}/")]
        try:
            for member in own:
                self._write(member, entry, member.name.removeprefix(f"{name}/"))
        except (OSError, tarfile.TarError) as error:
            raise NotRestored(f"study '{name}' cannot be read from {self._source}: {error}") from error

    def _write(self, member: tarfile.TarInfo, folder: Path, name: str) -> None:
        """Write a file or folder of the archive. A backup holds nothing else, and nothing outside of its folder.

        `tarfile` has a filter for that, which Python has since 3.11.4 only.
        """
        path = folder / name
        if not (member.isfile() or member.isdir()) or not path.resolve().is_relative_to(folder.resolve()):
            raise tarfile.TarError(f"{member.name} is no file or folder of a backup")
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file, self._tar.extractfile(member) or io.BytesIO() as content:
            shutil.copyfileobj(content, file)
        os.utime(path, (member.mtime, member.mtime))

    def copy_knowledge(self, folder: Path) -> None:
        for member in self._members:
            around, _, file = member.name.partition("/")
            if around == layout.KNOWLEDGE and member.isfile() and "/" not in file and file not in ("", "..", "."):
                _add_knowledge(folder / file, self._content(member))

    def _content(self, member: tarfile.TarInfo) -> bytes:
        content = self._tar.extractfile(member)
        return b"" if content is None else content.read()


def _add_knowledge(path: Path, content: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextmanager
def _read(source: Path) -> Iterator[_Archive]:
    """Open a backup.

    Raises:
        NotRestored: It is none.
    """
    expected = "expected what `hpo backup --to FILE` wrote"
    try:
        if source.is_dir():
            found: _Archive = _FolderArchive(source)
            _refuse_empty(found, source, expected)
            yield found
            return
        with tarfile.open(source) as tar:
            found = _TarArchive(tar, source)
            _refuse_empty(found, source, expected)
            yield found
    except FileNotFoundError as error:
        raise NotRestored(f"there is no {error.filename}; {expected}") from error
    except (tarfile.TarError, EOFError, ValueError, TypeError, KeyError) as error:
        raise NotRestored(f"{source} is no backup, or a damaged one ({first_line(error)}); {expected}") from error
    except OSError as error:
        raise NotRestored(f"{error.filename or source}: {error.strerror or error}") from error


def _refuse_empty(archive: _Archive, source: Path, expected: str) -> None:
    if not archive.studies:
        raise NotRestored(f"{source} holds no saved study; {expected}")
