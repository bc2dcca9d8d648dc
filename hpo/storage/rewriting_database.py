"""Rewriting of a study in a database, in one transaction.

The tables are Optuna's own (`optuna.storages._rdb.models`, which Optuna keeps to itself): a study, its trials, and of
each trial its parameters and attributes.
"""

from __future__ import annotations

import json

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from hpo.errors import StorageError, StorageLocked
from hpo.storage.absence import HOLDERS, is_locked
from hpo.storage.rewriting import Rewriting
from hpo.text import first_line

_PARAMS = models.TrialParamModel.__table__
_USER = models.TrialUserAttributeModel.__table__
_SYSTEM = models.TrialSystemAttributeModel.__table__
_STUDY = models.StudyUserAttributeModel.__table__
# Identifiers that a statement names at once: databases limit the number.
_AT_ONCE = 500


def rewrite_database(storage: BaseStorage, rewriting: Rewriting) -> None:
    """Rewrite a study in a database. Hold its driver's lock.

    Raises:
        StorageError: the database is locked, away or full; nothing was changed.
    """
    if not isinstance(storage, RDBStorage):
        raise StorageError(f"a storage of the kind {type(storage).__name__} cannot be rewritten")
    try:
        with storage.engine.begin() as connection:
            ids = list(rewriting.trials)
            for first in range(0, len(ids), _AT_ONCE):
                _rewrite_trials(connection, rewriting, ids[first : first + _AT_ONCE])
            _rewrite_study(connection, rewriting)
    except SQLAlchemyError as error:
        if is_locked(error):
            raise StorageLocked(f"the storage is locked: {HOLDERS}. Nothing was changed; try again later") from error
        raise StorageError(f"the study cannot be rewritten: {first_line(error)}. Nothing was changed") from error


def _rewrite_trials(connection: Connection, rewriting: Rewriting, ids: list[int]) -> None:
    rows = [
        {"trial_id": trial, "param_name": name, "param_value": value, "distribution_json": distribution}
        for trial in ids
        for name, (value, distribution) in rewriting.stored(trial).items()
    ]
    connection.execute(delete(_PARAMS).where(_PARAMS.c.trial_id.in_(ids)))
    if rows:
        connection.execute(insert(_PARAMS), rows)
    for table, changed in ((_USER, rewriting.user_attribute), (_SYSTEM, rewriting.system_attribute)):
        (identifier,) = table.primary_key
        for row in connection.execute(select(table).where(table.c.trial_id.in_(ids))).mappings().all():
            here = table.update().where(identifier == row[identifier.name])
            if table is _SYSTEM and not rewriting.stays(row["key"]):
                connection.execute(delete(table).where(identifier == row[identifier.name]))
                continue
            value = json.loads(row["value_json"])
            new = changed(row["trial_id"], row["key"], value)
            if new is not value:
                connection.execute(here.values(value_json=json.dumps(new)))


def _rewrite_study(connection: Connection, rewriting: Rewriting) -> None:
    rows = connection.execute(select(_STUDY).where(_STUDY.c.study_id == rewriting.study)).mappings().all()
    for row in rows:
        value = json.loads(row["value_json"])
        new = rewriting.study_attribute(row["key"], value)
        if new is not value:
            here = _STUDY.c.study_user_attribute_id == row["study_user_attribute_id"]
            connection.execute(update(_STUDY).where(here).values(value_json=json.dumps(new)))
