"""The networks of `marked_sums`, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import marked_sums

TRAINING = replace(
    marked_sums.TRAINING,
    space={
        "cell": {"choices": ["rnn", "gru", "lstm"], "structural": True},
        "learning_rate": {"choices": [1e-3, 4e-3, 2e-2, 1e-1]},
        "width": {"choices": [8, 24]},
        "max_norm": {"choices": [0.1, 1.0]},
    },
    repeats=3,
)
