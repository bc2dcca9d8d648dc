"""Section on the trials that failed or were pruned, and why."""

from __future__ import annotations

from collections.abc import Iterable

from hpo import layout
from hpo.analysis.failures import causes_of
from hpo.analysis.formatting import configuration, duration, numbers
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.reports.blocks import Block, Cell, Section, Table, Text
from hpo.reports.sections.shared import top_and_rest, trial_link
from hpo.translation.catalogue import tr


def failures_section(study: StudyRecord) -> Section:
    """Return the causes with their counts, and every failure and pruning with its reason."""
    causes = causes_of(study)
    title = tr("Failures and prunings")
    if not causes:
        text = tr("No trial failed and none was pruned.") if study.finished else tr("No trial has finished yet.")
        return Section(title, "failures", [Text(text)])
    words = {"FAIL": tr("failed"), "PRUNED": tr("pruned")}
    counts = Table(
        (tr("ended as"), tr("cause"), tr("trials"), tr("meaning"), tr("which")),
        tuple(
            (
                tr("tried again") if cause.requeued else words[cause.state],
                cause.name,
                str(len(cause.trials)),
                cause.meaning,
                numbers(trial.number for trial in cause.trials),
            )
            for cause in causes
        ),
        frozenset({2}),
    )
    blocks: list[Block] = [counts]
    failed = [trial for cause in causes if cause.state == "FAIL" for trial in cause.trials]
    pruned = [trial for cause in causes if cause.state == "PRUNED" for trial in cause.trials]
    if failed:
        blocks += [Text(tr("Every failure, with its reason:")), *_endings(study, failed, tr("The other failures"))]
    if pruned:
        blocks += [Text(tr("Every pruning, with its reason:")), *_endings(study, pruned, tr("The other prunings"))]
    return Section(title, "failures", blocks)


def _endings(study: StudyRecord, trials: Iterable[TrialRecord], rest: str) -> list[Block]:
    def cells(trial: TrialRecord) -> tuple[Cell, ...]:
        link, steps = trial_link(study, trial, layout.ERROR), str(trial.steps)
        return link, _reason(trial), steps, duration(trial.seconds), configuration(trial.params)

    columns = (tr("trial"), tr("reason"), tr("steps"), tr("time"), tr("configuration"))
    ordered = sorted(trials, key=lambda t: t.number)
    return top_and_rest(study, columns, ordered, cells, frozenset({0, 2, 3}), rest)


def _reason(trial: TrialRecord) -> str:
    reason = trial.reason or tr("none recorded")
    return tr("{reason} (tried again)", reason=reason) if trial.requeued else reason
