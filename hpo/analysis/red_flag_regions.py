"""Find where in the search space each red flag is raised, by parameter and region.

The share of trials that raised a flag in a region is held against the share elsewhere. A trial that ended before the
epoch in which the flag was first raised anywhere could not raise it, so only those that came so far count. Within each
group, never over groups, every region of every parameter has Fisher's exact test, one-sided: is the flag more frequent
inside? The groups against each other are tested likewise. The p values of a flag are corrected for their number (Holm).
Source: Fisher, "Statistical Methods for Research Workers", 5th ed. 1934, section 21.02.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hpo.analysis.axes import Axis, axis_of, edge_texts, in_order, searched
from hpo.analysis.cache import cached_per_study
from hpo.analysis.formatting import label
from hpo.analysis.groups import ALL_TRIALS, Group, groups_of
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.red_flags import flag_counts
from hpo.analysis.statistics.multiple_testing import holm
from hpo.analysis.statistics.power import ALPHA
from hpo.translation.catalogue import tr

# Of fewer trials with a flag, or without it, nothing is said.
FEWEST = 3


@dataclass(frozen=True)
class Share:
    """Count of trials: `flagged` of `n` trials raised the flag."""

    flagged: int = field(default=0, metadata={"json_key": "ill"})
    n: int = 0

    def less(self, part: Share) -> Share:
        """Return the share of the trials that are not in `part`."""
        return Share(self.flagged - part.flagged, self.n - part.n)

    @property
    def fraction(self) -> float | None:
        """Fraction of trials that raised the flag, 0 to 1; None without trials."""
        return self.flagged / self.n if self.n else None


@dataclass(frozen=True)
class Region:
    """The cells `first` to `last` of a parameter: a single one, or all up to or from an edge of an ordered parameter.

    Attributes:
        name: Name of the parameter.
        first: Index of the first cell.
        last: Index of the last cell.
        inside: Trials in these cells.
        elsewhere: Trials in the other cells. A trial without the parameter is in neither.
        p: One-sided, corrected for the number of regions.
    """

    name: str
    first: int
    last: int
    inside: Share
    elsewhere: Share
    p: float = 1.0

    @property
    def significant(self) -> bool:
        """Return True if the flag is more frequent inside, at ALPHA."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Strip:
    """One parameter in one group.

    Attributes:
        axis: The axis of the parameter.
        cells: A share for each cell of the axis.
        region: The region with the smallest p; None without trials in two cells, or of a group that was not tested.
    """

    axis: Axis
    cells: tuple[Share, ...]
    region: Region | None = None


@dataclass(frozen=True)
class GroupEnrichment:
    """One flag in one group.

    Attributes:
        group: Label of the group.
        share: Of its trials that came far enough.
        strips: One a parameter, the most enriched first.
        needed: None where it was tested. Otherwise about how many trials are needed, at least FEWEST of them with the
            flag and FEWEST without it.
    """

    group: str
    share: Share
    strips: tuple[Strip, ...]
    needed: int | None = None


@dataclass(frozen=True)
class RedFlagEnrichment:
    """Regions in which one flag is raised.

    Attributes:
        flag: Name of the flag.
        since: The first epoch in which it was raised in any trial.
        group_by: The parameter of the groups, if any.
        groups: Each group for itself.
        between: All trials, by `group_by`; None without groups.
        tests: The number of regions that p is corrected for.
    """

    flag: str
    since: int
    group_by: str | None
    groups: tuple[GroupEnrichment, ...]
    between: GroupEnrichment | None
    tests: int

    @property
    def regions(self) -> tuple[tuple[GroupEnrichment, Region], ...]:
        """The significant regions, at most one a parameter and group, the smallest p first."""
        of = (*((self.between,) if self.between else ()), *self.groups)
        found = [(one, strip.region) for one in of for strip in one.strips if strip.region and strip.region.significant]
        return tuple(sorted(found, key=lambda pair: pair[1].p))


@cached_per_study
def enrichments(study: StudyRecord) -> tuple[RedFlagEnrichment, ...]:
    """Return one enrichment for each flag that a finished trial raised, the most frequent first."""
    raised = [count for count in flag_counts(study) if count.raised]
    if not raised:
        return ()
    groups = groups_of(study)
    declared = searched(study.space)
    axes = [axis_of(name, declared[name]) for name in in_order(study.space, study.group_by)]
    finished = {trial.number for trial in study.finished}
    cells = _cells_by_parameter(study.finished, axes)
    found = []
    for count in raised:
        flagged = {one.trial.number for one in count.raised} & finished
        if flagged:
            since = min(one.flag.step for one in count.raised)
            found.append(_enrichment(study, count.name, since, flagged, groups, axes, cells))
    return tuple(sorted(found, key=lambda one: -sum(group.share.flagged for group in one.groups)))


CellsByParameter = dict[str, dict[int, int]]  # by parameter: the cell of each trial that has one


def _cells_by_parameter(trials: Iterable[TrialRecord], axes: Sequence[Axis]) -> CellsByParameter:
    found: CellsByParameter = {axis.name: {} for axis in axes}
    for trial in trials:
        for axis in axes:
            cell = axis.cell_in(trial.params)
            if cell is not None:
                found[axis.name][trial.number] = cell
    return found


def _enrichment(
    study: StudyRecord,
    flag: str,
    since: int,
    flagged: set[int],
    groups: Sequence[Group],
    axes: Sequence[Axis],
    cells: CellsByParameter,
) -> RedFlagEnrichment:
    made = []
    for group in groups:
        numbers = [t.number for t in group.trials if t.number in flagged or (t.history and t.history[-1].step >= since)]
        strips = [Strip(axis, _shares(numbers, flagged, cells[axis.name], len(axis.labels))) for axis in axes]
        made.append(_group(group.label, Share(len(flagged.intersection(numbers)), len(numbers)), strips))
    between = None
    if study.group_by is not None:
        axis = Axis(study.group_by, tuple(group.label for group in groups), tuple(group.label for group in groups))
        shares = tuple(one.share for one in made)
        whole = Share(sum(one.flagged for one in shares), sum(one.n for one in shares))
        between = _group(tr(ALL_TRIALS), whole, [Strip(axis, shares)])
    asked = [*made, *([between] if between else [])]
    tests = _tests(asked)
    tested = [_judged(one, tests) for one in asked]
    ends = tested[: len(made)]
    return RedFlagEnrichment(flag, since, study.group_by, tuple(ends), tested[-1] if between else None, len(tests))


def _shares(numbers: Sequence[int], flagged: set[int], cells: dict[int, int], count: int) -> tuple[Share, ...]:
    totals, with_it = [0] * count, [0] * count
    for trial in numbers:
        if trial in cells:
            totals[cells[trial]] += 1
            with_it[cells[trial]] += trial in flagged
    return tuple(Share(a, b) for a, b in zip(with_it, totals, strict=True))


def _group(name: str, share: Share, strips: Sequence[Strip]) -> GroupEnrichment:
    regions = sum(len(regions_of(strip)) for strip in strips)
    return GroupEnrichment(name, share, tuple(strips), needed_trials(share, regions))


def needed_trials(share: Share, regions: int) -> int | None:
    """Return about how many trials it takes to tell a flag from chance; None if there are enough.

    The smallest p that Fisher's test can give is 1 / binomial(n, flagged), of a region that holds all trials with the
    flag and no other. It is multiplied by the number of regions.

    Args:
        share: The trials there are.
        regions: Number of regions that are tested.
    """
    least = regions / ALPHA
    rarer = min(share.flagged, share.n - share.flagged)
    if rarer >= FEWEST and math.comb(share.n, rarer) > least:
        return None
    n = 2 * FEWEST
    while math.comb(n, FEWEST) <= least:
        n += 1
    return n


# --- regions


def ordered(axis: Axis) -> bool:
    """Return True if the cells follow each other as numbers do."""
    numbers = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in axis.values]
    return axis.binned or all(numbers)


def regions_of(strip: Strip) -> tuple[Region, ...]:
    """Return each cell and, of an ordered parameter, all cells below and above each edge.

    Every region has trials inside and elsewhere. Of regions that hold the same trials only the narrowest is among them.
    """
    count = len(strip.cells)
    spans = [(cell, cell) for cell in range(count)]
    if ordered(strip.axis):
        spans += [(0, cell) for cell in range(1, count - 1)] + [(cell, count - 1) for cell in range(count - 2, 0, -1)]
    known: dict[frozenset[int], Region] = {}
    whole = Share(sum(share.flagged for share in strip.cells), sum(share.n for share in strip.cells))
    for first, last in spans:
        held = frozenset(cell for cell in range(first, last + 1) if strip.cells[cell].n)
        inside = Share(sum(strip.cells[cell].flagged for cell in held), sum(strip.cells[cell].n for cell in held))
        if held and inside.n < whole.n:
            known.setdefault(held, Region(strip.axis.name, first, last, inside, whole.less(inside)))
    return tuple(known.values())


def region_label(axis: Axis, region: Region) -> str:
    """Return a region as the configuration is spelled: `gamma ≥ 3`, `batch_size 8`, `learning_rate < 0.001`."""
    first, last = region.first, region.last
    if first == last and not (axis.binned and first in (0, len(axis.labels) - 1)):
        return f"{axis.name} {axis.labels[first]}"
    below = first == 0
    if axis.binned:
        edge = last + 1 if below else first
        text = str(round(axis.edges[edge])) if axis.whole else edge_texts(axis.edges)[edge]
        return f"{axis.name} {'<' if below else '≥'} {text}"
    return f"{axis.name} {'≤' if below else '≥'} {label(axis.values[last if below else first])}"


# --- tests


Key = tuple[str, str, int, int]


def _tests(groups: Sequence[GroupEnrichment]) -> dict[Key, float]:
    """Return the corrected p of every region of the groups that have enough trials."""
    asked = [
        ((group.group, region.name, region.first, region.last), region)
        for group in groups
        if group.needed is None
        for strip in group.strips
        for region in regions_of(strip)
    ]
    raw = enriched([region.inside for _, region in asked], [region.elsewhere for _, region in asked])
    return dict(zip((key for key, _ in asked), holm(raw), strict=True))


def _judged(group: GroupEnrichment, tests: dict[Key, float]) -> GroupEnrichment:
    """Return the group with the most enriched region of each parameter, the smallest p first."""
    if group.needed is not None:
        return group
    strips = []
    for strip in group.strips:
        regions = [replace(one, p=tests[group.group, one.name, one.first, one.last]) for one in regions_of(strip)]
        # Of equals the one in which the flag is the most frequent.
        best = min(regions, key=lambda one: (one.p, -(one.inside.fraction or 0)), default=None)
        strips.append(replace(strip, region=best))
    strips.sort(key=lambda strip: 2.0 if strip.region is None else strip.region.p)
    return replace(group, strips=tuple(strips))


def enriched(inside: Sequence[Share], elsewhere: Sequence[Share]) -> list[float]:
    """Return the p of Fisher's exact test, one-sided, of each region.

    It is the probability of so many or more trials with the flag inside, if those with it were drawn by lot from all.

    Args:
        inside: One share a region.
        elsewhere: The trials outside of each region.
    """
    if not inside:
        return []
    from scipy.stats import hypergeom

    flagged = np.array([one.flagged for one in inside])
    n = np.array([one.n for one in inside])
    all_flagged = flagged + [one.flagged for one in elsewhere]
    total = n + [one.n for one in elsewhere]
    return [min(1.0, float(p)) for p in hypergeom.sf(flagged - 1, total, all_flagged, n)]
