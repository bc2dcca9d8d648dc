"""The actors and critics of `corridor_actor_critic` without traces, every cell of a grid."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.trainings import corridor_actor_critic

TRAINING = replace(
    corridor_actor_critic.TRAINING,
    space={
        "actor_rate": {"choices": [0.1, 0.4, 1.5, 6.0]},
        "critic_rate": {"choices": [0.02, 0.1, 0.5]},
        "discount": {"choices": [0.9, 0.99]},
        "entropy": {"choices": [0.0, 0.03]},
    },
    repeats=3,
)
