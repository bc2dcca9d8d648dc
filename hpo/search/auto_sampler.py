"""Sampler of `sampler: auto` in spaces of numbers: a Gaussian process, and where that learns nothing, `kernel`.

Optuna's GPSampler learns from completed trials alone: from none that a pruner or a red flag stopped, or that failed. So
it would go on proposing what fails. Here `kernel` proposes as soon as more than one trial of ten has not
completed. It also does where the process would repeat a trial, and after so many trials that asking takes longer than
it saves. All of that can be seen in the storage, so a resumed study goes on as it would have.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.search.study_view import Follower
from hpo.space.search_space import Cell, SearchSpace
from hpo.spec.auto_sampler import MOST_GP_TRIALS
from hpo.storage.trial_attributes import configuration_of, requeued

# Of the trials that have ended, the least part that completed.
COMPLETE = 0.9


class AutoSampler(optuna.samplers.BaseSampler):
    """Sampler that asks one of two others.

    Args:
        space: the search space, without choices.
        gp: Optuna's GPSampler.
        kernel: hpo's KernelSampler.
        note: is called with the study, the name of the one that proposes, and why, when each first does.
    """

    def __init__(
        self,
        space: SearchSpace,
        gp: optuna.samplers.BaseSampler,
        kernel: optuna.samplers.BaseSampler,
        note: Callable[[optuna.Study, str, str], None] = lambda study, name, why: None,
    ) -> None:
        self._space, self._gp, self._kernel, self._note = space, gp, kernel, note
        self._noted: set[str] = set()
        self._rng = random.Random(0)
        self._finite = space.grid_size() is not None
        self._distributions = space.distributions()
        self._searched = {name: one for name, one in sorted(self._distributions.items()) if not one.single()}
        self._follower = Follower()
        self._ended = self._complete = 0  # trials that are not tried again
        self._cells: set[Cell | None] = set()  # of finished trials

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters."""
        return self._distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of a new trial."""
        unfinished = self._take_in(study)
        # Nothing is to be chosen of a retry, or of an enqueued configuration.
        chosen = self._space.cell_of(configuration_of(trial)) is not None
        why = self._why_not_gp()
        if not why and not chosen:
            proposed = self._gp.sample_relative(study, trial, self._searched)
            if proposed and self._is_new(proposed, trial, unfinished):
                self._note_once(study, "gp", "at least nine trials of ten complete")
                return proposed
            if not proposed and not self._finite:
                return {}  # the process has too few trials, and draws at random
        if why:
            self._note_once(study, "kernel", why)
        return self._kernel.sample_relative(study, trial, self._kernel.infer_relative_search_space(study, trial))

    def _take_in(self, study: optuna.Study) -> list[FrozenTrial]:
        """Count the trials that have finished since, and return the others."""
        finished, others = self._follower.read(study)
        for trial in finished:
            self._cells.add(self._space.cell_of(configuration_of(trial)))
            if not requeued(trial.user_attrs):
                self._ended += 1
                self._complete += trial.state == TrialState.COMPLETE
        return others

    def _is_new(self, proposed: dict[str, Any], trial: FrozenTrial, unfinished: list[FrozenTrial]) -> bool:
        """Return True if no other trial has what the process proposes."""
        # What the process leaves out has one value.
        whole = self._space.assemble(lambda key, draw: proposed[key] if key in proposed else draw(), self._rng)
        cell = self._space.cell_of(whole)
        others = (self._space.cell_of(configuration_of(one)) for one in unfinished if one.number != trial.number)
        return cell not in self._cells and cell not in others

    def _why_not_gp(self) -> str:
        """Return why a Gaussian process is not to propose after the trials so far; empty if it is."""
        ended, complete = self._ended, self._complete
        if complete < COMPLETE * ended:
            return f"{ended - complete} of {ended} trials have not completed, and gp learns from none of those"
        if complete >= MOST_GP_TRIALS:
            return f"{complete} trials have completed, with which gp takes long to ask"
        return ""

    def _note_once(self, study: optuna.Study, name: str, why: str) -> None:
        if name not in self._noted:
            self._noted.add(name)
            self._note(study, name, why)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a single parameter."""
        return self._gp.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Take new seeds."""
        self._gp.reseed_rng()
        self._kernel.reseed_rng()
