"""Rules of `sampler: auto`: which sampler a study gets by its space and its budget, and why."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from hpo.space.search_space import SearchSpace
from hpo.spec.algorithms import NEEDS
from hpo.spec.sampler_limits import refused_ranges

AUTO = "auto"
# Beyond so many completed trials a Gaussian process takes longer to ask than it saves: benchmarks/search/functions.py.
MOST_GP_TRIALS = 200


@dataclass(frozen=True)
class Choice:
    """Choice of `sampler: auto`.

    Attributes:
        names: the samplers that propose; the second one takes the place of the first as trials show more.
        reason: why, as a sentence without its beginning.
    """

    names: tuple[str, ...]
    reason: str


def choose(space: SearchSpace, metrics: int, trials: int | None) -> Choice:
    """Return the samplers for a study.

    Args:
        space: the search space.
        metrics: number of metrics.
        trials: the budget's trials; None if it has no such limit.
    """
    size = space.grid_size()
    if size == 1:
        return Choice(("kernel",), "the space has one configuration: each trial repeats it with another seed")
    if size is not None and trials is not None and size <= trials:
        ends = "each is tried once (`hpo best` writes the best one, to train it again)"
        return Choice(("grid",), f"the space has {size} configurations and the budget {trials} trials; {ends}")
    ends = "" if size is None else f"; each of its {size} configurations is tried once at most"
    if why := _unfit_for_gp(space):
        tpe = "" if metrics == 1 else " (for several metrics it is TPE)"
        return Choice(("kernel",), f"{why}{tpe}{ends}")
    other = f"kernel if more than one trial of ten does not complete, and after {MOST_GP_TRIALS} that did"
    return Choice(("gp", "kernel"), f"the space has numbers alone ({other}){ends}")


def _unfit_for_gp(space: SearchSpace) -> str:
    """Return why a Gaussian process does not fit a space; empty if it does."""
    if any(len(parameter.choices) > 1 and parameter.kind == "categorical" for parameter in space.walk()):
        return "the space has choices"
    if missing := [package for package in NEEDS["gp"] if find_spec(package) is None]:
        return f"gp needs {' and '.join(missing)}, which this Python does not have"
    for parameter, _ in refused_ranges("gp", 1, space):
        return f"gp cannot take the range of {parameter.full_name}"
    return ""
