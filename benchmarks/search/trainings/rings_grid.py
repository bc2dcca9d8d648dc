"""The networks of `rings_losses` with one hidden layer, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import rings_losses

TRAINING = replace(
    rings_losses.TRAINING,
    model="network of one hidden layer",
    space={
        "loss": {"choices": ["plain", "balanced", "focal", "ghm"]},
        "learning_rate": {"choices": [1e-3, 5e-3, 3e-2, 2e-1]},
        "batch_size": {"choices": [20, 50, 200]},
    },
    repeats=3,
)
