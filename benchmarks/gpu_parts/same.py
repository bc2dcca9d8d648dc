"""Does each built-in task train the same on the GPU as on the CPU?

Both train from the same weights on the same batches, in float32 without TF32, without dropout (whose numbers are the
device's own). They cannot be equal bit for bit: sums are taken in another order. How much that alone does is measured
too, by a training on the CPU without oneDNN, whose kernels are others than those of the reference. The first loss and
the first gradient show whether the same is computed. From step to step differences grow, as in any training: a later
number may differ by as much as its tolerance, or some times what the CPU's other kernels make of it.

A further training on the GPU in bfloat16, which `precision: auto` chooses there, shows how far that is away. Its
tolerances are rounded up from what bfloat16 does to the same trainings on a CPU.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_parts.box import Box
from benchmarks.gpu_parts.tasks import Case
from objectives.recording import STEPS

# The largest relative difference from the CPU's number at which a training counts as the same.
TOLERANCES = {"first loss": 1e-4, "first gradient": 1e-3, "last loss": 2e-2, "validation loss": 2e-2}
BFLOAT16 = {"first loss": 5e-2, "first gradient": 2e-1, "last loss": 2e-1, "validation loss": 2e-1}
# Times the difference that the CPU's other kernels make, of the numbers after the first step.
GROWN = 4

_NO_DROPOUT = {"dropout_1": 0.0, "dropout_2": 0.0, "dropout_3": 0.0}
_ABR = {"dropout": 0.0, "settle_batches": 2, "metric_records": 16, "data": {"records": 240}}
_EYES = {**_NO_DROPOUT, "base_width": 8, "data": {"images": 200, "image_size": 32, "prevalence": 0.2}}
_SOUNDS = {"base_width": 8, "data": {"clips": 80, "bands": 32}}
_CELLS = {"base_width": 8, "batch_size": 4, "settle_batches": 2}
_CELLS |= {"data": {"slices": 8, "height": 64, "width": 128, "patch_size": 64}}
CASES = (
    Case("abr tiny", "abr", {**_ABR, "architecture": "tiny"}),
    Case("abr tiny, uncertainty", "abr", {**_ABR, "architecture": "tiny", "weighting": "uncertainty"}),
    Case("audio_angle resnet_small, ghm", "audio_angle", _SOUNDS),
    Case("audio_angle resnet_deep, hinge", "audio_angle", {**_SOUNDS, "architecture": "resnet_deep", "loss": "hinge"}),
    Case("glaucoma cnn, focal", "glaucoma", {**_EYES, "architecture": "cnn"}),
    Case("glaucoma resnet18, ghm", "glaucoma", {**_EYES, "architecture": "resnet18", "loss": "ghm"}),
    Case("mitochondria unet, bce_dice", "mitochondria", _CELLS),
    Case("mitochondria attention_resunet, focal", "mitochondria",
         {**_CELLS, "architecture": "attention_resunet", "loss": "focal"}),
)  # fmt: skip
EPOCHS = 2


def run(box: Box) -> None:
    """Compare case after case."""
    box.leave_out("quickstart", "it trains on the CPU wherever it runs")
    cases = CASES[2:5:2] if box.dry else CASES
    with tempfile.TemporaryDirectory() as name:
        for index, case in enumerate(cases):
            if box.fits(8, case.name):
                box.add(task=case.name, **compared(case, Path(name) / str(index), box))


def compared(case: Case, folder: Path, box: Box) -> dict[str, Any]:
    """Return the numbers of all trainings of a case, and whether they are within the tolerances."""
    cpu = torch.device("cpu")
    reference = numbers(case, folder / "cpu", cpu)
    with other_kernels():
        others = numbers(case, folder / "others", cpu)
    # A dry run has no other device, and its numbers are those of the CPU's other kernels.
    found, half = others, numbers(case, folder / "half", cpu, "bfloat16") if box.dry else None
    if box.device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        found = numbers(case, folder / "gpu", box.device)
        torch.backends.cudnn.allow_tf32 = True  # torch's own default, under which studies train
        if torch.cuda.is_bf16_supported():
            half = numbers(case, folder / "half", box.device, "bfloat16")
    own, grown = differences(reference, others), ("last loss", "validation loss")
    allowed = {name: max(most, GROWN * own[name] if name in grown else 0.0) for name, most in TOLERANCES.items()}
    away = None if half is None else differences(reference, half)
    return {
        "cpu": reference,
        "gpu": found,
        "differences": differences(reference, found),
        "other_kernels": own,
        "same": within(differences(reference, found), allowed),
        "bfloat16": away,
        "bfloat16_near": None if away is None else within(away, BFLOAT16),
    }


@contextlib.contextmanager
def other_kernels() -> Iterator[None]:
    """Have the CPU compute without oneDNN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that oneDNN knows TF32 on other devices
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def numbers(case: Case, folder: Path, device: torch.device, precision: str = "float32") -> dict[str, float]:
    """Train for some epochs, and return the numbers that are compared."""
    reports = case.train(folder, device, precision=precision, epochs=EPOCHS)
    with np.load(folder / STEPS) as steps:
        loss, gradient = steps["loss"], steps["gradient_norm"]
    return {
        "first loss": float(loss[0]),
        "first gradient": float(gradient[0]),
        "last loss": float(loss[-1]),
        "validation loss": reports[EPOCHS]["val_loss"],
    }


def differences(reference: dict[str, float], found: dict[str, float]) -> dict[str, float]:
    """Return relative differences; of a number that is none, infinity."""
    relative = {name: abs(found[name] - value) / max(abs(value), 1e-12) for name, value in reference.items()}
    return {name: value if np.isfinite(value) else float("inf") for name, value in relative.items()}


def within(found: dict[str, float], tolerances: dict[str, float]) -> bool:
    """Return True if no difference is above its tolerance."""
    return all(found[name] <= most for name, most in tolerances.items())
