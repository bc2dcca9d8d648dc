"""Ranks of trials within their groups, kept up to date, and a part of the trials that represents all of them."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Some of the trials, those of the best ranks first.

    Attributes:
        numbers: of the trials.
        ranks: their ranks among all trials of their group, from 0 (best) to 1.
        weights: how many trials each of them stands for.
        best: how many were taken because they are the best of their groups.
    """

    numbers: Integers
    ranks: Floats
    weights: Floats
    best: int


class _Group:
    """Trials by their costs, ascending; of equal costs by their numbers.

    Arrays of the standard library take in an entry quickly, and NumPy reads them without a copy.
    """

    def __init__(self) -> None:
        self._costs, self._numbers = array("d"), array("q")

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def finite(self) -> int:
        """Number of trials whose cost is not infinite."""
        return bisect_left(self._costs, math.inf)

    def place(self, cost: float, number: int) -> int:
        """Return where a trial is, or would be."""
        first = bisect_left(self._costs, cost)
        return bisect_left(self._numbers, number, first, bisect_right(self._costs, cost, first))

    def put(self, cost: float, number: int) -> None:
        """Add a trial that is not there."""
        place = self.place(cost, number)
        self._costs.insert(place, cost)
        self._numbers.insert(place, number)

    def drop(self, cost: float, number: int) -> None:
        """Remove a trial that is there."""
        place = self.place(cost, number)
        del self._costs[place], self._numbers[place]

    def numbers(self, places: Integers) -> Integers:
        """Return the numbers of the trials at these places."""
        return np.frombuffer(self._numbers, np.int64)[places]


class Ranking:
    """Trials of several groups by their costs. One that changes moves others in memory, but none of them is looked at.

    A trial with infinite cost ranks behind all others, also where its whole group does.
    """

    def __init__(self) -> None:
        self._groups: dict[Any, _Group] = {}
        self._places: dict[int, tuple[Any, float]] = {}  # group and cost
        self._last = array("q")  # numbers of the trials with infinite cost, ascending

    def __len__(self) -> int:
        return len(self._places)

    @property
    def groups(self) -> int:
        """Number of groups that have trials."""
        return len(self._groups)

    def put(self, number: int, group: Any, cost: float) -> None:
        """Add a trial, or change its cost."""
        if self._places.get(number) != (group, cost):
            self.drop(number)
            self._places[number] = group, cost
            self._groups.setdefault(group, _Group()).put(cost, number)
            if math.isinf(cost):
                self._last.insert(bisect_left(self._last, number), number)

    def drop(self, number: int) -> None:
        """Remove a trial if it is there."""
        if number not in self._places:
            return
        group, cost = self._places.pop(number)
        self._groups[group].drop(cost, number)
        if not self._groups[group]:
            del self._groups[group]
        if math.isinf(cost):
            del self._last[bisect_left(self._last, number)]

    def part(self, most: int, with_: Iterable[int] = ()) -> Part:
        """Return all trials, or if there are more than `most` a part of each group.

        Half of a group's part are its best trials. The other half is spread evenly over the ranks of the rest. Groups
        have equal parts; what a small one does not need, others get.

        Args:
            most: number of trials.
            with_: numbers of trials that the part has in any case, beyond `most`.
        """
        numbers: list[Integers] = [np.empty(0, np.int64)]
        ranks: list[Floats] = [np.empty(0)]
        weights: list[Floats] = [np.empty(0)]
        left, best = most, 0
        for index, group in enumerate(sorted(self._groups.values(), key=len)):
            take = max(1, min(len(group), left // (self.groups - index)))
            left -= take
            places, first = _spread(len(group), take)
            best += first
            numbers.append(group.numbers(places))
            ranks.append(self._ranks(group, places))
            weights += [np.ones(first), np.full(take - first, (len(group) - first) / max(1, take - first))]
        taken = np.concatenate(numbers)
        missing = [number for number in set(with_) & self._places.keys() if not (taken == number).any()]
        for number in missing if len(taken) < len(self) else ():
            key, cost = self._places[number]
            places = np.array([self._groups[key].place(cost, number)])
            numbers.append(np.array([number]))
            ranks.append(self._ranks(self._groups[key], places))
            weights.append(np.ones(1))
        found, rank = np.concatenate(numbers), np.concatenate(ranks)
        order = np.lexsort((found, rank))
        return Part(found[order], rank[order], np.concatenate(weights)[order], best)

    def _ranks(self, group: _Group, places: Integers) -> Floats:
        """Return the ranks of the trials at these places of a group."""
        ranks, behind = places / len(group), places >= group.finite
        if behind.any():
            among_last = np.searchsorted(np.frombuffer(self._last, np.int64), group.numbers(places[behind]))
            ranks[behind] = (len(self) - len(self._last) + among_last) / len(self)
        return ranks


def _spread(size: int, take: int) -> tuple[Integers, int]:
    """Return so many places of a ranking, and how many of them are the first ones."""
    if take == size:
        return np.arange(size), size
    best = (take + 1) // 2
    rest = take - best
    places = best + ((np.arange(rest) + 0.5) * (size - best) / max(1, rest)).astype(np.int64)
    return np.concatenate((np.arange(best), places)), best
