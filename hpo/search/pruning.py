"""Pruning by Optuna's pruner, within the groups of `group_by`, for studies of one metric and of several.

A pruner compares a trial with the others that `study.get_trials` names. In a study with `group_by` it is shown the
trials of one group only, so that a network that learns slowly is compared with its own kind. Each group has a pruner of
its own, for some remember what they have seen.

Optuna takes intermediate values only in studies of one objective. With several, the first metric of each trial is
mirrored into a study in memory that has one objective, where the same pruner decides.
"""

from __future__ import annotations

import contextlib
import copy
import math
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo.search.study_view import view_of
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
    return _Direct(spec, study) if len(spec.metrics) == 1 else _Mirrored(spec, study, directory)


class _Groups:
    """The pruner of a study of one objective, asked within the trial's group."""

    def __init__(self, group_by: str | None, study: optuna.Study) -> None:
        self._group_by = group_by
        self._study = study
        self._views: dict[Any, optuna.Study] = {}

    def should_prune(self, trial: optuna.Trial) -> bool:
        """Return True if the trial should stop after its last report."""
        if self._group_by is None or self._group_by not in trial.params:
            return trial.should_prune()
        view = self._view(trial.params[self._group_by])
        return view.pruner.prune(view, trial._get_latest_trial())

    def _view(self, group: Any) -> optuna.Study:
        if group not in self._views:
            same = partial(_is_of_group, str(self._group_by), group)
            view = view_of(self._study, lambda trial: _searched(trial) and same(trial))
            with contextlib.suppress(Exception):  # one of the user's that cannot be copied serves all groups
                view.pruner = copy.deepcopy(self._study.pruner)
            self._views[group] = view
        return self._views[group]


def _is_of_group(name: str, group: Any, trial: FrozenTrial) -> bool:
    return name in trial.params and bool(trial.params[name] == group)


def _searched(trial: FrozenTrial) -> bool:
    """Return False for a trial that went on from another one: it was trained longer than those it would be beside."""
    return not trial_attributes.continued_from(trial.user_attrs)


class _Direct:
    """Pruning of a study of one metric."""

    def __init__(self, spec: StudySpec, study: optuna.Study) -> None:
        self._groups = _Groups(spec.group_by, study)

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        trial.report(value, step)

    def should_prune(self, trial: optuna.Trial) -> bool:
        return self._groups.should_prune(trial)

    def finished(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Do nothing: `study.tell` was called."""


class _Mirrored:
    """Pruning of a study of several metrics."""

    def __init__(self, spec: StudySpec, study: optuna.Study, directory: Path) -> None:
        self._metric = spec.metrics[0]
        self._original = study
        self._study = optuna.create_study(
            study_name=study.study_name, direction=self._metric.direction, pruner=study.pruner
        )
        self._groups = _Groups(spec.group_by, self._study)
        self._mirrors: dict[int, optuna.Trial] = {}
        trials = study.get_trials(deepcopy=False)
        histories = Histories(directory, trials)
        for trial in trials:
            ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            if ended and _searched(trial) and not trial_attributes.requeued(trial.user_attrs):
                self._add(trial, histories.read(trial))

    def _add(self, trial: FrozenTrial, steps: list[history.Step]) -> int:
        """Add a trial, with what its pruner noted of it, and return its id in the mirror."""
        name = self._metric.name
        values = {step.step: step.metrics[name] for step in steps if math.isfinite(step.metrics.get(name, math.nan))}
        mirrored = create_trial(
            state=trial.state,
            value=trial.values[0] if trial.values else None,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs=dict(trial.system_attrs),
            intermediate_values=values,
        )
        return self._study._storage.create_new_trial(self._study._study_id, template_trial=mirrored)

    def _mirror(self, trial: optuna.Trial) -> optuna.Trial:
        if trial.number not in self._mirrors:
            self._mirrors[trial.number] = optuna.Trial(self._study, self._add(self._stored(trial), []))
        return self._mirrors[trial.number]

    def _stored(self, trial: optuna.Trial) -> FrozenTrial:
        return self._original._storage.get_trial(trial._trial_id)

    def report(self, trial: optuna.Trial, value: float, step: int) -> None:
        self._mirror(trial).report(value, step)

    def should_prune(self, trial: optuna.Trial) -> bool:
        mirror = self._mirror(trial)
        known = self._notes(mirror)
        stop = self._groups.should_prune(mirror)
        # The next run is to know the rungs of successive halving, too.
        for key, value in self._notes(mirror).items():
            if key not in known:
                self._original._storage.set_trial_system_attr(trial._trial_id, key, value)
        return stop

    def _notes(self, mirror: optuna.Trial) -> dict[str, Any]:
        """Return what pruners noted of a trial."""
        return dict(self._study._storage.get_trial_system_attrs(mirror._trial_id))

    def finished(self, trial: optuna.Trial, outcome: Outcome) -> None:
        mirror = self._mirror(trial)
        del self._mirrors[trial.number]
        if outcome.state == "COMPLETE":
            self._study.tell(mirror, outcome.metrics[self._metric.name])
        else:
            self._study.tell(mirror, state=TrialState[outcome.state])
