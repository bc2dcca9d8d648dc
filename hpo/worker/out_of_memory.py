"""Words by which libraries say that memory ran out: one table, for exceptions and for what commands print.

Words that are said of other troubles too are left out. `CUDNN_STATUS_NOT_INITIALIZED`, `CUBLAS_STATUS_NOT_INITIALIZED`
and `CUDNN_STATUS_NOT_SUPPORTED` come with a full GPU, but as well with a wrong label, a driver of another version or a
tensor that is not contiguous; CUDA.jl, too, calls only ALLOC_FAILED out of memory. `exited unexpectedly`,
`BrokenProcessPool` and exit code 137 alone say only that a process is gone.
"""

from __future__ import annotations

import builtins
import errno
import re
from collections.abc import Iterator

from hpo.text import message_of

# Classes, whatever their package: Python's MemoryError with NumPy's, CuPy's and Arrow's below it, torch's and Ray's
# OutOfMemoryError, LMDB's and PyCUDA's MemoryError.
_CLASSES = ("MemoryError", "OutOfMemoryError")

# Pattern and source. Each must be specific enough to be believed wherever it is said.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"\b(?:CUDA|HIP|XPU|NPU|MLU|MUSA|MTIA|HPU) out of memory\b", "torch's caching allocators, and those of its forks"),
    (r"\bMPS backend out of memory\b", "torch: MPSAllocator"),
    (
        r"(?i)\b(?:cuda|hip|nccl|rccl|xpu|sycl|cu(?:da)?(?:mem|malloc)\w*)\b.{0,40}"
        r"(?:error|failure|failed|status|returned).{0,20}\bout of memory\b",
        "torch `CUDA error: out of memory` (AcceleratorError) and `cuda runtime error (2) : out of memory`, NCCL "
        "`Cuda failure 2 'out of memory'`, CatBoost `CUDA error 2: out of memory`, PyCUDA `cuMemAlloc failed: out of "
        "memory`, MXNet `cudaMalloc retry failed: out of memory`, spconv `cuda failed with error 2 out of memory`",
    ),
    (
        r"(?i)(?:^|[:\]] ?)out of memory[.!]?$",
        "the end of a message: thrust `parallel_for failed: out of memory`, LightGBM `[CUDA] out of memory`, MATLAB",
    ),
    (
        r"\b(?:CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|hipErrorOutOfMemory|hipErrorMemoryAllocation)\b",
        "the CUDA and HIP runtimes; Numba, TensorFlow, CuPy and XGBoost repeat them",
    ),
    (
        r"\b(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CUFFT|CURAND|CUTENSOR|HIPBLAS|HIPSOLVER|HIPSPARSE|HIPFFT|MIOPEN)"
        r"\w*_ALLOC(?:ATION)?_FAILED\b",
        "status of NVIDIA's and AMD's libraries; cuDNN 9 has CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ),
    (r"\brocblas_status_memory_error\b|\bmiopenStatusAllocFailed\b", "rocBLAS, MIOpen"),
    (r"\b(?:UR_RESULT|ZE_RESULT|PI)_ERROR_OUT_OF_(?:DEVICE|HOST)_MEMORY\b", "Intel's Level Zero, under torch's XPU"),
    (r"\bCL_(?:MEM_OBJECT_ALLOCATION_FAILURE|OUT_OF_HOST_MEMORY)\b", "OpenCL, under LightGBM"),
    (
        r"(?i)\bRESOURCE[_ ]EXHAUSTED:?.{0,200}?(?:\bout of memory\b|\bOOM\b|\bfailed to allocate\b|"
        r"\b(?:attempting|trying) to (?:allocate|reserve)\b|\berror allocating\b)",
        "JAX (XLA): `RESOURCE_EXHAUSTED: Out of memory while trying to allocate`, on a TPU `Attempting to reserve`; "
        "not gRPC's `RESOURCE_EXHAUSTED: Received message larger than max`",
    ),
    (r"\bOOM when allocating tensor\b", "TensorFlow: ResourceExhaustedError"),
    (r"\bDst tensor is not initialized\b", "TensorFlow: InternalError of a copy to a full GPU"),
    (r"\bOut of memory error on (?:GPU|XPU|NPU|CUDAPinned|CPU)\b", "PaddlePaddle"),
    (r"\bMODULE:PT_DEVMEM Allocation failed\b", "Habana's torch (also in Hugging Face Accelerate's list)"),
    (
        r"(?i)\bfailed to alloc(?:ate)? "
        r"(?:memory for requested buffer of size|request for|\d[\d.]* ?(?:[KMGT]i?B|bytes))",
        "ONNX Runtime, JAX, TensorFlow",
    ),
    (r"\bDefaultCPUAllocator: (?:can't allocate|not enough) memory\b", "torch on the CPU"),
    (r"\bunable to mmap \d+ bytes\b", "torch: memory shared between processes"),
    (r"\bCannot allocate memory\b", "strerror(ENOMEM): C libraries, shells, Python's `[Errno 12]`"),
    (r"\bstd::bad_alloc\b", "C++"),
    (r"\bUnable to allocate .{1,30} for an array with shape\b", "NumPy"),
    (
        r"\bDataLoader worker \(pid.{0,80}\) is killed by signal: (?:Killed|Bus error)\b",
        "torch: SIGKILL, which the kernel sends for want of memory; SIGBUS, where shared memory is full (its message "
        "says)",
    ),
    (r"\bexit codes of the workers are \{.{0,200}\bSIGKILL\(-9\)", "joblib (loky): `excessive memory usage`"),
    (r"\bCaught \w*MemoryError in ", "torch: an exception of a DataLoader worker or of a DataParallel replica"),
    (r"\bnode running low on memory\b|\bNODE_OUT_OF_MEMORY\b", "Ray's memory monitor"),
    (r"\b[Dd]etected \d+ oom[_-]kill event", "slurmstepd"),
    (r"\bJavaScript heap out of memory\b", "Node.js"),
    (r"\bfatal error: (?:runtime: )?(?:out of memory|cannot allocate memory)\b", "Go"),
    (r"\bmemory allocation of \d+ bytes failed\b", "Rust"),
    (r"\bcannot allocate vector of size\b", "R"),
    (r"^(?:[\w\]\[ :.|-]{0,40}\s)?(?:\w+\.)*\w*MemoryError(?::|\(\)|$)", "the last line of a traceback; Julia"),
    (r"\bjava\.lang\.OutOfMemoryError\b", "Java"),
)
_PATTERNS = tuple(re.compile(pattern) for pattern, _ in _WORDS)

# Errors of a program's own mistakes (ValueError, KeyError, ...): their messages quote anything.
_QUOTING = frozenset(
    kind
    for kind in vars(builtins).values()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    and not issubclass(kind, MemoryError | OSError)
    and kind not in (Exception, RuntimeError, SystemError)
)
_QUOTED = re.compile(rf"^(?:\[\w+\]:)?[\s|]*(?:{'|'.join(sorted(kind.__name__ for kind in _QUOTING))})\b")

# Most characters of a message that are searched, at either end.
_MOST = 50_000
# Lines at the end of a program's output that count, if it ends without a traceback.
_LAST_LINES = 30
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):")
# The end of what Python prints before a traceback that belongs to the one before it.
_CHAINED = re.compile(
    r"(?:direct cause of the following exception:|another exception occurred:|-+ (?:\d+|\.\.\.) -+)"
    r"[\s|]*(?:\[\w+\]:)?[\s|]*$"
)
# A frame of a traceback, and its line of source code: neither is a message.
_FRAME = re.compile(r'(?m)^(?:\[\w+\]:)?[\s|]*File ".*", line \d+.*\n(?:(?:\[\w+\]:)?[\s|]{4,}.*\n)?')
# Errors by which a launcher says that one of its processes failed, and the mark of torchrun's ranks: the process's own
# error stands anywhere before.
_LAUNCHER = re.compile(
    r"\b(?:ChildFailedError|ProcessRaisedException|ProcessExitedException|CalledProcessError|RayTaskError)\b|\[rank\d+\]:"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an exception means that memory ran out, of a GPU or of the host.

    It may say so itself, or an exception that caused it, that was being handled when it was raised, or that it
    groups. Python's MemoryError, ENOMEM and the OutOfMemoryError of any library mean it; of others, the message is
    searched for the words of torch, JAX, TensorFlow, CUDA's libraries and more.
    """
    return bool(reason_of(error))


def reason_of(error: BaseException) -> str:
    """Return the line by which an exception, or one behind it, says that memory ran out; empty if none does."""
    return next((reason for one in _behind(error) if (reason := _reason(one))), "")


def said_in(output: str) -> str:
    """Return the line by which a failed program says that memory ran out; empty if it does not.

    Only what it says last counts, for it may have run out of memory before and gone on: the last traceback with those
    that it is chained to, or without any, the last lines.
    """
    starts = [match.start() for match in _TRACEBACK.finditer(output)]
    if not starts:
        return _line("\n".join(output.splitlines()[-_LAST_LINES:]))
    first = len(starts) - 1
    while first and _CHAINED.search(output, starts[first - 1], starts[first]):
        first -= 1
    last = output[starts[first] :]
    return _line(_FRAME.sub("", output if _LAUNCHER.search(last) else last))


def _line(text: str) -> str:
    """Return the first line that says it."""
    return next((line.strip() for line in text.splitlines() if _says_it(line) and not _QUOTED.match(line)), "")


def _behind(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those behind it."""
    left, seen = [error], set()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            left.extend(reversed(one.exceptions))
        if one.__cause__ is not None:
            left.append(one.__cause__)
        elif one.__context__ is not None and not one.__suppress_context__:
            left.append(one.__context__)


def _reason(error: BaseException) -> str:
    """Return how one exception says it."""
    kind = type(error)
    text = message_of(error)
    if kind not in _QUOTING and (line := _line(text[:_MOST]) or _line(text[-_MOST:])):
        return line
    by_class = any(base.__name__ in _CLASSES for base in kind.__mro__)
    if by_class or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return next(iter(text.strip().splitlines()), kind.__name__)
    return ""


def _says_it(line: str) -> bool:
    return any(pattern.search(line) for pattern in _PATTERNS)
