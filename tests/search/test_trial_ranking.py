"""Ranks of trials: kept up to date they are what a full computation gives, and a part represents all."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.search.ranking import Ranking

Trials = dict[int, tuple[Any, float]]


def in_full(trials: Trials) -> list[tuple[float, int]]:
    """Return (rank, number) of all trials: within their groups, but behind all where the cost is infinite."""
    found = sorted((cost, number, group) for number, (group, cost) in trials.items())
    sizes, ahead = Counter(group for _, _, group in found), Counter[Any]()
    ranked = []
    for position, (cost, number, group) in enumerate(found):
        last = math.isinf(cost)
        ranked.append((position / len(found) if last else ahead[group] / sizes[group], number))
        ahead[group] += 1
    return sorted(ranked)


costs = st.sampled_from([0.0, 1.0, 2.0, 2.5, math.inf])
changes = st.tuples(st.integers(0, 15), st.sampled_from("abc"), costs | st.none())


@settings(max_examples=300)
@given(st.lists(changes, max_size=60))
def test_what_is_kept_is_what_a_full_computation_gives(history: list[tuple[int, str, float | None]]) -> None:
    ranking, trials = Ranking(), Trials()
    for number, group, cost in history:
        if cost is None:
            ranking.drop(number)
            trials.pop(number, None)
        else:
            ranking.put(number, group, cost)
            trials[number] = group, cost
    part = ranking.part(16)
    assert list(zip(part.ranks, part.numbers, strict=True)) == in_full(trials)
    assert part.weights.tolist() == [1.0] * len(trials)
    assert (len(ranking), part.best) == (len(trials), len(trials))
    assert ranking.groups == len({group for group, _ in trials.values()})


def ranking_of(**sizes: int) -> tuple[Ranking, Trials]:
    ranking, number, trials = Ranking(), 0, Trials()
    for group, size in sizes.items():
        for place in range(size):
            trials[number] = group, float((place * 7919) % size)
            ranking.put(number, *trials[number])
            number += 1
    return ranking, trials


@pytest.mark.parametrize("sizes", [{"a": 1000}, {"a": 900, "b": 30, "c": 2}, {"a": 500, "b": 400, "c": 300, "d": 1}])
def test_a_part_has_the_best_of_each_group_and_some_of_all_ranks(sizes: dict[str, int]) -> None:
    ranking, trials = ranking_of(**sizes)
    full = {number: rank for rank, number in in_full(trials)}
    part = ranking.part(100, with_=[7, 8])
    assert 100 <= len(part.numbers) <= 102
    assert len(set(part.numbers)) == len(part.numbers)
    assert {7, 8} <= set(part.numbers)
    assert part.ranks.tolist() == [full[number] for number in part.numbers] == sorted(part.ranks)
    left, groups = 100, len(sizes)
    for group, size in sorted(sizes.items(), key=lambda one: one[1]):
        take = min(size, left // groups)
        left, groups = left - take, groups - 1
        own = [number for number in part.numbers if trials[number][0] == group]
        assert len(set(own) - {7, 8}) >= take - 2
        ahead = {number for number in own if trials[number][1] < (take if take == size else (take + 1) // 2)}
        assert len(ahead) == (take if take == size else (take + 1) // 2), "the best of the group are all there"
        assert max(full[number] for number in own) >= 0.9 * (size - 1) / size, "and some of the worst"


def test_many_groups_are_all_represented() -> None:
    ranking, trials = ranking_of(**{f"g{index}": 3 for index in range(50)})
    assert len({trials[number][0] for number in ranking.part(40).numbers}) == 50


def test_of_a_rest_even_places_are_taken() -> None:
    ranking = Ranking()
    for number in range(10):
        ranking.put(number, None, float(number))
    part = ranking.part(4)
    assert (part.numbers.tolist(), part.ranks.tolist(), part.best) == ([0, 1, 4, 8], [0.0, 0.1, 0.4, 0.8], 2)
    assert part.weights.tolist() == [1.0, 1.0, 4.0, 4.0]
    assert ranking.part(4, with_=[5, 8, 77]).weights.tolist() == [1.0, 1.0, 4.0, 1.0, 4.0]
