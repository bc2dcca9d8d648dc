"""Compare the groups by the final values of their COMPLETE trials, with mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.analysis.density import MOST_DOTS, Density, density, edges_over
from hpo.analysis.groups import groups_of
from hpo.analysis.records import StudyRecord
from hpo.analysis.summary_statistics import Range, Spread, spread, usual_range
from hpo.spec.models import Metric

# Of a density: cells beside each other, and where they lie in the row of a group, above its median.
COLUMNS, ABOVE, BELOW = 100, 0.3, 0.1


@dataclass(frozen=True)
class GroupFinals:
    """Final values of one group.

    Attributes:
        group: Label of the group.
        finals: (trial number, final value) of COMPLETE trials.
        spread: Of these values; None without any.
        finished: Number of finished trials, pruned and failed ones too.
    """

    group: str
    finals: tuple[tuple[int, float], ...]
    spread: Spread | None
    finished: int


@dataclass(frozen=True)
class Comparison:
    """Final values of all groups. `shown`: the range without extreme bad values, of which there are `beyond`."""

    metric: Metric
    group_by: str | None
    groups: tuple[GroupFinals, ...]
    shown: Range
    beyond: int

    def densities(self) -> tuple[Density, ...]:
        """Return the density of each group over the values, in a row of its own; none of few values."""
        across = edges_over(self.shown, COLUMNS)
        if sum(len(group.finals) for group in self.groups) <= MOST_DOTS or not across:
            return ()
        return tuple(
            density(((value, row) for _, value in group.finals), across, (row - ABOVE, row + BELOW))
            for row, group in enumerate(self.groups)
        )


def comparison(study: StudyRecord, metric: Metric) -> Comparison:
    """Compare the groups of a study by their final values of `metric`."""
    groups = []
    for group in groups_of(study):
        finals = tuple((t.number, t.values[metric.name]) for t in group.trials if t.completed(metric))
        groups.append(GroupFinals(group.label, finals, spread([value for _, value in finals]), len(group.trials)))
    values = [value for group in groups for _, value in group.finals]
    shown = usual_range(values, metric.direction)
    return Comparison(metric, study.group_by, tuple(groups), shown, shown.beyond(values))
