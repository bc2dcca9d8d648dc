"""Evaluation of the kept weights of a trial on data that the search never used."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hpo import layout
from hpo.actions.best import choose
from hpo.actions.kept_weights import KeptWeights, called, kept_weights
from hpo.analysis.assessment import assess, binary_of
from hpo.analysis.evaluation_records import Evaluation, to_json
from hpo.analysis.predictions import Returned, read_returned
from hpo.analysis.records import TrialRecord
from hpo.errors import HpoError
from hpo.layout import follow_up
from hpo.machine.access import reason
from hpo.spec.models import StudySpec
from hpo.storage.evaluations import write_evaluation
from hpo.text import one_line
from hpo.trial import Trial

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
    kept = kept_weights(runs, name)
    chosen = choose(kept.study, number).trial
    function = kept.function(FUNCTION, f"{FUNCTION}(trial, folder)")
    weights = kept.place(chosen)
    if data is not None and not data.exists():
        raise HpoError(f"there is no folder {data}")
    when, began = time.time(), time.monotonic()
    handle = kept.handle(chosen)
    doing = f"evaluating trial {chosen.number}"
    returned = called(lambda: read_returned(function(handle, data)), doing)
    validation, why_not = (None, "") if specificity is None else _validation(kept, handle)
    assessed = called(lambda: assess(returned, specificity, validation, why_not), doing)
    evaluation = Evaluation(
        study=name,
        trial=chosen.number,
        params=dict(chosen.params),
        when=when,
        data=None if data is None else str(data),
        weights=str(weights),
        seconds=time.monotonic() - began,
        **vars(assessed),
    )
    file, notes = _stored(kept.folder(chosen), evaluation)
    if file is not None:
        notes += _tracked(runs, name, kept.spec)
    return Evaluated(chosen, dict(returned.scores), evaluation, file, tuple(notes))


def _validation(kept: KeptWeights, handle: Trial) -> tuple[Returned | None, str]:
    """Return predictions on the validation split, or why there are none."""
    validate = kept.optional(ON_VALIDATION)
    if validate is None:
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
