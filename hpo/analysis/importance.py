"""Rank parameters by Optuna's importance, from COMPLETE trials."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.analysis.cache import cached_per_study
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.spec.models import Metric
from hpo.translation.catalogue import tr

METHOD = "PED-ANOVA"
# PED-ANOVA compares the best 10 % of trials with all of them. From this many on it names the right parameter first in 9
# of 10 draws of trials, and a share has a standard deviation of less than 0.1 (benchmarks/importance.py).
FEWEST = 50
TOP = 0.1


@dataclass(frozen=True)
class Importance:
    """Importance of each parameter for one metric.

    Attributes:
        metric: The metric.
        shares: (Optuna's parameter name, share of the total), largest first, summing to 1; empty when not shown.
        n: Number of COMPLETE trials used.
        top: Number of them that count as the best.
        rare: Parameters that vary and are left out, since fewer than FEWEST of these trials have them.
        why_not: A sentence on why nothing is shown; empty otherwise.
    """

    metric: Metric
    shares: tuple[tuple[str, float], ...]
    n: int
    top: int
    rare: tuple[str, ...] = ()
    why_not: str = ""


@cached_per_study
def importance(study: StudyRecord, metric: Metric) -> Importance:
    """Return the importance of each searched parameter for reaching the best tenth of `metric`."""
    trials = study.complete(metric)
    n = len(trials)
    top = math.ceil(TOP * n)
    if n < FEWEST:
        return Importance(metric, (), n, top, why_not=_too_few(n))
    values = [trial.values[metric.name] for trial in trials]
    if min(values) == max(values):
        why_not = tr("not shown (all {n} complete trials have the same {metric})", n=n, metric=metric.name)
        return Importance(metric, (), n, top, why_not=why_not)
    # A study of this metric alone: the importance of a study of several metrics is that of its front.
    shadow = optuna.create_study(direction=metric.direction, storage=_Storage(map(_frozen, trials, values)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(shadow)
    having = Counter(
        name for t in trials for name, distribution in t.distributions.items() if not distribution.single()
    )
    rare = tuple(name for name, count in having.items() if count < FEWEST)
    shares = {name: share for name, share in found.items() if having[name] >= FEWEST}
    total = sum(shares.values())
    if len(shares) < 2 or total <= 0:
        why_not = tr("not shown (at least 2 parameters that vary are needed)")
        return Importance(metric, (), n, top, rare, why_not)
    ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return Importance(metric, tuple((name, share / total) for name, share in ordered), n, top, rare)


class _Storage(optuna.storages.InMemoryStorage):
    """Storage of some trials, for reading: Optuna's own copies each of them deeply."""

    def __init__(self, trials: Iterable[FrozenTrial]) -> None:
        super().__init__()
        self._complete = list(trials)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return all trials, which are COMPLETE."""
        return self._complete


def _frozen(trial: TrialRecord, value: float) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=TrialState.COMPLETE,
        value=value,
        params=dict(trial.optuna_params),
        distributions=dict(trial.distributions),
        datetime_start=None,
        datetime_complete=None,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _too_few(n: int) -> str:
    return tr(
        "not shown (n = {n}; below {needed} complete trials it changes from one draw of trials to the next)",
        n=n,
        needed=FEWEST,
    )
