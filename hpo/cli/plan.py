"""`hpo plan`: say what a study costs before it is spent."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo.analysis.formatting import around, duration, number, rough_duration, rounded_percent
from hpo.cli.common import (
    aligned,
    emit,
    json_option,
    labelled,
    runs_option,
    set_option,
    study_file_argument,
    trials_option,
)
from hpo.cli.output import echo
from hpo.text import count

if TYPE_CHECKING:
    from hpo.actions.cost_plan import CostPlan
    from hpo.spec.models import StudySpec


# Groups that the table shows; --json has all.
MOST_GROUPS = 20


@click.command(
    epilog="""\b
Examples:
  hpo plan study.yaml                             from past trials of the same space
  hpo plan study.yaml --probe                     train two epochs of each architecture first
  hpo plan study.yaml --set budget.hours=8        how many trials fit?
  hpo plan study.yaml --set 'budget={by: "2026-12-01 09:00"}'
                                                  how many until then?
  hpo plan study.yaml --probe --json | jq .forecast.seconds

\b
Exit code: 0 planned, or it says what is not known; 1 nothing of the probe could be measured,
2 the study is wrong, 130 interrupted.
""",
)
@study_file_argument
@click.option("--probe", "probing", is_flag=True, help="Train two epochs of each structural group, and keep nothing.")
@set_option
@trials_option
@runs_option
@json_option
def plan(study: str, probing: bool, overrides: tuple[str, ...], trials: int | None, runs: Path, as_json: bool) -> int:
    """Say what a study costs before it is spent.

    Seconds an epoch of each structural group, trials that fit the budget, GPU hours, when it ends, what the pruner
    saves and what the search space wastes. The numbers come from past trials of the same space with the same constants
    (but for epochs), or with --probe from short trainings in a temporary folder.
    """
    from hpo.actions.cost_plan import plan_costs
    from hpo.actions.obstacles import refuse_unstartable
    from hpo.search.samplers import warnings_for
    from hpo.spec.load import load_with_hints

    settings = overrides if trials is None else (*overrides, f"budget.trials={trials}")
    spec, hints = load_with_hints(study, settings)
    refuse_unstartable(spec, runs)
    found = plan_costs(spec, runs, probing, lambda sentence: echo(sentence, err=True))
    weaknesses = [*hints, *warnings_for(spec), *found.weaknesses]
    if as_json:
        emit(found.data() | {"weaknesses": weaknesses})
    else:
        echo(_text(spec, found, weaknesses))
    return 1 if probing and not found.groups else 0


def _text(spec: StudySpec, plan: CostPlan, weaknesses: list[str]) -> str:
    from hpo.spec.wording import budget_text

    lines = [("study", f"{plan.study} ({spec.source})")]
    if plan.source:
        lines.append(("measured", plan.source))
    lines.append(("budget", budget_text(spec.budget)))
    if plan.finished:
        lines.append(("", f"{count(plan.finished, 'trial')} of it finished"))
    if plan.workers is not None:
        start = f", each {rough_duration(plan.worker_start)} to start" if plan.worker_start >= 1 else ""
        lines.append(("workers", f"{plan.workers}{start}"))
    if plan.saving is not None:
        saved = f"{rounded_percent(plan.saving.saved)} of the epochs, " if plan.saving.saved > 0 else ""
        lines.append(("pruner", f"saves {saved}{plan.saving.words}" if saved else plan.saving.words))
    blocks = [labelled(lines)]
    if plan.groups:
        blocks.insert(0, "\n".join(_groups(plan)))
        blocks.reverse()
    blocks.append(labelled([*_ends(plan), *(("unknown", sentence) for sentence in plan.unknown)]))
    if weaknesses:
        blocks.append("\n".join(f"warning: {weakness}" for weakness in weaknesses))
    return "\n\n".join(filter(None, blocks))


def _groups(plan: CostPlan) -> list[str]:
    """Return the table of the structural groups; a column without a value is left out."""
    shown = sorted(plan.groups, key=lambda one: (-min(one.measured, 1), -one.seconds, -one.trials))[:MOST_GROUPS]
    head = ("group", "measured", "s an epoch", "start", "memory", "GPU memory", "of the trials", "of the hours")
    rows = [
        (
            one.group,
            str(one.measured),
            "—" if one.epoch is None else number(one.epoch, 3),
            f"{one.setup:.1f} s" if one.measured else "—",
            "" if one.host_bytes is None else f"{one.host_bytes / 2**20:.0f} MiB",
            "" if one.gpu_memory is None else rounded_percent(one.gpu_memory),
            rounded_percent(one.trials),
            "" if plan.forecast is None else rounded_percent(one.seconds),
        )
        for one in shown
    ]
    used = [column for column in zip(head, *rows, strict=True) if any(column[1:])]
    left = len(plan.groups) - len(shown)
    return [
        *aligned(zip(*used, strict=True), right=range(1, len(used))),
        *([f"and {count(left, 'group')} more"] if left else []),
    ]


def _ends(plan: CostPlan) -> list[tuple[str, str]]:
    """Return when the study ends, and what it takes."""
    forecast = plan.forecast
    if forecast is None:
        return []
    lines = [("ends", f"{around(forecast.seconds, wait)} after its start (80% interval)")]
    lines.append(("", f"started now: {around(forecast.seconds, lambda seconds: clock(plan.planned + seconds))}"))
    if plan.by is not None:
        room = plan.by - plan.planned - forecast.seconds.high
        late = f"too late by {rough_duration(-room)} in the worst case of the interval"
        in_time = f"start it by {clock(plan.by - forecast.seconds.high)} to be done in time"
        if plan.limits.trials is not None and forecast.trials.low >= plan.limits.trials:
            lines.append(("", in_time if room >= 0 else late))
        else:
            lines.append(("", f"no trial starts from {clock(plan.by)} on; those that run then run to their end"))
    if plan.limits.trials is None or forecast.trials.low < plan.limits.trials:
        lines.append(("trials", around(forecast.trials, lambda n: f"{n:.0f}") + " fit the budget"))
    hours = f"{around(forecast.busy, wait)} of trials"
    if plan.gpus:
        gpu = around(forecast.busy, lambda seconds: number(seconds * plan.gpus / 3600, 2))
        hours += f", {gpu} GPU hours"
    return [*lines, ("takes", hours)]


def wait(seconds: float) -> str:
    """Return seconds finer than a minute only where that makes a difference."""
    return duration(seconds) if 60 <= seconds < 600 else rough_duration(seconds)


def clock(moment: float) -> str:
    """Return a moment as `14:05` if it is within half a day, else with its date."""
    near = abs(moment - time.time()) < 12 * 3600
    return time.strftime("%H:%M" if near else "%Y-%m-%d %H:%M", time.localtime(moment))
