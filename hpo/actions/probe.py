"""Probe of a study: two epochs of some configurations of each structural group, in a temporary folder.

The study's own engine trains them, as many at once as in the run, so that what is measured is what the run will see.
The second report ends a trial: it tells the seconds of an epoch from those of the start.
"""

from __future__ import annotations

import contextlib
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import optuna

from hpo import layout
from hpo.analysis.forecast import SAMPLES, Timing, epochs_of, group_of, timing
from hpo.engines.base import Engine
from hpo.engines.factory import gpu_sharing_service, make_engine
from hpo.oracle.oracle import Oracle
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget, Checkpoints, Component, Retries, StudySpec
from hpo.text import count
from hpo.trackers.base import Tracker
from hpo.trial import OUT_OF_MEMORY, Job, Outcome, Stop, Usage

# Reports of a trial, and so its epochs.
EPOCHS = 2
# Configurations of a group, as long as no more seconds than these have passed; one of each in any case.
CONFIGURATIONS, SECONDS = 4, 60.0
# Groups that are probed at most: the most frequent ones of the space.
MOST_GROUPS = 16


@dataclass(frozen=True)
class Probe:
    """Measurements of a probe.

    Attributes:
        timings: What its trials took.
        usage: By group, the most that a trial held.
        out_of_memory: Groups of which a trial ran out of memory, with the reason.
        failures: Groups of which no trial could be measured, with the reason.
        unprobed: Number of groups that were left out.
        seconds: What the probe took.
        saves: Whether a trial saved a checkpoint.
    """

    timings: tuple[Timing, ...]
    usage: Mapping[str, Usage]
    out_of_memory: Mapping[str, str]
    failures: Mapping[str, str]
    unprobed: int
    seconds: float
    saves: bool


def probe(spec: StudySpec, runs: Path, workers: int, say: Callable[[str], None]) -> Probe:
    """Train two epochs of configurations of each structural group. Nothing of it is kept.

    Args:
        spec: The study.
        runs: The runs folder; a cluster's nodes need a temporary folder that they see, which is made there.
        workers: Trials at once.
        say: Gets sentences for the user.

    Raises:
        ResourceError: This machine is too small for the study's engine.
        KeyboardInterrupt: The probe was interrupted; its processes and its folder are gone.
    """
    configurations, unprobed = _configurations(spec)
    groups = len({group for group, _ in configurations})
    say(f"probes {count(EPOCHS, 'epoch')} of {count(groups, 'group')}, {count(workers, 'trial')} at a time")
    shared = spec.engine.checkpoint_dir or runs if spec.engine.address else None
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".hpo-probe-", dir=shared, ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        short = bare(spec, len(configurations))
        study = optuna.create_study(directions=[metric.direction for metric in short.metrics])
        oracle = _ProbeOracle(short, study, directory, configurations, began + SECONDS, workers)
        engine = make_engine(short, directory, say)
        with contextlib.closing(oracle), interruptible(oracle, engine), gpu_sharing_service(short, directory, say):
            engine.run(oracle)
    if oracle.control.interrupted:
        raise KeyboardInterrupt
    measured = {one.group for one in oracle.timings}
    failures = {group: reason for group, reason in oracle.failures.items() if group not in measured}
    return Probe(
        tuple(oracle.timings),
        oracle.usage,
        oracle.out_of_memory,
        failures,
        unprobed,
        time.monotonic() - began,
        oracle.saves,
    )


def _configurations(spec: StudySpec) -> tuple[list[tuple[str, Mapping[str, Any]]], int]:
    """Return configurations with their groups, one of each group first, and how many groups are left out.

    The first of a group is one that the study enqueues, if there is one.
    """
    rng = random.Random(spec.seed)
    found: dict[str, list[Mapping[str, Any]]] = {}
    seen: dict[str, int] = {}
    for params in (drawn(spec.space, rng) for _ in range(SAMPLES)):
        group = group_of(spec, params)
        seen[group] = seen.get(group, 0) + 1
        found.setdefault(group, []).append(params)
    for params in spec.enqueue:
        if (group := group_of(spec, params)) in found and found[group][0] not in spec.enqueue:
            found[group].insert(0, params)
    kept = sorted(found, key=lambda group: -seen[group])[:MOST_GROUPS]
    rounds = [
        (group, found[group][place]) for place in range(CONFIGURATIONS) for group in kept if place < len(found[group])
    ]
    return rounds, len(found) - len(kept)


def drawn(space: SearchSpace, rng: random.Random) -> Mapping[str, Any]:
    """Return a configuration of a space without its fixed values."""
    fixed = {parameter.name for parameter in space.walk() if parameter.kind == "fixed"}
    return {name: value for name, value in space.resolve(space.sample(rng)).items() if name not in fixed}


def bare(spec: StudySpec, trials: int) -> StudySpec:
    """Return the study without all that ends trials or keeps them."""
    return spec.model_copy(
        update={
            "sampler": Component(name="random"),
            "pruner": Component(name="none"),
            "red_flags": (),
            "enqueue": (),
            "fallbacks": (),
            "warm_start": None,
            "mlflow": None,
            "trial_seeds": (),
            "min_complete": 0,
            "budget": Budget(trials=trials, failures=trials + 1),
            "checkpoints": Checkpoints(keep_best=None),
            "engine": spec.engine.model_copy(update={"retries": Retries(lost=0)}),
        }
    )


@dataclass
class _Seen:
    """A trial of a probe: what `timing` needs to know of it."""

    group: str
    epochs: int | None
    first: bool
    reports: dict[int, float] = field(default_factory=dict)


class _ProbeOracle(Oracle):
    """Oracle that asks for given configurations, ends each after some reports, and measures."""

    def __init__(
        self,
        spec: StudySpec,
        study: optuna.Study,
        directory: Path,
        configurations: Sequence[tuple[str, Mapping[str, Any]]],
        until: float,
        workers: int,
    ) -> None:
        super().__init__(spec, study, directory, Tracker())
        self.timings: list[Timing] = []
        self.usage: dict[str, Usage] = {}
        self.out_of_memory: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.saves = False
        self._left = list(configurations)
        self._groups = len({group for group, _ in configurations})
        self._until, self._workers = until, workers
        self._seen: dict[int, _Seen] = {}

    @property
    def no_more_jobs(self) -> bool:
        """True if no further job will come."""
        late = len(self._seen) >= self._groups and time.monotonic() > self._until
        return self.control.interrupted or not self._left or late

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Job | None:
        """Return the next configuration to probe, or None."""
        if self.no_more_jobs:
            return None
        group, params = self._left.pop(0)
        job = super().ask(params)
        if job is not None:
            first = len(self._seen) < self._workers and not self.spec.starts_each_trial
            self._seen[job.number] = _Seen(group, epochs_of(self.spec, job.params), first)
        return job

    def report(self, number: int, step: int, metrics: Mapping[str, float], usage: Usage | None = None) -> Stop | None:
        """Note a report, and end the trial with the last one that is needed."""
        seen = self._seen[number]
        seen.reports.setdefault(step, time.monotonic())
        if usage is not None:
            known = self.usage.get(seen.group, Usage())
            most = Usage(max(known.gpu_memory, usage.gpu_memory), max(known.host_bytes, usage.host_bytes))
            self.usage[seen.group] = most
        stop = super().report(number, step, metrics, usage)
        return stop or (Stop("it was probed") if len(seen.reports) >= EPOCHS else None)

    def tell(self, outcome: Outcome, gpu: float | None = None) -> None:
        """Note what a trial took, or why it could not be measured."""
        super().tell(outcome, gpu)
        self.saves |= layout.has_checkpoint(self._directory, outcome.number)
        seen = self._seen[outcome.number]
        if outcome.cause == OUT_OF_MEMORY:
            self.out_of_memory[seen.group] = outcome.reason
        elif outcome.state == "FAIL":
            self.failures[seen.group] = outcome.reason
        whole, enough = outcome.state == "COMPLETE", len(seen.reports) >= EPOCHS
        found = None
        if whole or (enough and seen.epochs):
            found = timing(seen.group, outcome.seconds, list(seen.reports.items()), seen.epochs, seen.first, whole)
        if found is not None:
            self.timings.append(found._replace(share=None))
        elif enough:
            self.failures[seen.group] = "how many epochs a trial has is not known: no parameter or constant is `epochs`"


@contextlib.contextmanager
def interruptible(oracle: Oracle, engine: Engine) -> Iterator[None]:
    """End what runs at the first SIGINT or SIGTERM, so that its folder and its processes are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        oracle.control.interrupt("it is being stopped")
        engine.halt()

    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
