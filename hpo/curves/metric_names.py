"""Names of metrics: the split of the data they are measured on, what they measure, and what better means.

By convention an objective reports `train_loss` for the training data and `val_loss` for the data it was not trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

SPLITS = ("train", "val")
# Metrics of a ranking, which know no threshold. They come first where it is not known which metric counts.
RANKINGS = (
    "auc", "auroc", "roc_auc", "pauc", "average_precision", "ap", "map", "auprc", "aupr", "pr_auc", "prc",
    "pair_accuracy", "kendall_tau", "tau", "spearman", "pearson", "correlation", "c_index", "ndcg",
)  # fmt: skip
# Metrics that are 0 where nothing passes the threshold.
FINDS = (  # the one that says it best first
    "recall", "sensitivity", "sens", "tpr", "precision", "ppv", "f1", "f1_score", "jaccard", "iou", "dice", "dice_coef",
    "jaccard_coef", "dsc",
)  # fmt: skip
# Of these, one alone can be had for the other: they say little of a training.
_ONE_SIDED = ("recall", "sensitivity", "sens", "tpr", "precision", "ppv", "specificity", "tnr")
_ACCURACIES = ("accuracy", "acc", "top1", "top5")
_AGREEMENTS = ("balanced_accuracy", "mcc", "kappa", "r2")
_ERRORS = ("error", "mae", "mse", "rmse", "mape", "wer", "cer", "distance", "dtw", "nll", "perplexity")
_MORE_IS_BETTER = (*RANKINGS, *FINDS, *_ONE_SIDED, *_ACCURACIES, *_AGREEMENTS, "score")
# What names say is asked for each of a hundred thousand trials, which have the same few names.
_remembered = lru_cache(maxsize=4096)


@_remembered
def without_split(name: str) -> str:
    """Return what a metric measures: its name without one leading `train_` or `val_`.

    `train_loss` and `val_loss` both measure `loss`. One prefix only is removed, so that a name is always found again
    as one of `x`, `train_x` and `val_x`. A name that is nothing but the prefix stays as it is.
    """
    for split in SPLITS:
        if name.startswith(f"{split}_") and name != f"{split}_":
            return name.removeprefix(f"{split}_")
    return name


@_remembered
def bare_name(name: str) -> str:
    """Return a name without the split, and without the number that Keras appends (`recall_1`)."""
    return re.sub(r"_\d+$", "", without_split(name)).lower()


def is_one_of(name: str, words: Iterable[str]) -> bool:
    """Return True if a metric is one of some kinds.

    `val_macro_f1` is an `f1`. `val_recall_malignant` is no `recall`, and an average precision no `precision`.
    """
    return _is_one_of(name, tuple(words))


@_remembered
def _is_one_of(name: str, words: tuple[str, ...]) -> bool:
    bare = bare_name(name)
    return any(bare == word or (bare.endswith(f"_{word}") and not _is_other(bare, word)) for word in words)


def _is_other(bare: str, word: str) -> bool:
    return word == "precision" and bare.endswith("average_precision")


def is_loss(name: str) -> bool:
    """Return True if a metric is a loss by its name."""
    return "loss" in bare_name(name)


@_remembered
def direction_by_name(name: str) -> str:
    """Return `maximize`, `minimize`, or an empty text where the name does not say."""
    if is_loss(name) or is_one_of(name, _ERRORS):
        return "minimize"
    return "maximize" if is_one_of(name, _MORE_IS_BETTER) else ""


def preference(name: str) -> int:
    """Return how well a metric says which epoch is best, the lower the better.

    Rankings come before accuracy, which says nothing of a rare class, and one-sided metrics such as recall last.
    """
    if is_one_of(name, ("balanced_accuracy",)):
        return 1
    for rank, words in enumerate((RANKINGS, _AGREEMENTS, [w for w in FINDS if w not in _ONE_SIDED], _ACCURACIES)):
        if is_one_of(name, words):
            return rank
    return 4
