"""Find the trials that no other trial beats in every metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpo.analysis.cache import cached_per_study
from hpo.analysis.density import MOST_DOTS, Density, density, edges_over
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.summary_statistics import usual_range
from hpo.spec.domination import non_dominated
from hpo.spec.models import Metric

CELLS = 60  # of a density, in each direction


@cached_per_study
def pareto_front(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """Return the COMPLETE trials that no other dominates, the best of the first metric first.

    A trial dominates another if it is nowhere worse and somewhere better. Equal trials stay side by side.
    """
    complete = [trial for trial in study.trials if all(trial.completed(metric) for metric in study.metrics)]
    ordered = sorted(
        (tuple(metric.cost(trial.values[metric.name]) for metric in study.metrics), trial.number, trial)
        for trial in complete
    )
    costs = np.array([one[0] for one in ordered]).reshape(len(ordered), len(study.metrics))
    return tuple(ordered[place][2] for place in np.flatnonzero(non_dominated(costs)))


@dataclass(frozen=True)
class Front:
    """Final values of the first two metrics: (trial number, first, second, whether it is on the front)."""

    metrics: tuple[Metric, Metric]
    points: tuple[tuple[int, float, float, bool], ...]

    @property
    def on_front(self) -> tuple[tuple[int, float, float, bool], ...]:
        """The points that are drawn of the front: all of them, or evenly spaced ones of very many."""
        found = sorted((point for point in self.points if point[3]), key=lambda point: point[1])
        step = -(-len(found) // MOST_DOTS) or 1
        return tuple(point for k, point in enumerate(found) if k % step == 0 or k == len(found) - 1)

    def density(self) -> Density | None:
        """Return the density of the trials that are not on the front, without extreme bad ones; None of few."""
        others = [(x, y) for _, x, y, on_front in self.points if not on_front]
        if len(self.points) <= MOST_DOTS or not others:
            return None
        x, y = (
            edges_over(usual_range([point[k] for point in self.points], metric.direction), CELLS)
            for k, metric in enumerate(self.metrics, start=1)
        )
        return density(others, x, y) if x and y else None


def front_of(study: StudyRecord) -> Front:
    """Return the final values of the first two metrics of a study."""
    first, second = study.metrics[:2]
    best = {trial.number for trial in pareto_front(study)}
    complete = [t for t in study.complete(first) if second.name in t.values]
    return Front(
        (first, second),
        tuple((t.number, t.values[first.name], t.values[second.name], t.number in best) for t in complete),
    )
