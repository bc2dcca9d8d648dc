"""Test where in its range a parameter is best: inside of it, or at an edge, where a wider range may be better.

Of each parameter of ordered values, within the outer third of its range (of few values: the last two), the rank
correlation of the final cost with the parameter says whether trials get better or worse towards the edge (Kendall's
tau, two-sided). The other parameters are taken out of the cost before: its partial residuals, of a regression of the
normal scores of the costs on the group, the choices, and the first and second power of the other places (Larsen and
McCleary, Technometrics 14, 1972). Ranks let a diverged trial weigh no more than any other.

Where more than TIED of the trials in the outer part are tied for the last place, as pruned ones are, they are as bad as
can be whatever their other parameters are: taking these out would leave the trend of how the sampler chose them. There
the larger p counts, of that and of the costs as they are. Trends that contradict each other are none anywhere.

A trial that the pruner stopped counts as worse than all complete ones: without them, what is left would be alike.
What ended for another reason says nothing of the metric.

All tests, and those of the analysis of variance of the parameters, are corrected together by Holm. The analysis of
variance knows no continuous parameters, and an adaptive sampler tries choices together with good values of these: so
the larger p counts, of that analysis and of the F test of the same regression. What the report
says at its beginning has a p below CLEAR: it makes many such statements, and readers act on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo import trial as causes
from hpo.analysis.axes import flat_params, searched
from hpo.analysis.cache import cached_per_study
from hpo.analysis.formatting import label
from hpo.analysis.lineages import is_population
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.statistics.anova import anova
from hpo.analysis.statistics.multiple_testing import holm
from hpo.analysis.wider_range import Wider, wider
from hpo.space.parameter import Parameter
from hpo.space.scale import part_of_range
from hpo.spec.models import Metric

CLEAR = 0.01
OUTER = 1 / 3
FEWEST = 8  # trials in an outer third, below which its trend is not tested
FEW_VALUES = 8
TIED = 1 / 4
EACH = 3  # trials for each coefficient of the regression
BETTER, WORSE = "better", "worse"
LOWER, UPPER, INSIDE, AWAY_FROM_LOWER, AWAY_FROM_UPPER = "lower", "upper", "inside", "not lower", "not upper"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """Trend towards one edge of a parameter.

    Attributes:
        n: Number of trials in the outer part.
        tau: Kendall's tau of cost and nearness to the edge; None if it was not tested. Below 0 it gets better.
        p: Corrected for the number of tests; 1 if it was not tested.
    """

    n: int
    tau: float | None = None
    p: float = 1.0

    @property
    def found(self) -> str:
        """BETTER or WORSE towards the edge, or empty where neither is clear."""
        if self.tau is None or self.p >= CLEAR:
            return ""
        return BETTER if self.tau < 0 else WORSE


@dataclass(frozen=True)
class ParameterTrend:
    """A parameter, and whether and where it matters.

    Attributes:
        name: The name of the parameter.
        p: The larger one of its p in the analysis of variance and beside all other parameters, corrected for the number
            of tests; None if it is no factor.
        lower: Trend towards its lower edge; None of a parameter without an order.
        upper: Trend towards its upper edge.
        wider: A wider range, where it is best at an edge.
        better: Of two choices without an order, the one with the lower cost beside the other parameters; else empty.
    """

    name: str
    p: float | None = None
    lower: Trend | None = None
    upper: Trend | None = None
    wider: Wider | None = None
    better: str = ""

    @property
    def place(self) -> str:
        """Return where it is best: LOWER, UPPER, INSIDE, AWAY_FROM_LOWER, AWAY_FROM_UPPER, or empty if not known."""
        lower = self.lower.found if self.lower else ""
        upper = self.upper.found if self.upper else ""
        if BETTER in (lower, upper):
            return "" if lower == upper else LOWER if lower == BETTER else UPPER
        if lower and upper:
            return INSIDE
        return AWAY_FROM_LOWER if lower else AWAY_FROM_UPPER if upper else ""

    @property
    def matters(self) -> bool:
        """Return True if one of its tests is clear."""
        return (self.p is not None and self.p < CLEAR) or any(t.found for t in (self.lower, self.upper) if t)


@cached_per_study
def parameter_trends(study: StudyRecord, metric: Metric) -> tuple[ParameterTrend, ...]:
    """Return the parameters that were tested, in the order declared; none of a population."""
    if is_population(study):
        return ()
    variance = {one.names[0]: one.p for one in anova(study, metric).tested if len(one.names) == 1}
    variance.pop(str(study.group_by), None)
    declared = {name: own for name, own in searched(study.space).items() if name != study.group_by}
    tested, choices, beside = _trends(study, metric, declared)
    variance = {name: max(p, beside.get(name, p)) for name, p in variance.items()}
    names = [name for name in declared if name in variance or name in tested]
    raw: dict[tuple[str, int], float] = {}
    for name in names:
        for k, p in enumerate((variance.get(name), *(t.p for t in tested.get(name, ()) if t.tau is not None))):
            if p is not None:
                raw[name, k] = p
    corrected = dict(zip(raw, holm(list(raw.values())), strict=True))
    made = []
    for name in names:
        left = iter([corrected[name, k] for k in (1, 2) if (name, k) in corrected])
        sides = [replace(t, p=next(left)) if t.tau is not None else t for t in tested.get(name, ())]
        lower, upper = sides or (None, None)
        found = ParameterTrend(name, corrected.get((name, 0)), lower, upper, better=choices.get(name, ""))
        if found.place in (LOWER, UPPER):
            found = replace(found, wider=wider(declared[name][0], found.place == UPPER))
        made.append(found)
    return tuple(made)


# --- trends


def _trends(
    study: StudyRecord, metric: Metric, declared: Mapping[str, Sequence[Parameter]]
) -> tuple[dict[str, tuple[Trend, Trend]], dict[str, str], dict[str, float]]:
    """Return the trends towards both edges with p as it is, the better one of two choices, and p beside the others."""
    trials = [t for t in study.finished if t.completed(metric) or (t.state == "PRUNED" and t.cause == causes.PRUNER)]
    if sum(trial.completed(metric) for trial in trials) < FEWEST:
        return {}, {}, {}
    cost = _scores(trials, metric)
    columns, places = _columns(study, trials, declared)
    used = sum(column.shape[1] for column in columns.values()) + 1
    if len(trials) < EACH * used:
        return {}, {}, {}
    design = np.hstack([np.ones((len(trials), 1)), *columns.values()])
    fit = np.linalg.lstsq(design, cost, rcond=None)[0]
    residual = cost - design @ fit
    found: dict[str, tuple[Trend, Trend]] = {}
    choices: dict[str, str] = {}
    beside: dict[str, float] = {}
    start = 1
    for name, column in columns.items():
        own = slice(start, start + column.shape[1])
        start += column.shape[1]
        beside[name] = _p_beside_others(design, cost, own)
        if name in places:
            cost_of_it = residual + design[:, own] @ fit[own]
            near = places[name]
            own_range = declared[name][0]
            found[name] = _trend(cost_of_it, cost, 1 - near, own_range), _trend(cost_of_it, cost, near, own_range)
        elif column.shape[1] == 1:
            lower_cost = column[:, 0] == (fit[own][0] < 0)
            choices[name] = label(flat_params(trials[int(np.argmax(lower_cost))].params)[name])
    return found, choices, beside


def _p_beside_others(design: Floats, cost: Floats, own: slice) -> float:
    """Return p of the F test of some columns of the design: what they explain that no other does."""
    from scipy.stats import f

    others = np.delete(design, own, axis=1)
    squares, less = (float(((cost - x @ np.linalg.lstsq(x, cost, rcond=None)[0]) ** 2).sum()) for x in (design, others))
    df, rest = own.stop - own.start, len(cost) - design.shape[1]
    return float(f.sf((less - squares) / df / (squares / rest), df, rest)) if squares > 0 else 1.0


def _scores(trials: Sequence[TrialRecord], metric: Metric) -> Floats:
    """Return the normal scores of the ranks of the costs, pruned trials tied for the last."""
    from scipy.stats import norm, rankdata

    costs = [metric.cost(t.values[metric.name]) if t.completed(metric) else np.inf for t in trials]
    scores: Floats = norm.ppf((rankdata(costs) - 0.5) / len(costs))
    return scores


def _columns(
    study: StudyRecord, trials: Sequence[TrialRecord], declared: Mapping[str, Sequence[Parameter]]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the columns of each parameter in the design, and the places of those of ordered values in their ranges.

    What only some of the trials have is left out.
    """
    columns: dict[str, Floats] = {}
    places: dict[str, Floats] = {}
    params = [flat_params(trial.params) for trial in trials]
    groups = {} if study.group_by is None else {study.group_by: ()}
    for name, parameters in {**groups, **declared}.items():
        values = [own.get(name) for own in params]
        place = _places(values, parameters)
        if place is not None and np.ptp(place) > 0:
            places[name] = place
            power = np.column_stack([place, place**2])
            columns[name] = power if len(np.unique(place)) > 2 else power[:, :1]
        elif place is None and None not in values:
            codes = np.unique([repr(value) for value in values], return_inverse=True)[1]
            if codes.max() == 0:
                continue
            columns[name] = (codes[:, None] == np.arange(1, codes.max() + 1)).astype(float)
    return columns, places


def _places(values: Sequence[Any], parameters: Sequence[Parameter]) -> Floats | None:
    """Return the places of values in the range of their parameter, 0 to 1; None if they have no order.

    Choices that are numbers are as far from each other as their neighbours in the list.
    """
    if len(parameters) != 1 or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        return None
    (parameter,) = parameters
    if parameter.kind == "categorical":
        if any(isinstance(choice, bool) or not isinstance(choice, (int, float)) for choice in parameter.choices):
            return None
        order = sorted(parameter.choices)  # type: ignore[type-var]
        if any(value not in order for value in values):
            return None
        return np.array([order.index(value) for value in values]) / (len(order) - 1)
    return np.array([part_of_range(float(v), parameter.low, parameter.high, parameter.log) for v in values])


def _trend(cost: Floats, plain: Floats, near: Floats, parameter: Parameter) -> Trend:
    """Return the trend in the outer part, with a veto where the outer half of it goes the other way.

    Args:
        cost: Cost of each trial without the part of the other parameters, lower is better.
        plain: Cost of each trial as it is.
        near: Nearness to the edge, 1 at the edge.
        parameter: The parameter.
    """
    from scipy.stats import kendalltau

    count = parameter.count
    few = count is not None and count <= FEW_VALUES
    outer = near >= (1 - 1 / (count - 1) if few and count else 1 - OUTER) - 1e-9
    n = int(outer.sum())
    if n < FEWEST or np.ptp(near[outer]) == 0:
        return Trend(n)
    tau, p = kendalltau(cost[outer], near[outer])
    as_is, p_as_is = kendalltau(plain[outer], near[outer])
    if not np.isfinite(tau):
        return Trend(n)
    if (plain[outer] == plain.max()).mean() > TIED:
        p = max(p, p_as_is)
    if not tau * as_is > 0:
        p = 1.0
    if not few and tau < 0:
        last = near >= 1 - OUTER / 2
        turned = kendalltau(cost[last], near[last])[0] if last.sum() >= FEWEST // 2 else np.nan
        if not turned <= 0:
            p = 1.0
    return Trend(n, float(tau), float(p))
