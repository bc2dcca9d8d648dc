"""The one module of hpo that uses torch, and only after an objective has imported it.

It knows no devices beyond the current one. A worker sees one share of one GPU, or several whole ones, through
CUDA_VISIBLE_DEVICES, which the engine set before the process began.
"""

from __future__ import annotations

import sys
from types import ModuleType

# A CUDA context with cuBLAS and cuDNN loaded takes 300 to 500 MiB beside what the allocator holds.
_CONTEXT_BYTES = 512 * 2**20


def _torch() -> ModuleType | None:
    return sys.modules.get("torch")


def prepare(seed: int, threads: int | None, gpu_share: float) -> None:
    """Prepare torch for a trial.

    Every generator is seeded, the threads are set and the peak of the memory is reset. This process's memory on the GPU
    is bounded to its share by a check in torch's own allocator, which is no isolation.
    """
    torch = _torch()
    if torch is None:
        return
    torch.manual_seed(seed)
    if threads is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        if gpu_share > 0:
            # Also for a whole GPU: the worker's last trial may have had a part of it.
            torch.cuda.set_per_process_memory_fraction(min(gpu_share, 1.0))
        torch.cuda.reset_peak_memory_stats()


def release() -> None:
    """Free the memory that torch's allocator keeps for later, which other processes on the GPU may need."""
    torch = _torch()
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def gpu_memory() -> float:
    """Return the peak memory on the current GPU since `prepare`, as a part of the GPU's memory.

    It is what torch's allocator reserved and an estimate of the CUDA context. The GPU's driver could tell the context
    exactly, but not from those of other processes.
    """
    torch = _torch()
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return float((torch.cuda.max_memory_reserved() + _CONTEXT_BYTES) / total)


def peak_gpu_bytes() -> int:
    """Return the most bytes that torch's allocator held on the current GPU since `prepare`."""
    torch = _torch()
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.max_memory_allocated())
