"""All that is said of predictions on held-out data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.evaluation_pictures import examples_of
from hpo.analysis.evaluation_records import (
    COUNTS_ALONE,
    MANY_RANKS,
    SAME_DATA,
    VALIDATION,
    Calibration,
    Confusion,
    Curves,
    Example,
    Score,
    Threshold,
)
from hpo.analysis.predictions import (
    COUNT,
    GROUP,
    PREDICTED,
    RANK,
    SCORE,
    TARGET,
    Returned,
)
from hpo.analysis.statistics.binary_scores import Binary
from hpo.analysis.statistics.bootstrap import intervals
from hpo.analysis.statistics.class_scores import Classes
from hpo.analysis.statistics.ranking_scores import MOST_ITEMS, Ranking
from hpo.errors import ObjectiveError

# Of what is computed here, what is shown though the objective does not name it.
USUAL = (
    *("auc", "average_precision", "recall", "specificity", "precision", "f1"),
    *("accuracy", "balanced_accuracy", "macro_f1", "pair_accuracy", "kendall_tau", "brier", "ece"),
)
_SAME = 1e-5  # the relative difference up to which two computations of a score are one
Measures = Callable[[NDArray[np.float64]], Mapping[str, float]]


@dataclass(frozen=True)
class Assessment:
    """Content of an evaluation that follows from predictions; fields as those of `evaluation_records.Evaluation`."""

    n: float | None
    items: str
    groups: int | None
    grouped_by: str
    scores: dict[str, Score]
    confusion: Confusion | None
    curves: Curves | None
    threshold: Threshold | None
    calibration: Calibration | None
    examples: tuple[Example, ...]
    notes: tuple[str, ...]


def assess(
    returned: Returned, specificity: float | None = None, validation: Returned | None = None, why_not: str = ""
) -> Assessment:
    """Return scores with intervals, and what else the kind of the predictions allows.

    Args:
        returned: What the objective gave.
        specificity: A specificity to find a threshold for.
        validation: The same of the validation split, to choose it on; None: it is chosen on the same data.
        why_not: Why there is none.

    Raises:
        ObjectiveError: A threshold is asked for, and there are no scores of two classes.
    """
    binary, classes = binary_of(returned), _classes_of(returned)
    measures, notes = _measures(returned, binary, classes)
    scores = {name: Score(value) for name, value in returned.scores.items()}
    threshold = None
    if specificity is not None:
        if binary is None or not _both(binary):
            raise ObjectiveError(
                "a threshold for a specificity needs scores of positives and negatives; expected predictions with the "
                "columns target (0 and 1) and score"
            )
        threshold = _chosen(binary, specificity, None if validation is None else binary_of(validation), why_not)
    if measures:
        weights = np.ones(returned.rows)

        def measure(weights: NDArray[np.float64]) -> Mapping[str, float]:
            found = {name: value for one in measures for name, value in one(weights).items()}
            if binary is not None and threshold is not None:
                rates = binary.rates(weights, threshold.threshold)
                found |= {"_specificity": rates["specificity"], "_sensitivity": rates["recall"]}
            return found

        found = dict(measure(weights))
        # A row of many equal items is no unit that could be drawn.
        drawable = COUNT not in returned.columns or GROUP in returned.columns
        spans = intervals(measure, returned.units) if drawable else {}
        notes += [] if drawable else [COUNTS_ALONE]
        scores = _scores(returned.scores, found, spans)
        if threshold is not None:
            threshold = _judged(threshold, found, spans)
    return Assessment(
        n=float(returned.counts.sum()) if returned.columns else None,
        items=returned.items,
        groups=int(returned.units.max()) + 1 if GROUP in returned.columns else None,
        grouped_by=returned.groups,
        scores=scores,
        confusion=_confusion(returned, binary, classes),
        curves=None if binary is None or not _both(binary) else _curves(binary),
        threshold=threshold,
        calibration=_calibration(binary),
        examples=examples_of(returned.examples),
        notes=tuple(notes),
    )


def binary_of(returned: Returned) -> Binary | None:
    """Return scores of two classes, if the predictions are such."""
    columns = returned.columns
    if SCORE not in columns or TARGET not in columns or PREDICTED in columns:
        return None
    return Binary(columns[TARGET].astype(bool), columns[SCORE], returned.counts, returned.threshold)


def measures_of(returned: Returned) -> list[Measures]:
    """Return the functions that measure predictions by how often each row counts."""
    return _measures(returned, binary_of(returned), _classes_of(returned))[0]


def _classes_of(returned: Returned) -> Classes | None:
    columns = returned.columns
    if PREDICTED not in columns:
        return None
    target, predicted = (columns[name].astype(str) for name in (TARGET, PREDICTED))
    there = np.unique(np.concatenate([target, predicted])).tolist()
    names = (*returned.classes, *(name for name in there if name not in returned.classes))
    code = {name: index for index, name in enumerate(names)}
    codes = [np.array([code[name] for name in column.tolist()], np.intp) for column in (target, predicted)]
    return Classes(names, codes[0], codes[1], returned.counts)


def _measures(returned: Returned, binary: Binary | None, classes: Classes | None) -> tuple[list[Measures], list[str]]:
    """Return the functions that measure the predictions, and notes on what is not measured."""
    columns = returned.columns
    notes: list[str] = []
    found: list[Measures] = [one.measure for one in (binary, classes) if one is not None]
    if RANK in columns:
        if returned.rows <= MOST_ITEMS:
            found.append(Ranking(columns[RANK], columns[SCORE]).measure)
        else:
            notes.append(MANY_RANKS)
    others = [name for name in columns if name not in (TARGET, SCORE, PREDICTED, RANK, GROUP, COUNT)]
    if others:
        counts = returned.counts

        def means(weights: NDArray[np.float64]) -> dict[str, float]:
            return {name: _mean(columns[name], weights * counts) for name in others}

        found.append(means)
    return found, notes


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return the mean of the values that there are; NaN stands for one that there is not."""
    known = np.isfinite(values)
    total = weights[known].sum()
    return float((weights[known] * values[known]).sum() / total) if total > 0 else math.nan


def _scores(
    given: Mapping[str, float], found: Mapping[str, float], spans: Mapping[str, tuple[float, float]]
) -> dict[str, Score]:
    """Return the objective's scores, with the interval of each that was computed to be the same, and the usual ones."""
    scores = {}
    for name, value in given.items():
        same = math.isclose(value, found.get(name, math.nan), rel_tol=_SAME, abs_tol=_SAME)
        scores[name] = Score(value, *(spans.get(name, (None, None)) if same else (None, None)))
    for name in USUAL:
        if name not in scores and math.isfinite(found.get(name, math.nan)):
            scores[name] = Score(found[name], *spans.get(name, (None, None)))
    return scores


def _chosen(binary: Binary, specificity: float, validation: Binary | None, why_not: str) -> Threshold:
    source = binary if validation is None else validation
    threshold = source.threshold_for(specificity)
    rates = source.rates(np.ones(len(source.score)), threshold)
    there = rates["specificity"], rates["recall"]
    chosen_on = SAME_DATA if validation is None else VALIDATION
    why = why_not or "the objective has no function validate(trial)"
    return Threshold(specificity, threshold, chosen_on, there, Score(None), Score(None), "" if validation else why)


def _judged(chosen: Threshold, found: Mapping[str, float], spans: Mapping[str, tuple[float, float]]) -> Threshold:
    judged = [Score(found[name], *spans.get(name, (None, None))) for name in ("_specificity", "_sensitivity")]
    return replace(chosen, specificity=judged[0], sensitivity=judged[1])


def _confusion(returned: Returned, binary: Binary | None, classes: Classes | None) -> Confusion | None:
    if classes is not None:
        return Confusion(classes.names, tuple(map(tuple, classes.confusion().tolist())))
    if binary is None:
        return None
    tn, fp, fn, tp = binary.confusion(np.ones(len(binary.score)), binary.threshold)
    positive = returned.positive
    names: tuple[str, ...] = returned.classes if len(returned.classes) == 2 else (f"not {positive}", positive)
    return Confusion(names, ((tn, fp), (fn, tp)), binary.threshold)


def _both(binary: Binary) -> bool:
    return bool(binary.positive.any() and not binary.positive.all())


def _curves(binary: Binary) -> Curves:
    prevalence = float((binary.counts * binary.positive).sum() / binary.counts.sum())
    return Curves(tuple(binary.roc()), tuple(binary.precision_recall()), prevalence)


def _calibration(binary: Binary | None) -> Calibration | None:
    if binary is None or not binary.is_probability:
        return None
    bins = tuple(tuple(value if math.isfinite(value) else None for value in one) for one in binary.calibration())
    found: Any = binary.measure()
    return Calibration(bins, found["ece"], found["brier"])  # type: ignore[arg-type]
