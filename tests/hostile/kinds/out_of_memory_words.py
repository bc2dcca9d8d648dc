"""Run out of memory in the words of CUDA, HIP, MPS, JAX, NCCL, the system and a DataLoader.

---
engines: [local]
study: {budget: {trials: 14}, mlflow: false}
expect:
  exit: 1
  state: PRUNED
  cause: out_of_memory
  constraints: [out_of_memory]
  reason: out of memory
  trials:
    13: {state: FAIL, cause: exception, reason: NOT_INITIALIZED}
"""

import errno

import torch

HINT = "\nCUDA kernel errors might be asynchronously reported at some other API call"
ERRORS = (
    lambda: RuntimeError(f"CUDA error: out of memory{HINT}"),
    lambda: torch.AcceleratorError(f"CUDA error: out of memory{HINT}", 2),
    lambda: RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    lambda: torch.OutOfMemoryError("CUDA out of memory."),
    lambda: RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes."),
    lambda: RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
    lambda: RuntimeError("MPS backend out of memory (MPS allocated: 17.93 GB)"),
    lambda: RuntimeError(
        "Caught OutOfMemoryError in replica 1 on device 1.\ntorch.OutOfMemoryError: CUDA out of memory."
    ),
    lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
    lambda: RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. "),
    lambda: RuntimeError("NCCL error: unhandled cuda error\nCuda failure 2 'out of memory'"),
    lambda: MemoryError(),
    lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    lambda: RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
)


def train(trial):
    raise ERRORS[trial.number]()
