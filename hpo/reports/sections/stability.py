"""Section on how steady the validation loss was once each training had settled."""

from __future__ import annotations

from hpo.analysis.density import MOST_DOTS
from hpo.analysis.formatting import listed, number, percent, rounded_percent
from hpo.analysis.records import StudyRecord
from hpo.analysis.stability import BANDS, SETTLED, WINDOW, WORDS, WORST, Stabilities, Stability, stabilities
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Section, Table, Text
from hpo.reports.sections.shared import cells_of_many
from hpo.translation.catalogue import sentences, tr, trn


def stability_section(study: StudyRecord) -> Section:
    """Return the stability of the best trial of each group, and of all complete trials."""
    metric = study.metrics[0]
    data = stabilities(study, metric)
    title = tr("Training stability")
    if not any(group.best for group in data.groups):
        return Section(title, "stability", [Text(tr("No trial has completed yet, so there is no training to judge."))])
    if not data.series.name:
        return Section(title, "stability", [Text(tr("Not shown: {why}.", why=data.series.why_not))])
    blocks: list[Block] = [Text(_which(study)), _best_table(study, data)]
    if any(group.dots for group in data.groups):
        table = _spread_table(study, data)
        name = tr("Spread of {metric} once it has settled", metric=data.series.name)
        blocks.append(Chart(name, data, table, _caption(data)) if data.spreads else table)
    blocks.append(Explanation(_how_to_read(data)))
    return Section(title, "stability", blocks)


def _which(study: StudyRecord) -> str:
    if len(study.metrics) > 1:
        return tr("The best trial by {metric} of each group:", metric=study.metrics[0].name)
    return tr("The best trial of each group:")


def _how_to_read(data: Stabilities) -> str:
    up_to = [tr("{word} up to {limit} %", word=tr(word), limit=percent(100 * limit)) for word, limit in BANDS]
    above = tr("{word} above", word=tr(WORST))
    words = tr(
        "The words say how much {metric} still moves: the spread of its last {n} epochs around their trend, in percent "
        "of what it gained: {bands}. A training has a word {settled} epochs after its best.",
        metric=data.series.name,
        n=WINDOW,
        bands=listed([*up_to, above]),
        settled=SETTLED,
    )
    deviation = tr(
        "The deviation is the sample standard deviation (N - 1) of the last {n} epochs, or of all if there are fewer, "
        "in the unit of the loss.",
        n=WINDOW,
    )
    return sentences([words, deviation])


def _best_table(study: StudyRecord, data: Stabilities) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        found = group.best_stability
        if group.best is None or found is None:
            rows.append((group.group, "—", "—", "—", "—", tr("no complete trial")))
        else:
            rows.append((group.group, str(group.best.number), *stability_cells(found)))
    columns = (
        study.group_by or tr("trials"),
        tr("trial"),
        tr("deviation"),
        tr("epochs"),
        tr("spread % of gain"),
        tr("reading"),
    )
    return Table(columns, tuple(rows), frozenset({1, 2, 3, 4}))


def stability_cells(found: Stability) -> tuple[str, str, str, str]:
    """Return the deviation, the number of epochs it is of, the spread, and the word or why there is none."""
    if found.deviation is None:
        return "—", str(found.n), "—", tr("not shown: {why}", why=found.why_not)
    if found.spread is None:
        return number(found.deviation, 3), str(found.n), "—", tr("no word: {why}", why=found.no_word)
    return number(found.deviation, 3), str(found.n), percent(100 * found.spread), tr(found.word)


def stability_text(found: Stability) -> str:
    """Return the word with the spread it is of, else the deviation alone, for a cell of another table."""
    if found.spread is not None and found.word:
        return tr("{word}: {spread} of gain", word=tr(found.word), spread=rounded_percent(found.spread))
    return "—" if found.deviation is None else tr("sd {value}", value=number(found.deviation, 2))


def _spread_table(study: StudyRecord, data: Stabilities) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in data.groups:
        numbers = ["—"] * 3
        if group.spread is not None:
            numbers = [number(value, 3) for value in (group.spread.median, group.spread.low, group.spread.high)]
        counts = (str(group.count(word)) for word in (*WORDS, ""))
        rows.append((group.group, str(len(group.dots)), *numbers, *counts))
    shown = "n", tr("median"), tr("min"), tr("max"), *(tr(word) for word in WORDS), tr("no word")
    columns = (study.group_by or tr("trials"), *shown)
    note = tr("n: complete trials with a deviation, of which median, min and max are.")
    return Table(columns, tuple(rows), frozenset(range(1, len(columns))), note)


def _caption(data: Stabilities) -> str:
    if len(data.spreads) > MOST_DOTS:
        best = tr("The star is the group's best trial by the metric; the axis is logarithmic.")
        parts = [cells_of_many(len(data.spreads)), best]
    else:
        parts = [tr("A dot is a complete trial, the star the group's best by the metric; the axis is logarithmic.")]
    if 0 in data.spreads:
        parts.append(tr("A spread of 0 is drawn on the left edge."))
    without = sum(group.count("") + group.without for group in data.groups)
    if without:
        parts.append(
            trn(
                "{n} complete trial without a word is not shown.",
                "{n} complete trials without a word are not shown.",
                without,
            )
        )
    return sentences(parts)
