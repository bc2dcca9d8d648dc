"""Pruning by Optuna's pruner, for studies of one metric and of several.

Optuna takes intermediate values only in studies of one objective. With several, the first metric of each trial is
mirrored into a study in memory that has one objective, where the same pruner decides.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import optuna
from optuna.trial import TrialState, create_trial

from hpo.spec.models import StudySpec
from hpo.storage import history, trial_attributes
from hpo.storage.histories import Histories
from hpo.trial import Outcome


class Pruning(Protocol):
    """Pruner of a study."""

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        """Take in the first metric of a step."""

    def should_prune(self, trial: optuna.Trial) -> bool:
        """Return True if the trial should stop after its last report."""

    def finished(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Take in the end of a trial."""


def pruning_for(spec: StudySpec, study: optuna.Study, directory: Path) -> Pruning:
    """Return the pruning of a study, with what its earlier trials have reported.

    Args:
        spec: the study.
        study: its Optuna study, with its pruner.
        directory: its folder.
    """
    return _Direct() if len(spec.metrics) == 1 else _Mirrored(spec, study, directory)


class _Direct:
    """Pruning of a study of one metric."""

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        trial.report(value, step)

    def should_prune(self, trial: optuna.Trial) -> bool:
        return trial.should_prune()

    def finished(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Do nothing: `study.tell` was called."""


class _Mirrored:
    """Pruning of a study of several metrics."""

    def __init__(self, spec: StudySpec, study: optuna.Study, directory: Path) -> None:
        self._metric = spec.metrics[0]
        self._study = optuna.create_study(direction=self._metric.direction, pruner=study.pruner)
        self._mirrors: dict[int, optuna.Trial] = {}
        trials = study.get_trials(deepcopy=False)
        histories = Histories(directory, trials)
        for trial in trials:
            ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            if ended and not trial_attributes.requeued(trial.user_attrs):
                self._add(trial, histories.read(trial))

    def _add(self, trial: optuna.trial.FrozenTrial, steps: list[history.Step]) -> None:
        name = self._metric.name
        values = {step.step: step.metrics[name] for step in steps if math.isfinite(step.metrics.get(name, math.nan))}
        final = trial.values[0] if trial.values else None
        self._study.add_trial(create_trial(state=trial.state, value=final, intermediate_values=values))

    def _mirror(self, trial: optuna.Trial) -> optuna.Trial:
        if trial.number not in self._mirrors:
            self._mirrors[trial.number] = self._study.ask()
        return self._mirrors[trial.number]

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        self._mirror(trial).report(value, step)

    def should_prune(self, trial: optuna.Trial) -> bool:
        return self._mirror(trial).should_prune()

    def finished(self, trial: optuna.Trial, outcome: Outcome) -> None:
        mirror = self._mirror(trial)
        del self._mirrors[trial.number]
        if outcome.state == "COMPLETE":
            self._study.tell(mirror, outcome.metrics[self._metric.name])
        else:
            self._study.tell(mirror, state=TrialState[outcome.state])
