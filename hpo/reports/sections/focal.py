"""Section on the focal loss: which samples the loss came from, in one training and in the best trial of each group."""

from __future__ import annotations

from collections.abc import Iterator

from hpo.analysis.cache import cached_per_study
from hpo.analysis.formatting import number, percent
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.curves import Curve
from hpo.analysis.training.focal import EASY, HARD, FocalEpoch, FocalTraining, Shares, focal_of, weight
from hpo.analysis.training.training_log import TrainingLog
from hpo.reports.blocks import Block, Cell, Chart, Explanation, Row, Section, Table, Text
from hpo.reports.charts import CROSS_ENTROPY, FOCAL, SAMPLES, LinePanel, LinePanels, NamedLine, StackedShares
from hpo.reports.sections.recorded import best_recorded, titled, trial_name
from hpo.translation.catalogue import mark, sentences, tr

UNWEIGHTED = mark("focal loss, alpha left out")
BANDS = (mark("easy"), mark("between"), mark("hard"))
CLASSES = (mark("negatives"), mark("positives"))
# Gamma that moves less than this part of the loss onto hard samples has changed next to nothing.
LITTLE = 0.01


@cached_per_study
def focal_trainings(study: StudyRecord) -> tuple[tuple[str, TrialRecord, FocalTraining], ...]:
    """Return (group, trial, its focal loss) as the page and report.json show them; see `best_recorded`."""
    return tuple(best_recorded(study, focal_of))


def focal_section(study: StudyRecord) -> Section | None:
    """Return the best trial of each group among those that recorded where their focal loss came from, or None."""
    found = focal_trainings(study)
    if not found:
        return None
    blocks: list[Block] = []
    for group, trial, data in found:
        blocks += _blocks(data, trial_name(study, group, trial))
    return Section(tr("Focal loss"), "focal", [*blocks, Explanation(_how_to_read())])


def focal_blocks(log: TrainingLog) -> list[Block]:
    """Return what one training recorded of its focal loss; empty if it recorded nothing."""
    data = focal_of(log)
    return [] if data is None else [*_blocks(data, ""), Explanation(_how_to_read())]


def _how_to_read() -> str:
    return tr(
        "p_t is the probability that a sample's true class was given: a sample is easy above {easy}, hard up to "
        "{hard}. The focal loss is the cross-entropy times (1 - p_t) to the power gamma, times alpha for positives and "
        "1 - alpha for negatives, if there is an alpha. Beside it stands what the plain cross-entropy of the same "
        "samples would be. All are exact sums over an epoch.",
        easy=number(EASY),
        hard=number(HARD),
    )


def _blocks(data: FocalTraining, owner: str) -> Iterator[Block]:
    one = data.shown
    yield Text(titled(owner, focal_summary(data)))
    bars = _bars(one, data.alpha is not None)
    names = tuple(name for name, _ in bars)
    by_band = tuple((part.easy, part.between, part.hard) for _, part in bars)
    by_class = tuple((1 - part.positives, part.positives) for _, part in bars)
    charts = (
        Chart(tr("by how hard the samples are"), StackedShares(names, BANDS, by_band)),
        Chart(tr("by class"), StackedShares(names, CLASSES, by_class)),
    )
    title = titled(owner, tr("where the loss comes from, epoch {epoch} of training", epoch=one.epoch))
    yield Row(charts, title, _table(data))
    if len(data.train) > 1:
        title = titled(owner, tr("parts of the training loss by epoch"))
        yield Chart(title, LinePanels(_panels(data), data.best), caption=_caption())


def focal_summary(data: FocalTraining) -> str:
    """Return the effect of gamma and alpha in sentences with numbers."""
    one = data.shown
    gamma, alpha = number(data.gamma, 3), None if data.alpha is None else number(data.alpha, 3)
    parts = [
        tr("Gamma {gamma}, alpha {alpha}.", gamma=gamma, alpha=alpha)
        if alpha is not None
        else tr("Gamma {gamma}, no alpha.", gamma=gamma),
        tr(
            "In epoch {epoch} of training, hard samples were {samples} of all; they would make {plain} of the "
            "cross-entropy and make {focal} of the focal loss. Easy ones were {easy_samples}, would make {easy_plain} "
            "and make {easy_focal}.",
            epoch=one.epoch,
            samples=_percent(one.samples.hard),
            plain=_percent(one.plain.hard),
            focal=_percent(one.focal.hard),
            easy_samples=_percent(one.samples.easy),
            easy_plain=_percent(one.plain.easy),
            easy_focal=_percent(one.focal.easy),
        ),
    ]
    if one.unweighted is not None:
        parts.append(_gamma(data.gamma, one.plain, one.unweighted))
    if data.alpha is not None:
        parts.append(_alpha(data.alpha, one))
    parts.append(
        tr(
            "The mean focal loss is {focal}, the mean cross-entropy {ce}.",
            focal=number(one.focal_mean, 3),
            ce=number(one.ce, 3),
        )
    )
    return sentences(parts)


def _gamma(gamma: float, plain: Shares, unweighted: Shares) -> str:
    if gamma == 0:
        return tr("A gamma of 0 turns down no sample.")
    moved = unweighted.hard - plain.hard
    if abs(moved) < LITTLE:
        return tr(
            "Gamma by itself moves {moved} points of the loss onto hard samples: next to nothing.",
            moved=f"{100 * moved:+.1f}",
        )
    return tr(
        "Gamma by itself moves {moved} points of the loss onto hard samples: it leaves {easy} of the cross-entropy at "
        "a p_t of {easy_at} and {hard} at {hard_at}.",
        moved=f"{100 * moved:+.1f}",
        easy=_percent(weight(gamma, EASY)),
        easy_at=number(EASY),
        hard=_percent(weight(gamma, HARD)),
        hard_at=number(HARD),
    )


def _alpha(alpha: float, one: FocalEpoch) -> str:
    numbers = {
        "samples": _percent(one.samples.positives),
        "plain": _percent(one.plain.positives),
        "focal": _percent(one.focal.positives),
        "ratio": number(alpha / (1 - alpha), 3) if alpha < 1 else tr("infinity"),
    }
    if one.unweighted is None:
        return tr(
            "Positives are {samples} of the samples; they would make {plain} of the cross-entropy and make {focal} of "
            "the focal loss, as alpha weights one class by 0.",
            **numbers,
        )
    return tr(
        "Positives are {samples} of the samples; they would make {plain} of the cross-entropy, {unweighted} with gamma "
        "alone, and make {focal} of the focal loss: alpha weights a positive {ratio} times as much as a negative.",
        unweighted=_percent(one.unweighted.positives),
        **numbers,
    )


def _bars(one: FocalEpoch, weighted: bool) -> list[tuple[str, Shares]]:
    bars = [(SAMPLES, one.samples), (CROSS_ENTROPY, one.plain)]
    if weighted and one.unweighted is not None:
        bars.append((UNWEIGHTED, one.unweighted))
    return [*bars, (FOCAL, one.focal)]


def _table(data: FocalTraining) -> Table:
    """Return the bars in numbers, of training and of the same epoch of validation."""
    one = data.shown
    held_out = next((epoch for epoch in data.val if epoch.epoch == one.epoch), None)
    rows: list[tuple[Cell, ...]] = []
    for split, epoch in ((tr("train"), one), (tr("validation"), held_out)):
        if epoch is not None:
            for name, part in _bars(epoch, data.alpha is not None):
                shares = (part.easy, part.between, part.hard, part.positives)
                rows.append((split, tr(name), *(_percent(share) for share in shares)))
    columns = (tr("split"), tr("of"), *(tr(band) for band in BANDS), tr("positives"))
    return Table(columns, tuple(rows), frozenset({2, 3, 4, 5}), folded=tr("The numbers as a table"))


def _panels(data: FocalTraining) -> tuple[LinePanel, ...]:
    def line(of: str, name: str, values: list[float]) -> NamedLine:
        return NamedLine(of, Curve(name, tuple(one.epoch for one in data.train), tuple(100 * v for v in values)))

    hard = (
        line(SAMPLES, "samples_hard_percent", [one.samples.hard for one in data.train]),
        line(CROSS_ENTROPY, "cross_entropy_hard_percent", [one.plain.hard for one in data.train]),
        line(FOCAL, "focal_loss_hard_percent", [one.focal.hard for one in data.train]),
    )
    positives = (
        line(SAMPLES, "samples_positive_percent", [one.samples.positives for one in data.train]),
        line(CROSS_ENTROPY, "cross_entropy_positive_percent", [one.plain.positives for one in data.train]),
        line(FOCAL, "focal_loss_positive_percent", [one.focal.positives for one in data.train]),
    )
    return (LinePanel(tr("hard samples, %"), hard), LinePanel(tr("positives, %"), positives))


def _caption() -> str:
    return tr("The part of hard samples, and of positives, in all samples, in the cross-entropy and in the focal loss.")


def _percent(part: float) -> str:
    """Return a share as `1.2 %`, with more digits for large ones."""
    return f"{percent(100 * part, 2 if part < 0.1 else 3)} %"
