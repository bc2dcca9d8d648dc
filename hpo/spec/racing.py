"""Racing as study.yaml says it: `sampler: {name: racing, ...}`, which `hpo confirm` writes.

The configurations are those of `enqueue`. The first is the reference. All are trained with the same seeds, in two
parts: the first seeds choose the winner, other ones say how good it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hpo.errors import KeyPath
from hpo.spec.models import StudySpec
from hpo.text import count

RACING = "racing"
SEEDS = 5
CHOOSE: Literal["choose"] = "choose"
ESTIMATE: Literal["estimate"] = "estimate"
Part = Literal["choose", "estimate"]


@dataclass(frozen=True)
class Race:
    """Trainings that confirm the configurations of an earlier study.

    Attributes:
        study: name of the earlier study.
        key: its key, which tells it from another one of that name.
        trials: the trial there of each configuration.
        heats: indices of the configurations that race with each other: all, or those of one value of `group_by`.
        seeds: seeds at most that choose, and as many that estimate.
        resplit: the data are split anew with each seed.
    """

    study: str
    key: str
    trials: tuple[int, ...]
    heats: tuple[tuple[int, ...], ...]
    seeds: int
    resplit: bool

    @property
    def most(self) -> int:
        """Trainings if no configuration is left behind: of all to choose, of the winners and the reference after."""
        n = len(self.trials)
        return self.seeds if n == 1 else (n + min(len(self.heats) + 1, n)) * self.seeds


@dataclass(frozen=True)
class Training:
    """A training that is due: the configuration, the part, and the index of the seed in it."""

    configuration: int
    part: Part
    index: int


def is_race(spec: StudySpec) -> bool:
    """Return True if the study confirms configurations of another one."""
    return spec.sampler.name == RACING


def race_of(spec: StudySpec) -> Race:
    """Return the race of a study whose sampler is racing."""
    options: Mapping[str, Any] = spec.sampler.options
    heats: dict[Any, list[int]] = {}
    for index, params in enumerate(spec.enqueue):
        group = repr(params.get(str(spec.group_by))) if options.get("per_group") else ""
        heats.setdefault(group, []).append(index)
    return Race(
        options.get("study", ""),
        options.get("key", ""),
        tuple(options.get("trials", range(len(spec.enqueue)))),
        tuple(map(tuple, heats.values())),
        options.get("seeds", SEEDS),
        bool(options.get("resplit")),
    )


def seed_in_race(study_seed: int, part: Part, index: int) -> int:
    """Return the seed below 2^31 of all trainings with this index in a part of a race."""
    return int(np.random.SeedSequence([study_seed, [CHOOSE, ESTIMATE].index(part), index]).generate_state(1)[0] >> 1)


def constants_of(spec: StudySpec, seed: int) -> Mapping[str, Any]:
    """Return the constants of a trial with this seed: those of the study, where a race splits the data with it."""
    if not is_race(spec) or not spec.sampler.options.get("resplit"):
        return spec.constants
    return {**spec.constants, "data": {**spec.constants["data"], "seed": seed}}


def splits_by_seed(spec: StudySpec) -> bool:
    """Return True if the study says with which seed its data are split: `constants: {data: {seed: 0}}`."""
    data = spec.constants.get("data")
    seed = data.get("seed") if isinstance(data, Mapping) else None
    return isinstance(seed, int) and not isinstance(seed, bool)


def race_problems(spec: StudySpec) -> Iterator[tuple[KeyPath, str]]:
    """Yield what in a study.yaml does not go with racing, with the key.

    Args:
        spec: a study whose sampler is racing, with options that are valid each by itself.
    """
    if not spec.enqueue:
        yield ("enqueue",), "is missing; expected the configurations that sampler racing trains, the reference first"
    trials = spec.sampler.options.get("trials")
    if trials is not None and len(trials) != len(spec.enqueue):
        yield (
            ("sampler", "trials"),
            f"has {count(len(trials), 'number')}, and enqueue {count(len(spec.enqueue), 'configuration')}; expected "
            "the number of the trial of each",
        )
    if spec.pruner.name != "none":
        yield (
            ("pruner", "name"),
            f"'{spec.pruner.name}' does not go with sampler racing, which compares trainings at their end; write none",
        )
    if spec.fallbacks:
        yield ("fallbacks",), "are not tried with sampler racing; leave them out"
    if spec.sampler.options.get("per_group") and spec.group_by is None:
        yield ("sampler", "per_group"), "is true, and the study has no group_by"
    if spec.sampler.options.get("resplit") and not splits_by_seed(spec):
        yield ("sampler", "resplit"), "is true, and there is no constants.data.seed, with which data would be split"
