"""The same no-op trials on what a user would put together today: Ray Tune with its OptunaSearch, its ASHAScheduler and
its MLflowLoggerCallback.

    python benchmarks/todays_stack.py [--trials 20] [--reuse]

Two trials at a time on a Ray that is started here, TPE with hpo's settings on a journal file, MLflow in a SQLite file.
Done in this stack's favour: the tables of MLflow are made beforehand (hpo makes its own while its trials run), the
actors have Tune's default resources, and nothing is saved (no checkpoints, no artifacts)."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from noop import study_yaml

from hpo.engines.ray import local_ray
from hpo.search.samplers import make_sampler
from hpo.spec.load import load_spec

STEPS = 10


@dataclass(frozen=True)
class Seconds:
    """trials: from the start of the run, its processes and databases ready, to the end of the last trial. start: what
    it took before that. after: from the last trial's end until everything was written."""

    trials: float
    start: float
    after: float


def train(config: dict[str, float]) -> None:
    """`noop.train`, as a function trainable."""
    from ray import tune

    score = -((config["x"] - 0.3) ** 2) - (config["y"] - 2) ** 2
    for step in range(STEPS):
        tune.report({"score": score - 1 / (step + 1)})


def run(trials: int, reuse: bool, folder: Path) -> Seconds:
    """`start` is `ray.init`; `trials` begins with `Tuner.fit` and ends when Tune tells its callbacks, MLflow's first,
    of the last trial's end; `after` is the rest of `fit`. `reuse`: Tune's `reuse_actors`."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    from mlflow import MlflowClient
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    class Stopwatch(tune.Callback):
        last = 0.0
        ended = 0

        def on_trial_complete(self, *args: Any, **kwargs: Any) -> None:
            self.last = time.perf_counter()
            self.ended += 1

    path = folder / "study.yaml"
    path.write_text(study_yaml("overhead", trials))
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(tracking_uri=tracking).search_experiments()
    stopwatch = Stopwatch()
    began = time.perf_counter()
    with local_ray({"CPU": 2, "GPU": 0}):  # on loopback
        ready = time.perf_counter()
        tuner = tune.Tuner(
            train,
            tune_config=tune.TuneConfig(
                num_samples=trials,
                max_concurrent_trials=2,
                reuse_actors=reuse,
                search_alg=OptunaSearch(
                    {
                        "x": optuna.distributions.FloatDistribution(0.0, 1.0),
                        "y": optuna.distributions.FloatDistribution(1e-4, 10.0, log=True),
                    },
                    metric="score",
                    mode="max",
                    sampler=make_sampler(load_spec(path), 0),
                    storage=JournalStorage(JournalFileBackend(str(folder / "optuna.log"))),
                ),
                # Asked at every report; its first rung is beyond the last one, for hpo stops no trial here either.
                scheduler=ASHAScheduler(metric="score", mode="max", grace_period=STEPS + 1, reduction_factor=4),
            ),
            run_config=tune.RunConfig(
                name="overhead",
                storage_path=str(folder / "ray"),
                verbose=0,
                callbacks=[MLflowLoggerCallback(tracking_uri=tracking, experiment_name="overhead"), stopwatch],
            ),
        )
        before = time.perf_counter()
        results = tuner.fit()
        done = time.perf_counter()
    if len(results) != trials or results.num_errors or stopwatch.ended != trials:
        raise RuntimeError(f"expected {trials} trials without an error, got {results}")
    return Seconds(stopwatch.last - before, ready - began, done - stopwatch.last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--reuse", action="store_true", help="Tune's reuse_actors")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        seconds = run(options.trials, options.reuse, Path(name))
    print(
        f"{seconds.trials / options.trials:.3f} s a trial, after {seconds.start:.1f} s of starting Ray; "
        f"{seconds.after:.1f} s after the last"
    )


if __name__ == "__main__":
    main()
