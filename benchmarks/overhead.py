"""What hpo costs a trial, against plain Optuna on the same kind of journal.

    python benchmarks/overhead.py [--trials 100 1000] [--rounds 5]

Both run the same no-op trials of 10 reports with the same sampler and pruner: plain Optuna as
`study.optimize` in one process, hpo with two worker processes, to its last `tell`. The two take
turns within each round; printed are the medians of seconds and the median of the rounds' ratios."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import optuna
from noop import study_yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from hpo.oracle import Oracle
from hpo.runner import make_engine
from hpo.samplers import make_pruner, make_sampler
from hpo.spec import StudySpec, load_spec
from hpo.storage import open_storage, storage_url


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
    oracle, engine = Oracle(spec, study, folder / "overhead"), make_engine(spec, folder / "overhead")
    began = time.perf_counter()
    engine.run(oracle)
    seconds = time.perf_counter() - began
    assert oracle.progress.complete == spec.budget.trials
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("trials  plain Optuna (s)  hpo, 2 workers (s)  ratio (median of rounds, min-max)")
    for trials in options.trials:
        rows = []
        for turn in range(options.rounds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                path = folder / "study.yaml"
                path.write_text(study_yaml("overhead", trials))
                spec = load_spec(path)
                # Who goes first changes from round to round.
                measures = [plain_optuna, hpo_local] if turn % 2 == 0 else [hpo_local, plain_optuna]
                seconds = {measure.__name__: measure(spec, folder) for measure in measures}
            rows.append((seconds["plain_optuna"], seconds["hpo_local"]))
        ratios = [ours / plain for plain, ours in rows]
        plain, ours = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{trials:6}  {plain:16.2f}  {ours:18.2f}  "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
