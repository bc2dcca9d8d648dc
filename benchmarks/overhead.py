"""What hpo costs a trial, against plain Optuna on the same kind of journal, and against today's stack.

    python benchmarks/overhead.py [--trials 100 1000] [--rounds 5]
    python benchmarks/overhead.py --stacks [--trials 100] [--rounds 3]

All run the same no-op trials of 10 reports with the same sampler; what is compared takes turns within each round, and
printed are the medians of seconds and of the rounds' ratios.

Without --stacks: plain Optuna as `study.optimize` in one process, hpo with two worker processes, without MLflow, from
before its workers start to its last `tell`. With --defaults also `hpo run` with all that is on by default.

With --stacks: plain Optuna as above, Ray Tune with OptunaSearch, ASHAScheduler and MLflowLoggerCallback (see
`todays_stack.py`) with new actors and with reused ones, and hpo on its local and its Ray engine, each with two trials
at a time in a process of its own, and but for plain Optuna all with MLflow in a SQLite file. Three columns: from the
start of the run to the end of the last trial (its `tell`); that and all that comes before (Ray, databases, workers);
that and what is written afterwards (MLflow of hpo is written by a process beside the trials; hpo's report)."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import optuna
import todays_stack
from noop import study_yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from todays_stack import Seconds
from tracking import Stopwatch

from hpo import layout
from hpo.cli.driver_log import DriverLog
from hpo.cli.progress import PlainProgress
from hpo.engines.factory import make_engine
from hpo.oracle.oracle import Oracle
from hpo.runner import run as run_study
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec.load import load_spec
from hpo.spec.models import MlflowSpec, StudySpec
from hpo.storage.open import open_storage, storage_url


def plain_optuna(spec: StudySpec, folder: Path) -> float:
    """Seconds of `study.optimize` from the first ask to the last tell."""
    storage = JournalStorage(JournalFileBackend(str(folder / "plain.log")))
    study = optuna.create_study(
        storage=storage, direction="maximize", sampler=make_sampler(spec, 0), pruner=make_pruner(spec)
    )

    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 1e-4, 10.0, log=True)
        score = -((x - 0.3) ** 2) - (y - 2) ** 2
        for step in range(10):
            trial.report(score - 1 / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    began = time.perf_counter()
    study.optimize(objective, n_trials=spec.budget.trials)
    return time.perf_counter() - began


def hpo_local(spec: StudySpec, folder: Path) -> float:
    """Seconds of the local engine, from before its workers start to after the last tell."""
    study = optuna.create_study(
        study_name="overhead", storage=open_storage(storage_url(spec, folder)), direction="maximize",
        sampler=make_sampler(spec, 0), pruner=make_pruner(spec),
    )  # fmt: skip
    oracle, engine = Oracle(spec, study, folder / "overhead"), make_engine(spec, folder / "overhead", print)
    began = time.perf_counter()
    engine.run(oracle)
    seconds = time.perf_counter() - began
    assert oracle.budget.progress.complete == spec.budget.trials
    return seconds


def hpo_defaults(spec: StudySpec, folder: Path) -> float:
    """Seconds of `hpo run` from the first ask to the last tell: the start of the workers is in it.

    All that is on by default is on: MLflow, the lines of the trials, driver.log, the dashboard's note, the pulse, and
    the server of `hpo stop` and others.
    """
    directory, stopwatch = folder / "runs" / spec.name, Stopwatch()
    spec = spec.model_copy(update={"mlflow": MlflowSpec()})
    with open(os.devnull, "w") as out, contextlib.redirect_stdout(out):
        log = DriverLog(spec, directory / layout.DRIVER_LOG, "hpo run study.yaml")
        result = run_study(spec, folder / "runs", [stopwatch, PlainProgress(spec, out), log])
        log.ends("done")
    assert result.progress.complete == spec.budget.trials
    return stopwatch.last - stopwatch.first


def against_plain(trials: list[int], rounds: int, defaults: bool) -> None:
    measures = [plain_optuna, hpo_local, *([hpo_defaults] if defaults else [])]
    print("trials  " + "  ".join(f"{measure.__name__} (s)" for measure in measures) + "  ratios (median, min-max)")
    for count in trials:
        rows: list[dict[str, float]] = []
        for turn in range(rounds):
            rows.append({})
            # Who goes first changes from round to round.
            first = turn % len(measures)
            for measure in measures[first:] + measures[:first]:
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
                    rows[-1][measure.__name__] = measure(_spec(Path(name), count), Path(name))
        names = [measure.__name__ for measure in measures]
        seconds = "  ".join(f"{statistics.median(row[name] for row in rows):{len(name) + 4}.2f}" for name in names)
        ratios = ", ".join(_ratio([row[name] / row["plain_optuna"] for row in rows]) for name in names[1:])
        print(f"{count:6}  {seconds}  {ratios}", flush=True)


def _spec(folder: Path, trials: int, tracked: bool = False, engine: str = "local") -> StudySpec:
    path = folder / "study.yaml"
    path.write_text(study_yaml("overhead", trials, tracked, engine))
    return load_spec(path)


def _ratio(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


# --- against today's stack; each of these runs in a process of its own


def _plain(trials: int, folder: Path) -> Seconds:
    return Seconds(plain_optuna(_spec(folder, trials), folder), 0.0, 0.0)


def _engine(name: str, trials: int, folder: Path) -> Seconds:
    """`trials` begins with the first `ask`: before it come the tables of MLflow's process, the storage and, if it is
    the engine's, Ray; after it the start of the workers, which is the engine's own business."""
    stopwatch = Stopwatch()
    began = time.perf_counter()
    result = run_study(_spec(folder, trials, tracked=True, engine=name), folder / "runs", [stopwatch])
    done = time.perf_counter()
    if result.progress.complete != trials:
        raise RuntimeError(f"expected {trials} complete trials, got {result.progress}")
    return Seconds(stopwatch.last - stopwatch.first, stopwatch.first - began, done - stopwatch.last)


STACKS: dict[str, Callable[[int, Path], Seconds]] = {
    "plain Optuna, one process, no tracking": _plain,
    "Ray Tune, new actors": lambda trials, folder: todays_stack.run(trials, False, folder),
    "Ray Tune, reused actors": lambda trials, folder: todays_stack.run(trials, True, folder),
    "hpo, local engine": lambda trials, folder: _engine("local", trials, folder),
    "hpo, Ray engine": lambda trials, folder: _engine("ray", trials, folder),
}
TODAY = [name for name in STACKS if name.startswith("Ray Tune")]


def in_a_process(name: str, trials: int) -> Seconds:
    """Measure one of STACKS in a fresh interpreter, so that none finds what another has loaded or left."""
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, __file__, "--one", name, folder, "--trials", str(trials)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300 + 10 * trials)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return Seconds(**json.loads(done.stdout.splitlines()[-1]))


def against_stacks(trials: int, rounds: int, names: list[str]) -> None:
    rows: list[dict[str, Seconds]] = []
    for turn in range(rounds):
        # Who goes first changes from round to round.
        order = names[turn % len(names) :] + names[: turn % len(names)]
        rows.append({name: in_a_process(name, trials) for name in order})
        print(f"round {turn + 1}: " + ", ".join(f"{name} {rows[-1][name].trials:.1f} s" for name in names), flush=True)
    today = [name for name in TODAY if name in names]
    heads = ["stack", "to the last trial's end", "+ what comes before", "+ what is written after"]
    heads += [f"times under {name}" for name in today]
    print(f"\n{trials} trials, seconds: medians of {rounds} rounds; ratios: median of rounds (min-max)")
    print("| " + " | ".join(heads) + " |")
    for name in names:
        columns = [
            [row[name].trials for row in rows],
            [row[name].start + row[name].trials for row in rows],
            [row[name].start + row[name].trials + row[name].after for row in rows],
        ]
        seconds = [f"{statistics.median(column):.2f}" for column in columns]
        ratios = [_ratio([row[other].trials / row[name].trials for row in rows]) for other in today]
        print(f"| {name} | " + " | ".join(seconds + ratios) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", help="[100 1000], with --stacks [100]")
    parser.add_argument("--rounds", type=int, help="[5], with --stacks [3]")
    parser.add_argument("--defaults", action="store_true", help="beside them `hpo run` with all that is on by default")
    parser.add_argument("--stacks", action="store_true", help="against today's stack, with all tracking on")
    parser.add_argument("--only", nargs="+", choices=STACKS, help="these of the stacks")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if options.one is not None:
        name, folder = options.one
        print(json.dumps(asdict(STACKS[name](options.trials[0], Path(folder)))))
    elif options.stacks:
        for trials in options.trials or [100]:
            against_stacks(trials, options.rounds or 3, options.only or list(STACKS))
    else:
        against_plain(options.trials or [100, 1000], options.rounds or 5, options.defaults)


if __name__ == "__main__":
    main()
