"""Scikit-learn's bundled handwritten digits (1797 images of 8 x 8), one of them made rare.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998 (its test part).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from objectives.fingerprint import Fingerprint, fingerprint


@dataclass(frozen=True)
class Digits:
    """The digits of both splits.

    Attributes:
        train_images: (n, 1, 8, 8) float32 from 0 to 1.
        train_targets: (n,) float32, 1 for the rare digit.
        val_images: As train_images.
        val_targets: As train_targets.
        fingerprints: Of "train" and "val".
    """

    train_images: Tensor
    train_targets: Tensor
    val_images: Tensor
    val_targets: Tensor
    fingerprints: dict[str, Fingerprint]


@lru_cache(maxsize=4)  # once a worker process, not once a trial
def load(digit: int = 8, prevalence: float = 0.03, val_fraction: float = 0.5, seed: int = 0) -> Digits:
    """Return `digit` against the other nine, thinned until it is `prevalence` of both parts.

    Args:
        digit: The rare digit.
        prevalence: Its share.
        val_fraction: The part of the images that validates.
        seed: Of which images are kept and how they are split. It is not the trial's seed, so that all trials are
            compared on the same validation images.

    Raises:
        ValueError: The data cannot give this prevalence, or it leaves a part without positives.
    """
    images, labels = load_digits(return_X_y=True)
    positives, negatives = np.flatnonzero(labels == digit), np.flatnonzero(labels != digit)
    kept = round(len(negatives) * prevalence / (1 - prevalence)) if 0 < prevalence < 1 else 0
    validation = [round(len(negatives) * val_fraction), round(kept * val_fraction)]
    if not 0 < validation[1] < kept <= len(positives):
        raise ValueError(
            f"prevalence {prevalence} and val_fraction {val_fraction} need {kept} of the {len(positives)} images of "
            f"digit {digit}, {validation[1]} of them for validation; expected at least 1 in each part and enough images"
        )

    rng = np.random.default_rng(seed)
    negatives, positives = rng.permutation(negatives), rng.permutation(positives)[:kept]
    val = np.concatenate([negatives[: validation[0]], positives[: validation[1]]])
    train = np.concatenate([negatives[validation[0] :], positives[validation[1] :]])

    x = torch.from_numpy(images / 16.0).float().reshape(-1, 1, 8, 8)  # grey levels are 0 to 16
    y = torch.from_numpy(labels == digit).float()
    rows = {"train": train, "val": val}
    fingerprints = {split: fingerprint(len(one), (images[one], labels[one] == digit)) for split, one in rows.items()}
    return Digits(x[train], y[train], x[val], y[val], fingerprints)
