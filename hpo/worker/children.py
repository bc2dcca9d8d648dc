"""Child processes that a trial leaves running, on Linux."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from hpo.machine.memory import children_of

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

# Processes that serve their parent as long as it lives. A library that finds its own dead would fail in later trials.
# Loaders of torch's that the objective no longer needs have ended by themselves.
_FORK_SERVER = "multiprocessing.forkserver"
_HELPER_COMMANDS = ("resource_tracker", _FORK_SERVER, "torch_shm_manager", "_inductor/compile_worker")
_LOADER_NAME = "pt_data_worker"


def die_with_parent() -> None:
    """Ask for SIGKILL when the process that started this one dies. It ends the rest of its group itself."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of processes that children of this one leave, so that `end_children` finds them."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """End the children of this process and their descendants, but for helpers of libraries."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return  # it has none
    for process in multiprocessing.active_children():
        if not _is_helper(str(process.pid)):
            process.kill()
            process.join()
    # A process that is killed leaves its own children to this one.
    while left := [pid for pid in children_of("self") if not _is_helper(pid)]:
        for pid in left:
            _kill(int(pid))
    for helper in children_of("self"):
        for pid in children_of(helper) if _FORK_SERVER in _read(helper, "cmdline") else ():
            _kill(int(pid))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # one of the fork server's
        os.waitpid(pid, 0)


def _is_helper(pid: str) -> bool:
    command = _read(pid, "cmdline")
    return any(words in command for words in _HELPER_COMMANDS) or _read(pid, "comm").startswith(_LOADER_NAME)


def _read(pid: str, file: str) -> str:
    try:
        return Path("/proc", pid, file).read_text(errors="replace")
    except OSError:
        return ""
