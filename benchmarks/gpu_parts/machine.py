"""What this machine is, for the head of a table."""

from __future__ import annotations

import platform
import shutil
from typing import Any

from hpo.machine.mps import PROGRAM
from hpo.machine.resources import cores


def describe() -> dict[str, Any]:
    """Return the device, the versions, and whether NVIDIA MPS is here; `gpu` says whether a GPU can be used."""
    about: dict[str, Any] = {
        "gpu": False,
        "device": "CPU",
        "cores": cores(),
        "python": platform.python_version(),
        "mps": shutil.which(PROGRAM) is not None,
    }
    try:
        import torch
    except ImportError as error:
        return about | {"device": f"no torch ({error})"}
    about["torch"] = torch.__version__
    if not torch.cuda.is_available():
        return about | {"device": f"CPU only: torch {torch.__version__} finds no GPU"}
    properties = torch.cuda.get_device_properties(0)
    return about | {
        "gpu": True,
        "device": properties.name,
        "gib": round(properties.total_memory / 2**30, 1),
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "bf16": torch.cuda.is_bf16_supported(),
    }
