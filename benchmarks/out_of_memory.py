"""How many trials of a study are wasted on configurations that run out of memory, by how the sampler is told.

    python benchmarks/out_of_memory.py                 # 12 seeds of 60 trials

A toy whose best configurations lie beside the wall: the score grows with batch size and width up to where
batch_size x width exceeds the memory, and half of the space (on its logarithmic scales) lies beyond. Each study goes
through the Oracle with hpo's default sampler, in memory, one trial after the other. What a trial that runs out of
memory is told as:

    failed       FAIL: what samplers do not see (Optuna's default for any exception)
    pruned       PRUNED
    constrained  PRUNED with the constraint out_of_memory: what hpo does

with every trial run to its end, and under successive halving; before the first report, as a training step runs out,
and after it, as the largest batch of a later epoch may. Printed: the mean and the range over seeds of the trials that
ran out of memory, as a part of what `failed` wastes, the mean of the trials that completed, and the mean of the best
score of the studies in which one did."""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpo import Pruned, Trial
from hpo.engines.inline import InlineEngine
from hpo.oracle.oracle import Oracle
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec.load import load_spec
from hpo.storage.trial_attributes import OUTCOME
from hpo.trial import EXCEPTION, OBJECTIVE, OUT_OF_MEMORY

# What is told, and the cause that the Oracle then notes.
TOLD = {"failed": EXCEPTION, "pruned": OBJECTIVE, "constrained": OUT_OF_MEMORY}
PRUNERS = ("none", "successive_halving")
RUNS_OUT = {"at once": 1, "after a report": 2}  # the step that it does not reach
MEMORY = 2**13  # of batch_size x width, of which there are 2^7 to 2^19
STEPS = 16
STUDY = """
name: toy
objective: {objective}:train
metrics: [{{name: score, direction: maximize}}]
search_space:
  batch_size: {{low: 8, high: 1024, log: true}}
  width: {{low: 16, high: 512, log: true}}
  learning_rate: {{low: 1.0e-4, high: 1.0e-1, log: true}}
constants: {{told: {told}, step: {step}}}
pruner: {pruner}
budget: {{trials: {trials}, failures: {trials}}}
engine: inline
mlflow: false
seed: {seed}
"""


class DoesNotFit(Exception):
    """An error like any other, in which nobody recognises the memory."""


def train(trial: Trial) -> dict[str, float]:
    batch_size, width = trial.params["batch_size"], trial.params["width"]
    # Per doubling of the batch as much as per doubling of the width; a rate that is ten times off costs two doublings.
    score = math.log2(batch_size) + math.log2(width) - 2 * math.log10(trial.params["learning_rate"] / 3e-3) ** 2
    for step in range(1, STEPS + 1):
        if step == trial.constants["step"] and batch_size * width > MEMORY:
            raise {"failed": DoesNotFit, "pruned": Pruned, "constrained": MemoryError}[trial.constants["told"]](
                f"{batch_size} x {width}"
            )
        trial.report(step, score=score - 4 / step)
    return {"score": score}


@dataclass(frozen=True)
class Result:
    """wasted: trials that ran out of memory. complete: those that reached their end. best: the highest score, None
    if none did."""

    wasted: int
    complete: int
    best: float | None


def run(told: str, runs_out: str, pruner: str, seed: int, trials: int, folder: Path) -> Result:
    """One study."""
    path = folder / f"{told}-{seed}.yaml"
    path.write_text(
        STUDY.format(
            objective=__file__, told=told, step=RUNS_OUT[runs_out], pruner=pruner, seed=seed, trials=trials
        )
    )  # fmt: skip
    spec = load_spec(path)
    study = optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0), pruner=make_pruner(spec))
    oracle = Oracle(spec, study, folder / path.stem)
    InlineEngine().run(oracle)
    oracle.close()
    causes = [trial.user_attrs[OUTCOME]["cause"] for trial in study.get_trials(deepcopy=False)]
    return Result(causes.count(TOLD[told]), oracle.budget.progress.complete, oracle.budget.progress.best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--trials", type=int, default=60)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(f"{given.seeds} seeds of {given.trials} trials")
    print(f"{'runs out':15} {'pruner':19} {'told as':12} {'wasted':15} {'part':>5} {'complete':>9} {'best':>6}")
    for runs_out in RUNS_OUT:
        for pruner in PRUNERS:
            failed = 0.0
            for told in TOLD:
                with tempfile.TemporaryDirectory() as folder:
                    results = [
                        run(told, runs_out, pruner, seed, given.trials, Path(folder)) for seed in range(given.seeds)
                    ]
                wasted = [result.wasted for result in results]
                mean = statistics.mean(wasted)
                failed = failed or mean
                complete = statistics.mean(result.complete for result in results)
                bests = [result.best for result in results if result.best is not None]
                best = f"{statistics.mean(bests):6.2f}" if bests else "     -"
                shown = f"{mean:.1f} ({min(wasted)}-{max(wasted)})"
                print(
                    f"{runs_out:15} {pruner:19} {told:12} {shown:15} {mean / failed:5.2f} {complete:9.1f} {best}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
