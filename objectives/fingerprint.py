"""Fingerprints of data, by which two trainings tell whether they used the same samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What `recording.write_data` writes of each split.
Fingerprint = dict[str, Any]


def fingerprint(samples: int, arrays: Iterable[NDArray[Any]]) -> Fingerprint:
    """Return the number of samples and a hash of their arrays, as `recording.write_data` writes them.

    Take samples and labels as they were read or made up, before anything is made of them for a network.

    Args:
        samples: How many there are.
        arrays: Hashed in this order, with type and shape.

    Returns:
        {"samples": number, "sha256": text}
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return {"samples": samples, "sha256": digest.hexdigest()}
