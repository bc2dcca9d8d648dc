"""What one training with each published setting gives: the enqueued configurations of a study, over seeds.

    python benchmarks/published.py glaucoma_small --curve train_recall
    python benchmarks/published.py abr_small audio_angle_small --seeds 1 2 3

Nothing is pruned. Printed: mean and sample standard deviation (N - 1) over seeds of the study's metrics at the best
epoch, and of `--curve` every epoch of every seed."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hpo.analysis.formatting import configuration
from hpo.analysis.records import StudyRecord, read_study
from hpo.runner import run
from hpo.spec.load import find_study_file, load_spec


def trained(name: str, seed: int, runs: Path, overrides: Sequence[str]) -> StudyRecord:
    """The study's enqueued configurations, each trained once to its end."""
    path = find_study_file(name)
    enqueued = len(load_spec(path, overrides).enqueue)
    own = [
        f"name={name}_seed_{seed}", f"seed={seed}", f"budget={{trials: {enqueued}}}", "sampler=random", "pruner=none",
        "fallbacks=[]", "checkpoints=1", "mlflow=false",
    ]  # fmt: skip
    spec = load_spec(path, [*overrides, *own])
    if run(spec, runs).interrupted:
        raise SystemExit(130)
    return read_study(runs, spec.name)


def spread(values: Iterable[float]) -> str:
    kept = list(values)
    deviation = statistics.stdev(kept) if len(kept) > 1 else float("nan")
    return f"{statistics.mean(kept):.4f} +- {deviation:.4f} (n = {len(kept)})"


def show(studies: Mapping[int, StudyRecord], metrics: Sequence[str], curves: Sequence[str]) -> None:
    """`studies` by seed."""
    for index, first in enumerate(next(iter(studies.values())).trials):
        print(f"\n{index + 1}. {configuration(first.params)}")
        same = [study.trials[index] for study in studies.values()]
        if failed := [trial for trial in same if trial.state != "COMPLETE"]:
            print(f"   {len(failed)} of {len(same)} not complete: {failed[0].reason}")
        complete = [trial for trial in same if trial.state == "COMPLETE"]
        for metric in metrics:
            if values := [trial.values[metric] for trial in complete if metric in trial.values]:
                print(f"   {metric:28} {spread(values)}")
        print(f"   {'seconds of a training':28} {spread(trial.seconds or 0.0 for trial in same)}")
        for curve in curves:
            for seed, trial in zip(studies, same, strict=True):
                values = [step.metrics.get(curve, float("nan")) for step in trial.history]
                print(f"   {curve}, seed {seed}: {' '.join(f'{value:.2f}' for value in values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", help="names or files of studies with an enqueue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--metric", action="append", default=[], help="a metric beside the study's own")
    parser.add_argument("--curve", action="append", default=[], help="a metric to print of every epoch")
    parser.add_argument("--runs", type=Path, help="where to keep the runs (default: nowhere)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.studies:
            began = time.perf_counter()
            studies = {seed: trained(name, seed, given.runs or Path(scratch), given.overrides) for seed in given.seeds}
            own = [metric.name for metric in studies[given.seeds[0]].metrics]
            print(f"\n{name}, {len(given.seeds)} seeds, {time.perf_counter() - began:.0f} s")
            show(studies, [*own, *given.metric], given.curve)


if __name__ == "__main__":
    main()
