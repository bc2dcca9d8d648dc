"""Deletion of a study: into the trash, from which `hpo restore` brings it back, and out of the trash for good.

What is deleted carries the study's key: its folder, its Optuna study, its runs in MLflow, and its trials' folders where
`engine.checkpoint_dir` put them. Links lead to what was not made here: they go, and what they lead to stays.

A kill may come at any moment. The entry of the trash is made first, with a copy of the Optuna study. The study's folder
is then renamed into it, which is one step: before it the study is whole, after it the entry is. What follows (the
storage, MLflow) is noted as not ended until it is, and the same command ends it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import HpoError, NotDeleted, NotRestored
from hpo.machine.access import name_of, why_denied
from hpo.machine.removal import Content, content_of, mounts_in, remove
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.spec.study_name import name_problem
from hpo.storage.lost_and_found import free_name
from hpo.storage.open import close_storage, lies_in, open_storage, storage_file, storage_url
from hpo.storage.ownership import original_of, read_key, study_in, write_key
from hpo.storage.saved_study import SavedStudy, read_saved, trash_entries, write_saved
from hpo.storage.shared_trials import link_target, own_shared
from hpo.storage.study_copy import export_study, remove_study
from hpo.text import count, redact
from hpo.trackers.mlflow.place import copied_runs, read_place, written_uri

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

# An entry that is no study any more, or not yet: a kill may leave it, and emptying the trash removes it.
LEAVING = ".leaving-"
_PREPARING = ".preparing-"
_MOST_LINKS = 8


# --- what a deletion would do


@dataclass(frozen=True)
class Deletion:
    """A deletion that may be done.

    Attributes:
        runs: The runs folder.
        name: The study.
        trials: Number of its trials in its storage; None if the study is not there, or not this folder's.
        url: The URL of its storage.
        goes: Sentences on what is deleted.
        stays: Sentences on what is not.
    """

    runs: Path
    name: str
    trials: int | None
    url: str
    goes: tuple[str, ...]
    stays: tuple[str, ...]

    @property
    def directory(self) -> Path:
        """The study's folder."""
        return layout.study_directory(self.runs, self.name)

    @property
    def what(self) -> str:
        """The study in words."""
        return f"study '{self.name}' ({count(self.trials or 0, 'trial')})"


def refuse_foreign(runs: Path, name: str) -> None:
    """Refuse what must not even be locked for a deletion: another user's study, and folders of many studies.

    Raises:
        NotDeleted: with the owner, or what the folder is.
    """
    directory = layout.study_directory(runs, name)
    if problem := name_problem(name):
        raise NotDeleted(
            f"{directory} cannot be deleted as a study: its name {problem}. Remove what is the study's by hand: "
            f"{layout.SPEC}, trials, report.*"
        )
    refuse_other_user(directory, f"study '{name}'", "delete")
    files = [runs, directory if not directory.is_symlink() else runs]
    file = storage_file(storage_url(_spec(directory), runs))
    if file is not None and file.exists():
        files.append(file)
    for path in files:
        if not os.access(path, os.W_OK):
            raise NotDeleted(f"study '{name}' cannot be deleted: {why_denied(path)}. Nothing was changed")


def refuse_other_user(path: Path, what: str, verb: str) -> None:
    """Refuse to change what another user owns; root may.

    Raises:
        NotDeleted: with both users.
    """
    owner = path.lstat().st_uid
    if os.geteuid() not in (0, owner):
        raise NotDeleted(f"{why_denied(path)}: only {name_of(owner)} may {verb} {what}. Nothing was changed")


def plan_deletion(runs: Path, name: str) -> Deletion:
    """Look what deleting a study means; nothing is changed. Hold the driver's lock.

    Raises:
        NotDeleted: the folder and the storage have two different studies of this name.
        StorageError: the storage cannot be read.
    """
    directory = layout.study_directory(runs, name)
    spec = _spec(directory)
    url = storage_url(spec, runs)
    original = original_of(directory)
    trials = None if original and not lies_in(url, runs) else _trials(directory, name, url)
    goes, stays = list(_files(directory)), list(_links(directory))
    if trials is not None:
        goes.append(f"study '{name}' ({count(trials, 'trial')}) in the storage {redact(url)}")
    elif original and not lies_in(url, runs):
        stays.append(f"study '{name}' in the storage {redact(url)}: the folder is a copy of {original}, which uses it")
    known = read_place(directory, runs)
    if known is not None:
        uri = written_uri(spec, runs, known)
        if owner := copied_runs(directory, uri, runs):
            stays.append(f"runs in MLflow at {redact(uri)}: they are those of {owner}")
        else:
            goes.append(f"its runs in MLflow at {redact(uri)}, to MLflow's trash")
    return Deletion(runs, name, trials, url, tuple(goes), tuple(stays))


def _files(directory: Path) -> Iterator[str]:
    if directory.is_symlink():
        yield f"{directory}, a link"
        return
    yield f"{directory}: {said_content(content_of(directory))}"
    if shared := own_shared(directory):
        yield f"{shared}, the folders of its trials: {said_content(content_of(shared))}"


def _links(directory: Path) -> Iterator[str]:
    """Yield what links lead to: it was not made here, but for the trials' folders of `engine.checkpoint_dir`."""
    shared = own_shared(directory)
    links = content_of(directory).links
    for link in links[:_MOST_LINKS]:
        if not (shared and link == layout.trials_directory(directory)):
            yield f"{os.readlink(link)}: {link} is a link to it, and the link alone goes"
    if len(links) > _MOST_LINKS:
        yield f"what {len(links) - _MOST_LINKS} more links lead to"
    target = link_target(directory)
    if target and not shared and (original := original_of(target.parent, directory)):
        yield f"the trials in {target}: they are those of {original}, of which this folder is a copy"


def said_content(content: Content) -> str:
    """Return `12 files, 3.4 MB`."""
    return f"{count(content.files, 'file')}, {content.size / 1e6:.3g} MB"


def _trials(directory: Path, name: str, url: str) -> int | None:
    """Count the trials that the storage has of the study; None if it was deleted there before.

    Raises:
        NotDeleted: the storage's study is another one.
    """
    with opened(url) as storage:
        found = study_in(storage, name) if storage else None
        if storage is None or found is None:
            return None
        here, (study, there) = read_key(directory), found
        if here and here != there:
            raise NotDeleted(
                f"{directory} and the storage {redact(url)} have two different studies of the name '{name}': the "
                f"folder carries the key {here[:8]}, the study in the storage {there[:8] or 'none'} (it was deleted "
                "and made anew, or the storage was changed). Neither was deleted. Remove the folder by hand, or the "
                f"study in the storage with `optuna delete-study --study-name {name}`"
            )
        return len(storage.get_all_trials(study, deepcopy=False))


@contextmanager
def opened(url: str) -> Iterator[BaseStorage | None]:
    """Open a storage, and close it at the end; None where its file is gone, which opening it would make anew."""
    file = storage_file(url)
    if file is not None and not file.exists():
        yield None
        return
    storage = open_storage(url, keep=False)
    try:
        yield storage
    finally:
        close_storage(storage)


# --- into the trash


def move_to_trash(deletion: Deletion) -> tuple[Path, str]:
    """Move a study to the trash. Hold the driver's lock.

    Returns:
        The entry of the trash, and what became of its runs in MLflow.

    Raises:
        NotDeleted: the folder cannot be moved; the study is as it was.
        StorageError: the storage cannot be written; the same command again finishes the deletion.
    """
    directory, runs, name = deletion.directory, deletion.runs, deletion.name
    key, shared = read_key(directory), own_shared(directory)
    try:
        with _new_entry(runs, name) as (unfinished, entry):
            if deletion.trials is not None:
                with opened(deletion.url) as storage:
                    assert storage is not None
                    (unfinished / layout.SAVED_STUDY).write_text(export_study(storage, name)[0], encoding="utf-8")
            there = os.path.realpath(directory)
            url = redact(deletion.url)
            write_saved(unfinished, SavedStudy(name, key, time.time(), deletion.trials, there, url, deleting=True))
        directory.rename(entry / layout.SAVED_FOLDER)
    except OSError as error:
        raise NotDeleted(
            f"study '{name}' cannot be moved to {layout.trash_directory(runs)}: {error.strerror or error}. It is as it "
            "was"
        ) from error
    _note_place(entry, key, shared)
    return entry, finish(runs, entry, deletion.url)


def finish(runs: Path, entry: Path, url: str = "") -> str:
    """End a deletion whose files are in the trash. Return what became of the runs in MLflow.

    Args:
        runs: The runs folder.
        entry: The entry of the trash.
        url: The URL of the storage, with its password; empty for that which was noted.

    Raises:
        StorageError: the storage cannot be written.
    """
    saved = read_saved(entry)
    if saved.trials is not None:
        with opened(url or saved.storage) as storage:
            found = study_in(storage, saved.study) if storage else None
            if storage and found and found[1] == saved.key:
                remove_study(storage, saved.study)
    said, saved = _discard_runs(runs, entry, saved)
    write_saved(entry, replace(saved, deleting=False))
    return said


def make_trash(runs: Path) -> Path:
    """Return the trash of a runs folder, made if need be: who may write there may delete his studies."""
    trash = layout.trash_directory(runs)
    if not trash.is_dir():
        trash.mkdir(exist_ok=True)
        with suppress(OSError):
            os.chmod(trash, stat.S_IMODE(runs.stat().st_mode))
    return trash


@contextmanager
def _new_entry(runs: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """Make an entry of the trash. Yield the folder to fill, and its name once it is filled.

    What a kill left of an earlier deletion of this study, before it took the folder away, is removed.
    """
    trash = make_trash(runs)
    for entry in trash.glob(f"{name}-*"):
        with suppress(OSError, NotRestored):
            if read_saved(entry).study == name and not os.path.lexists(entry / layout.SAVED_FOLDER):
                remove(entry)
    unfinished = trash / f"{_PREPARING}{name}"
    remove(unfinished)
    unfinished.mkdir()
    entry = free_name(trash / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    yield unfinished, entry
    unfinished.rename(entry)


def _note_place(entry: Path, key: str, shared: Path | None) -> None:
    """Note where the folder is now, so that no copy of it takes itself for the one that was moved."""
    folder = entry / layout.SAVED_FOLDER
    if key and not folder.is_symlink():
        with suppress(OSError):
            write_key(folder, key)
            if shared is not None:
                write_key(shared, key, folder)


def _discard_runs(runs: Path, entry: Path, saved: SavedStudy) -> tuple[str, SavedStudy]:
    """Move the runs to MLflow's trash. A server that is away does not keep a study from being deleted."""
    from hpo.trackers.mlflow.sync import discard

    folder = entry / layout.SAVED_FOLDER
    noted = saved

    def note(run_ids: Sequence[str]) -> None:
        nonlocal noted
        noted = replace(noted, mlflow_runs=tuple(dict.fromkeys([*noted.mlflow_runs, *run_ids])))
        write_saved(entry, noted)

    try:
        thrown = discard(folder, runs, _spec(folder), note)
    except HpoError as error:
        return f"; its runs in MLflow stay: {error}", noted
    return (f"; {count(thrown, 'run')} of it went to MLflow's trash" if thrown else ""), noted


# --- out of the trash


@dataclass(frozen=True)
class TrashEntry:
    """An entry of the trash: its folder, what it says of itself (None: nothing), and what is in it and beside it."""

    path: Path
    saved: SavedStudy | None
    content: Content
    shared: Path | None

    def __str__(self) -> str:
        what = f"study '{self.saved.study}', deleted {self.saved.when}" if self.saved else "rest of a study"
        beside = f", with {self.shared} ({said_content(content_of(self.shared))})" if self.shared else ""
        return f"{self.path}: {what} ({said_content(self.content)}){beside}"


def trash_of(runs: Path, name: str | None = None) -> list[TrashEntry]:
    """Return what is in the trash, or in it of studies called `name`; rests of what was being removed too."""
    trash = layout.trash_directory(runs)
    readable = dict(trash_entries(runs))
    found = []
    for path in sorted(trash.iterdir()) if trash.is_dir() else ():
        saved = readable.get(path)
        if name is None or (saved is not None and saved.study == name):
            folder = path / layout.SAVED_FOLDER
            shared = None
            with suppress(PermissionError):  # another user's
                shared = own_shared(folder)
            found.append(TrashEntry(path, saved, content_of(path), shared))
    return found


def purge(runs: Path, entry: TrashEntry) -> None:
    """Remove an entry of the trash for good, and the folders of the study's trials elsewhere.

    Raises:
        NotDeleted: it is another user's, something is mounted in it, or it cannot be removed. The same command again
            goes on.
        StorageError: its deletion was cut short, and its storage cannot be written.
    """
    path, shared = entry.path, entry.shared
    refuse_other_user(path, str(path), "remove")
    for folder in filter(None, (path, shared)):
        if mounted := mounts_in(folder):
            raise NotDeleted(f"{folder} stays: {mounted[0]} is mounted in it; unmount it first")
    if entry.saved is not None and entry.saved.deleting:
        finish(runs, path)
    try:
        if not path.name.startswith(LEAVING):
            leaving = free_name(path.with_name(f"{LEAVING}{path.name}"))
            path.rename(leaving)
            path = leaving
        if shared is not None:
            # What tells whose it is goes last: a kill may come in between.
            for inside in sorted(shared.iterdir(), key=lambda one: one.name == layout.OWNER):
                remove(inside)
            remove(shared)
        remove(path)
    except OSError as error:
        raise NotDeleted(f"{error.filename or path} cannot be removed: {error.strerror or error}") from error


def _spec(directory: Path) -> StudySpec:
    return load_spec(directory / layout.SPEC, locate=False)
