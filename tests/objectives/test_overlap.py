"""Overlap held to numbers counted by hand and to scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from objectives.metrics.overlap import dice, jaccard, mean_image_jaccard


def masks(*pairs: tuple[list[int], list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, pixels) each, from the predicted and the true pixels of n images."""
    predicted, target = zip(*pairs, strict=True)
    return torch.tensor(predicted).bool(), torch.tensor(target).bool()


def test_pooled_is_not_the_mean_of_images() -> None:
    pair = masks(([1] * 9 + [0], [1] * 10), ([1, 0] + [0] * 8, [0, 1] + [0] * 8))
    assert jaccard(*pair) == pytest.approx(9 / 12)
    assert mean_image_jaccard(*pair) == pytest.approx((0.9 + 0) / 2)


def test_an_empty_union_counts_as_one() -> None:
    # In the pooled counts it adds nothing, in the mean of images a 1.
    pair = masks(([0, 0], [0, 0]), ([1, 0], [0, 1]))
    assert (jaccard(*pair), mean_image_jaccard(*pair)) == (0, 0.5)


def test_probabilities_are_no_masks() -> None:
    """With p = 0.5 everywhere, a product of probabilities would find half of every object."""
    half, target = torch.full((1, 4), 0.5), torch.tensor([[1, 1, 0, 0]]).bool()
    with pytest.raises(ValueError, match=r"target is torch\.float32"):
        jaccard(target, target.float())
    assert jaccard(half > 0.5, target) == 0  # "above 0.5": exactly 0.5 is background


def test_by_hand() -> None:
    # First image: 1 pixel in both, 3 in either; second: none in both, 1 in either; third: empty.
    predicted = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]]).bool()
    target = torch.tensor([[[0, 1], [1, 0]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]]).bool()
    assert jaccard(predicted, target) == pytest.approx(1 / 4)
    assert dice(predicted, target) == pytest.approx(2 * 1 / (2 + 3))
    assert mean_image_jaccard(predicted, target) == pytest.approx((1 / 3 + 0 + 1) / 3)
    empty = torch.zeros(2, 3).bool()
    assert (jaccard(empty, empty), dice(empty, empty), mean_image_jaccard(empty, empty)) == (1, 1, 1)


@pytest.mark.parametrize("metric", [jaccard, dice, mean_image_jaccard])
def test_masks_that_do_not_fit_are_refused(metric: object) -> None:
    mask = torch.zeros(1, 4).bool()
    with pytest.raises(ValueError, match=r"predicted is torch\.float32; expected torch\.bool, such as probabilities"):
        metric(mask.float(), mask)
    with pytest.raises(ValueError, match=r"predicted has shape \(1, 4\), target \(1, 3\)"):
        metric(mask, mask[:, :3])
    with pytest.raises(ValueError, match="no image was given, so there is no overlap to measure"):
        metric(mask[:0], mask[:0])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 40), st.floats(0, 1))
def test_as_scikit_learn(seed: int, images: int, pixels: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    predicted, target = rng.random((2, images, pixels)) < density
    flat = target.ravel(), predicted.ravel()
    pair = torch.from_numpy(predicted), torch.from_numpy(target)
    assert jaccard(*pair) == pytest.approx(jaccard_score(*flat, zero_division=1))
    assert dice(*pair) == pytest.approx(f1_score(*flat, zero_division=1))
    each = [jaccard_score(t, p, zero_division=1) for t, p in zip(target, predicted, strict=True)]
    assert mean_image_jaccard(*pair) == pytest.approx(np.mean(each))
