"""Section on how the trainings of a study went: the verdict on the best of each group, and counts of all verdicts."""

from __future__ import annotations

import math
from collections import Counter

from hpo import layout
from hpo.analysis.formatting import number, percent
from hpo.analysis.groups import best_per_group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.diagnosis import Diagnosis, diagnose
from hpo.analysis.training.training_log import log_of
from hpo.analysis.training.verdict import VERDICTS, verdicts
from hpo.reports.blocks import Block, Cell, Link, Section, Table, Text
from hpo.reports.sections.verdict_text import reason, recommendation, verdict_name
from hpo.translation.catalogue import sentences, tr, trn


def diagnosis_section(study: StudyRecord) -> Section | None:
    """Return the verdicts, or None if no trial reported anything while it trained."""
    judged = [trial for trial in study.finished if trial.history]
    if not judged:
        return None
    blocks: list[Block] = [Text(_how_to_read(study))]
    bests = best_per_group(study, study.metrics[0])
    best = [(one.group, one.best) for one in bests if one.best is not None and one.best.history]
    if best:
        found = [(label, trial, diagnose(log_of(study, trial))) for label, trial in best]
        rows = tuple(_best_cells(study, *one) for one in found)
        columns = (
            study.group_by or tr("trials"), tr("trial"), tr("verdict"), tr("epochs"), tr("loss reduction %"),
            tr("epochs to 90 %"), tr("stability coefficient"), tr("overfitting risk %"),
        )  # fmt: skip
        blocks.append(Table(columns, rows, frozenset({1, 3, 4, 5, 6, 7}), _note()))
        blocks.append(_reasons(study, found))
    blocks += [Text(_counted(study, judged)), _counts(study)]
    return Section(tr("Diagnosis of the trainings"), "diagnosis", blocks)


def _how_to_read(study: StudyRecord) -> str:
    metric = study.metrics[0].name
    if study.group_by is None:
        return tr(
            "A verdict judges a training by its losses and by {metric}, epoch by epoch; one that is flat or too short "
            "has none. The best trial:",
            metric=metric,
        )
    return tr(
        "A verdict judges a training by its losses and by {metric}, epoch by epoch; one that is flat or too short has "
        "none. The best trial of each group:",
        metric=metric,
    )


def _note() -> str:
    return tr(
        "loss reduction: of training, first to last epoch. stability coefficient: standard deviation / mean of the "
        "last 10 validation losses. overfitting risk: how much of what validation had gained, by what the verdict is "
        "of, was lost again at the end. hpo diagnose STUDY/N says more of any trial."
    )


def _best_cells(study: StudyRecord, label: str, trial: TrialRecord, found: Diagnosis) -> tuple[Cell, ...]:
    convergence = "—" if found.convergence is None else str(found.convergence.epochs)
    risk = "—"
    if found.risk is not None and math.isfinite(found.risk.share):
        risk = percent(100 * found.risk.share)
    return (
        label,
        _link(study, trial),
        verdict_name(found.judgement.verdict),
        str(found.epochs),
        "—" if found.reduction is None else percent(found.reduction),
        convergence,
        "—" if found.stability is None else number(found.stability, 3),
        risk,
    )


def _link(study: StudyRecord, trial: TrialRecord) -> Cell:
    """Return the trial's number, with a link to its own diagnosis if that was written."""
    page = layout.trial_directory(study.directory, trial.number) / f"{layout.DIAGNOSIS}.html"
    if page.is_file():
        return Link(str(trial.number), page.relative_to(study.directory).as_posix())
    return str(trial.number)


def _reasons(study: StudyRecord, found: list[tuple[str, TrialRecord, Diagnosis]]) -> Table:
    rows = tuple(
        (label, reason(one.judgement), sentences(recommendation(advice) for advice in one.advice) or "—")
        for label, _, one in found
    )
    return Table((study.group_by or tr("trials"), tr("why"), tr("what to do")), rows)


def _counted(study: StudyRecord, judged: list[TrialRecord]) -> str:
    silent = len(study.finished) - len(judged)
    all_of_them = trn(
        "The verdict on {n} finished trial that reported its epochs:",
        "The verdicts on all {n} finished trials that reported their epochs:",
        len(judged),
    )
    if not silent:
        return all_of_them
    left_out = trn(
        "{n} finished trial reported nothing and is not judged.",
        "{n} finished trials reported nothing and are not judged.",
        silent,
    )
    return sentences([left_out, all_of_them])


def _counts(study: StudyRecord) -> Table:
    """Return a row for each group and state; pruned trials ended early and are counted apart."""
    known = verdicts(study)
    rows: list[tuple[Cell, ...]] = []
    for group in groups_of(study):
        own = [trial for trial in group.trials if trial.number in known]
        for state, name in (("COMPLETE", tr("complete")), ("PRUNED", tr("pruned")), ("FAIL", tr("failed"))):
            of = [trial for trial in own if trial.state == state]
            counts = Counter(known[trial.number] for trial in of)
            if of:
                rows.append((group.label, name, str(len(of)), *(str(counts[verdict]) for verdict in VERDICTS)))
    columns = (study.group_by or tr("trials"), tr("ended as"), "n", *(verdict_name(verdict) for verdict in VERDICTS))
    return Table(columns, tuple(rows), frozenset(range(2, len(columns))))
