"""Small images of single items, as data URIs that a page can show and a file can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpo.analysis.evaluation_records import Example
from hpo.errors import ObjectiveError

MOST = 12  # that are kept of an evaluation
SIDE = 160  # pixels, of the longer side


def examples_of(given: Sequence[Mapping[str, Any]]) -> tuple[Example, ...]:
    """Return the images that an objective gave, made small.

    Raises:
        ObjectiveError: They are not what docs/objectives.md says.
    """
    found = []
    for one in given[:MOST]:
        try:
            images = {str(name): _uri(np.asarray(pixels)) for name, pixels in one["images"].items()}
            found.append(Example(str(one["name"]), str(one.get("kind", "worst")), float(one["score"]), images))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ObjectiveError(
                f"an entry of 'examples' cannot be used ({type(error).__name__}: {error}); expected name, kind (worst "
                "or best), score, and images: a mapping of names to arrays (H, W)"
            ) from error
    return tuple(found)


def _uri(pixels: Any) -> str:
    """Return an array (H, W) of bool, or of numbers from 0 to 255, as a PNG."""
    from PIL import Image

    if pixels.ndim != 2:
        raise ValueError(f"an image is of shape {pixels.shape}")
    grey = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else np.clip(pixels, 0, 255).astype(np.uint8)
    image = Image.fromarray(grey)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
