"""Ranks of trials within their groups, kept up to date, and a part of the trials that represents all of them."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Entry = tuple[float, int]  # cost and number


@dataclass(frozen=True)
class Part:
    """Some of the trials, those of the best ranks first.

    Attributes:
        numbers: of the trials.
        ranks: their ranks among all trials of their group, from 0 (best) to 1.
        weights: how many trials each of them stands for.
        best: how many were taken because they are the best of their groups.
    """

    numbers: NDArray[np.int64]
    ranks: NDArray[np.float64]
    weights: NDArray[np.float64]
    best: int


class Ranking:
    """Trials of several groups by their costs. One that changes moves others in memory, but none of them is looked at.

    A trial with infinite cost ranks behind all others, also where its whole group does.
    """

    def __init__(self) -> None:
        self._groups: dict[Any, list[Entry]] = {}  # each ascending
        self._places: dict[int, tuple[Any, Entry]] = {}
        self._last: list[int] = []  # numbers of the trials with infinite cost, ascending

    def __len__(self) -> int:
        return len(self._places)

    @property
    def groups(self) -> int:
        """Number of groups that have trials."""
        return len(self._groups)

    def put(self, number: int, group: Any, cost: float) -> None:
        """Add a trial, or change its cost."""
        place = group, (cost, number)
        if self._places.get(number) != place:
            self.drop(number)
            self._places[number] = place
            insort(self._groups.setdefault(group, []), (cost, number))
            if math.isinf(cost):
                insort(self._last, number)

    def drop(self, number: int) -> None:
        """Remove a trial if it is there."""
        if number not in self._places:
            return
        group, entry = self._places.pop(number)
        ranked = self._groups[group]
        del ranked[bisect_left(ranked, entry)]
        if not ranked:
            del self._groups[group]
        if math.isinf(entry[0]):
            del self._last[bisect_left(self._last, number)]

    def part(self, most: int, with_: Iterable[int] = ()) -> Part:
        """Return all trials, or if there are more than `most` a part of each group.

        Half of a group's part are its best trials. The other half is spread evenly over the ranks of the rest. Groups
        have equal parts; what a small one does not need, others get.

        Args:
            most: number of trials.
            with_: numbers of trials that the part has in any case, beyond `most`.
        """
        numbers: list[int] = []
        ranks: list[float] = []
        weights: list[float] = []
        left, best = most, 0
        for index, ranked in enumerate(sorted(self._groups.values(), key=len)):
            take = max(1, min(len(ranked), left // (self.groups - index)))
            left -= take
            places, first = _spread(len(ranked), take)
            best += first
            numbers += [ranked[place][1] for place in places]
            ranks += self._ranks(ranked, places)
            weights += [1.0] * first + [(len(ranked) - first) / max(1, take - first)] * (take - first)
        missing = set(with_) - set(numbers) if len(numbers) < len(self) else set()
        for number in missing & self._places.keys():
            group, entry = self._places[number]
            ranked = self._groups[group]
            numbers.append(number)
            ranks += self._ranks(ranked, [bisect_left(ranked, entry)])
            weights.append(1.0)
        order = np.lexsort((numbers, ranks))
        return Part(np.array(numbers, dtype=np.int64)[order], np.array(ranks)[order], np.array(weights)[order], best)

    def _ranks(self, ranked: list[Entry], places: Sequence[int]) -> list[float]:
        """Return the ranks of the trials at these places of a group."""
        size, finite = len(ranked), bisect_left(ranked, (math.inf, -1))
        return [place / size if place < finite else self._last_rank(ranked[place][1]) for place in places]

    def _last_rank(self, number: int) -> float:
        return (len(self) - len(self._last) + bisect_left(self._last, number)) / len(self)


def _spread(size: int, take: int) -> tuple[Sequence[int], int]:
    """Return so many places of a ranking, and how many of them are the first ones."""
    if take == size:
        return range(size), size
    best = (take + 1) // 2
    rest = take - best
    return [*range(best), *(best + int((index + 0.5) * (size - best) / rest) for index in range(rest))], best
