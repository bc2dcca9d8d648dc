"""The notes that hpo keeps on Optuna's trials and studies: who writes them and what they hold.

A trial's ORIGIN is written when it is put in the queue, JOB when it starts, OUTCOME before it ends;
a study's IDENTITY when it is created. All are plain JSON, so that they can be read without hpo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ORIGIN = "hpo:origin"  # source, retry_of, attempt, seed, blame
JOB = "hpo:job"  # seed, attempt, retry_of, source, started (s since the epoch), params
OUTCOME = "hpo:outcome"  # state, cause, reason, metrics, finished, seconds, gpu_seconds, requeued
IDENTITY = "hpo:identity"  # StudySpec.identity()

# Where a configuration came from.
SAMPLER, ENQUEUE, GRID, FALLBACK, RETRY = "sampler", "enqueue", "grid", "fallback", "retry"


def requeued(attributes: Mapping[str, Any]) -> bool:
    """Whether this attempt was lost or interrupted and tried again, so that it does not count."""
    return bool(attributes.get(OUTCOME, {}).get("requeued"))
