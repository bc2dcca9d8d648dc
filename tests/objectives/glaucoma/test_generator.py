"""The made-up photographs: the same for the same seed, few positives, and nothing but the cup that tells them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from objectives.glaucoma.generator import eyes, generate, photograph


def test_shapes_types_and_names() -> None:
    made = generate(5, 24, 0.4, 0)
    assert made.images.shape == (5, 24, 24, 3)
    assert made.images.dtype == np.uint8
    assert made.labels.dtype == bool
    assert made.labels.sum() == 2
    assert made.names[4] == "generated photograph 5"
    assert made.patients is made.splits is None


def test_the_seed_decides_every_byte() -> None:
    first, again, other = generate(4, 32, 0.5, 5), generate(4, 32, 0.5, 5), generate(4, 32, 0.5, 6)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.labels.tobytes() == again.labels.tobytes()
    assert first.images.tobytes() != other.images.tobytes()


@given(st.integers(2, 3000), st.floats(0.001, 0.999), st.integers(0, 99))
def test_prevalence_is_met_exactly(images: int, prevalence: float, seed: int) -> None:
    positives = round(images * prevalence)
    if not 0 < positives < images:
        with pytest.raises(ValueError, match=f"are {positives} with glaucoma and {images - positives} without"):
            eyes(images, prevalence, seed)
        return
    labels, ratios = eyes(images, prevalence, seed)
    assert labels.sum() == positives
    assert ratios.min() > 0.1
    assert ratios.max() < 0.95


def test_the_classes_overlap_a_little() -> None:
    labels, ratios = eyes(20_000, 0.3, 1)
    assert roc_auc_score(labels, ratios) == pytest.approx(0.985, abs=0.005)
    assert ratios[labels].min() < ratios[~labels].max()
    assert np.median(ratios[labels]) == pytest.approx(0.75, abs=0.01)
    assert np.median(ratios[~labels]) == pytest.approx(0.42, abs=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_the_ratio_changes_the_disc_alone_and_makes_it_paler(seed: int) -> None:
    healthy, cupped = (photograph(64, ratio, np.random.default_rng(seed)).astype(int) for ratio in (0.3, 0.85))
    side = (np.arange(64) + 0.5) / 32 - 1
    outside = np.hypot(side[:, None], side[None, :]) > 1
    assert (healthy[outside] == cupped[outside]).all()
    blue = (cupped - healthy)[..., 2]  # the cup is whiter than its rim
    assert blue.sum() > 0


def test_no_other_cue_tells_the_classes() -> None:
    """What a shortcut would use, far from the disc: brightness, colour, noise."""
    made = generate(400, 24, 0.5, 2)
    corners = made.images[:, [0, 0, -1, -1], [0, -1, 0, -1]].astype(float)
    for cue in (corners.mean((1, 2)), corners[..., 0].mean(1) - corners[..., 2].mean(1), corners.std((1, 2))):
        assert abs(roc_auc_score(made.labels, cue) - 0.5) < 0.1  # more than 3 standard deviations


def test_photographs_differ_and_use_their_range() -> None:
    made = generate(40, 32, 0.5, 0)
    means = made.images.mean((1, 2, 3))
    assert means.std() > 10
    assert 60 < means.mean() < 140
    assert len({image.tobytes() for image in made.images}) == 40
    saturated = (made.images == 255).mean()
    assert saturated < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 32, 0.5, 0), "images is 1; expected a whole number of at least 2"),
        ((10, 8, 0.5, 0), "image_size is 8; expected a whole number of at least 16"),
        ((10, 32.0, 0.5, 0), "image_size is 32.0; expected a whole number"),
        ((10, 32, 0.5, -1), "seed is -1; expected a whole number of at least 0"),
        ((10, 32, 0.0, 0), "prevalence is 0.0; expected a number between 0 and 1"),
        ((10, 32, "3 %", 0), "prevalence is '3 %'; expected a number"),
        ((10, 32, 0.03, 0), r"10 images at a prevalence of 0.03 are 0 with .* and 10 without; .*at least 34 images"),
        ((10, 32, 0.98, 0), r"are 10 with glaucoma and 0 without; .*at least 50 images"),
    ],
)
def test_arguments_out_of_range(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*arguments)
