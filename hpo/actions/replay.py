"""Replay of a study's own trainings under other samplers, pruners and red flags."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from hpo import layout
from hpo.analysis.confirmation import own_race
from hpo.analysis.forecast import gaps
from hpo.analysis.lineages import is_population
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.engines.replay import (
    NOWHERE,
    Clock,
    MemoryFiles,
    RecordedSampler,
    Recording,
    Recordings,
    ReplayEngine,
    ShuffledSampler,
)
from hpo.errors import ReplayError
from hpo.oracle.oracle import Oracle
from hpo.search.halving import promotion_of
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec.load import load_spec
from hpo.spec.models import Budget, Checkpoints, Component, EngineSpec, StudySpec
from hpo.spec.population import PBT
from hpo.spec.racing import is_race
from hpo.spec.wording import algorithm_text
from hpo.storage.history import Step
from hpo.text import count
from hpo.trackers.base import Tracker
from hpo.trial import EXCEPTION, OBJECTIVE, PROMOTED, Job, Outcome


@dataclass(frozen=True)
class Recorded:
    """Trainings of a study that can be replayed.

    Attributes:
        recordings: The trials with a history.
        complete: Number of trials that ran to their end.
        cut: Number of trials that something ended before, so that nobody knows how they would have continued.
        left_out: Number of finished trials without a history.
        steps: Number of reports in all.
        workers: Number of trials that ran at once.
        winner: Number of the best COMPLETE trial.
        best: Final value of the winner.
        saves: Whether trials saved checkpoints, so that one that waits at a rung can go on.
    """

    recordings: tuple[Recording, ...]
    complete: int
    cut: int
    left_out: int
    steps: int
    workers: int
    winner: int
    best: float
    saves: bool


@dataclass(frozen=True)
class Replayed:
    """Result of one replay.

    Attributes:
        steps: Reports of all trials.
        seconds: Simulated wall time.
        found_steps: Reports of all trials when the best one ended; None if no trial ran to its end.
        kept: True if the recorded winner ran to its end.
        best: The best final value of a trial that ran to its end; None if there was none.
        rank: Place of that trial among the recorded ones; 1 is the winner.
        trained: Reports of each trial, by the number that it had.
    """

    steps: int
    seconds: float
    found_steps: int | None
    kept: bool
    best: float | None
    rank: int | None
    trained: Mapping[int, int]


@dataclass(frozen=True)
class Policy:
    """A sampler, a pruner and red flags; if `shuffled`, a random order takes the sampler's place."""

    name: str
    spec: StudySpec
    shuffled: bool

    @property
    def has_trials_wait(self) -> bool:
        """True if trials that have saved a checkpoint wait at a rung, and may go on."""
        return promotion_of(self.spec, make_pruner(self.spec)) is not None


def policy_of(runs: Path, name: str, sampler: str | None, pruner: str | None, overrides: Sequence[str]) -> Policy:
    """Return the study `name` as it ran, with another sampler, pruner or other keys.

    Args:
        runs: The runs folder.
        name: Name of the study.
        sampler: A name or a mapping, in YAML; None for a random order.
        pruner: A name or a mapping, in YAML; None for the study's own.
        overrides: Other keys as `key=value`.

    Raises:
        SpecError: If a sampler, a pruner or a key is wrong.
        StudyNotFound: If there is no such study.
        ReplayError: If the sampler is pbt.
    """
    given = [f"{role}={text}" for role, text in (("sampler", sampler), ("pruner", pruner)) if text is not None]
    spec = load_spec(layout.study_directory(runs, name) / layout.SPEC, [*overrides, *given], locate=False)
    if spec.sampler.name == PBT:
        raise ReplayError("sampler pbt trains on from checkpoints, of which a replay has none; take another sampler")
    if is_race(spec):
        raise ReplayError("sampler racing trains given configurations again, and chooses none; take another sampler")
    parts = [" or ".join(one.name for one in spec.samplers)] if sampler is not None else []
    parts += ["no pruner"] if spec.pruner.name == "none" else [algorithm_text(spec.pruner)]
    return Policy(" + ".join(parts), spec, sampler is None)


def recorded_of(study: StudyRecord) -> Recorded:
    """Return the trainings of a study that can be replayed.

    Raises:
        ReplayError: If there are fewer than two that ran to their end, or its trials are segments of a population.
    """
    if is_population(study):
        raise ReplayError(
            f"study '{study.name}' trained a population: its trials go on from each other's checkpoints, so none can "
            "be replayed by itself; expected a study with another sampler than pbt"
        )
    if (race := own_race(study)) is not None:
        raise ReplayError(
            f"study '{study.name}' trains a few configurations with many seeds, which no sampler or pruner would do; "
            f"expected the study that it confirms, {race.study}"
        )
    metric = study.metrics[0]
    # Nobody knows how long the epochs of imported ones took.
    finished = [trial for trial in study.trained if not trial.continued]
    usable = [trial for trial in finished if trial.history and trial.params]
    complete = [trial for trial in usable if trial.completed(metric)]
    if len(complete) < 2:
        others = "; imported ones do not count, for their epochs took nobody knows how long" if study.imported else ""
        raise ReplayError(
            f"study '{study.name}' has {count(len(complete), 'trial')} that ran to the end with a history{others}; "
            "expected at least 2 to replay. A study run with `pruner: none` and `red_flags: []` shows most"
        )
    winner = best_of(tuple(complete), metric)
    assert winner is not None
    return Recorded(
        recordings=tuple(_recording(study, trial) for trial in usable),
        complete=len(complete),
        cut=len(usable) - len(complete),
        left_out=len(finished) - len(usable),
        steps=sum(trial.steps for trial in usable),
        workers=at_once(usable),
        winner=winner.number,
        best=winner.values[metric.name],
        saves=saves_checkpoints(study),
    )


def saves_checkpoints(study: StudyRecord) -> bool:
    """Return True if a trial of a study shows that it saved a checkpoint; most are removed when a trial has ended."""
    return any(
        trial.waits or trial.cause == PROMOTED or layout.has_checkpoint(study.directory, trial.number)
        for trial in study.trials
    )


def _recording(study: StudyRecord, trial: TrialRecord) -> Recording:
    seconds = trial.seconds or 0.0
    # A resumed trial's steps were made on several days: what an epoch took is the time since the one before it, and
    # where that is not known, an even share.
    lengths = gaps([step.time for step in trial.history])
    ends = np.cumsum([max(0.0, statistics.median(lengths) if lengths else seconds), *lengths])
    steps = tuple(Step(step.step, float(end), 1, step.metrics) for step, end in zip(trial.history, ends, strict=True))
    ended = float(ends[-1])
    if trial.completed(study.metrics[0]):
        outcome = Outcome(trial.number, "COMPLETE", metrics=dict(trial.values), seconds=ended)
    elif trial.state == "FAIL":
        outcome = Outcome(trial.number, "FAIL", cause=EXCEPTION, reason=trial.reason or "it failed", seconds=ended)
    else:
        reason = "nothing more of it was recorded"
        outcome = Outcome(trial.number, "PRUNED", cause=OBJECTIVE, reason=reason, seconds=ended)
    return Recording(trial.optuna_params, steps, outcome)


def at_once(trials: Sequence[TrialRecord]) -> int:
    """Return the largest number of trials that ran at one time."""
    events = []
    for trial in trials:
        if trial.started is not None and trial.seconds is not None:
            events += [(trial.started, 1), (trial.started + trial.seconds, -1)]
    running = most = 0
    for _, change in sorted(events):
        running += change
        most = max(most, running)
    return max(1, most)


class _Counter(Tracker):
    def __init__(self) -> None:
        self.trained: Counter[int] = Counter()
        self.ended: dict[int, int] = {}

    @property
    def steps(self) -> int:
        return self.trained.total()

    def reported(self, number: int, step: int, metrics: Any) -> None:
        self.trained[number] += 1

    def trial_finished(self, job: Job, outcome: Outcome, progress: Any) -> None:
        if outcome.state == "COMPLETE":
            self.ended[job.number] = self.steps


def replay(recorded: Recorded, policy: Policy, workers: int, seed: int) -> Replayed:
    """Replay all recordings once under a policy.

    Args:
        recorded: The recordings.
        policy: What decides.
        workers: Number of trials at a time.
        seed: Seed of the random order and of the sampler.

    Raises:
        ReplayError: If a recording is missing.
        SpecError: If the policy does not fit the study.
    """
    # Recordings are all there is to spend, and no file is to be touched.
    size = len(recorded.recordings)
    budget = Budget(trials=size, failures=size + 1)
    changes = {"seed": seed, "budget": budget, "enqueue": (), "fallbacks": ()}
    changes |= {"checkpoints": Checkpoints(keep_best=None)}
    # What failed fails again; and the cells of a grid would be queued beside the random order.
    changes |= {"engine": EngineSpec()} | ({"sampler": Component(name="random")} if policy.shuffled else {})
    spec = policy.spec.model_copy(update=changes)
    recordings = Recordings(spec.space, recorded.recordings)
    drawn = ShuffledSampler(recordings, seed) if policy.shuffled else RecordedSampler(make_sampler(spec, 0), recordings)
    directions = [metric.direction for metric in spec.metrics]
    study = optuna.create_study(directions=directions, sampler=drawn, pruner=make_pruner(spec))
    clock, counter, files = Clock(), _Counter(), MemoryFiles(recorded.saves)
    oracle = Oracle(spec, study, NOWHERE, counter, clock, files)
    ReplayEngine(recordings, clock, workers, files=files).run(oracle)
    return _result(recorded, spec, counter, clock.now, recordings)


def _result(recorded: Recorded, spec: StudySpec, counter: _Counter, seconds: float, recordings: Recordings) -> Replayed:
    metric = spec.metrics[0]
    sign = -1 if metric.direction == "maximize" else 1
    values = {
        recording.outcome.number: sign * recording.outcome.metrics[metric.name]
        for recording in recorded.recordings
        if recording.outcome.state == "COMPLETE"
    }
    number_of = {number: recordings.taken(number).outcome.number for number in counter.trained | counter.ended}
    ended = {number_of[number]: number for number in counter.ended}
    trained: Counter[int] = Counter()
    for number, steps in counter.trained.items():
        trained[number_of[number]] += steps  # of all attempts
    best = min(ended, key=lambda number: (values[number], number), default=None)
    return Replayed(
        steps=counter.steps,
        seconds=seconds,
        found_steps=None if best is None else counter.ended[ended[best]],
        kept=recorded.winner in ended,
        best=None if best is None else sign * values[best],
        rank=None if best is None else 1 + sum(value < values[best] for value in values.values()),
        trained=trained,
    )
