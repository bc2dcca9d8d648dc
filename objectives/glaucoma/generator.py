"""Made-up photographs of the optic disc, for when there are no files.

They are drawn after colour photographs of the fundus centred on the optic disc: the reddish retina with uneven light,
the pale disc with its paler cup, vessels that leave through the cup and run up and down; now and then what is easily
taken for something else: a pale crescent beside the disc, bright spots, a dark border, blur.

Only the cup differs between the classes: a wide one for its disc is glaucoma. Everything else (size and place of the
disc, colours, light, vessels, blur, noise) is drawn before the class is looked at, so that no other cue tells them
apart. The ratios of the classes overlap as they do in people: nobody can tell all of them apart either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from objectives.glaucoma.files import Photographs

Array = NDArray[Any]

# Mean and standard deviation of the vertical cup-to-disc ratio without and with glaucoma. About 0.7 is the 97.5th
# percentile of healthy eyes in surveys (Foster et al., "The definition and classification of glaucoma in prevalence
# surveys", 2002), here 0.67. Who knew the ratios exactly would have an AUC of 0.985.
RATIOS = {False: (0.42, 0.13), True: (0.75, 0.08)}
LEAST_RATIO, LARGEST_RATIO = 0.12, 0.94
SMALLEST = 16  # pixels; below, a cup is no longer round
FINER = 4  # vessels are drawn so many times larger, for smooth edges

RETINA, RIM, CUP = (0.70, 0.34, 0.17), (0.90, 0.60, 0.36), (1.00, 0.86, 0.62)
VESSEL = (0.72, 0.42, 0.38)  # what a vessel leaves of the colour under it


@dataclass(frozen=True)
class Disc:
    """An optic disc; lengths in halves of the image's side, whose middle is 0."""

    y: float
    x: float
    height: float  # half of it
    width: float
    tilt: float  # radians


def generate(images: int, image_size: int, prevalence: float, seed: int) -> Photographs:
    """Make up photographs, of which images x prevalence, rounded, have glaucoma.

    The same arguments give the same bytes. A photograph of 64 pixels takes about 2 milliseconds.

    Raises:
        ValueError: An argument is out of its range, or there is no photograph of a class.
    """
    for name, value, least in (("images", images, 2), ("image_size", image_size, SMALLEST), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")
    labels, ratios = eyes(images, prevalence, seed)
    pixels = np.empty((images, image_size, image_size, 3), np.uint8)
    for index, ratio in enumerate(ratios):
        pixels[index] = photograph(image_size, float(ratio), np.random.default_rng([seed, index]))
    names = tuple(f"generated photograph {index + 1}" for index in range(images))
    return Photographs(pixels, labels, names)


def eyes(images: int, prevalence: float, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Draw labels (n,), True for glaucoma, in random order, and the cup-to-disc ratio of each."""
    if not isinstance(prevalence, int | float) or not 0 < prevalence < 1:
        raise ValueError(f"prevalence is {prevalence!r}; expected a number between 0 and 1, such as 0.03")
    positives = round(images * prevalence)
    if not 0 < positives < images:
        least = int(np.ceil(1 / min(prevalence, 1 - prevalence)))
        raise ValueError(
            f"{images} images at a prevalence of {prevalence} are {positives} with glaucoma and {images - positives} "
            f"without; expected some of both (at least {least} images, or another prevalence)"
        )
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) < positives)
    draws = rng.standard_normal(images)
    means, deviations = (np.where(labels, RATIOS[True][k], RATIOS[False][k]) for k in (0, 1))
    return labels, np.clip(means + deviations * draws, LEAST_RATIO, LARGEST_RATIO)


def photograph(size: int, ratio: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an eye with that cup-to-disc ratio, (size, size, 3); all else is drawn from `rng`."""
    side = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    y, x = side[:, None], side[None, :]
    middle_y, middle_x = rng.normal(0, 0.09, 2).clip(-0.2, 0.2)
    height = rng.uniform(0.40, 0.56)
    disc = Disc(middle_y, middle_x, height, height * rng.uniform(0.85, 0.98), rng.normal(0, 0.15))

    image = np.empty((size, size, 3), np.float32)
    image[:] = np.array(RETINA) * rng.normal(1, 0.08, 3)
    image *= (1 + 0.10 * _patchy(rng, size, 5) + 0.05 * _patchy(rng, size, 12))[..., None]
    _crescent(image, y, x, disc, rng)
    _paint(image, np.array(RIM) * rng.normal(1, 0.04, 3), _inside(y, x, disc, 1.0, rng.uniform(0.03, 0.07)))
    _cup(image, y, x, disc, ratio, rng)
    _spots(image, y, x, rng)
    image *= 1 - _vessels(size, disc, rng)[..., None] * (1 - np.array(VESSEL, np.float32) * rng.uniform(0.85, 1.1))

    slope = rng.normal(0, 0.10, 2)
    light = rng.uniform(0.5, 1.0) * (1 + slope[0] * y + slope[1] * x - rng.uniform(0.0, 0.2) * (x**2 + y**2))
    border = rng.uniform(1.05, 1.9)  # radius of what the camera sees; from 1.42 on there is no corner outside
    light = light * np.clip((border - np.sqrt(x**2 + y**2)) * size / 4 + 0.5, 0, 1)
    image *= light[..., None]
    blur = rng.uniform(0.2, 0.8) * size / 64
    image = ndimage.gaussian_filter(image, (blur, blur, 0))
    image += rng.uniform(0.008, 0.025) * rng.standard_normal(image.shape, np.float32)
    bytes_: NDArray[np.uint8] = np.round(255 * image.clip(0, 1)).astype(np.uint8)
    return bytes_


def _inside(y: Array, x: Array, disc: Disc, scale: float, softness: float, shift: float = 0.0) -> Array:
    """Return (S, S) from 0 outside to 1 inside the disc's outline scaled about a point `shift` beside its centre.

    `softness` is the width of the edge in halves of the side.
    """
    dy, dx = y - disc.y, x - disc.x - shift
    down, right = dy * np.cos(disc.tilt) - dx * np.sin(disc.tilt), dx * np.cos(disc.tilt) + dy * np.sin(disc.tilt)
    radius = np.sqrt((down / disc.height) ** 2 + (right / disc.width) ** 2)
    return np.asarray(np.clip((scale - radius) * disc.height / softness + 0.5, 0, 1), np.float32)


def _paint(image: Array, colour: NDArray[np.float64], cover: Array) -> None:
    image += cover[..., None] * (colour.astype(np.float32) - image)


def _cup(image: Array, y: Array, x: Array, disc: Disc, ratio: float, rng: np.random.Generator) -> None:
    """Pale and round, with an edge that may be steep or hard to see, and not quite in the disc's middle."""
    softness, contrast = rng.uniform(0.04, 0.14), rng.uniform(0.6, 1.0)
    shift = rng.normal(0, 0.25) * (1 - ratio) * disc.width
    colour = np.array(CUP) * rng.normal(1, 0.03, 3)
    _paint(image, colour, contrast * _inside(y, x, disc, ratio, softness, np.clip(shift, -0.08, 0.08)))


def _crescent(image: Array, y: Array, x: Array, disc: Disc, rng: np.random.Generator) -> None:
    """Atrophy: a pale ring that shows on one side of the disc. In one of four eyes."""
    there, size, shift, pale = rng.random() < 0.25, rng.uniform(1.05, 1.2), rng.normal(0, 0.12), rng.uniform(0.3, 0.7)
    if there:
        _paint(image, np.array((0.88, 0.66, 0.44)), pale * _inside(y, x, disc, size, 0.08, shift))


def _spots(image: Array, y: Array, x: Array, rng: np.random.Generator) -> None:
    """Drusen and exudates: bright spots, in one of four eyes."""
    there, places, sizes = rng.random() < 0.25, rng.uniform(-1, 1, (6, 2)), rng.uniform(0.02, 0.06, 6)
    if there:
        for (cy, cx), size in zip(places, sizes, strict=True):
            cover = np.exp(-(((y - cy) ** 2 + (x - cx) ** 2) / size**2))
            _paint(image, np.array((0.95, 0.80, 0.50)), 0.7 * cover)


def _vessels(size: int, disc: Disc, rng: np.random.Generator) -> Array:
    """Return the cover of each pixel by vessels, (S, S): two up and two down to either side, with branches."""
    large = size * FINER
    canvas = Image.new("L", (large, large))
    draw = ImageDraw.Draw(canvas)
    trunk = disc.x + rng.normal(0, 0.06) * disc.width  # the vessels leave side by side
    for upwards in (-1, 1):
        for sideways in (-1, 1):
            for thick in (0.045, 0.065):  # an artery, a vein
                bend, sway, width = rng.uniform(0.5, 1.6), rng.uniform(0, 2 * np.pi), thick * rng.uniform(0.7, 1.2)
                fork, leaves = rng.uniform(0.3, 0.6), sideways * rng.choice([-1, 1])
                along = np.linspace(0, 1.5, 24)
                rows = disc.y + upwards * along
                columns = trunk + sideways * (0.03 + bend * along**2 / 2) + 0.03 * np.sin(7 * along + sway)
                _line(draw, rows, columns, width, large)
                branch = along[along > fork]
                side = columns[along > fork] + leaves * 0.8 * (branch - fork)
                _line(draw, rows[along > fork], side, 0.6 * width, large)
    return np.asarray(canvas.reduce(FINER), np.float32) / 255


def _line(draw: ImageDraw.ImageDraw, rows: Array, columns: Array, width: float, large: int) -> None:
    points = (np.stack([columns, rows], axis=1) + 1) * (large / 2)
    draw.line(points.ravel().tolist(), fill=255, width=max(1, round(width * large / 2)), joint="curve")


def _patchy(rng: np.random.Generator, size: int, patches: int) -> Array:
    """Return smooth noise of about unit deviation, (S, S), with so many patches a side."""
    coarse = Image.fromarray(rng.standard_normal((patches, patches), np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
