"""`hpo diagnose`: what went well or wrong in one training."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo.cli.common import (
    emit,
    find_study,
    json_option,
    one_trial,
    output_option,
    page_options,
    present_report,
    runs_option,
    trial_argument,
    trial_option,
    write_where_allowed,
)
from hpo.cli.complete import studies_and_trials
from hpo.cli.output import echo, echo_document, say, say_document
from hpo.errors import StudyNotFound
from hpo.text import listing

if TYPE_CHECKING:
    from hpo.actions.diagnose import Training
    from hpo.analysis.training.diagnosis import Diagnosis

WIDTH = 100


def _columns(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Return `epoch=Epoch,train_loss=loss` as name -> column."""
    found: dict[str, str] = {}
    for part in (part for text in given for part in text.split(",") if part.strip()):
        name, sign, column = (piece.strip() for piece in part.partition("="))
        if not (name and sign and column):
            raise click.BadParameter(f"'{part.strip()}' is not NAME=COLUMN, such as train_loss=loss")
        if name in found:
            raise click.BadParameter(f"'{name}' is given twice, as {found[name]} and {column}")
        if column in found.values():
            raise click.BadParameter(f"the column '{column}' is given twice")
        found[name] = column
    return found


@click.command(
    epilog="""\b
Examples:
  hpo diagnose                              the best trial of the study last driven
  hpo diagnose quickstart/12 --open         trial 12, and show it in the browser
  hpo diagnose training.csv                 a log of Keras's CSVLogger, or any with epoch,train_loss,val_loss
  hpo diagnose lightning_logs/version_0     a log of Lightning's CSVLogger
  hpo diagnose log.csv --columns epoch=Epoch,train_loss=TrnLoss,val_loss=TestLoss
  hpo diagnose mlflow:4f1a... --tracking-uri http://127.0.0.1:5000
  hpo diagnose quickstart/12 --json | jq -r .judgement.verdict
  hpo diagnose log.csv --metric val_f1      judge by this metric, not by another
  hpo diagnose log.csv --metric gain:maximize

\b
Verdicts: healthy, overfitting, plateau, diverged, collapsed, noisy; nothing passes 0.5
(the network ranks, and finds nothing), metric does not follow (the loss falls, and it
stands). A flat curve and one of fewer than 8 epochs have none. The rules:
docs/guides/diagnose.md.
"""
)
@click.argument("source", required=False, shell_complete=studies_and_trials)
@trial_argument
@trial_option("The same as N: this trial of the study instead of the best.")
@click.option(
    "--columns",
    multiple=True,
    metavar="NAME=COLUMN,...",
    callback=_columns,
    help="The columns of the file that are epoch, train_loss, val_loss and metrics (train_X, val_X).",
)
@click.option(
    "--metric",
    metavar="NAME",
    help="The metric that counts; NAME:maximize or NAME:minimize where its name does not say which way is better.  "
    "[default: the study's first, else that of a ranking such as val_auc, else another of validation]",
)
@click.option("--tracking-uri", metavar="URI", help="MLflow's.  [default: $MLFLOW_TRACKING_URI, else that of the runs]")
@output_option("Write diagnosis.html, .md and .json here; those of a trial go to its folder otherwise.")
@page_options
@runs_option
@json_option
def diagnose(
    source: str | None,
    trial: int | None,
    named: int | None,
    columns: dict[str, str],
    metric: str | None,
    tracking_uri: str | None,
    output: Path | None,
    lang: str | None,
    images: str | None,
    show: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Say what went well or wrong in one training.

    It also says what to do about it. SOURCE is a trial (STUDY/N, or STUDY N), a study (its best trial), an MLflow run
    (mlflow:RUN_ID), or a log: a CSV or JSON-lines file. By default it is the best trial of the study last driven.
    """
    from hpo.actions.diagnose import by_metric
    from hpo.analysis.training.diagnosis import diagnose as judge
    from hpo.reports.training_report import diagnosis_data, write_diagnosis
    from hpo.translation.catalogue import chosen, language

    code = chosen(lang)
    training = _training(source, one_trial(trial, named), runs, columns, tracking_uri)
    training = training if metric is None else by_metric(training, metric)
    folder = output or training.folder
    if folder is None and (show or images):
        raise click.UsageError("--open and --images need files: give -o DIR, where they are to be written")
    found = judge(training.read.log)
    with language(code):
        written = None
        if folder is not None:
            write = partial(write_diagnosis, found, folder, images)
            written = write_where_allowed(write, output, needed=show or images is not None)
        if as_json:
            files = {} if written is None else {"files": asdict(written)}
            read = {"read_as": training.read.recognised, "remarks": training.read.remarks}
            emit({**diagnosis_data(found), **read, **files}, echo_document if written is None else say_document)
        else:
            (echo if written is None else say)("\n".join(_text(training, found)))
    if written is not None and not as_json:
        say()
    present_report(written, show, quiet=as_json)


def _training(
    source: str | None, trial: int | None, runs: Path, columns: dict[str, str], tracking_uri: str | None
) -> Training:
    from hpo.actions.diagnose import IN_FOLDER, external_log, trial_log

    found = None if source is None else external_log(source, runs, columns, tracking_uri)
    if found is not None:
        if trial is not None:
            raise click.UsageError(f"a trial's number needs a study, and '{source}' is none")
        return found
    if columns:
        raise click.UsageError(
            "--columns needs a log file or an MLflow run; the metrics of a trial have their own names"
        )
    name, _, number = (source or "").rpartition("/")
    if name and number.isdecimal():
        if trial is not None:
            raise click.UsageError(f"'{source}' is trial {number} already; leave out the other number")
        return trial_log(runs, find_study(runs, name), int(number))
    try:
        name = find_study(runs, source)
    except StudyNotFound as error:
        if source is None or Path(source).suffix in (".yaml", ".yml"):
            raise
        raise StudyNotFound(f"{error} Nor is '{source}' a file, or a folder with {listing(IN_FOLDER)}.") from error
    return trial_log(runs, name, trial)


def _text(training: Training, found: Diagnosis) -> Iterator[str]:
    from hpo.analysis.formatting import configuration, number
    from hpo.reports.sections.training import facts
    from hpo.reports.sections.verdict_text import reason, recommendation, verdict_name
    from hpo.translation.catalogue import tr

    log = found.log
    yield f"{log.name}: {verdict_name(found.judgement.verdict)}"
    yield ""
    yield from _wrapped(reason(found.judgement))
    yield ""
    rows = [(tr("Read as"), training.read.recognised), *((tr("Note"), remark) for remark in training.read.remarks)]
    if log.params:
        rows.append((tr("Trained with"), configuration(log.params)))
    rows.append((tr("Epochs"), str(found.epochs)))
    if found.best is not None:
        best = tr("{value} in epoch {epoch}", value=number(found.best), epoch=found.best_epoch)
        rows.append((tr("Best {metric}", metric=found.metric), best))
    for label, value in [*rows, *facts(found)]:
        yield from _wrapped(tr("{label}: {value}", label=label, value=value), rest="  ")
    if len(found.components) > 1:
        yield from ("", tr("Components of the loss:"))
        for part in found.components[1:]:
            numbers = ", ".join(_component(part.train_first, part.train_last, part.share))
            text = tr("{name}: {verdict}", name=part.name, verdict=verdict_name(part.judgement.verdict))
            yield f"  {text}{'; ' if numbers else ''}{numbers}"
    yield ""
    yield tr("What to do:") if found.advice else tr("Nothing is recommended.")
    for k, advice in enumerate(found.advice, start=1):
        yield from _wrapped(recommendation(advice), f"{k}. ", "   ")


def _component(first: float | None, last: float | None, share: float | None) -> Iterator[str]:
    from hpo.analysis.formatting import number, percent
    from hpo.translation.catalogue import tr

    if first is not None and last is not None:
        yield tr("train {first} to {last}", first=number(first), last=number(last))
    if share is not None:
        yield tr("{share} % of the loss", share=percent(100 * share))


def _wrapped(text: str, first: str = "", rest: str = "") -> Iterable[str]:
    """Return a text as lines of a terminal; words such as paths stay whole."""
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return lines or [first]
