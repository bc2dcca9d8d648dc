"""Which parameters mattered."""

from __future__ import annotations

from hpo.analysis.importance import METHOD, Importance, importance
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Block, Chart, Section, Table, Text


def importance_section(study: StudyRecord) -> Section:
    blocks: list[Block] = []
    for metric in study.metrics:
        data = importance(study, metric)
        if not data.shares:
            name = f" for {metric.name}" if len(study.metrics) > 1 else ""
            blocks.append(Text(f"{METHOD}{name}: {data.why_not}."))
            continue
        rows = tuple((name, f"{share:.1%}") for name, share in data.shares)
        table = Table(("parameter", "share"), rows, frozenset({1}), folded="The numbers as a table")
        blocks.append(Chart(f"Importance for {metric.name}", data, table, _importance_caption(data)))
    return Section("Parameter importance", "importance", blocks)


def _importance_caption(data: Importance) -> str:
    text = (
        f"{METHOD}, Optuna's default: how differently each parameter is distributed among the best {data.top} of "
        f"{data.n} complete trials and among all {data.n}, as a share of the total. Pruned trials have no final value "
        "and are not in it."
    )
    return text + (" With fewer than 50 complete trials the shares are rough." if data.rough else "")
