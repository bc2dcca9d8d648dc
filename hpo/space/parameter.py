"""One declared parameter, and the values that it takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from hpo.text import Scalar, label, nearest, quote, show
from hpo.translation.catalogue import tr

Kind = Literal["float", "int", "categorical", "simplex", "fixed"]


def same_choice(a: Any, b: Any) -> bool:
    """Return True if two scalars are one choice: 8 and 8.0 are, 1 and True are not."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def text_of(choice: Sequence[Any]) -> str:
    """Return the text that stands for a choice that is a list: `[64, 32]`."""
    return json.dumps(list(choice), ensure_ascii=False)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a search space.

    Attributes:
        name: the objective's.
        kind: float, int, categorical, simplex (weights that sum to 1) or fixed.
        full_name: Optuna's.
        low: lower bound of a float or int, included.
        high: upper bound of a float or int, included.
        step: distance of two values; None: any float.
        log: sampled uniformly in the logarithm.
        choices: values of a categorical, names of the weights of a simplex.
        children: parameters that a choice brings along.
        value: that of a fixed one; a mapping of fixed weights.
        lists: the list that the objective gets for a choice that is its text, for Optuna's choices are scalars.
        structural: it shapes the model (how it is compiled, packed and grouped).
        condition: (name, choice) pairs under which it is active.
        was: the value that trials had before it was searched (`hpo grow`); empty if none is given.
    """

    name: str
    kind: Kind
    full_name: str = ""
    low: float | int = 0
    high: float | int = 0
    step: float | int | None = None
    log: bool = False
    choices: tuple[Scalar, ...] = ()
    children: Mapping[Scalar, tuple[Parameter, ...]] = field(default_factory=dict)
    value: Scalar | Mapping[str, float] = None
    lists: Mapping[Scalar, list[Any]] = field(default_factory=dict)
    structural: bool = False
    condition: tuple[tuple[str, Scalar], ...] = ()
    was: tuple[Any, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.full_name:
            object.__setattr__(self, "full_name", self.name)

    @property
    def optuna_names(self) -> tuple[str, ...]:
        """Its names in Optuna: none for a fixed parameter, k - 1 for a simplex of k weights."""
        if self.kind == "simplex":
            return tuple(f"{self.full_name}.{i}" for i in range(len(self.choices) - 1))
        return () if self.kind == "fixed" else (self.full_name,)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of its weights that sum to 1, searched or fixed; none of other parameters."""
        if self.kind == "simplex":
            return tuple(map(str, self.choices))
        return tuple(self.value) if isinstance(self.value, Mapping) else ()

    @property
    def distribution(self) -> str:
        """Its values in words: `1e-4 to 0.005, log`, `8 | 16 | 32`."""
        if self.kind == "fixed":
            if isinstance(self.value, Mapping):
                return tr("always {value}", value=", ".join(f"{k} {weight:.4g}" for k, weight in self.value.items()))
            return tr("always {value}", value=show(self.value))
        if self.kind == "simplex":
            return " + ".join(str(choice) for choice in self.choices) + " = 1"
        if self.kind == "categorical":
            return " | ".join(show(choice) for choice in self.choices)
        texts = [tr("{low} to {high}", low=show(self.low), high=show(self.high))]
        if self.step not in (None, 1):
            texts.append(tr("step {step}", step=show(self.step)))
        return tr(", ").join([*texts, tr("log")] if self.log else texts)

    @property
    def condition_text(self) -> str:
        """Its condition in words: `loss = focal`."""
        return tr(" and ").join(f"{name} = {show(choice)}" for name, choice in self.condition)

    @property
    def count(self) -> int | None:
        """The number of values it can take, without those of children; None if it is infinite."""
        if self.kind in ("fixed", "categorical"):
            return max(1, len(self.choices))
        if self.kind == "simplex" or self.step is None:
            return None
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(self.step))) + 1

    def value_at(self, index: int) -> float | int:
        """Return the value at `index` of a stepped range, without the rounding errors of repeated addition."""
        if self.kind == "int":
            return int(self.low + index * int(self.step or 1))
        return float(Decimal(str(self.low)) + index * Decimal(str(self.step)))

    def index_of(self, value: Any) -> int | None:
        """Return the index of one of the `count` values; None if it is no choice of a categorical.

        0.3 and the 0.30000000000000004 that steps of 0.1 lead to have one index, and so have 8 and 8.0.
        """
        if self.kind == "categorical":
            return next((index for index, choice in enumerate(self.choices) if same_choice(choice, value)), None)
        if self.kind == "int":
            return int(value - self.low) // int(self.step or 1)
        return round(float(value - self.low) / (self.step or 1))

    def from_optuna(self, value: Any) -> Any:
        """Return Optuna's value as the objective gets it: 0.3 for the 0.30000000000000004 of a step 0.1."""
        if self.kind == "float" and self.step is not None:
            return self.value_at(round((value - self.low) / self.step))
        return value

    def validate(self, given: Any) -> Any:
        """Return a value that a user gave as a value of this parameter.

        Raises:
            ValueError: it is none; the message is a sentence.
        """
        if self.kind == "categorical":
            given = text_of(given) if isinstance(given, (list, tuple)) else given
            for choice in self.choices:
                if same_choice(choice, given):
                    return choice
            hint = nearest(given, self.choices)
            raise ValueError(f"{quote(given)} is not a choice; expected {self.distribution}.{hint}")
        if self.kind == "fixed":
            if same_choice(self.value, given):
                return self.value
            raise ValueError(f"{quote(given)} cannot be set; search_space fixes it to {show(self.value)}")
        if self.kind == "simplex":
            return self._validate_weights(given)
        whole = self.kind == "int"
        kind = "an integer" if whole else "a number"
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not finite(given):
            raise ValueError(f"{quote(given)} is not {kind}; expected {self.distribution}")
        if whole and given != int(given):
            raise ValueError(f"{quote(given)} is not {kind}; expected {self.distribution}")
        if not self.low <= given <= self.high:
            raise ValueError(f"{quote(given)} is out of range; expected {self.distribution}")
        value = int(given) if whole else float(given)
        if self.step is None:
            return value
        on_step = self.value_at(round((value - self.low) / self.step))
        if abs(on_step - value) > 1e-8 * self.step:
            raise ValueError(f"{quote(given)} is not on a step; expected {self.distribution}, such as {show(on_step)}")
        return on_step

    def _validate_weights(self, given: Any) -> dict[str, float]:
        names = [str(choice) for choice in self.choices]
        expected = f"expected the weights {', '.join(names)}, each at least 0, that sum to 1"
        if not isinstance(given, Mapping) or set(given) != set(names):
            raise ValueError(f"{quote(given)} is not a set of weights; {expected}")
        for weight in given.values():
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1 + 1e-6:
                raise ValueError(f"{quote(weight)} is not a weight; {expected}")
        total = math.fsum(given.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the weights sum to {total:g}; {expected}")
        return {name: given[name] / total for name in names}


def break_stick(uniform: Sequence[float]) -> list[float]:
    """Return k weights, uniform on the simplex, from k - 1 independent uniform numbers in [0, 1].

    Weight i takes the part v = 1 - (1 - u)^(1 / (k - 1 - i)) of the stick that is left. v is Beta(1, k - 1 - i)
    distributed
    (Devroye 1986, Non-Uniform Random Variate Generation, V.3).
    """
    left, weights = 1.0, []
    for i, u in enumerate(uniform):
        kept = (1.0 - u) ** (1.0 / (len(uniform) - i))
        weights.append(left * (1.0 - kept))
        left *= kept
    return [*weights, left]


def join_stick(weights: Sequence[float]) -> list[float]:
    """Return the numbers of which `break_stick` makes `weights`; 0 for one that no weight depends on."""
    uniform = []
    for i in range(len(weights) - 1):
        # Summed from the tail rather than 1 minus the head, so that small weights keep their digits.
        left, after = math.fsum(weights[i:]), math.fsum(weights[i + 1 :])
        uniform.append(1.0 - (after / left) ** (len(weights) - 1 - i) if left > 0 else 0.0)
    return uniform


def finite(number: float) -> bool:
    """Return True if a number is neither infinite nor NaN; unlike math.isfinite, also of very large integers."""
    return isinstance(number, int) or math.isfinite(number)


def nested_under(parameter: Parameter, parent: Parameter, choice: Scalar) -> Parameter:
    """Return `parameter`, with its children, as one that is active where `parent` takes `choice`."""
    return replace(
        parameter,
        full_name=f"{parent.name}.{label(choice)}.{parameter.full_name}",
        condition=((parent.name, choice), *parameter.condition),
        children={
            key: tuple(nested_under(c, parent, choice) for c in group) for key, group in parameter.children.items()
        },
    )
