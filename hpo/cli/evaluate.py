"""`hpo evaluate`: score the winner's kept weights on held-out data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo import layout
from hpo.analysis.evaluation_wording import (
    calibration_sentence,
    interval_sentence,
    interval_text,
    notes_of,
    sample_text,
    threshold_texts,
    value_text,
)
from hpo.analysis.formatting import configuration, duration, number
from hpo.cli.common import aligned, emit, find_study, json_option, labelled, runs_option, study_argument, trial_argument
from hpo.cli.output import echo
from hpo.reports.to_json import to_plain_data
from hpo.translation.catalogue import whole

if TYPE_CHECKING:
    from hpo.actions.evaluate import Evaluated
    from hpo.analysis.evaluation_records import Evaluation


@click.command(
    epilog="""\b
Examples:
  hpo evaluate mitochondria                       the winner on the study's test split
  hpo evaluate mitochondria --data /data/new      on other slices
  hpo evaluate mitochondria 12 --data /data/new   trial 12 instead of the winner
  hpo evaluate glaucoma --specificity 0.95        with a threshold, chosen on validation
  hpo evaluate --json | jq .metrics               of the study last driven

\b
The objective's module has a function evaluate(trial, folder); the built-in
tasks have one. The result is kept in trials/<N>/evaluations, shown in the
report and written to MLflow as test_<metric>. Weights are kept of the best trials (checkpoints.keep_best).
Exit code: 0 evaluated, 1 nothing is kept of the trial, 2 there is no such
study, trial or function, or it failed.
"""
)
@study_argument
@trial_argument
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Score on this folder instead of the study's own test split.",
)
@click.option(
    "--specificity",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="S",
    help="Find the threshold for this specificity, such as 0.95, on the validation split.",
)
@runs_option
@json_option
def evaluate(
    study: str | None, trial: int | None, data: Path | None, specificity: float | None, runs: Path, as_json: bool
) -> None:
    """Score the weights of the winner on held-out data.

    With N the weights of trial N are scored. STUDY is a name in the runs folder or a YAML; by default the study last
    driven. Without --data the test split of the study's own data is used, which the search has never seen.
    """
    from hpo.actions.evaluate import evaluate as score

    found = score(runs, find_study(runs, study), trial, layout.absolute(data) if data else None, specificity)
    evaluation = found.evaluation
    if as_json:
        emit(
            {
                "study": evaluation.study,
                "trial": evaluation.trial,
                "params": found.trial.params,
                "data": evaluation.data,
                "weights": evaluation.weights,
                "metrics": found.metrics,
                "validation": found.trial.values,
                "seconds": evaluation.seconds,
                "evaluation": to_plain_data(replace(evaluation, examples=())),
                "file": found.file,
            }
        )
    else:
        echo(_text(found))
    for note in found.notes:
        echo(f"warning: {note}", err=True)


def _text(found: Evaluated) -> str:
    trial, evaluation = found.trial, found.evaluation
    head = labelled(
        [
            ("study", evaluation.study),
            ("trial", f"{trial.number} ({configuration(trial.params)})"),
            ("data", "the study's test split" if evaluation.data is None else evaluation.data),
            *([("scored", sample_text(evaluation))] if evaluation.n is not None else []),
            ("weights", evaluation.weights),
            ("time", duration(evaluation.seconds)),
            *([("kept in", str(found.file))] if found.file else []),
        ]
    )
    searched = dict(trial.values)
    rows = [("metric", "held out", "95 % interval", "validation")]
    for name, one in evaluation.scores.items():
        validation = searched.get(name, searched.get(f"val_{name}"))
        rows.append((name, value_text(one), interval_text(one), number(validation) if validation is not None else ""))
    if all(not row[2] for row in rows[1:]):
        rows = [(name, value, "", validation) for name, value, _, validation in rows]
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    table = "\n".join(aligned(zip(*columns, strict=True), right=range(1, len(columns))))
    said = [
        interval_sentence(evaluation),
        *notes_of(evaluation),
        *threshold_texts(evaluation),
        calibration_sentence(evaluation),
    ]
    return "\n\n".join(
        block for block in (head, table, "\n".join(filter(None, said)), *confusion_lines(evaluation)) if block
    )


def confusion_lines(evaluation: Evaluation) -> list[str]:
    """Return the confusion matrix as text, a row a class; nothing without one."""
    confusion = evaluation.confusion
    if confusion is None:
        return []
    title = "true, predicted" if confusion.threshold is None else f"true, above {number(confusion.threshold)}"
    names = confusion.classes
    counts = ((name, *(whole(round(n)) for n in row)) for name, row in zip(names, confusion.counts, strict=True))
    return ["\n".join(aligned([(title, *names), *counts], right=range(1, len(names) + 1)))]
