"""A made-up volume of electron-microscopy slices with mitochondria, for when there are no files.

It is drawn after serial-section transmission EM of neural tissue: cells of very different sizes between dark membranes,
granular cytoplasm with vesicles, mitochondria (a dark rim around wavy parallel cristae), and what is easily taken for
them: dark bodies without cristae, pale vacuoles with a rim, stacks of membranes without a rim, smears where a membrane
is cut flat. This module knows nothing of patches and splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from objectives.mitochondria.files import Slices

Array = NDArray[np.float32]

SEED_SPACING = 23.0  # pixels between the points that cells are put together from
TERRITORY_SPACING = 64.0  # pixels between the centres of what may become one large cell
SECTIONS_PER_CORRELATION = 5.0  # how many slices a smooth change takes: sections are far thicker than pixels
FOREGROUND = (0.045, 0.06)  # the share of mitochondria at which no more are added
LOOKS = {  # half of the long axis in pixels, grey level; each from .. to
    "mitochondrion": ((15, 34), (70, 122)),
    "dark": ((7, 15), (50, 105)),
    "vacuole": ((10, 22), (165, 200)),
    "stack": ((12, 22), (120, 155)),
}
SMALLEST = 32  # pixels; nothing that is drawn fits into less


@dataclass(frozen=True)
class Cells:
    """The cells of a volume.

    Attributes:
        clearance: (n, H, W) uint8, pixels to the next border of two cells.
        cell: (n, H, W) int32, the cell of each pixel.
        grey: (cells,), the brightness of each cell.
        grain: (cells,), how grainy it is.
        vesicle_density: (cells,), how full of vesicles it is.
    """

    clearance: NDArray[np.uint8]
    cell: NDArray[np.int32]
    grey: Array
    grain: Array
    vesicle_density: Array


@dataclass(frozen=True)
class Body:
    """Something with an outline that runs through several slices. Lengths are pixels, angles radians."""

    kind: str  # mitochondrion, dark, vacuole or stack
    z: float
    y: float
    x: float
    half_depth: float  # slices
    length: float  # half of the long axis, in its middle slice
    width: float  # half of the short axis
    angle: float
    bend: float  # how much of a bean it is
    drift: tuple[float, float, float]  # of y, x and angle, a slice
    dent: tuple[float, float]  # phase of the uneven outline, and how uneven
    stripe: tuple[float, float, float, float]  # cristae: distance, angle to the long axis, waviness, contrast
    grey: float


def generate(slices: int, height: int, width: int, seed: int) -> Slices:
    """Make up a volume of neighbouring slices; its masks are its mitochondria.

    About 4 to 9 % of the pixels are foreground, a little more in volumes below 500,000 pixels, and every slice has
    some. The same arguments give the same bytes.

    Raises:
        ValueError: No slices, slices below 32 pixels, or a negative seed.
    """
    for name, value, least in (
        ("slices", slices, 1),
        ("height", height, SMALLEST),
        ("width", width, SMALLEST),
        ("seed", seed, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")
    rng = np.random.default_rng(seed)
    shape = (slices, height, width)
    cells = _cells(rng, shape)
    bodies, masks = _place(rng, cells)
    thickness, flat, light = _smooth(rng, shape, 24.0), _smooth(rng, shape, 40.0), _smooth(rng, shape, 96.0)
    gains, offsets = rng.normal(1, 0.06, slices), rng.normal(0, 8, slices)
    images = np.empty(shape, np.uint8)
    for z in range(slices):
        grain = 4.2 * ndimage.gaussian_filter(rng.standard_normal((height, width), np.float32), 1.2)
        image = _cytoplasm(rng, cells, z, grain, thickness(z), flat(z))
        for body in bodies:
            if z in _depths(body, slices):
                _draw(image, grain, body, z)
        images[z] = _scan(rng, 128 + (image + 9 * light(z) - 128) * gains[z] + offsets[z])
    return Slices(images, masks, tuple(f"generated slice {z + 1}" for z in range(slices)))


def _smooth(rng: np.random.Generator, shape: tuple[int, int, int], scale: float) -> Callable[[int], Array]:
    """Return noise of mean 0 and deviation 1 that changes over `scale` pixels and a few slices: (H, W) of slice z."""
    n, height, width = shape
    step = scale / 2  # drawn on a coarse grid: what is smooth needs no more
    grid = (n, int(height / step) + 4, int(width / step) + 4)
    coarse = ndimage.gaussian_filter(rng.standard_normal(grid), (SECTIONS_PER_CORRELATION / 2, 1, 1), mode="wrap")
    coarse = (coarse / coarse.std()).astype(np.float32)
    rows, columns = _interpolation(height, step, grid[1]), _interpolation(width, step, grid[2])
    return lambda z: (columns @ (rows @ coarse[z]).T).T


def _interpolation(pixels: int, step: float, points: int) -> csr_array:
    """Return (pixels, points) weights of quadratic B-splines, smooth where straight lines would show corners.

    They are sparse, three a row: a product of full matrices takes threads that other processes need.
    """
    at = np.arange(pixels, dtype=np.float32)[:, None] / step + 1
    distance = np.abs(at - np.arange(points, dtype=np.float32))
    inner, outer = 0.75 - distance**2, 0.5 * (1.5 - distance) ** 2
    return csr_array(np.where(distance < 0.5, inner, np.where(distance < 1.5, outer, 0)).astype(np.float32))


def _cells(rng: np.random.Generator, shape: tuple[int, int, int]) -> Cells:
    """Cells as unions of Voronoi cells: large territories of one cell beside bundles of thin processes."""
    n, height, width = shape
    margin = 2 * SEED_SPACING
    box = np.array([height + 2 * margin, width + 2 * margin])
    seeds = rng.uniform(-margin, box - margin, (max(8, int(box.prod() / SEED_SPACING**2)), 2))
    centres = rng.uniform(-margin, box - margin, (max(3, int(box.prod() / TERRITORY_SPACING**2)), 2))
    territory = cKDTree(centres).query(seeds)[1]
    bundle = rng.random(len(centres)) < 0.25
    cell_of = np.where(bundle[territory], len(centres) + np.arange(len(seeds)), territory)

    drift = np.cumsum(ndimage.gaussian_filter1d(rng.normal(0, 2.2, (n, len(seeds), 2)), 1.5, axis=0), axis=0)
    down, right, down_fine, right_fine = (_smooth(rng, shape, scale) for scale in (60.0, 60.0, 18.0, 18.0))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cell = np.empty(shape, np.int32)
    clearance = np.empty(shape, np.uint8)
    for z in range(n):
        points = np.stack([y + 10 * down(z) + 3 * down_fine(z), x + 10 * right(z) + 3 * right_fine(z)], axis=-1)
        cell[z] = cell_of[cKDTree(seeds + drift[z]).query(points)[1]]
        inside = np.ones((height, width), bool)
        inside[:-1] &= cell[z, :-1] == cell[z, 1:]
        inside[:, :-1] &= cell[z, :, :-1] == cell[z, :, 1:]
        clearance[z] = np.minimum(ndimage.distance_transform_edt(inside), 255) if not inside.all() else 255

    count = len(centres) + len(seeds)
    glia = rng.random(count) < 0.12  # dark cells
    return Cells(
        clearance=clearance,
        cell=cell,
        grey=np.where(glia, rng.uniform(95, 125, count), rng.uniform(148, 188, count)).astype(np.float32),
        grain=rng.uniform(8, 24, count).astype(np.float32),
        vesicle_density=(rng.uniform(0, 1, count) ** 2).astype(np.float32),
    )


def _place(rng: np.random.Generator, cells: Cells) -> tuple[list[Body], NDArray[np.bool_]]:
    """The bodies of the volume, none touching another, and the masks of the mitochondria."""
    n, height, width = cells.clearance.shape
    masks = np.zeros(cells.clearance.shape, bool)
    taken = masks.copy()
    bodies: list[Body] = []
    covered = np.zeros(n)  # pixels of mitochondria in each slice
    goal = rng.uniform(*FOREGROUND)
    for _ in range(200 + masks.size // 2000):  # far more tries than needed: a small slice can be too full for one more
        if covered.sum() >= goal * masks.size and covered.all():
            break
        # The slice with least of them comes next, so that no stretch of slices is without.
        z = float(np.argmin(covered + rng.uniform(0, 0.02, n) * height * width))
        body = _body(rng, "mitochondrion", z, cells, taken)
        if _claim(body, taken):
            bodies.append(body)
            for k in _depths(body, n):
                view = _view(body, k, height, width)
                masks[k][view.window] |= view.depth > 0
                covered[k] = masks[k].sum()
    for _ in range(max(3, round(masks.size / 70_000))):
        body = _body(rng, str(rng.choice(["dark", "vacuole", "stack"])), rng.uniform(0, n), cells, taken)
        if _claim(body, taken):
            bodies.append(body)
    return bodies, masks


def _body(rng: np.random.Generator, kind: str, z: float, cells: Cells, taken: NDArray[np.bool_]) -> Body:
    """Draw a body of its kind, in the roomiest of a few places of slice z."""
    _, height, width = taken.shape
    layer = min(int(z), len(taken) - 1)
    y, x = rng.integers(0, height, 16), rng.integers(0, width, 16)
    best = int(np.argmax(np.where(taken[layer, y, x], -1.0, cells.clearance[layer, y, x])))
    lengths, greys = LOOKS[kind]
    length = min(rng.uniform(*lengths), 0.2 * min(height, width))
    slender = rng.uniform(0.05, 0.5)
    return Body(
        kind=kind,
        z=z + rng.uniform(-0.5, 0.5),
        y=float(y[best]),
        x=float(x[best]),
        half_depth=rng.uniform(2.5, 6) if kind == "mitochondrion" else rng.uniform(1, 3.5),
        length=length,
        width=length * (1 - slender),
        angle=rng.uniform(0, np.pi),
        bend=slender * rng.uniform(-1, 1),  # round ones are no beans
        drift=(rng.normal(0, 1.5), rng.normal(0, 1.5), rng.normal(0, 0.06)),
        dent=(rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.07)),
        stripe=(rng.uniform(5.0, 8.5), rng.normal(0, 0.5), rng.uniform(0.6, 2.2), rng.uniform(0.75, 1.25)),
        grey=rng.uniform(*greys),
    )


@dataclass(frozen=True)
class View:
    """A body in one slice. All arrays have the window's shape.

    Attributes:
        window: The rows and columns that it may touch.
        depth: Pixels inside its outline, negative outside.
        along: Coordinates on its long axis.
        across: Coordinates on its short axis.
    """

    window: tuple[slice, slice]
    depth: Array
    along: Array
    across: Array


def _depths(body: Body, slices: int) -> range:
    """The slices that a body runs through."""
    first, last = int(np.floor(body.z - body.half_depth)) + 1, int(np.ceil(body.z + body.half_depth))
    return range(max(first, 0), min(last, slices))


def _view(body: Body, z: int, height: int, width: int) -> View:
    ahead = z - body.z
    size = (1 - 0.75 * (ahead / body.half_depth) ** 2) ** 0.5  # blunt ends: sections are thick
    reach = int(1.5 * body.length) + 8
    cy, cx = body.y + body.drift[0] * ahead, body.x + body.drift[1] * ahead
    top, left = (int(np.clip(c - reach, 0, side)) for c, side in ((cy, height), (cx, width)))
    bottom, right = (int(np.clip(c + reach, 0, side)) for c, side in ((cy, height), (cx, width)))
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    angle = body.angle + body.drift[2] * ahead
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    across = across - body.bend * along**2 / body.length
    a, b = max(body.length * size, 1.0), max(body.width * size, 1.0)
    around = np.arctan2(across / b, along / a)
    phase, unevenness = body.dent
    outline = 1 + unevenness * (np.sin(2 * around + phase) + np.sin(3 * around + 2 * phase + 0.15 * ahead))
    radius = (np.abs(along / a) ** 2.3 + np.abs(across / b) ** 2.3) ** (1 / 2.3)
    return View((slice(top, bottom), slice(left, right)), (outline - radius) * min(a, b), along, across)


def _claim(body: Body, taken: NDArray[np.bool_]) -> bool:
    """Take a body's place, with a few pixels around it; return False if it was not free."""
    n, height, width = taken.shape
    views = [(z, _view(body, z, height, width)) for z in _depths(body, n)]
    if not views or any((taken[z][view.window] & (view.depth > -3)).any() for z, view in views):
        return False
    for z, view in views:
        taken[z][view.window] |= view.depth > -3
    return True


def _bump(distance: Array, width: float) -> Array:
    return np.asarray(np.exp(-((distance / width) ** 2)), np.float32)


def _draw(image: Array, grain: Array, body: Body, z: int) -> None:
    """Paint a body into its slice (float, 0 to 255), over what is there. grain: (H, W), about 1."""
    view = _view(body, z, *image.shape)
    under, depth = image[view.window], view.depth
    ahead = z - body.z
    distance, tilt, waves, contrast = body.stripe
    phase = body.dent[0]
    waviness = waves * np.sin(view.along / 11 + phase + 0.3 * ahead) + 0.5 * waves * np.sin(
        view.along / 4 + view.across / 6 + 2 * phase
    )
    ridge = np.cos(2 * np.pi * (view.across + np.tan(np.clip(tilt, -0.9, 0.9)) * view.along) / distance + waviness)
    # Cristae end and begin inside: their darkness comes and goes along them.
    strength = 0.65 + 0.35 * np.sin(view.along / 8 + view.across / 6 + 3 * phase + 0.4 * ahead)
    cristae = contrast * strength * (-50 * np.clip(ridge, 0, 1) ** 2 + 42 * np.clip(-ridge, 0, 1) ** 2)
    if body.kind == "mitochondrion":
        inner = body.grey + cristae * np.clip((depth - 4) / 3, 0, 1)
        inner = inner - 62 * _bump(depth - 1, 1.6) + 22 * _bump(depth - 3.5, 1.3) - 30 * _bump(depth - 5.5, 1.3)
    elif body.kind == "dark":
        inner = body.grey + 0 * depth
    elif body.kind == "vacuole":
        inner = body.grey - 85 * _bump(depth - 1.5, 2.0)
    else:  # a stack of membranes fades out where a mitochondrion has its rim
        inner = body.grey + 1.1 * cristae
    inner = inner + 13 * grain[view.window]
    cover = np.clip(depth / (1.5 if body.kind in ("mitochondrion", "vacuole") else 5.0) + 0.5, 0, 1)
    image[view.window] = under * (1 - cover) + inner * cover


def _cytoplasm(rng: np.random.Generator, cells: Cells, z: int, grain: Array, thickness: Array, flat: Array) -> Array:
    """Return grey levels of a slice before its bodies, (H, W) float: cells, what floats in them, membranes."""
    cell, clearance = cells.cell[z], cells.clearance[z].astype(np.float32)
    shape = cell.shape
    clumps = 10.5 * ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), 3.0)
    image: Array = cells.grey[cell] + cells.grain[cell] * (0.9 * grain + 0.45 * clumps)

    draw = rng.random(shape, np.float32)
    inside = clearance > 4
    vesicle_density = cells.vesicle_density[cell]
    vesicles = (inside & (draw < 0.012 * vesicle_density)).astype(np.float32)
    specks = (inside & (draw > 0.995 - 0.02 * (1 - vesicle_density) * (cells.grain[cell] > 12))).astype(np.float32)
    cores = (inside & (np.abs(draw - 0.5) < 0.00006)).astype(np.float32)  # vesicles with a dark core
    wide, narrow = ndimage.gaussian_filter(vesicles, 2.6), ndimage.gaussian_filter(vesicles, 1.5)
    image -= 4500 * np.clip(wide - 0.45 * narrow, 0, 0.02)  # a ring: the wide spot less its middle
    image -= 520 * ndimage.gaussian_filter(specks, 1.1)
    image -= 110 * np.clip(80 * ndimage.gaussian_filter(cores, 3.0) - 0.5, 0, 1)

    # Blurred, the distance rounds off the corners of cells, and the wedge between three of them is dark.
    rounded = ndimage.gaussian_filter(clearance, 2.0)
    image -= 120 * np.clip((2.7 + 0.45 * np.clip(thickness, -1.5, 2.5) - rounded) / 1.1, 0, 1)
    # Where a membrane lies flat in the section it is a smear, not a line.
    image -= 95 * np.clip(flat - 0.9, 0, 1) * np.exp(-clearance / 8) * (1 + 0.4 * grain)
    return image


def _scan(rng: np.random.Generator, image: Array) -> NDArray[np.uint8]:
    """Return the slice as a microscope shows it: slightly out of focus, few electrons where it is dark."""
    blurred = ndimage.gaussian_filter(image, 0.7)
    noise = rng.standard_normal(image.shape, np.float32) * (5 + np.sqrt(np.clip(blurred, 0, None)))
    return np.asarray(np.clip(np.round(blurred + noise), 0, 255), np.uint8)
