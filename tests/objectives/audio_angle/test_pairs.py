"""Which pairs there are, and which way round."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.audio_angle.pairs import all_pairs, draw_pairs

RANKS = np.array([0.0, 2.0, 2.0, 1.0])


def test_all_pairs_by_hand() -> None:
    first, second, sign = all_pairs(RANKS)
    assert list(zip(first.tolist(), second.tolist(), sign.tolist(), strict=True)) == [
        (0, 1, -1), (0, 2, -1), (0, 3, -1), (1, 3, 1), (2, 3, 1),
    ]  # fmt: skip
    assert sign.dtype == torch.float32


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12).filter(lambda ranks: len(set(ranks)) > 1))
def test_each_pair_of_unequal_rank_once(ranks: list[int]) -> None:
    first, second, sign = all_pairs(np.array(ranks, float))
    expected = [(i, j) for i, j in itertools.combinations(range(len(ranks)), 2) if ranks[i] != ranks[j]]
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert sign.tolist() == [1 if ranks[i] > ranks[j] else -1 for i, j in expected]


def test_a_limit_takes_some_of_them() -> None:
    ranks = np.arange(30) % 5
    whole = set(zip(*(part.tolist() for part in all_pairs(ranks)), strict=True))
    few = all_pairs(ranks, 40, seed=1)
    drawn = set(zip(*(part.tolist() for part in few), strict=True))
    assert len(drawn) == 40
    assert drawn < whole
    assert all(torch.equal(a, b) for a, b in zip(few, all_pairs(ranks, 40, seed=1), strict=True))
    assert not torch.equal(few[0], all_pairs(ranks, 40, seed=2)[0])
    assert len(all_pairs(ranks, 10_000)[0]) == len(whole)


def test_pairs_are_drawn_evenly_by_seed_and_epoch() -> None:
    first, second, sign = draw_pairs(RANKS, 10_000, seed=3, epoch=1)
    assert (RANKS[first] != RANKS[second]).all()
    np.testing.assert_array_equal(sign, np.sign(RANKS[first] - RANKS[second]))
    counts = np.bincount(first.numpy() * 4 + second.numpy(), minlength=16)
    assert (counts > 0).sum() == 10
    assert np.abs(counts[counts > 0] - 1000).max() < 150  # five standard deviations
    again = draw_pairs(RANKS, 10_000, seed=3, epoch=1)
    assert torch.equal(first, again[0])
    for seed, epoch in ((3, 2), (4, 1)):
        assert not torch.equal(first, draw_pairs(RANKS, 10_000, seed, epoch)[0])


def test_as_many_as_asked_where_few_are_unequal() -> None:
    ranks = np.zeros(100)
    ranks[7] = 1
    first, second, sign = draw_pairs(ranks, 9, 0, 0)
    assert len(first) == len(second) == len(sign) == 9
    assert ((first == 7) != (second == 7)).all()


def test_no_pairs() -> None:
    with pytest.raises(ValueError, match="all 3 clips have rank 2; expected two ranks at least to make pairs"):
        draw_pairs(np.full(3, 2.0), 5, 0, 0)
    with pytest.raises(ValueError, match="3 clips make no pair; expected two ranks at least"):
        all_pairs(np.full(3, 2.0))
