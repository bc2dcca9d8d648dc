"""Hold the reported steps of a trial as columns of numbers, which take a tenth of the memory of their objects.

A study of 100,000 trials has a million steps. What reads them asks for one metric of a trial, mostly.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar, overload

from hpo.storage.history import Step

T = TypeVar("T")


class _Columns(NamedTuple):
    """Columns of some steps.

    Attributes:
        numbers: The number of each step.
        times: Its time.
        attempts: Its attempt.
        names: Every metric, in the order in which they appeared.
        values: The metrics of the first step, then those of the second, and so on; NaN where one was not reported.
        missing: Places in `values` of metrics that were not reported.
    """

    numbers: array[int]
    times: array[float]
    attempts: array[int]
    names: tuple[str, ...]
    values: array[float]
    missing: frozenset[int]


class Steps(Sequence[Step]):
    """Steps that a trial reported, in ascending order. They are read when they are first asked for.

    Args:
        read: Returns those of a trial.
        trial: The trial.
    """

    __slots__ = ("_columns", "_read", "_trial")

    def __init__(self, read: Callable[[T], Iterable[Step]], trial: T) -> None:
        self._read: Callable[[Any], Iterable[Step]] | None = read  # many share it
        self._trial: Any = trial
        self._columns: _Columns | None = None

    @property
    def columns(self) -> _Columns:
        """The steps as columns."""
        if self._columns is None:
            self._columns = _columns(tuple(self._read(self._trial) if self._read else ()))
            self._read = self._trial = None  # which holds the whole study
        return self._columns

    @property
    def names(self) -> tuple[str, ...]:
        """Every metric that was reported, in the order in which they appeared."""
        return self.columns.names

    def series(self, metric: str) -> tuple[tuple[int, float], ...]:
        """Return (step, value) wherever `metric` was reported, ascending; values may be NaN or infinite."""
        numbers, _, _, names, values, missing = self.columns
        if metric not in names:
            return ()
        first, width = names.index(metric), len(names)
        points = zip(numbers, values[first::width], strict=True)
        if not missing:
            return tuple(points)
        return tuple(point for row, point in enumerate(points) if first + row * width not in missing)

    def last(self, metric: str) -> float | None:
        """Return the last finite value reported of `metric`, or None."""
        return next((value for _, value in reversed(self.series(metric)) if math.isfinite(value)), None)

    def __len__(self) -> int:
        return len(self.columns.numbers)

    @overload
    def __getitem__(self, place: int) -> Step: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Step, ...]: ...

    def __getitem__(self, place: int | slice) -> Step | tuple[Step, ...]:
        rows = range(len(self))[place]
        return self._step(rows) if isinstance(rows, int) else tuple(map(self._step, rows))

    def _step(self, row: int) -> Step:
        numbers, times, attempts, names, values, missing = self.columns
        start = row * len(names)
        metrics = {name: values[start + k] for k, name in enumerate(names) if start + k not in missing}
        return Step(numbers[row], times[row], attempts[row], metrics)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Steps({tuple(self)!r})"


def steps_of(history: Sequence[Step]) -> Steps:
    """Return steps as columns; those that are stay as they are."""
    return history if isinstance(history, Steps) else Steps(lambda steps: steps, history)


def _columns(steps: Sequence[Step]) -> _Columns:
    names = _shared(tuple(dict.fromkeys(name for step in steps for name in step.metrics)))
    places = [(step.metrics, name) for step in steps for name in names]
    return _Columns(
        _whole(tuple(step.step for step in steps)),
        array("d", [step.time for step in steps]),
        _whole(tuple(step.attempt for step in steps)),
        names,
        array("d", [metrics.get(name, math.nan) for metrics, name in places]),
        frozenset(place for place, (metrics, name) in enumerate(places) if name not in metrics),
    )


@lru_cache(1024)
def _whole(numbers: tuple[int, ...]) -> array[int]:
    """Return whole numbers as a column, one for all: most trials of a study have the same steps, in one attempt."""
    return array("q", numbers)


@cache
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the one tuple of these names: most trials of a study report the same."""
    return names
