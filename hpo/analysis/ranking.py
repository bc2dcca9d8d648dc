"""Order trials by what they reached, and by whatever else they are listed by."""

from __future__ import annotations

from collections.abc import Iterable

from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.spec.models import Metric


def ranked(study: StudyRecord, metric: Metric) -> tuple[TrialRecord, ...]:
    """Return the COMPLETE trials that have a finite final value of `metric`, the best first; of equals the first."""
    return best_first(study.complete(metric), metric)


def best_first(trials: Iterable[TrialRecord], metric: Metric) -> tuple[TrialRecord, ...]:
    """Return trials that have a final value of `metric`, the best first; of equals the first."""
    return tuple(sorted(trials, key=lambda trial: metric.cost(trial.values[metric.name])))


def repeats(study: StudyRecord, trial: TrialRecord, metric: Metric) -> tuple[TrialRecord, ...]:
    """Return the COMPLETE trials with the configuration of `trial`, itself among them; they differ by their seeds.

    A trial that was continued repeats none, and none repeats it.
    """
    if trial.continued:
        return (trial,)
    same, found = repr(sorted(trial.params.items())), (one for one in study.complete(metric) if not one.continued)
    return tuple(one for one in found if repr(sorted(one.params.items())) == same)
