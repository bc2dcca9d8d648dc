"""Section on the importance of the parameters."""

from __future__ import annotations

from hpo.analysis.formatting import listed, rounded_percent
from hpo.analysis.importance import FEWEST, METHOD, Importance, importance
from hpo.analysis.records import StudyRecord
from hpo.analysis.statistics.anova import anova
from hpo.reports.blocks import Block, Chart, Section, Table, Text
from hpo.reports.sections.notices import unread_texts
from hpo.translation.catalogue import sentences, tr


def importance_section(study: StudyRecord) -> Section:
    """Return a chart for each metric, or why there is none."""
    blocks: list[Block] = []
    for metric in study.metrics:
        data = importance(study, metric)
        if not data.shares:
            instead = tr("Effect sizes are in the analysis of variance.") if anova(study, metric).tested else ""
            blocks.append(Text(sentences([_why_not(data, len(study.metrics) > 1), instead])))
            continue
        rows = tuple((name, rounded_percent(share, 1)) for name, share in data.shares)
        table = Table((tr("parameter"), tr("share")), rows, frozenset({1}), folded=tr("The numbers as a table"))
        title = tr("Importance for {metric}", metric=metric.name)
        blocks.append(Chart(title, data, table, _importance_caption(data)))
    return Section(tr("Parameter importance"), "importance", [*unread_texts(study), *blocks])


def _why_not(data: Importance, several: bool) -> str:
    if several:
        return tr("{method} for {metric}: {why}.", method=METHOD, metric=data.metric.name, why=data.why_not)
    return tr("{method}: {why}.", method=METHOD, why=data.why_not)


def _importance_caption(data: Importance) -> str:
    text = tr(
        "{method}, Optuna's default: how differently each parameter is distributed among the best {top} of {n} "
        "complete trials and among all {n}, as a share of the total. Pruned trials have no final value and are not "
        "in it.",
        method=METHOD,
        top=data.top,
        n=data.n,
    )
    if not data.rare:
        return text
    rare = tr("Not shown, since fewer than {n} of them have it: {names}.", n=FEWEST, names=listed(data.rare))
    return sentences([text, rare])
