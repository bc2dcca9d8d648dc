"""Candidates of a warm start: the best configurations of earlier studies, fitted into today's search space.

Everything here is pure: earlier studies come in as `Source`s, and candidates go out.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo.space.parameter import Parameter, finite
from hpo.space.scale import part_of_range
from hpo.space.search_space import SearchSpace
from hpo.spec.domination import non_dominated
from hpo.spec.identity import differences, from_json, to_json
from hpo.spec.models import Metric, StudySpec, WarmStartSpec
from hpo.text import show

# Two configurations are one if no numeric parameter differs by more than this part of its range.
NEAR = 0.05

Tried = tuple[int, Mapping[str, Any], Sequence[float]]


@dataclass(frozen=True)
class Source:
    """An earlier study.

    Attributes:
        name: Name of the study.
        space: Its search space.
        metrics: Its metrics.
        trials: Of each COMPLETE trial the number, the parameters as the objective saw them, and the values of
            `metrics`.
        constants: What it held constant; None if that is unknown.
        tried: Number of its COMPLETE and PRUNED trials; None: as many as `trials`.
    """

    name: str
    space: SearchSpace
    metrics: Sequence[Metric]
    trials: Sequence[Tried]
    constants: Mapping[str, Any] | None = None
    tried: int | None = None


@dataclass(frozen=True)
class Candidate:
    """A configuration to try.

    Attributes:
        params: Parameters by Optuna's names in today's space, those of them that the earlier trial had.
        study: Earlier study.
        number: Number of the trial in it.
        value: Value of the first metric of that trial.
        changes: What was altered to fit, in words.
        other_constants: Whether the earlier study had other constants.
    """

    params: Mapping[str, Any]
    study: str
    number: int
    value: float
    changes: tuple[str, ...] = ()
    other_constants: bool = False


@dataclass(frozen=True)
class Choice:
    """Candidates, the best first, and the number of better ones that were left out, by the reason."""

    candidates: tuple[Candidate, ...]
    left_out: Mapping[str, int]


def unasked(spec: StudySpec) -> bool:
    """Return True if study.yaml does not say whether to begin from earlier studies."""
    return spec.warm_start is not None and spec.warm_start.sources is None


def most(spec: StudySpec) -> int:
    """Return how many configurations may be taken.

    It is `warm_start.trials`. Where study.yaml does not ask for a warm start, it is at most a twentieth of the trials,
    so that history that misleads costs little even where every trial runs to its end.
    """
    given = (spec.warm_start or WarmStartSpec()).trials
    planned = spec.planned_trials()
    return given if planned is None or not unasked(spec) else min(given, max(1, planned // 20))


def candidates_of(spec: StudySpec, sources: Sequence[Source]) -> list[Candidate]:
    """Return the candidates of `choose`."""
    return list(choose(spec, sources).candidates)


def choose(spec: StudySpec, sources: Sequence[Source]) -> Choice:
    """Choose at most `most(spec)` configurations.

    The best of each source are taken in turn, and of each value of `group_by` in turn, without near-duplicates of each
    other and of `enqueue`. Sources with today's constants come before the others. With several metrics those that a
    source shares decide: its Pareto front comes first, spread from end to end. Where study.yaml does not ask for a warm
    start, no more than a quarter of what a source tried is taken.
    """
    limit = most(spec)
    taken: Counter[int] = Counter()
    scales = _scales(spec.space)
    kept = [spec.space.translate(params)[0] for params in spec.enqueue]
    candidates: list[Candidate] = []
    left_out: Counter[str] = Counter()
    for source, (number, params, values) in round_robin(spec, sources):
        if len(candidates) == limit:
            break
        if unasked(spec) and taken[id(source)] == (source.tried or len(source.trials)) // 4:
            continue
        try:
            fitted, changes = fit(spec.space, params)
        except ValueError as error:
            left_out[str(error)] += 1
            continue
        if any(_near(fitted, other, scales) for other in kept):
            left_out["nearly the same as a better one"] += 1
            continue
        kept.append(fitted)
        taken[id(source)] += 1
        value = values[list(source.metrics).index(spec.metrics[0])]
        other = source.constants is not None and not _same_constants(spec, source)
        candidates.append(Candidate(fitted, source.name, number, value, changes, other))
    return Choice(tuple(candidates), dict(left_out))


# --- which ones


def round_robin(spec: StudySpec, sources: Sequence[Source]) -> Iterator[tuple[Source, Tried]]:
    """Yield all trials of the sources that have today's first metric.

    The values of `group_by` take turns, the one with the best trial first, and within each value the sources do, those
    with today's constants before the others.
    """
    usable = [source for source in sources if spec.metrics[0] in source.metrics]
    lanes: dict[str, list[tuple[tuple[bool, int], int, Source, Tried]]] = {}
    first: dict[str, int] = {}
    for index, source in enumerate(usable):
        ranks: Counter[str] = Counter()
        other = not _same_constants(spec, source)
        for place, trial in enumerate(_best_first(spec, source)):
            group = json.dumps(trial[1].get(spec.group_by), default=str) if spec.group_by else ""
            first[group] = min(place, first.get(group, place))
            lanes.setdefault(group, []).append(((other, ranks[group]), index, source, trial))
            ranks[group] += 1
    groups = sorted(lanes, key=lambda group: first[group])
    turns = []
    for turn, group in enumerate(groups):
        # Each group begins with another source, so that few candidates are still of many sources.
        lane = sorted(lanes[group], key=lambda entry: (entry[0], (entry[1] - turn) % len(usable)))
        turns += [(place, turn, source, trial) for place, (_, _, source, trial) in enumerate(lane)]
    for _, _, source, trial in sorted(turns, key=lambda entry: entry[:2]):
        yield source, trial


def _same_constants(spec: StudySpec, source: Source) -> bool:
    """Return True if a source is known to have today's constants, which mostly say what the data are."""
    if source.constants is None:
        return False
    return not differences(source.constants, from_json(to_json(spec.constants)))


def _best_first(spec: StudySpec, source: Source) -> list[Tried]:
    known = list(source.metrics)
    shared = [(known.index(m), -1.0 if m.direction == "maximize" else 1.0) for m in spec.metrics if m in known]
    costs = [tuple(sign * trial[2][index] for index, sign in shared) for trial in source.trials]
    order = sorted(range(len(costs)), key=lambda i: (costs[i], source.trials[i][0]))
    if len(shared) > 1:
        best = non_dominated(np.array(costs).reshape(len(costs), len(shared)))
        front, rest = [i for i in order if best[i]], [i for i in order if not best[i]]
        order = [front[place] for place in _ends_first(len(front))] + rest
    return [source.trials[i] for i in order]


def _ends_first(count: int) -> list[int]:
    """Return 0, count - 1, then the middles of the gaps between, the widest gap first."""
    order = [0, count - 1][: max(0, count)]
    gaps = [(0, count - 1)]
    while gaps:
        low, high = gaps.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return list(dict.fromkeys(order))


# --- into today's space


def fit(space: SearchSpace, params: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fit parameters of an earlier study, by the objective's names, into `space`.

    Parameters that are gone are dropped, new ones are left to the sampler, and numbers go to the nearest value that is
    allowed today.

    Returns:
        The parameters by Optuna's names, and what was altered, in words.

    Raises:
        ValueError: A choice is gone or nothing is left; with the reason.
    """
    given: dict[str, Any] = {}
    changes: list[str] = []

    def visit(parameters: Iterable[Parameter]) -> None:
        for parameter in parameters:
            name = parameter.name
            if name not in params:
                continue
            before = params[name]
            if parameter.kind == "categorical":
                try:
                    given[name] = parameter.validate(before)
                except ValueError:
                    raise ValueError(f"{name} = {show(before)} is no longer a choice") from None
                visit(parameter.children.get(given[name], ()))
                continue
            after = parameter.value if parameter.kind == "fixed" else _nearest(parameter, before)
            if after is None and parameter.kind != "fixed":
                changes.append(f"{name} = {show(before)} does not fit and is sampled")
                continue
            if not _same(before, after):
                changes.append(f"{name} {_short(before)} -> {_short(after)}")
            if parameter.kind != "fixed":
                given[name] = after

    visit(space.parameters)
    fitted, problems = space.translate(given)
    if problems or not fitted:
        raise ValueError("no parameter of it is searched today")
    return fitted, tuple(changes)


def _nearest(parameter: Parameter, value: Any) -> Any:
    """Return the allowed value nearest to `value`; None if it is of another kind."""
    if parameter.kind == "simplex":
        try:
            return parameter.validate(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not finite(value):
        return None
    inside = min(max(value, parameter.low), parameter.high)
    if parameter.step is not None:
        return parameter.value_at(round((inside - parameter.low) / parameter.step))
    return float(inside)


def _short(value: Any) -> str:
    """Return a value with at most six digits."""
    if not isinstance(value, float):
        return show(value)
    return show(float(f"{value:.6g}")).removesuffix(".0")


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return True
    numbers = all(isinstance(value, (int, float)) and abs(value) < 2**53 for value in (before, after))
    return math.isclose(before, after, rel_tol=1e-9, abs_tol=1e-12) if numbers else bool(before == after)


def _scales(space: SearchSpace) -> dict[str, Parameter]:
    return {name: parameter for parameter in space.walk() for name in parameter.optuna_names}


def _near(one: Mapping[str, Any], other: Mapping[str, Any], scales: Mapping[str, Parameter]) -> bool:
    return one.keys() == other.keys() and all(_apart(scales[name], one[name], other[name]) <= NEAR for name in one)


def _apart(parameter: Parameter, one: Any, other: Any) -> float:
    """Return the distance of two values as a part of the parameter's range."""
    if parameter.kind == "categorical":
        return 0.0 if one == other and isinstance(one, bool) == isinstance(other, bool) else 1.0
    if parameter.kind == "simplex":
        return float(abs(one - other))
    parts = [part_of_range(value, parameter.low, parameter.high, parameter.log) for value in (one, other)]
    return abs(parts[0] - parts[1])
