"""Files of a user: each layout gives the same photographs, and each mistake a sentence that names it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from objectives.glaucoma import files
from objectives.glaucoma.files import Photographs, read

SIZE = 16
PIXELS = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
NAMES = ("eye1", "eye2", "eye3", "eye4")
ROWS = [("eye1.png", "RG"), ("eye2.png", "NRG"), ("eye3.png", "NRG"), ("eye4.png", "RG")]


def write_images(root: Path, names: Sequence[str] = NAMES, suffix: str = ".png", folder: str = "images") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, pixels in zip(names, PIXELS, strict=False):
        Image.fromarray(pixels).save(root / folder / f"{name}{suffix}")


def write_table(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = ("file", "label")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_images(tmp_path)
    write_table(tmp_path / "labels.csv", ROWS)
    return tmp_path


def assert_read(photographs: Photographs, order: Sequence[int] = (0, 1, 2, 3)) -> None:
    assert photographs.images.dtype == np.uint8
    np.testing.assert_array_equal(photographs.images, PIXELS[list(order)])
    assert photographs.labels.tolist() == [(True, False, False, True)[index] for index in order]


def fails(root: Path, message: str, **options: Any) -> None:
    """One sentence that names a file of the folder."""
    with pytest.raises(ValueError, match=message) as raised:
        read(root, SIZE, **options)
    assert str(root.name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_images_and_classes_in_the_order_of_the_csv(root: Path) -> None:
    photographs = read(root, SIZE)
    assert_read(photographs)
    assert photographs.names == ("eye1.png", "eye2.png", "eye3.png", "eye4.png")
    assert photographs.patients is photographs.splits is None
    assert photographs.ungradable == photographs.ignored == 0
    write_table(root / "labels.csv", [ROWS[index] for index in (2, 0, 3, 1)])
    assert_read(read(root, SIZE), (2, 0, 3, 1))


@pytest.mark.parametrize(
    "classes",
    [("RG", "NRG", "NRG", "RG"), ("1", "0", "0", "1"), ("1.0", "0.0", "0.0", "1.0"), ("rg", " nrg", "NRG", "RG ")],
)
def test_spellings_of_a_class(root: Path, classes: Sequence[str]) -> None:
    write_table(root / "labels.csv", [(name, label) for name, label in zip(NAMES, classes, strict=True)])
    assert_read(read(root, SIZE))


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (("challenge_id", "class"), {}),  # as AIROGS has them
        (("image", "class"), {}),
        (("file", "label"), {"file": "file", "label": "label"}),
        (("scan", "verdict"), {"file": "scan", "label": "verdict"}),
    ],
)
def test_columns_by_other_names(root: Path, header: Sequence[str], columns: dict[str, str]) -> None:
    write_table(root / "labels.csv", ROWS, header)
    assert_read(read(root, SIZE, columns=columns))


def test_the_csv_may_have_another_name(root: Path) -> None:
    (root / "labels.csv").rename(root / "train_labels.csv")
    assert_read(read(root, SIZE))
    write_table(root / "sizes.csv", [("eye1.png", 3)], ("file", "kilobytes"))
    fails(root, r"holds sizes.csv, train_labels.csv; expected labels.csv, one other CSV, or data.labels to name the")
    assert_read(read(root, SIZE, labels="train_labels.csv"))
    write_table(root / "tables" / "mine.csv", ROWS)
    assert_read(read(root, SIZE, labels="tables/mine.csv"))
    (root / "sizes.csv").unlink()
    (root / "train_labels.csv").unlink()
    fails(root, r"holds no CSV; expected labels.csv")
    fails(root, r"no.csv does not exist; expected a CSV with the columns file, label", labels="no.csv")


@pytest.mark.parametrize("named", ["{}", "{}.png", "images/{}.png", "./{}.png", "left/{}.png", "left\\{}", "left/{}"])
def test_names_with_and_without_folder_and_extension(tmp_path: Path, named: str) -> None:
    folder = "images/left" if "left" in named or named in ("{}", "{}.png") else "images"
    write_images(tmp_path, folder=folder)
    write_table(tmp_path / "labels.csv", [(named.format(name), row[1]) for name, row in zip(NAMES, ROWS, strict=True)])
    assert_read(read(tmp_path, SIZE))


def test_a_name_that_fits_two_images_needs_its_folder(root: Path) -> None:
    write_images(root, folder="images/right")
    fails(root, r"right.eye1.png and 3 more has no row in")
    for index, name in enumerate(NAMES):
        (root / "images" / f"{name}.png").rename(root / "images" / f"left{index}.png")
    write_images(root, folder="images/left")
    fails(root, r"line 2: eye1.png may be left.eye1.png and right.eye1.png in .*; expected the name with its folder")


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".PNG"])
def test_other_formats_without_loss(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path, suffix=suffix)
    write_table(tmp_path / "labels.csv", [(name, label) for name, (_, label) in zip(NAMES, ROWS, strict=True)])
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    (tmp_path / "images" / "._eye1.png").write_bytes(b"of a file manager")
    assert_read(read(tmp_path, SIZE))


def test_a_large_jpeg_gives_about_the_colours_of_the_photograph(tmp_path: Path) -> None:
    """It is decoded at a part of its size first."""
    side = np.linspace(0, 255, 640)
    smooth = np.stack(np.broadcast_arrays(side[:, None], side[None, :], 128), axis=-1).astype(np.uint8)
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.png"):
        Image.fromarray(smooth).save(tmp_path / "images" / name)
    write_table(tmp_path / "labels.csv", [("a", 1), ("b", 0)])
    jpeg, png = read(tmp_path, 32).images.astype(int)
    assert abs(jpeg - png).max() <= 4


def test_what_is_not_square_loses_both_ends(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    wide = np.zeros((SIZE, 3 * SIZE, 3), np.uint8)
    wide[:, SIZE : 2 * SIZE] = PIXELS[0]
    for name, pixels in (("wide.png", wide), ("tall.png", wide.swapaxes(0, 1))):
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    write_table(tmp_path / "labels.csv", [("wide", 1), ("tall", 0)])
    images = read(tmp_path, SIZE).images
    np.testing.assert_array_equal(images[0], PIXELS[0])
    np.testing.assert_array_equal(images[1], PIXELS[0].swapaxes(0, 1))


def test_larger_images_are_averaged_down(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.kron(PIXELS[0] // 2, np.array([[0, 2], [2, 0]])[..., None]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    Image.fromarray(np.kron(PIXELS[1], np.ones((2, 2, 1), np.uint8))).save(tmp_path / "images" / "b.png")
    write_table(tmp_path / "labels.csv", [("a", 1), ("b", 0)])
    checkered = read(tmp_path, SIZE).images[0].astype(int)
    resized = Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(checkered, np.asarray(resized))
    assert abs(checkered.mean() - (PIXELS[0] // 2).mean()) < 1


def grey(mode: str) -> Image.Image:
    image = Image.fromarray(PIXELS[0, ..., 0])
    if mode == "LA":
        image.putalpha(128)
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_other_modes_become_rgb(root: Path, mode: str) -> None:
    image = grey(mode)
    (root / "images" / "eye1.png").unlink()
    image.save(root / "images" / f"eye1.{'tif' if mode == 'CMYK' else 'png'}")
    write_table(root / "labels.csv", [("eye1", "RG"), *ROWS[1:]])
    found = read(root, SIZE).images[0]
    if mode != "1":
        np.testing.assert_array_equal(found, np.repeat(PIXELS[0, ..., :1], 3, axis=-1))
    assert (found == found[..., :1]).all()


def test_a_palette_with_transparency(root: Path) -> None:
    image = Image.fromarray(PIXELS[0]).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(root / "images" / "eye1.png", transparency=bytes(range(256)))
    assert read(root, SIZE).images.shape == (4, SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("name", "array"),
    [("png", PIXELS[0, ..., 0].astype(np.uint16) * 257), ("tif", PIXELS[0, ..., 0].astype(np.float32)),
     ("tif", PIXELS[0, ..., 0].astype(np.int32))],
)  # fmt: skip
def test_more_than_8_bits_are_refused(root: Path, name: str, array: Any) -> None:
    (root / "images" / "eye1.png").unlink()
    Image.fromarray(array).save(root / "images" / f"eye1.{name}")
    write_table(root / "labels.csv", [("eye1", "RG"), *ROWS[1:]])
    fails(root, rf"eye1.{name} has pixels of mode (I|F|I;16), more than 8 bits each; expected an image of 8 bits")


def test_16_bits_a_colour_become_8(root: Path) -> None:
    (root / "images" / "eye1.png").unlink()
    tifffile.imwrite(root / "images" / "eye1.tif", PIXELS[0].astype(np.uint16) * 256 + 99, photometric="rgb")
    write_table(root / "labels.csv", [("eye1", "RG"), *ROWS[1:]])
    assert_read(read(root, SIZE))


def test_ungradable_images_are_dropped_and_counted(root: Path) -> None:
    write_table(root / "labels.csv", [ROWS[0], ("eye2.png", "U"), ROWS[2], ("eye4.png", "u"), ("gone.png", "U")])
    (root / "images" / "eye4.png").write_bytes(b"unreadable, and nobody reads it")
    photographs = read(root, SIZE)
    assert_read(photographs, (0, 2))
    assert photographs.ungradable == 3
    write_table(root / "labels.csv", [(name, "U") for name, _ in ROWS])
    fails(root, r"labels.csv has no gradable image; expected rows of class RG and NRG, or 1 and 0")


def test_patients_and_splits(root: Path) -> None:
    header = ("file", "label", "patient_id", "split")
    added = [("p1", "train"), ("p1", "Training"), ("p2", "valid"), ("p3", "test")]
    write_table(root / "labels.csv", [(*row, *more) for row, more in zip(ROWS, added, strict=True)], header)
    photographs = read(root, SIZE)
    assert photographs.patients == ("p1", "p1", "p2", "p3")
    assert photographs.splits == ("train", "train", "val", "test")
    held_out = read(root, SIZE, only="test")
    assert_read(held_out, (3,))
    assert held_out.patients == ("p3",)
    write_table(root / "labels.csv", [(*row, "p1", "train") for row in ROWS], header)
    fails(root, r"labels.csv has no gradable image in split test", only="test")


def test_images_without_a_row(root: Path) -> None:
    write_table(root / "labels.csv", ROWS[:2])
    fails(root, r"images.eye3.png and 1 more has no row in \S+labels.csv; expected a row for each image, .* data.ig")
    photographs = read(root, SIZE, ignore_extra=True)
    assert_read(photographs, (0, 1))
    assert photographs.ignored == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("eye1.png", "RG"), ("eye2.png", "glaucoma")], r"labels.csv, line 3: class 'glaucoma' is not known"),
        ([("eye1.png", "2")], r"line 2: class '2' is not known; expected RG or 1 \(referable glaucoma\), NRG or 0"),
        ([("eye1.png", "")], r"line 2: the cell of column label is empty"),
        ([("", "RG")], r"line 2: the cell of column file is empty"),
        ([("eye1.png", "RG"), ("eye1.png", "NRG")], r"line 3: eye1.png stands there already in line 2"),
        ([("eye1.png", "RG"), ("eye1", "NRG")], r"line 3: eye1 is the image eye1.png of line 2; expected each"),
        (
            [*ROWS, ("eye5.png", "RG")],
            r"line 6: there is no image eye5.png in \S+images; expected such a file, or .* Did you mean 'eye",
        ),
        ([("eye7", "RG"), ("eye8", "RG")], r"there is no image eye7 .*\(2 of 2 are missing\); expected eye7.png"),
        (
            [("eye1.jpg", "RG")],
            r"no image eye1.jpg in \S+images; expected such a file, .* Did you mean 'eye1.png'\?",
        ),
        ([("notes.txt", "RG")], r"there is no image notes.txt in"),
    ],
)
def test_rows_that_do_not_fit(root: Path, rows: Sequence[Sequence[str]], message: str) -> None:
    write_table(root / "labels.csv", rows)
    fails(root, message)


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        (("file", "grade"), {}, r"labels.csv has no column label or class; it has file, grade. Expected data.col"),
        (("name", "label"), {}, r"labels.csv has no column file or image or challenge_id; it has name, label"),
        (("file", "label"), {"label": "labels"}, r"no column labels, .*Did you mean 'label'\?"),
        (("file", "label"), {"patient": "patient"}, r"no column patient, which data.columns names for patient"),
    ],
)
def test_columns_that_are_not_there(root: Path, header: Sequence[str], columns: dict[str, str], message: str) -> None:
    write_table(root / "labels.csv", ROWS, header)
    fails(root, message, columns=columns)


@pytest.mark.parametrize(
    ("header", "cell", "message"),
    [
        ("split", "held-out", r"labels.csv, line 2: split 'held-out' is not known; expected train, val or test"),
        ("split", "", r"line 2 and 3 more: the cell of column split is empty"),
        ("patient", "", r"line 2: there is no patient; expected one in every row, or no column of that name"),
    ],
)
def test_splits_and_patients_that_do_not_fit(root: Path, header: str, cell: str, message: str) -> None:
    write_table(root / "labels.csv", [(*row, cell) for row in ROWS], ("file", "label", header))
    fails(root, message)


def cut_short(path: Path) -> None:
    Image.fromarray(np.kron(PIXELS[0], np.ones((4, 4, 1), np.uint8))).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "suffix", "message"),
    [
        (lambda path: path.write_text("hello"), "png", r"cannot be read as an image \(.*\); is the file whole\?"),
        (lambda path: path.write_bytes(b""), "jpg", r"cannot be read as an image"),
        (cut_short, "png", r"cannot be read as an image \(.*truncated.*\); is the file whole"),
        (cut_short, "jpg", r"cannot be read as an image \(.*truncated.*\); is the file whole"),
        (cut_short, "tif", r"cannot be read as an image"),
        (
            lambda path: Image.fromarray(PIXELS[0][:12]).save(path),
            "png",
            r"is 16 x 12 pixels; expected at least 16 x 16, the image_size \(data.image_size: 12 would do\), or no row",
        ),
    ],
)
def test_images_that_cannot_be_used(root: Path, spoil: Callable[[Path], Any], suffix: str, message: str) -> None:
    (root / "images" / "eye2.png").unlink()
    spoil(root / "images" / f"eye2.{suffix}")
    write_table(root / "labels.csv", [ROWS[0], ("eye2", "NRG"), *ROWS[2:]])
    fails(root, rf"images.eye2.{suffix} {message}")


def test_all_images_that_cannot_be_used_are_counted(root: Path) -> None:
    for name in ("eye1.png", "eye3.png", "eye4.png"):
        (root / "images" / name).write_text("hello")
    fails(root, r"eye1.png cannot be read .* \(and 2 more that cannot be used: eye3.png, eye4.png\)")


def test_decoding_says_how_far_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read(root, SIZE)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(files, "SECONDS_BETWEEN_LINES", 0.0)
    read(root, SIZE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "decoded 4 of 4 images, about 0 minutes left"
    assert re.fullmatch(r"decoded 1 of 4 images, about \d+ minutes left", lines[0])


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "fundus").mkdir()
    fails(tmp_path / "fundas", r"does not exist; expected a folder with images and a CSV. Did you mean 'fundus'\?")
    (tmp_path / "a file").write_text("")
    fails(tmp_path / "a file", r"a file is a file; expected a folder")
    write_table(tmp_path / "fundus" / "labels.csv", ROWS)
    fails(tmp_path / "fundus", r"fundus.images does not exist; expected a folder with the images that labels.csv names")
