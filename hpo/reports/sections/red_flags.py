"""Section on the red flags: what each stopped or warned of, in which regions, and the numbers that led to every one."""

from __future__ import annotations

from hpo import layout
from hpo.analysis.failures import rules_of
from hpo.analysis.formatting import label, number
from hpo.analysis.records import RaisedFlag, StudyRecord
from hpo.analysis.red_flags import FlagCount, FlaggedTrial, flag_counts
from hpo.reports.blocks import Block, Cell, Section, Table, Text
from hpo.reports.sections.red_flag_regions import region_blocks
from hpo.reports.sections.shared import capped_of, trial_link
from hpo.translation.catalogue import sentences, tr, whole


def red_flags_section(study: StudyRecord) -> Section | None:
    """Return the section, or None if the study has no rules and none was raised."""
    counts = flag_counts(study)
    if not counts:
        return None
    raised = any(count.raised for count in counts)
    how = tr(
        "Rules that are checked in every epoch of a trial. A flag that stops ends the trial there; a flag that warns "
        "lets it continue."
    )
    if not raised:
        how = sentences([how, tr("None was raised.")])
    blocks: list[Block] = [Text(how), _counts(study, counts)]
    if raised:
        if any(count.stopped for count in counts):
            blocks.append(Text(_saved(study, counts)))
        blocks += region_blocks(study)
        blocks.append(_evidence(study, counts))
    return Section(tr("Red flags"), "red-flags", blocks)


def _counts(study: StudyRecord, counts: tuple[FlagCount, ...]) -> Table:
    rules = rules_of(study)
    rows = tuple(
        (
            count.name,
            rules[count.name].words if count.name in rules else tr("no longer in study.yaml"),
            str(len(count.stopped)),
            str(len(count.warned)),
            _epochs(count),
            _rounded(count.saved) if count.stopped else "—",
        )
        for count in counts
    )
    columns = (tr("red flag"), tr("rule"), tr("stopped"), tr("warned"), tr("raised in epoch"), tr("epochs saved"))
    note = tr("raised in epoch: the first, the median and the last, as the trials count their epochs.")
    return Table(columns, rows, frozenset({2, 3, 4, 5}), note)


def _epochs(count: FlagCount) -> str:
    if count.epochs is None:
        return "—"
    first, median, last = count.epochs
    return str(first) if first == last else f"{first} / {number(median)} / {last}"


def _rounded(epochs: float | None) -> str:
    return "—" if epochs is None else whole(round(epochs))


def _saved(study: StudyRecord, counts: tuple[FlagCount, ...]) -> str:
    known = [count.saved for count in counts if count.stopped and count.saved is not None]
    if not known:
        return tr("How many epochs the stops have saved is not known: no trial has completed.")
    return tr(
        "Epochs saved: the median length of the complete trials of the group (of the study, where the group has none) "
        "minus what a stopped trial had trained, summed: {saved}. In total {trained} were trained.",
        saved=_rounded(sum(known)),
        trained=whole(sum(trial.steps for trial in study.trials if not trial.requeued)),
    )


def _evidence(study: StudyRecord, counts: tuple[FlagCount, ...]) -> Table:
    def cells(one: FlaggedTrial) -> tuple[Cell, ...]:
        return (
            trial_link(study, one.trial, f"{layout.DIAGNOSIS}.html"),
            one.flag.name,
            _did(one),
            str(one.flag.step),
            "—" if one.flag.since is None else str(one.flag.since),
            _numbers(one.flag),
            one.flag.reason,
        )

    raised = [one for count in counts for one in sorted(count.raised, key=lambda one: one.trial.number)]
    columns = (
        tr("trial"), tr("red flag"), tr("did"), tr("epoch"), tr("met since"), tr("numbers in that epoch"), tr("reason"),
    )  # fmt: skip
    title = tr("Every red flag, with the numbers that led to it")
    return capped_of(columns, raised, cells, frozenset({0, 3, 4}), folded=title)


def _did(one: FlaggedTrial) -> str:
    return tr("stopped") if one.trial.flag == one.flag.name else tr("warned")


def _numbers(flag: RaisedFlag) -> str:
    parts = [f"{name} {label(value)}" for name, value in (*flag.metrics.items(), *flag.more.items())]
    return tr(", ").join(parts) or "—"
