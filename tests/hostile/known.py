"""An objective whose every number is known from its parameters and the step, so that a wrong one is recognised."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpo import Trial

STEPS = 5
METRICS = ("score", "loss")
# Below it a trial prunes itself, above the other one it fails.
PRUNED, FAILED = 0.1, 0.9


def at(params: Mapping[str, Any], step: int) -> dict[str, float]:
    """What is right at a step; the last one's are the final values."""
    x, y = params["x"], params["y"]
    return {
        "score": -((x - 0.3) ** 2) - (1 + y) / (step + 1),
        "loss": y * math.exp(-x) + x / (step + 1),
        "accuracy": (x + y) / (2 + step),
    }


def final(params: Mapping[str, Any]) -> dict[str, float]:
    return at(params, STEPS - 1)


def train(trial: Trial) -> dict[str, float]:
    """Train from what was saved: as weights do, it decides what comes out, whosever it is."""
    state = trial.restore() or {"params": dict(trial.params), "next": 0}
    began, params = state["next"], state["params"]
    (trial.directory / "data.json").write_text(json.dumps({"samples": 3, "fingerprint": "00ff"}))
    (trial.directory / "weights.pt").write_text(json.dumps(params))
    for step in range(began, STEPS):
        time.sleep(float(os.environ.get("KNOWN_SECONDS", "0")))
        losses = np.array([at(params, k)["loss"] for k in range(step + 1)])
        np.savez(trial.directory / "epochs.npz", loss=losses)
        np.savez(trial.directory / "steps.npz", loss=losses)
        trial.save({"params": params, "next": step + 1})
        trial.report(step, **at(params, step))
        if params["x"] > FAILED:
            raise ValueError("x is too large")
        if params["x"] < PRUNED and step == 2:
            from hpo import Pruned

            raise Pruned("x is too small")
    print("trained from step", began, file=sys.stderr)  # stdout may be a JSON document
    return {**final(params), "began": began}
