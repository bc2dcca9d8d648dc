"""The models of `digits_kernel`, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import digits_kernel

TRAINING = replace(
    digits_kernel.TRAINING,
    space={
        "kernel_width": {"choices": [0.05, 0.2, 0.6, 1.5]},
        "learning_rate": {"choices": [0.03, 0.3, 3.0, 30.0]},
        "l2": {"choices": [1e-5, 1e-3, 3e-2]},
    },
    repeats=3,
)
