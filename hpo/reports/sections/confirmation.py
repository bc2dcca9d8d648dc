"""Section on the confirmation: the best configurations, trained again with seeds that the search never used."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from hpo.analysis.confirmation import (
    BETTER,
    FAILED,
    NO_BETTER,
    OPEN,
    TIED,
    WINNER,
    WORSE,
    Confirmation,
    Confirmed,
    Trained,
    confirmation_of,
    significant,
)
from hpo.analysis.formatting import configuration, decimals, listed, number, score
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.racing import Difference
from hpo.reports.blocks import Block, Cell, Explanation, Section, Table, Text
from hpo.reports.p_values import p_text
from hpo.spec.models import Metric
from hpo.translation.catalogue import mark, sentences, tr, trn

# Other held-out scores are in report.json.
MOST_TESTS = 3
_STANDINGS = {
    WINNER: mark("winner"),
    TIED: mark("tied"),
    WORSE: mark("clearly worse"),
    FAILED: mark("failed"),
    OPEN: mark("open"),
}


def confirmation_section(study: StudyRecord) -> Section | None:
    """Return what the best configurations reach with fresh seeds; None of a study that was not confirmed."""
    found = confirmation_of(study)
    if found is None:
        return None
    blocks: list[Block] = [
        Text(sentences(confirmation_sentences(found))),
        confirmation_table(found),
        _differences(found),
        Explanation(_explanation(found)),
    ]
    return Section(tr("Confirmation"), "confirmation", blocks)


def confirmation_sentences(found: Confirmation) -> list[str]:
    """Return what follows from a confirmation, the finding first."""
    if found.winner is None:
        return [_open(found)]
    write = _writer(found)
    said = [_winner(found, found.winner, write), _shrinkage(found, found.winner, write), _ties(found)]
    return [
        sentence for sentence in (*said, _verdict(found, write), _groups(found, write), _failures(found)) if sentence
    ]


def confirmation_table(found: Confirmation) -> Table:
    """Return a row for each configuration, the winner first, then by the mean."""
    write, metric = _writer(found), found.metric
    group = (tr("group"),) if any(one.group for one in found.configurations) else ()
    tests = _shown_tests(found)
    columns = (
        tr("trial"), *group, tr("result"), metric.name, tr("SD"), "n", tr("95 % interval"),
        tr("with further seeds"), "n", tr("95 % interval"), tr("in the search"), tr("too good by"),
        *(tr("test {metric}", metric=name) for name in tests),
    )  # fmt: skip
    rows = tuple(_row(one, metric, write, bool(group), tests) for one in _ordered(found))
    first = 2 + len(group)
    return Table(columns, rows, frozenset(range(first, len(columns))))


def _shown_tests(found: Confirmation) -> list[str]:
    """Return the held-out scores to show: that of the metric, or the first few if none has its name."""
    names = sorted({name for one in found.configurations for name in one.test})
    own = [name for name in names if name in (found.metric.name, found.metric.name.removeprefix("val_"))]
    return own or names[:MOST_TESTS]


def confirmed_value(found: Confirmation) -> str:
    """Return what the winner reaches: `0.875 (trial 2)`; empty while there is none."""
    if found.winner is None:
        return ""
    return tr("{value} (trial {n})", value=_writer(found)(found.winner.now.mean), n=found.winner.trial)


class _writer:
    """Writing of values and differences of the metric with the same decimals."""

    def __init__(self, found: Confirmation) -> None:
        known = [value for one in found.configurations for value in (one.now.mean, one.now.low, one.now.high)
                 if value is not None]  # fmt: skip
        self.places = decimals(known)

    def __call__(self, value: float | None) -> str:
        return "—" if value is None else score(value, self.places)

    def signed(self, value: float | None) -> str:
        return "—" if value is None else f"{value:+.{self.places}f}"


def _ordered(found: Confirmation) -> list[Confirmed]:
    cost = found.metric.cost
    last = float("inf")
    ordered = sorted(
        found.configurations, key=lambda one: last if one.choosing.mean is None else cost(one.choosing.mean)
    )
    return sorted(ordered, key=lambda one: (one is not found.winner, one.standing == FAILED))


def _row(one: Confirmed, metric: Metric, write: _writer, group: bool, tests: Sequence[str]) -> tuple[Cell, ...]:
    again = ("—", "—", "—")
    if one.estimating is not None:
        again = (write(one.estimating.mean), str(one.estimating.n), _interval(one.estimating, write))
    deviation = one.choosing.deviation
    return (
        _name(one),
        *([one.group] if group else []),
        tr(_STANDINGS[one.standing]),
        write(one.choosing.mean),
        "—" if deviation is None else score(deviation, write.places + 1),
        str(one.choosing.n),
        # The seeds that chose the winner were kind to it: an interval of them would be too good.
        "—" if one.standing == WINNER else _interval(one.choosing, write),
        *again,
        write(one.selected),
        write.signed(_too_good(metric, one)),
        *(number(one.test[name][0]) if name in one.test else "—" for name in tests),
    )


def _differences(found: Confirmation) -> Table:
    """Return a row for each configuration: what it is, and its difference to the winner of its race."""
    write = _writer(found)
    columns = (
        tr("trial"), tr("configuration"), tr("less the winner"), tr("its interval"), "p", tr("effect"),
        tr("seeds to tell apart"),
    )  # fmt: skip
    rows = []
    for one in _ordered(found):
        cells = ("—",) * 5
        if one.against is not None:
            gap, low, high = in_metric(found.metric, one.against)
            effect = "—" if one.against.effect is None else number(abs(one.against.effect), 2)
            ends = tr("{low} to {high}", low=write.signed(low), high=write.signed(high))
            seeds = "—" if one.standing != TIED else "> 1000" if one.against.seeds is None else str(one.against.seeds)
            cells = (write.signed(gap), ends, p_text(one.against.p), effect, seeds)
        rows.append((_name(one), configuration(one.params), *cells))
    return Table(columns, tuple(rows), frozenset(range(2, len(columns))))


def _interval(trained: Trained, write: _writer) -> str:
    if trained.low is None:
        return "—"
    return tr("{low} to {high}", low=write(trained.low), high=write(trained.high))


def in_metric(metric: Metric, found: Difference) -> tuple[float, float, float]:
    """Return a difference of costs and its interval as those of the metric."""
    if metric.direction == "maximize":
        return -found.mean, -found.high, -found.low
    return found.mean, found.low, found.high


def _too_good(metric: Metric, one: Confirmed) -> float | None:
    """Return by how much the value in the search was better than the mean now; below 0: it was worse."""
    if one.selected is None or one.now.mean is None:
        return None
    return metric.cost(one.now.mean) - metric.cost(one.selected)


def _name(one: Confirmed) -> str:
    return tr("{n} (reference)", n=one.trial) if one.reference else str(one.trial)


def _called(one: Confirmed) -> str:
    return tr("trial {n} ({group})", n=one.trial, group=one.group) if one.group else tr("trial {n}", n=one.trial)


def _open(found: Confirmation) -> str:
    if found.done:
        return tr("No configuration is confirmed: each failed in a training.")
    values = {"n": found.trainings, "most": found.plan.most, "study": shlex.quote(found.study)}
    return tr("Not decided yet: {n} of at most {most} trainings have ended; hpo confirm {study} goes on.", **values)


def _winner(found: Confirmation, winner: Confirmed, write: _writer) -> str:
    now = winner.now
    values = {"trial": _called(winner), "metric": found.metric.name, "value": write(now.mean), "n": now.n}
    if now.low is None:
        return tr("Confirmed: {trial}, {metric} {value} (n = {n}).", **values)
    ends = {"low": write(now.low), "high": write(now.high)}
    return tr(
        "Confirmed: {trial}, {metric} {value}, 95 % interval {low} to {high}, by {n} seeds that did not choose it.",
        **values,
        **ends,
    )


def _shrinkage(found: Confirmation, winner: Confirmed, write: _writer) -> str:
    by = _too_good(found.metric, winner)
    if by is None or winner.selected is None:
        return ""
    if by <= 0:
        return tr("In the search it had {value}, no better than that.", value=write(winner.selected))
    return tr("In the search it had {value}: too good by {by}.", value=write(winner.selected), by=write(by))


def _ties(found: Confirmation) -> str:
    tied = [one for one in found.tied if one.against is not None]
    if not tied:
        return ""
    names = listed(_called(one) for one in tied)
    known = [(n, one) for one in tied if one.against is not None and (n := one.against.seeds) is not None]
    if not known:
        return tr("It is tied with {names}: not even 1000 seeds would tell them apart.", names=names)
    n, first = min(known, key=lambda pair: pair[0])
    command = f"hpo confirm {shlex.quote(found.study)} --seeds {n}"
    values = {"names": names, "first": _called(first), "n": n, "command": command}
    return tr("It is tied with {names}. About {n} seeds would tell {first} apart ({command}).", **values)


def _verdict(found: Confirmation, write: _writer) -> str:
    reference = found.configurations[0]
    if found.winner is None or len(found.configurations) == 1:
        return ""
    if found.winner.reference:
        return tr("The search found nothing better than its reference, {trial}.", trial=_called(reference))
    if reference.standing == FAILED:
        return tr("The reference, {trial}, failed in a training.", trial=_called(reference))
    if found.gain is None:
        return tr("The reference, {trial}, is clearly worse than the best of its group.", trial=_called(reference))
    gap, low, high = in_metric(found.metric, found.gain)
    values = {
        "trial": _called(reference), "gap": write.signed(-gap), "low": write.signed(-high), "high": write.signed(-low)
    }  # fmt: skip
    if found.verdict == BETTER:
        return tr("It is better than the reference, {trial}, by {gap} (95 % interval {low} to {high}).", **values)
    if found.verdict == NO_BETTER:
        return tr(
            "The search overtuned: it is no better than the reference, {trial} (difference {gap}, 95 % interval {low} "
            "to {high}).",
            **values,
        )
    return tr(
        "It is not shown to be better than the reference, {trial} (difference {gap}, 95 % interval {low} to {high}).",
        **values,
    )


def _groups(found: Confirmation, write: _writer) -> str:
    parts = []
    for group, one in found.groups.items():
        gap, low, high = in_metric(found.metric, one)
        values = {"group": group, "gap": write.signed(gap), "low": write.signed(low), "high": write.signed(high)}
        text = tr("{group} {gap} ({low} to {high})", **values)
        parts.append(text if significant(one) else tr("{difference}, within noise", difference=text))
    if not parts or found.winner is None:
        return ""
    return tr(
        "The best of the other groups less {group}: {values}.", group=found.winner.group, values=tr("; ").join(parts)
    )


def _failures(found: Confirmation) -> str:
    failed = [one for one in found.configurations if one.failures]
    if not failed:
        return ""
    n = sum(one.failures for one in failed)
    names = listed(_called(one) for one in failed)
    return trn("{n} training failed ({names}).", "{n} trainings failed ({names}).", n, names=names)


def _explanation(found: Confirmation) -> str:
    said = [
        tr(
            "Each configuration was trained with the same seeds, none of which the search used. One that was clearly "
            "worse than the best (Tukey's test of all pairs, corrected for repeated looks) was trained no more.",
        ),
        tr(
            "The seeds that chose the winner were kind to it: how good it is, further seeds say. Differences are over "
            "the seeds that chose; their intervals and p are corrected for the number of configurations and looks. The "
            "effect is the difference in its standard deviations (Hedges)."
        ),
        tr("The reference is the configuration that the search began with."),
    ]
    if found.plan.resplit:
        said.append(tr("The data were split anew with each seed."))
    else:
        said.append(tr("The data and their split were the same in all trainings."))
    return sentences(said)
