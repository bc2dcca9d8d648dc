"""Hyperparameter optimization for networks with imbalanced data or many losses.

An objective needs `Trial`, or `report` and `current_trial`. A notebook needs `load_study`. The command `hpo run` is
`run`. What an objective does not need is imported when it is first used, so that a trial starts fast.
"""

import contextlib
import os
import sys

# Under `python -m hpo` the working folder is first on sys.path, where a user's random.py would stand in for Python's.
# This comes before all that imports more.
_AS_PROGRAM = sys.argv[:1] == ["-m"] and ("-m", "hpo") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
with contextlib.suppress(OSError):  # the working folder was removed: the command line says so
    if _AS_PROGRAM and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING

from hpo.errors import HpoError
from hpo.trial import Pruned, Trial
from hpo.worker.current_trial import current_trial, report
from hpo.worker.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from hpo.actions.study import Study, load_study
    from hpo.runner import RunResult, run
    from hpo.spec.load import load_spec
    from hpo.spec.models import StudySpec

__version__ = "1.0.0"
__all__ = [
    "HpoError",
    "Pruned",
    "RunResult",
    "Study",
    "StudySpec",
    "Trial",
    "current_trial",
    "is_out_of_memory",
    "load_spec",
    "load_study",
    "report",
    "run",
]

_LATER = {
    "RunResult": "hpo.runner",
    "Study": "hpo.actions.study",
    "StudySpec": "hpo.spec.models",
    "load_spec": "hpo.spec.load",
    "load_study": "hpo.actions.study",
    "run": "hpo.runner",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'hpo' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
