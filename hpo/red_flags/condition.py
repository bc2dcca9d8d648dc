"""What the conditions of study.yaml mean, such as `train_recall == 0 and epoch >= 4`: numbers and truths, compiled from
text by `hpo.red_flags.condition_parser`.

Evaluation never raises, and reaches nothing but the numbers that are handed in. What was not reported in this epoch is
unknown, and so is a division by zero; truths follow Kleene's three-valued logic. No comparison with NaN holds, not even
`!=`: ask `finite(x)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hpo.curves import predicates

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b and not (math.isnan(a) or math.isnan(b)),
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


@dataclass(frozen=True)
class Scope:
    """What an expression can see in an epoch. values: by name. series: of each metric reported in this epoch, its
    values so far, this epoch's the last. epochs: of each of these series, where they were reported."""

    values: Mapping[str, float]
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    epochs: Mapping[str, Sequence[int]] = field(default_factory=dict)


# --- what a text is compiled to: numbers (float, None where unknown) and truths (bool, None where unknown)


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Negative:
    of: Numeric


@dataclass(frozen=True)
class Chain:
    """Numbers joined by `+` and `-`, or by `*` and `/`, from the left."""

    first: Numeric
    rest: tuple[tuple[str, Numeric], ...]


@dataclass(frozen=True)
class Call:
    function: str
    name: str
    arguments: tuple[Numeric, ...] = ()


@dataclass(frozen=True)
class Absolute:
    of: Numeric


@dataclass(frozen=True)
class Compared:
    first: Numeric
    rest: tuple[tuple[str, Numeric], ...]


@dataclass(frozen=True)
class Asked:
    """A function that gives a truth."""

    function: str
    name: str
    arguments: tuple[Numeric, ...] = ()


@dataclass(frozen=True)
class Not:
    of: Truth


@dataclass(frozen=True)
class Joined:
    """All (`and`) or any (`or`) of several truths."""

    word: str
    parts: tuple[Truth, ...]


Numeric = Number | Name | Negative | Chain | Call | Absolute
Truth = Compared | Asked | Not | Joined


@dataclass(frozen=True)
class Function:
    """Of a metric over the epochs so far. extra: how many numbers follow the metric at least, and at most. truth: it
    gives one, not a number."""

    meaning: str
    extra: tuple[int, int] = (0, 0)
    truth: bool = False


FUNCTIONS = {
    "first": Function("first(x): the first value of x"),
    "previous": Function("previous(x): the value before this epoch's"),
    "at": Function("at(x, n): the value in epoch n", (1, 1)),
    "min": Function("min(x), min(x, k): the least finite value so far, or of the last k", (0, 1)),
    "max": Function("max(x), max(x, k): the largest finite value so far, or of the last k", (0, 1)),
    "mean": Function("mean(x), mean(x, k): the mean of the finite values so far, or of the last k", (0, 1)),
    "finite": Function("finite(x): whether x is neither NaN nor infinite", truth=True),
    "rising": Function(
        "rising(x, k): whether x rose in each of the last k epochs, in all by more than twice its noise", (1, 1), True
    ),
    "abs": Function("abs(number): without its sign"),
}


@dataclass(frozen=True)
class Expression:
    """A condition: `text` as written, and `names`, in the order in which they first appear."""

    text: str
    names: tuple[str, ...]
    root: Truth

    def holds(self, scope: Scope) -> bool | None:
        """Whether it does; None where that cannot be known."""
        return _truth(self.root, scope)


# --- evaluation


def _truth(node: Truth, scope: Scope) -> bool | None:
    if isinstance(node, Joined):
        found = [_truth(part, scope) for part in node.parts]
        settles = node.word == "or"
        if settles in found:
            return settles
        return None if None in found else not settles
    if isinstance(node, Not):
        inner = _truth(node.of, scope)
        return None if inner is None else not inner
    if isinstance(node, Asked):
        return _asked(node, scope)
    left = _number(node.first, scope)
    unknown = left is None
    for sign, operand in node.rest:
        right = _number(operand, scope)
        if left is None or right is None:
            unknown = True
        elif not COMPARISONS[sign](left, right):
            return False
        left = right
    return None if unknown else True


def _asked(node: Asked, scope: Scope) -> bool | None:
    if node.function == "finite":
        value = scope.values.get(node.name)
        return None if value is None else math.isfinite(value)
    values, count = scope.series.get(node.name), _count(node.arguments[0], scope)
    if values is None or count is None:
        return None
    return predicates.rising(values, count) is not None


def _number(node: Numeric, scope: Scope) -> float | None:
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Name):
        return scope.values.get(node.name)
    if isinstance(node, Call):
        return _call(node, scope)
    if isinstance(node, Chain):
        found = _number(node.first, scope)
        for sign, operand in node.rest:
            value = _number(operand, scope)
            if found is None or value is None or (sign == "/" and value == 0):
                return None
            found = _CALCULATED[sign](found, value)
        return found
    value = _number(node.of, scope)
    if value is None:
        return None
    return -value if isinstance(node, Negative) else abs(value)


_CALCULATED: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def _call(node: Call, scope: Scope) -> float | None:
    values = scope.series.get(node.name)
    if not values:
        return None
    if node.function == "first":
        return values[0]
    if node.function == "previous":
        return values[-2] if len(values) > 1 else None
    if node.function == "at":
        epoch = _number(node.arguments[0], scope)
        where = scope.epochs.get(node.name, ())
        return next((value for at, value in zip(where, values, strict=False) if at == epoch), None)
    last = values
    if node.arguments:
        count = _count(node.arguments[0], scope)
        if count is None or count < 1:
            return None
        last = values[-count:]
    known = [value for value in last if math.isfinite(value)]
    if not known:
        return None
    if node.function == "mean":
        return sum(value / len(known) for value in known)
    return min(known) if node.function == "min" else max(known)


def _count(node: Numeric, scope: Scope) -> int | None:
    """A whole number of epochs."""
    value = _number(node, scope)
    return int(value) if value is not None and math.isfinite(value) else None
