"""Section on gradient harmonizing: its effect in one training, and in the best trial of each group of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hpo.analysis.cache import cached_per_study
from hpo.analysis.formatting import configuration, label, listed, number, percent, rounded_percent
from hpo.analysis.groups import groups_of
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.curves import Curve
from hpo.analysis.training.ghm import INERT_SHARE, STATISTICS, Array, GhmTraining, Spread, ghm_of
from hpo.analysis.training.training_log import TrainingLog
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Facts, Row, Section, Table, Text
from hpo.reports.charts import (
    CHANGED,
    PLAIN,
    TRAIN,
    VALIDATION,
    EpochMap,
    GradientHistograms,
    LinePanel,
    LinePanels,
    NamedLine,
)
from hpo.reports.sections.recorded import best_recorded, titled, trial_name
from hpo.reports.sections.shared import capped
from hpo.translation.catalogue import sentences, tr

# Losses that span more than this factor are drawn on a logarithmic axis.
WIDE = 30.0
# Columns and rows of a map by epoch and bin; more are left out, or put together.
MOST_EPOCHS, MOST_BINS = 120, 50
INERT = "train_ghm_inert"


@cached_per_study
def ghm_trainings(study: StudyRecord) -> tuple[tuple[str, TrialRecord, GhmTraining], ...]:
    """Return (group, trial, its gradient norms) as the page and report.json show them; see `best_recorded`."""
    return tuple(best_recorded(study, ghm_of, lambda data: data.reweights))


def ghm_section(study: StudyRecord) -> Section | None:
    """Return the best trial of each group among those that recorded how their gradients were weighted, or None."""
    found = ghm_trainings(study)
    counted = _inert_trials(study)
    if not found and counted is None:
        return None
    blocks: list[Block] = []
    if counted is not None:
        blocks.append(counted)
    for group, trial, data in found:
        owner = trial_name(study, group, trial)
        blocks += [Text(titled(owner, ghm_verdict(data))), *_blocks(data, trial.params, owner)]
    return Section(tr("Gradient harmonizing (GHM)"), "ghm", [*blocks, Explanation(_how_to_read())])


def ghm_blocks(log: TrainingLog) -> list[Block]:
    """Return what one training recorded of its gradients; empty if it recorded nothing."""
    data = ghm_of(log)
    if data is None:
        return []
    return [Text(ghm_verdict(data)), *_blocks(data, log.params, ""), Explanation(_how_to_read())]


def _how_to_read() -> str:
    return tr(
        "g, from 0 to 1, is the norm of a sample's gradient: near 0 the sample is learned, near 1 it is far from it. "
        "Gradient harmonizing divides g into bins and weights a sample the less, the more samples share its bin. All "
        "numbers are of the training samples unless they say otherwise."
    )


def ghm_verdict(data: GhmTraining) -> str:
    """Say if the reweighting could change anything, with the numbers that show it."""
    if not data.reweights:
        return tr("All recorded weights are 1: this loss weights nothing. Only the spread of its gradients is shown.")
    last = data.spread(len(data.epochs) - 1)
    low, high = bin_edges(last.most, data.bins)
    numbers = {
        "share": number(last.shares[last.most], 3),
        "bin": last.most + 1,
        "bins": data.bins,
        "range": _range(last.most, data.bins),
        "limit": number(INERT_SHARE),
        "inert": int(data.inert.sum()),
        "epochs": len(data.epochs),
    }
    if data.inert_from is None:
        if data.inert.any():
            inert = tr(
                "In {inert} of {epochs} epochs more than {limit} % of the samples were in one bin, where reweighting "
                "changes next to nothing; not so in the last one.",
                **numbers,
            )
        else:
            inert = tr("The reweighting was not inert: no epoch had more than {limit} % in one bin.", **numbers)
        full = tr("In the last epoch the fullest bin, {bin} of {bins} ({range}), has {share} %.", **numbers)
        return sentences([inert, full])
    parts = [
        tr(
            "The reweighting is inert from epoch {epoch} on ({inert} of {epochs} epochs): more than {limit} % of the "
            "samples are in one bin and share one weight, so that it changes next to nothing. In the last epoch "
            "{share} % are in bin {bin} of {bins} ({range}).",
            epoch=data.inert_from,
            **numbers,
        )
    ]
    if high <= 0.5:
        parts.append(tr("These samples are learned already: there is little left to weight."))
    elif low >= 0.5:
        parts.append(tr("These samples are far from learned; finer bins would tell them apart."))
    else:
        parts.append(tr("The bins are too coarse to tell these samples apart; finer ones would."))
    ratio = next((curve.finite[-1][1] for curve in data.ratios if curve.name == "train_ratio"), None)
    if ratio is not None:
        text = tr("At the end the reweighted training loss is {ratio} times the original one.", ratio=number(ratio, 3))
        parts.append(text)
    return sentences(parts)


def bin_edges(index: int, bins: int) -> tuple[float, float]:
    """Return the ends of a bin of 0 to 1."""
    return index / bins, (index + 1) / bins


def _blocks(data: GhmTraining, params: Mapping[str, Any], owner: str) -> Iterator[Block]:
    settings = [(name, label(value)) for name, value in data.settings.items()]
    yield Facts(((tr("bins"), str(data.bins)), *settings, (tr("configuration"), configuration(params))))
    if data.changes:
        yield _changes(data)
    if panels := _panels(data):
        title = titled(owner, tr("accuracy, losses and their ratio by epoch"))
        yield Chart(title, LinePanels(panels, data.best), caption=_panels_caption(data))
    epochs = tuple((data.epochs[k], tuple(data.fine[k].tolist())) for k in data.shown)
    caption = tr("Percent of the samples in each of {n} equal bins of g.", n=data.fine.shape[1])
    title = titled(owner, tr("gradient norms in the first, the middle and the last recorded epoch"))
    yield Chart(title, GradientHistograms(epochs), _statistics(data), caption)
    if len(data.epochs) > 1:
        yield Row(tuple(_maps(data)), titled(owner, tr("bins over the epochs")), caption=_thinning(data))
    yield _bins(data)


def _changed(reduction: float) -> str:
    """Return a change in percent; a loss that is not 0 has not lost 100 % of what it was."""
    text = f"{-reduction:+.1%}"
    return f"-{percent(100 * reduction)}%" if text == "-100.0%" and reduction < 1 else text


def _changes(data: GhmTraining) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for change in data.changes:
        if any(change.name == curve.name for curve in data.accuracies):
            difference = f"{change.difference:+.4f}"
        else:
            difference = "—" if change.reduction is None else _changed(change.reduction)
        best = "—" if change.best is None else number(change.best)
        rows.append((change.name, number(change.first), best, number(change.last), difference))
    best = tr("best epoch") if data.best is None else tr("best epoch ({epoch})", epoch=data.best)
    columns = (tr("metric"), tr("first"), best, tr("last"), tr("first to last"))
    note = tr("first to last: an accuracy's difference; a loss's change in percent of its first value.")
    return Table(columns, tuple(rows), frozenset({1, 2, 3, 4}), note)


def _panels(data: GhmTraining) -> tuple[LinePanel, ...]:
    panels = []
    if data.accuracies:
        panels.append(LinePanel(tr("accuracy"), tuple(NamedLine(_of(curve), curve) for curve in data.accuracies)))
    for split, title in (("train", tr("training loss")), ("val", tr("validation loss"))):
        kinds = ((PLAIN, data.originals), (CHANGED, data.reweighted))
        lines = [NamedLine(of, curve) for of, curves in kinds for curve in curves if curve.name.startswith(f"{split}_")]
        if lines:
            panels.append(LinePanel(title, tuple(lines), _wide(lines)))
    if data.ratios:
        lines = [NamedLine(_of(curve), curve) for curve in data.ratios]
        panels.append(LinePanel(tr("reweighted / original"), tuple(lines), _wide(lines)))
    return tuple(panels)


def _of(curve: Curve) -> str:
    return TRAIN if curve.name.startswith("train_") else VALIDATION


def _wide(lines: Sequence[NamedLine]) -> bool:
    values = [value for line in lines for _, value in line.curve.finite]
    return bool(values) and min(values) > 0 and max(values) > WIDE * min(values)


def _panels_caption(data: GhmTraining) -> str:
    names = [curve.name for curve in (*data.accuracies, *data.originals, *data.reweighted)]
    texts = [tr("Drawn are {names}.", names=listed(names))]
    if data.ratios:
        texts.append(tr("A ratio of 1 means that the reweighting left the loss as it was."))
    return sentences(texts)


def _statistics(data: GhmTraining) -> Table:
    """Return statistics of the gradient norms in the epochs that are drawn."""
    spreads = [data.spread(index) for index in data.shown]
    rows: list[tuple[Cell, ...]] = []
    for name, words in STATISTICS.items():
        if any(name in spread.statistics for spread in spreads):
            values = (number(s.statistics[name]) if name in s.statistics else "—" for s in spreads)
            rows.append((tr(words), *values))
    rows.append((tr("fullest bin"), *(_bin(spread, spread.most, data.bins) for spread in spreads)))
    rows.append((tr("emptiest bin"), *(_bin(spread, spread.least, data.bins) for spread in spreads)))
    rows.append((tr("evenness"), *(number(spread.evenness) for spread in spreads)))
    columns = (tr("of g"), *(tr("epoch {epoch}", epoch=spread.epoch) for spread in spreads))
    note = tr(
        "Bins are those of the loss. Evenness: standard deviation (N) of the bins' percentages; 0 is even, {most} is "
        "all in one bin.",
        most=number(float(np.std([100.0] + [0.0] * (data.bins - 1))), 3),
    )
    return Table(columns, tuple(rows), frozenset(range(1, len(columns))), note)


def _bin(spread: Spread, index: int, bins: int) -> str:
    return tr("{range}: {share} %", range=_range(index, bins), share=number(spread.shares[index], 3))


def _range(index: int, bins: int) -> str:
    low, high = bin_edges(index, bins)
    return tr("{low} to {high}", low=number(low, 3), high=number(high, 3))


def _bins(data: GhmTraining) -> Table:
    spreads = [data.spread(index) for index in data.shown]
    rows = tuple(
        (
            _range(k, data.bins),
            *(f"{number(spread.shares[k], 3)} %" for spread in spreads),
            *(("—" if (weight := s.weights[k]) is None else number(weight, 3)) for s in spreads if _weighted(data)),
        )
        for k in range(data.bins)
    )
    shares = (tr("share, epoch {epoch}", epoch=spread.epoch) for spread in spreads)
    weights = (tr("weight, epoch {epoch}", epoch=spread.epoch) for spread in spreads if _weighted(data))
    columns = (tr("bin of g"), *shares, *weights)
    return capped(columns, rows, frozenset(range(1, len(columns))), folded=tr("Each bin's share and weight"))


def _weighted(data: GhmTraining) -> bool:
    return data.weights is not None


# --- maps by epoch and bin


def _maps(data: GhmTraining) -> Iterator[Chart]:
    columns = evenly_spaced(len(data.epochs), MOST_EPOCHS)
    epochs = tuple(data.epochs[k] for k in columns)
    shares = data.shares[columns]
    added = merge_bins(shares, shares, mean=False)
    values = _rows(np.where(added > 0, added, np.nan))
    yield Chart(tr("samples in each bin"), EpochMap("percent_of_samples", tr("percent"), epochs, values))
    if data.weights is not None and (np.nan_to_num(data.weights) > 0).any():
        weights = merge_bins(np.where(data.weights > 0, data.weights, np.nan)[columns], shares, mean=True)
        yield Chart(tr("mean weight in each bin"), EpochMap("mean_weight", tr("weight"), epochs, _rows(weights)))


def evenly_spaced(n: int, most: int) -> list[int]:
    """Return at most `most` of the indices 0 to n - 1, evenly spaced, the first and the last among them."""
    return list(range(n)) if n <= most else [round(k * (n - 1) / (most - 1)) for k in range(most)]


def merge_bins(values: Array, shares: Array, mean: bool) -> Array:
    """Add up neighbouring bins, or average them weighted by how many samples they have.

    Args:
        values: Array of shape (epochs, bins).
        shares: Percent of the samples in each bin, of the same shape.
        mean: True to average, False to add up.

    Returns:
        Array of shape (epochs, at most MOST_BINS); averages without samples are NaN.
    """
    bins = values.shape[1]
    starts = np.arange(0, bins, -(-bins // MOST_BINS))
    if not mean:
        return np.asarray(np.add.reduceat(values, starts, axis=1))
    known = np.where(np.isnan(values), 0.0, shares)
    total = np.add.reduceat(known, starts, axis=1)
    sums = np.add.reduceat(np.nan_to_num(values) * known, starts, axis=1)
    return np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)


def _rows(values: Array) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(None if np.isnan(v) else float(f"{v:.4g}") for v in row) for row in values.T)


def _thinning(data: GhmTraining) -> str:
    texts = [tr("Colours are by the logarithm; blank: no sample.")]
    if len(data.epochs) > MOST_EPOCHS:
        texts.append(
            tr("Of {n} recorded epochs {most} are drawn, evenly spaced.", n=len(data.epochs), most=MOST_EPOCHS)
        )
    if data.bins > MOST_BINS:
        texts.append(tr("Neighbouring bins are put together, {n} of the loss in one.", n=-(-data.bins // MOST_BINS)))
    return sentences(texts)


# --- all trials


def _inert_trials(study: StudyRecord) -> Table | None:
    """Return how many trials of each group were inert when they ended, by what they reported; None if none reported."""
    rows: list[tuple[Cell, ...]] = []
    for group in groups_of(study):
        last = [trial.last(INERT) for trial in group.trials]
        known = [value for value in last if value is not None]
        inert = sum(value > 0.5 for value in known)
        if known:
            rows.append((group.label, str(len(known)), str(inert), rounded_percent(inert / len(known))))
    if not rows:
        return None
    columns = (study.group_by or tr("trials"), "n", tr("inert"), tr("share"))
    note = tr(
        "n: finished trials that reported {metric}. inert: in the last epoch that they reported, more than {limit} % "
        "of the gradient norms were in one bin.",
        metric=INERT,
        limit=number(INERT_SHARE),
    )
    return Table(columns, tuple(rows), frozenset({1, 2, 3}), note)
