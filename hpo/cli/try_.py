"""`hpo try`: train one trial for an epoch or two, and say what is not as it is meant."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo.analysis.formatting import number
from hpo.cli.common import around, emit, json_option, metrics_text, runs_option, set_option, study_file_argument
from hpo.cli.output import echo
from hpo.text import count, show

if TYPE_CHECKING:
    from hpo.actions.try_finding import Finding
    from hpo.actions.try_study import TryResult

WIDTH = 118
_INDENT = " " * 21


@click.command(
    "try",
    epilog="""\b
Examples:
  hpo try study.yaml                              two epochs of one trial, and what they show
  hpo try study.yaml --epochs 1                   the shortest look
  hpo try study.yaml --twice                      does the same seed give the same numbers?
  hpo try study.yaml --enqueue 3                  the third configuration of `enqueue`
  hpo try study.yaml --set search_space.learning_rate=1e-3 --set constants.epochs=2
  hpo try study.yaml --json | jq '.findings[] | select(.level != "ok")'

\b
Exit code: 0 no error was found (warnings are none), 1 an error, 2 the study is wrong,
130 interrupted.
""",
)
@study_file_argument
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    metavar="N",
    help="Reported steps after which the trial is stopped.",
)
@click.option(
    "--enqueue",
    "which",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Configuration of `enqueue` to try; without any it is drawn.",
)
@click.option("--twice", is_flag=True, help="Train it twice with one seed, and compare.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=10,
    show_default=True,
    help="A training that takes longer is ended.",
)
@set_option
@runs_option
@json_option
def try_(
    study: str,
    epochs: int,
    which: int,
    twice: bool,
    minutes: float,
    overrides: tuple[str, ...],
    runs: Path,
    as_json: bool,
) -> int:
    """Train one trial for an epoch or two, and say what is not as it is meant.

    It trains in a temporary folder, with the constants and the part of the machine that a trial of the run has, and is
    stopped after its second report. Nothing is kept: no study, no MLflow run. Then each silent mistake is looked for:
    steps, names of metrics, values that never change, parameters and constants that are not read, the data, the GPU,
    checkpoints, memory. At the end stands what a full run will cost.
    """
    from hpo.actions.try_study import try_study
    from hpo.spec.load import load_with_hints

    spec, hints = load_with_hints(study, overrides)
    if which > max(1, len(spec.enqueue)):
        raise click.UsageError(f"--enqueue {which}: the study enqueues {count(len(spec.enqueue), 'configuration')}")

    def reported(step: int, metrics: Mapping[str, float], seconds: float) -> None:
        shown = {metric.name: metrics[metric.name] for metric in spec.metrics if metric.name in metrics}
        echo(f"  step {step} after {seconds:.1f} s: {metrics_text(shown or dict([*metrics.items()][:3]))}", err=True)

    def say(sentence: str) -> None:
        echo(sentence, err=True)

    times = "twice " if twice else ""
    say(f"trains one trial of {spec.name} {times}for {count(epochs, 'epoch')}, in a temporary folder")
    found = try_study(spec, hints, runs, epochs, which, twice, 60 * minutes, say, reported)
    if as_json:
        emit(found.data())
    else:
        echo(_text(found))
    return 1 if found.errors else 0


def _text(found: TryResult) -> str:
    params = ", ".join(f"{name} {_value(value)}" for name, value in found.params.items())
    head = [
        f"{found.study} ({found.source})",
        f"tried: {params or 'no parameters'} ({found.origin}; seed {found.seed})",
    ]
    blocks = ["\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in head)]
    blocks.append("\n".join(_line(one) for one in found.findings))
    if found.evidence:
        blocks.append("\n".join(f"  | {line}" for line in found.evidence))
    if found.plan is not None and found.plan.groups:  # else it is said why its time is not known
        blocks.append(_cost(found))
    counts = f"{count(found.errors, 'error')}, {count(found.warnings, 'warning')}"
    blocks.append(counts if found.errors else f"{counts}: `hpo run {shlex.quote(found.source)}` starts the study")
    return "\n\n".join(blocks)


def _line(one: Finding) -> str:
    text = f"{one.level:<8} {one.topic:<12}{one.text}" + (f". {_sentence(one.todo)}" if one.todo else "")
    return textwrap.fill(text, WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)


def _sentence(todo: str) -> str:
    return f"{todo[0].upper()}{todo[1:]}" if todo[0].isalpha() and not todo.startswith("trial.") else todo


def _cost(found: TryResult) -> str:
    """Return what the whole study costs, by the estimate of `hpo plan`."""
    from hpo.cli.plan import wait

    plan = found.plan
    if plan is None or plan.forecast is None:
        why = "; ".join(plan.unknown) if plan is not None else ""
        return textwrap.fill(f"a full run: {why or 'its cost is not known'}", WIDTH, subsequent_indent="  ")
    forecast = plan.forecast
    trials = f"{around(forecast.trials, lambda n: f'{n:.0f}')} trials"
    gpus = ""
    if plan.gpus:
        gpus = f", {around(forecast.busy, lambda seconds: number(seconds * plan.gpus / 3600, 2))} GPU hours"
    said = (
        f"a full run: {trials}, {plan.workers} at once, end {around(forecast.seconds, wait)} after their start (80% "
        f"interval){gpus}. This is of one trial; `hpo plan --probe` measures each group, with all workers at work"
    )
    return textwrap.fill(said, WIDTH, subsequent_indent="  ")


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name} {_value(each)}" for name, each in value.items())
    return number(value) if isinstance(value, float) else show(value)
