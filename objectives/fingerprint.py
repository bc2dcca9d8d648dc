"""By what two trainings tell whether they trained, and were measured, on the same samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What `recording.write_data` writes of each split.
Fingerprint = dict[str, Any]


def fingerprint(samples: int, arrays: Iterable[NDArray[Any]]) -> Fingerprint:
    """{"samples": how many, "sha256": of type, shape and values of each array, in this order}: samples and their
    labels as they were read or made up, before anything is made of them for a network."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return {"samples": samples, "sha256": digest.hexdigest()}
