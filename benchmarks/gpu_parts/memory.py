"""Out of memory on a GPU that is shared: the trial ends with its reason, and the others go on."""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.gpu_parts.box import Box
from benchmarks.gpu_parts.studies import OBJECTIVES, Study
from benchmarks.gpu_parts.tasks import Case
from hpo.machine.resources import nvidia_smi
from objectives.mitochondria.models import UNet

# Parts of the GPU's memory that the trials hold, each in a quarter of the GPU.
PARTS = (0.05, 0.05, 0.9, 0.05, 0.05, 0.05)
_CELLS = {"base_width": 16, "batch_size": 16, "data": {"slices": 8, "height": 256, "width": 256, "patch_size": 128}}
_TINY = {"base_width": 2, "batch_size": 4, "data": {"slices": 4, "height": 64, "width": 64, "patch_size": 32}}
SECONDS = {"the planted trial": 40.0, "micro-batches": 15.0}


def run(box: Box) -> None:
    """Do both, and measure what a CUDA context takes, for which hpo adds an estimate to what torch says."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        if box.fits(SECONDS["the planted trial"], "the planted trial"):
            box.add(**planted(Path(name) / "planted", box))
        if box.device.type == "cuda":
            context(box)
        if box.fits(SECONDS["micro-batches"], "micro-batches"):
            box.add(**micro_batches(Path(name), box))
    box.leave_out("`gpu: auto` after an out-of-memory", "its retry with more of a GPU is tested without one")


def planted(folder: Path, box: Box) -> dict[str, Any]:
    """Run a study in which one trial of six wants more than its share. Return how each ended."""
    steps, seconds = (3, 0.01) if box.dry else (8, 0.25)
    keys = {
        "objective": f"{OBJECTIVES}:takes",
        "metrics": [{"name": "score", "direction": "maximize"}],
        "search_space": {"part": {"low": 0.0, "high": 1.0}},
        "enqueue": [{"part": part} for part in PARTS],
        "constants": {"steps": steps, "seconds": seconds},
        "budget": {"trials": len(PARTS)},
        "engine": {"gpu": 0.25, **({"workers": 2} if box.dry else {})},
    }
    study = Study(folder, keys)
    with study.driven(box.dry) as process:
        wait(process, box)
    ends = {trial.number: (trial.state.name, trial.user_attrs.get("hpo:outcome", {})) for trial in study.trials()}
    full = PARTS.index(max(PARTS))
    state, outcome = ends.get(full, ("missing", {}))
    others = [end for number, (end, _) in ends.items() if number != full]
    right = state == "PRUNED" and outcome.get("cause") == "out_of_memory"
    return {
        "what": "a planted out-of-memory among six trials of `gpu: 0.25`",
        "state": state,
        "cause": outcome.get("cause"),
        "reason": outcome.get("reason"),
        "others": others,
        "as_expected": right and others == ["COMPLETE"] * (len(PARTS) - 1),
    }


def wait(process: Any, box: Box) -> None:
    """Wait until the study has ended by itself, as long as the box allows."""
    while process.poll() is None and box.left() > 0:
        time.sleep(0.1)


def context(box: Box) -> None:
    """Measure the memory of a GPU that a process takes beside what torch's allocator holds."""
    before = nvidia_smi("memory.used")
    torch.nn.functional.conv2d(torch.rand(4, 8, 64, 64, device="cuda"), torch.rand(8, 8, 3, 3, device="cuda"))
    torch.rand(256, 256, device="cuda") @ torch.rand(256, 256, device="cuda")
    box.wait()
    after = nvidia_smi("memory.used")
    try:
        used = sum(int(one.split()[0]) for one in after) - sum(int(one.split()[0]) for one in before)
    except (ValueError, IndexError):
        box.leave_out("the CUDA context", "nvidia-smi does not tell the memory in use")
        return
    held = torch.cuda.memory_reserved() / 2**20
    box.add(what="memory of a CUDA context with cuBLAS and cuDNN, MiB", mib=round(used - held))


def micro_batches(folder: Path, box: Box) -> dict[str, Any]:
    """Train an epoch with all of the memory, and again with less than a batch needs. Return both."""
    case = Case("U-Net", "mitochondria", _TINY if box.dry else _CELLS)
    options = {"epochs": 1, "precision": "float32", "on_out_of_memory": "accumulate", "settle_batches": 0}
    whole = case.train(folder / "whole", box.device, **options)[1]
    if box.device.type == "cuda":
        # A try that ran out leaves the same free as was free before it; only what a batch takes counts.
        peak, total = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(0.6 * peak / total)
        try:
            parts = case.train(folder / "parts", box.device, **options)[1]
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    else:
        with mock.patch.object(UNet, "forward", small_memory(UNet.forward, 2)):
            parts = case.train(folder / "parts", box.device, **options)[1]
    size = case.options["batch_size"]
    return {
        "what": f"micro-batches: batches of {size} in 0.6 of the memory that they need",
        "micro_batch": parts["micro_batch"],
        "train_loss": [whole["train_loss"], parts["train_loss"]],
        "as_expected": whole["micro_batch"] == size > parts["micro_batch"],
    }


def small_memory(forward: Any, room: int) -> Any:
    """Return the forward pass of a network in a memory of so many samples."""

    def limited(self: UNet, x: Tensor) -> Tensor:
        if len(x) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        found: Tensor = forward(self, x)
        return found

    return limited
