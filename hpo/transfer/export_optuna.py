"""A study as one of Optuna's alone, in any storage: what `optuna.load_study` and optuna-dashboard read."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from hpo import __version__
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.errors import StorageError, TransferError
from hpo.storage.faults import LARGEST_KEPT_STEP
from hpo.storage.open import close_storage, open_storage
from hpo.storage.ownership import key_of
from hpo.text import one_line, redact
from hpo.transfer.bring_in import PROGRESS
from hpo.transfer.optuna_source import EXPORTED, storage_place

_OWN = "hpo:"  # begins the names of attributes that are no user's


def write_optuna(
    record: StudyRecord, stored: optuna.Study, url: str, name: str, say: Callable[[str], object] = str
) -> tuple[int, int]:
    """Write the finished trials of a study into a study of Optuna's.

    Trials have their parameters, distributions, states, values, intermediate values, times and user attributes. What
    Optuna has no place for, such as the other metrics of each step, is in the attribute `hpo:exported`, from which `hpo
    import optuna` takes it. A second export adds what is new.

    Args:
        record: The study.
        stored: The same, as its storage has it.
        url: The storage to write to; made if it is not there.
        name: Name of the study there.
        say: Told how far it is, of many trials.

    Returns:
        The numbers of trials that were written now, and that were there already.

    Raises:
        TransferError: There is another study of this name.
        StorageError: The storage cannot be opened or written.
    """
    place = storage_place(url, must_exist=False)
    storage = open_storage(place, lambda _: None, keep=False)
    try:
        study = _opened(record, stored, storage, name, place)
        there = {(trial.user_attrs.get(EXPORTED) or {}).get("number") for trial in study.get_trials(deepcopy=False)}
        frozen = {trial.number: trial for trial in stored.get_trials(deepcopy=False)}
        new = [trial for trial in record.finished if trial.number not in there]
        for done, trial in enumerate(new):
            if done and done % PROGRESS == 0:
                say(f"{done} of {len(new)} trials are written")
            study.add_trial(_plain(trial, frozen[trial.number]))
        return len(new), len(record.finished) - len(new)
    except optuna.exceptions.StorageInternalError as error:
        raise StorageError(f"the storage {redact(place)} cannot be written: {one_line(error)}") from error
    finally:
        close_storage(storage)


def _opened(
    record: StudyRecord, stored: optuna.Study, storage: optuna.storages.BaseStorage, name: str, place: str
) -> optuna.Study:
    """Return the study to write to, which is new or of an earlier export of the same study."""
    key = key_of(stored)
    try:
        study = optuna.create_study(
            study_name=name, storage=storage, directions=[metric.direction for metric in record.metrics]
        )
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage)
        if (study.user_attrs.get(EXPORTED) or {}).get("key") == key and key:
            return study
        raise TransferError(
            f"{redact(place)} has a study '{name}' that is no export of study '{record.name}'; --name OTHER writes "
            "another one"
        ) from None
    yaml = record.spec.to_yaml() if record.spec is not None else ""
    study.set_user_attr(EXPORTED, {"key": key, "study_yaml": yaml, "hpo": __version__})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # names of metrics
        study.set_metric_names([metric.name for metric in record.metrics])
    return study


def _plain(trial: TrialRecord, frozen: FrozenTrial) -> FrozenTrial:
    """Return a trial without what belongs to hpo, or to the sampler and the pruner that ran it."""
    state = optuna.trial.TrialState[trial.state]
    same = state == frozen.state  # it is FAIL if the storage contradicts itself about its result
    own = {name: value for name, value in frozen.user_attrs.items() if not name.startswith(_OWN)}
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        values=frozen.values if same else None,
        datetime_start=frozen.datetime_start,
        datetime_complete=frozen.datetime_complete,
        params=dict(frozen.params),
        distributions=dict(frozen.distributions),
        user_attrs={**own, EXPORTED: _more(trial)},
        system_attrs={},
        intermediate_values={
            step: value for step, value in frozen.intermediate_values.items() if step <= LARGEST_KEPT_STEP
        },
    )


def _more(trial: TrialRecord) -> dict[str, Any]:
    ended = None if trial.started is None or trial.seconds is None else trial.started + trial.seconds
    return {
        "number": trial.number,
        "metrics": dict(trial.values),
        "cause": trial.cause,
        "reason": trial.reason,
        "source": trial.source,
        "seed": trial.seed,
        "started": trial.started,
        "finished": ended,
        "gpu_seconds": trial.gpu_seconds,
        "history": _history(trial),
    }


def _history(trial: TrialRecord) -> Mapping[str, Sequence[Any]]:
    """Return a history as JSON can hold it, `{"val_loss": [[step, value, time], ...]}`."""
    timed = trial.imported is None or trial.imported.timed
    found: dict[str, list[Any]] = {}
    for step in trial.history:
        for name, value in step.metrics.items():
            written = value if math.isfinite(value) else str(value)
            found.setdefault(name, []).append([step.step, written, step.time if timed else None])
    return found
