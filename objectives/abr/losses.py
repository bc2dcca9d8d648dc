"""Losses of each head of the network, unweighted, in the units of its targets, and their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.losses.multitask import UncertaintyWeighting, weighted_sum
from objectives.wording import meant

TASKS = ("signal", "class", "peak", "threshold")
UNITS = {"uV": 1.0, "nV": 1000.0}  # what a microvolt is in each
WEIGHTINGS = ("simplex", "log_uniform", "uncertainty")
CLASS_WEIGHTS = ("none", "balanced", "root")


def components(
    found: Mapping[str, Tensor], targets: Mapping[str, Tensor], unit: float, class_weights: Tensor
) -> dict[str, Tensor]:
    """Return the losses by name, 0-d: those of TASKS, and the three parts of `peak`.

    signal: mean squared error, in parts of the record's variance. class: cross-entropy, each record with the weight of
        its
    class, over the number of records. peak: peak_existence (cross-entropy) + peak_latency (mean squared error in ms) +
    peak_amplitude (mean squared error), the last two over the records with a peak, 0 in a batch without any. threshold:
    mean squared error in dB.

    Args:
        found: Outputs of the network.
        targets: signal, label, exists, latency (ms), amplitude (uV), threshold (dB).
        unit: A microvolt in the unit of the amplitude that is trained on.
        class_weights: (classes,).
    """
    found = {name: value.float() for name, value in found.items()}
    exists = targets["exists"].float()
    peaks = exists.sum().clamp(min=1)
    existence = F.binary_cross_entropy_with_logits(found["exists"], exists)
    latency = (exists * (found["latency"] - targets["latency"]) ** 2).sum() / peaks
    amplitude = (exists * (found["amplitude"] - unit * targets["amplitude"]) ** 2).sum() / peaks
    class_losses = F.cross_entropy(found["class"], targets["label"], weight=class_weights, reduction="none")
    return {
        "signal": F.mse_loss(found["signal"], targets["target"]),
        "class": class_losses.mean(),
        "peak": existence + latency + amplitude,
        "threshold": F.mse_loss(found["threshold"], targets["threshold"]),
        "peak_existence": existence,
        "peak_latency": latency,
        "peak_amplitude": amplitude,
    }


def total(parts: Mapping[str, Tensor], options: Mapping[str, Any], uncertainty: nn.Module | None) -> Tensor:
    """Return the loss that is minimised: `parts` of TASKS, weighted as `options` say, or by `uncertainty`."""
    tasks = {name: parts[name] for name in TASKS}
    return uncertainty(tasks) if uncertainty is not None else weighted_sum(tasks, weights_of(options))


def weights_of(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the weight of each of TASKS; raise ValueError for a weighting of another name."""
    if options["weighting"] == "log_uniform":
        return {name: options[f"weight_{name}"] for name in TASKS}
    if options["weighting"] == "simplex":
        return dict(options["loss_weights"])
    raise ValueError(f"weighting is {options['weighting']!r}; expected {', '.join(WEIGHTINGS)}")


def uncertainty_of(options: Mapping[str, Any]) -> UncertaintyWeighting | None:
    """Return learned weights (Kendall et al., 2018) if the options ask for them.

    The peak is taken as a regression, since most of it is; its log-likelihood is then only nearly right.
    """
    return UncertaintyWeighting(TASKS, TASKS[:1] + TASKS[2:]) if options["weighting"] == "uncertainty" else None


def class_weights_of(name: str, labels: Tensor, classes: int) -> Tensor:
    """Return the weight of each class, (classes,), of mean 1 over the labels.

    Args:
        name: "none": 1. "balanced": inverse to how many there are, so that all classes weigh the same. "root": inverse
            to the square root of that, half-way (on a logarithmic scale) between the two.
        labels: (n,); a class that is not among them has the weight 0.
        classes: Number of classes.

    Raises:
        ValueError: There is no weighting of that name.
    """
    if name not in CLASS_WEIGHTS:
        expected = f"expected one of {', '.join(CLASS_WEIGHTS)}.{meant(name, CLASS_WEIGHTS)}"
        raise ValueError(f"class_weights is {name!r}; {expected}")
    counts = torch.bincount(labels, minlength=classes).float()
    weights = counts.clamp(min=1) ** -{"none": 0.0, "balanced": 1.0, "root": 0.5}[name] * (counts > 0)
    return weights * counts.sum() / (weights * counts).sum()


def unit_of(name: str) -> float:
    """Return a microvolt in the unit `name`; raise ValueError for another than uV and nV."""
    if name not in UNITS:
        raise ValueError(f"amplitude_unit is {name!r}; expected {' or '.join(UNITS)}")
    return UNITS[name]
