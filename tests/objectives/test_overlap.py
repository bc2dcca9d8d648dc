"""Overlap held to numbers counted by hand and to scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from objectives.metrics.overlap import Overlap


def overlap(*pairs: tuple[list[list[int]], list[list[int]]]) -> Overlap:
    counts = Overlap()
    for predicted, target in pairs:
        counts.add(torch.tensor([predicted]).bool(), torch.tensor([target]).bool())
    return counts


def test_by_hand() -> None:
    # First image: 1 pixel in both, 3 in either. Second: 2 in both, 2 in either. Third: none in both, 1 in either.
    counts = overlap(([[1, 1, 0, 0]], [[0, 1, 1, 0]]), ([[1, 1]], [[1, 1]]), ([[0, 0]], [[1, 0]]))
    assert counts.jaccard() == pytest.approx(3 / 6)
    assert counts.dice() == pytest.approx(2 * 3 / (4 + 5))
    assert counts.mean_image_jaccard() == pytest.approx((1 / 3 + 1 + 0) / 3)


def test_pooled_is_not_the_mean_of_images() -> None:
    counts = overlap(([[1] * 9 + [0]], [[1] * 10]), ([[1, 0]], [[0, 1]]))
    assert counts.jaccard() == pytest.approx(9 / 12)
    assert counts.mean_image_jaccard() == pytest.approx((0.9 + 0) / 2)


def test_an_empty_union_counts_as_one() -> None:
    empty = ([[0, 0]], [[0, 0]])
    assert (overlap(empty).jaccard(), overlap(empty).dice(), overlap(empty).mean_image_jaccard()) == (1, 1, 1)
    # In the pooled counts it adds nothing, in the mean of images a 1.
    both = overlap(empty, ([[1, 0]], [[0, 1]]))
    assert (both.jaccard(), both.mean_image_jaccard()) == (0, 0.5)


def test_probabilities_are_refused() -> None:
    """With p = 0.5 everywhere, a product of probabilities would find half of every object."""
    half = torch.full((1, 4), 0.5)
    target = torch.tensor([[1, 1, 0, 0]]).bool()
    with pytest.raises(ValueError, match=r"predicted is torch\.float32; expected torch\.bool"):
        Overlap().add(half, target)
    with pytest.raises(ValueError, match=r"target is torch\.float32"):
        Overlap().add(target, target.float())
    counts = Overlap()
    counts.add(half > 0.5, target)  # "above 0.5": exactly 0.5 is background
    assert counts.jaccard() == 0


def test_shapes_must_agree_and_something_must_be_added() -> None:
    with pytest.raises(ValueError, match=r"predicted has shape \(1, 2\), target \(1, 3\)"):
        Overlap().add(torch.zeros(1, 2).bool(), torch.zeros(1, 3).bool())
    with pytest.raises(ValueError, match="no image was added"):
        Overlap().jaccard()


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 40), st.floats(0, 1))
def test_as_scikit_learn(seed: int, images: int, pixels: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    predicted, target = rng.random((2, images, pixels)) < density
    counts = Overlap()
    for batch in np.array_split(np.arange(images), 2):  # in two batches, of which one may be empty
        counts.add(torch.from_numpy(predicted[batch]), torch.from_numpy(target[batch]))
    flat = target.ravel(), predicted.ravel()
    assert counts.jaccard() == pytest.approx(jaccard_score(*flat, zero_division=1))
    assert counts.dice() == pytest.approx(f1_score(*flat, zero_division=1))
    each = [jaccard_score(t, p, zero_division=1) for t, p in zip(target, predicted, strict=True)]
    assert counts.mean_image_jaccard() == pytest.approx(np.mean(each))
