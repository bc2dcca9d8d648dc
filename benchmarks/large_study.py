"""What reading a large study costs: seconds, memory, and the size of the page and of what is printed.

    python benchmarks/large_study.py [--trials 10000] [--epochs 50] [--storage sqlite|journal] [--keep DIR]
        [--commands "hpo report" "hpo trials" ...]

The study is written as `hpo run` leaves one: in its storage, with a history file a trial, 12 metrics an epoch as the
built-in tasks report them; a third of the trials are pruned, after a tenth to a half of them, and 2 % failed. Then each
command reads it in a process of its own, whose time and largest memory are printed."""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from hpo import layout
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.history import HistoryWriter, Step
from hpo.storage.open import open_storage, storage_url
from hpo.storage.trial_attributes import JOB, OUTCOME

STUDY = """
name: large
objective: objectives.quickstart:train
metrics: [{name: val_jaccard, direction: maximize}]
group_by: architecture
search_space:
  architecture: {choices: [unet, attention_unet, attention_resunet]}
  learning_rate: {low: 1.0e-5, high: 1.0e-2, log: true}
  batch_size: {choices: [8, 16, 32]}
  dropout: {low: 0.0, high: 0.5}
  loss: {choices: [bce, dice, focal]}
budget: {trials: TRIALS}
"""
FIRST = 1_760_000_000.0


def write_study(folder: Path, trials: int, epochs: int, storage: str) -> None:
    """The study and its files in `folder`/runs."""
    path = folder / "study.yaml"
    text = STUDY.replace("TRIALS", str(trials))
    path.write_text(text + (f"storage: sqlite:///{folder}/study.db\n" if storage == "sqlite" else ""))
    spec, runs = load_spec(path), folder / "runs"
    directory = layout.study_directory(runs, spec.name)
    directory.mkdir(parents=True)
    (directory / layout.SPEC).write_text(spec.to_yaml())
    study = optuna.create_study(
        study_name=spec.name, directions=["maximize"], storage=open_storage(storage_url(spec, runs))
    )
    dice = random.Random(1)
    for first in range(0, trials, 500):
        numbers = range(first, min(first + 500, trials))
        study.add_trials([_trial(spec, directory, number, epochs, dice) for number in numbers])


def _trial(spec: StudySpec, directory: Path, number: int, epochs: int, dice: random.Random) -> optuna.trial.FrozenTrial:
    distributions = {p.name: _distribution(p.choices, p.low, p.high, p.log) for p in spec.space.walk()}
    params = {
        "architecture": dice.choice(("unet", "attention_unet", "attention_resunet")),
        "learning_rate": 10 ** dice.uniform(-5, -2),
        "batch_size": dice.choice((8, 16, 32)),
        "dropout": dice.uniform(0, 0.5),
        "loss": dice.choice(("bce", "dice", "focal")),
    }
    fate = dice.random()
    state = "COMPLETE" if fate > 0.35 else ("PRUNED" if fate > 0.02 else "FAIL")
    length = epochs if state == "COMPLETE" else dice.randint(epochs // 10, epochs // 2)
    best = 0.9 - 0.1 * (math.log10(params["learning_rate"]) + 3.2) ** 2 - 0.2 * params["dropout"]
    history = HistoryWriter(layout.trial_directory(directory, number) / layout.HISTORY)
    start, value = FIRST + 60 * number, 0.0
    reported = {}
    for epoch in range(1, length + 1):
        value = best * (1 - math.exp(-epoch / 8)) + dice.gauss(0, 0.01)
        history.append(Step(epoch, start + epoch, 1, _metrics(value, epoch, dice)))
        reported[epoch] = value
    history.close()
    seconds = float(length)
    outcome = {
        "state": state,
        "cause": {"COMPLETE": "", "PRUNED": "pruner", "FAIL": "exception"}[state],
        "reason": "" if state == "COMPLETE" else f"after epoch {length}",
        "metrics": {"val_jaccard": value, "best_epoch": float(length)} if state == "COMPLETE" else {},
        "finished": start + seconds,
        "seconds": seconds,
        "gpu_seconds": 0.0,
    }
    job = {"seed": number, "attempt": 1, "source": "sampler", "started": start, "params": params}
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState[state],
        params=params,
        distributions=distributions,
        value=value if state == "COMPLETE" else None,
        intermediate_values=reported,
        user_attrs={JOB: job, OUTCOME: outcome},
    )
    trial.datetime_start = datetime.fromtimestamp(start)
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=seconds)
    return trial


def _distribution(choices: tuple[Any, ...], low: float, high: float, log: bool) -> BaseDistribution:
    if choices:
        return optuna.distributions.CategoricalDistribution(choices)
    return optuna.distributions.FloatDistribution(low, high, log=log)


def _metrics(value: float, epoch: int, dice: random.Random) -> dict[str, float]:
    loss = 1 - value + dice.gauss(0, 0.01)
    return {
        "train_loss": 0.9 * loss,
        "val_loss": loss,
        "train_jaccard": value + 0.02,
        "val_jaccard": value,
        "train_dice": value + 0.04,
        "val_dice": value + 0.02,
        "train_samples": 1584.0,
        "val_samples": 396.0,
        "learning_rate": 1e-3,
        "gradient_norm": 1.0 / epoch,
        "epoch_seconds": 1.0,
        "samples_per_second": 1584.0,
    }


COMMANDS = {
    "hpo report": ["report", "large"],
    "hpo status": ["status", "large"],
    "hpo list": ["list"],
    "hpo best": ["best", "large"],
    "hpo trials": ["trials", "large"],
    "hpo trials --all": ["trials", "large", "--all"],
    "hpo trials --csv": ["trials", "large", "--csv"],
    "hpo trials --json": ["trials", "large", "--json"],
    "hpo diagnose": ["diagnose", "large"],
    "hpo export-knowledge": ["export-knowledge", "large"],
}


def measure(arguments: list[str], runs: Path) -> str:
    """Seconds of the clock and of the processor, largest memory, and size of what is printed."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "HPO_RUNS": str(runs)}
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "hpo", *arguments], stdout=output, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if status:
            sys.exit(f"hpo {' '.join(arguments)} ended with status {status}")
        printed = output.seek(0, os.SEEK_END) / 1e6
    processor = used.ru_utime + used.ru_stime
    return f"{seconds:7.1f} {processor:7.1f} {used.ru_maxrss / 2**20:7.2f} {printed:9.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--storage", choices=("sqlite", "journal"), default="journal")
    parser.add_argument("--keep", type=Path, help="write the study here and leave it; one that is there is used")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS), metavar="COMMAND")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (options.keep or Path(name)).absolute()
        if not (folder / "runs").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_study(folder, options.trials, options.epochs, options.storage)
        print(f"{options.trials} trials of {options.epochs} epochs, {options.storage}")
        print(f"{'command':22} {'seconds':>7} {'CPU':>7} {'GiB':>7} {'MB printed':>9}")
        for command in options.commands:
            print(f"{command:22} {measure(COMMANDS[command], folder / 'runs')}", flush=True)
        for path in sorted(layout.study_directory(folder / "runs", "large").glob("report.*")):
            print(f"{path.stat().st_size / 1e6:8.2f} MB  {path.name}")


if __name__ == "__main__":
    main()
