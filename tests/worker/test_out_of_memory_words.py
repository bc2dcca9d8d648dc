"""By which words memory has run out, and by which it has not."""

from __future__ import annotations

import errno
import textwrap

import numpy as np
import pytest
import torch

import hpo
from hpo import layout
from hpo.runner import run
from hpo.storage.load_study import load_study
from hpo.worker.out_of_memory import reason_of, said_in


class XGBoostError(ValueError):
    """As xgboost.core has it."""


class JaxRuntimeError(RuntimeError):
    """As jaxlib has it."""


class ResourceExhausted(Exception):
    """As google.api_core has it, for quotas."""


class Mute(RuntimeError):
    def __str__(self) -> str:
        raise ValueError("no text")


def wrapped(first: BaseException, then: BaseException, how: str = "context") -> BaseException:
    """Return `then`, raised while `first` was being handled, from it, or with its context left out."""
    try:
        try:
            raise first
        except BaseException:
            if how == "cause":
                raise then from first
            if how == "none":
                raise then from None
            raise then  # noqa: B904
    except BaseException as error:
        return error


OUT = {
    "python": MemoryError(),
    "numpy": np._core._exceptions._ArrayMemoryError((10**12,), np.dtype("float64")),  # type: ignore[attr-defined]
    "torch class": torch.OutOfMemoryError("anything"),
    "torch allocator": RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    "torch accelerator": torch.AcceleratorError("CUDA error: out of memory", 2),
    "torch driver": RuntimeError("CUDA driver error: out of memory"),
    "old torch": RuntimeError("cuda runtime error (2) : out of memory at /pytorch/aten/src/THC/THCTensorRandom.cu:25"),
    "hip": RuntimeError("HIP out of memory. Tried to allocate 2 GiB"),
    "hip error": RuntimeError("HIP error: out of memory\nHIP kernel errors might be reported at some other call"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    "xpu": RuntimeError("XPU out of memory. Tried to allocate 2 GiB"),
    "cpu": RuntimeError("[enforce fail at alloc_cpu.cpp:115] err == 0. DefaultCPUAllocator: can't allocate memory"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cudnn 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "nccl": RuntimeError("NCCL error: unhandled cuda error\nCuda failure 2 'out of memory'"),
    "replica": RuntimeError("Caught OutOfMemoryError in replica 0 on device 0.\nOriginal Traceback (most recent ..."),
    "jax": JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes."),
    "jax on a tpu": JaxRuntimeError("RESOURCE_EXHAUSTED: Attempting to reserve 9.63G at the bottom of memory."),
    "old jax": RuntimeError("Resource exhausted: Out of memory while trying to allocate 24 bytes."),
    "xgboost": XGBoostError("[12:00:00] common.h:45: cudaErrorMemoryAllocation: out of memory"),
    "thrust": RuntimeError("parallel_for failed: out of memory"),
    "enomem": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "enomem of fork": BlockingIOError(errno.ENOMEM, "fork"),
    "shared memory": RuntimeError("unable to mmap 64 bytes from file </torch_1>: Cannot allocate memory (12)"),
    "loader killed": RuntimeError("DataLoader worker (pid 123) is killed by signal: Killed. "),
    "loader, shared memory": RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible"),
    "cause": wrapped(torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("trial failed"), "cause"),
    "context": wrapped(RuntimeError("CUDA out of memory."), KeyError("in the clean-up")),
    "exit": wrapped(MemoryError(), SystemExit(1)),
    "group": ExceptionGroup("two", [ValueError("x"), ExceptionGroup("one", [MemoryError()])]),
    "far behind": RuntimeError("log: " + "x" * 200_000 + "\nCUDA out of memory. Tried to allocate 2 GiB"),
}

NOT_OUT = {
    "another memory": RuntimeError("out of memory slots in replay buffer"),
    "value": ValueError("out of memory"),
    "value of cuda": ValueError("expected a batch without CUDA out of memory"),
    "pin": RuntimeError("Pin memory thread exited unexpectedly"),
    "assert": RuntimeError("CUDA error: device-side assert triggered"),
    "cudnn not initialized": RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    "cublas not initialized": RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`"),
    "cudnn not supported": RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed"),
    "disk": OSError(errno.ENOSPC, "No space left on device"),
    "loader gone": RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"),
    "loader aborted": RuntimeError("DataLoader worker (pid 3) is killed by signal: Aborted. "),
    "quota": ResourceExhausted("429 RESOURCE_EXHAUSTED: Quota exceeded for quota metric 'requests'"),
    "grpc": RuntimeError("RESOURCE_EXHAUSTED: Received message larger than max (4194304 vs. 100)"),
    "ray, may be": RuntimeError("(1) The process is killed by SIGKILL by OOM killer due to high memory usage."),
    "on the chip": RuntimeError("out of resource: shared memory, Required: 3, Hardware limit: 2"),
    "handled": wrapped(MemoryError(), ValueError("batch_size must be even"), "none"),
    "mute": Mute(),
}


@pytest.mark.parametrize("error", OUT.values(), ids=OUT)
def test_this_is_out_of_memory(error: BaseException) -> None:
    assert hpo.is_out_of_memory(error)


@pytest.mark.parametrize("error", NOT_OUT.values(), ids=NOT_OUT)
def test_this_is_not(error: BaseException) -> None:
    assert not hpo.is_out_of_memory(error)


def test_exceptions_in_a_circle_are_asked_once_each() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert not hpo.is_out_of_memory(one)


def test_the_reason_is_the_line_that_says_it() -> None:
    assert reason_of(OUT["nccl"]) == "Cuda failure 2 'out of memory'"
    assert reason_of(OUT["context"]) == "CUDA out of memory."
    assert reason_of(OUT["python"]) == "MemoryError"


STACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    main()\n'
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "t.py", line 3, in <module>
  |     raise errors
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "t.py", line 2, in <module>
    |     train()
    | MemoryError
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "t.py", line 4, in <module>
    | ValueError: x
    +------------------------------------
"""
OTHER = "\nDuring handling of the above exception, another exception occurred:\n\n"
RANKS = textwrap.indent(STACK, "[rank0]: ") + "[rank0]: torch.OutOfMemoryError: CUDA out of memory.\n" + "info\n" * 50

SAYS = {
    "torch": STACK + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n",
    "python -c": 'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\nMemoryError\n',
    "errno": STACK + "OSError: [Errno 12] Cannot allocate memory\n",
    "tensorflow": STACK + "tensorflow.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[1]\n",
    "chained": f"{STACK}torch.OutOfMemoryError: CUDA out of memory.\n{OTHER}{STACK}KeyError: 'x'\n",
    "group": GROUP,
    "torchrun": RANKS
    + STACK
    + "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \ntrain.py FAILED\n",
    "c++": "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
    "java": 'Exception in thread "main" java.lang.OutOfMemoryError: Java heap space\n\tat Main.main(Main.java:5)\n',
    "julia": "ERROR: LoadError: OutOfMemoryError()\nStacktrace:\n",
    "r": "Error: cannot allocate vector of size 7.5 Gb\nExecution halted\n",
    "node": "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n",
    "rust": "memory allocation of 1024 bytes failed\n",
    "go": "fatal error: runtime: out of memory\n",
    "slurm": "slurmstepd: error: Detected 1 oom_kill event in StepId=1.batch.\n",
}
SAYS_NOT = {
    "it went on": f"{STACK}torch.OutOfMemoryError: CUDA out of memory.\ntrying less\n{STACK}ValueError: bad label\n",
    "it went on for long": "CUDA out of memory, using half the batch\n" + "epoch\n" * 40 + "cannot read the masks\n",
    "source code": 'Traceback (most recent call last):\n  File "t.py", line 3\n    "CUDA out of memory"\nKeyError\n',
    "quoted": STACK + "ValueError: expected 'CUDA out of memory'\n",
    "usage": "usage: train.py [--on-out-of-memory {retry,raise}]\ntrain.py: error: unrecognized arguments\n",
    "nothing": "",
}


@pytest.mark.parametrize("output", SAYS.values(), ids=SAYS)
def test_a_program_says_so(output: str) -> None:
    assert said_in(output)


@pytest.mark.parametrize("output", SAYS_NOT.values(), ids=SAYS_NOT)
def test_a_program_does_not_say_so(output: str) -> None:
    assert not said_in(output)


PROGRAMS = {
    "python": ("raise MemoryError('40 GB')", "MemoryError: 40 GB"),
    "for real": ("bytearray(2**62)", "MemoryError"),
    "c library": ("import os; os.write(2, b'mmap failed: Cannot allocate memory\\n'); os._exit(3)", "mmap failed"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_command_that_runs_out_of_memory_is_pruned_with_the_constraint(make_spec, runs, tmp_path, program):
    code, words = PROGRAMS[program]
    (tmp_path / "train.py").write_text(code)
    run(make_spec(command=["python", "train.py"], budget={"trials": 1}), runs)
    (trial,) = load_study(runs, "toy")[1].trials
    outcome = trial.user_attrs["hpo:outcome"]
    assert (trial.state.name, outcome["cause"], trial.constraints) == ("PRUNED", "out_of_memory", {"out_of_memory": 1})
    assert words in outcome["reason"]


def test_only_what_this_attempt_printed_counts(make_spec, runs, tmp_path):
    """The output.log of an earlier attempt is taken over with its checkpoint."""
    (tmp_path / "train.py").write_text("import sys; sys.exit('cannot read the masks')")
    spec = make_spec(command=["python", "train.py"], budget={"trials": 1})
    folder = layout.trial_directory(runs / "toy", 0)
    folder.mkdir(parents=True)
    (folder / layout.OUTPUT).write_text(SAYS["torch"])
    run(spec, runs)
    (trial,) = load_study(runs, "toy")[1].trials
    assert trial.state.name == "FAIL"


@pytest.mark.parametrize(("how", "state"), [("kill -9 $$", "PRUNED"), ("exit 137", "PRUNED"), ("exit 9", "FAIL")])
def test_a_command_killed_by_the_kernel_for_want_of_memory(make_spec, runs, monkeypatch, how, state):
    """What the kernel counts cannot be made to rise here without filling the machine's memory."""
    counts = iter([3, 4])
    monkeypatch.setattr("hpo.worker.command.kernel_kills", lambda: next(counts))
    engine = {"name": "inline"}
    run(make_spec(command=["sh", "-c", how], budget={"trials": 1}, engine=engine), runs)
    (trial,) = load_study(runs, "toy")[1].trials
    assert trial.state.name == state


def test_a_command_that_somebody_killed_failed(make_spec, runs):
    run(make_spec(command=["sh", "-c", "kill -9 $$"], budget={"trials": 1}), runs)
    (trial,) = load_study(runs, "toy")[1].trials
    assert (trial.state.name, trial.user_attrs["hpo:outcome"]["cause"]) == ("FAIL", "exception")
