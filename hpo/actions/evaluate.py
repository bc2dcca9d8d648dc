"""Evaluation of the kept weights of a trial on data that the search never used."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from hpo import layout
from hpo.actions.best import choose
from hpo.analysis.records import StudyRecord, TrialRecord, records_of
from hpo.errors import HpoError, ObjectiveError
from hpo.objective.load import load
from hpo.spec.models import StudySpec
from hpo.storage.histories import Histories
from hpo.storage.load_study import load_study
from hpo.text import one_line
from hpo.trial import Job, ObjectiveRef, Stop, Trial, check_metrics, with_lists
from hpo.worker.execute import Share, prepare

FUNCTION = "evaluate"


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        study: Name of the study.
        trial: The trial whose weights were scored.
        data: The folder given, or None for the study's own test split.
        weights: File of the kept weights, or the trial's folder if the objective names it otherwise.
        metrics: What the objective's `evaluate` returned.
        seconds: Duration, loading included.
    """

    study: str
    trial: TrialRecord
    data: Path | None
    weights: Path
    metrics: dict[str, float]
    seconds: float


def evaluate(runs: Path, name: str, number: int | None = None, data: Path | None = None) -> Evaluation:
    """Call `evaluate(trial, data)` of the module that holds the study's objective, in this process.

    Args:
        runs: The runs folder.
        name: Name of the study.
        number: The trial; None for the winner (see `hpo.actions.best.choose`).
        data: Folder to score on; None for the study's own test split.

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
    function = load(_reference(spec))
    weights = folder / layout.WEIGHTS
    if not weights.exists() and not (folder / layout.CHECKPOINT).exists():
        raise HpoError(_nothing_kept(study, spec, chosen))
    if data is not None and not data.exists():
        raise HpoError(f"there is no folder {data}")
    began = time.monotonic()
    handle = Trial(_job(spec, chosen, folder), _ignore)
    prepare(handle.seed, Share())
    try:
        returned = function(handle, data)
        metrics = check_metrics(returned)
    except HpoError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {one_line(error)}"
        raise ObjectiveError(f"evaluating trial {chosen.number} failed: {said}") from error
    return Evaluation(name, chosen, data, weights if weights.exists() else folder, metrics, time.monotonic() - began)


def _reference(spec: StudySpec) -> ObjectiveRef:
    """Return a reference to `evaluate` in the module of the objective."""
    ref = spec.objective_ref()
    if ref.command:
        raise ObjectiveError(
            f"study '{spec.name}' runs a command, which hpo can train but not evaluate; expected an objective that is "
            f"a Python function, with a function {FUNCTION}(trial, folder) beside it"
        )
    place, _, _ = ref.target.rpartition(":")
    return replace(ref, target=f"{place}:{FUNCTION}")


def _job(spec: StudySpec, trial: TrialRecord, folder: Path) -> Job:
    return Job(
        number=trial.number,
        params=with_lists(trial.params, spec.space.lists),
        seed=spec.seed,
        objective=spec.objective_ref(),
        constants=spec.constants,
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
