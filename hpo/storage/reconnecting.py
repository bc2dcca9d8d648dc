"""Storage of Optuna that waits for a database which is away for a while (see `hpo.storage.absence`).

An operation that fails for it is done again. A COMMIT whose answer was lost may have happened. So an operation that
must not be done twice first checks whether it was done. A study has one writer (its driver): what is found in the state
that was to be written was written by the try before.
"""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.storage.absence import SERVER, Absence
from hpo.text import first_line, redact

if TYPE_CHECKING:
    from optuna.storages._rdb.models import TrialModel
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.orm import Session

PATIENCE = 600.0
_FIRST_PAUSE = 0.1
# Seconds until a wait notices `stop_waiting`.
_SLICE = 0.1

P = ParamSpec("P")
T = TypeVar("T")


class _Away(Exception):
    """Raised if the database is away: the connection was lost, none can be made, or its file is locked.

    It is no error of SQLAlchemy's, so that Optuna lets it pass. Otherwise Optuna would do some operations again itself,
    and report the others as invalid data.
    """


def _again(
    method: Callable[Concatenate[ReconnectingStorage, P], T],
) -> Callable[Concatenate[ReconnectingStorage, P], T]:
    """Wrap a method that may be done any number of times: a read, or a write of one value."""

    @functools.wraps(method)
    def call(self: ReconnectingStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._retry(lambda _: method(self, *args, **kwargs))

    return call


class ReconnectingStorage(RDBStorage):
    """Storage for the driver of a study on a database server (PostgreSQL, MySQL, ...) or in a SQLite file.

    Opening raises what RDBStorage raises, but waits for a file that is locked. A later operation that cannot be done
    for `patience` seconds raises StorageInternalError; after `stop_waiting` it does so at once.

    Args:
        url: the database.
        say: gets a sentence when the database is away, and one when it is back.
        absence: how it is away.
        patience: seconds for which an operation is tried again.
        prepare: called with the storage while it is opened.
    """

    def __init__(
        self,
        url: str,
        say: Callable[[str], None],
        absence: Absence = SERVER,
        patience: float = PATIENCE,
        prepare: Callable[[RDBStorage], None] = lambda _: None,
    ) -> None:
        self._address = url
        self._say = say
        self._absence = absence
        self._patience = patience
        self._prepare = prepare
        self._stopped = False
        self._made: int | None = None
        self._retry(lambda _: self._open())

    def stop_waiting(self) -> None:
        """Let operations that lose their connection raise, those that already wait too. For signal handlers."""
        self._stopped = True

    def _open(self) -> None:
        from sqlalchemy import event

        try:
            super().__init__(self._address, engine_kwargs=dict(self._absence.options(self._address)))
            self._prepare(self)
        except Exception as error:
            if hasattr(self, "engine"):
                self.engine.dispose()
            if self._absence.opening(error):
                raise _Away(first_line(error)) from error
            raise
        event.listen(self.engine, "handle_error", self._classify_error)

    def _classify_error(self, context: ExceptionContext) -> None:
        """Raise _Away if a later try may succeed. SQLAlchemy calls this with every error of the database."""
        error = context.original_exception
        if context.is_pre_ping or not isinstance(error, Exception):
            return  # the pool makes a new connection by itself; an exit is no failure
        if self._absence.lost(context):
            raise _Away(first_line(error)) from error

    # --- operations that know what an earlier try may have left

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Create a study, under one name over all tries."""
        # With a name of its own, each try would leave a study behind.
        name = study_name or f"{DEFAULT_STUDY_NAME_PREFIX}{uuid.uuid4()}"

        def create(again: bool) -> int:
            try:
                return RDBStorage.create_new_study(self, directions, name)
            except DuplicatedStudyError:
                if not again:
                    raise
                study_id = self.get_study_id_from_name(name)
                if self.get_study_directions(study_id) != list(directions) or self.get_all_trials(study_id):
                    raise
                return study_id

        return self._retry(create)

    def delete_study(self, study_id: int) -> None:
        """Delete a study, which the try before may have done."""

        def delete(again: bool) -> None:
            try:
                RDBStorage.delete_study(self, study_id)
            except KeyError:
                if not again:
                    raise

        self._retry(delete)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        self._made = None

        def create(again: bool) -> FrozenTrial:
            if again and self._absence.undone:
                self._made = None  # another program may have got its id since
            return RDBStorage._create_new_trial(self, study_id, template_trial)

        return self._retry(create)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        """Return the row of a new trial. Optuna calls this in its transaction, with the study locked, at each try."""
        if self._made is not None:
            from optuna.storages._rdb.models import TrialModel

            # After a crash another study's trial may have got the id of a transaction that was lost.
            made = session.query(TrialModel).filter_by(trial_id=self._made, study_id=study_id).one_or_none()
            if made is not None:
                return made
        trial = super()._get_prepared_new_trial(study_id, template_trial, session)
        self._made = int(trial.trial_id)
        return trial

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set a trial's state, which the try before may have done."""

        def is_so() -> bool:
            trial = self.get_trial(trial_id)
            return trial.state == state and trial.values == (None if values is None else list(values))

        def write(again: bool) -> bool:
            try:
                written = RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except UpdateFinishedTrialError:
                if again and is_so():
                    return True
                raise
            return written or (again and is_so())

        return self._retry(write)

    # --- operations that may be done twice (the database refuses a second row of a parameter, and Optuna ignores that)

    set_study_user_attr = _again(RDBStorage.set_study_user_attr)
    set_study_system_attr = _again(RDBStorage.set_study_system_attr)
    get_study_id_from_name = _again(RDBStorage.get_study_id_from_name)
    get_study_name_from_id = _again(RDBStorage.get_study_name_from_id)
    get_study_directions = _again(RDBStorage.get_study_directions)
    get_study_user_attrs = _again(RDBStorage.get_study_user_attrs)
    get_study_system_attrs = _again(RDBStorage.get_study_system_attrs)
    get_all_studies = _again(RDBStorage.get_all_studies)
    _set_trial_param = _again(RDBStorage._set_trial_param)
    set_trial_intermediate_value = _again(RDBStorage.set_trial_intermediate_value)
    set_trial_user_attr = _again(RDBStorage.set_trial_user_attr)
    set_trial_system_attr = _again(RDBStorage.set_trial_system_attr)
    get_trial_id_from_study_id_trial_number = _again(RDBStorage.get_trial_id_from_study_id_trial_number)
    get_trial = _again(RDBStorage.get_trial)
    get_trial_param = _again(RDBStorage.get_trial_param)
    get_trial_user_attrs = _again(RDBStorage.get_trial_user_attrs)
    get_trial_system_attrs = _again(RDBStorage.get_trial_system_attrs)
    _get_trials = _again(RDBStorage._get_trials)
    _get_best_trial_id = _again(RDBStorage._get_best_trial_id)
    record_heartbeat = _again(RDBStorage.record_heartbeat)
    _get_stale_trial_ids = _again(RDBStorage._get_stale_trial_ids)

    # --- the wait

    def _retry(self, operation: Callable[[bool], T]) -> T:
        """Do an operation until the database answers. Its argument says whether it was tried before."""
        try:
            return operation(False)
        except _Away as away:
            why = str(away)
        began, since = time.monotonic(), time.strftime("%H:%M:%S")
        # The second try comes at once, and silently: the server may be there, and only the connection was cut.
        said, pause = False, 0.0
        while True:
            self._wait(pause, began, why)
            try:
                result = operation(True)
                break
            except _Away as away:
                why = str(away)
            if not said and time.monotonic() - began >= self._absence.quiet:
                said = True
                words = {"url": redact(self._address), "since": since, "why": why, "patience": self._patience}
                self._say(self._absence.away.format_map(words))
            pause = min(max(2 * pause, _FIRST_PAUSE), self._absence.longest_pause)
        if said:
            seconds = time.monotonic() - began
            self._say(self._absence.back.format(url=redact(self._address), seconds=seconds))
        return result

    def _wait(self, pause: float, began: float, why: str) -> None:
        """Wait before the next try. Raise StorageInternalError if there is to be none."""
        end = began + self._patience
        until = min(time.monotonic() + pause, end)
        while not self._stopped and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
        if self._stopped or time.monotonic() >= end:
            raise StorageInternalError(self._absence.given_up.format(seconds=time.monotonic() - began, why=why))
