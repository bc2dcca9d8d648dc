"""Scores of an average of predictions, and of two averages on the same items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.assessment import USUAL, measures_of
from hpo.analysis.ensemble_records import Compared
from hpo.analysis.evaluation_records import Score
from hpo.analysis.member_predictions import ABOUT, NAME, Average, Column
from hpo.analysis.predictions import COUNT, GROUP, PREDICTED, PREDICTIONS, RANK, SCORE, TARGET, Returned, read_returned
from hpo.analysis.statistics.bootstrap import intervals
from hpo.errors import ObjectiveError
from hpo.trial import check_metrics

LEVELS = 256  # that probabilities of pixels are rounded to, so that all pixels are a small table

# Scores of columns, by name: an objective's own `measure`.
OwnMeasure = Callable[[Mapping[str, Column]], Mapping[str, float]]


@dataclass(frozen=True)
class Scored:
    """Scores of an average.

    Attributes:
        measure: Returns them by how often each unit counts, (units,).
        units: How many units can be drawn: groups where there are groups, else items.
        n: Number of items.
        items: What an item is.
        groups: Number of groups, None without any.
        grouped_by: What a group is.
        usual: The names that are shown; empty: all.
    """

    measure: Callable[[NDArray[np.float64]], Mapping[str, float]]
    units: int
    n: float
    items: str
    groups: int | None
    grouped_by: str
    usual: tuple[str, ...] = ()

    def scores(self) -> dict[str, float]:
        """Return the scores of all items."""
        return dict(self.measure(np.ones(self.units)))


def scored(average: Average, own: OwnMeasure | None = None) -> Scored:
    """Return the scores of an average.

    Args:
        average: The average.
        own: The objective's own scores; None: those that follow from the columns target or rank, and score.

    Raises:
        ObjectiveError: Without `own` there are no such columns.
    """
    about = average.first.about
    if own is None:
        table = _table(average)
        returned = read_returned({PREDICTIONS: table, ABOUT: about})
        parts, place = measures_of(returned), returned.units

        def measure(weights: NDArray[np.float64]) -> dict[str, float]:
            return {name: value for part in parts for name, value in part(weights[place]).items()}

    else:
        columns = {name: average.part(name) for name in average.first.columns}
        given = {GROUP: columns[GROUP]} if GROUP in columns else {}
        returned = Returned({}, given or {NAME: np.empty(average.first.rows)}, items=str(about.get("items", "items")))
        place, rows = returned.units, np.arange(average.first.rows)

        def measure(weights: NDArray[np.float64]) -> dict[str, float]:
            drawn = np.repeat(rows, weights[place].astype(int))
            return dict(check_metrics(own({name: column[drawn] for name, column in columns.items()})))

    units = int(place.max()) + 1
    grouped = GROUP in average.first.columns
    pixels = COUNT in returned.columns
    groups = units if grouped or pixels else None
    what = str(about.get("groups", "groups" if grouped else "images")) if groups else ""
    usual = USUAL if own is None else ()
    return Scored(measure, units, float(returned.counts.sum()), returned.items, groups, what, usual)


def compare(single: Scored, ensemble: Scored, first: str) -> dict[str, Compared]:
    """Return the scores of two averages on the same items, and their paired differences.

    The intervals are those of one bootstrap, which draws the same units for both.

    Args:
        single: The one.
        ensemble: The other; a difference is its score less that of the one.
        first: The score to name first.
    """

    def measure(weights: NDArray[np.float64]) -> dict[str, float]:
        try:
            one, other = single.measure(weights), ensemble.measure(weights)
        except ValueError:  # an objective's own scores may refuse a draw without one of the classes
            return {}
        found = {f"single {name}": value for name, value in one.items()}
        found |= {f"ensemble {name}": value for name, value in other.items()}
        return found | {f"difference {name}": other[name] - value for name, value in one.items() if name in other}

    found = measure(np.ones(single.units))
    spans = intervals(measure, np.arange(single.units))

    def score(kind: str, name: str) -> Score:
        value = found[f"{kind} {name}"]
        return Score(value, *spans.get(f"{kind} {name}", (None, None)))

    shown = single.usual or single.scores()
    names = [first, *(name for name in shown if name != first)]
    return {
        name: Compared(score("single", name), score("ensemble", name), score("difference", name))
        for name in names
        if np.isfinite(found.get(f"difference {name}", np.nan))
    }


def _table(average: Average) -> dict[str, Any]:
    """Return the columns that `read_returned` takes."""
    columns = average.first.columns
    if SCORE not in columns or not {TARGET, RANK} & columns.keys():
        raise ObjectiveError(
            f"predict gives the columns {', '.join(columns)}; expected score with target (0 or 1, or one of several "
            "classes) or with rank, or a function measure(trial, predictions) beside it that returns the scores"
        )
    group = {GROUP: average.part(GROUP)} if GROUP in columns else {}
    if RANK in columns:
        return {RANK: average.part(RANK), SCORE: average.part(SCORE), **group}
    score, target = columns[SCORE], columns[TARGET]
    if score.ndim == 2 and target.ndim == 1 and score.shape[1] > 1:  # of one column it is a mistake, said below
        return {**_classes(average), **group}
    if score.shape != target.shape:
        raise ObjectiveError(
            f"predict gives score of shape {score.shape} and target of shape {target.shape}; expected equal ones, or "
            "a probability for each of the classes"
        )
    if score.ndim == 1:
        return {TARGET: average.part(TARGET), SCORE: average.part(SCORE), **group}
    return _pixels(average)


def class_names(average: Average, classes: int) -> list[str]:
    """Return the names of classes: those that the objective gives, else their numbers.

    Raises:
        ObjectiveError: It gives another number of names.
    """
    names = [str(name) for name in average.first.about.get("classes") or range(classes)]
    if len(names) != classes:
        raise ObjectiveError(f"predict gives {classes} scores an item and {len(names)} classes; expected as many")
    return names


def _classes(average: Average) -> dict[str, Any]:
    score, target = average.part(SCORE), average.part(TARGET)
    names = np.array(class_names(average, score.shape[1]))
    if target.dtype.kind in "biuf":
        codes = target.astype(int)
        if not ((codes >= 0) & (codes < len(names))).all():
            raise ObjectiveError(f"the column target goes to {codes.max()}; expected 0 to {len(names) - 1}")
        target = names[codes]
    return {TARGET: target, PREDICTED: names[score.argmax(axis=1)]}


def _pixels(average: Average) -> dict[str, Any]:
    """Return the table of pixels by group, class and level of probability.

    Level k is above k / 256 and up to (k + 1) / 256, so that what is above one half stays so.
    """
    columns = average.first.columns
    rows = average.first.rows
    groups = average.part(GROUP) if GROUP in columns else np.arange(rows)
    names, place = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), 2 * LEVELS), np.int64)
    for part, (score, target) in average.parts(SCORE, TARGET):
        if score.min() < 0 or score.max() > 1:
            raise ObjectiveError("the column score of pixels goes beyond 0 to 1; expected probabilities")
        level = (np.ceil(score * LEVELS) - 1).clip(0, LEVELS - 1).astype(np.int64)
        code = level + LEVELS * (target > 0)
        for row, group in enumerate(place[part]):
            counts[group] += np.bincount(code[row].ravel(), minlength=2 * LEVELS)
    where = np.nonzero(counts)
    return {
        TARGET: where[1] // LEVELS,
        SCORE: (where[1] % LEVELS + 0.5) / LEVELS,
        COUNT: counts[where],
        GROUP: names[where[0]],
    }
