"""The embeddings of `wine_embedding`, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import wine_embedding

TRAINING = replace(
    wine_embedding.TRAINING,
    space={
        "loss": {"choices": ["contrastive", "triplet", "prototypes"]},
        "learning_rate": {"choices": [3e-4, 3e-3, 3e-2, 2e-1]},
        "dimensions": {"choices": [2, 8]},
        "margin": {"choices": [0.3, 3.0]},
    },
    repeats=3,
)
