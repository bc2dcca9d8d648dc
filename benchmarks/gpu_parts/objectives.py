"""Objectives of the parts that do not ask how fast a task is, but what happens to its neighbours."""

from __future__ import annotations

import os
import time

import torch

from hpo import Trial


def _work(device: str, seconds: float) -> None:
    """Multiply matrices for so long."""
    matrix = torch.rand(512, 512, device=device)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        matrix = (matrix @ matrix).clamp(-1, 1)
        if device == "cuda":
            torch.cuda.synchronize()


def takes(trial: Trial) -> dict[str, float]:
    """Hold a part of the GPU's memory while it reports; without a GPU, say what torch says where that is too much."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    part = trial.params["part"]
    _work(device, 0.1)
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        held = torch.empty(int(part * total), dtype=torch.uint8, device=device)
    else:
        held = torch.empty(1)
        if part > 0.25:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 100.00 GiB.")
    for step in range(1, trial.constants["steps"] + 1):
        _work(device, trial.constants["seconds"])
        trial.report(step, score=part)
    return {"score": part + 0 * len(held)}


def steady(trial: Trial) -> dict[str, float]:
    """Report steps at a steady pace; go on from the last one after a kill. Note the process after each report."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for step in range((trial.restore() or 0) + 1, trial.constants["steps"] + 1):
        _work(device, trial.constants["seconds"])
        trial.save(step)
        trial.report(step, score=trial.params["x"] + step)
        (trial.directory / "pid").write_text(str(os.getpid()))
    return {"score": trial.params["x"]}
