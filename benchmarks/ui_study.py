"""A study of 5,000 trials of 50 epochs, as `hpo run` would have left it: what `hpo ui` is tested and measured with.

    python benchmarks/ui_study.py FOLDER [--trials 5000] [--epochs 50]

FOLDER gets the files that benchmarks/scale_study.py writes. A trial reports losses and scores of training and
validation.
"""

from __future__ import annotations

import argparse
import math
import random
import runpy
from pathlib import Path
from typing import Any

from scale_study import OBJECTIVE, STUDY, Params, write_trials

from hpo import layout
from hpo.storage.open import open_storage


def write_large_study(folder: Path, trials: int = 5000, epochs: int = 50) -> Path:
    """Write the study `scale` below `folder`, and return its runs folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "objective.py").write_text(OBJECTIVE.lstrip())
    (folder / "study.yaml").write_text(STUDY.format(trials=trials).lstrip())
    score: Any = runpy.run_path(str(folder / "objective.py"))["score"]
    dice = random.Random(2)

    def curve(params: Params) -> tuple[dict[int, dict[str, float]], float]:
        values = {step: score(params, 10 * step / epochs) + dice.gauss(0, 0.01) for step in range(1, epochs + 1)}
        metrics = {
            step: {
                "train_loss": math.exp(-3 * value) + 0.02,
                "val_loss": math.exp(-3 * value) + 0.02 + max(0, step - 30) * 0.002,
                "train_score": value + 0.02,
                "score": value,
            }
            for step, value in values.items()
        }
        return metrics, values[epochs]

    runs = folder / "runs"
    write_trials(folder / "study.yaml", runs, trials, curve)
    open_storage(f"journal:{runs / layout.JOURNAL}", say=str)  # leaves a snapshot, as a driver does
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets the study")
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=50)
    options = parser.parse_args()
    write_large_study(options.folder.absolute(), options.trials, options.epochs)


if __name__ == "__main__":
    main()
