"""Ensemble of the kept weights of a study: selected on validation, scored on held-out data beside the single winner."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hpo import layout
from hpo.actions.best import choose
from hpo.actions.kept_weights import KeptWeights, called, kept_weights
from hpo.analysis.ensemble_records import Ensemble, HeldOut, Member, to_json
from hpo.analysis.ensemble_scores import OwnMeasure, Scored, compare, scored
from hpo.analysis.ensemble_selection import Selected, select
from hpo.analysis.member_predictions import Average, MemberPredictions, check_same_items, keep_predictions
from hpo.analysis.predictions import RANK, SCORE
from hpo.analysis.ranking import ranked
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.errors import HpoError, ObjectiveError
from hpo.machine.access import reason
from hpo.machine.temporary import scratch_folder
from hpo.spec.models import Metric
from hpo.storage.evaluations import write_evaluation
from hpo.text import listing, one_line

FUNCTION, MEASURE = "predict", "measure"
VALIDATION, TEST, NEW = "val", "test", "new"  # the splits that `predict` is asked for
SPLITS = {VALIDATION: "the validation split", TEST: "held-out data", NEW: "new data"}
CONTRACT = """a function of three lines beside it:

    def predict(trial, split, folder):  # "val", "test" or "new"; folder: that of --data, else None
        x, y = samples(split, folder)
        return {"score": kept_model(trial)(x), "target": y}  # "new" has no target

docs/guides/ensemble.md says more"""
LONGEST_PATH = 4000  # of the folder of temporary files
TOLERANCE = 0.01  # the relative difference up to which kept weights give what their training reported


@dataclass(frozen=True)
class Ensembled:
    """Result of a selection.

    Attributes:
        ensemble: What is said of it, and stored.
        trials: The candidates, the best first.
        file: Where it is stored; None if it could not be.
        notes: Sentences on what does not fit, or could not be written.
    """

    ensemble: Ensemble
    trials: tuple[TrialRecord, ...]
    file: Path | None
    notes: tuple[str, ...]


def ensemble(runs: Path, name: str, top: int = 5, data: Path | None = None, replacement: bool = True) -> Ensembled:
    """Select an ensemble by `predict(trial, split, folder)` of the objective's module, in this process, and store it.

    Members and their weights are chosen on the validation split. Only then is anything predicted of held-out data.

    Args:
        runs: The runs folder.
        name: Name of the study.
        top: How many of the best trials with kept weights are candidates.
        data: Folder of held-out data; None for the study's own test split.
        replacement: Whether a trial may be taken several times, which gives it more weight.

    Raises:
        StudyNotFound: There is no such study.
        ObjectiveError: There is no such function, or it raises or returns something else.
        HpoError: No trial has completed, or fewer than two have kept weights.
    """
    kept = kept_weights(runs, name)
    winner = choose(kept.study).trial
    predict = predictor(kept)
    trials, notes = _candidates(kept, winner, top)
    when, began = time.time(), time.monotonic()
    measure = kept.optional(MEASURE)
    own: OwnMeasure | None = None if measure is None else partial(measure, kept.handle(trials[0]))
    with scratch_folder(LONGEST_PATH) as folder:
        members = predict_all(kept, predict, trials, VALIDATION, None, folder)
        members = [_standardised(member) for member in members]
        alone = [_scores(Average([member], [1.0]), own, trial) for member, trial in zip(members, trials, strict=True)]
        metric, score = metric_of(kept.study, alone[0].scores())

        def value(counts: tuple[int, ...]) -> float:
            return _scores(_average(members, counts), own, trials[0]).scores().get(score, np.nan)

        try:
            selected = select(len(trials), value, metric.direction == "maximize", replacement)
        except ValueError as error:
            raise HpoError(f"{metric.name}: {error}") from None
        validation = [one.scores()[score] for one in alone]
        notes += _not_reproduced(trials, metric, validation)
        held_out, why_not = _held_out(kept, predict, trials, members, selected, data, own, score, folder)
    found = Ensemble(
        study=name,
        when=when,
        seconds=time.monotonic() - began,
        metric=metric.name,
        direction=metric.direction,
        single=trials[0].number,
        members=tuple(
            Member(trial.number, dict(trial.params), count / sum(selected.counts), trial.values[metric.name], reached,
                   member.shift, member.scale)
            for trial, count, reached, member in zip(trials, selected.counts, validation, members, strict=True)
        ),
        validation=(validation[0], selected.value),
        held_out=held_out,
        why_not=why_not,
        replacement=replacement,
    )  # fmt: skip
    file, unwritten = _stored(kept.study.directory, found)
    return Ensembled(found, trials, file, (*notes, *unwritten))


def predictor(kept: KeptWeights) -> Any:
    """Return the function `predict` of the objective's module.

    Raises:
        ObjectiveError: There is none; the message shows one.
    """
    try:
        return kept.function(FUNCTION, f"{FUNCTION}(trial, split, folder)")
    except ObjectiveError as error:
        if "has no function" not in str(error):
            raise
        raise ObjectiveError(f"{error} Expected {CONTRACT}") from None


def predict_all(
    kept: KeptWeights, predict: Any, trials: Sequence[TrialRecord], split: str, data: Path | None, folder: Path
) -> list[MemberPredictions]:
    """Return the predictions of some trials' weights on a split, of the same items, kept in a folder.

    Raises:
        ObjectiveError: `predict` raises, or gives what cannot be used.
    """
    members: list[MemberPredictions] = []
    for trial in trials:
        place = folder / split / str(trial.number)
        whose = f"trial {trial.number} on {SPLITS[split]}"
        kept.place(trial)
        found = called(
            lambda trial=trial, place=place, whose=whose: keep_predictions(  # type: ignore[misc]
                predict(kept.handle(trial), split, data), place, whose
            ),
            f"predicting {SPLITS[split]} by trial {trial.number}",
        )
        if members:
            check_same_items(members[0], found, (f"trial {trials[0].number}", f"trial {trial.number}"))
        members.append(found)
    return members


def metric_of(study: StudyRecord, scores: Iterable[str]) -> tuple[Metric, str]:
    """Return the first metric of a study that is among the scores of predictions, and its name there.

    Raises:
        ObjectiveError: There is none.
    """
    there = list(scores)
    for metric in study.metrics:
        for name in (metric.name, metric.name.removeprefix("val_")):
            if name in there:
                return metric, name
    names = listing(metric.name for metric in study.metrics)
    raise ObjectiveError(
        f"no metric of study '{study.name}' ({names}) follows from the predictions, which give {listing(there, 20)}; "
        "expected a function measure(trial, predictions) beside predict that returns it (docs/guides/ensemble.md)"
    )


def _candidates(kept: KeptWeights, winner: TrialRecord, top: int) -> tuple[tuple[TrialRecord, ...], list[str]]:
    """Return the best trials with kept weights, the winner first, and what to say of others."""
    metric = kept.study.metrics[0]
    others = [trial for trial in ranked(kept.study, metric) if trial.number != winner.number]
    there = [trial for trial in (winner, *others) if kept.has(trial)]
    if len(there) < 2:
        kept.place(there[0] if there else winner)
        raise HpoError(
            f"study '{kept.study.name}' has kept the weights of trial {there[0].number} alone; expected two at least "
            f"for an ensemble: checkpoints.keep_best is {kept.spec.checkpoints.keep_best}, set it to {top} or more "
            "before the study runs"
        )
    notes = []
    if there[0].number != winner.number:
        notes.append(
            f"the weights of the winner, trial {winner.number}, are not kept: the best one whose are, trial "
            f"{there[0].number}, stands for it"
        )
    if len(there) < top:
        notes.append(
            f"weights of {len(there)} trials are kept, so these are all candidates (checkpoints.keep_best of a study "
            "says how many are)"
        )
    return tuple(there[:top]), notes


def _standardised(member: MemberPredictions) -> MemberPredictions:
    """Return a member whose scores can be averaged with others': those that only order items have no common scale."""
    if RANK not in member.columns or SCORE not in member.columns:
        return member
    return member.with_scale(*member.standardised())


def _average(members: Sequence[MemberPredictions], counts: Sequence[int]) -> Average:
    pairs = [(member, float(count)) for member, count in zip(members, counts, strict=True) if count]
    return Average([member for member, _ in pairs], [count for _, count in pairs])


def _scores(average: Average, own: OwnMeasure | None, trial: TrialRecord) -> Scored:
    return called(lambda: scored(average, own), f"scoring predictions of trial {trial.number}")


def _not_reproduced(trials: Sequence[TrialRecord], metric: Metric, validation: Sequence[float]) -> list[str]:
    """Return a sentence on kept weights that do not give what their training reported."""
    off = [
        f"trial {trial.number} {value:.4g} instead of {trial.values[metric.name]:.4g}"
        for trial, value in zip(trials, validation, strict=True)
        if abs(value - trial.values[metric.name]) > TOLERANCE * max(abs(value), abs(trial.values[metric.name]))
    ]
    if not off:
        return []
    return [
        f"kept weights do not give the {metric.name} that training reported ({', '.join(off)}): the data have changed, "
        "or predict and training measure different things"
    ]


def _held_out(
    kept: KeptWeights, predict: Any, trials: Sequence[TrialRecord], members: Sequence[MemberPredictions],
    selected: Selected, data: Path | None, own: OwnMeasure | None, score: str, folder: Path,
) -> tuple[HeldOut | None, str]:  # fmt: skip
    """Return the scores on held-out data of the single winner and of the ensemble, or why there are none."""
    needed = [index for index in range(len(trials)) if selected.counts[index] or not index]
    try:
        found = predict_all(kept, predict, [trials[index] for index in needed], TEST, data, folder)
    except ObjectiveError as error:
        if data is not None or not isinstance(error.__cause__, ValueError):
            raise
        return None, one_line(error.__cause__)
    scaled = [
        one.with_scale(members[index].shift, members[index].scale) for index, one in zip(needed, found, strict=True)
    ]
    single = _scores(Average(scaled[:1], [1.0]), own, trials[0])
    together = _scores(_average(scaled, [selected.counts[index] for index in needed]), own, trials[0])
    scores = called(lambda: compare(single, together, score), "scoring held-out data")
    return HeldOut(
        None if data is None else str(data), single.n, single.items, single.groups, single.grouped_by, scores
    ), ""


def _stored(directory: Path, found: Ensemble) -> tuple[Path | None, list[str]]:
    try:
        return write_evaluation(directory, found.when, to_json(found), layout.ENSEMBLES), []
    except OSError as error:
        return None, [f"this ensemble is not kept: {directory} cannot be written ({reason(error)})"]


def as_json(found: Ensembled) -> Mapping[str, Any]:
    """Return what `hpo ensemble --json` prints."""
    return {**vars(found.ensemble), "file": found.file}
