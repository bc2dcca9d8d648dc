"""Predictions of held-out patches as plain data: pixels counted by probability, and the worst and best masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objectives.mitochondria.data import Patches

LEVELS = 256  # that probabilities are rounded to, so that all pixels are a small table
ABOVE_HALF = 0.5 + 2**-11  # the next number of float16
EXAMPLES = 3  # of the worst and of the best patches


def levels(logits: Tensor) -> Tensor:
    """Return the level of each probability, uint8: level k is above k / 256, and up to (k + 1) / 256."""
    half = LEVELS // 2
    level = (torch.sigmoid(logits.float()) * LEVELS).ceil().long().sub(1).clamp(0, LEVELS - 1)
    # A logit near 0 is rounded to a probability of 0.5; the mask that is scored has it on its own side.
    return torch.where(logits > 0, level.clamp(min=half), level.clamp(max=half - 1)).to(torch.uint8)


def probabilities(logits: Tensor) -> Tensor:
    """Return probabilities as float16, which takes half of the disk; one half and its neighbours stay on their side."""
    found = torch.sigmoid(logits.float()).half()
    return torch.where(logits > 0, found.clamp(min=ABOVE_HALF), found.clamp(max=0.5))


def predictions(outputs: Mapping[str, Tensor], patches: Patches) -> dict[str, Any]:
    """Return the table of pixels by slice, class and probability, and the patches with the worst and best masks."""
    slices, level, target = patches.slice_of.cpu().numpy(), outputs["level"].flatten(1), outputs["target"].flatten(1)
    columns: dict[str, list[Any]] = {"target": [], "score": [], "count": [], "group": []}
    for one in np.unique(slices):
        rows = torch.from_numpy(slices == one)
        code = level[rows].long() + LEVELS * target[rows].long()
        counts = torch.bincount(code.flatten(), minlength=2 * LEVELS).numpy()
        there = np.flatnonzero(counts)
        columns["target"].append(there // LEVELS)
        columns["score"].append((there % LEVELS + 0.5) / LEVELS)
        columns["count"].append(counts[there])
        columns["group"].append(np.full(len(there), one))
    return {
        "predictions": {name: np.concatenate(parts) for name, parts in columns.items()},
        "about": {"items": "pixels", "groups": "slices", "positive": "mitochondria", "threshold": 0.5},
        "examples": _examples(outputs["predicted"], outputs["target"], patches),
    }


def _examples(predicted: Tensor, target: Tensor, patches: Patches) -> list[dict[str, Any]]:
    """Return the patches of the lowest and the highest Jaccard, each of another slice; an empty union shows nothing."""
    both, either = (predicted & target).flatten(1).sum(1), (predicted | target).flatten(1).sum(1)
    jaccard = (both / either.clamp(min=1)).numpy()
    order = [int(row) for row in np.argsort(jaccard, kind="stable") if either[row]]
    slices = patches.slice_of.cpu().numpy()
    worst = _of_different(order, slices)
    best = _of_different([row for row in reversed(order) if row not in worst], slices)
    return [
        {
            "name": f"slice {slices[row] + 1}",
            "kind": kind,
            "score": float(jaccard[row]),
            "images": {
                "image": patches.images[row, 0].cpu().numpy(),
                "mask": target[row, 0].numpy(),
                "prediction": predicted[row, 0].numpy(),
            },
        }
        for kind, rows in (("worst", worst), ("best", best))
        for row in rows
    ]


def _of_different(order: list[int], slices: Any) -> list[int]:
    """Return the first rows of an order, at most one a slice."""
    first: dict[int, int] = {}
    for row in order:
        first.setdefault(int(slices[row]), row)
    return list(first.values())[:EXAMPLES]
