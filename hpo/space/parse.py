"""Reading of `search_space`: from plain data to Parameters, with a sentence for each mistake."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hpo.errors import KeyPath, Problem, SpecError, dotted
from hpo.space.other_tools import declaration, inline
from hpo.space.parameter import Parameter, finite, nested_under, text_of
from hpo.text import Scalar, count, label, listing, nearest, quote, show

Locate = Callable[[KeyPath, str], Problem]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_RANGE = ("low", "high", "step", "log")
_KEYS = (*_RANGE, "choices", "simplex", "structural", "was")
_FORMS = "{low: ..., high: ...}, {choices: [...]}, {simplex: [...]} or one value"
# Optuna keeps every number as a double: beyond this it cannot tell integers apart.
_LARGEST = 2**53
# Beyond this many steps the rounding of doubles moves a value off its step.
_MOST_STEPS = 10**6


def parse(data: object, locate: Locate | None = None) -> tuple[Parameter, ...]:
    """Return the parameters that plain data declares; see SearchSpace.parse."""
    parser = _Parser(locate or (lambda path, message: Problem("search_space", None, dotted(path), message)))
    parameters: tuple[Parameter, ...] = ()
    if isinstance(data, Mapping) and data:
        parameters = parser.group(data, ())
        parser.shared_names(parameters)
    else:
        parser.say((), f"{quote(data)} holds no parameters; expected name: {_FORMS}")
    if parser.problems:
        raise SpecError(parser.problems)
    return parameters


def _is_list(choice: Any) -> bool:
    """Return True for a list of scalars, or of such lists."""
    return isinstance(choice, list) and all(map(_may_be_listed, choice))


def _may_be_listed(value: Any) -> bool:
    if isinstance(value, (int, float)):
        return finite(value)
    return value is None or isinstance(value, str) or _is_list(value)


class _Parser:
    def __init__(self, locate: Locate) -> None:
        self.locate = locate
        self.problems: list[Problem] = []

    def say(self, path: KeyPath, message: str) -> None:
        self.problems.append(self.locate(path, message))

    def group(self, data: Mapping[Any, Any], path: KeyPath) -> tuple[Parameter, ...]:
        """Return the parameters of one mapping name -> declaration; those with mistakes are left out."""
        found = []
        for name, declared in data.items():
            here = (*path, name)
            if not isinstance(name, str) or not _NAME.match(name):
                self.say(here, f"{quote(name)} is not a parameter's name; expected letters, digits, _ and -")
                continue
            parameter = self.parameter(name, declared, here)
            if parameter is not None:
                found.append(parameter)
        return tuple(found)

    def parameter(self, name: str, declared: Any, path: KeyPath) -> Parameter | None:
        if isinstance(declared, list):
            hint = f"Did you mean {{choices: {show(declared)}}}?"
            self.say(path, f"a list is not a parameter; expected {_FORMS}. {hint}")
            return None
        if not isinstance(declared, Mapping):
            return Parameter(name, "fixed", value=declared) if self.scalar(declared, path) else None
        before = len(self.problems)
        meant = None if declared.keys() <= set(_KEYS) else declaration(declared)
        if meant is not None:
            said = f"{quote(declared)} has words of another tool; expected {inline({name: meant})}"
            self.say(path, said)
            return None
        for key in declared:
            if key not in _KEYS:
                self.say((*path, key), f"is not a key of a parameter; expected {listing(_KEYS)}.{nearest(key, _KEYS)}")
        structural = self.flag(declared, "structural", path)
        forms = [form for form in ("choices", "simplex") if form in declared]
        if any(key in declared for key in _RANGE):
            forms.insert(0, "low/high")
        if len(forms) != 1:
            if forms or len(self.problems) == before:
                said = f"{' and '.join(forms)} do not go together" if forms else "declares nothing"
                self.say(path, f"'{name}' {said}; expected {_FORMS}")
            return None
        if forms[0] == "choices":
            found = self.categorical(name, declared["choices"], structural, path)
        elif forms[0] == "simplex":
            found = self.simplex(name, declared["simplex"], structural, path)
        else:
            found = self.range(name, declared, structural, path, misspelled=len(self.problems) > before)
        return found if found is None or "was" not in declared else self.with_value_before(found, declared, path)

    def with_value_before(self, parameter: Parameter, declared: Mapping[Any, Any], path: KeyPath) -> Parameter | None:
        """Return a parameter with the value that trials had before it was searched (see `hpo grow`)."""
        try:
            return replace(parameter, was=(parameter.validate(declared["was"]),))
        except ValueError as error:
            self.say((*path, "was"), str(error))
            return None

    def flag(self, declared: Mapping[Any, Any], key: str, path: KeyPath) -> bool:
        value = declared.get(key, False)
        if isinstance(value, bool):
            return value
        self.say((*path, key), f"{quote(value)} is not true or false")
        return False

    def scalar(self, value: Any, path: KeyPath) -> bool:
        if isinstance(value, (int, float)) and not finite(value):
            self.say(path, f"{value} is not finite; expected a number, text, true, false or null")
            return False
        if value is None or isinstance(value, (str, int, float)):
            return True
        self.say(
            path,
            f"{quote(value)} is a {'list' if isinstance(value, list) else 'mapping'}; a choice is a number, text, or a "
            "list of them. "
            "Give each a name and its values below it, {small: {depth: 2}, large: {depth: 4}}",
        )
        return False

    def categorical(self, name: str, choices: Any, structural: bool, path: KeyPath) -> Parameter | None:
        path = (*path, "choices")
        if not isinstance(choices, (list, Mapping)) or not choices:
            self.say(path, f"{quote(choices)} offers no choice; expected a list, or a mapping choice: its parameters")
            return None
        accepted: list[Scalar] = []
        known: dict[tuple[str, Scalar], Scalar] = {}  # by value, and by how they are written
        children: dict[Scalar, tuple[Parameter, ...]] = {}
        lists: dict[Scalar, list[Any]] = {}
        for index, choice in enumerate(choices):
            here = (*path, index if isinstance(choices, list) else choice)
            if _is_list(choice):
                lists[text_of(choice)] = choice
                choice = text_of(choice)
            if not self.scalar(choice, here):
                continue
            keys = (("value", choice), ("label", label(choice)))
            if twins := [known[key] for key in keys if key in known]:
                self.say(here, f"the choice {show(choice)} is given twice, first as {twins[0]!r}; keep one of them")
                continue
            known |= dict.fromkeys(keys, choice)
            accepted.append(choice)
            if isinstance(choices, Mapping):
                children[choice] = self.below(choices[choice], here)
        parameter = Parameter(name, "categorical", choices=tuple(accepted), lists=lists, structural=structural)
        if not any(children.values()):
            return parameter
        nested = {
            choice: tuple(nested_under(child, parameter, choice) for child in group)
            for choice, group in children.items()
        }
        return Parameter(name, "categorical", choices=tuple(accepted), structural=structural, children=nested)

    def below(self, declared: Any, path: KeyPath) -> tuple[Parameter, ...]:
        """Return the parameters of one choice; nothing at all (null) means none."""
        if declared is None:
            return ()
        if isinstance(declared, Mapping):
            return self.group(declared, path)
        self.say(path, f"{quote(declared)} is not what a choice holds; expected its parameters, or {{}} for none")
        return ()

    def simplex(self, name: str, weights: Any, structural: bool, path: KeyPath) -> Parameter | None:
        if isinstance(weights, Mapping):
            return self.fixed_weights(name, weights, structural, path)
        path = (*path, "simplex")
        if not isinstance(weights, list) or not all(isinstance(w, str) and _NAME.match(w) for w in weights):
            self.say(path, f"{quote(weights)} does not name weights; expected a list of names, such as [bce, dice]")
            return None
        if len(weights) < 2:
            self.say(path, f"{count(len(weights), 'weight')}; expected at least two, which sum to 1")
            return None
        twice = sorted({weight for weight in weights if weights.count(weight) > 1})
        if twice:
            self.say(path, f"the weight {listing(twice)} is given twice; keep one of them")
            return None
        return Parameter(name, "simplex", low=0.0, high=1.0, choices=tuple(weights), structural=structural)

    def fixed_weights(self, name: str, weights: Mapping[Any, Any], structural: bool, path: KeyPath) -> Parameter | None:
        names = self.simplex(name, list(weights), structural, path)
        if names is None:
            return None
        try:
            names.validate(weights)
        except ValueError as error:
            self.say((*path, "simplex"), str(error))
            return None
        return Parameter(name, "fixed", value=dict(weights), structural=structural)

    def range(
        self, name: str, declared: Mapping[Any, Any], structural: bool, path: KeyPath, misspelled: bool
    ) -> Parameter | None:
        if misspelled and not {"low", "high"} <= declared.keys():
            return None  # the unknown key is most likely the one that is missing
        before = len(self.problems)
        log = self.flag(declared, "log", path)
        numbers = {key: self.number(declared, key, path) for key in ("low", "high", "step")}
        low, high, step = numbers["low"], numbers["high"], numbers["step"]
        if len(self.problems) > before or low is None or high is None:
            return None
        kind = "int" if all(isinstance(number, int) for number in (low, high, step) if number is not None) else "float"
        if low >= high:
            same_value = f"write '{name}: {show(low)}' for a fixed value" if low == high else "exchange them"
            self.say((*path, "low"), f"low is {low}, high is {high}; expected low below high, or {same_value}")
        elif not math.isfinite(float(high) - float(low)):
            self.say((*path, "high"), f"low is {low}, high is {high}: too far apart for a number of Optuna")
        elif log and low <= 0:
            self.say((*path, "low"), f"low is {low}; expected more than 0, for log is true (0 has no logarithm)")
        elif log and step is not None:
            self.say(
                (*path, "step"), "step and log do not go together; keep one of them, or list the values as choices"
            )
        elif step is not None:
            self.steps(low, high, step, path)
        if len(self.problems) > before:
            return None
        if kind == "int":
            low, high, step = int(low), int(high), int(step or 1)
            return Parameter(name, "int", low=low, high=high, step=step, log=log, structural=structural)
        return Parameter(
            name,
            "float",
            low=float(low),
            high=float(high),
            step=None if step is None else float(step),
            log=log,
            structural=structural,
        )

    def number(self, declared: Mapping[Any, Any], key: str, path: KeyPath) -> int | float | None:
        value = declared.get(key)
        if value is None:
            if key != "step" or "step" in declared:
                have = ", ".join(f"{k}: {show(declared[k])}" for k in _RANGE if k in declared)
                where = (*path, key) if key in declared else path
                self.say(where, f"{key} is missing beside {have}; expected a number")
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not finite(value):
            self.say((*path, key), f"{key} is {quote(value)}; expected a finite number")
            return None
        if isinstance(value, int) and abs(value) > _LARGEST:
            self.say((*path, key), f"{key} is {quote(value)}; expected an integer of at most 2**53 in size, or a float")
            return None
        return value

    def steps(self, low: float, high: float, step: float, path: KeyPath) -> None:
        path = (*path, "step")
        if step <= 0:
            self.say(path, f"step is {step}; expected a number above 0")
            return
        low_, high_, step_ = Decimal(str(low)), Decimal(str(high)), Decimal(str(step))
        whole = (high_ - low_) / step_
        if isinstance(low + high + step, int) and step > 1 and high - low > _LARGEST:
            self.say(
                path, f"step is {step}, in a range of more than 2**53 integers, in which Optuna cannot count steps"
            )
        elif isinstance(low + high + step, float) and max(whole, abs(low_) / step_) > _MOST_STEPS:
            most = f"expected at most {_MOST_STEPS} steps, or none"
            self.say(path, f"step is {step}, too fine for {low} to {high}; {most}")
        elif step_ > high_ - low_:
            self.say(path, f"step is {step}, more than high - low = {high_ - low_}; expected a step that divides it")
        elif whole != whole.to_integral_value():
            reached = low_ + int(whole) * step_
            self.say(
                path,
                f"step is {step}, which does not divide high - low = {high_ - low_}; "
                f"expected high to be {reached} or {reached + step_}, or another step",
            )

    def shared_names(self, group: tuple[Parameter, ...]) -> dict[str, Parameter]:
        """Refuse parameters of one name that can be active together; return all names of the group."""
        names: dict[str, Parameter] = {}
        for parameter in group:
            below: dict[str, Parameter] = {}
            for children in parameter.children.values():
                below.update(self.shared_names(children))
            if parameter.name in below:
                self.clash(below.pop(parameter.name), parameter)
            for name, one in ((parameter.name, parameter), *below.items()):
                if name in names:
                    self.clash(one, names[name])
                else:
                    names[name] = one
        return names

    def clash(self, one: Parameter, other: Parameter) -> None:
        path = tuple(part for name, choice in one.condition for part in (name, "choices", choice))
        where = f"where {other.condition_text}" if other.condition else "in every trial"
        self.say((*path, one.name), f"'{one.name}' is also a parameter {where}: a trial could have both; rename one")
