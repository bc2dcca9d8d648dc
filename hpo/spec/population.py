"""Population-based training as study.yaml says it: `sampler: {name: pbt, ...}`, with what follows from other keys."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hpo.errors import KeyPath
from hpo.space.parameter import Parameter
from hpo.spec.epochs import epochs_in
from hpo.spec.models import StudySpec
from hpo.text import count, listing, nearest, show

PBT = "pbt"
SIZE, QUANTILE, RESAMPLE, PERTURBATION = 8, 0.25, 0.25, (0.8, 1.2)
# A training is cut into so many segments, if `interval` does not say otherwise.
SEGMENTS = 10


@dataclass(frozen=True)
class Population:
    """A population: its members are trained in segments, after each of which they are compared.

    Attributes:
        size: number of members.
        interval: steps of a segment.
        steps: steps of a whole training.
        quantile: the part at the bottom that goes on from members of the part at the top, which is as large.
        resample_probability: that with which a parameter is drawn anew instead of multiplied.
        perturbation: the factors, one of which a parameter is multiplied by.
        mutated: the parameters that change, by Optuna's names.
    """

    size: int
    interval: int
    steps: int
    quantile: float
    resample_probability: float
    perturbation: tuple[float, ...]
    mutated: tuple[str, ...]

    @property
    def generations(self) -> int:
        """Segments of a whole training."""
        return math.ceil(self.steps / self.interval)

    @property
    def segments(self) -> int:
        """Segments of all members: the trials of a whole run."""
        return self.size * self.generations


def is_population(spec: StudySpec) -> bool:
    """Return True if the study trains a population."""
    return spec.sampler.name == PBT


def population_of(spec: StudySpec) -> Population:
    """Return the population of a study whose sampler is pbt."""
    options = spec.sampler.options
    steps = options.get("steps") or epochs_in(spec.constants) or 1
    return Population(
        size=options.get("population_size", SIZE),
        interval=options.get("interval") or math.ceil(steps / SEGMENTS),
        steps=steps,
        quantile=options.get("quantile", QUANTILE),
        resample_probability=options.get("resample_probability", RESAMPLE),
        perturbation=tuple(options.get("perturbation", PERTURBATION)),
        mutated=tuple(name for parameter in mutated_parameters(spec) for name in parameter.optuna_names),
    )


def mutated_parameters(spec: StudySpec) -> list[Parameter]:
    """Return the parameters that change on the way: those of `mutate`, by default all floats and weights.

    An integer may be a number of layers, and a structural parameter shapes the network: a checkpoint would not fit.
    """
    named = spec.sampler.options.get("mutate")
    if named is not None:
        return [one for one in spec.space.walk() if {one.name, one.full_name} & set(named)]
    return [one for one in spec.space.walk() if one.kind in ("float", "simplex") and not one.structural]


def fixed_parameters(spec: StudySpec) -> list[Parameter]:
    """Return the searched parameters that a member keeps until it goes on from another member's checkpoint."""
    mutated = mutated_parameters(spec)
    return [one for one in spec.space.walk() if one.kind != "fixed" and one not in mutated]


def population_problems(spec: StudySpec) -> Iterator[tuple[KeyPath, str]]:
    """Yield what in a study.yaml does not go with a population, with the key.

    Args:
        spec: a study whose sampler is pbt, with options that are valid each by itself.
    """
    if len(spec.metrics) > 1:
        yield ("sampler", "name"), f"'pbt' takes one metric to compare members by, there are {len(spec.metrics)}"
    if spec.pruner.name != "none":
        yield (
            ("pruner", "name"),
            f"'{spec.pruner.name}' does not go with sampler pbt, which replaces members that fall behind; write none",
        )
    if spec.fallbacks:
        yield ("fallbacks",), "are not tried with sampler pbt: a member that fails is replaced by a better one"
    options = spec.sampler.options
    if "steps" not in options and not epochs_in(spec.constants):
        yield (
            ("sampler", "steps"),
            "is missing; expected the number of steps (epochs) that a whole training reports, for there is no "
            "constants.epochs",
        )
        return
    population, trials = population_of(spec), spec.budget.trials
    if population.interval >= population.steps:
        yield (
            ("sampler", "interval"),
            f"is {population.interval}, and a whole training has {count(population.steps, 'step')}: members would "
            "never be compared; expected fewer",
        )
    if trials is not None and trials < population.size:
        yield (
            ("budget", "trials"),
            f"is {trials}, and the population has {population.size} members: with sampler pbt a trial is a segment of "
            f"a member's training, and a whole run takes {population.segments}; expected at least "
            f"{population.size}, or a smaller sampler.population_size",
        )
    if "mutate" in options:
        yield from _mutate_problems(spec, options["mutate"])
    elif not population.mutated:
        yield (
            ("search_space",),
            "has no float that could change during a training, as sampler pbt does; expected one, or "
            "sampler.mutate: [a parameter that is an integer]",
        )


def _mutate_problems(spec: StudySpec, named: list[str]) -> Iterator[tuple[KeyPath, str]]:
    numeric = [one.full_name for one in spec.space.walk() if one.kind in ("float", "int", "simplex")]
    for index, name in enumerate(named):
        found = [one for one in spec.space.walk() if name in (one.name, one.full_name)]
        expected = f"expected {listing(numeric)}" if numeric else "there is none"
        where = ("sampler", "mutate", index)
        if not found:
            yield where, f"{show(name)} is not a parameter of search_space; {expected}.{nearest(name, numeric)}"
        for one in found:
            if one.kind in ("categorical", "fixed"):
                what = "has choices, which a member takes over only with a checkpoint"
                yield where, f"'{name}' {what if one.kind == 'categorical' else 'has one value'}; {expected}"
            elif one.structural:
                yield where, f"'{name}' is structural: a checkpoint would not fit another value; {expected}"


def population_words(spec: StudySpec) -> tuple[str, ...]:
    """Return what a study with sampler pbt will do, in sentences."""
    population, trials = population_of(spec), spec.budget.trials
    first = (
        f"{count(population.size, 'member')}, each trained for {count(population.steps, 'step')} in "
        f"{count(population.generations, 'segment')} of {population.interval}; a trial is one segment, and all take "
        f"{population.segments}"
    )
    lines = [first]
    if trials is not None:
        paid = min(trials, population.segments) / population.generations
        rest = ""
        if trials < population.segments:
            rest = f": the run ends before the members are trained to their end, which takes {population.segments}"
        elif trials > population.segments:
            rest = f"; {trials - population.segments} of them are left over"
        lines.append(f"the budget of {count(trials, 'segment')} pays for {paid:.3g} full trainings{rest}")
    within = f" of the same {spec.group_by}" if spec.group_by else ""
    lines.append(
        f"after each segment the bottom {100 * population.quantile:g} % go on from checkpoints of the top "
        f"{100 * population.quantile:g} %{within}, with changed parameters"
    )
    kept = [one.full_name for one in fixed_parameters(spec)]
    stay = f"; a member keeps {listing(kept, 20)} as long as its checkpoint" if kept else ""
    changed = [one.full_name for one in mutated_parameters(spec)]
    lines.append(f"on the way {listing(changed, 20)} {'changes' if len(changed) == 1 else 'change'}{stay}")
    return tuple(lines)
