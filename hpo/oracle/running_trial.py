"""A running trial as the Oracle sees it, and the red flags that watch over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from hpo.red_flags.monitor import RedFlagMonitor, raised_from
from hpo.spec.models import StudySpec
from hpo.storage import history
from hpo.storage.history import Step
from hpo.storage.trial_attributes import FLAGS
from hpo.trial import Job


@dataclass
class RunningTrial:
    """A trial that an engine runs.

    Attributes:
        origin: where its configuration came from (`trial_attributes.ORIGIN`).
        steps: those whose first metric Optuna was given.
    """

    trial: optuna.Trial
    job: Job
    origin: Mapping[str, Any]
    history: history.Writer
    monitor: RedFlagMonitor
    steps: set[int] = field(default_factory=set)


def monitor_of(
    spec: StudySpec, job: Job, started: float, earlier: Sequence[Step], lost: Mapping[str, Any]
) -> RedFlagMonitor:
    """Return the red flags over a trial.

    Args:
        spec: has the rules.
        job: the trial.
        started: when it starts, in seconds since the epoch.
        earlier: the rows that its earlier attempts reported. Their time counts from their first report on.
        lost: attributes of the last of these attempts, with the red flags that it raised.
    """
    times: dict[int, list[float]] = {}
    for step in earlier:
        times.setdefault(step.attempt, []).append(step.time)
    seconds = sum(max(each) - min(each) for each in times.values())
    first = spec.metrics[0]
    monitor = RedFlagMonitor(
        spec.red_flags, job.params, spec.constants, first.name, first.direction == "maximize", started, seconds
    )
    monitor.raised += map(raised_from, lost.get(FLAGS, ()))
    return monitor
