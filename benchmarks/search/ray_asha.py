"""Ray's own ASHA rule, as a pruner."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial
from ray.tune.schedulers.async_hyperband import _Bracket
from ray.tune.schedulers.trial_scheduler import TrialScheduler


class RayAsha(optuna.pruners.BasePruner):
    """AsyncHyperBandScheduler with one bracket: its code decides, on the study's values."""

    class _Trial:
        def __init__(self, number: int) -> None:
            self.trial_id = str(number)

    def __init__(self, max_t: int, reduction_factor: int = 4) -> None:
        self._bracket = _Bracket(1, max_t, reduction_factor, 0)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return True if the scheduler stops the trial."""
        step = trial.last_step
        assert step is not None
        reward = -trial.intermediate_values[step]  # it maximizes
        return bool(self._bracket.on_result(self._Trial(trial.number), step, reward) == TrialScheduler.STOP)
