"""Evaluation of the kept weights of a trial on data that the search never used."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from hpo import layout
from hpo.actions.best import choose
from hpo.analysis.assessment import assess, binary_of
from hpo.analysis.evaluation_records import Evaluation, to_json
from hpo.analysis.predictions import Returned, read_returned
from hpo.analysis.records import StudyRecord, TrialRecord, records_of
from hpo.errors import HpoError, ObjectiveError
from hpo.layout import follow_up
from hpo.machine.access import reason
from hpo.objective.load import load
from hpo.spec.models import StudySpec
from hpo.spec.racing import constants_of
from hpo.storage.evaluations import write_evaluation
from hpo.storage.histories import Histories
from hpo.storage.load_study import load_study
from hpo.text import one_line
from hpo.trial import Job, ObjectiveRef, Stop, Trial, with_lists
from hpo.worker.execute import Share, prepare

T = TypeVar("T")

FUNCTION, ON_VALIDATION = "evaluate", "validate"


@dataclass(frozen=True)
class Evaluated:
    """Result of an evaluation.

    Attributes:
        trial: The trial whose weights were scored.
        metrics: The numbers that the objective's `evaluate` returned.
        evaluation: What is said of them, and stored.
        file: Where it is stored; None if it could not be.
        notes: Sentences on what could not be written.
    """

    trial: TrialRecord
    metrics: dict[str, float]
    evaluation: Evaluation
    file: Path | None
    notes: tuple[str, ...]


def evaluate(
    runs: Path, name: str, number: int | None = None, data: Path | None = None, specificity: float | None = None
) -> Evaluated:
    """Call `evaluate(trial, data)` of the module of the study's objective, in this process, and store the result.

    Args:
        runs: The runs folder.
        name: Name of the study.
        number: The trial; None for the winner (see `hpo.actions.best.choose`).
        data: Folder to score on; None for the study's own test split.
        specificity: Find a threshold for this specificity, on the validation split if the objective has a function
            `validate(trial)`.

    Raises:
        StudyNotFound: If there is no such study or trial.
        ObjectiveError: If there is no such function, or it raises or returns no numbers.
        HpoError: If nothing is kept of the trial.
    """
    spec, stored = load_study(runs, name)
    directory = layout.study_directory(runs, name)
    study = records_of(stored, spec, directory, histories=False)
    chosen = choose(study, number).trial
    folder = layout.trial_directory(directory, chosen.number)
    trials = stored.get_trials(deepcopy=False)
    if Histories(directory, trials).foreign(trials[chosen.number]):
        raise HpoError(
            f"{folder} holds files of another trial, so that its weights are not those of trial {chosen.number}; "
            f"`hpo doctor {name} --fix` sets them aside"
        )
    function = load(reference_of(spec))
    weights = folder / layout.WEIGHTS
    if not weights.exists() and not (folder / layout.CHECKPOINT).exists():
        raise HpoError(_nothing_kept(study, spec, chosen))
    if data is not None and not data.exists():
        raise HpoError(f"there is no folder {data}")
    when, began = time.time(), time.monotonic()
    handle = Trial(_job(spec, chosen, folder), _ignore)
    prepare(handle.seed, Share())
    returned = _called(lambda: read_returned(function(handle, data)), chosen)
    validation, why_not = (None, "") if specificity is None else _validation(spec, handle)
    assessed = _called(lambda: assess(returned, specificity, validation, why_not), chosen)
    evaluation = Evaluation(
        study=name,
        trial=chosen.number,
        params=dict(chosen.params),
        when=when,
        data=None if data is None else str(data),
        weights=str(weights if weights.exists() else folder),
        seconds=time.monotonic() - began,
        **vars(assessed),
    )
    file, notes = _stored(folder, evaluation)
    if file is not None:
        notes += _tracked(runs, name, spec)
    return Evaluated(chosen, dict(returned.scores), evaluation, file, tuple(notes))


def _called(compute: Callable[[], T], trial: TrialRecord) -> T:
    """Return what `compute` does; any error of the objective's own becomes a sentence."""
    try:
        return compute()
    except ObjectiveError as error:
        raise ObjectiveError(f"evaluating trial {trial.number} failed: {error}") from error
    except HpoError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {one_line(error)}"
        raise ObjectiveError(f"evaluating trial {trial.number} failed: {said}") from error


def _validation(spec: StudySpec, handle: Trial) -> tuple[Returned | None, str]:
    """Return predictions on the validation split, or why there are none."""
    try:
        validate = load(reference_of(spec, ON_VALIDATION))
    except ObjectiveError:
        return None, ""
    try:
        found = read_returned(validate(handle))
    except Exception as error:
        return None, f"the validation split could not be scored: {one_line(error)}"
    if binary_of(found) is None:
        return None, "the objective's validate gives no predictions with target (0 or 1) and score"
    return found, ""


def _stored(folder: Path, evaluation: Evaluation) -> tuple[Path | None, list[str]]:
    try:
        return write_evaluation(folder, evaluation.when, to_json(evaluation)), []
    except OSError as error:
        return None, [f"this evaluation is not kept: {folder} cannot be written ({reason(error)})"]


def _tracked(runs: Path, name: str, spec: StudySpec) -> list[str]:
    """Write the scores to the trial's run in MLflow, where the study has one."""
    directory = layout.study_directory(runs, name)
    if spec.mlflow is None or not (directory / layout.MLFLOW).exists():
        return []
    from hpo.trackers.mlflow.sync import sync

    try:
        sync(runs, name, lambda sentence: None)
    except HpoError as error:
        return [f"the scores are not in MLflow yet ({error}); `{follow_up(f'mlflow {name} --sync', runs)}` writes them"]
    return []


def reference_of(spec: StudySpec, function: str = FUNCTION) -> ObjectiveRef:
    """Return a reference to a function in the module of the objective."""
    ref = spec.objective_ref()
    if ref.command:
        raise ObjectiveError(
            f"study '{spec.name}' runs a command, which hpo can train but not evaluate; expected an objective that is "
            f"a Python function, with a function {FUNCTION}(trial, folder) beside it"
        )
    place, _, _ = ref.target.rpartition(":")
    return replace(ref, target=f"{place}:{function}")


def _job(spec: StudySpec, trial: TrialRecord, folder: Path) -> Job:
    return Job(
        number=trial.number,
        params=with_lists(trial.params, spec.space.lists),
        seed=spec.seed,
        objective=spec.objective_ref(),
        constants=constants_of(spec, trial.seed or 0) | dict(trial.continued.constants if trial.continued else {}),
        directory=folder,
        metrics=tuple(metric.name for metric in spec.metrics),
        attempt=trial.attempt,
    )


def _ignore(step: int, metrics: dict[str, float]) -> Stop | None:
    """Nobody listens to reports of an evaluation."""
    return None


def _nothing_kept(study: StudyRecord, spec: StudySpec, trial: TrialRecord) -> str:
    kept = [
        one.number
        for one in study.trials
        if (layout.trial_directory(study.directory, one.number) / layout.WEIGHTS).exists()
    ]
    if not kept:
        return (
            f"no trial of study '{study.name}' has kept weights; expected the objective to write {layout.WEIGHTS} into "
            "trial.directory, or to call trial.save"
        )
    rule = f"the best {spec.checkpoints.keep_best}" + (f" of each {spec.group_by}" if spec.group_by else "")
    numbers = ", ".join(str(number) for number in kept)
    return (
        f"the weights of trial {trial.number} were not kept (checkpoints.keep_best keeps those of {rule}); kept are "
        f"those of trials {numbers}. `hpo best {study.name} --trial {trial.number}` prints a study that trains it again"
    )
