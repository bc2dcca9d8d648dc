"""What augmentation may change, and what it must not."""

from __future__ import annotations

import torch

from objectives.mitochondria.augmentation import augment


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def symmetries(image: torch.Tensor) -> list[torch.Tensor]:
    turned = [torch.rot90(image, k, (-2, -1)) for k in range(4)]
    return [*turned, *(one.flip(-1) for one in turned)]


def test_flips_are_the_eight_symmetries_and_the_mask_goes_along() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    images, masks = augment(image.repeat(400, 1, 1, 1), image.repeat(400, 1, 1, 1), draws(0), True, 0.0, 0.0)
    assert torch.equal(images, masks)
    seen = {tuple(one.flatten().tolist()) for one in images}
    assert seen == {tuple(one.flatten().tolist()) for one in symmetries(image)}
    shares = torch.stack([(images == one).flatten(1).all(1).float().mean() for one in symmetries(image)])
    assert shares.min() > 0.06  # each 1/8 = 0.125, within 4 standard deviations


def test_grey_levels_change_by_image_and_masks_do_not() -> None:
    torch.manual_seed(0)
    images = torch.randn(500, 1, 4, 4)
    masks = (images > 0).float()
    changed, same = augment(images, masks, draws(1), False, 0.1, 0.2)
    assert torch.equal(same, masks)
    shift = (changed.mean((1, 2, 3)) - images.mean((1, 2, 3))).std()
    stretch = changed.std((1, 2, 3)) / images.std((1, 2, 3))
    assert 0.08 < shift < 0.12
    assert stretch.min() > 0.8 - 1e-5
    assert stretch.max() < 1.2 + 1e-5
    assert stretch.max() - stretch.min() > 0.35


def test_nothing_is_drawn_where_nothing_is_asked() -> None:
    images = torch.randn(3, 1, 4, 4)
    changed, _ = augment(images, images, draws(0), False, 0.0, 0.0)
    assert torch.equal(changed, images)


def test_the_same_draws_give_the_same_patches() -> None:
    images = torch.randn(5, 1, 8, 8)
    first, again, other = (augment(images, images, draws(seed), True, 0.1, 0.2)[0] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
