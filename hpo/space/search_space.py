"""The parameters that study.yaml declares, and their way to Optuna and back.

A parameter has two names. The objective sees `gamma`, in one flat dict of the active parameters. Optuna sees
`loss.focal.gamma`, which says to which choice it belongs. Weights that sum to 1 (`simplex`) are k - 1 uniform numbers
in
Optuna (`weights.0`, ...) and a dict for the objective. A fixed parameter is not in Optuna at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hpo.space.parameter import Parameter, break_stick, join_stick
from hpo.space.parse import Locate, parse
from hpo.space.scale import at_part
from hpo.text import nearest

if TYPE_CHECKING:
    import optuna


# Optuna's names of the active parameters, each with the index of its value, or the value of one that has any number.
Cell = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class SearchSpace:
    """The declared parameters in their order. Immutable."""

    parameters: tuple[Parameter, ...]

    @classmethod
    def parse(cls, data: object, locate: Locate | None = None) -> SearchSpace:
        """Return the space that plain data declares.

        Args:
            data: the `search_space` of the YAML, with families merged.
            locate: makes the Problem for a path (keys from `search_space` down) and a message; without it problems
                carry no
                file.

        Raises:
            SpecError: with all mistakes.
        """
        return cls(parse(data, locate))

    def walk(self) -> Iterator[Parameter]:
        """Yield all parameters, a conditional one right after the one it depends on."""
        return _walk(self.parameters)

    def find(self, name: str) -> list[Parameter]:
        """Return the parameters of a name, the objective's or Optuna's; choices may share a name."""
        return [parameter for parameter in self.walk() if name in (parameter.name, parameter.full_name)]

    def always_active(self) -> frozenset[str]:
        """Return the names that the objective's parameters have in every trial."""
        return _always(self.parameters)

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """Draw every active parameter by `trial.suggest_*`; return them as the objective sees them."""
        return _collect(self.parameters, lambda parameter: _suggest(trial, parameter))

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return Optuna's distributions by Optuna's names, also those of conditional parameters."""
        from optuna.trial import FixedTrial

        found: dict[str, optuna.distributions.BaseDistribution] = {}
        for parameter in self.walk():
            if parameter.kind != "fixed":
                first = 0.5 if parameter.kind == "simplex" else next(iter(parameter.choices), parameter.low)
                lowest = FixedTrial(dict.fromkeys(parameter.optuna_names, first))
                _suggest(lowest, parameter)
                found |= lowest.distributions
        return found

    def resolve(self, optuna_params: Mapping[str, Any]) -> dict[str, Any]:
        """Return Optuna's parameters of a trial as the objective sees them, as `suggest` does.

        A parameter that is not there, for the trial still waits, is left out.
        """
        return _collect(
            self.parameters,
            lambda parameter: [optuna_params[n] for n in parameter.optuna_names if n in optuna_params],
        )

    @property
    def lists(self) -> dict[str, Mapping[Any, list[Any]]]:
        """The lists that the objective gets, by parameter and by the text that stands for each."""
        return {parameter.name: parameter.lists for parameter in self.walk() if parameter.lists}

    def to_optuna(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters that a user gave as Optuna's.

        Those not given are left out, for the sampler to choose. A conditional one needs the choice to which it belongs.

        Args:
            params: by the objective's or Optuna's names.

        Raises:
            ValueError: with a sentence for each that does not fit.
        """
        result, problems = self.translate(params)
        if problems:
            raise ValueError("; ".join(f"{name}: {message}" for name, message in problems))
        return result

    def translate(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Return what `to_optuna` returns, and (name given, sentence) pairs in place of an exception."""
        result: dict[str, Any] = {}
        problems: list[tuple[str, str]] = []
        used: set[Any] = set()

        def visit(parameters: tuple[Parameter, ...]) -> None:
            for parameter in parameters:
                keys = [key for key in dict.fromkeys((parameter.full_name, parameter.name)) if key in params]
                used.update(keys)
                if not keys:
                    continue
                if len(keys) == 2:
                    problems.append((keys[1], f"given twice, as '{keys[0]}' too; keep one of them"))
                try:
                    value = parameter.validate(params[keys[0]])
                except ValueError as error:
                    problems.append((keys[0], str(error)))
                    # What depends on a wrong choice is not a second mistake.
                    for child in _walk(_all_children(parameter)):
                        used.update((child.name, child.full_name))
                    continue
                if parameter.kind == "simplex":
                    result.update(zip(parameter.optuna_names, join_stick(list(value.values())), strict=True))
                elif parameter.kind != "fixed":
                    result[parameter.full_name] = value
                visit(parameter.children.get(value, ()) if parameter.kind == "categorical" else ())

        visit(self.parameters)
        known = {name for parameter in self.walk() for name in (parameter.name, parameter.full_name)}
        for name in params:
            if name in used:
                continue
            homes = self.find(name)
            if homes:
                where = " or ".join(home.condition_text for home in homes)
                problems.append((str(name), f"is a parameter only where {where}; give that too, or leave this out"))
            else:
                problems.append((str(name), f"is not a parameter of search_space.{nearest(name, sorted(known))}"))
        return result, problems

    def grid_problems(self) -> list[str]:
        """Return a sentence for each parameter for which the space cannot be enumerated."""
        return [message for _, message in self.not_enumerable()]

    def not_enumerable(self) -> list[tuple[Parameter, str]]:
        """Return the parameters with infinitely many values, each with the sentence that says so."""
        return [
            (
                parameter,
                f"'{parameter.full_name}' are weights, which a grid cannot enumerate; use another sampler"
                if parameter.kind == "simplex"
                else f"'{parameter.full_name}' is any number from {parameter.low} to {parameter.high}, which a grid "
                "cannot enumerate; give it a step or choices, or use another sampler",
            )
            for parameter in self.walk()
            if parameter.count is None
        ]

    def grid_size(self, fixed: Mapping[str, Any] | None = None) -> int | None:
        """Return the number of cells of `grid`; None if the space cannot be enumerated.

        Args:
            fixed: choices by Optuna's names; only cells that have them are counted.
        """
        return None if self.not_enumerable() else _size(self.parameters, fixed or {})

    def grid(self, fixed: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Return every cell once, as Optuna's parameters, the last parameter varying fastest.

        Conditional parameters are in those cells only in which they are active.

        Args:
            fixed: values by Optuna's names; only cells that have them are returned.

        Raises:
            ValueError: the space cannot be enumerated.
        """
        if problems := self.grid_problems():
            raise ValueError("; ".join(problems))
        return _cells(self.parameters, fixed or {})

    def cell_of(self, optuna_params: Mapping[str, Any]) -> Cell | None:
        """Return what tells a configuration from others; None if an active parameter is missing.

        Values that rounding has moved off their step, or JSON from 8 to 8.0, make no other configuration.
        """
        found: list[tuple[str, Any]] = []
        waiting = list(self.parameters)
        while waiting:
            parameter = waiting.pop()
            for name in parameter.optuna_names:
                if name not in optuna_params:
                    return None
                value = optuna_params[name]
                index = value if parameter.count is None else parameter.index_of(value)
                found.append((name, index))
                if parameter.kind == "categorical" and index is not None:
                    waiting += parameter.children.get(parameter.choices[index], ())
        return tuple(found)

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """Return one uniform draw as Optuna's parameters, for a look at the space without a study."""
        return self.assemble(lambda _, draw: draw(), rng)

    def assemble(self, value_of: Callable[[str, Callable[[], Any]], Any], rng: random.Random) -> dict[str, Any]:
        """Return one configuration as Optuna's parameters.

        Args:
            value_of: returns the value of an active parameter, given its name and a function that draws it uniformly.
            rng: the generator of those draws.
        """
        result: dict[str, Any] = {}

        def visit(parameters: tuple[Parameter, ...]) -> None:
            for parameter in parameters:
                for name in parameter.optuna_names:
                    result[name] = value_of(name, partial(_draw, parameter, rng))
                if parameter.kind == "categorical":
                    visit(parameter.children.get(result[parameter.full_name], ()))

        visit(self.parameters)
        return result

    def data(self) -> dict[str, Any]:
        """Return plain data that `parse` reads back."""
        return {parameter.name: _data(parameter) for parameter in self.parameters}


def _walk(parameters: Sequence[Parameter]) -> Iterator[Parameter]:
    for parameter in parameters:
        yield parameter
        yield from _walk(_all_children(parameter))


def _all_children(parameter: Parameter) -> list[Parameter]:
    return [child for group in parameter.children.values() for child in group]


def _always(parameters: Sequence[Parameter]) -> frozenset[str]:
    names: frozenset[str] = frozenset()
    for parameter in parameters:
        names |= {parameter.name}
        branches = [_always(parameter.children.get(choice, ())) for choice in parameter.choices]
        if parameter.kind == "categorical" and branches:
            names |= frozenset.intersection(*branches)
    return names


def _collect(parameters: Sequence[Parameter], values_of: Any) -> dict[str, Any]:
    """Return the objective's parameters, given a function from a parameter to its Optuna values."""
    result: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind == "fixed":
            result[parameter.name] = parameter.value
            continue
        values = values_of(parameter)
        if len(values) < len(parameter.optuna_names):
            continue
        if parameter.kind == "simplex":
            result[parameter.name] = dict(zip(map(str, parameter.choices), break_stick(values), strict=True))
        else:
            value = result[parameter.name] = parameter.from_optuna(values[0])
            if parameter.kind == "categorical":
                result.update(_collect(parameter.children.get(value, ()), values_of))
    return result


def _suggest(trial: optuna.trial.BaseTrial, parameter: Parameter) -> list[Any]:
    name = parameter.full_name
    if parameter.kind == "simplex":
        return [trial.suggest_float(each, 0.0, 1.0) for each in parameter.optuna_names]
    if parameter.kind == "categorical":
        return [trial.suggest_categorical(name, parameter.choices)]
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return [trial.suggest_int(name, int(parameter.low), int(parameter.high), step=step, log=parameter.log)]
    return [trial.suggest_float(name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)]


def _draw(parameter: Parameter, rng: random.Random) -> Any:
    if parameter.kind == "simplex":
        return rng.random()
    if parameter.kind == "categorical":
        return rng.choice(parameter.choices)
    low, high = parameter.low, parameter.high
    if parameter.log:
        # An integer owns the half unit on either side of it, as in Optuna.
        half = 0.5 if parameter.kind == "int" else 0.0
        value = at_part(rng.random(), low - half, high + half, log=True)
        return min(max(round(value) if parameter.kind == "int" else value, low), high)
    if parameter.count is not None:
        return parameter.value_at(rng.randrange(parameter.count))
    return rng.uniform(low, high)


def _size(parameters: Sequence[Parameter], fixed: Mapping[str, Any]) -> int:
    total = 1
    for parameter in parameters:
        if parameter.kind == "categorical":
            choices = [fixed[parameter.full_name]] if parameter.full_name in fixed else parameter.choices
            total *= sum(_size(parameter.children.get(choice, ()), fixed) for choice in choices)
        else:
            total *= parameter.count or 1
    return total


def _cells(parameters: Sequence[Parameter], fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if not parameters:
        yield {}
        return
    for option in _options(parameters[0], fixed):
        for rest in _cells(parameters[1:], fixed):
            yield option | rest


def _options(parameter: Parameter, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    name = parameter.full_name
    if parameter.kind == "fixed":
        yield {}
        return
    indices: Iterable[int | None] = range(parameter.count or 0)
    if name in fixed:
        indices = [parameter.index_of(fixed[name])]
    for index in indices:
        if index is None:
            continue
        if parameter.kind == "categorical":
            choice = parameter.choices[index]
            for cell in _cells(parameter.children.get(choice, ()), fixed):
                yield {name: choice, **cell}
        else:
            yield {name: parameter.value_at(index)}


def _data(parameter: Parameter) -> Any:
    if parameter.kind == "fixed":
        return {"simplex": dict(parameter.value)} if isinstance(parameter.value, Mapping) else parameter.value
    data: dict[str, Any]
    if parameter.kind == "simplex":
        data = {"simplex": list(parameter.choices)}
    elif parameter.kind == "categorical" and any(parameter.children.values()):
        children = {c: {p.name: _data(p) for p in parameter.children.get(c, ())} for c in parameter.choices}
        data = {"choices": children}
    elif parameter.kind == "categorical":
        data = {"choices": [parameter.lists.get(choice, choice) for choice in parameter.choices]}
    else:
        data = {"low": parameter.low, "high": parameter.high}
        if parameter.step is not None and not (parameter.kind == "int" and parameter.step == 1):
            data["step"] = parameter.step
        if parameter.log:
            data["log"] = True
    return data | ({"structural": True} if parameter.structural else {})
