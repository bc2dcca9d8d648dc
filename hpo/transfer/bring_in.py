"""Writing of imported trials into a study, so that a kill at any moment leaves whole books and can be gone on from.

A trial's history is written before the trial: every trial that the storage has is whole. A second import passes over
the trials that are there, by the key of where they came from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.control.requests import effective, read_steering, record
from hpo.errors import HpoError, StorageError, TransferError
from hpo.machine.access import denial, is_denied
from hpo.oracle.open_study import open_study
from hpo.oracle.supersede import supersede
from hpo.spec.models import StudySpec
from hpo.spec.population import is_population
from hpo.spec.racing import is_race
from hpo.storage import history
from hpo.storage.driver_lock import driver_lock
from hpo.storage.driver_pulse import driving
from hpo.storage.faults import LARGEST_KEPT_STEP
from hpo.storage.history import Step, mark_of
from hpo.storage.lost_and_found import set_aside
from hpo.storage.open import close_storage, open_storage, storage_url
from hpo.storage.ownership import key_of, set_foreign_aside, write_key
from hpo.storage.shared_trials import mark_shared
from hpo.storage.study_folder import refuse_copy, refuse_deleted, refuse_taken
from hpo.storage.trial_attributes import IMPORT, IMPORTED, JOB, ORIGIN, OUTCOME, imported_from
from hpo.text import LONGEST_REASON, cut, first_line, printable_line, redact
from hpo.transfer.fit import FittedTrial
from hpo.transfer.source import COMPLETE, PRUNED, Source, moment
from hpo.trial import CAUSES, LARGEST_STEP

PROGRESS = 500  # trials, after each of which it is said how far the import is


@dataclass(frozen=True)
class Imported:
    """Result of an import: numbers of trials that are new, and that were there already."""

    new: int
    known: int


def bring_in(
    source: Source, fitted: Sequence[FittedTrial], spec: StudySpec, runs: Path, say: Callable[[str], None]
) -> Imported:
    """Write trials into a study of the runs folder, which is made if it is not there.

    Args:
        source: Where they come from.
        fitted: The trials.
        spec: The study.
        runs: The runs folder.
        say: Gets sentences for the user.

    Raises:
        TransferError: Trials cannot be imported into such a study.
        HpoError: The study cannot be opened.
    """
    _refuse(spec)
    with _storage_errors(), _opened(spec, runs, say) as (study, spec, directory):
        if source.study_key and source.study_key == key_of(study):
            raise TransferError(
                f"these are the trials of study '{spec.name}' itself, which it has already; --new-name OTHER imports "
                "them into another study"
            )
        trials = study.get_trials(deepcopy=False)
        there = {imported_from(trial.user_attrs).get("key") for trial in trials}
        new = [one for one in fitted if _digest(one) not in there]
        now = time.time()
        distributions = spec.space.distributions()
        for place, one in enumerate(new):
            if place and place % PROGRESS == 0:
                say(f"{place} of {len(new)} trials are imported")
            _write(study, directory, spec, source, one, len(trials) + place, now, distributions)
    _mirror(runs, spec, say)
    return Imported(len(new), len(fitted) - len(new))


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (optuna.exceptions.StorageInternalError, OSError) as error:
        if isinstance(error, OSError) and is_denied(error):
            raise denial(error) from error
        raise StorageError(
            f"writing the study failed: {first_line(error)}. What was imported is kept; the same command imports the "
            "rest when the disk or the database is back"
        ) from error


def _refuse(spec: StudySpec) -> None:
    if is_population(spec) or is_race(spec):
        what = "a population (sampler pbt)" if is_population(spec) else "a race"
        raise TransferError(
            f"study '{spec.name}' is {what}, in which each trial follows from those before; trials from elsewhere "
            "have no place in it. Name another sampler in its YAML, such as tpe"
        )


@contextlib.contextmanager
def _opened(spec: StudySpec, runs: Path, say: Callable[[str], None]) -> Iterator[tuple[optuna.Study, StudySpec, Path]]:
    """Open a study as its driver does, so that no other one is at work on it."""
    directory = layout.study_directory(runs, spec.name)
    url = storage_url(spec, runs)
    if spec.storage is not None:
        spec = spec.model_copy(update={"storage": url})
    refuse_taken(runs, spec.name)
    with contextlib.ExitStack() as stack:
        stack.enter_context(driver_lock(directory, say))
        refuse_deleted(runs, spec.name)
        refuse_copy(runs, spec.name, url)
        storage = open_storage(url, say)
        stack.callback(close_storage, storage)
        for sentence in (*set_foreign_aside(directory, spec.name, storage), *supersede(spec, storage, directory)):
            say(sentence)
        spec = effective(spec, read_steering(directory))
        study = open_study(spec, storage, say)
        stack.enter_context(driving(study, directory, say))
        key = key_of(study)
        write_key(directory, key)
        mark_shared(directory, key)
        record(spec, directory)
        yield study, spec, directory


def _mirror(runs: Path, spec: StudySpec, say: Callable[[str], None]) -> None:
    """Bring the runs in MLflow up to date, of a study that has some: otherwise its next run does it."""
    from hpo.trackers.mlflow import place, sync

    if spec.mlflow is None or place.read_place(layout.study_directory(runs, spec.name)) is None:
        return
    try:
        sync.sync(runs, spec.name, lambda _: None)
    except HpoError as error:
        say(f"{error}; `{place.sync_command(runs, spec.name)}` brings MLflow up to date later")


# --- one trial


def _digest(one: FittedTrial) -> str:
    return hashlib.sha256(json.dumps(one.trial.key).encode()).hexdigest()[:24]


def _write(
    study: optuna.Study,
    directory: Path,
    spec: StudySpec,
    source: Source,
    one: FittedTrial,
    number: int,
    now: float,
    distributions: Mapping[str, BaseDistribution],
) -> None:
    trial = one.trial
    started, finished = _times(one, now)
    rows = list(_steps(one, number, started))
    folder = layout.trial_directory(directory, number)
    # An import that was killed before the trial was there has left a history, and nothing else.
    if folder.exists() and {path.name for path in folder.iterdir()} - {layout.HISTORY}:
        set_aside(directory, folder, f"trials/{number}")
    history.write(folder / layout.HISTORY, rows)
    origin = {
        "source": IMPORT,
        IMPORTED: {
            "kind": source.kind,
            "place": redact(source.place),
            "name": source.name,
            "trial": trial.name,
            "key": _digest(one),
            "started": trial.started,
            "timed": any(row.time is not None for row in one.rows),
        },
    }
    job = {
        "seed": trial.seed,
        "attempt": 1,
        "retry_of": None,
        "source": IMPORT,
        "started": started,
        "run": IMPORT,
        "params": spec.space.resolve(one.params),
    }
    known = trial.started is not None and trial.finished is not None
    known_cause = one.state != COMPLETE and any(trial.cause in causes for causes in CAUSES.values())
    outcome = {
        "state": one.state,
        "cause": trial.cause if known_cause else "",
        "reason": "" if one.state == COMPLETE else cut(printable_line(one.reason), LONGEST_REASON),
        "metrics": dict(one.metrics),
        "finished": finished,
        "seconds": round(finished - started, 3) if known else None,
        "gpu_seconds": 0.0,
        "requeued": False,
    }
    attributes = {ORIGIN: origin, JOB: job, OUTCOME: outcome}
    study._storage.create_new_trial(
        study._study_id, _frozen(one, spec, rows, attributes, (started, finished), distributions)
    )


def _times(one: FittedTrial, now: float) -> tuple[float, float]:
    """Return start and end for Optuna, which wants both: where one is not known the other, else the time of import."""
    started, finished = one.trial.started, one.trial.finished
    begun = started if started is not None else finished if finished is not None else now
    ended = finished if finished is not None else begun
    return begun, max(begun, ended)


def _steps(one: FittedTrial, number: int, started: float) -> Iterator[Step]:
    """Yield the steps of a history; without a time of its own a step has that of the trial's start."""
    owner = mark_of(number, started)
    for row in one.rows:
        if 0 <= row.step <= LARGEST_STEP:
            when = moment(row.time) or started
            yield Step(row.step, when, 1, row.metrics, owner)


def _frozen(
    one: FittedTrial,
    spec: StudySpec,
    rows: Iterable[Step],
    attributes: dict[str, Any],
    times: tuple[float, float],
    distributions: Mapping[str, BaseDistribution],
) -> FrozenTrial:
    names = [metric.name for metric in spec.metrics]
    values = [one.metrics[name] for name in names] if one.state == COMPLETE else None
    steps = {}
    if len(names) == 1:  # with several metrics Optuna keeps no steps
        own = {step.step: step.metrics.get(names[0]) for step in rows if step.step <= LARGEST_KEPT_STEP}
        steps = {step: value for step, value in own.items() if value is not None and math.isfinite(value)}
    if one.state == PRUNED and steps:  # as Optuna does when it is told of one
        values = [steps[max(steps)]]
    return FrozenTrial(
        number=-1,  # the storage numbers it
        trial_id=-1,
        state=TrialState[one.state],
        value=None,
        values=values,
        datetime_start=datetime.fromtimestamp(times[0]),
        datetime_complete=datetime.fromtimestamp(times[1]),
        params=dict(one.params),
        distributions={name: distributions[name] for name in one.params},
        user_attrs=attributes,
        system_attrs={},
        intermediate_values=steps,
    )
