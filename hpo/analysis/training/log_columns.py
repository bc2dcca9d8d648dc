"""Recognise the columns of a log: which is the epoch, and which metric of which split each other one is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from hpo.errors import LogError
from hpo.text import cut, listing
from hpo.translation.catalogue import mark

EPOCH = ("epoch", "epochs", "ep")
INDEX = ("epoch", "step")
_RATES = ("lr", "learning_rate")
_SPLITS = {
    "train": "train_", "training": "train_", "tr": "train_",
    "val": "val_", "valid": "val_", "validation": "val_", "dev": "val_", "eval": "val_",
}  # fmt: skip

LIGHTNING = mark("a log of Lightning's CSVLogger: the rows of an epoch are put together")
KERAS = mark("a log of Keras's CSVLogger")
TABLE = mark("a table with a row an epoch")


def recognise(there: Sequence[str], present: Sequence[str], source: str) -> tuple[dict[str, str], str]:
    """Return the metric of each column, and what the table was taken for.

    Args:
        there: Every column, for errors.
        present: The columns that hold numbers.
        source: What errors call the table.

    Raises:
        LogError: No column is known as one of a training, or two columns mean the same.
    """
    plain = {column: _plain_name(column) for column in present}
    metrics = {name for name in plain.values() if name not in INDEX}
    if not any("loss" in name or name.startswith(("train_", "val_")) for name in metrics):
        raise LogError(f"{source} is no log of a training that is known here: {expected_columns(there)}")
    kind = _kind(plain.values(), metrics)
    paired = _paired(metrics)
    names = {column: _metric_name(name, metrics, kind, paired) for column, name in plain.items()}
    times = Counter(names.values())
    same = [column for column, name in names.items() if times[name] > 1]
    if same:
        raise LogError(f"{source}: the columns {listing(same)} mean the same; --columns says which is which")
    return names, kind


def _plain_name(column: str) -> str:
    """Return `Training Loss`, `train/loss` and `loss_train` as `train_loss`."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower()) if word]
    if not words:
        return column
    if len(words) == 1:
        return "epoch" if words[0] in EPOCH else words[0]
    if words[0] in _SPLITS:
        return _SPLITS[words[0]] + "_".join(words[1:])
    if words[-1] in _SPLITS:
        return _SPLITS[words[-1]] + "_".join(words[:-1])
    return "_".join(words)


def _kind(names: Collection[str], metrics: Collection[str]) -> str:
    if set(INDEX) <= set(names):
        return LIGHTNING
    keras = "epoch" in names and "train_loss" not in metrics and ("loss" in metrics or _paired(metrics))
    return KERAS if keras else TABLE


def _paired(metrics: Collection[str]) -> bool:
    """Return True if a metric stands beside its own of validation, such as `auc` beside `val_auc`."""
    return any(f"val_{name}" in metrics for name in metrics)


def _metric_name(name: str, metrics: Collection[str], kind: str, paired: bool) -> str:
    """Return a name with `train_` where it is of training and does not say so; `paired`: as of `_paired`."""
    if name in _RATES:
        return "learning_rate"
    if name in INDEX or name.startswith(("train_", "val_", "test_")):
        return name
    bare = without_step_or_epoch(name) if kind == LIGHTNING else name
    of_training = bare == "loss" or f"val_{bare}" in metrics or (kind == KERAS and paired)
    return f"train_{name}" if of_training else name


def without_step_or_epoch(name: str) -> str:
    """Return a name without the `_step` or `_epoch` that Lightning appends."""
    return re.sub(r"_(step|epoch)$", "", name)


def expected_columns(there: Sequence[str]) -> str:
    """Return which columns a table has and which it should have, for errors."""
    has = listing(cut(column, 60) for column in there) or "none at all"
    return (
        f"it has {has}. Expected such as epoch, train_loss and val_loss; "
        "--columns epoch=...,train_loss=...,val_loss=... says which columns those are"
    )
