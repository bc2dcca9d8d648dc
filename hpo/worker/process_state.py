"""State of a process that a trial may change, put back so that the next trial finds it as this one did.

What an objective does to its modules' own variables and to libraries that are not named here stays, and so do threads:
`engine: {fresh_process: true}` gives each trial a process of its own.
"""

from __future__ import annotations

import contextlib
import gc
import locale
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from hpo.worker import torch_runtime
from hpo.worker.children import end_children

_Put = Callable[[Any], object]
_Step = tuple[str, Callable[[], object]]


class ProcessState:
    """State of this process as every trial is to find it.

    Args:
        with_children: end the child processes that a trial leaves. The driver of a study has others of its own.
    """

    def __init__(self, with_children: bool) -> None:
        self._with_children = with_children
        self._modules: frozenset[str] = frozenset()
        self._folder = -1
        self._saved: list[tuple[str, _Put, Any]] = []

    def save(self) -> None:
        """Remember the state. It is called after the import of the objective, and before its function."""
        if self._modules != (modules := frozenset(sys.modules)):
            # What was imported stays. The collector need not look at it after every trial.
            gc.collect()
            gc.freeze()
            self._modules = modules
        self.close()
        # O_PATH: also a folder that may not be read.
        self._folder = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        self._saved = [(name, put, get()) for name, (get, put) in (_NEEDED | _SETTINGS).items()]
        self._saved.append(("torch's settings", torch_runtime.restore_settings, torch_runtime.settings()))
        self._saved.append(("logging", self._restore_loggers, {name: _state_of(log) for name, log in _loggers()}))

    def restore(self) -> list[str]:
        """End what the trial left running, free its memory, and put back what was saved last.

        Returns:
            What could not be done, in a sentence each. The process then is no place for a further trial.
        """
        put_back: list[_Step] = [(name, partial(put, value)) for name, put, value in self._saved]
        steps: list[_Step] = [
            *put_back[: len(_NEEDED)],
            ("MLflow's run", _end_mlflow_run),  # with the environment that it was begun in
            ("figures", _close_figures),
            *put_back[len(_NEEDED) :],
            ("the working folder", partial(os.fchdir, self._folder)),
            ("garbage", gc.collect),  # some children end with the object that they belong to
            *([("child processes", end_children)] if self._with_children else []),
            ("the GPU's memory", torch_runtime.release),
        ]
        return [sentence for name, step in steps if (sentence := _failure(name, step))]

    def close(self) -> None:
        """Close the folder that `save` opened."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _restore_loggers(self, earlier: dict[str, Any]) -> None:
        for name, logger in _loggers():
            # A library that the trial was the first to import has set up its own logger, for good.
            package = name.partition(".")[0]
            if name in earlier or package in self._modules or package not in sys.modules:
                _put_back(logger, *earlier.get(name, ([], logging.NOTSET, True, False)))


def _failure(name: str, step: Callable[[], object]) -> str:
    try:
        step()
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    return ""


# --- what is read and set by functions of their own


def _put_streams(streams: tuple[Any, Any, Any]) -> None:
    opened = [_opened(stream, descriptor) for descriptor, stream in enumerate(streams)]
    sys.stdin, sys.stdout, sys.stderr = opened


def _opened(stream: Any, descriptor: int) -> Any:
    """Return a stream, or a new one on its descriptor if it was closed or detached."""
    if _is_open(stream):
        return stream
    mode = "r" if descriptor == 0 else "w"
    return open(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)


def _is_open(stream: Any) -> bool:
    try:
        return stream is None or not stream.closed
    except ValueError:  # its buffer was detached
        return False


def _put_environment(state: tuple[Any, dict[str, str]]) -> None:
    # The objective may have put another mapping in its place.
    os.environ, variables = state
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# torch sets a handler of SIGCHLD once and for all.
_SIGNALS = tuple(int(number) for number in signal.valid_signals() - {signal.SIGCHLD})


def _signal_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _put_signal_handlers(handlers: dict[int, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # and so the trial could not change them
    signal.setitimer(signal.ITIMER_REAL, 0)  # also `signal.alarm`
    for number, handler in handlers.items():
        # None: set by a library in C.
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _put_hooks(hooks: tuple[Any, Any, Any]) -> None:
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def _put_collector(state: tuple[bool, tuple[int, int, int]]) -> None:
    (gc.enable if state[0] else gc.disable)()
    gc.set_threshold(*state[1])


def _put_warning_filters(filters: list[Any]) -> None:
    if warnings.filters != filters:
        warnings.filters[:] = filters  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]


_LIMITS = tuple({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


def _limits() -> dict[int, tuple[int, int]]:
    return {limit: resource.getrlimit(limit) for limit in _LIMITS}


def _put_limits(limits: dict[int, tuple[int, int]]) -> None:
    for limit, (soft, hard) in limits.items():
        if resource.getrlimit(limit) != (soft, hard):
            resource.setrlimit(limit, (soft, min(hard, resource.getrlimit(limit)[1])))


# These come first: without descriptors, say, nothing else could be put back.
_NEEDED: dict[str, tuple[Callable[[], Any], _Put]] = {
    "limits of resources": (_limits, _put_limits),
    "stdin, stdout and stderr": (lambda: (sys.stdin, sys.stdout, sys.stderr), _put_streams),
}
_SETTINGS: dict[str, tuple[Callable[[], Any], _Put]] = {
    "sys.argv": (lambda: list(sys.argv), lambda values: setattr(sys, "argv", values)),
    "sys.path": (lambda: list(sys.path), lambda values: setattr(sys, "path", values)),
    "environment variables": (lambda: (os.environ, dict(os.environ)), _put_environment),
    "the umask": (_umask, os.umask),
    "signal handlers": (_signal_handlers, _put_signal_handlers),
    "hooks for exceptions": (lambda: (sys.excepthook, threading.excepthook, sys.unraisablehook), _put_hooks),
    "the CPUs to run on": (lambda: os.sched_getaffinity(0), lambda cpus: os.sched_setaffinity(0, cpus)),
    "the recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
    "the garbage collector": (lambda: (gc.isenabled(), gc.get_threshold()), _put_collector),
    "filters of warnings": (lambda: list(warnings.filters), _put_warning_filters),
    "the locale": (lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    "the timeout of sockets": (socket.getdefaulttimeout, socket.setdefaulttimeout),
    "the temporary folder": (lambda: tempfile.tempdir, lambda value: setattr(tempfile, "tempdir", value)),
    "the start method of processes": (
        lambda: multiprocessing.get_start_method(allow_none=True),
        lambda value: multiprocessing.set_start_method(value, force=True),
    ),
    "NumPy's error state": (np.geterr, lambda value: np.seterr(**value)),
    "NumPy's error callback": (np.geterrcall, np.seterrcall),
    "NumPy's print options": (np.get_printoptions, lambda value: np.set_printoptions(**value)),
    "the level that logging is disabled at": (lambda: logging.root.manager.disable, logging.disable),
}


def _loggers() -> list[tuple[str, logging.Logger]]:
    found = [(name, one) for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)]
    return [("root", logging.root), *found]


def _state_of(logger: logging.Logger) -> tuple[list[logging.Handler], int, bool, bool]:
    return list(logger.handlers), logger.level, logger.propagate, logger.disabled


def _put_back(
    logger: logging.Logger, handlers: list[logging.Handler], level: int, propagate: bool, disabled: bool
) -> None:
    for handler in logger.handlers:
        if handler not in handlers:
            with contextlib.suppress(Exception):  # of a stream that was closed
                handler.close()
    logger.handlers[:] = handlers
    if logger.level != level:
        logger.setLevel(level)  # goes through all loggers
    logger.propagate, logger.disabled = propagate, disabled


# --- libraries that keep something open


def _end_mlflow_run() -> None:
    mlflow = sys.modules.get("mlflow")
    while mlflow is not None and mlflow.active_run() is not None:
        mlflow.end_run()


def _close_figures() -> None:
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")
