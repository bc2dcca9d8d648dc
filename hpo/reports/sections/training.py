"""Sections of a diagnosis: the verdict and what to do, the curves with the evidence, the losses, the epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hpo.analysis import formatting
from hpo.analysis.formatting import number
from hpo.analysis.training.answers import Threshold
from hpo.analysis.training.curves import Curve
from hpo.analysis.training.diagnosis import WINDOW, Component, Diagnosis, Epoch
from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import Judgement
from hpo.curves import predicates, skill
from hpo.curves.metric_names import without_split
from hpo.reports.blocks import Block, Cell, Chart, Facts, Section, Table, Text
from hpo.reports.charts import DiagnosisChart, DiagnosisPanel
from hpo.reports.sections.verdict_text import percent, reason, recommendation, verdict_name
from hpo.translation.catalogue import mark, sentences, tr, trn

RISKS = {"low": mark("low"), "moderate": mark("moderate"), "high": mark("high")}
MOST_EPOCHS = 40
MOST_PANELS = 6


def verdict_section(found: Diagnosis) -> Section:
    """Return the verdict, its reason and the recommendations."""
    headline: list[tuple[str, Cell]] = [(tr("epochs"), str(found.epochs))]
    if found.best is not None:
        headline.append((tr("best {metric}", metric=found.metric), number(found.best)))
        headline.append((tr("in epoch"), str(found.best_epoch)))
    blocks: list[Block] = [Facts(tuple(headline), headline=True), Text(reason(found.judgement)), Facts(facts(found))]
    if found.log.state in ("RUNNING", "PRUNED", "FAIL"):
        blocks.append(Text(tr(_STATES[found.log.state])))
    blocks.append(Text(tr("What to do:") if found.advice else tr("Nothing is recommended.")))
    blocks += [Text(recommendation(advice)) for advice in found.advice]
    title = tr("Verdict: {verdict}", verdict=verdict_name(found.judgement.verdict))
    return Section(title, "verdict", blocks)


_STATES = {
    "RUNNING": mark("The training still runs: this is about its epochs so far."),
    "PRUNED": mark("The training was stopped early: this is about the epochs it had."),
    "FAIL": mark("The training failed: this is about the epochs it had."),
}


def facts(found: Diagnosis) -> tuple[tuple[str, str], ...]:
    """Return the numbers of the whole training, each with what it means."""
    items: list[tuple[str, str]] = []
    if found.reduction is not None:
        text = tr("{percent} % (first to last epoch)", percent=formatting.percent(found.reduction))
    else:
        text = tr("not shown: it needs two epochs and a loss above 0")
    items.append((tr("Loss reduction"), text))
    if found.convergence is not None:
        epochs = trn(
            "{n} epoch to 90 % of all that was gained: {speed} % an epoch",
            "{n} epochs to 90 % of all that was gained: {speed} % an epoch",
            found.convergence.epochs, speed=number(found.convergence.speed, 3),
        )  # fmt: skip
        items.append((tr("Convergence speed"), epochs))
    if found.stability is not None:
        text = tr(
            "{value} (standard deviation / mean of the last {n} epochs)",
            value=number(found.stability, 3), n=min(WINDOW, found.epochs),
        )  # fmt: skip
        items.append((tr("Stability coefficient"), text))
    else:
        items.append((tr("Stability coefficient"), tr("not shown: it needs two epochs and losses above 0")))
    if found.risk is None:
        items.append((tr("Overfitting risk"), tr("not shown: no validation loss of two epochs or more")))
    elif math.isfinite(found.risk.share):
        text = tr(
            "{word}: {share} % of what {series} had gained was lost again at the end",
            word=tr(RISKS[found.risk.word]), share=percent(found.risk.share), series=found.risk.series,
        )  # fmt: skip
        items.append((tr("Overfitting risk"), text))
    else:
        items.append((tr("Overfitting risk"), tr("high: {series} only got worse", series=found.risk.series)))
    if found.risk is not None and found.risk.gap is not None and found.risk.gap_at_best is not None:
        text = tr(
            "{end} at the end, {best} where validation was best",
            end=number(found.risk.gap), best=number(found.risk.gap_at_best),
        )  # fmt: skip
        items.append((tr("Gap of validation to training"), text))
    return tuple(items)


def curves_section(found: Diagnosis) -> Section:
    """Return the losses, their components and the metric that says which epoch is best, with the evidence drawn in."""
    title = tr("Curves")
    data = diagnosis_chart(found)
    if data is None:
        return Section(title, "curves", [Text(tr("Nothing was written down that could be drawn."))])
    parts = []
    if data.best is not None:
        parts.append(tr("The star is the epoch with the best {metric}.", metric=data.metric))
    if data.since is not None:
        band = tr(
            "The band begins in epoch {epoch}: what led to the verdict ({verdict}) holds from there on.",
            epoch=data.since, verdict=verdict_name(data.verdict),
        )  # fmt: skip
        parts.append(band)
    left = len(found.components) + 1 - MOST_PANELS
    if left > 0:
        parts.append(trn("{n} component is not drawn.", "{n} components are not drawn.", left))
    return Section(title, "curves", [Chart(tr("Losses by epoch"), data, _curves_table(data), sentences(parts))])


def diagnosis_chart(found: Diagnosis) -> DiagnosisChart | None:
    """Return the curves as a chart, or None if there is nothing to draw."""
    names = [component.name for component in found.components][: MOST_PANELS - 1]
    metric = without_split(found.metric)
    stems = list(dict.fromkeys([*names, *([metric] if metric else [])]))
    panels = []
    for name in stems:
        own = [_curve(found.log, full) for full in (f"train_{name}", name, f"val_{name}") if found.log.series(full)]
        values = [value for curve in own for _, value in curve.finite]
        if not values:
            continue
        is_loss = "loss" in name or name in names
        log = is_loss and min(values) > 0 and max(values) > 30 * min(values)
        level = None
        of = found.judgement.evidence
        if (
            isinstance(of, (predicates.Overfitting, predicates.Diverged))
            and without_split(found.judgement.series) == name
        ):
            level = found.judgement.sign * of.low
        panels.append(DiagnosisPanel(name, tuple(own), log, level))
    if not panels:
        return None
    judged = found.judgement
    return DiagnosisChart(tuple(panels), found.metric, found.best_epoch, _since(judged), judged.verdict)


def _since(found: Judgement) -> int | None:
    of = found.evidence
    if isinstance(of, (predicates.Overfitting, predicates.Plateau, skill.Collapsed)):
        return found.epoch(of.since)
    if isinstance(of, Threshold):
        return found.epoch(of.collapsed.since)
    if isinstance(of, predicates.Diverged):
        return found.epoch(of.low_at)
    return found.epoch(of.at) if isinstance(of, predicates.NonFinite) else None


def _curve(log: TrainingLog, name: str) -> Curve:
    points = log.series(name)
    values = tuple(value if math.isfinite(value) else None for _, value in points)
    return Curve(name, tuple(epoch for epoch, _ in points), values)


def _curves_table(data: DiagnosisChart) -> Table:
    rows = []
    for panel in data.panels:
        for curve in panel.curves:
            known = curve.finite
            if known:
                low, high = min(known, key=lambda p: p[1]), max(known, key=lambda p: p[1])
                texts = [f"{number(value)} ({epoch})" for epoch, value in (low, high)]
                rows.append((curve.name, str(len(curve.steps)), number(known[0][1]), number(known[-1][1]), *texts))
    columns = (
        tr("curve"), tr("epochs"), tr("first"), tr("last"), tr("lowest (epoch)"), tr("highest (epoch)")
    )  # fmt: skip
    return Table(columns, tuple(rows), frozenset(range(1, 6)), folded=tr("The numbers as a table"))


def losses_section(found: Diagnosis) -> Section | None:
    """Return a row for each component of the loss, or None if no loss is known."""
    if not found.components:
        return None
    several = len(found.components) > 1
    columns = [
        tr("loss"), tr("train, first"), tr("train, last"), tr("validation, first"), tr("validation, last"),
        tr("train improved by %"), tr("mean of train"), tr("standard deviation"),
    ]  # fmt: skip
    if several:
        columns += [tr("weight"), tr("share of the loss %")]
    columns.append(tr("verdict on this loss alone"))
    rows = tuple(_component_cells(component, several) for component in found.components)
    note = tr(
        "Mean and standard deviation (N - 1) are of the training loss over all epochs. An improvement in percent is "
        "not shown of a loss that is not above 0."
    )
    blocks: list[Block] = [Table(tuple(columns), rows, frozenset(range(1, len(columns) - 1)), note)]
    if several:
        blocks.append(Text(_shares(found)))
    blocks += [
        Text(tr("{loss}: {reason}", loss=component.name, reason=reason(component.judgement)))
        for component in found.components[1:]
        if component.judgement.verdict not in ("healthy", "none")
    ]
    return Section(tr("Losses"), "losses", blocks)


def _component_cells(component: Component, several: bool) -> tuple[Cell, ...]:
    values = (component.train_first, component.train_last, component.val_first, component.val_last)
    texts = [_or_dash(value) for value in values]
    texts += [_percent_or_dash(component.improvement), _or_dash(component.mean), _or_dash(component.deviation, 3)]
    if several:
        share = None if component.share is None else 100 * component.share
        texts += [_or_dash(component.weight, 3), _percent_or_dash(share)]
    return (component.name, *texts, verdict_name(component.judgement.verdict))


def _or_dash(value: float | None, digits: int = 4) -> str:
    return "—" if value is None else number(value, digits)


def _percent_or_dash(value: float | None) -> str:
    return "—" if value is None else formatting.percent(value)


def _shares(found: Diagnosis) -> str:
    if found.weights == "recovered":
        how = tr(
            "The weights were recovered by least squares from the steps, in which the loss is the weighted sum of its "
            "components."
        )
    elif found.weights == "learned" and any(part.weight is not None for part in found.components):
        how = tr("The weights changed during the training, as learned ones do; those at its end are shown.")
    elif found.weights == "learned":
        how = tr("The weights are learned and not recorded, so the shares of the components are not known.")
    elif found.weights == "given":
        how = tr("The weights are those it was trained with.")
    else:
        how = tr("How the components are weighted is not known: shares are of their plain sum.")
    if not any(part.share is not None for part in found.components):
        return how
    window = tr("Shares are of the median over the last {n} epochs.", n=WINDOW)
    if found.dominant is None:
        return sentences([how, window, tr("No component dominates.")])
    dominates = tr(
        "{component} dominates with {share} %.",
        component=found.dominant.name, share=percent(found.dominant.share),
    )  # fmt: skip
    return sentences([how, window, dominates])


def epochs_section(found: Diagnosis) -> Section | None:
    """Return what happened in each epoch, or None for a training without losses."""
    if not found.by_epoch or not found.components:
        return None
    names = [component.name for component in found.components]
    shown = _spread(found.by_epoch)
    left = len(found.by_epoch) - len(shown)
    columns: tuple[str, ...] = (tr("epoch"), tr("train"), tr("validation"))
    recorded = any(epoch.within for epoch in shown)
    if recorded:
        columns += (tr("steps"), tr("improved within the epoch %"), tr("volatility %"))
    rows = tuple(_epoch_cells(epoch, names[0])[: len(columns)] for epoch in shown)
    note = trn(
        "{n} epoch between these is left out here.", "{n} epochs between these are left out here.", left
    )  # fmt: skip
    table = Table(columns, rows, frozenset(range(len(columns))), note if left else "")
    blocks: list[Block] = [Text(_how_epochs(found, recorded)), table]
    parts = [name for name in names[1:] if any(name in epoch.within for epoch in shown)]
    if parts:
        blocks.append(
            Table(
                (tr("epoch"), *parts),
                tuple((str(epoch.epoch), *(_within_cell(epoch, name) for name in parts)) for epoch in shown),
                frozenset(range(len(parts) + 1)),
                tr("Each component: improved within the epoch % / volatility %."),
                folded=tr("The components within each epoch"),
            )
        )
    return Section(tr("Epochs"), "epochs", blocks)


def _how_epochs(found: Diagnosis, recorded: bool) -> str:
    if not recorded:
        return tr("Steps were not recorded, so what happened within an epoch is not shown.")
    return tr(
        "Within an epoch, {loss} improves from the mean of its first tenth of steps to that of its last tenth; "
        "volatility is standard deviation / mean of its steps. A dash: fewer than two steps, or a loss that is not "
        "above 0.",
        loss=found.loss,
    )


def _spread(epochs: Sequence[Epoch]) -> list[Epoch]:
    """Return at most MOST_EPOCHS of the epochs, the first and the last among them."""
    n = len(epochs)
    if n <= MOST_EPOCHS:
        return list(epochs)
    return [epochs[round(k * (n - 1) / (MOST_EPOCHS - 1))] for k in range(MOST_EPOCHS)]


def _epoch_cells(epoch: Epoch, loss: str) -> tuple[Cell, ...]:
    train, val = epoch.values[loss]
    own = epoch.within.get(loss)
    within = ("—", "—") if own is None else (_percent_or_dash(own.improvement), _or_dash(own.volatility, 3))
    steps = "—" if epoch.steps is None else str(epoch.steps)
    return (str(epoch.epoch), _or_dash(train), _or_dash(val), steps, *within)


def _within_cell(epoch: Epoch, name: str) -> str:
    own = epoch.within.get(name)
    return "—" if own is None else f"{_percent_or_dash(own.improvement)} / {_or_dash(own.volatility, 3)}"


def diagnosis_sections(found: Diagnosis) -> Iterator[Section]:
    """Yield the sections in the order in which they are read."""
    for section in (verdict_section(found), curves_section(found), losses_section(found), epochs_section(found)):
        if section is not None:
            yield section
