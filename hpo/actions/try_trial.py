"""One short training of a study, in a temporary folder, with all that is seen of it: what `hpo try` looks at.

The study's own engine on this machine trains it, in a worker of its own. As in a probe (`hpo.actions.probe`), the
driver ends it after some epochs: constants and parameters are those of the run.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna

from hpo import layout
from hpo.actions.probe import bare, interruptible
from hpo.engines.factory import gpu_sharing_service, make_engine, places_here
from hpo.errors import ResourceError
from hpo.machine.files import read_plain
from hpo.machine.resources import visible_gpus
from hpo.oracle.notices import TrialWatch
from hpo.oracle.oracle import Oracle
from hpo.oracle.recovery import seed_of
from hpo.spec.models import EngineSpec, StudySpec
from hpo.trackers.base import Tracker
from hpo.trial import Job, Outcome, Stop, Usage

# Reports after the one that was to be the last: a trial that sends so many more is killed.
_MORE = 2
# Reports of the same step and metric, after which it is clear that the step never changes.
_SAME_STEP = 4
_END = "it was tried"
# Bytes at the end of what a trial printed that are looked at.
_MOST_OUTPUT = 2**18


@dataclass
class Tried:
    """A short training, and what was seen of it.

    Attributes:
        job: What was trained.
        reports: Each with the seconds since the start of its worker, its step and its metrics, as they came.
        outcome: How it ended.
        ended_by_us: It was told to stop after enough epochs.
        went_on: It went on after that.
        notices: What its reports showed, by kind (`hpo.analysis.notices`).
        usage: The most that it took.
        output: The end of what it printed.
        saved: It left a checkpoint.
    """

    job: Job
    reports: list[tuple[float, int, dict[str, float]]] = field(default_factory=list)
    outcome: Outcome | None = None
    ended_by_us: bool = False
    went_on: bool = False
    notices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    output: str = ""
    saved: bool = False

    @property
    def end(self) -> Outcome:
        """The outcome; of a training that was interrupted there is none."""
        if self.outcome is None:
            raise KeyboardInterrupt
        return self.outcome

    @property
    def steps(self) -> list[int]:
        """The steps, each once, in the order in which they came."""
        return list(dict.fromkeys(step for _, step, _ in self.reports))

    def series(self) -> dict[str, list[float]]:
        """Return the values of each metric, one a step, the last one given."""
        found: dict[str, dict[int, float]] = {}
        for _, step, metrics in self.reports:
            for name, value in metrics.items():
                found.setdefault(name, {})[step] = value
        return {name: list(values.values()) for name, values in found.items()}

    def times(self) -> list[tuple[int, float]]:
        """Return the steps, each with the seconds at which it was reported first."""
        found: dict[int, float] = {}
        for seconds, step, _ in self.reports:
            found.setdefault(step, seconds)
        return list(found.items())


def train(
    spec: StudySpec,
    params: Mapping[str, Any],
    epochs: int,
    seconds: float,
    times: int,
    say: Callable[[str], None],
    reported: Callable[[int, Mapping[str, float], float], None] = lambda *_: None,
) -> list[Tried]:
    """Train one configuration for some epochs, as often as asked, each time from its start and with the same seed.

    Args:
        spec: The study.
        params: The configuration; what is left out is sampled.
        epochs: Reported steps after which it is ended.
        seconds: Time after which it is ended as too slow.
        times: Number of trainings.
        say: Gets sentences for the user.
        reported: Gets the step, the metrics and the seconds of each report.

    Raises:
        ResourceError: This machine is too small.
        KeyboardInterrupt: It was interrupted; its processes and its folder are gone.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # of the study in memory
    changes = {"engine": _engine(spec.engine, seconds), "trial_seeds": (seed_of(spec, 0),) * times}
    short = bare(spec, times).model_copy(update=changes)
    with tempfile.TemporaryDirectory(prefix=".hpo-try-", ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        study = optuna.create_study(directions=[metric.direction for metric in spec.metrics])
        oracle = _TryOracle(short, study, directory, params, epochs, times, reported)
        engine = make_engine(short, directory, say)
        with contextlib.closing(oracle), interruptible(oracle, engine), gpu_sharing_service(short, directory, say):
            engine.run(oracle)
    if oracle.control.interrupted:
        raise KeyboardInterrupt
    return list(oracle.tried.values())


def gpu_here(engine: EngineSpec) -> float:
    """Return the share of a GPU that a trial has here; 0 if the study asks for none, or none is visible."""
    return engine.gpus if engine.gpus and visible_gpus() else 0.0


def _engine(engine: EngineSpec, seconds: float) -> EngineSpec:
    """Return a local engine with one worker, which has the part of this machine that a worker of the study has."""
    try:
        cpu = places_here(engine)[0].cpu
    except ResourceError:  # it asks for more than is here, which is said elsewhere
        cpu = None
    limit = min(seconds, engine.trial_timeout or seconds)
    return EngineSpec.model_validate(
        {
            "name": "local",
            "workers": 1,
            "cpu": cpu,
            "gpu": gpu_here(engine),
            "trial_timeout": limit,
            "report_timeout": engine.report_timeout,
            "retries": {"lost": 0},
            "fresh_process": True,
        }
    )


class _TryOracle(Oracle):
    """Oracle that asks for one configuration, ends it after some epochs, and keeps all that it sees."""

    def __init__(
        self,
        spec: StudySpec,
        study: optuna.Study,
        directory: Path,
        params: Mapping[str, Any],
        epochs: int,
        times: int,
        reported: Callable[[int, Mapping[str, float], float], None],
    ) -> None:
        super().__init__(spec, study, directory, Tracker())
        self.tried: dict[int, Tried] = {}
        self._params, self._epochs, self._times = params, epochs, times
        self._reported = reported
        self._watches: dict[int, TrialWatch] = {}
        self._began = 0.0
        self._more = 0

    @property
    def no_more_jobs(self) -> bool:
        """True if no further job will come."""
        return self.control.interrupted or len(self.tried) >= self._times

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Job | None:
        """Return the configuration, or None if it was trained as often as asked."""
        if self.no_more_jobs or any(one.outcome is None for one in self.tried.values()):
            return None
        first = next(iter(self.tried.values()), None)
        job = super().ask(self._params if first is None else first.job.params)
        if job is not None:
            self.tried[job.number] = Tried(job)
            self._watches[job.number] = TrialWatch(self.spec, job)
            self._began, self._more = time.monotonic(), 0
        return job

    def report(self, number: int, step: int, metrics: Mapping[str, float], usage: Usage | None = None) -> Stop | None:
        """Note a report, and end the trial with the last one that is needed."""
        one = self.tried[number]
        seconds = time.monotonic() - self._began
        if one.ended_by_us:
            self._more += 1
            one.went_on = True
            if self._more >= _MORE:
                self.control.kill(number, "it went on after it was told to stop")
            return Stop(_END)
        one.reports.append((seconds, step, dict(metrics)))
        self._watches[number].add(step, metrics)
        if usage is not None:
            known = one.usage
            one.usage = Usage(max(known.gpu_memory, usage.gpu_memory), max(known.host_bytes, usage.host_bytes))
        self._reported(step, metrics, seconds)
        stop = super().report(number, step, metrics, usage)
        if stop is None and self._enough(one, step):
            one.ended_by_us = True
            stop = Stop(_END)
        return stop

    def _enough(self, one: Tried, step: int) -> bool:
        """Return True if the last epoch that is needed is reported as a whole, or the step never changes."""
        steps = one.steps
        of_step: dict[int, list[str]] = {}
        for _, each, metrics in one.reports:
            of_step.setdefault(each, []).extend(metrics)
        if len(steps) < self._epochs:
            return max(of_step[step].count(name) for name in of_step[step]) >= _SAME_STEP + self._epochs
        if len(steps) > self._epochs:
            return True
        # An epoch may be reported in pieces.
        usual = of_step[steps[0]] if len(steps) > 1 else [metric.name for metric in self.spec.metrics]
        return set(usual) <= set(of_step[step])

    def tell(self, outcome: Outcome, gpu: float | None = None) -> None:
        """Note how a trial ended, and what it left."""
        one = self.tried[outcome.number]
        one.outcome = outcome
        one.notices = self._watches[outcome.number].ended(outcome, None)
        one.saved = self._files.has_checkpoint(one.job.directory)
        with contextlib.suppress(OSError):
            content = read_plain(one.job.directory / layout.OUTPUT)[-_MOST_OUTPUT:]
            one.output = content.decode("utf-8", errors="replace")
        super().tell(outcome, gpu)
