"""Find a spike: a few steps of an epoch in which the loss was far above all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hpo.analysis.training.training_log import Arrays

# A spike is this many times the median of its epoch. It is in fewer than half of the steps: else it is the level.
TIMES = 10


@dataclass(frozen=True)
class Spike:
    """The largest spike of a training.

    Attributes:
        epoch: Its epoch.
        step: The step in the epoch, from 1.
        value: The loss there.
        times: That loss as a multiple of the median step of the epoch.
        steps: Number of steps of this epoch above TIMES the median.
        component: The component that was most of it; empty where none was.
    """

    epoch: int
    step: int
    value: float
    times: float
    steps: int
    component: str


def spike_of(steps: Arrays, loss: str, weights: Mapping[str, float]) -> Spike | None:
    """Return the largest spike of a loss, or None.

    Args:
        steps: Values by step, beside `epoch`.
        loss: Name of the loss.
        weights: Weight of each component in it.
    """
    total, epochs = steps.get(loss), steps.get("epoch")
    if total is None or epochs is None or total.ndim != 1 or epochs.shape != total.shape:
        return None
    total = np.where(np.isfinite(total), total.astype(float), -np.inf)
    found: Spike | None = None
    for epoch in np.unique(epochs):
        places = np.flatnonzero(epochs == epoch)
        values = total[places]
        middle = float(np.median(values))
        at = int(values.argmax())
        if middle > 0 and values[at] > TIMES * middle and (found is None or values[at] > found.value):
            number = int((values > TIMES * middle).sum())
            component = _most(steps, weights, int(places[at]), values[at])
            found = Spike(int(epoch), at + 1, float(values[at]), float(values[at] / middle), number, component)
    return found


def _most(steps: Arrays, weights: Mapping[str, float], at: int, value: float) -> str:
    """Return the component that made most of a value."""
    added = {name: weight * float(steps[name][at]) for name, weight in weights.items() if _has(steps, name, at)}
    name = max(added, key=added.__getitem__, default="")
    return name if name and 0.5 * value < added[name] < 1.5 * value else ""


def _has(steps: Arrays, name: str, at: int) -> bool:
    return name in steps and steps[name].ndim == 1 and at < len(steps[name]) and bool(np.isfinite(steps[name][at]))
