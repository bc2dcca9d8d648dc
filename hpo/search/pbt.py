"""Population-based training: which member is trained next, from whose checkpoint, and with which parameters.

A trial is one segment of a member's training. What comes next follows from the trials in the storage alone, and the
random numbers from the study's seed, the member and its generation. So a driver that was killed goes on as it would
have. There is no barrier: the member that has trained least comes next, and is compared with those that have come as
far.

Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017 (truncation selection, perturbation and
resampling). Names and defaults of the options are Ray Tune's, where it has them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from hpo.space.encoding import UnitCubeEncoder
from hpo.spec.models import StudySpec
from hpo.spec.population import PERTURBATION, QUANTILE, RESAMPLE, SIZE, Population, is_population, population_of
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME, SEGMENT, configuration_of, requeued


class PopulationSampler(RandomSampler):
    """Checks of the options of `sampler: {name: pbt, ...}`; what it draws itself is random.

    Args:
        population_size: number of members.
        interval: steps of a segment; None: a tenth of a training.
        steps: steps of a whole training; None: constants.epochs.
        quantile: the part at the bottom that goes on from checkpoints of the part at the top.
        resample_probability: that with which a parameter is drawn anew instead of multiplied.
        perturbation: factors, one of which a parameter is multiplied by.
        mutate: names of the parameters that change; None: all floats that are not structural.
        seed: of what it draws.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        population_size: int = SIZE,
        interval: int | None = None,
        steps: int | None = None,
        quantile: float = QUANTILE,
        resample_probability: float = RESAMPLE,
        perturbation: Sequence[float] = PERTURBATION,
        mutate: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed=seed)
        if population_size < 2:
            raise ValueError(f"population_size is {population_size}; expected at least 2 members, to compare them")
        for name, value in (("interval", interval), ("steps", steps)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1 step")
        if not 0 < quantile <= 0.5:
            raise ValueError(f"quantile is {quantile}; expected more than 0 and at most 0.5")
        if not 0 <= resample_probability <= 1:
            raise ValueError(f"resample_probability is {resample_probability}; expected 0 to 1")
        if not _is_list(perturbation) or not all(_is_factor(one) for one in perturbation) or not perturbation:
            raise ValueError(f"perturbation is {perturbation!r}; expected factors above 0, such as [0.8, 1.2]")
        if mutate is not None and (not _is_list(mutate) or not mutate or not all(isinstance(m, str) for m in mutate)):
            raise ValueError(f"mutate is {mutate!r}; expected a list of names of parameters, such as [learning_rate]")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_factor(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


@dataclass(frozen=True)
class Segment:
    """One segment of a member, as the storage has it.

    Attributes:
        number: the trial's.
        member: counted from 0.
        generation: counted from 1: the number of segments in its lineage.
        group: value of `group_by`; None without one.
        params: by Optuna's names.
        seed: the trial's own, None if it has not started.
        cost: its metric, lower is better; infinite if it failed; None while it waits or runs.
        end: the step at which it was ended, to go on from; None if it was not.
    """

    number: int
    member: int
    generation: int
    group: Any
    params: Mapping[str, Any]
    seed: int | None
    cost: float | None = None
    end: int | None = None

    @property
    def forkable(self) -> bool:
        """True if a training may go on from its checkpoint."""
        return self.end is not None and self.cost is not None and math.isfinite(self.cost)

    @property
    def final(self) -> bool:
        """True if its training came to its end."""
        return self.cost is not None and math.isfinite(self.cost) and self.end is None


@dataclass(frozen=True)
class Proposal:
    """The next segment.

    Attributes:
        params: by Optuna's names; those of a first segment that study.yaml or an earlier study has for it may differ.
        seed: that of the trial whose checkpoint it goes on from; None for a first segment.
        place: what is noted of it (`hpo.storage.trial_attributes.SEGMENT`).
    """

    params: Mapping[str, Any]
    seed: int | None
    place: Mapping[str, Any]


def segments_of(spec: StudySpec, trials: Iterable[FrozenTrial]) -> list[Segment]:
    """Return the segments among the trials of a study; lost attempts that were tried again are left out."""
    found: dict[tuple[int, int], Segment] = {}
    for trial in trials:
        place = trial.user_attrs.get(ORIGIN, {}).get(SEGMENT)
        if place is None or requeued(trial.user_attrs):
            continue
        params = configuration_of(trial)
        segment = Segment(
            trial.number,
            place["member"],
            place["generation"],
            params.get(spec.group_by) if spec.group_by else None,
            params,
            trial.user_attrs.get(JOB, {}).get("seed"),
        )
        if trial.state == TrialState.COMPLETE:
            cost, end = spec.metrics[0].cost(trial.values[0]), trial.user_attrs.get(OUTCOME, {}).get("segment_end")
            segment = replace(segment, cost=cost, end=end)
        elif trial.state.is_finished():
            segment = replace(segment, cost=math.inf)
        found[segment.member, segment.generation] = segment
    return list(found.values())


def propose(spec: StudySpec, segments: Sequence[Segment]) -> Proposal | None:
    """Return the next segment; None if there is none now. If none runs or waits either, none will come."""
    population = population_of(spec)
    latest = _latest(segments)
    members = sorted(range(population.size), key=lambda m: (latest[m].generation if m in latest else 0, m))
    for member in members:
        if member not in latest:
            return _first(spec, population, member)
        own = latest[member]
        if own.cost is None or own.final:
            continue
        parent = parent_of(own, segments, population, _random(spec, member, own.generation, "parent"))
        if parent is not None:
            return _further(spec, population, own, parent)
    return None


def parent_of(
    own: Segment, segments: Iterable[Segment], population: Population, chance: random.Random
) -> Segment | None:
    """Return the segment whose checkpoint a member goes on from, its own or a better one; None if there is none now.

    It is compared with the segments of its generation and group that have ended. If it is among the worst of them, as
    many as `quantile` says, it goes on from one of as many best. A member that failed always does.

    Args:
        own: the last segment of the member, which has ended.
        segments: all.
        population: the rule.
        chance: picks among the best.
    """
    peers = [one for one in segments if (one.generation, one.group) == (own.generation, own.group)]
    ranked = sorted((one for one in peers if one.cost is not None), key=lambda one: (one.cost, one.number))
    most = min(math.ceil(len(ranked) * population.quantile), len(ranked) // 2)
    best = [one for one in ranked[:most] if one.forkable and _cost(one) < _cost(own)]
    if own.forkable:
        return chance.choice(best) if best and own in ranked[len(ranked) - most :] else own
    donors = best or [one for one in ranked if one.forkable]
    return chance.choice(donors) if donors else None


def checkpoints_needed(spec: StudySpec, trials: Iterable[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials whose checkpoints a member may still go on from; none without a population."""
    if not is_population(spec):
        return set()
    segments = segments_of(spec, trials)
    population, latest = population_of(spec), _latest(segments)
    # A segment that has not ended may be lost before it has taken over the checkpoint of the one before it.
    ended = {
        member: latest[member].generation - (latest[member].cost is None) if member in latest else 0
        for member in range(population.size)
    }
    found = set()
    for one in segments:
        open_members = [
            member
            for member, generation in ended.items()
            if generation <= one.generation
            and (member not in latest or (not latest[member].final and latest[member].group == one.group))
        ]
        if one.forkable and open_members:
            found.add(one.number)
    return found


def explored(
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    encoder: UnitCubeEncoder,
    population: Population,
    chance: random.Random,
) -> dict[str, Any]:
    """Return parameters in which those that may change are multiplied by a factor, or drawn anew.

    Args:
        params: those of the checkpoint, by Optuna's names.
        distributions: of all parameters.
        encoder: draws anew, uniformly or in the logarithm as the space says.
        population: the rule.
        chance: the random numbers.
    """
    changed = dict(params)
    for name in population.mutated:
        if name not in params:
            continue  # it belongs to a choice that this member does not have
        if chance.random() < population.resample_probability:
            changed[name] = encoder.value(name, chance.random())
        else:
            changed[name] = _multiplied(params[name], chance.choice(population.perturbation), distributions[name])
    return changed


def _multiplied(value: float, factor: float, distribution: BaseDistribution) -> float:
    """Return a value times a factor, within its range and on its steps, at least one step away where there is room."""
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high, step = distribution.low, distribution.high, distribution.step
    moved = value * factor
    if step is not None:
        steps = round((moved - value) / step) or (0 if factor == 1 else 1 if moved > value else -1)
        here, last = round((value - low) / step), math.floor((high - low) / step + 1e-9)
        moved = low + min(max(here + steps, 0), last) * step
    moved = min(max(moved, low), high)
    return int(moved) if isinstance(distribution, IntDistribution) else float(moved)


def _first(spec: StudySpec, population: Population, member: int) -> Proposal:
    chance = _random(spec, member, 0, "first")
    given = dict(spec.space.to_optuna(spec.enqueue[member])) if member < len(spec.enqueue) else {}
    if spec.group_by and spec.group_by not in given:
        given[spec.group_by] = spec.groups[member % len(spec.groups)]
    params = spec.space.assemble(lambda name, draw: given[name] if name in given else draw(), chance)
    until = None if population.interval >= population.steps else population.interval
    place = {"member": member, "generation": 1, "parent": None, "start": 0, "until": until}
    return Proposal(params, None, place)


def _further(spec: StudySpec, population: Population, own: Segment, parent: Segment) -> Proposal:
    params = dict(parent.params)
    if parent.number != own.number:
        encoder, chance = UnitCubeEncoder(spec.space), _random(spec, own.member, own.generation, "explore")
        params = explored(params, encoder.distributions, encoder, population, chance)
    start = parent.end or 0
    until = start + population.interval
    place = {
        "member": own.member,
        "generation": own.generation + 1,
        "parent": parent.number,
        "start": start,
        "until": None if until >= population.steps else until,
    }
    return Proposal(params, parent.seed, place)


def _latest(segments: Iterable[Segment]) -> dict[int, Segment]:
    latest: dict[int, Segment] = {}
    for one in segments:
        if one.member not in latest or one.generation > latest[one.member].generation:
            latest[one.member] = one
    return latest


def _cost(segment: Segment) -> float:
    return math.inf if segment.cost is None else segment.cost


def _random(spec: StudySpec, member: int, generation: int, purpose: str) -> random.Random:
    return random.Random(f"{spec.seed}/{member}/{generation}/{purpose}")
