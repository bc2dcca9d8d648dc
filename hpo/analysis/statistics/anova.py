"""Test which factors the final values of a study differ by: analysis of variance with type II sums of squares.

Factors are `group_by`, learning rate, batch size, and every other categorical parameter that all trials have. A
continuous learning rate or batch size enters by the bins of the heatmaps. Only COMPLETE trials count. A factor is
tested where the test is valid: two of its values have FEWEST trials, and the model leaves LEAST_RESIDUAL_DF degrees of
freedom. Power hides no effect: it says what may have been missed where none was found. `group_by` always is in the
model, so that no other effect is ever that of other groups.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.axes import BATCH_SIZE, LEARNING_RATE, Axis, axis_of, in_order, searched
from hpo.analysis.cache import cached_per_study
from hpo.analysis.formatting import label, listed
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.statistics.group_test import GroupTest, group_test
from hpo.analysis.statistics.pairwise import FEWEST, Levene, levene, scaled
from hpo.analysis.statistics.power import ALPHA, smallest_found
from hpo.analysis.summary_statistics import usual_range
from hpo.spec.algorithms import NOT_ADAPTIVE
from hpo.spec.models import Metric
from hpo.translation.catalogue import tr

MOST_COEFFICIENTS = 200  # a fit of more takes long
LEAST_RESIDUAL_DF = 4  # with fewer the scatter, which all effects are held against, is hardly known
FAR = 3.0  # interquartile ranges beyond the quartile: Tukey's far fence

Codes = NDArray[np.intp]


@dataclass(frozen=True)
class TestedTerm:
    """One factor, or the interaction of two.

    Attributes:
        names: The parameters.
        levels: Number of levels, or of their combinations.
        df: Degrees of freedom.
        sum_of_squares: Type II, in the square of the metric's unit.
        f: F statistic.
        p: Its p value, not corrected for the number of factors.
        eta: Partial eta squared, SS / (SS + residual SS), so that F = eta / (1 - eta) x residual df / df.
        least: Partial eta squared of the smallest effect that these trials would have found with 80 %.
    """

    names: tuple[str, ...]
    levels: int
    df: int
    sum_of_squares: float
    f: float
    p: float
    eta: float
    least: float

    @property
    def found(self) -> bool:
        """Return True if the effect is found at ALPHA."""
        return self.p < ALPHA


@dataclass(frozen=True)
class UntestedTerm:
    """A factor or interaction that is not tested, and `why_not`."""

    names: tuple[str, ...]
    why_not: str


@dataclass(frozen=True)
class Cells:
    """Combinations of the levels of all factors in the model.

    Attributes:
        n: Number of combinations.
        fewest: The fewest COMPLETE trials in one of them.
        most: The most COMPLETE trials in one of them.
    """

    n: int
    fewest: int
    most: int

    @property
    def balanced(self) -> bool:
        """Return True if all cells have the same number of trials."""
        return self.fewest == self.most


@dataclass(frozen=True)
class Anova:
    """Analysis of variance of one metric.

    Attributes:
        metric: The metric of the final values.
        group_by: The parameter of the groups, if any.
        n: Number of COMPLETE trials.
        pruned: Number of pruned trials.
        failed: Number of failed trials.
        tested: The factors of the model, then interactions.
        untested: Factors and interactions that are not tested.
        continuous: Searched parameters that are no factor, since they are continuous.
        conditional: Searched parameters that are no factor, since not every trial has them.
        held: Whether `group_by` is in the model for the others' sake, without being tested.
        cells: Cells of the model.
        residual_df: Residual degrees of freedom.
        residual: Residual sum of squares: what no factor explains.
        levene: Test of equal variances over the levels of the first factor, beside the others.
        outliers: Numbers of trials whose value lies beyond Tukey's far fence on the bad side. If none does, of those
            whose residual lies beyond either fence.
        group_test: Which test of the groups holds; None where they are not tested.
        sampler: Name of the sampler if it is adaptive.
        why_not: Why there is no test; empty if there is one, if each factor says its own reason, or if there is no
            factor.
    """

    metric: Metric
    group_by: str | None
    n: int
    pruned: int
    failed: int
    tested: tuple[TestedTerm, ...] = ()
    untested: tuple[UntestedTerm, ...] = ()
    continuous: tuple[str, ...] = ()
    conditional: tuple[str, ...] = ()
    held: bool = False
    cells: Cells | None = None
    residual_df: int = 0
    residual: float = 0.0
    levene: Levene | None = None
    outliers: tuple[int, ...] = field(default=(), metadata={"json_key": "odd"})
    group_test: GroupTest | None = None
    sampler: str = ""
    why_not: str = ""


@cached_per_study
def anova(study: StudyRecord, metric: Metric) -> Anova:
    """Test which factors the final values of `metric` differ by."""
    names, continuous, conditional = _factors(study)
    trials = [t for t in study.complete(metric) if all(name in t.params for name in names)]
    said: dict[str, Any] = {
        "metric": metric,
        "group_by": study.group_by,
        "n": len(trials),
        "pruned": len(study.in_state("PRUNED")),
        "failed": len(study.in_state("FAIL")),
        "continuous": continuous,
        "conditional": conditional,
        "sampler": adaptive_sampler(study),
    }
    values = [trial.values[metric.name] for trial in trials]
    if not names:
        return Anova(**said)
    if not trials:
        return Anova(**said, why_not=tr("no trial has completed"))
    y, scale = scaled(values)
    if float(np.ptp(y)) == 0:
        return Anova(**said, why_not=tr("all {n} complete trials have the same {metric}", n=len(y), metric=metric.name))
    codes = _codes(study, names, trials)
    model = _Model(len(trials), codes)
    untested: list[UntestedTerm] = []
    for name in names:
        untested += model.try_factor(name, held=name == study.group_by)
    for name in _interacting(study, model):
        untested += model.try_interaction((str(study.group_by), name))
    untested = [*model.held_only(), *untested]
    if not model.shown:
        return Anova(**said, untested=tuple(untested))
    fitted = _fit(model, y, scale)
    if fitted is None:
        why_not = tr("the factors explain every value exactly, which leaves no scatter to hold their effects against")
        return Anova(**said, untested=tuple(untested), why_not=why_not)
    first = codes[model.terms[0][0]]
    beside_others = _beside_others(y, fitted.residuals, first)
    spread = levene(_samples(beside_others, first))
    tested = tuple(one for one in fitted.tested if one.names in model.shown)
    holding = None
    if tested[0].names == (study.group_by,):
        samples = _samples(y, first), _samples(beside_others, first)
        holding = group_test(*samples, fitted.residuals, spread, tested[0].p)
        counts = Counter(label(trial.params[str(study.group_by)]) for trial in trials)
        holding = replace(holding, left_out=tuple(name for name, n in counts.items() if n < FEWEST))
    if holding is not None and holding.modes is not None:
        middle = float(np.median(values))  # of the unit that `scaled` left
        low, high = (mode * scale + middle for mode in (holding.modes.low, holding.modes.high))
        holding = replace(holding, modes=replace(holding.modes, low=low, high=high))
    return Anova(
        **said,
        tested=tested,
        untested=tuple(untested),
        held=bool(model.held_only()),
        cells=model.cells(),
        residual_df=len(y) - model.parameters,
        residual=fitted.residual,
        levene=spread,
        outliers=_outliers(trials, values, metric, fitted.residuals),
        group_test=holding,
    )


def _beside_others(values: NDArray[np.float64], residuals: NDArray[np.float64], codes: Codes) -> NDArray[np.float64]:
    """Return the values without the effects of other factors: the mean of the level and what the model leaves."""
    means = np.bincount(codes, values) / np.bincount(codes)
    adjusted: NDArray[np.float64] = means[codes] + residuals
    return adjusted


def _samples(values: NDArray[np.float64], codes: Codes) -> list[NDArray[np.float64]]:
    """Return the values of each level that has FEWEST or more."""
    samples = (values[codes == level] for level in np.unique(codes))
    return [sample for sample in samples if len(sample) >= FEWEST]


def adaptive_sampler(study: StudyRecord) -> str:
    """Return the names of samplers that chose trials by what earlier ones gave; empty if none did."""
    return listed(dict.fromkeys(name for name in study.samplers if name not in NOT_ADAPTIVE))


def _factors(study: StudyRecord) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """Return the names of factors in the order in which they enter, then continuous ones, then conditional ones."""
    declared = searched(study.space)
    binned = {name for known in (LEARNING_RATE, BATCH_SIZE) for name in [n for n in known if n in declared][:1]}
    usual = [name for name in in_order(study.space, study.group_by) if name in binned]
    group = [study.group_by] if study.group_by in declared else []
    factors, continuous, conditional = [], [], []
    for name in dict.fromkeys([*group, *usual, *declared]):
        if any(parameter.condition for parameter in declared[name]):
            conditional.append(name)
        elif name in usual or all(parameter.kind == "categorical" for parameter in declared[name]):
            factors.append(name)
        else:
            continuous.append(name)
    return factors, tuple(continuous), tuple(conditional)


def _codes(study: StudyRecord, names: Iterable[str], trials: Sequence[TrialRecord]) -> dict[str, Codes]:
    """Return the level of each trial, 0 to levels - 1, of the levels that there are."""
    declared = searched(study.space)
    codes: dict[str, Codes] = {}
    for name in names:
        axis: Axis = axis_of(name, declared[name])
        # A value in no cell of its own was tried before the space was edited: a level like any other.
        places = [axis.cell_of(trial.params[name]) for trial in trials]
        codes[name] = np.unique([-1 if place is None else place for place in places], return_inverse=True)[1]
    return codes


def _interacting(study: StudyRecord, model: _Model) -> list[str]:
    """Return the factors that each group may want its own value of, as far as both are in the model."""
    inside = [term[0] for term in model.terms]
    if study.group_by not in inside:
        return []
    wanted = (*LEARNING_RATE, *BATCH_SIZE)
    return [name for name in wanted if name in inside and name != study.group_by]


class _Model:
    """Grows by one term after the other, as long as every effect can be told apart from the others and tested."""

    def __init__(self, n: int, codes: Mapping[str, Codes]) -> None:
        self.n = n
        self.codes = codes
        self.terms: list[tuple[str, ...]] = []
        self._held: tuple[str, ...] | None = None
        self.design = np.ones((n, 1))

    @property
    def parameters(self) -> int:
        return self.design.shape[1]

    def levels(self, name: str) -> int:
        return int(self.codes[name].max()) + 1

    def df(self, term: tuple[str, ...]) -> int:
        return math.prod(self.levels(name) - 1 for name in term)

    @property
    def shown(self) -> list[tuple[str, ...]]:
        """Terms that are tested: all, but perhaps the held one."""
        return [term for term in self.terms if term != self._held]

    def held_only(self) -> list[UntestedTerm]:
        """Return the held factor: one that is in the model and cannot be tested."""
        return [] if self._held is None else [UntestedTerm(self._held, self._too_few_levels)]

    @property
    def _too_few_levels(self) -> str:
        return tr("fewer than two of its values have {n} complete trials", n=FEWEST)

    def try_factor(self, name: str, held: bool) -> list[UntestedTerm]:
        """Take a factor into the model, or say why not. `held`: take it even if it cannot be tested."""
        if self.levels(name) < 2:
            return [UntestedTerm((name,), tr("all complete trials have the same value of it"))]
        if int((np.bincount(self.codes[name]) >= FEWEST).sum()) < 2:
            if not held or self._try((name,)):
                return [UntestedTerm((name,), self._too_few_levels)]
            self._held = (name,)
            return []
        return self._try((name,))

    def try_interaction(self, names: tuple[str, str]) -> list[UntestedTerm]:
        first, second = names
        counts = Counter(zip(self.codes[first].tolist(), self.codes[second].tolist(), strict=True))
        cells = self.levels(first) * self.levels(second)
        fewest = min(counts.values()) if len(counts) == cells else 0
        if fewest == 0:
            why_not = tr("{empty} of {cells} cells have no complete trial", empty=cells - len(counts), cells=cells)
        elif fewest == 1 and max(counts.values()) == 1:
            why_not = tr("n = 1 a cell, at least 2 needed")
        elif fewest == 1:
            why_not = tr("n = 1 in the smallest cell, at least 2 needed")
        else:
            return self._try(names)
        return [UntestedTerm(names, why_not)]

    def _try(self, term: tuple[str, ...]) -> list[UntestedTerm]:
        """Take the term into the model, or say why not."""
        coefficients = self.parameters + self.df(term)
        if coefficients > MOST_COEFFICIENTS:
            most = MOST_COEFFICIENTS
            why_not = tr("the model would have {n} coefficients, at most {most}", n=coefficients, most=most)
            return [UntestedTerm(term, why_not)]
        columns = np.ones((self.n, 1))
        for name in term:
            own = (self.codes[name][:, None] == np.arange(1, self.levels(name))).astype(float)
            columns = (columns[:, :, None] * own[:, None, :]).reshape(self.n, -1)
        larger = np.hstack([self.design, columns])
        # The rank of the design: of its products, which are whole numbers and far fewer than its rows.
        if np.linalg.matrix_rank(larger.T @ larger, hermitian=True) < larger.shape[1]:
            others = listed(name for one in self.terms if len(one) == 1 for name in one)
            return [UntestedTerm(term, tr("it cannot be told apart from {others} in these trials", others=others))]
        needed = coefficients + LEAST_RESIDUAL_DF
        if self.n < needed:
            return [UntestedTerm(term, tr("n = {n}, at least {needed} needed", n=self.n, needed=needed))]
        self.terms.append(term)
        self.design = larger
        return []

    def cells(self) -> Cells:
        names = [term[0] for term in self.terms if len(term) == 1]
        counts = Counter(zip(*(self.codes[name].tolist() for name in names), strict=True))
        all_of_them = math.prod(self.levels(name) for name in names)
        fewest = min(counts.values()) if len(counts) == all_of_them else 0
        return Cells(all_of_them, fewest, max(counts.values()))


@dataclass(frozen=True)
class _Fitted:
    tested: tuple[TestedTerm, ...]
    residual: float
    residuals: NDArray[np.float64]


def _fit(model: _Model, y: NDArray[np.float64], scale: float) -> _Fitted | None:
    """Fit by least squares; None where the factors explain every value exactly."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    # The user's names are no formula.
    names = {name: f"f{index}" for index, name in enumerate(model.codes)}
    terms = [":".join(names[name] for name in term) for term in model.terms]
    table = pd.DataFrame({names[name]: pd.Categorical(code) for name, code in model.codes.items()} | {"y": y})
    fit = ols(f"y ~ {' + '.join(terms)}", table).fit()
    if fit.ssr <= 1e-20 * float(((y - y.mean()) ** 2).sum()):
        return None
    found = anova_lm(fit, typ=2)
    tested = []
    for term, name in zip(model.terms, terms, strict=True):
        squares = float(found.loc[name, "sum_sq"])
        df = model.df(term)
        levels = math.prod(model.levels(one) for one in term)
        tested.append(
            TestedTerm(
                names=term,
                levels=levels,
                df=df,
                sum_of_squares=squares * scale * scale,
                f=float(found.loc[name, "F"]),
                p=float(found.loc[name, "PR(>F)"]),
                eta=squares / (squares + float(fit.ssr)),
                least=smallest_found(df, model.parameters, len(y)),
            )
        )
    return _Fitted(tuple(tested), float(fit.ssr) * scale * scale, np.asarray(fit.resid))


def _outliers(
    trials: Sequence[TrialRecord], values: Sequence[float], metric: Metric, residuals: NDArray[np.float64]
) -> tuple[int, ...]:
    # A diverged trial bends the fit to itself, so that the residuals of its neighbours are far out and not its own.
    shown = usual_range(values, metric.direction)
    diverged = tuple(t.number for t, value in zip(trials, values, strict=True) if shown.beyond([value]))
    if diverged:
        return diverged
    lower, upper = np.quantile(residuals, [0.25, 0.75])
    reach = FAR * (upper - lower)
    far = (residuals < lower - reach) | (residuals > upper + reach)
    return tuple(trial.number for trial, beyond in zip(trials, far.tolist(), strict=True) if beyond and reach > 0)
