"""Environment in which a worker trains, as far as numbers may depend on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hpo.machine.provenance import machine, packages
from hpo.machine.resources import cores, nvidia_smi
from hpo.objective.locate import PYTHON
from hpo.worker import torch_runtime

if TYPE_CHECKING:
    from hpo.trial import ObjectiveRef


def environment(ref: ObjectiveRef, threads: int | None, gpu: float) -> dict[str, Any]:
    """Return packages, interpreter, processor, device and threads of a trial of this process.

    Args:
        ref: the objective. The packages of a program that another interpreter runs are not known.
        threads: those that the worker was given; None: as many as the libraries take.
        gpu: its share of a GPU.
    """
    own = not ref.command or ref.command[0] in PYTHON
    device = torch_runtime.device() or (", ".join(nvidia_smi("name")) if gpu > 0 else "cpu")
    taken = threads or torch_runtime.threads() or int(os.environ.get("OMP_NUM_THREADS") or cores())
    return {**machine(), "packages": packages() if own else {}, "device": device, "threads": taken}
