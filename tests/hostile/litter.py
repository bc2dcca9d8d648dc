"""An objective that leaves every kind of litter, and says in its metrics in which world it found itself."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import resource
import signal
import subprocess
import sys
import warnings

import numpy as np
import psutil
import torch


class Model:
    """16 MB in a reference cycle, as trainers and models make."""

    def __init__(self):
        self.weights = torch.ones(2_000_000, dtype=torch.float64)
        self.trainer = self
        # A network has such cycles with open files too: of a data set, of a writer of events.
        self.file = open(os.devnull)  # noqa: SIM115


def train(trial):
    found = world()
    result = work(trial.params["x"], trial.report)
    leave_litter(trial)
    return {"val_loss": result, **found}


def world():
    """Numbers by name that are the same at the start of every trial."""
    this = psutil.Process()
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HPO_")}
    return {
        "mib": this.memory_info().rss / 2**20,
        "descriptors": this.num_fds(),
        "children": len(this.children(recursive=True)),
        "threads": this.num_threads(),
        "folder": mark(os.getcwd()),
        "environment": mark(sorted(variables.items())),
        "argv": mark(sys.argv[:1] + sys.argv[1:]),
        "path": mark(sys.path),
        "stdout": float(sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__),
        "handlers": len(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "dtype": float(torch.get_default_dtype() is torch.float32),
        "gradients": float(torch.is_grad_enabled()),
        "numpy": mark(sorted(np.geterr().items())),
        "warnings": len(warnings.filters),
        "recursion": sys.getrecursionlimit(),
        "collects": float(gc.isenabled()),
        "alarm": float(signal.getitimer(signal.ITIMER_REAL)[0] > 0),
        "mask": mask(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }


def work(x, report):
    """Train a little: the same numbers for the same x and the same start of the generator."""
    torch.manual_seed(0)
    weights = torch.nn.Parameter(torch.randn(8))
    optimizer = torch.optim.SGD([weights], lr=0.1)
    for step in range(3):
        loss = ((weights - x) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report(step, val_loss=loss.item())
    return loss.item()


# What torch loads and sets when it first trains is no litter of a trial.
work(0.0, lambda step, val_loss: None)


def leave_litter(trial):
    Model()
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    logging.getLogger().addHandler(logging.FileHandler(trial.directory / "own.log"))
    logging.getLogger().setLevel(logging.DEBUG)
    os.environ["OWN"] = str(trial.number)
    os.environ.pop("HOME", None)
    os.chdir(trial.directory)
    sys.argv = ["own.py", str(trial.number)]
    sys.path.insert(0, str(trial.directory))
    sys.stdout = sys.stderr = open(trial.directory / "print.txt", "w")  # noqa: SIM115
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    np.seterr(all="raise")
    np.random.seed(0)
    warnings.simplefilter("error")
    sys.setrecursionlimit(200)
    gc.disable()
    os.umask(0o77)
    signal.setitimer(signal.ITIMER_REAL, 600)


def mask():
    current = os.umask(0)
    os.umask(current)
    return current


def mark(value):
    """A number that changes with a value."""
    return float(int(hashlib.sha1(repr(value).encode()).hexdigest()[:12], 16))
