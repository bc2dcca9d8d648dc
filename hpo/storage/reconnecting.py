"""An Optuna storage that waits for a database server which is restarted, crashes or is cut off.

An operation that fails with its connection is done again. The COMMIT whose answer was lost may have happened, so
whatever would not bear to be done twice first looks whether it was: a study has one writer (its driver), so what is
found in the state that was to be written, was written by the try before."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.text import first_line, redact

if TYPE_CHECKING:
    from optuna.storages._rdb.models import TrialModel
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.orm import Session

PATIENCE = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# How long a wait goes on unaware of `stop_waiting`.
_SLICE = 0.1
# So that a host that vanishes without a word is noticed after a minute, not after the hours that TCP gives it.
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

P = ParamSpec("P")
T = TypeVar("T")


class _ConnectionLost(Exception):
    """The connection was lost, or none can be made. No error of SQLAlchemy's: Optuna, which would do some operations
    again itself and report the others as invalid data, lets it pass."""


def _classify_error(context: ExceptionContext) -> None:
    """Raises _ConnectionLost for what a later try may mend; SQLAlchemy calls it with every error of the database."""
    error = context.original_exception
    if context.is_pre_ping or not isinstance(error, Exception):
        return  # the pool makes a new connection by itself; an exit is no failure
    if context.connection is None or context.is_disconnect:
        raise _ConnectionLost(first_line(error)) from error


def _again(
    method: Callable[Concatenate[ReconnectingStorage, P], T],
) -> Callable[Concatenate[ReconnectingStorage, P], T]:
    """A method that may be done any number of times: a read, or a write of one value."""

    @functools.wraps(method)
    def call(self: ReconnectingStorage, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._retry(lambda _: method(self, *args, **kwargs))

    return call


class ReconnectingStorage(RDBStorage):
    """For the driver of a study on a database server (PostgreSQL, MySQL, ...; SQLite has none).

    say: gets a sentence when the database is away, and one when it is back. patience: for how many seconds an
    operation is tried again; then it raises StorageInternalError, and after `stop_waiting` it does so at once. Opening
    does not wait: it raises what RDBStorage raises."""

    def __init__(self, url: str, say: Callable[[str], None], patience: float = PATIENCE) -> None:
        from sqlalchemy import event

        try:
            super().__init__(url, engine_kwargs={"pool_pre_ping": True, "connect_args": _libpq_timeouts(url)})
        except Exception:
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise
        self._say = say
        self._patience = patience
        self._stopped = False
        self._made: int | None = None
        event.listen(self.engine, "handle_error", _classify_error)

    def stop_waiting(self) -> None:
        """From now on an operation that loses its connection raises, as does one that waits already. For signal
        handlers."""
        self._stopped = True

    # --- operations that know what an earlier try may have left

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        # One name for all tries: each would leave a study behind if it made up its own.
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
        def delete(again: bool) -> None:
            try:
                RDBStorage.delete_study(self, study_id)
            except KeyError:
                if not again:
                    raise

        self._retry(delete)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        self._made = None
        return self._retry(lambda _: RDBStorage._create_new_trial(self, study_id, template_trial))

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> TrialModel:
        """Called in the transaction that makes a trial, once for each try, with the study locked."""
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

    # --- operations that bear to be done twice (the database refuses a second row of a parameter; Optuna ignores it)

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
        """Does an operation until the database answers; it is told whether it was tried before."""
        try:
            return operation(False)
        except _ConnectionLost as away:
            why = str(away)
        began, since = time.monotonic(), time.strftime("%H:%M:%S")
        # The first try again comes at once: a connection that was cut while the server is there is no news.
        said, pause = False, 0.0
        while True:
            self._wait(pause, began, why)
            try:
                result = operation(True)
                break
            except _ConnectionLost as away:
                why = str(away)
            if not said:
                self._say(
                    f"the database {redact(self.url)} is away since {since} ({why}); the study waits for it, at most "
                    f"{self._patience:g} s"
                )
            said, pause = True, min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        if said:
            seconds = time.monotonic() - began
            self._say(f"the database {redact(self.url)} is back after {seconds:.0f} s; the study goes on")
        return result

    def _wait(self, pause: float, began: float, why: str) -> None:
        """Raises StorageInternalError when there is to be no other try."""
        end = began + self._patience
        until = min(time.monotonic() + pause, end)
        while not self._stopped and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))
        if self._stopped or time.monotonic() >= end:
            raise StorageInternalError(f"the database has been away for {time.monotonic() - began:.0f} s ({why})")


def _libpq_timeouts(url: str) -> Mapping[str, Any]:
    """What libpq is told of time, where the URL does not say it."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql" or parsed.get_driver_name() not in ("psycopg", "psycopg2"):
        return {}
    return {name: value for name, value in _LIBPQ.items() if name not in parsed.query}
