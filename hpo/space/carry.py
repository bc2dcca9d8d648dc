"""Carrying of a configuration from one search space into another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.space.parameter import Parameter, join_stick
from hpo.space.search_space import SearchSpace


@dataclass(frozen=True)
class Carried:
    """A configuration in another space.

    Attributes:
        params: its values by Optuna's names.
        outside: (Optuna's name, value) of those that do not fit there.
        missing: Optuna's names of the parameters of which it has no value.
        added: Optuna's names of those that had no value before, and have got one.
        gone: names of those that the other space has not.
    """

    params: dict[str, Any] = field(default_factory=dict)
    outside: list[tuple[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def carry(
    stored: Mapping[str, Any], old: SearchSpace, new: SearchSpace, before: Mapping[str, Any], *, partly: bool = False
) -> Carried:
    """Return a configuration of one space as one of another, in which it means the same to the objective.

    Parameters are recognized by the name that the objective sees. Weights that sum to 1 and have got company have 0
    for it.

    Args:
        stored: the configuration, by Optuna's names.
        old: its space.
        new: the other one.
        before: what the objective did before a parameter was searched: values by Optuna's names.
        partly: it is not whole: what the old space fixed is left open too.
    """
    given, carried = old.resolve(stored), Carried()
    if partly:
        fixed = {one.name for one in old.walk() if one.kind == "fixed"}
        given = {name: value for name, value in given.items() if name not in fixed}
    same = {one.full_name: one.choices for one in old.walk() if one.kind == "simplex"}
    used = set()
    waiting = list(reversed(new.parameters))
    while waiting:
        parameter = waiting.pop()
        used.add(parameter.name)
        if parameter.name in given:
            value = given[parameter.name]
            if same.get(parameter.full_name) == parameter.choices and parameter.kind == "simplex":
                # As they are: made of their weights again, they would be rounded.
                carried.params.update({name: stored[name] for name in parameter.optuna_names})
                continue
            value = _with_zeros(parameter, value)
        elif parameter.full_name in before:
            value = before[parameter.full_name]
            carried.added.append(parameter.full_name)
        else:
            carried.missing.append(parameter.full_name)
            continue
        waiting += reversed(_take(parameter, value, carried))
    carried.gone.extend(name for name in given if name not in used)
    return carried


def _take(parameter: Parameter, value: Any, carried: Carried) -> tuple[Parameter, ...]:
    """Take in a value, and return the parameters that it brings along."""
    try:
        value = parameter.validate(value)
    except ValueError:
        carried.outside.append((parameter.full_name, value))
        return ()
    if parameter.kind == "simplex":
        carried.params.update(zip(parameter.optuna_names, join_stick(list(value.values())), strict=True))
    elif parameter.kind != "fixed":
        carried.params[parameter.full_name] = value
    return parameter.children.get(value, ()) if parameter.kind == "categorical" else ()


def _with_zeros(parameter: Parameter, value: Any) -> Any:
    """Return weights that sum to 1 with 0 for those that there were not."""
    if not parameter.weights or not isinstance(value, Mapping) or not set(value) <= set(parameter.weights):
        return value
    return {name: value.get(name, 0.0) for name in parameter.weights}
