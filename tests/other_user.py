"""A second user of this machine, who has no rights on what the first one made. Only root can call as somebody else."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

UID = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


def as_other_user(home: Path, call: Callable[[], int]) -> Called:
    """Do `call` as another user whose folder is `home`, in a fork: what it imports must be imported before, as the
    interpreter may lie in a folder of root's."""
    out, err = home / "stdout", home / "stderr"
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.setgroups([])
            os.setresgid(UID, UID, UID)
            os.setresuid(UID, UID, UID)
            os.chdir(home)
            os.environ |= {"HOME": str(home), "TMPDIR": str(home)}
            tempfile.tempdir = None
            with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
                try:
                    code = call()
                except BaseException:
                    traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Called(code, out.read_text(), err.read_text())
