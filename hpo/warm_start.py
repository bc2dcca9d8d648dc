"""Warm start: the best configurations of earlier studies, mapped into today's space and tried among the sampler's own.

All of it is pure: what was searched before comes in as `Source`s, what is handed out and what became of it goes
through `WarmStart`, which the Oracle asks. A history may mislead (other data, another loss): it is believed only for
as long as its configurations hold their own against those that the sampler drew."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo import components
from hpo.attributes import WARM
from hpo.parameter import Parameter, finite, show
from hpo.schema import Metric, StudySpec, WarmStartSpec
from hpo.space import SearchSpace

# Two configurations are one if no numeric parameter differs by more than this part of its range.
NEAR = 0.05
# The step under which final values are compared, of objectives that report nothing on the way.
FINAL = sys.maxsize
# Reports that are spared the pruner, at least.
GUARD = 4
# History is judged where so many of its configurations and so many of the sampler's have come.
FEWEST_WARM, FEWEST_OWN = 2, 3
# It misleads if its trials fall behind so far that chance alone would do it at most so often.
CHANCE = 0.05

Tried = tuple[int, Mapping[str, Any], Sequence[float]]


@dataclass(frozen=True)
class Source:
    """An earlier study. `trials`: of COMPLETE ones the number, the parameters as the objective saw them and the
    values of `metrics`, in their order."""

    name: str
    space: SearchSpace
    metrics: Sequence[Metric]
    trials: Sequence[Tried]


@dataclass(frozen=True)
class Candidate:
    """A configuration to try: `params` by Optuna's names in today's space, those of them that the earlier one had.
    `number` and `value` (of the first metric) are those of trial `number` of `study`; `changes` say in words what
    was altered to fit."""

    params: Mapping[str, Any]
    study: str
    number: int
    value: float
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """The candidates, best first, and how many better ones were left out, by the reason."""

    candidates: tuple[Candidate, ...]
    left_out: Mapping[str, int]


def guard_of(spec: StudySpec) -> int:
    """For how many reports the pruner does not end a warm trial: as `warm_start.guard` says, else 4, or until it is
    past the pruner's `min_resource`, counted from 0 or from 1."""
    given = (spec.warm_start or WarmStartSpec()).guard
    if given is not None:
        return given
    first = components.with_defaults(spec.pruner.name, spec.pruner.options).get("min_resource")
    return max(GUARD, first + 1) if isinstance(first, int) else GUARD


def candidates_of(spec: StudySpec, sources: Sequence[Source]) -> list[Candidate]:
    """See `choose`."""
    return list(choose(spec, sources).candidates)


def choose(spec: StudySpec, sources: Sequence[Source]) -> Choice:
    """At most `warm_start.trials` configurations: the best of each source in turn, and of each value of `group_by`
    in turn, without near-duplicates of each other and of `enqueue`. With several metrics those that a source shares
    decide: its Pareto front comes first, spread from end to end."""
    limit = (spec.warm_start or WarmStartSpec()).trials
    scales = _scales(spec.space)
    kept = [spec.space.translate(params)[0] for params in spec.enqueue]
    candidates: list[Candidate] = []
    left_out: Counter[str] = Counter()
    for source, (number, params, values) in in_turn(spec, sources):
        if len(candidates) == limit:
            break
        try:
            fitted, changes = fit(spec.space, params)
        except ValueError as error:
            left_out[str(error)] += 1
            continue
        if any(_near(fitted, other, scales) for other in kept):
            left_out["nearly the same as a better one"] += 1
            continue
        kept.append(fitted)
        value = values[list(source.metrics).index(spec.metrics[0])]
        candidates.append(Candidate(fitted, source.name, number, value, changes))
    return Choice(tuple(candidates), dict(left_out))


# --- which ones


def in_turn(spec: StudySpec, sources: Sequence[Source]) -> Iterator[tuple[Source, Tried]]:
    """All trials of sources that have today's first metric: round robin over the values of `group_by`, the one with
    the best trial first, and in each over the sources."""
    usable = [source for source in sources if spec.metrics[0] in source.metrics]
    lanes: dict[str, list[tuple[int, int, Source, Tried]]] = {}
    first: dict[str, int] = {}
    for index, source in enumerate(usable):
        ranks: Counter[str] = Counter()
        for place, trial in enumerate(_best_first(spec, source)):
            group = json.dumps(trial[1].get(spec.group_by), default=str) if spec.group_by else ""
            first[group] = min(place, first.get(group, place))
            lanes.setdefault(group, []).append((ranks[group], index, source, trial))
            ranks[group] += 1
    groups = sorted(lanes, key=lambda group: first[group])
    turns = []
    for turn, group in enumerate(groups):
        # Each group begins with another source, so that few candidates are still of many sources.
        lane = sorted(lanes[group], key=lambda entry: (entry[0], (entry[1] - turn) % len(usable)))
        turns += [(place, turn, source, trial) for place, (_, _, source, trial) in enumerate(lane)]
    for _, _, source, trial in sorted(turns, key=lambda entry: entry[:2]):
        yield source, trial


def _best_first(spec: StudySpec, source: Source) -> list[Tried]:
    known = list(source.metrics)
    shared = [(known.index(m), -1.0 if m.direction == "maximize" else 1.0) for m in spec.metrics if m in known]
    costs = [tuple(sign * trial[2][index] for index, sign in shared) for trial in source.trials]
    order = sorted(range(len(costs)), key=lambda i: (costs[i], source.trials[i][0]))
    if len(shared) > 1:
        front = [i for i in order if not any(_dominates(costs[j], costs[i]) for j in order)]
        rest = [i for i in order if i not in set(front)]
        order = [front[place] for place in _ends_first(len(front))] + rest
    return [source.trials[i] for i in order]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def _ends_first(count: int) -> list[int]:
    """0, count - 1, then the middles of what lies between, the widest gap first."""
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
    """Parameters of an earlier study, by the objective's names, as Optuna's of `space`, and in words what was altered.

    Parameters that are gone are dropped, new ones are left to the sampler, numbers go to the nearest value that is
    allowed today. Raises ValueError with the reason when a choice is gone or nothing is left."""
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
                    given[name] = parameter.accept(before)
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
    """The allowed value nearest to `value`; None if it is none of this kind."""
    if parameter.kind == "simplex":
        try:
            return parameter.accept(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not finite(value):
        return None
    inside = min(max(value, parameter.low), parameter.high)
    if parameter.step is not None:
        return parameter.nth(round((inside - parameter.low) / parameter.step))
    return float(inside)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else show(value)


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
    """As a part of the parameter's range."""
    if parameter.kind == "categorical":
        return 0.0 if one == other and isinstance(one, bool) == isinstance(other, bool) else 1.0
    if parameter.kind == "simplex":
        return float(abs(one - other))
    if parameter.log:
        return abs(math.log(one / other)) / math.log(parameter.high / parameter.low)
    return float(abs(one - other) / (parameter.high - parameter.low))


# --- while a study runs


class WarmStart:
    """Hands out the candidates, every other time it is asked, guards their first steps against the pruner, and stops
    both when the history turns out to mislead: when at least two of its trials came to a step that at least three of
    the sampler's came to as well, its best is worse there than their median, and were they all alike, that so many of
    the sampler's are better than any of its would happen in at most one of twenty studies. Judged are its trials'
    first reports, which nothing was pruned before, and those from the `guard`th on: between them the sampler's are
    the survivors of a first rung, and good configurations may be slow starters.

    guard: for so many of a trial's reports the pruner's answer is not listened to. maximize: of the first metric.
    `trusted`, and if not, `why`; `misled`: numbers of the trials that showed it, all of them worse than that median,
    which need not go on. (The first ones on a rung of successive halving pass it, however bad they are.)"""

    def __init__(self, candidates: Sequence[Candidate], guard: int, maximize: bool) -> None:
        self.trusted = True
        self.why = ""
        self.misled: frozenset[int] = frozenset()
        self._candidates = tuple(candidates)
        self._waiting = list(enumerate(self._candidates))
        self._guard = guard
        self._sign = 1.0 if maximize else -1.0
        # Of each step the values by trial: of warm ones those that are judged, and of the sampler's own all.
        self._warm: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._own: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._reports: Counter[int] = Counter()
        self._started = 0
        self._own_turn = False

    def resume(self, origins: Iterable[Mapping[str, Any]], trusted: bool = True, why: str = "") -> None:
        """What earlier runs of the study did: where its trials came from, whether history is believed, else why not."""
        used = {(origin["from"], origin.get("number")) for origin in origins if is_warm(origin)}
        open_ = [(index, one) for index, one in self._waiting if (one.study, one.number) not in used]
        # Other candidates than those of the first run, of a study that grew since, do not make it more of them.
        self._waiting = open_[: max(0, len(self._candidates) - len(used))]
        self._started = len(used)
        self.trusted, self.why = trusted, why

    def next(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The next configuration and its origin; None: it is the sampler's turn."""
        self._own_turn = not self._own_turn
        if not self._own_turn or not self.trusted or not self._waiting:
            return None
        index, one = self._waiting.pop(0)
        self._started += 1
        origin = {"source": WARM, "from": one.study, "number": one.number, "value": one.value, "index": index}
        return dict(one.params), origin

    def guards(self, origin: Mapping[str, Any], reports: int) -> bool:
        """Whether a trial that has reported `reports` steps goes on whatever the pruner says."""
        return self.trusted and is_warm(origin) and reports <= self._guard

    def seen(self, number: int, origin: Mapping[str, Any], step: int, value: float) -> str:
        """Take note of the first metric of trial `number` at `step` (FINAL: of a finished one). Returns the sentence
        that says why history is no longer trusted, once, when this value shows it."""
        if not self._candidates or not self.trusted:
            return ""
        self._reports[number] += 1
        if not is_warm(origin):
            self._own[step][number] = value
        elif step == FINAL or self._reports[number] == 1 or self._reports[number] >= self._guard:
            self._warm[step][number] = value
        why = self._verdict(step)
        if not why:
            return ""
        self.trusted, self.why, self.misled = False, why, frozenset(self._warm[step])
        return why

    def forget(self, number: int) -> None:
        """An attempt that is tried again reports its steps again."""
        self._reports.pop(number, None)
        for values in (*self._warm.values(), *self._own.values()):
            values.pop(number, None)

    def facts(self) -> dict[str, Any]:
        """What is kept in the study's attributes."""
        return {
            "studies": list(dict.fromkeys(one.study for one in self._candidates)),
            "offered": len(self._candidates),
            "started": self._started,
            "trusted": self.trusted,
            "why": self.why,
        }

    def _verdict(self, step: int) -> str:
        warm = [self._sign * value for value in self._warm[step].values()]
        own = [self._sign * value for value in self._own[step].values()]
        if len(warm) < FEWEST_WARM or len(own) < FEWEST_OWN or max(warm) >= statistics.median(own):
            return ""
        # C(own, ahead) / C(own + warm, ahead): the `ahead` best of all are the sampler's, if every order is as likely.
        ahead = sum(value > max(warm) for value in own)
        if math.comb(len(own), ahead) > CHANCE * math.comb(len(own) + len(warm), ahead):
            return ""
        best, middle = self._sign * max(warm), self._sign * statistics.median(own)
        where = "at the end" if step == FINAL else f"at step {step}"
        return (
            f"the earlier studies mislead: {where} the best of {len(warm)} trials from them has {best:.4g}, the median "
            f"of {len(own)} of the sampler's own {middle:.4g}; no more are taken from there"
        )


def is_warm(origin: Mapping[str, Any]) -> bool:
    """Whether a trial came from an earlier study; a further attempt at such a trial did too."""
    return "from" in origin


def passed_on(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What a further attempt's origin keeps of the first one's."""
    return {key: origin[key] for key in ("from", "number", "value", "index") if is_warm(origin) and key in origin}
