"""Summary of a study while it runs, counted trial by trial: the best of each group, and why others ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.analysis.axes import searched
from hpo.analysis.formatting import label
from hpo.trial import Job, Outcome

if TYPE_CHECKING:
    from hpo.analysis.records import StudyRecord
    from hpo.spec.models import StudySpec


@dataclass(frozen=True)
class Best:
    """The best trial of a group: its value of the first metric, its number, its parameters."""

    value: float
    number: int
    params: Mapping[str, Any]


class RunSummary:
    """The best of each group and the causes of ends. What a thread may read meanwhile is replaced whole.

    Attributes:
        groups: by the label of each group, those declared first; None while no trial of it has completed.
        ended: how many trials each cause has ended.
        gpu_seconds: what all attempts together have cost.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._metric = spec.metrics[0]
        declared = [] if spec.group_by is None else searched(spec.space).get(spec.group_by, ())
        self.groups: dict[str, Best | None] = {
            label(choice): None for parameter in declared for choice in parameter.choices
        }
        self.ended: Counter[str] = Counter()
        self.gpu_seconds = 0.0

    @property
    def best(self) -> Best | None:
        """The best trial of all groups."""
        known = [one for one in self.groups.values() if one is not None]
        return min(known, key=lambda one: (self._metric.cost(one.value), one.number), default=None)

    def take_in_earlier(self, study: StudyRecord) -> None:
        """Count the trials of earlier runs."""
        from hpo.analysis.failures import causes_of
        from hpo.analysis.groups import best_per_group

        for group in best_per_group(study, self._metric):
            if group.best is not None:
                known = Best(group.best.values[self._metric.name], group.best.number, group.best.params)
                self._put(self._group_of(group.best.params), known)
        causes = [one for one in causes_of(study) if not one.requeued]
        self.ended = Counter({one.name: len(one.trials) for one in causes})
        self.gpu_seconds = sum(trial.gpu_seconds for trial in study.trials)

    def take_in(self, job: Job, outcome: Outcome, *, again: bool) -> None:
        """Count a trial that has ended; one that is tried `again` has cost something, and no more."""
        self.gpu_seconds += outcome.seconds * self._spec.engine.gpus
        if again:
            return
        if outcome.state == "COMPLETE":
            if self._metric.name in outcome.metrics:
                found = Best(outcome.metrics[self._metric.name], job.number, job.params)
                self._put(self._group_of(job.params), found)
            return
        self.ended = self.ended + Counter([_cause(outcome)])

    def take_out(self, outcome: Outcome) -> None:
        """Count the end of a trial no longer, for it goes on."""
        self.ended = self.ended - Counter([_cause(outcome)])

    def _put(self, group: str, found: Best) -> None:
        known = self.groups.get(group)
        if known is None or self._metric.cost(found.value) < self._metric.cost(known.value):
            self.groups = {**self.groups, group: found}

    def _group_of(self, params: Mapping[str, Any]) -> str:
        name = self._spec.group_by
        if name is None:
            return ""
        return label(params[name]) if name in params else f"no {name}"


def _cause(outcome: Outcome) -> str:
    from hpo.analysis.failures import Cause

    return Cause(outcome.state, outcome.cause, (), outcome.flag).name
