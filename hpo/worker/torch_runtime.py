"""The one module of hpo that uses torch, and only after an objective has imported it.

It knows no devices beyond the current one. A worker sees one share of one GPU, or several whole ones, through
CUDA_VISIBLE_DEVICES, which the engine set before the process began.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

# A CUDA context with cuBLAS and cuDNN loaded takes 300 to 500 MiB beside what the allocator holds.
_CONTEXT_BYTES = 512 * 2**20
# Others that compute on GPUs, and whose memory is not seen here.
_OTHERS = frozenset({"catboost", "cuml", "cupy", "jax", "lightgbm", "numba.cuda", "paddle", "tensorflow", "xgboost"})


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


def threads() -> int | None:
    """Return the number of threads of an operation on the CPU; None if torch is not imported."""
    torch = _torch()
    return None if torch is None else int(torch.get_num_threads())


def device() -> str:
    """Return the name of the GPU that torch uses, with the versions of CUDA and cuDNN.

    Returns:
        `cpu` if torch alone computes here and sees no GPU; empty where that is not known.
    """
    torch = _torch()
    if torch is None or not torch.cuda.is_available():
        return "cpu" if torch is not None and _computes_alone(torch) else ""
    name = torch.cuda.get_device_name(torch.cuda.current_device())
    return f"{name}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"


def release() -> None:
    """Free the memory that torch's allocator keeps for later, which other processes on the GPU may need."""
    torch = _torch()
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def settings() -> dict[str, Any]:
    """Return what is set for the whole process, by name; nothing if torch is not imported."""
    torch = _torch()
    return {} if torch is None else {name: setting.get() for name, setting in _settings_of(torch).items()}


def restore_settings(earlier: dict[str, Any]) -> None:
    """Put back what is set for the whole process, and leave a process group that was not left.

    Args:
        earlier: what `settings` returned. If torch was not imported then, it is put back to what it begins with.
    """
    torch = _torch()
    if torch is None:
        return
    for name, setting in _settings_of(torch).items():
        value = earlier.get(name, setting.default)
        # A default device that is set anew would slow torch down, also if it is the same.
        if setting.get() != value:
            setting.put(value)
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


class _Setting(NamedTuple):
    """Something that is set for the whole process; `default` is what torch begins with."""

    get: Callable[[], Any]
    put: Callable[[Any], object]
    default: Any


def _settings_of(torch: ModuleType) -> dict[str, _Setting]:
    cpu, cudnn, sharing = torch.device("cpu"), torch.backends.cudnn, torch.multiprocessing

    def put_device(device: Any) -> None:
        torch.set_default_device(None if device == cpu else device)

    def deterministic() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    def put_deterministic(values: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(values[0], warn_only=values[1])

    def cudnn_flags() -> tuple[bool, bool, bool]:
        return cudnn.enabled, cudnn.benchmark, cudnn.deterministic

    def put_cudnn_flags(values: tuple[bool, bool, bool]) -> None:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = values

    found = {
        "dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        "device": _Setting(torch.get_default_device, put_device, cpu),
        "gradients": _Setting(torch.is_grad_enabled, torch.set_grad_enabled, True),
        "anomalies": _Setting(torch.is_anomaly_enabled, torch.set_anomaly_enabled, False),
        "deterministic": _Setting(deterministic, put_deterministic, (False, False)),
        "matmul": _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        "sharing": _Setting(sharing.get_sharing_strategy, sharing.set_sharing_strategy, "file_descriptor"),
        "cudnn": _Setting(cudnn_flags, put_cudnn_flags, (True, False, False)),
    }
    if torch.cuda.is_initialized():
        found["gpu"] = _Setting(torch.cuda.current_device, torch.cuda.set_device, 0)
    return found


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


def unused_gpu() -> dict[str, Any]:
    """Return what torch is, if it has held nothing of the worker's GPU since `prepare`.

    Returns:
        Its version, what it is `built` for (`CUDA 12.6`; empty: for no GPU), and whether it `sees` a GPU. Nothing if it
        held something, or if another library or device may have computed in its place.
    """
    torch = _torch()
    # An objective may have made an error of torch's warning of a driver that is too old.
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if torch is not None and _computes_alone(torch) and not peak_gpu_bytes():
            versions = {"CUDA": torch.version.cuda, "ROCm": torch.version.hip}
            built = " ".join(f"{name} {version}" for name, version in versions.items() if version)
            return {"torch": str(torch.__version__), "built": built, "sees": torch.cuda.is_available()}
    return {}


def _computes_alone(torch: ModuleType) -> bool:
    """Return True if no other library that computes on GPUs is imported, and torch has no device of another kind."""
    if _OTHERS & sys.modules.keys() or not hasattr(torch, "accelerator"):
        return False
    device = torch.accelerator.current_accelerator()
    return device is None or device.type == "cuda"
