"""Find the trials that no other trial beats in every metric."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.analysis.cache import cached_per_study
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.spec.models import Metric, dominates


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
    front: list[tuple[tuple[float, ...], TrialRecord]] = []
    for costs, _, trial in ordered:
        # Who dominates a trial stands before it, and so does one of the front who dominates them both.
        if not any(dominates(other, costs) for other, _ in front):
            front.append((costs, trial))
    return tuple(trial for _, trial in front)


@dataclass(frozen=True)
class Front:
    """Final values of the first two metrics: (trial number, first, second, whether it is on the front)."""

    metrics: tuple[Metric, Metric]
    points: tuple[tuple[int, float, float, bool], ...]


def front_of(study: StudyRecord) -> Front:
    """Return the final values of the first two metrics of a study."""
    first, second = study.metrics[:2]
    best = {trial.number for trial in pareto_front(study)}
    complete = [t for t in study.complete(first) if second.name in t.values]
    return Front(
        (first, second),
        tuple((t.number, t.values[first.name], t.values[second.name], t.number in best) for t in complete),
    )
