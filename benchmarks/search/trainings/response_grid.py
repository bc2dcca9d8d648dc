"""The networks of `response_two_tasks`, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import response_two_tasks

TRAINING = replace(
    response_two_tasks.TRAINING,
    space={
        "latency_weight": {"choices": [0.1, 1.0, 10.0]},
        "heads": {"choices": ["shared", "separate"], "structural": True},
        "learning_rate": {"choices": [3e-4, 2e-3, 1e-2, 5e-2]},
        "batch_size": {"choices": [12, 60]},
    },
    repeats=3,
)
