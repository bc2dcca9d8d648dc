"""Rewriting of a study in a journal: a new file takes its place, in which all other records are as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from hpo.errors import StorageError
from hpo.machine.files import replacement
from hpo.storage.journal_lock import journal_lock
from hpo.storage.journal_records import (
    CREATE_STUDY,
    CREATE_TRIAL,
    DELETE_STUDY,
    LONGEST,
    PARAM,
    STUDY_USER_ATTR,
    TRIAL_SYSTEM_ATTR,
    TRIAL_USER_ATTR,
    Record,
    parse,
)
from hpo.storage.rewriting import Rewriting


def rewrite_journal(path: Path, rewriting: Rewriting) -> None:
    """Rewrite a study in a journal. Hold the locks of all its drivers.

    Readers notice that the file is another one, and read it from its beginning.

    Raises:
        StorageError: a record is damaged, or the journal's lock cannot be had; nothing was changed.
        OSError: the file cannot be written; nothing was changed.
    """
    with journal_lock(path):
        target = path.resolve()
        rights = target.stat()
        with replacement(target) as file:
            _Rewriter(target, rewriting).write(file.write)
            os.chmod(file.fileno(), rights.st_mode)
            with suppress(OSError):
                os.chown(file.fileno(), rights.st_uid, rights.st_gid)


class _Rewriter:
    """Writer of the new file, which counts studies and trials as Optuna does while the records pass by."""

    def __init__(self, path: Path, rewriting: Rewriting) -> None:
        self._path = path
        self._rewriting = rewriting
        self._studies: dict[int, str] = {}
        self._known_studies = self._known_trials = 0

    def write(self, write: Callable[[bytes], object]) -> None:
        """Write all records with the function `write`."""
        with self._path.open("rb") as journal:
            for number, line in enumerate(iter(lambda: journal.readline(LONGEST), b""), 1):
                for part in self._lines(line, number):
                    write(part)

    def _lines(self, line: bytes, number: int) -> Iterator[bytes]:
        """Yield what takes the place of a line. A torn last one stays: the next writer cuts it off."""
        try:
            record = parse(line)
        except ValueError as error:
            if not line.endswith(b"\n"):
                yield line
                return
            raise StorageError(
                f"{self._path}:{number}: this record of the journal is damaged: {error}. Nothing was changed; `hpo "
                "doctor --fix` mends it"
            ) from None
        records = list(self._records(record))
        if records == [record]:
            yield line
            return
        for one in records:
            yield json.dumps(one, separators=(",", ":")).encode() + b"\n"

    def _records(self, record: Record) -> Iterator[Record]:
        """Yield the records that take the place of one."""
        kind, new = record["op_code"], self._rewriting
        if kind == CREATE_STUDY and record["study_name"] not in self._studies.values():
            self._studies[self._known_studies] = record["study_name"]
            self._known_studies += 1
        elif kind == DELETE_STUDY:
            self._studies.pop(record["study_id"], None)
        elif kind == CREATE_TRIAL and record["study_id"] in self._studies:
            trial = self._known_trials
            self._known_trials += 1
            if trial in new.trials:
                yield from self._created(record, trial)
                return
        elif kind == STUDY_USER_ATTR and record["study_id"] == new.study:
            attributes = {key: new.study_attribute(key, value) for key, value in record["user_attr"].items()}
            yield {**record, "user_attr": attributes}
            return
        elif record.get("trial_id") in new.trials:
            yield from self._of_trial(record, record["trial_id"])
            return
        yield record

    def _created(self, record: Record, trial: int) -> Iterator[Record]:
        """Yield the creation of a trial, with its parameters."""
        stored = self._rewriting.stored(trial)
        if "distributions" in record:
            yield {
                **record,
                "params": {name: value for name, (value, _) in stored.items()},
                "distributions": {name: distribution for name, (_, distribution) in stored.items()},
                "user_attrs": {
                    key: self._rewriting.user_attribute(trial, key, value)
                    for key, value in record["user_attrs"].items()
                },
                "system_attrs": {
                    key: self._rewriting.system_attribute(trial, key, value)
                    for key, value in record["system_attrs"].items()
                    if self._rewriting.stays(key)
                },
            }
            return
        yield record
        for name, (value, distribution) in stored.items():
            yield {
                "op_code": PARAM,
                "worker_id": record["worker_id"],
                "trial_id": trial,
                "param_name": name,
                "param_value_internal": value,
                "distribution": distribution,
            }

    def _of_trial(self, record: Record, trial: int) -> Iterator[Record]:
        """Yield what takes the place of a later record about a trial: its parameters were written at its creation."""
        kind, new = record["op_code"], self._rewriting
        if kind == PARAM:
            return
        if kind == TRIAL_USER_ATTR:
            attributes = {key: new.user_attribute(trial, key, value) for key, value in record["user_attr"].items()}
            yield {**record, "user_attr": attributes}
        elif kind == TRIAL_SYSTEM_ATTR:
            system = record["system_attr"]
            if all(map(new.stays, system)):
                yield {
                    **record,
                    "system_attr": {key: new.system_attribute(trial, key, value) for key, value in system.items()},
                }
        else:
            yield record
