"""Metrics of a pass over pairs or clips, the statistics of gradient harmonising among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.losses.ghm import gradient_statistics, histogram
from objectives.metrics.ranking import kendall_tau, pair_accuracy

FINE_BINS = 50  # of the histogram that is kept to be drawn
STATISTICS_OVER = ("epoch", "first_batch")


class Measures:
    """Metrics of a pass, called as the training loop calls its metrics.

    If the weighting of pairs does nothing, it prints that once.
    """

    def __init__(
        self, bins: int, margin: float, batch_size: int, over: str, alpha: float, momentum: float = 0.0
    ) -> None:
        """Set what is measured.

        Args:
            bins: Of the loss.
            margin: Of the loss.
            batch_size: Pairs in a batch.
            over: "epoch" or "first_batch", the pairs that the statistics of gradient norms are taken over.
            alpha: Of the loss; at 0 it weights no pairs.
            momentum: Of the loss.

        Raises:
            ValueError: `over` is another word.
        """
        if over not in STATISTICS_OVER:
            raise ValueError(f"ghm_statistics is {over!r}; expected {' or '.join(STATISTICS_OVER)}")
        self._bins, self._margin, self._batch_size, self._over = bins, margin, batch_size, over
        self._settings = {"alpha": alpha, "margin": margin, "momentum": momentum}
        self._silent = alpha == 0

    def __call__(self, outputs: Mapping[str, Tensor], split: str) -> dict[str, Any]:
        """Return the metrics of a split.

        Those of "train" are pair_accuracy over the pairs drawn, pairs_per_batch, and as ghm_<name> the statistics of
        `statistics_of` and the loss's alpha, margin and momentum, 0-d. Those of other splits are pair_accuracy and
        kendall_tau over all clips.
        """
        found = {name: values.numpy() for name, values in outputs.items()}
        if split != "train":
            ranks, scores = found["rank"], found["score"]
            if not np.isfinite(scores).all():  # the training went wrong in its last step
                return {"pair_accuracy": math.nan, "kendall_tau": math.nan}
            return {"pair_accuracy": pair_accuracy(ranks, scores), "kendall_tau": kendall_tau(ranks, scores)}
        lead = found["lead"]
        pairs = min(self._batch_size, len(lead))
        taken = slice(pairs) if self._over == "first_batch" else slice(None)
        statistics = statistics_of(found["gradient_norm"][taken], found["weight"][taken], self._bins)
        if statistics["inert"] and not self._silent:
            self._silent = True
            print(inert(statistics, self._bins, self._margin), flush=True)
        accuracy = float((lead > 0).mean() + 0.5 * (lead == 0).mean())
        settings = {name: np.array(float(value)) for name, value in self._settings.items()}
        named = {f"ghm_{name}": value for name, value in (statistics | settings).items()}
        return {"pair_accuracy": accuracy, "pairs_per_batch": float(pairs), **named}


def statistics_of(norms: NDArray[Any], weights: NDArray[Any], bins: int) -> dict[str, Any]:
    """Return the statistics of gradient norms and weights, (n,) each.

    They are those of `objectives.losses.ghm.gradient_statistics`; weights (bins,), the mean weight of the pairs in each
    bin, NaN where there are none; and histogram (50,), how many norms lie in each fiftieth of 0 to 1, the last one
    closed.
    """
    index, counts = (part.numpy() for part in histogram(torch.from_numpy(norms), bins))
    sums = np.bincount(index, weights, minlength=bins)
    means = np.divide(sums, counts, out=np.full(bins, np.nan), where=counts > 0)
    fine = np.histogram(norms, FINE_BINS, (0.0, 1.0))[0]
    return {**gradient_statistics(norms, bins), "weights": means, "histogram": fine}


def inert(statistics: Mapping[str, Any], bins: int, margin: float) -> str:
    """Return the sentence on a weighting that gives nearly all pairs one weight."""
    most = int(statistics["most_populated"])
    share = statistics["shares"][most]
    low, high = most / bins, (most + 1) / bins
    if high <= 0.5:  # sigmoid(margin - z) below a half: z is above the margin
        meaning = (
            f"these pairs are in order by more than the margin of {margin:g} and add nothing to the loss. Fewer "
            "epochs, or a larger margin, leave more to weight"
        )
    else:
        norm = 1 / (1 + np.exp(-margin))
        meaning = (
            "the loss is nearly the plain hinge. A smaller margin or more bins spread them (at a margin of "
            f"{margin:g}, a pair of equal scores has a norm of {norm:.5g})"
        )
    return (
        f"gradient harmonising is inert: {share:.1f} % of the gradient norms lie in bin {most + 1} of {bins}, from "
        f"{low:g} to {high:g}, and so have one weight; {meaning}"
    )
