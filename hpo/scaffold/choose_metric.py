"""Choice of the metric to optimise, by the names of those that there are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hpo.curves.metric_names import direction_by_name, is_loss, preference
from hpo.scaffold.draft import MetricEntry

_COSTS = {"loss", "error", "err", "mse", "mae", "rmse", "nll", "perplexity", "ppl", "cost", "fid", "wer", "cer"}
_GAINS = {
    *("acc", "accuracy", "auc", "auroc", "f1", "map", "iou", "dice", "jaccard", "recall", "precision", "score", "r2"),
    *("psnr", "ssim", "bleu", "rouge", "reward", "return", "top1", "top5", "correct"),
}


def choose_metric(names: Sequence[str]) -> MetricEntry:
    """Return the metric to optimise: one of validation, and one that says most by its name."""

    def rank(name: str) -> tuple[bool, bool, bool, int, bool]:
        words = words_of(name)
        trained = bool(words & {"train", "training", "trn"})
        of_validation = bool(words & {"val", "valid", "validation", "dev", "test", "eval", "best"})
        return (
            trained,
            not of_validation,
            not direction_of(name),
            preference("_".join(sorted_words(name))),
            is_loss(name),
        )

    if not names:
        return MetricEntry("val_loss", "minimize")
    name = min(names, key=rank)
    direction = direction_of(name)
    if not direction:
        return MetricEntry(name, "maximize", "is more better? The name does not say")
    return MetricEntry(name, direction)


def direction_of(name: str) -> str:
    """Return the better direction of a metric by its name, however it is spelled; empty if it does not say."""
    plain = "_".join(sorted_words(name))
    words = {word.rstrip("0123456789") for word in plain.split("_")} | set(plain.split("_"))
    if found := direction_by_name(plain):
        return found
    if words & _COSTS:
        return "minimize"
    if words & _GAINS:
        return "maximize"
    return ""


def sorted_words(name: str) -> list[str]:
    """Return the words of a name, that of the split first: `Accuracy (val)` and `val/accuracy` are `val_accuracy`."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word]
    splits = {"valid": "val", "validation": "val", "dev": "val", "training": "train"}
    words = [splits.get(word, word) for word in words]
    return sorted(words, key=lambda word: word not in ("train", "val"))


def words_of(name: str) -> set[str]:
    """Return the words of a name, in lower case."""
    return set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
