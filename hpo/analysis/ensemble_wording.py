"""Sentences and tables on an ensemble, the same in a terminal and in a report."""

from __future__ import annotations

from hpo.analysis.ensemble_records import Ensemble, HeldOut, Member
from hpo.analysis.evaluation_wording import interval_text, value_text, word
from hpo.analysis.formatting import listed, number, rounded_percent
from hpo.analysis.statistics.bootstrap import FEW_UNITS
from hpo.translation.catalogue import tr, whole

Rows = tuple[tuple[str, ...], ...]


def members_text(ensemble: Ensemble) -> str:
    """Return `trial 3 (60 %) and trial 7 (40 %)`."""
    return listed(tr("trial {n} ({share})", n=one.trial, share=rounded_percent(one.weight)) for one in ensemble.taken)


def verdict(ensemble: Ensemble) -> str:
    """Return what an ensemble is worth, in one or two sentences; the finding first."""
    single, held_out = ensemble.single, ensemble.held_out
    if [one.trial for one in ensemble.taken] == [single]:
        return tr("No average is better on validation than trial {n} alone. Use trial {n}.", n=single)
    if held_out is None:
        return tr(
            "Whether the ensemble is better than trial {n} alone is not known: it was chosen on validation, and there "
            "are no held-out data ({why}). --data names some.",
            n=single,
            why=ensemble.why_not,
        )
    compared = next(iter(held_out.scores.values()))
    difference, span = compared.difference.value or 0.0, interval_text(compared.difference)
    better = difference > 0 if ensemble.direction == "maximize" else difference < 0
    values = {"n": single, "metric": next(iter(held_out.scores)), "difference": number(abs(difference), 3)}
    low, high = compared.difference.low, compared.difference.high
    if low is None or high is None:
        if not better:
            return tr("The ensemble is no better than trial {n} alone on held-out data. Use trial {n}.", **values)
        return tr(
            "The ensemble's {metric} on held-out data is better than that of trial {n} alone by {difference}. Too few "
            "{what} tell whether that is chance.",
            **values,
            what=_units(held_out),
        )
    if low <= 0 <= high:
        return tr(
            "The ensemble is no better than trial {n} alone, as far as {count} {what} tell: the difference in {metric} "
            "may be 0 ({span}). Use trial {n}, which costs one network.",
            **values,
            span=span,
            count=whole(round(held_out.groups or held_out.n)),
            what=_units(held_out),
        )
    if better:
        return tr(
            "The ensemble is better than trial {n} alone on held-out data: {metric} by {difference} (95 % interval of "
            "the difference {span}).",
            **values,
            span=span,
        )
    return tr(
        "The ensemble is worse than trial {n} alone on held-out data: {metric} by {difference} (95 % interval of the "
        "difference {span}). Use trial {n}.",
        **values,
        span=span,
    )


def caveats(ensemble: Ensemble) -> list[str]:
    """Return what the numbers do not show."""
    held_out, said = ensemble.held_out, []
    if held_out is not None and (held_out.groups or held_out.n) < FEW_UNITS:
        units = whole(round(held_out.groups or held_out.n))
        said.append(tr("Only {n} {what}: the intervals are rough, and too narrow.", n=units, what=_units(held_out)))
    return said


def _units(held_out: HeldOut) -> str:
    return word(held_out.grouped_by or held_out.items)


def member_rows(ensemble: Ensemble) -> Rows:
    """Return a row a candidate, the heading first: trial, weight, the metric on validation."""
    rows = ((str(one.trial), _weight(one), number(one.validation)) for one in ensemble.members)
    return ((tr("trial"), tr("weight"), tr("validation")), *rows)


def _weight(member: Member) -> str:
    return rounded_percent(member.weight) if member.weight else "—"


def score_rows(ensemble: Ensemble) -> Rows:
    """Return a row a score, the heading first: of the single trial, of the ensemble, and the paired difference."""
    single = tr("trial {n}", n=ensemble.single)
    head = (tr("metric"), single, tr("ensemble"), tr("difference"), tr("95 % interval"))
    alone, together = ensemble.validation
    chosen = tr("{metric}, validation", metric=ensemble.metric.removeprefix("val_"))
    rows: list[tuple[str, ...]] = [(chosen, number(alone), number(together), _signed(together - alone), "—")]
    for name, one in (ensemble.held_out.scores if ensemble.held_out else {}).items():
        held_out = tr("{metric}, held out", metric=name)
        difference = _signed(one.difference.value or 0.0)
        values = value_text(one.single), value_text(one.ensemble), difference, interval_text(one.difference) or "—"
        rows.append((held_out, *values))
    return (head, *rows)


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value, 3)}"
