"""Promotion: a trial that is behind at a rung of successive halving waits there, and goes on once it is not.

The rule is that of Li et al., "A System for Massively Parallel Hyperparameter Tuning" (MLSys 2020), algorithm 2: a free
worker takes the best trial that waits at the highest rung and is among the best of all that came there; if there is
none, a new configuration is tried. One thing differs: a trial that is among the best as it comes to a rung goes on at
once, and need not be started again.

A trial waits with its checkpoint. So few wait at a rung, and the worst of more is stopped for good.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Any

from optuna.trial import FrozenTrial, TrialState

# Trials that wait at a rung, of each group. With any number of them the search is no better: benchmarks/RESULTS.md.
WAITING = 4
# The same where time is left to them in the end (`StudySpec.uses_rest`).
WAITING_FOR_REST = 16
# Of earlier runs so many trials are remembered, the latest.
HISTORY = 4000

_Rung = tuple[int, Any]  # its step, and the group
_Place = tuple[float, int]  # cost, and number of the trial


class Promotion:
    """Trials that came to the rungs of a study, each compared within its group.

    Args:
        first: step of the first rung.
        factor: a rung is this many times as far as the one before; one of so many goes on from it.
        most: that many wait at a rung, in each group.
    """

    def __init__(self, first: int, factor: int, most: int = WAITING) -> None:
        self._first, self._factor, self._most = first, factor, most
        self._came: dict[_Rung, list[_Place]] = {}  # ascending
        self._waiting: dict[_Rung, list[_Place]] = {}  # ascending
        self._places: dict[int, list[tuple[_Rung, float]]] = {}  # of a trial, at all rungs
        self._steps: dict[int, int] = {}  # the last one of a trial
        self._at: dict[int, tuple[_Rung, float]] = {}  # of a trial whose last report brought it to a rung

    def load(self, trials: Iterable[FrozenTrial], group_by: str | None, sign: float) -> None:
        """Take in trials of earlier runs.

        Args:
            trials: in the order of their numbers.
            group_by: parameter within whose values trials are compared; None: all are one group.
            sign: makes a cost of a value.
        """
        for trial in [one for one in trials if one.state != TrialState.FAIL][-HISTORY:]:
            group = None if group_by is None else trial.params.get(group_by)
            for step, value in sorted(trial.intermediate_values.items()):
                self.reported(trial.number, group, step, sign * value)

    def reported(self, number: int, group: Any, step: int, cost: float) -> None:
        """Take in a trial's value at a step, lower is better. It comes to all rungs since its last report."""
        since = self._steps.get(number, 0)
        self._steps[number] = step
        self._at.pop(number, None)
        for rung in self._rungs(since, step):
            self._at[number] = key, _ = (rung, group), cost
            insort(self._came.setdefault(key, []), (cost, number))
            self._places.setdefault(number, []).append((key, cost))

    def forget(self, number: int) -> None:
        """Leave out a trial that failed, or goes on under another number."""
        self._steps.pop(number, None)
        self._at.pop(number, None)
        for key, cost in self._places.pop(number, []):
            _remove(self._came[key], (cost, number))
            _remove(self._waiting.get(key, []), (cost, number))

    def is_at_rung(self, number: int) -> bool:
        """Return True if a trial has come to a rung with its last report."""
        return number in self._at

    def is_behind(self, number: int) -> bool:
        """Return True if a trial has come to a rung with its last report, and is not among the best there."""
        if not self.is_at_rung(number):
            return False
        key, cost = self._at[number]
        best = len(self._came[key]) // self._factor
        return best == 0 or cost > self._came[key][best - 1][0]

    def wait(self, number: int) -> int | None:
        """Have a trial wait at the rung to which it came last.

        Returns:
            The number of the trial that waits there no longer, for it is the worst of too many; None: there is room.
        """
        key, cost = self._at[number]
        waiting = self._waiting.setdefault(key, [])
        insort(waiting, (cost, number))
        return waiting.pop()[1] if len(waiting) > self._most else None

    def withdraw(self, number: int) -> None:
        """Have a trial wait no longer: it is stopped for good."""
        key, cost = self._at[number]
        _remove(self._waiting[key], (cost, number))

    def next(self, last: bool = False, rest: bool = False) -> int | None:
        """Return the number of the trial that is to go on, the best at the highest rung; None if there is none.

        Args:
            last: no other trial will come: the best of each rung goes on in any case.
            rest: nor is there anything else to do: then the one goes on of which the smallest part of those at its
                rung was better.
        """
        for rung, group in sorted(self._waiting, key=lambda key: (-key[0], self._share(key))):
            came, waiting = self._came[rung, group], self._waiting[rung, group]
            best = max(len(came) // self._factor, int(last))
            if waiting and best and waiting[0] <= came[best - 1]:
                return waiting[0][1]
        places = [key for key, waiting in self._waiting.items() if waiting]
        if not rest or not places:
            return None
        return self._waiting[min(places, key=lambda key: (self._share(key), -key[0]))][0][1]

    def _share(self, key: _Rung) -> float:
        """Return the part of those at a rung that are better than the best that waits."""
        waiting, came = self._waiting[key], self._came[key]
        return bisect_left(came, waiting[0]) / len(came) if waiting else 1.0

    def _rungs(self, after: int, until: int) -> Iterator[int]:
        rung = self._first
        while rung <= until:
            if rung > after:
                yield rung
            rung *= self._factor


def _remove(places: list[_Place], place: _Place) -> None:
    at = bisect_left(places, place)
    if at < len(places) and places[at] == place:
        del places[at]
