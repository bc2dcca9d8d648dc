"""Checks of a metric's input; each refuses by a ValueError that names the argument."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def finite(name: str, values: ArrayLike, ndim: int = 1) -> NDArray[np.float64]:
    """Return values in float64; raise ValueError unless they have `ndim` dimensions, an entry, and are all finite."""
    array = np.asarray(values, dtype=np.float64)
    shape = "(n,)" if ndim == 1 else "(records, samples)"
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}; expected {shape}")
    if not array.size:
        raise ValueError(f"{name} is empty; there is nothing to measure")
    wrong = array[~np.isfinite(array)]
    if len(wrong):
        raise ValueError(f"{name} has {wrong[0]} in {len(wrong)} of {array.size} places; expected finite numbers")
    return array


def binary(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Return values of 0 and 1 as int64, (n,); raise ValueError for anything else, probabilities among it."""
    array = finite(name, values)
    wrong = array[(array != 0) & (array != 1)]
    if len(wrong):
        raise ValueError(f"{name} holds {wrong[0]:g}; expected 0 or 1")
    return array.astype(np.int64)


def same_shape(**arrays: NDArray[np.generic]) -> None:
    """Raise ValueError unless all arrays have the shape of the first."""
    (first, reference), *others = arrays.items()
    for name, array in others:
        if array.shape != reference.shape:
            raise ValueError(f"{first} has shape {reference.shape}, {name} {array.shape}; expected the same")
