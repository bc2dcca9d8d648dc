"""Find which trials reached the goals of a study's metrics."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.analysis.groups import groups_of
from hpo.analysis.records import StudyRecord
from hpo.spec.models import Metric


@dataclass(frozen=True)
class GoalState:
    """The goal of a metric and who reached it.

    Attributes:
        metric: The metric, which has a goal.
        trials: Numbers of the COMPLETE trials that reached it, in the order tried.
        groups: Labels of their groups; empty in a study without groups.
    """

    metric: Metric
    trials: tuple[int, ...]
    groups: tuple[str, ...]

    @property
    def reached(self) -> bool:
        """Return True if any trial reached it."""
        return bool(self.trials)


def goal_states(study: StudyRecord) -> tuple[GoalState, ...]:
    """Return the state of each goal, in the order of the metrics; none of a study without goals."""
    return tuple(_state(study, metric) for metric in study.metrics if metric.goal is not None)


def _state(study: StudyRecord, metric: Metric) -> GoalState:
    trials = tuple(t.number for t in study.complete(metric) if metric.reaches_goal(t.values[metric.name]))
    reached = set(trials)
    groups = tuple(g.label for g in groups_of(study) if any(t.number in reached for t in g.trials))
    return GoalState(metric, trials, groups if study.group_by else ())
