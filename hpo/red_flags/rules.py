"""The built-in rules and conditions: functions of a trial's reports so far and of the options in study.yaml."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from hpo.curves import predicates, shape, skill
from hpo.curves.metric_names import without_split
from hpo.red_flags.condition import Scope
from hpo.red_flags.definitions import RedFlag, names_in


@dataclass
class View:
    """A trial so far, seen from one epoch.

    Attributes:
        params: its parameters.
        first: the name of the study's first metric.
        maximize: True if a higher value of that metric is better.
        epoch: the epoch.
        now: the metrics of this epoch, as far as they were reported by now.
        expected: names that are still to come in this epoch, as the one before had them in a later report.
        known: numbers among parameters and constants, and the trial's own (OWN_NAMES).
        series: the values of each metric so far.
        epochs: the epochs of these values.
    """

    params: Mapping[str, Any]
    first: str
    maximize: bool
    epoch: int = 0
    now: Mapping[str, float] = field(default_factory=dict)
    expected: Set[str] = frozenset()
    known: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    epochs: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def scope(self) -> Scope:
        """Return what a condition sees in this epoch."""
        reported = {name: self.series[name] for name in self.now}
        # A parameter must not stand in for a metric of its name that is still to come.
        known = {name: value for name, value in self.known.items() if name not in self.expected}
        return Scope({**known, **self.now}, reported, self.epochs)


@dataclass(frozen=True)
class Found:
    """Result of a rule that holds.

    Attributes:
        sentence: how it holds.
        metrics: the metrics that led to it.
        more: other evidence.
    """

    sentence: str
    metrics: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)


class Unknown(Exception):
    """Raised by a rule where no metric that it needs was reported in this epoch."""


Rule = Callable[[View], Found | None]


def rule_of(flag: RedFlag) -> Rule:
    """Return the function that asks whether a flag is to be raised. It raises Unknown where it cannot know."""
    if flag.when:
        return _condition(flag)
    rule = RULES[flag.rule]
    return lambda view: rule(view, flag)


def _condition(flag: RedFlag) -> Rule:
    condition = flag.condition()

    def rule(view: View) -> Found | None:
        scope = view.scope()
        held = condition.holds(scope)
        if held is None:
            raise Unknown
        if not held:
            return None
        numbers = {name: scope.values[name] for name in condition.names if name in scope.values}
        said = ", ".join(f"{name} {_short(value)}" for name, value in numbers.items())
        return Found(f"{condition.text} ({said})" if said else condition.text, numbers)

    return rule


def _short(value: float) -> str:
    return f"{value:.4g}"


# --- built-in rules: functions of the trial so far and of the flag's options


def _reported(view: View, *names: str) -> None:
    if any(name not in view.now for name in names):
        raise Unknown


def _all_reported(view: View) -> None:
    """Let a rule that weighs metrics against each other wait for those that are still to come in this epoch."""
    if view.expected:
        raise Unknown


def _non_finite(view: View, flag: RedFlag) -> Found | None:
    names = names_in(flag.option("metrics"))
    if not names:
        names = [name for name in view.now if "loss" in name.lower() or name == view.first]
    known = {name: view.now[name] for name in names if name in view.now}
    if not known:
        raise Unknown
    bad = {name: value for name, value in known.items() if predicates.non_finite([value])}
    if not bad:
        return None
    return Found(", ".join(f"{name} is {value}" for name, value in bad.items()), bad)


def _collapsed(view: View, flag: RedFlag) -> Found | None:
    """Return how one class only is predicted, unless a metric of the ranking is good or rising.

    A rare class may be ranked well long before its scores pass the threshold: then the threshold is to blame.
    """
    _all_reported(view)
    found = skill.one_answer(view.now, names_in(flag.option("metrics")))
    if found is None:
        raise Unknown
    if not found or any(skill.ranks(name, view.series[name], flag.option("margin")) for name in view.now):
        return None
    values = set(found.values())
    said = f"{' and '.join(found)} {'is' if len(found) == 1 else 'are'} {values.pop():g}"
    known = {name: above for name, value in view.now.items() if (above := skill.above_chance(name, value)) is not None}
    if known:
        best = max(known, key=known.__getitem__)
        said += f", and {best} only {_short(view.now[best])}"
    return Found(said, found | {name: view.now[name] for name in known})


def _rising(view: View, flag: RedFlag) -> Found | None:
    name = flag.option("metric")
    _reported(view, name)
    found = predicates.rising(view.series[name], flag.option("epochs"))
    if found is None:
        return None
    return Found(
        f"{name} rose in each of {found.epochs} epochs, from {_short(found.low)} to {_short(found.end)}",
        {name: found.end},
        {"from": found.low, "epochs": found.epochs},
    )


def _no_improvement(view: View, flag: RedFlag) -> Found | None:
    name = flag.option("metric") or view.first
    _reported(view, name)
    # The direction of the study's metric is known; that of another metric follows from its name.
    maximize = view.maximize if name == view.first else "loss" not in name and "error" not in name
    sign = -1.0 if maximize else 1.0
    values = [sign * value for value in view.series[name] if math.isfinite(value)]
    found = predicates.unimproved(values)
    if found is None:
        return None
    first, best = sign * found.first, sign * found.best
    return Found(
        f"{name} was {_short(first)} in the first epoch, and at best {_short(best)} since",
        {name: view.now[name]},
        {"first": first, "best": best},
    )


def _exploding(view: View, flag: RedFlag) -> Found | None:
    name, above = flag.option("metric"), float(flag.option("above"))
    _reported(view, name)
    value = view.now[name]
    if math.isfinite(value) and value <= above:
        return None
    return Found(f"{name} is {_short(value)}, above {above:g}", {name: value}, {"limit": above})


def _vanishing(view: View, flag: RedFlag) -> Found | None:
    name, below = flag.option("metric"), float(flag.option("below"))
    _reported(view, name)
    value = view.now[name]
    if not value < below:
        return None
    return Found(f"{name} is {_short(value)}, below {below:g}", {name: value}, {"limit": below})


def _dominating(view: View, flag: RedFlag) -> Found | None:
    _all_reported(view)
    contributions = _contributions(view, names_in(flag.option("components")))
    if len(contributions) < 2:
        raise Unknown
    ratio = float(flag.option("ratio"))
    found = predicates.dominant(contributions)
    if found is None or found.factor * ratio > 1:
        return None
    times = "infinitely many" if found.factor == 0 else _short(1 / found.factor)
    return Found(
        f"{found.name} is, weighted, {times} times the mean of the other components of the loss",
        contributions,
        {"component": found.name, "ratio": math.inf if found.factor == 0 else 1 / found.factor, "limit": ratio},
    )


def _contributions(view: View, given: Sequence[str]) -> dict[str, float]:
    """Return what each component adds to the training loss of this epoch.

    A weight is one of a mapping among the parameters, a parameter `weight_X`, or a metric `train_weight_X`; else it is
    1.
    """
    if given:
        parts = [without_split(name) for name in given]
    else:
        parts = [without_split(name) for name in view.now if "loss" in name.lower() and without_split(name) != "loss"]
    weights = [value for value in view.params.values() if isinstance(value, Mapping) and set(value) >= set(parts)]
    found = {}
    for part in dict.fromkeys(parts):
        name = next((each for each in (f"train_{part}", part, f"val_{part}") if each in view.now), None)
        if name is None:
            continue
        weight = weights[0][part] if weights else view.params.get(f"weight_{part}")
        weight = weight if isinstance(weight, (int, float)) else view.now.get(f"train_weight_{part}", 1.0)
        found[name] = float(weight) * view.now[name]
    return found


def _overfitting(view: View, flag: RedFlag) -> Found | None:
    val, train = flag.option("metric"), flag.option("train")
    _all_reported(view)
    _reported(view, val)
    values = [value for value in view.series[val] if math.isfinite(value)]
    if not values:
        return None
    beside = dict(zip(view.epochs.get(train, ()), view.series.get(train, ()), strict=True))
    fit = [beside.get(epoch, math.nan) for epoch in view.epochs[val]]
    known = len(values) == len(fit) and all(map(math.isfinite, fit))
    found = predicates.overfitting(shape.shape_of(values), shape.shape_of(fit) if known else None)
    if found is None:
        return None
    metrics = {val: view.now[val], **({train: view.now[train]} if train in view.now else {})}
    since = view.epochs[val][found.since] if len(values) == len(fit) else found.since
    return Found(
        f"{val} rose from {_short(found.low)} at epoch {since} to {_short(found.end)}",
        metrics,
        {"lowest": found.low, "lowest_at": since, "level": found.end},
    )


def _inert_ghm(view: View, flag: RedFlag) -> Found | None:
    name, share = flag.option("metric"), float(flag.option("share"))
    _reported(view, name)
    if not view.now[name] > share:
        return None
    return Found(
        f"more than {share:g} of the gradient norms are in one bin ({name} {_short(view.now[name])})",
        {name: view.now[name]},
        {"limit": share},
    )


def _too_slow(view: View, flag: RedFlag) -> Found | None:
    return _limits(view, {"seconds": ("the trial took", "s"), "epoch_seconds": ("the epoch took", "s")}, flag)


def _too_much_memory(view: View, flag: RedFlag) -> Found | None:
    own = {"gib": "memory_gib", "gpu": "gpu_memory"}
    said = {"gib": ("its process holds", "GiB"), "gpu": ("it holds", "of its GPU's memory")}
    return _limits(view, said, flag, own)


def _limits(
    view: View, said: Mapping[str, tuple[str, str]], flag: RedFlag, own: Mapping[str, str] | None = None
) -> Found | None:
    known = False
    for option, (does, unit) in said.items():
        limit = flag.option(option)
        name = option if own is None else own[option]
        value = {**view.known, **view.now}.get(name)
        if limit is None or value is None:
            continue
        known = True
        if value > limit:
            return Found(f"{does} {_short(value)} {unit}, above {limit:g}", {name: value}, {"limit": float(limit)})
    if not known:
        raise Unknown
    return None


def _diverged_after_unfreezing(view: View, flag: RedFlag) -> Found | None:
    name, epochs, at = flag.option("metric"), flag.option("epochs"), flag.option("at")
    _reported(view, name)
    place = float(at) if isinstance(at, int) else view.known.get(at)
    if place is None:
        raise Unknown
    values, where = view.series[name], view.epochs[name]
    before = [value for value, epoch in zip(values, where, strict=True) if epoch < place]
    since = [value for value, epoch in zip(values, where, strict=True) if epoch >= place]
    if len(since) < epochs:
        return None
    found = predicates.rising(values, epochs)
    if found is None or (before and not found.end > before[-1]):
        return None
    return Found(
        f"{name} rose in each of {epochs} epochs after epoch {place:g}, from {_short(found.low)} to "
        f"{_short(found.end)}",
        {name: found.end},
        {"from": found.low, "unfrozen_at": place, **({"before": before[-1]} if before else {})},
    )


RULES: dict[str, Callable[[View, RedFlag], Found | None]] = {
    "non_finite": _non_finite,
    "collapsed": _collapsed,
    "rising": _rising,
    "no_improvement": _no_improvement,
    "exploding_gradient": _exploding,
    "vanishing_gradient": _vanishing,
    "dominating_component": _dominating,
    "overfitting": _overfitting,
    "inert_ghm": _inert_ghm,
    "too_slow": _too_slow,
    "too_much_memory": _too_much_memory,
    "diverged_after_unfreezing": _diverged_after_unfreezing,
}
