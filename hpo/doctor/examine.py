"""Examination of the machine, the storages and each study: find what is wrong, fix what can be fixed, look again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage

from hpo import layout
from hpo.doctor import (
    checkpoint_checks,
    file_checks,
    history_checks,
    machine_checks,
    mlflow_checks,
    optuna_checks,
    process_checks,
    spec_checks,
    storage_checks,
)
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import CheckedFinding, Finding, not_looked_at
from hpo.errors import AccessDenied, HpoError, StorageError, StudyLocked
from hpo.machine.access import denial, is_denied, may_write, require_write, why_denied
from hpo.machine.files import NotPlainError
from hpo.spec.models import StudySpec
from hpo.storage.driver_lock import driver_lock, driver_of, last_driver
from hpo.storage.driver_pulse import driver_elsewhere
from hpo.storage.open import close_storage, may_write_storage, storage_file, storage_url
from hpo.text import one_line, redact

# Fixing Optuna makes MLflow differ, so it is looked at again; what is still found then comes back by itself.
_ROUNDS = 3
_ASK = "let its owner, or root, run `hpo doctor --fix`"
# In this order: processes write files, histories tell when a lost attempt ended, MLflow is written from all of it.
_GROUPS: tuple[tuple[Check, ...], ...] = (
    process_checks.CHECKS,
    file_checks.CHECKS[:2],
    history_checks.CHECKS[:1],
    optuna_checks.CHECKS,
    history_checks.CHECKS[1:],
    (*file_checks.CHECKS[2:], *checkpoint_checks.CHECKS, *machine_checks.CHECKS),
    (storage_checks.half_made_mlflow, *mlflow_checks.CHECKS),
)


def examine(
    runs: Path, names: Sequence[str], fix: bool, progress: Callable[[str], None] = lambda name: None
) -> list[CheckedFinding]:
    """Find everything that is wrong with studies of a runs folder.

    Args:
        runs: The runs folder.
        names: Studies; none stands for all, and for what is wrong beside them.
        fix: Fix what can be fixed, under the lock of each study's driver. Nothing is fixed of a study that is being
            driven. Without it nothing is changed.
        progress: Called with the name of each study before it is examined.

    Returns:
        The findings, with what became of each.

    Raises:
        AccessDenied: `fix`, and this user may write none of the studies.
    """
    doctor = _Doctor(runs, fix, progress)
    try:
        return doctor.examine(names)
    finally:
        doctor.close()


@dataclass
class _Doctor:
    runs: Path
    fix: bool
    progress: Callable[[str], None]
    storages: dict[str, BaseStorage] = field(default_factory=dict)

    def close(self) -> None:
        for storage in self.storages.values():
            close_storage(storage)

    def examine(self, names: Sequence[str]) -> list[CheckedFinding]:
        everything = not names
        specs: dict[str, StudySpec] = {}
        done = [CheckedFinding(not_looked_at("", why_denied(path)), "left") for path in self._closed(everything)]
        if self.fix:
            self._require_write([self.runs / name for name in names or spec_checks.folders(self.runs)])
        for name in names or spec_checks.folders(self.runs):
            read = spec_checks.read_spec(self.runs, name)
            if isinstance(read, Finding):
                done.append(CheckedFinding(read, "left"))
            else:
                specs[name] = read
        urls: dict[str, list[str]] = {}
        for name, spec in specs.items():
            urls.setdefault(storage_url(spec, self.runs), []).append(name)
        if everything and (journal := self.runs / layout.JOURNAL).exists():
            urls.setdefault(f"journal:{journal}", [])
        whole = set()
        for url, its in urls.items():
            checked = self._storage(url, its)
            done += checked
            if all(one.result == "fixed" for one in checked):
                whole.add(url)
        if everything:
            done += [CheckedFinding(finding, "left") for finding in self._lost_folders(urls)]
        for name, spec in specs.items():
            url = storage_url(spec, self.runs)
            if url in self.storages:
                self.progress(name)
                try:
                    done += self._study(name, spec, self.storages[url], self.fix and url in whole)
                except OSError as error:
                    if is_denied(error):
                        done.append(CheckedFinding(not_looked_at(name, str(denial(error))), "left"))
                    else:
                        done.append(CheckedFinding(_unreadable_folder(self.runs, name, error), "left"))
                except Exception as error:  # a record that Optuna, or its database, cannot read
                    done.append(CheckedFinding(_unreadable_record(f"study '{name}'", url, error), "left"))
        # Last: what wrote there has been ended by then, and fixing may have freed room.
        done += [self._fixed(finding, self.fix) for finding in file_checks.left_in(self.runs)]
        return [*done, *(CheckedFinding(finding, "left") for finding in self._machine(specs))]

    def _machine(self, specs: Mapping[str, StudySpec]) -> Iterator[Finding]:
        def surplus(name: str) -> int:
            storage = self.storages.get(storage_url(specs[name], self.runs))
            if storage is None or driver_of(layout.study_directory(self.runs, name)):
                return 0
            return checkpoint_checks.surplus_bytes(self._context(name, specs[name], storage, None))

        if self.runs.is_dir():
            if self.fix:  # which may write there
                yield from machine_checks.clocks_apart(self.runs)
            yield from machine_checks.full_disks(self.runs, list(specs), surplus)

    # --- before a study can be opened

    def _closed(self, everything: bool) -> list[Path]:
        return layout.closed_folders(self.runs) if everything else []

    @staticmethod
    def _require_write(folders: Sequence[Path]) -> None:
        if folders and not any(map(may_write, folders)):
            require_write(folders[0], f"study '{folders[0].name}' cannot be fixed")

    def _storage(self, url: str, names: Sequence[str]) -> list[CheckedFinding]:
        fix = self.fix and may_write_storage(url)
        try:
            checks = (storage_checks.torn_journal(url, fix), storage_checks.damaged_journal(url, self.runs))
            done = [self._fixed(finding, fix) for finding in chain.from_iterable(checks)]
            found = storage_checks.opened(url, names, fix)
        except (AccessDenied, PermissionError) as error:
            said = str(denial(error)) if isinstance(error, OSError) else str(error)
            return [CheckedFinding(not_looked_at("", said), "left")]
        if isinstance(found, Finding):
            # It is that alone which cannot be read.
            return [*done, *([] if any(one.result == "left" for one in done) else [CheckedFinding(found, "left")])]
        self.storages[url] = found
        return done

    def _lost_folders(self, urls: Iterable[str]) -> Iterator[Finding]:
        """Look at storages in the runs folder alone: one elsewhere may hold the studies of other runs folders."""
        for url in urls:
            path = storage_file(url)
            if url in self.storages and path is not None and path.is_relative_to(self.runs):
                try:
                    yield from spec_checks.without_folder(self.runs, self.storages[url], redact(str(path)))
                except Exception as error:  # as above
                    yield _unreadable_record("its studies", url, error)

    # --- a study

    def _study(self, name: str, spec: StudySpec, storage: BaseStorage, fix: bool) -> list[CheckedFinding]:
        directory = layout.study_directory(self.runs, name)
        left = _left_lock(directory)
        if self._driver(name, storage) is not None:
            fix = False
        with ExitStack() as stack:
            denied: list[CheckedFinding] = []
            if fix:
                try:
                    stack.enter_context(driver_lock(directory))
                except StudyLocked:
                    fix, left = False, None
                except AccessDenied as error:
                    fix = False
                    denied = [CheckedFinding(Finding("not-fixable", name, None, str(error), "certain", _ASK), "left")]
                except StorageError:
                    fix = False
            # `fix`: it is taken already, and empty when it is left.
            done = [*denied, *([CheckedFinding(left, "fixed" if fix else "left")] if left else [])]
            return [*done, *(self._rounds(name, spec, storage) if fix else self._look(name, spec, storage))]

    def _driver(self, name: str, storage: BaseStorage) -> Mapping[str, Any] | None:
        """Return the driver at work on a study, from this runs folder or another one."""
        directory = layout.study_directory(self.runs, name)
        here = driver_of(directory)
        if here is not None:
            return here
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return None
        return driver_elsewhere(study, directory)

    def _look(self, name: str, spec: StudySpec, storage: BaseStorage) -> list[CheckedFinding]:
        for _ in range(_ROUNDS):
            driver = self._driver(name, storage)
            found = list(self._findings(name, spec, storage, driver))
            # One that came or went meanwhile makes nonsense of what was seen.
            if (driver is None) == (self._driver(name, storage) is None):
                break
        if driver is not None:
            found = [replace(one, fix=None, remedy=f"{one.remedy} (once its driver has ended)") for one in found]
        return [CheckedFinding(one, "left") for one in found]

    def _rounds(self, name: str, spec: StudySpec, storage: BaseStorage) -> list[CheckedFinding]:
        """Fix and look again, with the driver's lock held. What is fixed, and found once more, was not fixed."""
        done: dict[tuple[str, int | None, str], CheckedFinding] = {}
        left: list[CheckedFinding] = []
        for number in range(_ROUNDS + 1):
            left, changed = [], False
            for group in _GROUPS:
                for finding in self._asked(name, spec, storage, None, group):
                    checked = self._fixed(finding, number < _ROUNDS)
                    if checked.result == "fixed":
                        done[_key(finding)] = checked
                        changed = True
                    elif done.pop(_key(finding), None) is not None:
                        left.append(CheckedFinding(finding, "failed", "it came back after it was fixed"))
                    else:
                        left.append(checked)
            if not changed:
                break
        return [*done.values(), *left]

    def _fixed(self, finding: Finding, fix: bool) -> CheckedFinding:
        if not fix or finding.fix is None:
            return CheckedFinding(finding, "left")
        try:
            finding.fix()
        except (HpoError, OSError, optuna.exceptions.OptunaError, ValueError, KeyError) as error:
            if os.environ.get("HPO_DEBUG") == "1":
                raise
            return CheckedFinding(finding, "failed", one_line(error))
        return CheckedFinding(finding, "fixed")

    def _findings(
        self, name: str, spec: StudySpec, storage: BaseStorage, driver: Mapping[str, Any] | None
    ) -> Iterator[Finding]:
        for group in _GROUPS:
            yield from self._asked(name, spec, storage, driver, group)

    def _asked(
        self, name: str, spec: StudySpec, storage: BaseStorage, driver: Mapping[str, Any] | None, group: Sequence[Check]
    ) -> list[Finding]:
        """Return what a group of checks finds in the study as it is now. One that fails hides no other."""
        found: list[Finding] = []
        try:
            context = self._context(name, spec, storage, driver)
        except KeyError:
            if group is _GROUPS[0]:
                found.append(_not_in_storage(name, spec, self.runs))
            return found
        if file_checks.away(context) and group is not _GROUPS[1]:
            return found
        for check in group:
            try:
                found += check(context)
            except Exception as error:  # whatever lies in a folder
                if isinstance(error, AccessDenied) or is_denied(error):
                    said = str(denial(error)) if isinstance(error, OSError) else str(error)
                    found.append(not_looked_at(name, said))
                    continue
                if os.environ.get("HPO_DEBUG") == "1":
                    raise
                said = f"check {check.__name__} failed: {type(error).__name__}: {one_line(error)}"
                remedy = "HPO_DEBUG=1 shows where"
                found.append(Finding("check-failed", name, None, said, "certain", remedy))
        return found

    def _context(
        self, name: str, spec: StudySpec, storage: BaseStorage, driver: Mapping[str, Any] | None
    ) -> StudyContext:
        study = optuna.load_study(study_name=name, storage=storage)
        trials = study.get_trials(deepcopy=False)
        directory = layout.study_directory(self.runs, name)
        return StudyContext(self.runs, name, directory, spec, study, storage, trials, driver)


def _key(finding: Finding) -> tuple[str, int | None, str]:
    return finding.check, finding.trial, finding.said


def _left_lock(directory: Path) -> Finding | None:
    """Find a driver's name in a lock that nobody holds: the driver died before it could remove it."""
    try:
        driver = last_driver(directory)
    except NotPlainError as error:
        return _odd_lock(directory, error)
    if driver is None or driver_of(directory) is not None:
        return None
    who = f"process {driver['pid']} on host {driver['host']}" if {"pid", "host"} <= driver.keys() else "a driver"
    return Finding(
        "driver-died", directory.name, None, f"{who} drove the study and died: it, or its host, was killed", "certain",
        f"clear {layout.LOCK}; `hpo run` goes on", partial(_clear, directory),
    )  # fmt: skip


def _odd_lock(directory: Path, error: NotPlainError) -> Finding:
    path = directory / layout.LOCK
    return Finding(
        "lock-odd", directory.name, None, f"{path} cannot be read: {error.strerror}", "certain",
        f"see that no driver of the study is at work, and remove {path}; until then `hpo run` refuses the study",
    )  # fmt: skip


def _clear(directory: Path) -> None:
    with driver_lock(directory):
        pass  # leaving the lock empties its file


def _unreadable_folder(runs: Path, name: str, error: OSError) -> Finding:
    said = f"{layout.study_directory(runs, name)} cannot be looked at: {one_line(error)}"
    return Finding("folder-unreadable", name, None, said, "certain", "run it as the user who owns the folder")


def _unreadable_record(what: str, url: str, error: Exception) -> Finding:
    if os.environ.get("HPO_DEBUG") == "1":
        raise error
    said = f"{redact(url)}: a record of {what} is damaged, so that they cannot be read: {one_line(error)}"
    remedy = "bring the storage back from a backup, or try `sqlite3 FILE .recover` on a SQLite file"
    return Finding("storage-unreadable", "", None, said, "certain", remedy)


def _not_in_storage(name: str, spec: StudySpec, runs: Path) -> Finding:
    url = redact(storage_url(spec, runs))
    return Finding(
        "study-missing", name, None,
        f"{layout.study_directory(runs, name)} has a study that is not in its storage {url}: it was deleted there, or "
        "the storage was replaced",
        "certain", f"bring the storage back from a backup, or give the study up with `hpo delete {name}`",
    )  # fmt: skip
