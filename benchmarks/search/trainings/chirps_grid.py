"""The networks of `chirps_convolution`, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import chirps_convolution

TRAINING = replace(
    chirps_convolution.TRAINING,
    space={
        "architecture": {"choices": ["wide", "dilated", "pooled"], "structural": True},
        "learning_rate": {"choices": [3e-4, 2e-3, 1e-2, 8e-2]},
        "batch_size": {"choices": [6, 15, 50]},
    },
    repeats=3,
)
