"""Names of metrics: the split of the data they are measured on, and what they measure.

By convention an objective reports `train_loss` for the training data and `val_loss` for the data it was not trained on.
"""

from __future__ import annotations

SPLITS = ("train", "val")


def without_split(name: str) -> str:
    """Return what a metric measures: its name without one leading `train_` or `val_`.

    `train_loss` and `val_loss` both measure `loss`. One prefix only is removed, so that a name is always found again
    as one of `x`, `train_x` and `val_x`. A name that is nothing but the prefix stays as it is.
    """
    for split in SPLITS:
        if name.startswith(f"{split}_") and name != f"{split}_":
            return name.removeprefix(f"{split}_")
    return name
