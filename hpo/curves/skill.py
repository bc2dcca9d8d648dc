"""Predicates on a metric of a network's answers: does it rank, does it find anything, does it answer one thing only.

The diagnosis of a finished training and the red flag `collapsed` of a running one ask the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpo.curves.metric_names import FINDS, RANKINGS, is_one_of
from hpo.curves.predicates import FEWEST, LOST, STUCK_EPOCHS, line_fall
from hpo.curves.shape import CLEAR, median, shape_of

CHANCE_TOLERANCE = 0.02
# Values of metrics for random answers, by the end of the metric's name.
CHANCE = {
    "auc": 0.5, "auroc": 0.5, "pauc": 0.5, "pair_accuracy": 0.5, "c_index": 0.5, "balanced_accuracy": 0.5,
    "kendall_tau": 0.0, "tau": 0.0, "spearman": 0.0, "pearson": 0.0, "correlation": 0.0, "mcc": 0.0, "kappa": 0.0,
}  # fmt: skip
# Areas below a precision-recall curve: chance is the share of positives, of a rare class at most a half.
_OF_PRECISION = ("average_precision", "ap", "map", "auprc", "aupr", "pr_auc", "prc")
# A ranking knows something this far above chance, or once it has risen this far.
MARGIN = 0.15
RISEN = 0.02
# A metric that hardly moves is that of a constant answer, unless it is this good.
HARDLY = 1e-3
HARDLY_BETTER = 0.05
CEILING = 0.9
_ONE_CLASS = ("predicted_positive",)  # 0 or 1 where one class is predicted only


def above_chance(name: str, value: float) -> float | None:
    """Return how far a metric is above guessing; None if its name tells no level of chance."""
    if is_one_of(name, _OF_PRECISION):
        return None
    chance = next((level for word, level in CHANCE.items() if is_one_of(name, (word,))), None)
    return None if chance is None else value - chance


def in_parts(values: Sequence[float]) -> Sequence[float]:
    """Return a metric of at most 1 in parts, also if it was recorded in percent."""
    return [value / 100 for value in values] if max(values, default=0.0) > 2 else values


# --- a ranking


@dataclass(frozen=True)
class Ranks:
    """A metric of a ranking that knows something.

    Attributes:
        name: the metric.
        first: its first value.
        value: its last value.
    """

    name: str
    first: float
    value: float


def ranks(name: str, values: Sequence[float], margin: float = MARGIN) -> Ranks | None:
    """Return that a metric shows a ranking: by its last value it is above chance, or it has clearly risen.

    Args:
        name: the name of the metric; one that is no ranking says nothing.
        values: the metric by epoch.
        margin: how far above chance the last value must be.
    """
    if not values or not all(map(math.isfinite, values)) or not is_one_of(name, (*RANKINGS, *CHANCE)):
        return None
    own = in_parts(values)
    above = above_chance(name, own[-1])
    good = own[-1] - 0.5 > margin if above is None else above > margin
    better = _risen(own) and (above is None or abs(above) > CHANCE_TOLERANCE)
    return Ranks(name, values[0], values[-1]) if good or better else None


def _risen(values: Sequence[float]) -> bool:
    """Return True if more than noise and RISEN lie between start and end, also by the least-squares line."""
    if len(values) <= STUCK_EPOCHS:
        return False
    curve = shape_of([-value for value in values])
    rise, error = line_fall(curve.values, curve.noise)
    return curve.start - curve.end > max(CLEAR * curve.error, RISEN) and rise > 3 * error


# --- one answer


def one_answer(metrics: Mapping[str, float], given: Sequence[str] = ()) -> dict[str, float] | None:
    """Return the metrics of an epoch that show that one class only is predicted.

    They are those of validation that are 0 where nothing is found, or `predicted_positive`, which is then 0 or 1. The
    answer is empty if others of them show that more is predicted, None if there are none of them.

    Args:
        metrics: the metrics of the epoch.
        given: the metrics that are 0 where nothing is found; by default they are known by their names.
    """
    known = [name for name, value in metrics.items() if not math.isnan(value)]
    found = [name for name in given if name in known] if given else held_out(known, FINDS)
    called = [] if given else held_out(known, _ONE_CLASS)
    for one_class, names in ((0.0, found), (0.0, called), (1.0, called)):
        if names and all(metrics[name] == one_class for name in names):
            return {name: metrics[name] for name in names}
    return {} if found or called else None


def held_out(names: Iterable[str], words: Iterable[str]) -> list[str]:
    """Return the metrics of some kinds: of validation where there are such, else all."""
    found = [name for name in names if is_one_of(name, words)]
    return [name for name in found if name.startswith("val_")] or found


@dataclass(frozen=True)
class Collapsed:
    """A metric that shows no skill from some epoch to the end.

    Attributes:
        kind: `zero` (a recall or the like of 0), `stuck` (one and the same number, no better than at the start or far
            below the best), `constant` (hardly any change in all epochs) or `chance` (as good as guessing).
        value: the value it has there.
        since: the first epoch of these.
        epochs: how many they are.
        best: the best value of all epochs.
    """

    kind: str
    value: float
    since: int
    epochs: int
    best: float


def collapsed(name: str, values: Sequence[float], maximize: bool = True) -> Collapsed | None:
    """Return how a metric collapsed, or None.

    An untrained network may answer one class for a few epochs, and a rare class is found late. So the metric must have
    been without skill for at least STUCK_EPOCHS epochs and a fifth of all.

    Args:
        name: the name of the metric, which tells the value without skill: 0 for a recall, 0.5 for an AUC.
        values: the metric by epoch.
        maximize: True if higher is better.
    """
    n = len(values)
    least = max(STUCK_EPOCHS, math.ceil(n / 5))
    if n < FEWEST or not all(math.isfinite(value) for value in values):
        return None
    last = values[-1]
    best = max(values) if maximize else min(values)
    tail = _tail(values, lambda value: math.isclose(value, last, rel_tol=1e-6, abs_tol=1e-12))
    if tail >= least:
        if last == 0 and maximize and is_one_of(name, FINDS):
            return Collapsed("zero", last, n - tail, tail, best)
        gained, kept = abs(best - values[0]), (last - values[0]) * (1 if maximize else -1)
        good = maximize and in_parts(values)[-1] >= CEILING
        perfect = last == (1.0 if maximize else 0.0)
        # An untrained network may answer otherwise for an epoch or two, and hardly worse.
        hardly = n - tail <= 2 and tail >= FEWEST and kept <= HARDLY_BETTER * abs(last) and not good
        if (kept <= LOST * gained or hardly) and not perfect:
            return Collapsed("stuck", last, n - tail, tail, best)
    own = in_parts(values)
    if maximize and max(own) - min(own) <= HARDLY * max(own) and max(own) < CEILING:
        return Collapsed("constant", median(values), 0, n, best)
    if above_chance(name, last) is not None and maximize:
        tail = _tail(own, lambda value: abs(above_chance(name, value) or 0.0) <= CHANCE_TOLERANCE)
        if tail >= least:
            return Collapsed("chance", median(values[-tail:]), n - tail, tail, best)
    return None


def _tail(values: Sequence[float], holds: Callable[[float], bool]) -> int:
    """Return the number of values at the end that fulfil `holds`, without a gap."""
    return next((count for count, value in enumerate(reversed(values)) if not holds(value)), len(values))
