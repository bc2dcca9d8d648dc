"""The default pruner: asynchronous successive halving that is lenient first, and compares with recent trials.

It is the stopping rule of Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), with two
differences:

- At the first rung the better half passes, at later ones the better quarter. Networks that learn late, or are measured
  with noise, are not told from bad ones after one epoch.
- A trial is compared with the last trials that came to its rung. A sampler's proposals get better with time: compared
  with all trials, too many of them would pass.

It keeps no state: what trials have reported is all it needs, so a study that goes on later goes on as before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo.search.promotion import WAITING, WAITING_FOR_REST, Promotion
from hpo.search.study_view import trials_of
from hpo.spec.models import StudySpec


def promotion_of(spec: StudySpec, pruner: optuna.pruners.BasePruner) -> Promotion | None:
    """Return what has trials of a study wait at a rung; None if its pruner stops what is behind."""
    if len(spec.metrics) > 1 or not isinstance(pruner, HalvingPruner):
        return None
    return pruner.promotion(WAITING_FOR_REST if spec.uses_rest else WAITING)


class HalvingPruner(optuna.pruners.BasePruner):
    """Pruner by asynchronous successive halving.

    The rungs are the steps `min_resource`, times `reduction_factor`, times its square and so on. At its first report
    from a rung on, a trial is compared with the trials that came there before.

    Args:
        min_resource: step of the first rung.
        reduction_factor: a rung is this many times as far as the one before; one of so many passes it.
        first_reduction_factor: one of so many passes the first rung.
        window: number of trials, by their numbers the latest, that are compared; the trial itself is one of them.
        promotion: a trial that has saved a checkpoint is not stopped, but waits at its rung (`hpo.search.promotion`):
            one of `reduction_factor` goes on, of all trials that came there. Only in studies of one metric.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        min_resource: int = 1,
        reduction_factor: int = 4,
        first_reduction_factor: float = 2.0,
        window: int = 32,
        promotion: bool = True,
    ) -> None:
        if min_resource < 1:
            raise ValueError(f"min_resource is {min_resource}; expected at least 1")
        if reduction_factor < 2:
            raise ValueError(f"reduction_factor is {reduction_factor}; expected at least 2")
        if first_reduction_factor < 1:
            raise ValueError(f"first_reduction_factor is {first_reduction_factor}; expected at least 1")
        if window < reduction_factor:
            raise ValueError(f"window is {window}; expected at least reduction_factor, {reduction_factor}")
        self._first, self._factor = min_resource, reduction_factor
        self._first_factor, self._window = first_reduction_factor, window
        self._promotion = promotion

    def promotion(self, most: int) -> Promotion | None:
        """Return what has trials wait, `most` of them at a rung; None if they are stopped."""
        return Promotion(self._first, self._factor, most) if self._promotion else None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return True if the trial should stop after its last report."""
        steps = sorted(trial.intermediate_values)
        if not steps:
            return False
        since = steps[-2] if len(steps) > 1 else -math.inf
        return any(
            self._is_behind(study, trial, rung, factor)
            for rung, factor in self._rungs(steps[-1])
            if rung > since  # the others were decided at earlier reports
        )

    def _rungs(self, step: int) -> Iterator[tuple[int, float]]:
        rung, factor = self._first, self._first_factor
        while rung <= step:
            yield rung, factor
            rung, factor = rung * self._factor, float(self._factor)

    def _is_behind(self, study: optuna.Study, trial: FrozenTrial, rung: int, factor: float) -> bool:
        own = _value_at(trial, rung)
        assert own is not None
        if math.isnan(own):
            return True
        # A failed trial is repeated, or was broken. The latest come first, so that few of a long study are looked at.
        latest = reversed(trials_of(study))
        others = (one for one in latest if one.state != TrialState.FAIL and one.number != trial.number)
        reached = (value for one in others if (value := _value_at(one, rung)) is not None and not math.isnan(value))
        rivals = [own, *islice(reached, self._window - 1)]
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        costs = sorted(sign * value for value in rivals)
        return sign * own > costs[max(0, int(len(costs) / factor) - 1)]


def _value_at(trial: FrozenTrial, rung: int) -> float | None:
    """Return the value of the first report at a rung or after it; None if there is none."""
    values = trial.intermediate_values
    if rung in values:
        return values[rung]
    later = [step for step in values if step > rung]
    return values[min(later)] if later else None
