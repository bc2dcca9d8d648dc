"""What augmentation does to a photograph, and how far it goes."""

from __future__ import annotations

import math

import pytest
import torch

from objectives.glaucoma.augmentation import augment, warp

ZERO, NO = torch.zeros(1), torch.tensor([False])


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image(size: int = 8) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=draws(0))


@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_a_quarter_turn(quarters: int) -> None:
    turned = warp(image(), torch.tensor([quarters * math.pi / 2]), ZERO, ZERO, NO)
    torch.testing.assert_close(turned, torch.rot90(image(), quarters, (-2, -1)), atol=1e-5, rtol=0)


def test_a_shift_by_whole_pixels_repeats_the_border() -> None:
    moved = warp(image(), ZERO, torch.tensor([2 / 8]), torch.tensor([-1 / 8]), NO)
    torch.testing.assert_close(moved[..., 2:, :-1], image()[..., :-2, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., 0, :], moved[..., 2, :], atol=1e-5, rtol=0)


def test_mirrored_then_turned_then_shifted() -> None:
    changed = warp(image(), torch.tensor([math.pi / 2]), torch.tensor([2 / 8]), ZERO, ~NO)
    expected = torch.rot90(image().flip(-1), 1, (-2, -1))
    torch.testing.assert_close(changed[..., 2:, :], expected[..., :-2, :], atol=1e-5, rtol=0)


def test_how_far_it_turns_and_shifts() -> None:
    """Measured by where a spot in the middle, and one beside it, come to lie."""
    size, n = 65, 300
    spots = torch.zeros(n, 2, size, size)
    spots[:, 0, 31:34, 31:34] = 1  # the middle
    spots[:, 1, 31:34, 51:54] = 1  # 20 to the right of it
    changed = augment(spots, draws(3), rotation=20.0, shift=0.1, brightness=0.0, flip=False)
    grid = torch.arange(size, dtype=torch.float32)
    mass = changed.sum((2, 3))
    y, x = (changed.sum(3) @ grid) / mass, (changed.sum(2) @ grid) / mass
    shifts = torch.stack([y[:, 0], x[:, 0]]) - 32
    assert shifts.abs().max() <= 6.5 + 0.05
    assert shifts.abs().max() > 6
    assert shifts.mean().abs() < 1
    angles = torch.atan2(y[:, 0] - y[:, 1], x[:, 1] - x[:, 0]).rad2deg()
    assert angles.abs().max() <= 20.2
    assert angles.max() > 18
    assert angles.min() < -18


def test_brightness_is_a_factor_that_stays_in_range() -> None:
    grey = torch.full((500, 3, 2, 2), 0.6)
    factors = augment(grey, draws(1), 0.0, 0.0, 0.3, False)[:, 0, 0, 0] / 0.6
    assert factors.min() >= 0.7 - 1e-6
    assert factors.max() <= 1.3 + 1e-6
    assert factors.max() - factors.min() > 0.55
    assert augment(torch.full((500, 3, 2, 2), 0.9), draws(1), 0.0, 0.0, 0.3, False).max() == 1.0


def test_half_of_them_are_mirrored() -> None:
    images = image().repeat(400, 1, 1, 1)
    changed = augment(images, draws(2), 0.0, 0.0, 0.0, True)
    mirrored = torch.isclose(changed, images.flip(-1), atol=1e-5).flatten(1).all(1)
    same = torch.isclose(changed, images, atol=1e-5).flatten(1).all(1)
    assert (mirrored | same).all()
    assert 0.4 < mirrored.float().mean() < 0.6


def test_nothing_is_changed_where_nothing_is_asked() -> None:
    assert torch.equal(augment(image(), draws(0), 0.0, 0.0, 0.0, False), image())


def test_the_same_draws_give_the_same_images() -> None:
    images = image().repeat(5, 1, 1, 1)
    first, again, other = (augment(images, draws(seed), 15.0, 0.1, 0.2, True) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    no_rotation = augment(images, draws(3), 0.0, 0.0, 0.2, False)
    factor = first[:, 0, 4, 4] / augment(images, draws(3), 15.0, 0.1, 0.0, True)[:, 0, 4, 4]
    torch.testing.assert_close(no_rotation[:, 0, 4, 4] / images[:, 0, 4, 4], factor)  # draws do not move
