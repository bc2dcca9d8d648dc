"""Regions of the space in which each red flag is raised, in sentences and as strips of cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hpo.analysis.formatting import listed, rounded_percent
from hpo.analysis.records import StudyRecord
from hpo.analysis.red_flag_regions import (
    GroupEnrichment,
    RedFlagEnrichment,
    Region,
    Strip,
    enrichments,
    region_label,
)
from hpo.analysis.statistics.anova import adaptive_sampler
from hpo.reports.blocks import Block, Chart, Explanation, Row, Table, Text
from hpo.reports.charts import EnrichmentChart
from hpo.reports.p_values import p_relation
from hpo.reports.sections.shared import capped
from hpo.translation.catalogue import sentences, tr, trn

# Sentences on one flag, and parameters of one figure.
MOST_SENTENCES, MOST_STRIPS = 5, 6


def region_blocks(study: StudyRecord) -> Iterator[Block]:
    """Yield the regions of every flag, in sentences and as charts."""
    found = enrichments(study)
    if not found:
        return
    for enrichment in found:
        yield Text(sentences(enrichment_sentences(enrichment)))
        drawn = tuple(_charts(enrichment))
        if drawn:
            yield Row(drawn, tr("{flag}: the share of trials that raised it", flag=enrichment.flag))
    yield Explanation(_how_to_read(study, found))


def region_sentences(study: StudyRecord, most: int = MOST_SENTENCES) -> list[str]:
    """Return at most `most` of the regions that stand out: first the one with the smallest p of every flag."""
    found = [
        (place, region.p, _region(enrichment, group, region))
        for enrichment in enrichments(study)
        for place, (group, region) in enumerate(enrichment.regions[:most])
    ]
    return [text for *_, text in sorted(found)[:most]]


def enrichment_sentences(enrichment: RedFlagEnrichment) -> list[str]:
    """Return the regions that stand out, or that none does, and the groups with too few trials."""
    texts = [_region(enrichment, group, one) for group, one in enrichment.regions[:MOST_SENTENCES]]
    if not texts and enrichment.tests:
        texts.append(
            trn(
                "{flag}: no place stands out ({n} region tested).",
                "{flag}: no place stands out ({n} regions tested).",
                enrichment.tests,
                flag=enrichment.flag,
            )
        )
    untested = [group for group in enrichment.groups if group.needed is not None]
    return [*texts, _too_few(enrichment, untested)] if untested else texts


def _region(enrichment: RedFlagEnrichment, group: GroupEnrichment, region: Region) -> str:
    axis = next(strip.axis for strip in group.strips if strip.axis.name == region.name)
    values = {
        "flag": enrichment.flag,
        "flagged": region.inside.flagged,
        "n": region.inside.n,
        "region": region_label(axis, region),
        "others": region.elsewhere.flagged,
        "m": region.elsewhere.n,
        "p": p_relation(region.p),
        "group": group.group,
    }
    if enrichment.group_by is not None and group is not enrichment.between:
        return tr(
            "{flag}, in {group}: {flagged} of {n} trials with {region}, against {others} of {m} elsewhere (p {p}).",
            **values,
        )
    return tr("{flag}: {flagged} of {n} trials with {region}, against {others} of {m} elsewhere (p {p}).", **values)


def _too_few(enrichment: RedFlagEnrichment, groups: Sequence[GroupEnrichment]) -> str:
    """Return the groups with too few trials for a test."""
    counts = (
        tr("{group} ({flagged} of {n})", group=group.group, flagged=group.share.flagged, n=group.share.n)
        for group in groups
    )
    return tr(
        "{flag}: too few trials that raised it, or that did not, for a test in {groups}.",
        flag=enrichment.flag,
        groups=listed(counts),
    )


def _how_to_read(study: StudyRecord, found: tuple[RedFlagEnrichment, ...]) -> str:
    texts = [
        tr(
            "Regions of the search space: shown is the share of trials that raised a flag (a stop or a warning), among "
            "those that trained at least until the epoch in which it was first raised. A region is a cell or, of a "
            "numeric parameter, all values below or above an edge of a cell. It is compared with all other trials that "
            "have the parameter, by Fisher's exact test (one-sided: is the flag more frequent inside?). p is corrected "
            "for the number of regions of a flag (Holm)."
        )
    ]
    if study.group_by is not None:
        texts.append(tr("Every value of {group} is tested by itself.", group=study.group_by))
    if any(enrichment.tests for enrichment in found):
        texts.append(
            tr(
                "Yellow: no trial of the cell raised it. Dark: all of them did. The outline marks a region in which it "
                "is significantly more frequent."
            )
        )
    if any(enrichment.tests for enrichment in found) and (sampler := adaptive_sampler(study)):
        texts.append(
            tr(
                "Trials that {samplers} chose by what earlier ones gave are not independent, as the tests assume: p "
                "is a hint and no proof.",
                samplers=sampler,
            )
        )
    return sentences(texts)


# --- strips


def _charts(enrichment: RedFlagEnrichment) -> Iterator[Chart]:
    """Yield a chart for each group that was tested, after that of the groups against each other."""
    groups = [group for group in enrichment.groups if group.needed is None]
    if enrichment.between is not None and enrichment.between.needed is None:
        groups.insert(0, enrichment.between)
    for group in groups:
        known = [strip for strip in group.strips if strip.region is not None]
        if not known:
            continue
        left = listed(strip.axis.name for strip in known[MOST_STRIPS:])
        caption = tr("Not drawn: {parameters}.", parameters=left) if left else ""
        data = EnrichmentChart(enrichment, replace(group, strips=tuple(known[:MOST_STRIPS])))
        yield Chart(_title(enrichment, group), data, _table(group, known), caption)


def _title(enrichment: RedFlagEnrichment, group: GroupEnrichment) -> str:
    if enrichment.group_by is None or group is enrichment.between:
        return group.group
    return tr("{parameter}: {value}", parameter=enrichment.group_by, value=group.group)


def _table(group: GroupEnrichment, strips: list[Strip]) -> Table:
    rows = tuple(
        (strip.axis.name, strip.axis.labels[cell], str(share.flagged), str(share.n), rounded_percent(share.fraction))
        for strip in strips
        for cell, share in enumerate(strip.cells)
        if share.fraction is not None
    )
    columns = (tr("parameter"), tr("value"), tr("raised it"), tr("trials"), tr("share"))
    return capped(columns, rows, frozenset({2, 3, 4}), folded=tr("The numbers as a table"))
