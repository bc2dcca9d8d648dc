"""Estimate what more trials would bring, from the final values of a study.

The estimate takes the next trials as drawn like those that there are; of an adaptive sampler, whose trials get better,
like the later half of them. Then each of n + m trials is as likely to be the
best, so that the next m bring a new best with the probability m / (n + m). The best values of many draws have spacings
as those of an exponential tail, i (x_i - x_(i+1)) with the mean a for the i-th best value x_i, which is wider than the
tail of values that have a limit. By how much the best improves follows from a:

    P(gain > t) = m / (m + n exp(t / a)),    E(gain) = a log(1 + m / n)

Source: Weissman, "Estimation of parameters and large quantiles based on the k largest observations", Journal of the
American Statistical Association 73, 1978. Where good values are rare and far from all others, the gain may be larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

from hpo.analysis.cache import cached_per_study
from hpo.analysis.ranking import best_first, ranked
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.anova import adaptive_sampler
from hpo.analysis.summary_statistics import mean
from hpo.spec.models import Metric
from hpo.translation.catalogue import tr

AHEAD = 20  # trials
LEVEL = 0.95
SPACINGS = 5  # of the best values: more of them reach to where the tail has another shape
LITTLE = 0.05  # of the distance from the median to the best: less than that is little


@dataclass(frozen=True)
class Outlook:
    """Expectation of the next trials.

    Attributes:
        metric: The metric.
        finished: Number of finished trials.
        like: Number of the last of them that the next ones are taken to be drawn like.
        complete: Number of COMPLETE ones.
        best: The number of the best trial; None without one.
        since: Number of finished trials after it.
        ahead: Number of trials that are looked ahead.
        chance: The probability that they bring a new best.
        gain: By how much the best is expected to improve; None if it is not estimated.
        most: The upper end of its one-sided 95 % interval, whose lower end is 0.
        distance: That from the median of these trials, if complete, to the best of them.
        why_not: Why there is no estimate.
        tried_all: Whether every configuration of the space was tried, so that none is left.
    """

    metric: Metric
    finished: int
    like: int
    complete: int
    best: int | None
    since: int
    ahead: int
    chance: float
    gain: float | None = None
    most: float | None = None
    distance: float | None = None
    why_not: str = ""
    tried_all: bool = False

    @property
    def little(self) -> bool:
        """Return True if the gain is little, at its confidence."""
        return self.most is not None and self.distance is not None and self.most <= LITTLE * self.distance


@cached_per_study
def outlook(study: StudyRecord, metric: Metric, ahead: int = AHEAD) -> Outlook:
    """Return what the next trials are expected to bring by `metric`."""
    trials, finished = ranked(study, metric), sorted(study.finished, key=lambda trial: trial.number)
    best = trials[0].number if trials else None
    since = 0 if best is None else sum(trial.number > best for trial in finished)
    like = finished[len(finished) // 2 :] if adaptive_sampler(study) else finished
    n = len(like)
    found = Outlook(metric, len(finished), n, len(trials), best, since, ahead, ahead / (n + ahead))
    spec = study.spec
    cells = spec.space.grid_size() if spec is not None and spec.tries_each_once else None
    if cells is not None and len(finished) >= cells:
        return replace(found, why_not=tr("every configuration of the space was tried"), tried_all=True)
    pool = [trial for trial in like if trial.completed(metric)]
    if len(pool) <= SPACINGS:
        why_not = tr("n = {n} complete trials, at least {needed} needed", n=len(pool), needed=SPACINGS + 1)
        return replace(found, why_not=why_not)
    costs = [metric.cost(trial.values[metric.name]) for trial in best_first(pool, metric)]
    a = costs[SPACINGS] - mean(costs[:SPACINGS])
    distance = costs[len(costs) // 2] - costs[0]
    if not (math.isfinite(a) and math.isfinite(distance)):
        return replace(found, why_not=tr("the values are too large to be compared"))
    return replace(found, gain=a * math.log1p(ahead / n), most=a * _most(n, ahead), distance=distance)


@cache
def _most(n: int, ahead: int) -> float:
    """Return the gain that is exceeded with a probability of 1 - LEVEL, in units of the estimated a.

    The estimate of a from k spacings is a times a variable with the gamma distribution of shape k and scale 1 / k.
    """
    if ahead / (n + ahead) <= 1 - LEVEL:
        return 0.0
    import numpy as np
    from scipy.optimize import brentq
    from scipy.stats import gamma

    part = (np.arange(2000) + 0.5) / 2000
    scale = gamma.ppf(part, SPACINGS, scale=1 / SPACINGS)

    def exceeded(t: float) -> float:
        return float(np.mean(ahead / (ahead + n * np.exp(np.minimum(t * scale, 700.0))))) - (1 - LEVEL)

    return float(brentq(exceeded, 0.0, 1e3))
