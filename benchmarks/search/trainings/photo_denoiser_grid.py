"""The networks of `photo_denoiser`, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import photo_denoiser

TRAINING = replace(
    photo_denoiser.TRAINING,
    space={
        "architecture": {"choices": photo_denoiser.ARCHITECTURES, "structural": True},
        "learning_rate": {"choices": [1e-3, 5e-3, 3e-2]},
        "batch_size": {"choices": [4, 16]},
        "loss": {"choices": ["squared", "absolute"]},
    },
    repeats=3,
)
