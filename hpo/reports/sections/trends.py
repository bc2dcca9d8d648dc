"""Table of whether and where each parameter matters, and the words for where it is best."""

from __future__ import annotations

from hpo.analysis.formatting import label, number
from hpo.analysis.records import StudyRecord
from hpo.analysis.trends import (
    AWAY_FROM_LOWER,
    AWAY_FROM_UPPER,
    CLEAR,
    INSIDE,
    LOWER,
    UPPER,
    ParameterTrend,
    Trend,
    parameter_trends,
)
from hpo.analysis.wider_range import Wider
from hpo.reports.blocks import Block, Explanation, Table, Text
from hpo.reports.p_values import p_text
from hpo.spec.models import Metric
from hpo.translation.catalogue import mark, tr

_PLACES = {
    LOWER: mark("best at its lower edge"),
    UPPER: mark("best at its upper edge"),
    INSIDE: mark("best inside its range"),
    AWAY_FROM_LOWER: mark("worse towards its lower edge"),
    AWAY_FROM_UPPER: mark("worse towards its upper edge"),
}


def place_text(found: ParameterTrend) -> str:
    """Return where a parameter is best, in words; empty if it is not known."""
    if found.better and found.matters:
        return tr("better: {value}", value=found.better)
    return tr(_PLACES[found.place]) if found.place else ""


def wider_text(found: Wider) -> str:
    """Return a wider range as `[1e-4, 0.1]`, or wider choices."""
    return f"[{', '.join(label(value) for value in found.choices or (found.low, found.high))}]"


def trend_blocks(study: StudyRecord, metric: Metric) -> list[Block]:
    """Return the table of the parameters that were tested; nothing if none was."""
    found = parameter_trends(study, metric)
    if not found:
        return []
    rows = tuple(
        (
            one.name,
            "—" if one.p is None else p_text(one.p),
            _trend(one.lower),
            _trend(one.upper),
            (place_text(one) or tr("it matters")) if one.matters else tr("not shown"),
            "—" if one.wider is None else wider_text(one.wider),
        )
        for one in found
    )
    columns = (tr("parameter"), tr("p beside the others"), tr("towards the lower edge"),
               tr("towards the upper edge"), tr("found"), tr("wider range"))  # fmt: skip
    explained = tr(
        "Towards an edge: Kendall's tau of cost and nearness to it, in the outer third of the range (of few values: "
        "the last two), without the effects of the other parameters and groups; below 0 trials get better. Trials "
        "that the pruner stopped count as worse than complete ones. Of a factor p is the larger one of that of the "
        "analysis of variance and that beside all other parameters, continuous ones too. All p are corrected together "
        "by Holm, and what is said to be found has a p below {level}.",
        level=number(CLEAR),
    )
    title = Text(tr("Whether and where parameters matter for {metric}:", metric=metric.name))
    return [title, Table(columns, rows), Explanation(explained)]


def _trend(found: Trend | None) -> str:
    if found is None:
        return "—"
    if found.tau is None:
        return tr("not tested (n = {n})", n=found.n)
    return tr("τ {tau}, p {p} (n = {n})", tau=f"{found.tau:.2f}", p=p_text(found.p), n=found.n)
