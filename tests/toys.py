"""Small objectives for the tests; each is a fault or a behaviour that real ones have."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from hpo import Pruned, Trial


def smooth(trial: Trial) -> dict[str, float]:
    """Ten steps towards a value that depends on x alone; saves and restores."""
    x = trial.params["x"]
    for step in range(trial.restore() or 0, 10):
        trial.save(step)
        trial.report(step, score=-((x - 0.3) ** 2) - 1.0 / (step + 1), other=x)
    return {"score": -((x - 0.3) ** 2), "other": x}


def resumes_finished(trial: Trial) -> dict[str, float]:
    """Returns the result of its checkpoint, as an objective does that finds its training finished."""
    state = trial.restore()
    if state is None:
        state = {"score": trial.params["x"]}
    trial.save(state)
    trial.report(0, score=state["score"])
    return state


def slow(trial: Trial) -> dict[str, float]:
    """As `smooth`, 10 ms a step; keeps a log of the steps each attempt trained. With a folder as `constants.gates` the
    trial N waits before its last step until a file N is there."""
    x = trial.params["x"]
    saved = trial.restore()
    steps = trial.constants.get("steps", 10)
    for step in range(0 if saved is None else saved, steps):
        if step == steps - 1 and "gates" in trial.constants:
            while not os.path.exists(os.path.join(trial.constants["gates"], trial.directory.name)):
                time.sleep(0.02)
        if step != saved:  # what was saved is reported again, but not trained again
            time.sleep(trial.constants.get("seconds", 0.01))
            with (trial.directory / "trained.txt").open("a") as file:
                file.write(f"{trial.attempt} {step}\n")
            trial.save(step)
        trial.report(step, score=-((x - 0.3) ** 2) - 1.0 / (step + 1))
    return {"score": -((x - 0.3) ** 2)}


def pieces(trial: Trial) -> dict[str, float]:
    """Reports training and validation of a step apart; the study's metric comes second."""
    for step in range(1, 6):
        trial.report(step, train_score=trial.params["x"] + step)
        trial.report(step, score=trial.params["x"] - 1 / step, other=trial.params["x"])
    return {"score": trial.params["x"]}


def raising(trial: Trial) -> dict[str, float]:
    trial.report(0, score=0.5)
    if trial.params["x"] > 0.5:
        raise ValueError("the labels are all zero")
    return {"score": trial.params["x"]}


def nan_at_end(trial: Trial) -> dict[str, float]:
    trial.report(0, other=0.0)
    return {"score": float("nan")}


def infinite(trial: Trial) -> dict[str, float]:
    return {"score": float("inf")}


def misspelt(trial: Trial) -> dict[str, float]:
    return {"scoer": 0.5}


def not_a_dict(trial: Trial) -> float:
    return 0.5


def text_metric(trial: Trial) -> dict[str, str]:
    return {"score": "good"}


def text_report(trial: Trial) -> dict[str, float]:
    trial.report(0, score="good")  # type: ignore[arg-type]
    return {"score": 0.5}


def exits(trial: Trial) -> None:
    sys.exit(3)


def out_of_memory(trial: Trial) -> None:
    raise MemoryError("cannot hold 40 GB")


def gives_up(trial: Trial) -> None:
    raise Pruned("no positives in this fold")


def dies_once(trial: Trial) -> dict[str, float]:
    """Kills its own process at step 3 of its first attempt."""
    for step in range(trial.restore() or 0, 6):
        if step == 3 and trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        trial.save(step)
        trial.report(step, score=float(step))
    return {"score": trial.params["x"]}


def dies_always(trial: Trial) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def raises_once(trial: Trial) -> dict[str, float]:
    """Fails at step 3 of its first attempt, as on a disk that was full for a moment."""
    for step in range(trial.restore() or 0, 6):
        if step == 3 and trial.attempt == 1:
            raise OSError("no space left on device")
        trial.save(step)
        trial.report(step, score=float(step))
    return {"score": trial.params["x"]}


def hangs_once(trial: Trial) -> dict[str, float]:
    trial.report(0, score=0.0)
    if trial.attempt == 1:
        _sleep_for_ever()
    return {"score": trial.params["x"]}


def hangs(trial: Trial) -> None:
    trial.report(0, score=0.0)
    _sleep_for_ever()


def _sleep_for_ever() -> None:
    while True:
        time.sleep(60)


def prints(trial: Trial) -> dict[str, float]:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.system("echo from a child")
    return {"score": trial.params["x"]}


def process(trial: Trial) -> dict[str, float]:
    """Tells which process trained it."""
    return {"score": trial.params["x"], "pid": os.getpid()}


def environment(trial: Trial) -> dict[str, float]:
    time.sleep(trial.constants.get("seconds", 0.0))
    (trial.directory / "environment.txt").write_text(
        f"{os.environ.get('OMP_NUM_THREADS')} [{os.environ.get('CUDA_VISIBLE_DEVICES')}]"
    )
    return {"score": trial.params["x"]}


def uses_torch(trial: Trial) -> dict[str, float]:
    """Trains wherever torch can."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {"score": float(torch.full((4,), trial.params["x"], device=device).mean())}


def child_computes(trial: Trial) -> dict[str, float]:
    """Has a child do the work, as ranks of a distributed training do it."""
    import torch

    code = "import time; end = time.process_time() + 1\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    return {"score": float(torch.tensor(trial.params["x"]))}


def gpu_of(trial: Trial) -> dict[str, float]:
    """Reports for a while, and says which GPU it sees."""
    (trial.directory / "gpu.txt").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
    for step in range(5):
        time.sleep(0.02)
        trial.report(step, score=0.0)
    return {"score": 0.0}


def random_numbers(trial: Trial) -> dict[str, float]:
    """The first numbers of Python's and NumPy's generators, which the worker seeds."""
    import random

    import numpy as np

    return {"score": random.random() + np.random.rand()}


def odd(trial: Trial) -> dict[str, float]:
    """Metrics whose names and values are unusual, and more of them than MLflow takes at once."""
    trial.report(0, **{"loss (train) %": float("nan"), "a//b": float("inf"), "µ/größe": -float("inf"), "seconds": 7.0})
    for step in range(1, 30):
        trial.report(step, **{f"layer{k}.norm": float(step * k) for k in range(50)})
    return {"score": 0.5}


def keeps(trial: Trial) -> dict[str, float]:
    """Has weights and a checkpoint, and a metric that is x."""
    (trial.directory / "weights.pt").write_text(str(trial.params["x"]))
    trial.save(trial.params["x"])
    trial.report(0, score=trial.params["x"])
    return {"score": trial.params["x"]}


def keeps_large(trial: Trial) -> dict[str, float]:
    """As `keeps_or_ends`, with files of 10,000 bytes in all."""
    trial.save(trial.params["x"])
    (trial.directory / "weights.pt").write_bytes(bytes(10_000 - (trial.directory / "checkpoint.pkl").stat().st_size))
    trial.report(0, score=trial.params["x"])
    if trial.params["x"] < 0.3:
        raise Pruned("too small")
    if trial.params["x"] < 0.5:
        raise ValueError("in between")
    return {"score": trial.params["x"]}


def keeps_loss(trial: Trial) -> dict[str, float]:
    return {"loss": keeps(trial)["score"]}


def keeps_two(trial: Trial) -> dict[str, float]:
    return {**keeps(trial), "loss": trial.params["y"]}


def keeps_or_ends(trial: Trial) -> dict[str, float]:
    score = keeps(trial)["score"]
    if score < 0.3:
        raise Pruned("too small")
    if score < 0.5:
        raise ValueError("in between")
    return {"score": score}


def evaluate(trial: Trial, folder: Path | None) -> dict[str, float]:
    """Of `keeps`: the kept x, and how many files the folder holds."""
    if folder is None and trial.constants.get("no_test"):
        raise ValueError("the study's data has no test split")
    kept = float((trial.directory / "weights.pt").read_text())
    return {"score": kept / 2, "files": float(len(list(folder.iterdir())) if folder else -1)}


def waits(trial: Trial) -> dict[str, float]:
    """Reports, waits for the file `constants.until`, and reports again."""
    trial.report(0, score=trial.params["x"])
    while not os.path.exists(trial.constants["until"]):
        time.sleep(0.02)
    trial.report(1, score=trial.params["x"])
    return {"score": trial.params["x"]}


def flagged(trial: Trial) -> dict[str, float]:
    """Above x = 0.5 it finds nothing, and scores best all the same."""
    x = trial.params["x"]
    for epoch in range(6):
        trial.report(epoch, score=x, val_recall=0.0 if x > 0.5 else 0.5)
    return {"score": x}


def unclean(trial: Trial) -> dict[str, float]:
    """Leaves something that goes wrong when it is cleaned up."""
    import gc

    fault = trial.constants["fault"]

    class Litter:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            if fault == "hangs":
                time.sleep(1000)
            os.kill(os.getpid(), signal.SIGKILL)

    if fault == "raises":
        sys.modules["mlflow"] = object()  # type: ignore[assignment]
    else:
        gc.disable()
        Litter()
    return {"score": trial.params["x"], "pid": os.getpid()}


def forking(trial: Trial) -> dict[str, float]:
    """Both processes return."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return {"score": trial.params["x"] if child else 99.0}


def raising_anything(trial: Trial) -> dict[str, float]:
    import asyncio

    class Own(BaseException):
        def __str__(self) -> str:
            raise RuntimeError("it cannot be said")

    kinds = (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, SystemExit, Own)
    raise {kind.__name__: kind for kind in kinds}[trial.constants["kind"]]()


def meddling(trial: Trial) -> dict[str, float]:
    """Trial 1 writes into all sockets of its process."""
    import socket
    from multiprocessing.connection import Connection

    for name in os.listdir("/proc/self/fd") if trial.number == 1 else ():
        try:
            is_socket = os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
        if is_socket and trial.constants["stray"] == "bytes":
            socket.socket(fileno=os.dup(int(name))).send(b"\0\0\0\4junk")
        elif is_socket:
            Connection(os.dup(int(name))).send(("unknown", "message"))
    return {"score": trial.params["x"]}


def segmented(trial: Trial) -> dict[str, float]:
    """Its state is the list of what it was trained with: a step and the value of `rate`. The nearer `rate` was to 0.5,
    the higher the score. Saves and restores, and writes the state down where a test can read it."""
    state = trial.restore() or []
    score = -sum((rate - 0.5) ** 2 for _, rate in state)
    if state:
        trial.report(len(state), score=score)
    for step in range(len(state) + 1, trial.constants.get("epochs", 8) + 1):
        time.sleep(trial.constants.get("seconds", 0.0))
        state.append((step, trial.params["rate"]))
        score = -sum((rate - 0.5) ** 2 for _, rate in state)
        trial.save(state)
        trial.report(step, score=score)
    return {"score": score}


def segmented_without_restore(trial: Trial) -> dict[str, float]:
    """Saves after each step, and begins anew all the same."""
    for step in range(1, 9):
        trial.save(step)
        trial.report(step, score=trial.params["rate"])
    return {"score": trial.params["rate"]}


def segmented_without_save(trial: Trial) -> dict[str, float]:
    for step in range(1, 9):
        trial.report(step, score=trial.params["rate"])
    return {"score": trial.params["rate"]}


def lucky(trial: Trial) -> dict[str, float]:
    """A score of x and of luck: what the seed does to all configurations alike, and what it does to each of them."""
    import random

    x, spread = trial.params["x"], trial.constants.get("spread", 0.01)
    if x in trial.constants.get("failing", ()):
        raise ValueError("this x cannot be trained")
    time.sleep(trial.constants.get("seconds", 0))
    split = trial.constants.get("data", {}).get("seed", 0)
    score = x + random.Random(trial.seed).gauss(0, 0.1) + random.Random(f"{trial.seed} {x}").gauss(0, spread)
    (trial.directory / "weights.pt").write_text(str(x))
    trial.report(1, score=score)
    return {"score": score, "split": split}
