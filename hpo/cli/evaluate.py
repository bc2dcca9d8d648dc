"""`hpo evaluate`: score the winner's kept weights on held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo.analysis.formatting import configuration, duration, number
from hpo.cli.common import aligned, emit, find_study, json_option, labelled, runs_option, study_argument
from hpo.cli.output import echo

if TYPE_CHECKING:
    from hpo.actions.evaluate import Evaluation


@click.command(
    epilog="""\b
Examples:
  hpo evaluate mitochondria                       the winner on the study's test split
  hpo evaluate mitochondria --data /data/new      on other slices
  hpo evaluate mitochondria 12 --data /data/new   trial 12 instead of the winner
  hpo evaluate --json | jq .metrics               of the study last driven

\b
The objective's module has a function evaluate(trial, folder); the built-in
tasks have one. Weights are kept of the best trials (checkpoints.keep_best).
Exit code: 0 evaluated, 1 nothing is kept of the trial, 2 there is no such
study, trial or function, or it failed.
"""
)
@study_argument
@click.argument("trial", required=False, type=click.IntRange(min=0), metavar="[N]")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Score on this folder instead of the study's own test split.",
)
@runs_option
@json_option
def evaluate(study: str | None, trial: int | None, data: Path | None, runs: Path, as_json: bool) -> None:
    """Score the weights of the winner on held-out data.

    With N the weights of trial N are scored. STUDY is a name in the runs folder or a YAML; by default the study last
    driven. Without --data the test split of the study's own data is used, which the search has never seen.
    """
    from hpo.actions.evaluate import evaluate as score

    found = score(runs, find_study(runs, study), trial, data.absolute() if data else None)
    if as_json:
        emit(
            {
                "study": found.study,
                "trial": found.trial.number,
                "params": found.trial.params,
                "data": found.data,
                "weights": found.weights,
                "metrics": found.metrics,
                "validation": found.trial.values,
                "seconds": found.seconds,
            }
        )
    else:
        echo(_text(found))


def _text(found: Evaluation) -> str:
    trial = found.trial
    head = labelled(
        [
            ("study", found.study),
            ("trial", f"{trial.number} ({configuration(trial.params)})"),
            ("data", str(found.data) if found.data else "the study's test split"),
            ("weights", str(found.weights)),
            ("time", duration(found.seconds)),
        ]
    )
    searched = dict(trial.values)
    rows = [("metric", "held out", "validation")]
    for name, value in found.metrics.items():
        validation = searched.get(name, searched.get(f"val_{name}"))
        rows.append((name, number(value), number(validation) if validation is not None else ""))
    return head + "\n\n" + "\n".join(aligned(rows, right=(1, 2)))
