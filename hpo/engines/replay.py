"""Replay of recorded trainings, in simulated time and in memory.

The same Oracle, sampler, pruner and red flags decide as in a run, and an epoch costs the time that it once took. Only
recorded trainings can be replayed: a proposal of the sampler is moved to the nearest configuration that is left, and
the sampler is told of that one. A trial that was lost, or waited at a rung, goes on with its own recording.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo.oracle.oracle import Oracle
from hpo.oracle.trial_files import TrialFiles
from hpo.space.encoding import UnitCubeEncoder
from hpo.space.search_space import SearchSpace
from hpo.storage.history import Step, Writer
from hpo.trial import INTERRUPTED, PRUNER, Job, Outcome, Stop


@dataclass(frozen=True)
class Recording:
    """A recorded training.

    Attributes:
        params: by Optuna's names.
        steps: ascending; `time` is in seconds since its start.
        outcome: how it ended, with the number that it had.
    """

    params: Mapping[str, Any]
    steps: tuple[Step, ...]
    outcome: Outcome


class Clock:
    """Simulated time, `now`, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


# The folder of a replayed study: below no folder, so that nothing is ever there, and nothing can be written.
NOWHERE = Path(os.devnull) / "replay"


class MemoryFiles(TrialFiles):
    """Files of replayed trials, in memory.

    Args:
        saves: a training saves a checkpoint before each report.
    """

    def __init__(self, saves: bool) -> None:
        self._saves = saves
        self._rows: dict[Path, list[Step]] = {}

    def open_history(self, directory: Path, owner: str) -> Writer:
        """Return a writer that keeps the rows."""
        return _MemoryWriter(self._rows.setdefault(directory, []))

    def has_checkpoint(self, directory: Path) -> bool:
        """Return True if the trial of a folder has saved a checkpoint."""
        return self._saves and bool(self._rows.get(directory))

    def inherit(self, attempts: Iterable[Path], directory: Path) -> list[Step]:
        """Give a further attempt the rows of the latest one that has saved a checkpoint, and return them."""
        holder = next(filter(self.has_checkpoint, attempts), None)
        if holder is None:
            return []
        self._rows[directory] = self._rows.pop(holder)
        return list(self._rows[directory])

    def steps(self, directory: Path) -> int:
        """Return how many steps the trial of a folder has reported, its lost attempts included."""
        return len(self._rows[directory])


class _MemoryWriter:
    """Writer of a history that appends to a list."""

    def __init__(self, rows: list[Step]) -> None:
        self._rows = rows

    def append(self, step: Step) -> None:
        """Keep a step."""
        self._rows.append(step)

    def close(self) -> None:
        """Do nothing."""


class Recordings:
    """Recorded trainings of one study, each of which can be replayed once."""

    def __init__(self, space: SearchSpace, recordings: Sequence[Recording]) -> None:
        self.space = space
        self._recordings = tuple(recordings)
        self._cube = UnitCubeEncoder(space)
        self._points = np.array([self._cube.point(recording.params) for recording in recordings])
        self._left = np.ones(len(recordings), dtype=bool)
        self._taken: dict[int, Recording] = {}
        self._first: dict[str, int] = {}  # the number of a lineage's first attempt

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions of all parameters, by Optuna's names."""
        return self._cube.distributions

    def __len__(self) -> int:
        """Return how many are left."""
        return int(self._left.sum())

    def take(self, number: int, params: Mapping[str, Any]) -> Recording:
        """Give a trial the nearest recording that no other has; the same one when asked again.

        Args:
            number: the trial's.
            params: the trial's, by Optuna's names. Distances are those of `UnitCubeEncoder`.

        Raises:
            ValueError: no recording is left.
        """
        if number not in self._taken:
            if not self._left.any():
                raise ValueError("every recorded training was replayed")
            distances = self._cube.squared_distances(self._cube.point(params)[None], self._points)[0]
            self._give(number, int(np.where(self._left, distances, np.inf).argmin()))
        return self._taken[number]

    def draw(self, number: int, rng: np.random.Generator, fixed: Mapping[str, Any]) -> Recording:
        """Give trial `number` one of the recordings that are left and have the fixed values, each as likely.

        If none has them, it is one of all that are left.

        Raises:
            ValueError: no recording is left.
        """
        left = np.flatnonzero(self._left)
        fitting = [index for index in left if fixed.items() <= self._recordings[index].params.items()] if fixed else []
        self._give(number, int(rng.choice(fitting or left)))
        return self._taken[number]

    def taken(self, number: int) -> Recording:
        """Return the recording that trial `number` has."""
        return self._taken[number]

    def _give(self, number: int, index: int) -> None:
        self._left[index] = False
        self._taken[number] = self._recordings[index]

    def for_job(self, job: Job) -> Recording:
        """Give a job its recording: that of its first attempt."""
        first = self._first.setdefault(job.lineage, job.number)
        if first != job.number:
            self._taken[job.number] = self._taken[first]
        return self.take(job.number, self.space.to_optuna(job.params))


class RecordedSampler(optuna.samplers.BaseSampler):
    """Sampler that moves the proposals of another one to the nearest recorded configuration that is left."""

    def __init__(self, sampler: optuna.samplers.BaseSampler, recordings: Recordings) -> None:
        self._sampler = sampler
        self._recordings = recordings

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the distributions of all parameters."""
        return self._recordings.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the recorded configuration that is nearest to the other sampler's proposal."""
        relative = self._sampler.infer_relative_search_space(study, trial)
        drawn = self._sampler.sample_relative(study, trial, relative)
        # Parameters that an enqueued trial fixes.
        drawn |= trial.system_attrs.get("fixed_params", {})
        proposal = _Proposal(self._sampler, study, trial, drawn)
        self._recordings.space.suggest(proposal)  # type: ignore[arg-type]  # it asks for nothing but suggest_*
        return dict(self._recordings.take(trial.number, proposal.params).params)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a single parameter."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass the call on."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass the call on."""
        self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Take a new seed."""
        self._sampler.reseed_rng()


class ShuffledSampler(RecordedSampler):
    """Sampler that draws one of the recordings that are left, each as likely."""

    def __init__(self, recordings: Recordings, seed: int) -> None:
        super().__init__(optuna.samplers.RandomSampler(seed=seed), recordings)
        self._rng = np.random.default_rng(seed)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return one of the recorded configurations that are left."""
        fixed = trial.system_attrs.get("fixed_params", {})
        return dict(self._recordings.draw(trial.number, self._rng, fixed).params)


class _Proposal:
    """Proposal of a sampler, with the methods of optuna.Trial."""

    def __init__(
        self, sampler: optuna.samplers.BaseSampler, study: optuna.Study, trial: FrozenTrial, drawn: Mapping[str, Any]
    ) -> None:
        self.params: dict[str, Any] = {}
        self._sampler, self._study, self._trial, self._drawn = sampler, study, trial, drawn

    def _draw(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._drawn:
            self.params[name] = self._drawn[name]
        else:
            self.params[name] = self._sampler.sample_independent(self._study, self._trial, name, distribution)
        return self.params[name]

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> Any:
        return self._draw(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        return self._draw(name, IntDistribution(low, high, log=log, step=step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._draw(name, CategoricalDistribution(choices))


class ReplayEngine:
    """Engine that replays recordings, until no more jobs come, or the time is over.

    Args:
        recordings: the trainings to replay. The study's budget is of no more trials.
        clock: the simulated time, which this engine sets. It is the Oracle's too.
        workers: trials at a time.
        until: the end in simulated seconds. Trials that run then are left running.
        files: those of the Oracle's trials; None: a further attempt begins anew.
    """

    def __init__(
        self,
        recordings: Recordings,
        clock: Clock,
        workers: int,
        until: float = float("inf"),
        files: MemoryFiles | None = None,
    ) -> None:
        self._recordings, self._clock, self._workers, self._until = recordings, clock, workers, until
        self._files = files

    def run(self, oracle: Oracle) -> None:
        """Replay, event by event in simulated time."""
        order = itertools.count()  # of two events at one time, the one that was planned first comes first
        events: list[tuple[float, int, Job, Recording, float, int]] = []

        def plan(job: Job, recording: Recording, began: float, index: int) -> None:
            ends = index == len(recording.steps)
            after = recording.outcome.seconds if ends else recording.steps[index].time
            at = max(self._clock.now, began + after)
            heapq.heappush(events, (at, next(order), job, recording, began, index))

        while True:
            while len(events) < self._workers and (job := oracle.ask()) is not None:
                recording = self._recordings.for_job(job)
                index = 0 if self._files is None else self._files.steps(job.directory)
                trained = recording.steps[index - 1].time if index else 0.0
                plan(job, recording, self._clock.now - trained, index)
            if not events:
                return
            at, _, job, recording, began, index = heapq.heappop(events)
            if at > self._until:
                self._clock.now = self._until
                return
            self._clock.now = at
            if index == len(recording.steps):
                oracle.tell(replace(recording.outcome, number=job.number))
                continue
            step = recording.steps[index]
            stop = oracle.report(job.number, step.step, step.metrics)
            if stop is None:
                plan(job, recording, began, index + 1)
            else:
                oracle.tell(_stopped(job, stop, at - began))

    def halt(self) -> None:
        """Do nothing: a replay takes no time."""


def _stopped(job: Job, stop: Stop, seconds: float) -> Outcome:
    """Return the outcome of a trial that obeys a Stop."""
    if stop.interrupted:
        return Outcome(job.number, "FAIL", cause=INTERRUPTED, reason=stop.reason, seconds=seconds)
    return Outcome(job.number, "PRUNED", cause=PRUNER, reason=stop.reason, seconds=seconds)
