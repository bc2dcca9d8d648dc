"""Shares of the machine for workers: CPU threads, and a GPU or a part of one.

How much memory a model needs is not known here. A share of 0.5 means that two workers use one GPU, and that torch's
allocator refuses each of them more than half of its memory.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from hpo.errors import ResourceError
from hpo.text import count

_MAX_DEFAULT_WORKERS = 8
# What CUDA takes for a GPU, or a part of one: its number, or its UUID.
_GPU = re.compile(r"[0-9]+|(GPU|MIG)-.+")


@dataclass(frozen=True)
class Slot:
    """Share of one worker.

    Attributes:
        cpu: Number of threads.
        gpus: Ids of the GPUs it sees; () for none.
        gpu_share: Part of each GPU that it may use; 1 or more: all of it.
    """

    cpu: int
    gpus: tuple[str, ...] = ()
    gpu_share: float = 0.0


def visible_gpus() -> tuple[str, ...]:
    """Return the ids of the GPUs that this process may use.

    They are those of $CUDA_VISIBLE_DEVICES if it is set, else those that nvidia-smi lists: the driver itself must not
    create a CUDA context. CUDA uses none from the first entry on that names none, and none at all if one comes twice.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return nvidia_smi("index")
    named = tuple(takewhile(_GPU.fullmatch, map(str.strip, given.split(","))))
    return named if len(set(named)) == len(named) else ()


def nvidia_smi(field: str) -> tuple[str, ...]:
    """Return a field of each GPU of the machine, such as its `index` or `name`; () without nvidia-smi."""
    try:
        command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in listed.splitlines() if line.strip())


def kernel_kills(counters: Path = Path("/proc/vmstat")) -> int:
    """Return the number of processes that the kernel has killed for lack of memory since the machine started.

    Returns 0 where the kernel does not say so (before Linux 4.13, and on other systems).
    """
    try:
        lines = counters.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slots(workers: int | None, cpu: int | None, gpu: float, gpus: tuple[str, ...] | None = None) -> list[Slot]:
    """Return one Slot for each worker.

    Args:
        workers: Number of workers; None: as many as the GPUs hold, else as the cores hold, but at most 8.
        cpu: Threads of a worker; None: the cores are divided evenly.
        gpu: GPUs that a worker needs: 0, a part such as 0.5, or whole ones.
        gpus: Ids of the GPUs; None: `visible_gpus()`.

    Raises:
        ResourceError: The visible GPUs cannot hold the workers.
    """
    places: list[tuple[str, ...]] = []
    if gpu > 0:
        gpus = visible_gpus() if gpus is None else gpus
        if not gpus:
            raise ResourceError(
                f"engine.gpu is {gpu:g}, but no GPU is visible here (nvidia-smi lists none, or CUDA_VISIBLE_DEVICES "
                "names none); set engine.gpu to 0 to train on the CPU: --set engine.gpu=0"
            )
        if gpu < 1:
            per_gpu = int(1 / gpu + 1e-9)
            # Spread first: the second worker goes to the second GPU, not beside the first worker.
            places = [(one,) for _ in range(per_gpu) for one in gpus]
        else:
            whole = int(gpu)
            places = [gpus[start : start + whole] for start in range(0, len(gpus) - whole + 1, whole)]
        if not places or (workers or 1) > len(places):
            raise ResourceError(
                f"asked for is room for {count(workers or 1, 'worker')} of {gpu:g} GPU each, but "
                f"{count(len(gpus), 'visible GPU')} can hold {len(places)}; lower engine.workers or engine.gpu"
            )
    if workers is None:
        workers = len(places) if places else max(1, min(cores() // (cpu or 1), _MAX_DEFAULT_WORKERS))
    threads = cpu or max(1, cores() // workers)
    return [Slot(threads, places[k], gpu) if places else Slot(threads) for k in range(workers)]
