"""Small objectives for the tests; each is a fault or a behaviour that real ones have."""

import os
import signal
import sys
import time

from hpo import Pruned


def smooth(trial):
    """Ten steps towards a value that depends on x alone; saves and restores."""
    x = trial.params["x"]
    for step in range(trial.restore() or 0, 10):
        trial.save(step)
        trial.report(step, score=-((x - 0.3) ** 2) - 1.0 / (step + 1), other=x)
    return {"score": -((x - 0.3) ** 2), "other": x}


def slow(trial):
    """As `smooth`, 10 ms a step; keeps a log of the steps each attempt trained."""
    x = trial.params["x"]
    saved = trial.restore()
    for step in range(0 if saved is None else saved, trial.constants.get("steps", 10)):
        if step != saved:  # what was saved is reported again, but not trained again
            time.sleep(trial.constants.get("seconds", 0.01))
            with (trial.directory / "trained.txt").open("a") as file:
                file.write(f"{trial.attempt} {step}\n")
            trial.save(step)
        trial.report(step, score=-((x - 0.3) ** 2) - 1.0 / (step + 1))
    return {"score": -((x - 0.3) ** 2)}


def raising(trial):
    trial.report(0, score=0.5)
    if trial.params["x"] > 0.5:
        raise ValueError("the labels are all zero")
    return {"score": trial.params["x"]}


def nan_at_end(trial):
    trial.report(0, score=float("nan"))
    return {"score": float("nan")}


def infinite(trial):
    return {"score": float("inf")}


def misspelt(trial):
    return {"scoer": 0.5}


def not_a_dict(trial):
    return 0.5


def text_metric(trial):
    return {"score": "good"}


def text_report(trial):
    trial.report(0, score="good")
    return {"score": 0.5}


def exits(trial):
    sys.exit(3)


def out_of_memory(trial):
    raise MemoryError("cannot hold 40 GB")


def gives_up(trial):
    raise Pruned("no positives in this fold")


def dies_once(trial):
    """Kills its own process at step 3 of its first attempt."""
    for step in range(trial.restore() or 0, 6):
        if step == 3 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        trial.save(step)
        trial.report(step, score=float(step))
    return {"score": trial.params["x"]}


def dies_always(trial):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(trial):
    trial.report(0, score=0.0)
    _sleep_for_ever()


def _sleep_for_ever():
    while True:
        time.sleep(60)


def prints(trial):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.system("echo from a child")
    return {"score": trial.params["x"]}


def process(trial):
    """Tells which process trained it."""
    return {"score": trial.params["x"], "pid": os.getpid()}


def environment(trial):
    (trial.directory / "environment.txt").write_text(
        f"{os.environ.get('OMP_NUM_THREADS')} [{os.environ.get('CUDA_VISIBLE_DEVICES')}]"
    )
    return {"score": trial.params["x"]}


def random_numbers(trial):
    """The first numbers of Python's and NumPy's generators, which the worker seeds."""
    import random

    import numpy as np

    return {"score": random.random() + np.random.rand()}
