"""Ranks of trials within their groups, kept up to date, and a part of the trials that stands for all of them."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Entry = tuple[float, int]  # cost and number


@dataclass(frozen=True)
class Part:
    """Some of the trials, those of the best ranks first.

    Attributes:
        numbers: of the trials.
        ranks: their ranks among all trials of their group, from 0 (best) to 1.
        weights: how many trials each stands for.
        best: how many of them stand for no other one, for they are the best of their groups.
    """

    numbers: list[int]
    ranks: list[float]
    weights: list[float]
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
        found: list[tuple[float, int, float]] = []
        left, best = most, 0
        for index, ranked in enumerate(sorted(self._groups.values(), key=len)):
            take = max(1, min(len(ranked), left // (self.groups - index)))
            left -= take
            size, finite = len(ranked), bisect_left(ranked, (math.inf, -1))
            for place, weight in _spread(size, take):
                rank = place / size if place < finite else self._rank(ranked, place)
                found.append((rank, ranked[place][1], weight))
                best += weight == 1.0
        among = {number for _, number, _ in found} if len(found) < len(self) else self._places.keys()
        for number in with_:
            if number in self._places and number not in among:
                group, entry = self._places[number]
                ranked = self._groups[group]
                found.append((self._rank(ranked, bisect_left(ranked, entry)), number, 1.0))
        found.sort()
        numbers = [number for _, number, _ in found]
        return Part(numbers, [rank for rank, _, _ in found], [weight for _, _, weight in found], best)

    def _rank(self, ranked: list[Entry], place: int) -> float:
        cost, number = ranked[place]
        if math.isinf(cost):
            return (len(self) - len(self._last) + bisect_left(self._last, number)) / len(self)
        return place / len(ranked)


def _spread(size: int, take: int) -> Iterator[tuple[int, float]]:
    """Yield the places of a part of a ranking, and how many trials each of them stands for."""
    best = size if take == size else (take + 1) // 2
    yield from ((place, 1.0) for place in range(best))
    rest = take - best
    for index in range(rest):
        yield best + int((index + 0.5) * (size - best) / rest), (size - best) / rest
