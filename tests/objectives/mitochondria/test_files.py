"""Files of a user: each layout gives the same slices, and each mistake a sentence that names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from objectives.mitochondria.files import read_split, splits_in

Array = NDArray[Any]

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 48), dtype=np.uint8)
MASKS = np.zeros((3, 32, 48), bool)
MASKS[0, 4:9, 5:20] = MASKS[2, 20:, 40:] = True
BYTES = MASKS.astype(np.uint8) * 255


def write(path: Path, array: Array, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png":
        Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array, **({"photometric": "minisblack"} | options))


def write_stacks(root: Path, images: Array = IMAGES, masks: Array = BYTES, prefix: str = "") -> None:
    write(root / f"{prefix}images.tif", images)
    write(root / f"{prefix}masks.tif", masks)


def write_folders(root: Path, images: str = "images/slice{}.png", masks: str = "masks/slice{}.png") -> None:
    for number, (image, mask) in enumerate(zip(IMAGES, BYTES, strict=True), start=8):  # 8, 9, 10: order by number
        write(root / images.format(number), image)
        write(root / masks.format(number), mask)


def assert_read(root: Path, split: str = "", **options: Any) -> tuple[str, ...]:
    slices = read_split(root, split, **options)
    assert slices is not None
    assert slices.images.dtype == np.uint8
    assert slices.masks.dtype == bool
    np.testing.assert_array_equal(slices.images, IMAGES)
    np.testing.assert_array_equal(slices.masks, MASKS)
    return slices.names


@pytest.mark.parametrize(
    ("split", "images", "masks"),
    [
        ("", "images.tif", "masks.tif"),
        ("", "images.tiff", "masks.TIF"),
        ("train", "train_images.tif", "train_masks.tif"),
        ("val", "val_images.tif", "val_masks.tif"),
        ("test", "test/images.tif", "test/masks.tif"),
    ],
)
def test_stacks(tmp_path: Path, split: str, images: str, masks: str) -> None:
    write(tmp_path / images, IMAGES)
    write(tmp_path / masks, BYTES)
    assert splits_in(tmp_path) == (split,)
    names = assert_read(tmp_path, split)
    assert names == tuple(f"{Path(images).name} page {page}" for page in (1, 2, 3))
    others = {"", "train", "val", "test"} - {split}
    assert all(read_split(tmp_path, other) is None for other in others)


@pytest.mark.parametrize(
    ("split", "images", "masks"),
    [
        ("", "images/slice{}.png", "masks/slice{}.png"),
        ("", "images/slice{}.png", "masks/slice{}_mask.tif"),
        ("", "images/slice{}.TIF", "masks/slice{}-mask.PNG"),
        ("train", "train_images/slice{}.png", "train_masks/slice{}.png"),
        ("val", "val/images/slice{}.png", "val/masks/slice{}.png"),
    ],
)
def test_folders_in_the_order_of_their_numbers(tmp_path: Path, split: str, images: str, masks: str) -> None:
    write_folders(tmp_path, images, masks)
    (tmp_path / images).parent.joinpath(".DS_Store").write_bytes(b"of a file manager")
    (tmp_path / images).parent.joinpath("notes.txt").write_text("not an image")
    names = assert_read(tmp_path, split)
    assert names == tuple(f"slice{number}{Path(images).suffix}" for number in (8, 9, 10))


def test_a_name_comes_before_the_same_name_with_a_number(tmp_path: Path) -> None:
    for name in ("a2", "a10", "b1", "a"):
        write(tmp_path / "images" / f"{name}.png", IMAGES[0])
        write(tmp_path / "masks" / f"{name}.png", BYTES[0])
    slices = read_split(tmp_path, "")
    assert slices is not None
    assert slices.names == ("a.png", "a2.png", "a10.png", "b1.png")


@pytest.mark.parametrize(
    "masks", [BYTES, MASKS, MASKS.astype(np.uint8), MASKS.astype(np.float32), MASKS.astype(np.int16) + 1, BYTES // 2]
)
def test_masks_of_two_values(tmp_path: Path, masks: Array) -> None:
    write_stacks(tmp_path, masks=masks)
    assert_read(tmp_path)


def test_masks_of_one_bit_stand_beside_masks_of_eight(tmp_path: Path) -> None:
    write_folders(tmp_path)
    write(tmp_path / "masks" / "slice10.png", MASKS[2])
    with Image.open(tmp_path / "masks" / "slice10.png") as mask:
        assert mask.mode == "1"
    assert_read(tmp_path)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"metadata": None}, {"tile": (16, 16)}])
def test_ways_of_storing_a_stack(tmp_path: Path, compression: str | None, options: dict[str, Any]) -> None:
    write(tmp_path / "images.tif", IMAGES, compression=compression, **options)
    write(tmp_path / "masks.tif", BYTES, compression=compression, **options)
    assert_read(tmp_path)


def test_pages_written_one_by_one_and_a_stack_of_imagej(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "images.tif") as stack:  # each page becomes a series of its own
        for page in IMAGES:
            stack.write(page)
    tifffile.imwrite(tmp_path / "masks.tif", BYTES, imagej=True, metadata={"axes": "ZYX"})
    assert_read(tmp_path)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (np.array([1000, 1100, 2020], np.uint16), [0, 25, 255]),  # (100 / 1020) 255 = 25
        (np.array([-1.0, 0.0, 3.0], np.float32), [0, 64, 255]),  # 255 / 4 = 63.75
        (np.array([-128, 0, 127], np.int8), [0, 128, 255]),
        (np.array([0, 2**40, 2**41], np.int64), [0, 128, 255]),  # 127.5 to the even number
        (np.array([7, 8, 200], np.uint8), [7, 8, 200]),  # bytes stay as they are
    ],
)
def test_grey_levels_are_scaled_from_the_whole_stack(tmp_path: Path, images: Array, expected: list[int]) -> None:
    stack = np.broadcast_to(images[:, None, None], (3, 32, 48)).copy()
    write_stacks(tmp_path, images=stack)
    slices = read_split(tmp_path, "")
    assert slices is not None
    assert slices.images[:, 0, 0].tolist() == expected
    assert all(len(np.unique(page)) == 1 for page in slices.images)


def test_colours_become_luminance(tmp_path: Path) -> None:
    colour = np.zeros((3, 32, 48, 3), np.uint8)
    colour[0, ..., 0] = colour[1, ..., 1] = colour[2, ..., 2] = 200
    write(tmp_path / "images.tif", colour, photometric="rgb")
    write(tmp_path / "masks.tif", BYTES)
    slices = read_split(tmp_path, "")
    assert slices is not None
    assert slices.images[:, 0, 0].tolist() == [60, 117, 23]  # 200 x (0.299, 0.587, 0.114)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_images_and_masks_may_have_channels_and_palettes(tmp_path: Path, mode: str) -> None:
    for number, (image, mask) in enumerate(zip(IMAGES, BYTES, strict=True)):
        for role, page in (("images", image), ("masks", mask)):
            (tmp_path / role).mkdir(exist_ok=True)
            Image.fromarray(page).convert(mode).save(tmp_path / role / f"{number}.png")
    assert_read(tmp_path)


def test_channels_in_planes(tmp_path: Path) -> None:
    planes = np.repeat(IMAGES[:, None], 3, axis=1)
    write(tmp_path / "images.tif", planes, photometric="rgb", planarconfig="separate")
    write(tmp_path / "masks.tif", np.repeat(BYTES[..., None], 3, axis=3), photometric="rgb")
    assert_read(tmp_path)


def test_16_bit_png(tmp_path: Path) -> None:
    write_folders(tmp_path)
    for path, page in zip(sorted((tmp_path / "images").iterdir()), (IMAGES[2], IMAGES[0], IMAGES[1]), strict=True):
        Image.fromarray(page.astype(np.uint16) * 257).save(path)  # 257 x 255 = 65535
    assert_read(tmp_path)


def test_a_threshold_takes_masks_of_any_values(tmp_path: Path) -> None:
    smoothed = np.where(MASKS, 200, 0).astype(np.uint8)
    smoothed[0, 4, 5:20] = 101
    smoothed[1, 0, 0] = 100  # not above half of 200
    write_stacks(tmp_path, masks=smoothed)
    assert_read(tmp_path, mask_threshold=0.5)
    instances = MASKS.astype(np.uint16)
    instances[2] *= 300
    write_stacks(tmp_path, masks=instances)
    assert_read(tmp_path, mask_threshold=0)


# What is wrong, how the folder comes to be so, and what the message says.

Break = Callable[[Path], None]


def nan(root: Path) -> None:
    images = IMAGES.astype(np.float32)
    images[1, 2, 3] = np.nan
    images[1, 2, 4] = np.inf
    write_stacks(root, images=images)


def cut_short(fraction: float, **options: Any) -> Break:
    def apply(root: Path) -> None:
        write_stacks(root)
        write(root / "images.tif", IMAGES, **options)
        whole = (root / "images.tif").read_bytes()
        (root / "images.tif").write_bytes(whole[: int(len(whole) * fraction)])

    return apply


def odd_page(root: Path) -> None:
    write_stacks(root)
    with tifffile.TiffWriter(root / "images.tif") as stack:
        for page in (IMAGES[0], IMAGES[1], IMAGES[2, :16]):
            stack.write(page, photometric="minisblack", metadata=None)


def folders_and(name: str, content: Array | bytes | None) -> Break:
    """Good folders with one file more, changed, or (None) gone."""

    def apply(root: Path) -> None:
        write_folders(root)
        if content is None:
            (root / name).unlink()
        elif isinstance(content, bytes):
            (root / name).write_bytes(content)
        else:
            write(root / name, content)

    return apply


def stacks(prefix: str = "", **arrays: Array) -> Break:
    return lambda root: write_stacks(root, prefix=prefix, **arrays)


def files(*names: str) -> Break:
    def apply(root: Path) -> None:
        for name in names:
            write(root / name, BYTES if "mask" in name else IMAGES)

    return apply


def stack_and_folder(root: Path) -> None:
    write_folders(root)
    write(root / "masks.tif", BYTES)
    for path in (root / "masks").iterdir():
        path.unlink()
    (root / "masks").rmdir()


def emptied(root: Path) -> None:
    write_folders(root)
    for path in (root / "images").iterdir():
        path.rename(path.with_suffix(".bmp"))


def hyperstack(root: Path) -> None:
    write_stacks(root)
    tifffile.imwrite(root / "images.tif", np.stack([IMAGES] * 2, axis=1), imagej=True, metadata={"axes": "ZCYX"})


def coloured(root: Path) -> None:
    write_stacks(root)
    write(root / "masks.tif", np.stack([BYTES, BYTES, BYTES * 0], axis=-1), photometric="rgb")


SMOOTHED = np.where(MASKS, 255, 0).astype(np.uint8)
SMOOTHED[0, 4, 5:9] = 40, 90, 140, 190

WRONG: dict[str, tuple[Break, str, str]] = {
    "empty folder": (lambda root: None, "", r" is empty; expected images.tif with masks.tif, or a folder images with"),
    "no layout": (files("image.tif", "mask.tif"), "", r" holds image.tif, mask.tif; .* Should 'image.tif' be 'images"),
    "one folder too high": (files("vnc/images.tif", "vnc/masks.tif"), "", r" holds vnc; .* Did you mean its folder 'v"),
    "no masks": (files("train_images.tif"), "train", r"train_images.tif is there, but no train_masks.tif beside it;"),
    "mask misspelt": (files("images.tif", "mask.tif"), "", r"images.tif is there, but no masks.tif .* mean 'mask.tif'"),
    "no images": (files("masks.tif"), "", r"masks.tif is there, but no images.tif beside it; expected both"),
    "folder without masks": (files("images/1.tif"), "", r"images is there, but no masks beside it"),
    "two places": (files("images.tif", "images.tiff", "masks.tif"), "", r"images.tif and .*images.tiff are both there"),
    "stack and folder": (stack_and_folder, "", r"masks.tif is a stack and .*images a folder; expected two stacks or"),
    "folder without images": (emptied, "", r"images holds slice8.bmp, slice9.bmp, slice10.bmp; expected a PNG or TIF"),
    "pages": (stacks(masks=BYTES[:2]), "", r"images.tif has 3 pages and .*masks.tif 2; expected a mask for each image"),
    "sizes": (stacks(masks=BYTES[:, :16]), "", r"slices of 32 x 48 and .* of 16 x 48 pixels \(images.tif page 1 and m"),
    "size of a page": (odd_page, "", r"images.tif: page 1 is 32 x 48 and images.tif page 3 16 x 48; expected pages of"),
    "size in a folder": (
        folders_and("images/slice9.png", IMAGES[1, :16]), "",
        r"slice9.png is 16 x 48 pixels of uint8 and slice8.png 32 x 48 of uint8; expected slices of one size and type",
    ),
    "type in a folder": (
        folders_and("images/slice9.png", IMAGES[1].astype(np.uint16)), "", r"slice9.png is 32 x 48 pixels of uint16",
    ),
    "mask gone": (folders_and("masks/slice9.png", None), "", r"slice9.png has no mask in .*masks; .* mean 'slice8'"),
    "image gone": (folders_and("images/slice9.png", None), "", r"masks.slice9.png has no image in .*images\. Did you"),
    "twice": (folders_and("images/slice9.tif", IMAGES[1]), "", r"images has slice9.png and slice9.tif; expected one"),
    "stack in a folder": (files("images/a.tif", "masks/a.tif"), "", r"a.tif has 3 pages; expected one slice a file"),
    "no TIFF": (folders_and("masks/slice9.png", b"nothing"), "", r"slice9.png cannot be read as an image \(.*whole\?"),
    "damaged PNG": (
        folders_and("images/slice9.png", b"\x89PNG\r\n\x1a\n" + bytes(40)), "", r"slice9.png cannot be read as an",
    ),
    "no bytes": (cut_short(0.0), "", r"images.tif cannot be read as TIFF \(not a TIFF file.*is the file whole\?"),
    "cut short": (cut_short(0.7), "", r"images.tif cannot be read as TIFF \(.*\); is the file whole\?"),
    "cut at a page": (cut_short(0.6, metadata=None), "", r"images.tif cannot be read as TIFF \(page 2 is missing\)"),
    "cut, compressed": (cut_short(0.6, compression="zlib"), "", r"images.tif cannot be read as TIFF \(page \d is mis"),
    "cut in the last page": (cut_short(0.95, compression="zlib"), "", r"images.tif cannot be read as TIFF \(.*whole"),
    "hyperstack": (hyperstack, "", r"images.tif has axes ZCYX of 3 x 2 x 32 x 48; expected one stack of grey slices"),
    "swapped": (stacks(images=BYTES, masks=IMAGES), "", r"images.tif has two values and .*masks.tif more: they look s"),
    "smoothed masks": (
        stacks(masks=SMOOTHED), "", r"masks.tif has 6 different values \(0, 40, ... 255\); expected two. .*mask_thresh",
    ),
    "coloured mask": (coloured, "", r"masks.tif page 1 is a mask in colour; expected grey levels of two values"),
    "no mitochondria": (stacks(masks=BYTES * 0), "", r"masks.tif: no pixel is a mitochondrion; expected masks with"),
    "nothing else": (stacks(masks=BYTES | 255), "", r"masks.tif: every pixel is a mitochondrion; expected masks with"),
    "NaN": (nan, "", r"images.tif: images.tif page 2 has 2 pixels that are NaN or infinite; expected none"),
    "one grey": (stacks(images=IMAGES * 0 + 9), "", r"images.tif: every pixel is 9; expected images with something"),
    "complex": (stacks(images=IMAGES.astype(np.complex64)), "", r"images.tif holds complex64 numbers; expected integ"),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "split", "message"), WRONG.values(), ids=WRONG)
def test_every_mistake_has_a_sentence(tmp_path: Path, spoil: Break, split: str, message: str) -> None:
    root = tmp_path / "data"
    root.mkdir()
    spoil(root)
    with pytest.raises(ValueError, match=message) as caught:
        read_split(root, split)
    assert str(caught.value).startswith(str(root))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "vnc").mkdir()
    with pytest.raises(ValueError, match=r"vcn does not exist; expected a folder .* Did you mean 'vnc'\?"):
        read_split(tmp_path / "vcn", "")
    (tmp_path / "images.tif").write_bytes(b"")
    with pytest.raises(ValueError, match=r"images.tif is a file; expected a folder"):
        read_split(tmp_path / "images.tif", "")
    with pytest.raises(ValueError, match=r"c does not exist"):
        read_split(tmp_path / "a" / "b" / "c", "")


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan"), "half"])
def test_a_threshold_out_of_its_range(tmp_path: Path, threshold: Any) -> None:
    write_stacks(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"mask_threshold is {threshold!r}; expected a number from 0 to")):
        read_split(tmp_path, "", mask_threshold=threshold)
