"""Forecast of a study's end: the one model behind `hpo plan`, a budget that ends at a time, and the end of a run.

A trial costs its start-up, and the epochs that it trains. The seconds an epoch of a structural group are log-normal: of
each group the mean is estimated, and the spread between configurations is shared by all groups. The trials to come are
drawn many times, placed on the workers as they become free, and the quantiles of the ends are the interval. A draw
differs from the next in what is not known: the mean of each group (the less it was measured, the more), how often each
group is proposed, which part of its epochs a trial trains, and how fast the machine is compared with when it was
measured.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.formatting import configuration
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.spec.epochs import epochs_in
from hpo.spec.models import StudySpec
from hpo.spec.population import is_population, population_of
from hpo.storage.budget import Span, seconds_left

Array = NDArray[np.float64]

DRAWS = 400
MOST_TIMED = 2000  # trials that are timed, evenly spaced, for each needs its history
# The interval holds so much of the draws.
COVERAGE = 0.8
# Standard deviation of the logarithm of the seconds an epoch between configurations of a group, before any was
# measured, and how many measured deviations that counts for.
SPREAD, SPREAD_WEIGHT = 0.35, 2.0
# The same of the machine's speed compared with when it was measured: within a run, and in another one.
DRIFT_IN_RUN, DRIFT = 0.1, 0.15
# Where only first trials of workers were seen, the part of their start that each trial pays: most of it are imports,
# which a worker pays once. A uniform number to this power.
IMPORTS = 3
# Number of trials that the space's own share of a group counts for, beside the trials that were proposed.
PRIOR_TRIALS = 8.0
# Trials that are placed one by one; of more, so many are drawn, and their mean counts.
MOST_DRAWN = 500
# Cells of a grid that are counted one by one; of a larger one, and of any other space, so many are sampled.
MOST_CELLS, SAMPLES = 2000, 1000
_EPOCHS = 64  # configurations of a group whose epochs are kept
# A gap between two reports that is so many times the median is an interruption.
INTERRUPTION = 10


class Interval(NamedTuple):
    """The median of a forecast, and the ends of its interval."""

    low: float
    middle: float
    high: float


class Timing(NamedTuple):
    """Duration of one training.

    Attributes:
        group: Its structural group (`group_of`).
        setup: Seconds beside its epochs.
        epoch: Seconds an epoch.
        share: The part of its epochs that it trained; None if it was not left to decide.
        first: It was the first trial of its worker, whose start is in `setup`.
    """

    group: str
    setup: float
    epoch: float
    share: float | None = 1.0
    first: bool = False


@dataclass(frozen=True)
class Composition:
    """The trials to come.

    Attributes:
        weights: By group, how often it is expected, as a number of trials that have been counted.
        cells: By group, how many configurations are left, where each is tried once; None elsewhere.
        epochs: By group, the epochs of configurations drawn from the space; (1,) where that is not known.
    """

    weights: Mapping[str, float]
    cells: Mapping[str, int] | None
    epochs: Mapping[str, tuple[int, ...]]

    def with_trials(self, groups: Iterable[str] | Counter[str]) -> Composition:
        """Return the composition once trials of these groups were proposed."""
        done = Counter(groups)
        weights = {group: weight + done[group] for group, weight in self.weights.items()}
        cells = self.cells and {group: max(0, n - done[group]) for group, n in self.cells.items()}
        return Composition(weights, cells, self.epochs)


@dataclass(frozen=True)
class Forecast:
    """The rest of a study.

    Attributes:
        seconds: Seconds until the last trial ends.
        trials: Number of trials that are started.
        busy: Seconds of all trials together.
        parts: By group, its part of those seconds.
    """

    seconds: Interval
    trials: Interval
    busy: Interval
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Limits:
    """End of a study, counted from now; None: no such limit.

    Attributes:
        trials: Number of trials to be started.
        seconds: After so many seconds none starts.
        busy: After so many seconds of all trials together none starts.
    """

    trials: int | None = None
    seconds: float | None = None
    busy: float | None = None


# --- what was measured


def group_of(spec: StudySpec, params: Mapping[str, Any]) -> str:
    """Return the structural group of a configuration: `architecture unet, base_width 8`, or `all trials`."""
    structural = {name: params[name] for name in spec.structural if name in params}
    return configuration(structural) if structural else "all trials"


def epochs_of(spec: StudySpec, params: Mapping[str, Any]) -> int | None:
    """Return the epochs of a trial that runs to its end; None if no parameter and no constant says so."""
    return population_of(spec).interval if is_population(spec) else epochs_in({**spec.constants, **params})


def gaps(times: Sequence[float]) -> list[float]:
    """Return the seconds between reports; where a trial was interrupted, the median of them."""
    found = [b - a for a, b in itertools.pairwise(times)]
    usual = max(0.0, statistics.median(found)) if found else 0.0
    return [gap if 0 <= gap <= INTERRUPTION * usual else usual for gap in found]


def timing(
    group: str,
    seconds: float,
    reports: Sequence[tuple[int, float]],
    epochs: int | None,
    first: bool = False,
    whole: bool = False,
) -> Timing | None:
    """Return what a training took; None if that cannot be told.

    Args:
        group: Its structural group.
        seconds: What it took in all.
        reports: Its steps, each with the seconds at which it was reported, from any start.
        epochs: The epochs of a whole training; None: not known, and the whole of it counts as one.
        first: It was the first of its worker.
        whole: It ran to its end.
    """
    if epochs is None:
        return Timing(group, 0.0, seconds, 1.0, first)
    if len(reports) > 1:
        stride = (reports[-1][0] - reports[0][0]) / (len(reports) - 1)  # it may report every fifth epoch
        trained = stride * len(reports)
        if 0 < trained <= epochs + 1:
            epoch = statistics.fmean(gaps([time for _, time in reports])) / stride
            return Timing(group, max(0.0, seconds - epoch * trained), epoch, min(1.0, trained / epochs), first)
    # Its steps are no epochs.
    return Timing(group, 0.0, seconds / epochs, 1.0, first) if whole else None


def timings_of(record: StudyRecord, spec: StudySpec, workers: int) -> list[Timing]:
    """Return what the trials that a study has trained took, in the order of their starts; of very many a part of them.

    Args:
        record: The study.
        spec: The study whose groups count.
        workers: Number of trials that ran at once: so many begin with the start of a worker, unless each trial does.
    """
    trials = sorted((one for one in record.trained if one.seconds and one.params), key=lambda one: one.started or 0.0)
    starts = 0 if spec.starts_each_trial else workers
    every = math.ceil(len(trials) / MOST_TIMED) or 1
    places = (place for place in range(len(trials)) if place < starts or place % every == 0)
    found = [_timing_of(trials[place], spec, place < starts) for place in places]
    return [one for one in found if one is not None]


def shares_of(timings: Iterable[Timing]) -> list[float]:
    """Return the parts of their epochs that trainings were left."""
    return [one.share for one in timings if one.share is not None]


def _timing_of(trial: TrialRecord, spec: StudySpec, first: bool) -> Timing | None:
    start = trial.segment.start if trial.segment else -1
    own = [(step.step, step.time) for step in trial.history if step.step > start]
    epochs = epochs_of(spec, trial.params)
    whole = trial.state == "COMPLETE"
    return timing(group_of(spec, trial.params), trial.seconds or 0.0, own, epochs, first, whole)


def rest_of(record: StudyRecord, spec: StudySpec, now: float) -> Forecast | None:
    """Return the rest of a study that runs; None as long as nothing of it was measured, or its budget sets no limit.

    Args:
        record: The study.
        spec: The study as it runs.
        now: Seconds since the epoch.
    """
    running = [(group_of(spec, one.params), now - one.started) for one in record.in_state("RUNNING") if one.started]
    workers = spec.engine.workers or len(running)
    timings = timings_of(record, spec, workers)
    trials = spec.planned_trials()
    # Those that wait go on when all were tried, to their ends.
    finished = [one for one in record.finished if not (one.waits and spec.uses_rest)]
    trained = sum(one.imported is None for one in finished)
    so_far = [Span(now - passed, now, 0.0) for _, passed in running]
    limits = Limits(
        None if trials is None else max(0, trials - trained - len(running)),
        seconds_left(spec.search_budget, [*record.spans, *so_far], now),
    )
    if not timings or not workers or limits == Limits():
        return None
    proposed = [*finished, *record.in_state("RUNNING")]
    composition = composition_of(spec).with_trials(group_of(spec, trial.params) for trial in proposed)
    shares = shares_of(timings) if len(finished) == len(record.finished) else [1.0]
    model = Model(timings, composition, shares, DRIFT_IN_RUN)
    return model.forecast(limits, workers, running)


# --- what is to come


def composition_of(spec: StudySpec) -> Composition:
    """Return the trials that a study has before it before any is proposed."""
    space = spec.space
    size = space.grid_size()
    listed = spec.tries_each_once and size is not None and size <= MOST_CELLS
    rng = random.Random(spec.seed)
    drawn = space.grid() if listed else (space.sample(rng) for _ in range(SAMPLES))
    cells: Counter[str] = Counter()
    epochs: dict[str, list[int]] = {}
    for params in map(space.resolve, drawn):
        group = group_of(spec, params)
        cells[group] += 1
        epochs.setdefault(group, []).append(epochs_of(spec, params) or 1)
    of_one = PRIOR_TRIALS / cells.total()
    return Composition(
        {group: n * of_one for group, n in cells.items()},
        dict(cells) if listed else None,
        {group: tuple(values) for group, values in epochs.items()},
    )


class Model:
    """Durations of trials to come.

    Args:
        timings: What was measured; at least one.
        composition: The trials to come.
        shares: Parts of their epochs that trials train.
        drift: Standard deviation of the logarithm of the machine's speed.
    """

    def __init__(
        self, timings: Sequence[Timing], composition: Composition, shares: Sequence[float], drift: float
    ) -> None:
        self.composition = composition
        self.groups = tuple(dict.fromkeys([*composition.weights, *(one.group for one in timings)]))
        self.spread = _spread(timings)
        self._own: dict[str, list[Timing]] = {group: [] for group in self.groups}
        for one in timings:
            self._own[one.group].append(one)
        self._epochs = np.array([np.resize(composition.epochs.get(group, (1,)), _EPOCHS) for group in self.groups])
        self._shares = np.array(shares or [1.0])
        self._drift = drift
        starts = [one.setup for one in timings if one.first]
        later = [one.setup for one in timings if not one.first]
        # Then nobody knows which part of a start each trial pays, and which the worker once.
        self._only_first = not later
        self.worker_start = max(0.0, statistics.median(starts) - statistics.median(later)) if starts and later else 0.0
        self._setup = {group: self._median_setup(group, later or starts) for group in self.groups}

    def _median_setup(self, group: str, later: Sequence[float]) -> float:
        own = [one.setup for one in self._own[group] if not one.first]
        return statistics.median(own or later)

    def measured(self, group: str) -> int:
        """Return the number of trainings of a group that were measured."""
        return len(self._own[group])

    def epoch_of(self, group: str) -> float | None:
        """Return the typical seconds an epoch of a group; None if it was not measured."""
        own = [one.epoch for one in self._own[group]]
        return statistics.median(own) if own else None

    def setup_of(self, group: str) -> float:
        """Return the typical seconds of a trial beside its epochs."""
        return self._setup[group]

    def durations(self, rng: np.random.Generator, draws: int, n: int) -> tuple[Array, NDArray[np.intp], Array]:
        """Return seconds of `n` trials in each of some draws, their groups by index, and the starts of the workers."""
        groups = self._groups_of(rng, draws, n)
        means = self._means(rng, draws)
        logs = np.take_along_axis(means, groups, axis=1) + rng.normal(0.0, self.spread, groups.shape)
        epochs = self._epochs[groups, rng.integers(0, _EPOCHS, groups.shape)]
        # A part of its own in each draw: few shares say little about those to come.
        resampled = rng.choice(self._shares, (draws, len(self._shares)))
        shares = np.take_along_axis(resampled, rng.integers(0, len(self._shares), groups.shape), axis=1)
        setup = np.array([self._setup[group] for group in self.groups])
        of_trial = rng.random((draws, 1)) ** IMPORTS if self._only_first else np.ones((draws, 1))
        drift = np.exp(rng.normal(0.0, self._drift, (draws, 1)))
        seconds: Array = drift * (of_trial * setup[groups] + np.exp(logs) * np.maximum(1.0, epochs * shares))
        start = drift * (self.worker_start + (1 - of_trial) * setup.max())
        return seconds, groups, start[:, 0]

    def _groups_of(self, rng: np.random.Generator, draws: int, n: int) -> NDArray[np.intp]:
        cells = self.composition.cells
        if cells is not None and (left := sum(cells.values())):
            order = np.repeat(np.arange(len(self.groups)), [cells.get(group, 0) for group in self.groups])
            rows = [rng.permutation(np.resize(order, max(n, left)))[:n] for _ in range(draws)]
            return np.array(rows, dtype=np.intp).reshape(draws, n)
        weights = np.array([self.composition.weights.get(group, 0.0) for group in self.groups])
        likely = rng.dirichlet(np.maximum(weights, 1e-9), draws).cumsum(axis=1)
        drawn = rng.random((draws, n))
        chosen = np.array([np.searchsorted(ends, row) for ends, row in zip(likely, drawn, strict=True)], dtype=np.intp)
        return np.minimum(chosen.reshape(draws, n), len(self.groups) - 1)

    def _means(self, rng: np.random.Generator, draws: int) -> Array:
        """Return the mean logarithm of the seconds an epoch, of each draw and group."""
        logs = {group: [_log(one.epoch) for one in own] for group, own in self._own.items()}
        known = [statistics.fmean(own) for own in logs.values() if own]
        between = math.hypot(self.spread, statistics.pstdev(known))
        columns = [
            rng.normal(statistics.fmean(own), self.spread / math.sqrt(len(own)), draws)
            if own
            else rng.normal(statistics.fmean(known), between, draws)
            for own in logs.values()
        ]
        return np.stack(columns, axis=1)

    def forecast(
        self,
        limits: Limits,
        workers: int,
        running: Sequence[tuple[str, float]] | None = None,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Forecast:
        """Return the rest of a study.

        Args:
            limits: What ends it; one of them at least.
            workers: Trials at once.
            running: Group and seconds so far of the trials that run; None: the workers are still to start.
            draws: Number of draws.
            seed: Seed of the draws.
        """
        rng = np.random.default_rng(seed)
        n = self._most_trials(rng, limits, workers)
        seconds, groups, start = self.durations(rng, draws, min(n, MOST_DRAWN))
        free = np.zeros((draws, max(workers, len(running or ()))))
        if running is None and n:
            free += start[:, None]
        for place, (group, passed) in enumerate(running or ()):
            free[:, place] = self._left(rng, draws, group, passed)
        counted = np.ones(seconds.shape, dtype=bool)
        if n <= MOST_DRAWN:
            counted, end = _placed(seconds, free, limits)
            started, busy = counted.sum(axis=1), (seconds * counted).sum(axis=1)
        else:
            started, end = _extrapolated(rng, seconds, free, limits, n)
            busy = started * seconds.mean(axis=1)
        parts = np.bincount(groups.ravel(), (seconds * counted).ravel(), len(self.groups))
        total = parts.sum() or 1.0
        return Forecast(
            _interval(end),
            _interval(started),
            _interval(busy),
            {group: float(part / total) for group, part in zip(self.groups, parts, strict=True)},
        )

    def _most_trials(self, rng: np.random.Generator, limits: Limits, workers: int) -> int:
        """Return a number of trials that is not reached, or that of the budget."""
        most = math.inf if limits.trials is None else float(limits.trials)
        if limits.seconds is not None or limits.busy is not None:
            usual = float(np.median(self.durations(rng, DRAWS, 20)[0].mean(axis=1)))
            room = min(math.inf if limits.seconds is None else limits.seconds * workers, limits.busy or math.inf)
            most = min(most, 3 * room / max(usual, 1e-6) + 2 * workers)
        return max(0, math.ceil(most))

    def _left(self, rng: np.random.Generator, draws: int, group: str, passed: float) -> Array:
        """Return the seconds that a running trial still takes: those of trials that took longer than it has so far."""
        seconds, groups, _ = self.durations(rng, draws, 20)
        own = seconds[groups == self.groups.index(group)] if group in self.groups else seconds
        longer = own[own > passed]
        left: Array = rng.choice(longer, draws) - passed if longer.size else np.full(draws, 0.1 * passed)
        return left


def _placed(seconds: Array, free: Array, limits: Limits) -> tuple[NDArray[np.bool_], Array]:
    """Return which trials are started, and when the last one ends, by draw.

    Args:
        seconds: What each trial takes, by draw.
        free: When each worker is free, by draw.
        limits: What ends the study.
    """
    rows, busy = np.arange(len(seconds)), np.zeros(len(seconds))
    started = np.zeros(seconds.shape, dtype=bool)
    for place in range(seconds.shape[1]):
        worker = free.argmin(axis=1)
        goes = free[rows, worker] < (math.inf if limits.seconds is None else limits.seconds)
        goes &= busy < (math.inf if limits.busy is None else limits.busy)
        if not goes.any():
            break
        spent = np.where(goes, seconds[:, place], 0.0)
        free[rows, worker] += spent
        busy += spent
        started[:, place] = goes
    return started, free.max(axis=1)


def _extrapolated(rng: np.random.Generator, seconds: Array, free: Array, limits: Limits, n: int) -> tuple[Array, Array]:
    """Return how many trials are started, and when the last one ends, by draw, for more trials than are drawn.

    All workers are at work until the last trials, of which each has been running for a part of its time then.
    """
    usual, workers = seconds.mean(axis=1), free.shape[1]
    open_for = np.inf if limits.seconds is None else np.maximum(0.0, limits.seconds - free.mean(axis=1))
    started = np.minimum(float("inf") if limits.trials is None else n, open_for * workers / usual)
    if limits.busy is not None:
        started = np.minimum(started, limits.busy / usual)
    some = rng.integers(0, seconds.shape[1], (len(seconds), workers))
    tail = (np.take_along_axis(seconds, some, axis=1) * rng.random(some.shape)).max(axis=1)
    return started, free.mean(axis=1) + np.maximum(0.0, started * usual / workers - usual / 2) + tail


def _interval(values: Array) -> Interval:
    edge = (1 - COVERAGE) / 2
    low, middle, high = np.quantile(values, [edge, 0.5, 1 - edge])
    return Interval(float(low), float(middle), float(high))


def _log(seconds: float) -> float:
    return math.log(max(seconds, 1e-6))


def _spread(timings: Sequence[Timing]) -> float:
    """Return the standard deviation of the logarithm of the seconds an epoch within groups, pooled over them."""
    groups: dict[str, list[float]] = {}
    for one in timings:
        groups.setdefault(one.group, []).append(_log(one.epoch))
    squares = sum((value - statistics.fmean(own)) ** 2 for own in groups.values() for value in own)
    freedom = sum(len(own) - 1 for own in groups.values())
    return math.sqrt((SPREAD_WEIGHT * SPREAD**2 + squares) / (SPREAD_WEIGHT + freedom))
