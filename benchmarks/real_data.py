"""What a small search on a CPU reaches on real data that does not come with hpo: the score on the given test split.

    python benchmarks/real_data.py DATA                  all of benchmarks/real/*.yaml
    python benchmarks/real_data.py DATA pneumonia fsdd

DATA: a folder with the data sets that the studies name as data.root. Each study is searched once a seed; the trial
best on validation is scored on the test split, which no search sees. Printed: each seed, then mean and standard error
over seeds."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from hpo.actions.evaluate import evaluate
from hpo.runner import run
from hpo.spec.load import load_spec

STUDIES = {path.stem: path for path in sorted((Path(__file__).parent / "real").glob("*.yaml"))}


def searched(path: Path, seed: int, data: Path, runs: Path) -> dict[str, float]:
    """The winner's metrics on the test split, and `seconds` of the search."""
    folder = load_spec(path, locate=False).constants["data"]["root"]
    own = [f"name={path.stem}_seed_{seed}", f"seed={seed}", "warm_start=false"]  # seeds are independent searches
    spec = load_spec(path, [*own, f"constants.data.root={data.resolve() / folder}"])
    began = time.perf_counter()
    if run(spec, runs).interrupted:
        raise SystemExit(130)
    found = evaluate(runs, spec.name)
    validation = found.trial.values[spec.metrics[0].name]
    return {**found.metrics, "validation": validation, "seconds": time.perf_counter() - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("studies", nargs="*", default=list(STUDIES), help=f"of {', '.join(STUDIES)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, help="where to keep the runs (default: nowhere)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.studies:
            scores = [searched(STUDIES[name], seed, given.data, given.runs or Path(scratch)) for seed in given.seeds]
            print(f"\n{name}")
            for metric in scores[0]:
                values = [score[metric] for score in scores]
                error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
                each = " ".join(f"{value:.4f}" for value in values)
                print(f"  {metric:24} {statistics.mean(values):.4f}, standard error {error:.4f} ({each})", flush=True)


if __name__ == "__main__":
    main()
