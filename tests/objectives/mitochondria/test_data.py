"""Patches: cut exactly, split by slice in blocks, the same from files and from the generator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st

from objectives.mitochondria import data
from objectives.mitochondria.data import Patches, cut, load, load_folder, patches_per_slice, split_counts
from objectives.mitochondria.files import Slices
from objectives.mitochondria.generator import generate

SMALL = {"slices": 10, "height": 64, "width": 96, "patch_size": 32}


def ramp(n: int, height: int, width: int) -> Slices:
    """Every pixel of the images is told from its neighbours, the masks are the odd ones."""
    images = (np.arange(n * height * width) % 251).astype(np.uint8).reshape(n, height, width)
    return Slices(images, images % 2 == 1, tuple(f"slice {k}" for k in range(n)))


def write(root: Path, prefix: str, slices: Slices) -> None:
    root.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(root / f"{prefix}images.tif", slices.images, photometric="minisblack")
    tifffile.imwrite(root / f"{prefix}masks.tif", slices.masks.astype(np.uint8), photometric="minisblack")


def slices_from(patches: Patches, slices: Slices) -> list[int]:
    """Which of the slices the patches show, found by their pixels: 32 x 32 of 64 x 96, six a slice."""
    shown = {cut(Slices(slices.images[z : z + 1], slices.masks[z : z + 1], ("",)), 32, "").images.numpy().tobytes(): z
             for z in range(len(slices.names))}  # fmt: skip
    return [shown[part.numpy().tobytes()] for part in patches.images.split(6)]


def test_patches_are_aligned_from_the_top_left() -> None:
    slices = ramp(2, 40, 70)
    patches = cut(slices, 16, "here")
    assert patches.images.shape == patches.masks.shape == (2 * 2 * 4, 1, 16, 16)
    assert patches.images.dtype == torch.uint8
    assert patches.masks.dtype == torch.bool
    assert patches.slice_of.tolist() == [0] * 8 + [1] * 8
    np.testing.assert_array_equal(patches.images[0, 0], slices.images[0, :16, :16])
    np.testing.assert_array_equal(patches.images[1, 0], slices.images[0, :16, 16:32])
    np.testing.assert_array_equal(patches.images[15, 0], slices.images[1, 16:32, 48:64])
    np.testing.assert_array_equal(patches.masks[14, 0], slices.masks[1, 16:32, 32:48])


@given(
    n=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    rest=st.tuples(st.integers(0, 15), st.integers(0, 15)),
)
def test_patches_put_together_are_the_slices(n: int, rows: int, columns: int, rest: tuple[int, int]) -> None:
    slices = ramp(n, 16 * rows + rest[0], 16 * columns + rest[1])
    patches = cut(slices, 16, "here")
    assert len(patches.images) == n * patches_per_slice(*slices.images.shape[1:], 16) == n * rows * columns
    for tensor, whole in ((patches.images, slices.images), (patches.masks, slices.masks)):
        tiles = iter(tensor[:, 0].numpy())
        built = [np.block([[next(tiles) for _ in range(columns)] for _ in range(rows)]) for _ in range(n)]
        np.testing.assert_array_equal(np.stack(built), whole[:, : 16 * rows, : 16 * columns])


def test_165_slices_of_768_x_1024_are_1980_patches() -> None:
    assert 165 * patches_per_slice(768, 1024, 256) == 1980


@given(st.integers(1, 300), st.floats(0, 0.99), st.floats(0, 0.99))
def test_split_counts(slices: int, val_fraction: float, test_fraction: float) -> None:
    wanted = [max(1, round(slices * part)) if part else 0 for part in (val_fraction, test_fraction)]
    if sum(wanted) >= slices:
        with pytest.raises(ValueError, match=f"{slices} slices cannot be split: .* leaves none to train on"):
            split_counts(slices, val_fraction, test_fraction)
        return
    train, val, test = split_counts(slices, val_fraction, test_fraction)
    assert train + val + test == slices
    assert train >= 1
    assert (val >= 1) == (val_fraction > 0)
    assert (test >= 1) == (test_fraction > 0)
    assert abs(val - slices * val_fraction) <= 1
    assert abs(test - slices * test_fraction) <= 1


@pytest.fixture(scope="module")
def volume() -> Slices:
    return generate(10, 64, 96, seed=3)


@pytest.mark.parametrize(
    ("fractions", "train", "val", "test"),
    [
        ({}, range(8), range(8, 10), None),
        ({"val_fraction": 0.3, "test_fraction": 0.2}, range(5), range(5, 8), range(8, 10)),
        ({"val_fraction": 0.01, "test_fraction": 0.01}, range(8), range(8, 9), range(9, 10)),
    ],
)
def test_slices_are_split_in_blocks(
    tmp_path: Path, volume: Slices, fractions: dict[str, float], train: range, val: range, test: range | None
) -> None:
    write(tmp_path, "", volume)
    dataset = load(tmp_path, patch_size=32, **fractions)
    assert slices_from(dataset.train, volume) == list(train)
    assert slices_from(dataset.val, volume) == list(val)
    assert dataset.test is None if test is None else slices_from(dataset.test, volume) == list(test)
    assert dataset.val.slice_of.tolist() == [k for k in range(len(val)) for _ in range(6)]


def test_files_of_a_split_win(tmp_path: Path, volume: Slices) -> None:
    parts = {"train_": (0, 5), "val_": (5, 6), "test_": (6, 10)}
    for prefix, (first, end) in parts.items():
        write(tmp_path, prefix, Slices(volume.images[first:end], volume.masks[first:end], volume.names[first:end]))
    dataset = load(tmp_path, patch_size=32, val_fraction=0.4, test_fraction=0.4)
    assert slices_from(dataset.train, volume) == [0, 1, 2, 3, 4]
    assert slices_from(dataset.val, volume) == [5]
    assert dataset.test is not None
    assert slices_from(dataset.test, volume) == [6, 7, 8, 9]
    assert "not used" not in dataset.summary

    write(tmp_path, "", volume)
    dataset = load(tmp_path, patch_size=32, val_fraction=0.3)
    assert len(dataset.train.images) == 5 * 6
    assert dataset.summary.endswith("; images and masks of no split were not used")

    (tmp_path / "val_images.tif").unlink()
    (tmp_path / "val_masks.tif").unlink()
    dataset = load.__wrapped__(tmp_path, patch_size=32, val_fraction=0.3)
    assert slices_from(dataset.train, volume) == [0, 1, 2]  # 30 % of five, rounded to the even number
    assert slices_from(dataset.val, volume) == [3, 4]


def test_plain_images_train_where_only_the_others_have_files(tmp_path: Path, volume: Slices) -> None:
    write(tmp_path, "", volume)
    write(tmp_path / "val", "", Slices(volume.images[:3], volume.masks[:3], volume.names[:3]))
    dataset = load(tmp_path, patch_size=32, val_fraction=0)
    assert slices_from(dataset.train, volume) == list(range(10))
    assert slices_from(dataset.val, volume) == [0, 1, 2]


def test_generated_slices_are_split_in_blocks_and_tested_on_another_volume() -> None:
    dataset = load(**SMALL, seed=3, val_fraction=0.3)
    volume = generate(10, 64, 96, seed=3)
    assert slices_from(dataset.train, volume) == list(range(7))
    assert slices_from(dataset.val, volume) == [7, 8, 9]
    assert dataset.test is not None
    assert len(dataset.test.images) == 3 * 6  # as many as validation
    assert len(load(**SMALL, seed=3, val_fraction=0.3, test_fraction=0.5).test.images) == 5 * 6  # type: ignore[union-attr]
    seen = {part.numpy().tobytes() for split in (dataset.train, dataset.val) for part in split.images}
    assert not seen & {part.numpy().tobytes() for part in dataset.test.images}


def test_data_are_loaded_once_and_drawn_by_their_seed() -> None:
    first = load(**SMALL, seed=1)
    assert load(**SMALL, seed=1) is first
    again = load.__wrapped__(**SMALL, seed=1)
    assert torch.equal(again.train.images, first.train.images)
    assert torch.equal(again.test.masks, first.test.masks)  # type: ignore[union-attr]
    assert not torch.equal(load(**SMALL, seed=2).train.images, first.train.images)


def test_grey_levels_are_measured_on_the_training_patches() -> None:
    dataset = load(**SMALL, seed=1)
    scaled = dataset.train.images.double() / 255
    assert dataset.mean == pytest.approx(scaled.mean().item(), abs=1e-12)
    assert dataset.std == pytest.approx(scaled.std(correction=0).item(), abs=1e-12)


def test_the_summary_counts(tmp_path: Path) -> None:
    images, masks = ramp(5, 40, 70).images, np.zeros((5, 40, 70), bool)
    masks[0, :8, :16] = masks[4, 16:32, 16:20] = True
    write(tmp_path, "", Slices(images, masks, ("",) * 5))
    # 8 patches a slice, 32 of four; 8 x 16 of 32 x 256 pixels are 1.56 %, 16 x 4 of 8 x 256 are 3.12 %.
    assert load(tmp_path, patch_size=16).summary == (
        f"{tmp_path}: train 4 slices of 40 x 70, 32 patches of 16 x 16, 1.56% mitochondria, 31 patches without (left "
        "out of each slice: the last 8 rows and 6 columns); val 1 slice of 40 x 70, 8 patches of 16 x 16, 3.12% "
        "mitochondria, 7 patches without (left out of each slice: the last 8 rows and 6 columns)"
    )
    assert "left out" not in load(**SMALL).summary


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patch_size": 100}, r"patch_size is 100; expected a multiple of 16, .* Did you mean 96\?"),
        ({"patch_size": 0}, r"patch_size is 0; .* Did you mean 16\?"),
        ({"patch_size": "32"}, r"patch_size is '32'; expected a whole number"),
        ({"patch_size": 96}, r"generated slices, train: slices are 64 x 96 pixels, smaller than a patch .* at most 64"),
        ({"val_fraction": 1.0}, r"val_fraction is 1.0; expected a number from 0 to below 1"),
        ({"val_fraction": "0.2"}, r"val_fraction is '0.2'; expected a number"),
        ({"test_fraction": -0.1}, r"test_fraction is -0.1; expected a number from 0 to below 1"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, r"val_fraction 0.5 and test_fraction 0.5 leave nothing to train"),
        ({"val_fraction": 0}, r"val_fraction is 0; expected more for generated slices"),
        ({"slices": 1}, r"1 slices cannot be split: val_fraction 0.2 takes 1 and test_fraction 0.0 takes 0, which"),
        ({"slices": "16"}, r"slices is '16'; expected a whole number of at least 1"),
        ({"height": 20}, r"height is 20; expected a whole number of at least 32"),
        ({"seed": -1}, r"seed is -1; expected a whole number"),
        ({"root": Path("nowhere") / "at all"}, r"nowhere.at all does not exist; expected a folder with images and"),
    ],
)
def test_arguments_out_of_range(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**(SMALL | changed))


def test_folders_that_cannot_be_split(tmp_path: Path, volume: Slices) -> None:
    write(tmp_path / "held", "test_", volume)
    with pytest.raises(ValueError, match=r"held has test images only; expected train_images or images to train on"):
        load(tmp_path / "held", patch_size=32)
    write(tmp_path / "plain", "", volume)
    with pytest.raises(ValueError, match=r"val_fraction is 0 and .*plain has no val_images; expected one of them"):
        load(tmp_path / "plain", patch_size=32, val_fraction=0)
    with pytest.raises(ValueError, match=r"plain, train: slices are 64 x 96 pixels, smaller than a patch of 128 x 128"):
        load(tmp_path / "plain", patch_size=128)
    write(tmp_path / "tiny", "", ramp(4, 12, 12))
    with pytest.raises(ValueError, match=r"tiny, train: slices are 12 x 12 pixels, .* expected at least 16 pixels"):
        load(tmp_path / "tiny", patch_size=16)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_mitochondria_is_refused(tmp_path: Path, split: str, volume: Slices) -> None:
    masks = volume.masks.copy()
    masks[{"train": slice(0, 6), "val": slice(6, 8), "test": slice(8, 10)}[split]] = False
    write(tmp_path, "", Slices(volume.images, masks, volume.names))
    with pytest.raises(ValueError, match=rf", {split}: none of the \d+ patches of \d slices shows a mitochondrion, so"):
        load(tmp_path, patch_size=32, test_fraction=0.2)


def test_training_slices_of_one_grey_level_are_refused(tmp_path: Path, volume: Slices) -> None:
    images = volume.images.copy()
    images[:8] = 128
    write(tmp_path, "", Slices(images, volume.masks, volume.names))
    with pytest.raises(ValueError, match="the train patches are of one grey level"):
        load(tmp_path, patch_size=32)


def test_a_held_out_folder_is_its_test_split_or_all_of_it(tmp_path: Path, volume: Slices) -> None:
    write(tmp_path, "", volume)
    assert slices_from(load_folder(tmp_path, 32), volume) == list(range(10))
    write(tmp_path, "test_", Slices(volume.images[4:6], volume.masks[4:6], volume.names[4:6]))
    assert slices_from(load_folder(tmp_path, 32), volume) == [4, 5]
    write(tmp_path / "trained", "train_", volume)
    with pytest.raises(ValueError, match=r"trained has train or val images only; expected test_images with test_masks"):
        load_folder(tmp_path / "trained", 32)
    masks = np.zeros((2, 64, 100), bool)
    masks[:, :, 96:] = True  # right of the last patch
    write(tmp_path / "outside", "", Slices(ramp(2, 64, 100).images, masks, ("", "")))
    with pytest.raises(ValueError, match=r"outside, no split: none of the 12 patches of 2 slices shows"):
        load_folder(tmp_path / "outside", 32)
    with pytest.raises(ValueError, match=r"patch_size is 33; .* Did you mean 32\?"):
        load_folder(tmp_path, 33)


def test_a_threshold_reaches_the_files(tmp_path: Path, volume: Slices) -> None:
    write(tmp_path, "", volume)
    smoothed = np.where(volume.masks, 255, 0).astype(np.uint8)
    smoothed[:, 0] = 60
    tifffile.imwrite(tmp_path / "masks.tif", smoothed, photometric="minisblack")
    with pytest.raises(ValueError, match="3 different values"):
        load(tmp_path, patch_size=32)
    assert slices_from(load(tmp_path, patch_size=32, mask_threshold=0.5).train, volume) == list(range(8))
    assert slices_from(load_folder(tmp_path, 32, 0.5), volume) == list(range(10))


def test_the_drosophila_ventral_nerve_cord() -> None:
    root = Path(os.environ.get("HPO_TEST_DATA") or "unset") / "em_mitochondria_vnc"
    if not root.is_dir():
        pytest.skip("HPO_TEST_DATA names no folder with em_mitochondria_vnc (14 + 6 real slices)")
    train, test = data.read_split(root, "train"), load_folder(root, 256)
    assert train is not None
    patches = cut(train, 256, "train")
    assert len(patches.images) == 168
    assert int((~patches.masks.flatten(1).any(1)).sum()) == 30
    assert patches.masks.float().mean().item() == pytest.approx(0.0569, abs=5e-5)
    assert len(test.images) == 72
    assert test.masks.float().mean().item() == pytest.approx(0.0514, abs=5e-5)
    dataset = load(root)
    assert (len(dataset.train.images), len(dataset.val.images)) == (11 * 12, 3 * 12)
    assert dataset.test is not None
    assert len(dataset.test.images) == 72


def test_split_csv_says_the_split_of_each_slice(tmp_path: Path, volume: Slices) -> None:
    """Slices that it lists as test never train."""
    write(tmp_path, "", volume)
    splits = ["test", "train", "training", "train", "val", "train", "train", "Val", "test", "train"]
    rows = [f"{page},{split}" for page, split in enumerate(splits, start=1)]
    (tmp_path / "split.csv").write_text("\n".join(["page,split", *rows]))
    found = load(tmp_path, 32)
    assert slices_from(found.train, volume) == [1, 2, 3, 5, 6, 9]
    assert slices_from(found.val, volume) == [4, 7]
    assert found.test is not None
    assert slices_from(found.test, volume) == [0, 8]
    assert slices_from(load_folder(tmp_path, 32), volume) == [0, 8]
    for text, message in (
        ("page,split\n11,test\n", r"line 2: there is no slice 11; expected one of images.tif page 1"),
        ("page,split\n1,tset\n", r"line 2: split 'tset' is not known; .* Did you mean 'test'\?"),
        ("page,split\n1,test\n", r"has no row for images.tif page 2 and 8 more; expected the split of every slice"),
        ("name,fold\n1,test\n", r"has no column file or image or slice or page and no split; it has name, fold"),
        ("\n".join(["page,split", *(f"{page},test" for page in range(1, 11))]), "has no slice of split train"),
    ):
        (tmp_path / "split.csv").write_text(text)
        load.cache_clear()
        with pytest.raises(ValueError, match=message):
            load(tmp_path, 32)
