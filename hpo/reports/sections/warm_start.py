"""Section on how the configurations of earlier studies did."""

from __future__ import annotations

from dataclasses import replace

from hpo.analysis.formatting import listed, number
from hpo.analysis.records import StudyRecord
from hpo.analysis.warm_start import Rank, WarmTrials, warm_trials
from hpo.reports.blocks import Block, Cell, Section, Table, Text
from hpo.reports.sections.shared import capped, scores, trial_link
from hpo.translation.catalogue import sentences, tr, trn


def warm_start_section(study: StudyRecord) -> Section | None:
    """Return the section, or None for a study that began from no earlier one."""
    found = warm_trials(study)
    if found is None:
        return None
    blocks: list[Block] = [Text(sentences([_begun(found), _trust(found), _best(study, found)]))]
    if found.trials:
        blocks.append(_table(study, found))
    return Section(tr("Warm start"), "warm-start", blocks)


def _begun(found: WarmTrials) -> str:
    return trn(
        "{n} configuration of earlier studies ({studies}) could be tried; {started} were started.",
        "{n} configurations of earlier studies ({studies}) could be tried; {started} were started.",
        found.offered,
        studies=listed(found.studies),
        started=found.started,
    )


def _trust(found: WarmTrials) -> str:
    if found.trusted:
        return tr("They were trusted to the end.")
    why = found.why or tr("no reason recorded")
    return tr("They were not trusted to the end ({why}).", why=why)


def _best(study: StudyRecord, found: WarmTrials) -> str:
    if found.best is None or found.best_own is None:
        return ""
    write = scores(study, found.metric)
    return tr(
        "The best of them: {metric} {value} (trial {n}); of all other trials: {other} (trial {m}).",
        metric=found.metric.name,
        value=write(found.best),
        n=found.best.number,
        other=write(found.best_own),
        m=found.best_own.number,
    )


def _table(study: StudyRecord, found: WarmTrials) -> Table:
    write = scores(study, found.metric)
    words = {"COMPLETE": tr("complete"), "PRUNED": tr("pruned"), "FAIL": tr("failed"), "RUNNING": tr("running")}
    rows: list[tuple[Cell, ...]] = []
    for one in found.trials:
        there = "—" if one.origin.value is None else number(one.origin.value)
        number_there = "—" if one.origin.number is None else str(one.origin.number)
        here = "—" if one.value is None else write(one.trial)
        ended = words[one.trial.state]
        link = trial_link(study, one.trial)
        rows.append((link, one.origin.study, number_there, there, here, ended, *_rank(one.rank)))
    columns = (
        tr("trial"), tr("from study"), tr("trial there"), tr("{metric} there", metric=found.metric.name),
        tr("{metric} here", metric=found.metric.name), tr("ended as"), tr("rank"), tr("at epoch"),
    )  # fmt: skip
    note = tr(
        "rank: by the {metric} that was reported last, among all trials of this study that reported it at the same "
        "epoch.",
        metric=found.metric.name,
    )
    table = capped(columns, tuple(rows), frozenset({0, 2, 3, 4, 6, 7}))
    return replace(table, note=sentences([table.note, note]))


def _rank(rank: Rank | None) -> tuple[str, str]:
    if rank is None:
        return "—", "—"
    step = tr("end") if rank.step is None else str(rank.step)
    return tr("{place} of {n}", place=rank.place, n=rank.of), step
