"""What a trial costs the driver when 100, 1,000, 10,000 or 100,000 trials have finished before it.

    python benchmarks/scale.py [--finished 100 1000 10000 100000] [--trials 200] [--rounds 3] [--set sampler=tpe]
    python benchmarks/scale.py --plain [--finished 100 1000 10000] [--trials 20]

A trial has 10 reports, two run at a time, and the study has the default sampler and pruner, a journal, and three
groups. Its history is written as records of the journal, which takes seconds; ten trials come before those that are
measured, in which sampler and pruner take in the history once. Each row is a process of its own, without
worker processes: printed are the CPU milliseconds of an ask, of a report and of a tell, what 1 ask, 10 reports and 1
tell cost together, that as a multiple of the first row's, and the largest memory of the process; medians of the rounds,
in which rows take turns. --plain adds rows of plain Optuna's TPE, without a pruner, on the same journal."""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation

from hpo.oracle.open_study import open_study
from hpo.oracle.oracle import Oracle
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.open import open_storage, storage_file, storage_url
from hpo.storage.trial_attributes import JOB, OUTCOME
from hpo.trial import PRUNER, Outcome

T = TypeVar("T")
REPORTS, BATCH, FIRST, WARM = 10, 1000, 1_750_000_000.0, 10
STUDY = """
name: scale
objective: {objective}:train
metrics: [{{name: loss, direction: minimize}}]
group_by: architecture
search_space:
  architecture: {{choices: [mlp, unet, transformer]}}
  optimizer: {{choices: {{adam: {{}}, sgd: {{momentum: {{low: 0.0, high: 0.99}}}}}}}}
  learning_rate: {{low: 1.0e-5, high: 1.0e-1, log: true}}
  weight_decay: {{low: 1.0e-6, high: 1.0e-2, log: true}}
  dropout: {{low: 0.0, high: 0.6}}
  width: {{low: 16, high: 512}}
budget: {{trials: 1000000}}
mlflow: false
"""


def loss(params: dict[str, Any], step: int) -> float:
    """Return what a trial reports: better with each step, and best somewhere in the space."""
    rate, decay = math.log10(params["learning_rate"]), math.log10(params["weight_decay"])
    kind = {"mlp": 0.3, "unet": 0.0, "transformer": 0.1}[params["architecture"]]
    return 0.1 + kind + 0.1 * (rate + 3) ** 2 + 0.02 * (decay + 4) ** 2 + params["dropout"] ** 2 + 1 / step


def train(trial: Any) -> dict[str, float]:
    """Report the losses of a trial."""
    for step in range(1, REPORTS + 1):
        trial.report(step, loss=loss(trial.params, step))
    return {"loss": loss(trial.params, REPORTS)}


def write_study(folder: Path, finished: int, options: list[str]) -> StudySpec:
    """Write a study with so many finished trials, as the driver would have left it."""
    (folder / "study.yaml").write_text(STUDY.format(objective=__file__))
    spec = load_spec(folder / "study.yaml", options)
    url = storage_url(spec, folder / "runs")
    open_study(spec, open_storage(url))
    backend = JournalFileBackend(str(storage_file(url)))
    dice = random.Random(0)
    for first in range(0, finished, BATCH):
        backend.append_logs([_record(spec, number, dice) for number in range(first, min(first + BATCH, finished))])
    return spec


def _record(spec: StudySpec, number: int, dice: random.Random) -> dict[str, Any]:
    """Return a trial as one record of the journal. Half of them ended after a step, an eighth came to its end."""
    given, distributions = spec.space.sample(dice), spec.space.distributions()
    params = spec.space.resolve(given)
    length = dice.choices((1, 4, REPORTS), (4, 3, 1))[0]
    state = "COMPLETE" if length == REPORTS else "PRUNED"
    values = {step: loss(params, step) for step in range(1, length + 1)}
    started = FIRST + number
    job = {"seed": number, "attempt": 1, "retry_of": None, "source": "sampler", "started": started, "params": params}
    outcome = {
        "state": state,
        "cause": "" if state == "COMPLETE" else PRUNER,
        "reason": "" if state == "COMPLETE" else f"the pruner halving stopped it at step {length}",
        "metrics": {"loss": values[length]} if state == "COMPLETE" else {},
        "finished": started + 1,
        "seconds": 1.0,
        "gpu_seconds": 0.0,
        "peak_gpu_bytes": None,
        "requeued": False,
    }
    return {
        "op_code": JournalOperation.CREATE_TRIAL,
        "worker_id": "benchmark",
        "study_id": 0,
        "datetime_start": "2026-01-01T00:00:00.000000+00:00",
        "datetime_complete": "2026-01-01T00:00:01.000000+00:00",
        "state": optuna.trial.TrialState[state],
        "value": None,
        "values": [values[length]],
        "distributions": {name: distribution_to_json(distributions[name]) for name in given},
        "params": {name: distributions[name].to_internal_repr(value) for name, value in given.items()},
        "user_attrs": {JOB: job, OUTCOME: outcome},
        "system_attrs": {},
        "intermediate_values": values,
    }


class Costs:
    """CPU seconds by what they were spent on."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Forget what was measured."""
        self.of: dict[str, list[float]] = {"ask": [], "report": [], "tell": []}

    def measure(self, what: str, call: Callable[[], T]) -> T:
        """Call a function and note its CPU seconds."""
        began = time.process_time()
        result = call()
        self.of[what].append(time.process_time() - began)
        return result

    def row(self) -> dict[str, float]:
        """Return the means in milliseconds, and the memory in MB."""
        means = {what: 1000 * statistics.fmean(seconds) for what, seconds in self.of.items()}
        trial = means["ask"] + REPORTS * means["report"] + means["tell"]
        return means | {"trial": trial, "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}


def hpo_trials(spec: StudySpec, folder: Path, trials: int) -> dict[str, float]:
    """Run so many trials through the Oracle, two at a time, and return what they cost."""
    runs = folder / "runs"
    storage = open_storage(storage_url(spec, runs))
    oracle, costs = Oracle(spec, open_study(spec, storage), runs / spec.name), Costs()
    running = [costs.measure("ask", oracle.ask)]
    for number in range(-WARM, trials):
        if number == 0:
            costs.start()
        running.append(costs.measure("ask", oracle.ask))
        job = running.pop(0)
        assert job is not None
        outcome = Outcome(job.number, "COMPLETE", {"loss": loss(dict(job.params), REPORTS)}, seconds=1.0)
        for step in range(1, REPORTS + 1):
            value = loss(dict(job.params), step)
            stop = costs.measure("report", lambda: oracle.report(job.number, step, {"loss": value}))  # noqa: B023
            if stop is not None:
                outcome = Outcome(job.number, "PRUNED", cause=PRUNER, reason=stop.reason, seconds=1.0)
                break
        costs.measure("tell", lambda: oracle.tell(outcome))  # noqa: B023
    oracle.close()
    return costs.row()


def plain_trials(spec: StudySpec, folder: Path, trials: int) -> dict[str, float]:
    """Run so many trials with Optuna's TPE on the same journal, and return what they cost."""
    path = str(storage_file(storage_url(spec, folder / "runs")))
    storage = optuna.storages.JournalStorage(JournalFileBackend(path))
    study = optuna.load_study(study_name=spec.name, storage=storage, sampler=optuna.samplers.TPESampler(seed=0))
    costs = Costs()

    def ask() -> tuple[optuna.Trial, dict[str, Any]]:
        trial = study.ask()
        return trial, spec.space.suggest(trial)

    running = [costs.measure("ask", ask)]
    for number in range(-WARM, trials):
        if number == 0:
            costs.start()
        running.append(costs.measure("ask", ask))
        trial, params = running.pop(0)
        for step in range(1, REPORTS + 1):
            value = loss(params, step)
            costs.measure("report", lambda: trial.report(value, step))  # noqa: B023
        costs.measure("tell", lambda: study.tell(trial, value))  # noqa: B023
    return costs.row()


WHO = {"hpo": hpo_trials, "plain Optuna": plain_trials}


def in_a_process(who: str, finished: int, options: argparse.Namespace) -> dict[str, float]:
    """Write a study, and measure its next trials in a fresh interpreter."""
    with tempfile.TemporaryDirectory() as name:
        write_study(Path(name), finished, options.set)
        command = [sys.executable, __file__, "--one", who, name, "--trials", str(options.trials)]
        command += [word for one in options.set for word in ("--set", one)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{who} with {finished} finished trials failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="a key of the study, as `hpo run --set` takes it")
    parser.add_argument("--plain", action="store_true", help="also plain Optuna")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if options.one is not None:
        who, name = options.one
        print(json.dumps(WHO[who](load_spec(Path(name) / "study.yaml", options.set), Path(name), options.trials)))
        return
    names = list(WHO) if options.plain else ["hpo"]
    rows: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for finished in options.finished:
            for who in names:
                rows.setdefault((who, finished), []).append(in_a_process(who, finished, options))
                print(f"{who}, {finished} finished: {rows[who, finished][-1]}", file=sys.stderr, flush=True)
    print("| | finished | ask (ms) | a report (ms) | tell (ms) | a trial of 10 reports (ms) | times the first | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for who in names:
        first = [row["trial"] for row in rows[who, options.finished[0]]]
        for finished in options.finished:
            own = rows[who, finished]
            medians = {key: statistics.median(row[key] for row in own) for key in own[0]}
            times = statistics.median(row["trial"] / base for row, base in zip(own, first, strict=True))
            cells = [f"{medians[key]:.2f}" for key in ("ask", "report", "tell", "trial")]
            print(f"| {who} | {finished} | {' | '.join(cells)} | {times:.2f} | {medians['MB']:.0f} |")


if __name__ == "__main__":
    main()
