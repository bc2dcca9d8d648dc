"""What red flags save on the glaucoma study with 3 % positives, and whom they would have stopped wrongly.

    python benchmarks/red_flags.py                                    # half an hour on 2 idle cores
    python benchmarks/red_flags.py --seeds 1 --trials 8 --controls 0  # to try it

The study is studies/glaucoma_small.yaml with its own red flags, made small for a CPU (SMALL), with no pruner, so that
nothing else ends a trial. Each seed is run twice: `on` with the flags as they are, `off` with every flag's action warn,
so that each trial runs to its end and what would have been stopped is known: these are the controls.

Collapsed: in the last epoch that was reported, a recall of 0 or one class predicted on validation. At chance: that, and
no AUC more than 0.15 above chance, of training or validation: neither the threshold nor the ranking knows anything.
Printed for each seed and in all: the trials that ended so and the epochs spent on them; the best val_pauc; how many
controls there were, and how many of these are in the top quarter of their study by val_pauc. While there are fewer
than 100 controls, more seeds are run `off`.

Seeds below 1000 have been used to choose the defaults of the rules; those reported begin at 2001."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.analysis.records import StudyRecord, TrialRecord, read_study
from hpo.curves.predicates import above_chance
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import FLAGS

STUDY = Path(__file__).resolve().parent.parent / "studies" / "glaucoma_small.yaml"
METRIC = "val_pauc"
MARGIN = 0.15
SMALL = (
    "pruner=none",
    "enqueue=[]",
    "mlflow=false",
    "engine.workers=2",
    "sampler.n_startup_trials=46",
    "search_space.epochs=10",
    "search_space.learning_rate={low: 2.0e-4, high: 2.0e-2, log: true}",
    "search_space.batch_size={choices: [16, 32]}",
    "constants.data={image_size: 32, images: 1500, prevalence: 0.03, val_fraction: 0.4, seed: 0}",
)
FIRST_SEED = 2001


@dataclass(frozen=True)
class Result:
    """Of one study. collapsed, at_chance: trials that ended so, with the epochs that each took. best: of those that
    completed. controls: of the trials that a stopping flag was raised in and that ran on, whether each is in the top
    quarter. epochs: of all trials."""

    collapsed: tuple[int, ...]
    at_chance: tuple[int, ...]
    best: float
    controls: tuple[bool, ...]
    epochs: int


def study(seed: int, trials: int, on: bool, folder: Path) -> Result:
    name = f"seed-{seed}-{'on' if on else 'off'}"
    stopping = {flag.name for flag in load_spec(STUDY).red_flags if flag.action == "stop"}
    settings = [*SMALL, f"name={name}", f"seed={seed}", f"budget.trials={trials}", "warm_start=false"]
    if not on:
        written = [flag.data() for flag in load_spec(STUDY).red_flags]
        mappings = [{"name": entry} if isinstance(entry, str) else entry for entry in written]
        settings.append("red_flags=" + json.dumps([entry | {"action": "warn"} for entry in mappings]))
    run(load_spec(STUDY, settings), folder)
    _, stored = load_study(folder, name)
    raised = {
        trial.number: {flag["name"] for flag in trial.user_attrs.get(FLAGS, ())} & stopping
        for trial in stored.get_trials(deepcopy=False)
    }
    return measured(read_study(folder, name), set() if on else {number for number, names in raised.items() if names})


def measured(record: StudyRecord, stopped_on_paper: set[int]) -> Result:
    trials = [trial for trial in record.trials if trial.history and not trial.requeued]
    complete = sorted((t for t in trials if t.state == "COMPLETE"), key=lambda t: -t.values[METRIC])
    top = {trial.number for trial in complete[: len(complete) // 4]}
    ill = [trial for trial in trials if collapsed(trial)]
    return Result(
        tuple(len(trial.history) for trial in ill),
        tuple(len(trial.history) for trial in ill if at_chance(trial)),
        complete[0].values[METRIC] if complete else float("nan"),
        tuple(trial.number in top for trial in complete if trial.number in stopped_on_paper),
        sum(len(trial.history) for trial in trials),
    )


def collapsed(trial: TrialRecord) -> bool:
    last = trial.history[-1].metrics
    return last["val_recall"] == 0 or last["val_predicted_positive"] in (0.0, 1.0)


def at_chance(trial: TrialRecord) -> bool:
    last = trial.history[-1].metrics
    return all((above_chance(name, value) or 0.0) <= MARGIN for name, value in last.items())


def row(label: str, off: Sequence[Result], on: Sequence[Result]) -> str:
    def spent(results: Iterable[Result], kind: str) -> tuple[int, int]:
        each = [epochs for result in results for epochs in getattr(result, kind)]
        return len(each), sum(each)

    cells = [f"{label:6}"]
    for kind in ("collapsed", "at_chance"):
        (ill_off, off_epochs), (ill_on, on_epochs) = spent(off, kind), spent(on, kind)
        less = f"{100 * (1 - on_epochs / off_epochs):.0f} %" if off_epochs else "-"
        cells.append(f"{off_epochs:5} ({ill_off:3}) {on_epochs:5} ({ill_on:3}) {less:>5}")
    best = [sum(result.best for result in results) / len(results) for results in (off, on)]
    total = [sum(result.epochs for result in results) for results in (off, on)]
    controls = [in_top for result in off for in_top in result.controls]
    cells += [f"{total[0]:5} {total[1]:5}", f"{best[0]:.3f} {best[1]:.3f}", f"{len(controls):4} {sum(controls):4}"]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first seed")
    parser.add_argument("--trials", type=int, default=56)
    parser.add_argument("--controls", type=int, default=100, help="how many there must be at least")
    given = parser.parse_args()
    print(f"{given.seeds} seeds of {given.trials} trials: epochs (trials)")
    print(f"{'':6} | {'collapsed: off, on, less':32} | {'at chance: off, on, less':32} | all epochs  | best off, on "
          "| controls, in the top quarter")  # fmt: skip
    off: list[Result] = []
    on: list[Result] = []
    for seed in range(given.first, given.first + given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            off.append(study(seed, given.trials, False, Path(folder)))
            on.append(study(seed, given.trials, True, Path(folder)))
        print(row(str(seed), off[-1:], on[-1:]), flush=True)
    print(row("all", off, on), flush=True)
    # More controls, if those seeds have too few: the next ones, off alone.
    seed = given.first + given.seeds
    while sum(len(result.controls) for result in off) < given.controls:
        with tempfile.TemporaryDirectory() as folder:
            off.append(study(seed, given.trials, False, Path(folder)))
        controls = [in_top for result in off for in_top in result.controls]
        print(f"with seed {seed}, off alone: {len(controls)} controls, {sum(controls)} in the top quarter", flush=True)
        seed += 1


if __name__ == "__main__":
    main()
