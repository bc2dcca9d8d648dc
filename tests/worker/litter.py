"""What trials leave behind in their process: each function leaves one thing, each probe tells the state of it.

Run as a program, it leaves each thing once, has ProcessState put it back, and prints by name, as JSON, what the probe
said before, after the thing was left, and after it was put back.
"""

from __future__ import annotations

import gc
import json
import locale
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from hpo.worker.process_state import ProcessState
from hpo.worker.torch_runtime import prepare


class Cycle:
    def __init__(self) -> None:
        self.me = self


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def cycles() -> int:
    return sum(isinstance(one, Cycle) for one in gc.get_objects())


def children() -> int:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return len(file.read().split())


def mask() -> int:
    current = os.umask(0o77)
    os.umask(current)
    return current


def filters() -> list[list[str]]:
    return [list(map(str, each)) for each in warnings.filters]


def handlers() -> list[int]:
    train = logging.getLogger("train")
    return [len(logging.root.handlers), logging.root.level, len(train.handlers), logging.root.manager.disable]


def handlers_of_signals() -> list[str]:
    return [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP)]


def timer() -> list[str]:
    return [str(signal.getitimer(signal.ITIMER_REAL)[0] > 0), str(signal.getsignal(signal.SIGALRM))]


def leave_folder() -> None:
    os.chdir(tempfile.mkdtemp())


def leave_removed_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def leave_closed_stdout() -> None:
    with open(os.devnull, "w") as sys.stdout:
        pass


def leave_no_stderr() -> None:
    sys.stderr = None


def leave_environment() -> None:
    os.environ["LITTER"] = "1"
    os.environ["HOME"] = "/litter"
    os.environ.pop("PATH", None)


def leave_handlers() -> None:
    logging.basicConfig(filename=tempfile.mktemp(), level=logging.DEBUG, force=True)
    logging.getLogger("train").addHandler(logging.FileHandler(tempfile.mktemp()))
    logging.disable(logging.ERROR)


def leave_child() -> None:
    subprocess.Popen(["sleep", "1000"])


def leave_orphan() -> None:
    subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & sleep 0"], check=True)


def leave_process() -> None:
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,), daemon=True).start()


def leave_alarm() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 1000.0)


def leave_signal_handlers() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.default_int_handler)


LITTER: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "working folder": (leave_folder, os.getcwd),
    "removed working folder": (leave_removed_folder, lambda: os.path.realpath("/proc/self/cwd")),
    "closed stdout": (leave_closed_stdout, lambda: sys.stdout.closed),
    "no stderr": (leave_no_stderr, lambda: sys.stderr is None),
    "arguments": (lambda: sys.argv.append("--lr"), lambda: list(sys.argv)),
    "search path": (lambda: sys.path.insert(0, "/litter"), lambda: list(sys.path)),
    "environment": (leave_environment, lambda: dict(os.environ)),
    "umask": (lambda: os.umask(0o777), mask),
    "recursion limit": (lambda: sys.setrecursionlimit(5000), sys.getrecursionlimit),
    "garbage collector off": (gc.disable, gc.isenabled),
    "thresholds of the garbage collector": (lambda: gc.set_threshold(1, 1, 1), gc.get_threshold),
    "warnings as errors": (lambda: warnings.simplefilter("error"), filters),
    "timeout of sockets": (lambda: socket.setdefaulttimeout(0.01), socket.getdefaulttimeout),
    "temporary folder": (lambda: setattr(tempfile, "tempdir", "/litter"), lambda: tempfile.tempdir),
    "locale": (lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8"), lambda: locale.setlocale(locale.LC_ALL)),
    "start method": (
        lambda: multiprocessing.set_start_method("spawn", force=True),
        lambda: multiprocessing.get_start_method(allow_none=True),
    ),
    "error state of NumPy": (lambda: np.seterr(all="raise"), np.geterr),
    "print options of NumPy": (lambda: np.set_printoptions(precision=1), lambda: np.get_printoptions()["precision"]),
    "hook for exceptions": (lambda: setattr(sys, "excepthook", print), lambda: sys.excepthook is sys.__excepthook__),
    "hook for threads": (lambda: setattr(threading, "excepthook", print), lambda: threading.excepthook is print),
    "timer": (leave_alarm, timer),
    "signal handlers": (leave_signal_handlers, handlers_of_signals),
    "CPUs": (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}), lambda: sorted(os.sched_getaffinity(0))),
    "log handlers": (leave_handlers, handlers),
    "descriptors of log files": (leave_handlers, descriptors),
    "reference cycle": (Cycle, cycles),
    "child process": (leave_child, children),
    "daemonised grandchild": (leave_orphan, children),
    "process of multiprocessing": (leave_process, children),
    "dtype of torch": (lambda: torch.set_default_dtype(torch.float64), lambda: str(torch.get_default_dtype())),
    "device of torch": (lambda: torch.set_default_device("meta"), lambda: str(torch.get_default_device())),
    "gradients of torch": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "determinism of torch": (
        lambda: torch.use_deterministic_algorithms(True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "precision of torch": (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
    "cuDNN's search": (
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        lambda: torch.backends.cudnn.benchmark,
    ),
}


def main() -> None:
    from hpo.worker.children import adopt_orphans

    adopt_orphans()
    said = sys.stdout
    prepare(0, None, 0.0)
    state = ProcessState(with_children=True)
    found = {}
    for name, (leave, probe) in LITTER.items():
        state.save()
        before = probe()
        leave()
        left = probe()
        failures = state.restore()
        found[name] = {"before": before, "left": left, "after": probe(), "failures": failures}
    print(json.dumps(found, default=str), file=said)


if __name__ == "__main__":
    main()
