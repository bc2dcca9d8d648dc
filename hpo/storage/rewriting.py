"""New content of a study whose parameters are written in another search space, where Optuna changes none.

`hpo.storage.rewriting_journal` and `hpo.storage.rewriting_database` write it in one step, however that ends: a journal
is replaced by another file, a database commits one transaction. Numbers and ids of trials, times, states, values, steps
and all other attributes stay as they are, and so do other studies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json

from hpo.storage.trial_attributes import IDENTITY, JOB

# Within a trial's system attributes: what it was queued with (Optuna's).
FIXED = "fixed_params"
# State of Optuna's CMA-ES, which is of the space in which it was begun.
_OF_SAMPLERS = ("cma:", "sepcma:", "cmawm:", "x_for_tell")


@dataclass(frozen=True)
class NewParams:
    """Parameters of a trial in another space.

    Attributes:
        params: by Optuna's names.
        seen: as the objective sees them, if that was noted.
        fixed: those that it was queued with, if it was; by Optuna's names.
    """

    params: Mapping[str, Any]
    seen: Mapping[str, Any] | None = None
    fixed: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Rewriting:
    """New content of a study.

    Attributes:
        study: Optuna's id of the study.
        identity: of the study, as JSON.
        distributions: by Optuna's names.
        trials: by Optuna's ids of the trials.
    """

    study: int
    identity: Any
    distributions: Mapping[str, BaseDistribution]
    trials: Mapping[int, NewParams]

    def stored(self, trial: int) -> dict[str, tuple[float, str]]:
        """Return the parameters of a trial as storages keep them: a number and the distribution as JSON, by name."""
        known = self.distributions
        return {
            name: (float(known[name].to_internal_repr(value)), distribution_to_json(known[name]))
            for name, value in self.trials[trial].params.items()
        }

    def user_attribute(self, trial: int, key: str, value: Any) -> Any:
        """Return a user attribute of a trial as it is to be."""
        seen = self.trials[trial].seen
        return {**value, "params": seen} if key == JOB and seen is not None and isinstance(value, dict) else value

    def system_attribute(self, trial: int, key: str, value: Any) -> Any:
        """Return a system attribute of a trial as it is to be."""
        fixed = self.trials[trial].fixed
        return fixed if key == FIXED and fixed is not None else value

    def study_attribute(self, key: str, value: Any) -> Any:
        """Return a user attribute of the study as it is to be."""
        return self.identity if key == IDENTITY else value

    @staticmethod
    def stays(key: str) -> bool:
        """Return False for a system attribute of a trial that means nothing in another space."""
        return not key.startswith(_OF_SAMPLERS)
