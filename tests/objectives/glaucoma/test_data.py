"""Splits of photographs: stratified, by patient, as the file says; the same from files and from the generator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from objectives.glaucoma.data import Screening, load, load_folder
from objectives.glaucoma.generator import generate
from tests.objectives.glaucoma.test_files import write_table

SMALL = {"images": 100, "image_size": 16, "prevalence": 0.2}
MADE = generate(40, 16, 0.25, 3)


def write(root: Path, extra: dict[str, list[Any]] | None = None, labels: str = "labels.csv") -> Path:
    """MADE as files, with more columns."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    for index, pixels in enumerate(MADE.images):
        Image.fromarray(pixels).save(root / "images" / f"{index}.png")
    more = extra or {}
    rows = zip(range(40), np.where(MADE.labels, "RG", "NRG"), *more.values(), strict=True)
    write_table(root / labels, list(rows), ("file", "label", *more))
    return root


def files_in(dataset: Screening, rows: torch.Tensor) -> list[int]:
    """Which of MADE the rows are, found by their pixels."""
    shown = {pixels.tobytes(): index for index, pixels in enumerate(MADE.images)}
    return [shown[dataset.images[row].permute(1, 2, 0).contiguous().numpy().tobytes()] for row in rows]


def test_files_and_their_classes(tmp_path: Path) -> None:
    dataset = load(write(tmp_path), 16, val_fraction=0.25, test_fraction=0.25)
    assert dataset.images.shape == (40, 3, 16, 16)
    assert dataset.images.dtype == torch.uint8
    assert dataset.labels.dtype == dataset.mean.dtype == torch.float32
    assert dataset.test is not None
    found = [files_in(dataset, rows) for rows in (dataset.train, dataset.val, dataset.test)]
    assert sorted(index for part in found for index in part) == list(range(40))
    assert all(abs(len(part) - n) <= 1 for part, n in zip(found, (20, 10, 10), strict=True))
    for part, rows in zip(found, (dataset.train, dataset.val, dataset.test), strict=True):
        assert dataset.labels[rows].tolist() == MADE.labels[part].astype(float).tolist()
        assert MADE.labels[part].mean() == pytest.approx(0.25, abs=0.06)


def test_a_column_of_splits_wins(tmp_path: Path) -> None:
    splits = ["test" if index % 4 == 0 else "train" for index in range(40)]
    dataset = load(write(tmp_path, {"split": splits}), 16, val_fraction=0.2, test_fraction=0.5)
    assert dataset.test is not None
    assert files_in(dataset, dataset.test) == list(range(0, 40, 4))
    assert len(dataset.val) == 6
    assert not {*files_in(dataset, dataset.train)} & {*files_in(dataset, dataset.val)}


def test_patients_stay_together(tmp_path: Path) -> None:
    patients = [f"p{index // 3}" for index in range(40)]
    dataset = load(write(tmp_path, {"patient": patients}), 16, val_fraction=0.3, test_fraction=0.2)
    assert dataset.test is not None
    sides = [{patients[index] for index in files_in(dataset, rows)}
             for rows in (dataset.train, dataset.val, dataset.test)]  # fmt: skip
    assert not (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])


def test_a_patient_in_two_splits_is_refused(tmp_path: Path) -> None:
    extra = {"patient": [f"p{index // 3}" for index in range(40)], "split": ["train"] * 20 + ["val"] * 20}
    with pytest.raises(ValueError, match=r"patient p6 is in train and in val; expected each in one split"):
        load(write(tmp_path, extra), 16)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_a_class_is_refused(tmp_path: Path, split: str) -> None:
    others = [name for name in ("train", "val", "test") if name != split]
    splits = [split if not label and index % 2 else others[index % 4 // 2] for index, label in enumerate(MADE.labels)]
    with pytest.raises(ValueError, match=rf"none of the \d+ {split} samples is of class RG; expected some of each"):
        load(write(tmp_path, {"split": splits}), 16)


def test_generated_photographs_are_tested_on_others() -> None:
    dataset = load(**SMALL, seed=3, val_fraction=0.3)
    assert dataset.test is not None
    assert (len(dataset.train), len(dataset.val), len(dataset.test)) == (70, 30, 30)  # as many as validation
    assert [int(dataset.labels[rows].sum()) for rows in (dataset.train, dataset.val, dataset.test)] == [14, 6, 6]
    made = generate(100, 16, 0.2, 3)
    np.testing.assert_array_equal(dataset.images[:100].permute(0, 2, 3, 1).numpy(), made.images)
    seen = {pixels.tobytes() for pixels in made.images}
    assert not seen & {image.permute(1, 2, 0).contiguous().numpy().tobytes() for image in dataset.images[100:]}
    assert len(load(**SMALL, seed=3, test_fraction=0.5).test) == 50  # type: ignore[arg-type]


def test_data_are_loaded_once_and_drawn_by_their_seed() -> None:
    first = load(**SMALL, seed=1)
    assert load(**SMALL, seed=1) is first
    again = load.__wrapped__(**SMALL, seed=1)
    assert torch.equal(again.images, first.images)
    assert torch.equal(again.val, first.val)
    assert not torch.equal(load(**SMALL, seed=2).images, first.images)


def test_colours_are_measured_on_the_training_images() -> None:
    dataset = load(**SMALL, seed=1)
    scaled = dataset.images[dataset.train].double() / 255
    torch.testing.assert_close(dataset.mean.double(), scaled.mean((0, 2, 3)), atol=1e-7, rtol=0)
    torch.testing.assert_close(dataset.std.double(), scaled.std((0, 2, 3), correction=0), atol=1e-7, rtol=0)


def test_a_colour_that_is_the_same_everywhere_is_not_divided_by(tmp_path: Path) -> None:
    write(tmp_path)
    for index, pixels in enumerate(MADE.images):
        Image.fromarray(pixels * np.array([1, 1, 0], np.uint8)).save(tmp_path / "images" / f"{index}.png")
    dataset = load(tmp_path, 16)
    assert dataset.mean[2] == 0
    assert dataset.std[2] == 1


def test_the_summary_counts(tmp_path: Path) -> None:
    write(tmp_path, {"split": ["train"] * 20 + ["val"] * 10 + ["test"] * 10})
    with (tmp_path / "labels.csv").open("a") as table:
        table.write("gone,U,train\n")
    Image.fromarray(MADE.images[0]).save(tmp_path / "images" / "extra.png")
    counts = [(len(part), int(part.sum())) for part in (MADE.labels[:20], MADE.labels[20:30], MADE.labels[30:])]
    parts = [f"{name} {n} images, {p} positive ({p / n:.2%})" for name, (n, p) in
             zip(("train", "val", "test"), counts, strict=True)]  # fmt: skip
    assert load(tmp_path, 16, ignore_extra=True).summary == (
        f"{tmp_path}, 16 x 16 pixels: {'; '.join(parts)}; 1 ungradable, dropped; 1 without a row in the CSV, left out"
    )
    assert load(**SMALL).summary == (
        "generated photographs, 16 x 16 pixels: train 80 images, 16 positive (20.00%); val 20 images, 4 positive "
        "(20.00%); test 20 images, 4 positive (20.00%)"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_size": 8}, r"image_size is 8; expected a whole number of pixels, at least 16"),
        ({"image_size": "64"}, r"image_size is '64'; expected a whole number"),
        ({"val_fraction": 1.0}, r"val_fraction is 1.0; expected a number from 0 to below 1"),
        ({"val_fraction": 0.0}, r"generated photographs: of 100 samples nothing is left to compare trials by"),
        ({"prevalence": 0.01}, r"generated photographs: none of the \d+ val samples is of class RG"),
        ({"prevalence": 1}, r"prevalence is 1; expected a number between 0 and 1"),
        ({"images": 0}, r"images is 0; expected a whole number of at least 2"),
        ({"test_fraction": 0.001}, r"photographs to test on \(test_fraction 0.001\): images is 0; expected a whole"),
        ({"root": Path("nowhere")}, r"nowhere does not exist; expected a folder with images and a CSV"),
    ],
)
def test_arguments_out_of_range(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**(SMALL | changed))


def test_a_held_out_folder_is_its_test_split_or_all_of_it(tmp_path: Path) -> None:
    images, labels, _ = load_folder(write(tmp_path / "all", labels="other.csv"), 16, labels="mine.csv")
    np.testing.assert_array_equal(images.permute(0, 2, 3, 1).numpy(), MADE.images)
    assert labels.tolist() == MADE.labels.astype(float).tolist()
    splits = ["test" if index >= 25 else "train" for index in range(40)]
    images, labels, _ = load_folder(write(tmp_path / "some", {"split": splits}), 16)
    assert len(images) == len(labels) == 15
    named = (("file", "file"), ("patient", "who"), ("split", "part"))  # of the study's table, which has more columns
    assert len(load_folder(tmp_path / "all", 16, columns=named)[0]) == 40
    assert len(load_folder(write(tmp_path / "part", {"part": splits}), 16, columns=named)[0]) == 15
    with pytest.raises(ValueError, match=r"trained\S+ has no gradable image in split test"):
        load_folder(write(tmp_path / "trained", {"split": ["train"] * 40}), 16)
    splits = ["train" if label else "test" for label in MADE.labels]
    with pytest.raises(ValueError, match=r"none of the 30 test samples is of class RG"):
        load_folder(write(tmp_path / "healthy", {"split": splits}), 16)


def test_pneumonia_by_its_columns() -> None:
    root = Path(os.environ.get("HPO_TEST_DATA") or "unset") / "imbalanced_pneumoniamnist"
    if not root.is_dir():
        pytest.skip("HPO_TEST_DATA names no folder with imbalanced_pneumoniamnist (1,800 chest X-rays)")
    dataset = load(root, 28, columns=(("file", "file"), ("label", "label"), ("split", "split")))
    assert dataset.test is not None
    counts = [(len(rows), int(dataset.labels[rows].sum())) for rows in (dataset.train, dataset.val, dataset.test)]
    assert counts == [(1200, 120), (200, 40), (400, 100)]
    assert (dataset.images[:, :1] == dataset.images).all()  # grey
