"""Conditions of red flags, such as `train_recall == 0 and epoch >= 4`.

A text is checked token by token. Then Python's `ast` says which operator binds first: it sees placeholders in place of
all names and numbers, and its tree is never run. Evaluation never raises, and reaches nothing but the numbers that are
handed in.

What was not reported in this epoch is unknown, and so is a division by zero. Truths follow Kleene's three-valued logic.
No comparison with NaN holds, not even `!=`: ask `finite(x)`.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from hpo.curves import predicates
from hpo.text import listing, nearest

MAX_LENGTH = 1000
MAX_DEPTH = 30


@dataclass(frozen=True)
class Scope:
    """The numbers that a condition can see in one epoch.

    Attributes:
        values: numbers by name.
        series: for each metric reported in this epoch, all its values so far; this epoch's is the last.
        epochs: for each of these series, the epochs in which the values were reported.
    """

    values: Mapping[str, float]
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    epochs: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Function:
    """A function that a condition may call.

    Attributes:
        meaning: its call, and what it returns, in words.
        extra: how many numbers follow the metric, at least and at most.
    """

    meaning: str
    extra: tuple[int, int] = (0, 0)


FUNCTIONS = {
    "first": Function("first(x): the first value of x"),
    "previous": Function("previous(x): the value before this epoch's"),
    "at": Function("at(x, n): the value in epoch n", (1, 1)),
    "min": Function("min(x), min(x, k): the least finite value so far, or of the last k", (0, 1)),
    "max": Function("max(x), max(x, k): the largest finite value so far, or of the last k", (0, 1)),
    "mean": Function("mean(x), mean(x, k): the mean of the finite values so far, or of the last k", (0, 1)),
    "finite": Function("finite(x): whether x is neither NaN nor infinite"),
    "rising": Function(
        "rising(x, k): whether x rose in each of the last k epochs, in all by more than twice its noise", (1, 1)
    ),
    "abs": Function("abs(number): without its sign"),
}
# The other functions return a number.
_TRUTHS = ("finite", "rising")


class ConditionError(ValueError):
    """A text that is no condition: what was found, in which column, and what was expected."""


# Parts of a condition: functions from an epoch to a number or a truth; None: unknown.
_Number = Callable[[Scope], float | None]
_Truth = Callable[[Scope], bool | None]


@dataclass(frozen=True)
class Condition:
    """A condition: its text, the names in it in the order in which they first appear, and what it says of a Scope."""

    text: str
    names: tuple[str, ...]
    holds: _Truth


def parse_condition(text: str) -> Condition:
    """Return the condition that `text` says, whose `holds` is True, False, or None where that is unknown.

    Raises:
        ConditionError: with a sentence that names the column.
    """
    text = text.strip()
    if not text:
        raise ConditionError("is empty; expected a condition, such as train_recall == 0")
    if len(text) > MAX_LENGTH:
        raise ConditionError(f"is {len(text)} characters long; expected at most {MAX_LENGTH}")
    tokens = _tokens(text)
    _check_order(text, tokens)
    source = [" "] * len(text)
    for token in tokens:
        source[token.start : token.end] = "x" * len(token) if token.mark in _OPERANDS else token.text
    try:
        tree = ast.parse("".join(source), mode="eval")
    except SyntaxError as error:  # such as `x == not y`
        raise _unexpected(text, next(each for each in tokens if each.end >= (error.offset or 1))) from None
    except (RecursionError, MemoryError):
        raise ConditionError(f"'{text}' is too long a calculation; expected a shorter one") from None
    names = [
        one.text
        for one, after in pairwise(tokens)
        if one.mark == "quoted" or (one.mark == "name" and after.mark != "(")
    ]
    return Condition(text, tuple(dict.fromkeys(names)), _Compiler(text, tokens).truth(tree.body))


# --- tokens

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])|(?P<word>and|or|not)\b|(?P<name>[^\W\d]\w*)"
    r"|`(?P<quoted>[^`]+)`|(?P<sign>==|!=|<=|>=|[-+*/()<>,]))"
)
_OPERANDS = ("number", "name", "quoted")


@dataclass(frozen=True)
class _Token:
    mark: str  # a sign or word itself; "number", "name", "quoted" or "end"
    text: str
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            hint = {"=": "; expected '=='", "!": "; expected 'not'"}.get(text[place], "")
            hint = "; expected a number, such as 0.5 or 1e-3" if text[place].isdigit() else hint
            raise _error(text, f"unexpected '{text[place]}'", place, hint)
        kind = match.lastgroup or ""
        mark = match[kind] if kind in ("word", "sign") else kind
        found.append(_Token(mark, match[kind], match.start(kind) - (kind == "quoted"), match.end()))
        place = match.end()
    return [*found, _Token("end", "", len(text), len(text) + 1)]


def _error(text: str, what: str, start: int, more: str = "") -> ConditionError:
    return ConditionError(f"{what} at column {start + 1} of '{text}'{more}")


def _unexpected(text: str, token: _Token, expected: str = "a number, a name or '('") -> ConditionError:
    what = "unexpected end" if token.mark == "end" else f"unexpected '{token.text}'"
    return _error(text, what, token.start, f"; expected {expected}")


def _check_order(text: str, tokens: Sequence[_Token]) -> None:
    """Raise ConditionError at the first token that cannot follow those before it, and where nesting is too deep.

    This leaves nothing that `ast` could understand otherwise than it is meant, such as `x ** y` or `(x, y)`.
    """
    opened: list[tuple[bool, int]] = []  # of each open parenthesis: it is a call; how many `-` and `not` precede it
    prefixes = 0
    complete = False  # the tokens so far end with a number or a truth
    for before, token in zip(["", *(each.mark for each in tokens)], tokens, strict=False):
        mark = token.mark
        if mark in ("-", "not") and not complete:
            prefixes += 1
        elif mark == "(" and (not complete or before == "name"):
            opened.append((complete, prefixes))
            prefixes, complete = 0, False
        elif not complete:
            if mark not in _OPERANDS:
                raise _unexpected(text, token)
            prefixes, complete = 0, True
        elif mark == ")" and opened:
            opened.pop()
        elif mark == "end" and opened:
            raise _unexpected(text, token, "')'")
        elif mark in ("(", ")", "not", *_OPERANDS) or (mark == "," and not (opened and opened[-1][0])):
            raise _unexpected(text, token, "and, or, a comparison or the end")
        else:
            complete = False
        if len(opened) + prefixes + sum(count for _, count in opened) > MAX_DEPTH:
            raise _error(text, f"is nested more than {MAX_DEPTH} deep", token.start)


# --- from the tree to functions of a Scope

_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: lambda a, b: a != b and not (math.isnan(a) or math.isnan(b)),
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_CALCULATIONS: dict[type[ast.operator], Callable[[float, float], float | None]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b != 0 else None,
}


class _Compiler:
    """Turns a tree into a function of a Scope. Nodes of kinds that are not named here are refused."""

    def __init__(self, text: str, tokens: Sequence[_Token]) -> None:
        self.text = text
        self.tokens = {token.start: token for token in tokens}

    def token(self, node: ast.expr) -> _Token:
        return self.tokens[node.col_offset]

    def truth(self, node: ast.expr) -> _Truth:
        match node:
            case ast.BoolOp(op, values):
                return _joined(isinstance(op, ast.Or), [self.truth(each) for each in values])
            case ast.UnaryOp(ast.Not(), operand):
                inner = self.truth(operand)
                return lambda scope: None if (found := inner(scope)) is None else not found
            case ast.Compare(left, signs, others):
                operands = [self.number(each) for each in (left, *others)]
                return _compared([_COMPARISONS[type(sign)] for sign in signs], operands)
            case ast.Call() if self.function(node) in _TRUTHS:
                name, extra = self.arguments(node)
                return _rising(name, extra[0]) if extra else _finite(name)
        token = self.token(node)
        expected = "; expected something that holds or does not, such as train_recall == 0"
        raise _error(self.text, f"'{token.text}' begins a number", token.start, expected)

    def number(self, node: ast.expr) -> _Number:
        steps = []
        while isinstance(node, ast.BinOp):  # a sum of many terms is nested deep to the left
            steps.append((_CALCULATIONS[type(node.op)], self.number(node.right)))
            node = node.left
        first = self.term(node)
        return _calculated(first, steps[::-1]) if steps else first

    def term(self, node: ast.expr) -> _Number:
        token = self.token(node)
        match node:
            case ast.Name():
                return self.name_or_number(token)
            case ast.UnaryOp(ast.USub(), operand):
                return _applied(operator.neg, self.number(operand))
            case ast.Call(args=[argument]) if self.function(node) == "abs":
                return _applied(abs, self.number(argument))
            case ast.Call() if self.function(node) not in _TRUTHS:
                name, extra = self.arguments(node)
                return _of_series(token.text, name, extra[0] if extra else None)
        expected = "; expected a number, for it is compared or calculated with"
        raise _error(self.text, f"'{token.text}' begins a condition", token.start, expected)

    def name_or_number(self, token: _Token) -> _Number:
        name = token.text
        if token.mark == "number":
            value = float(name)
            if math.isinf(value):
                raise _error(self.text, f"{name} is too large", token.start)
            return lambda scope: value
        if token.mark == "name" and name.lower() in ("nan", "inf", "infinity"):
            hint = "; ask finite(x), for no comparison with NaN holds"
            raise _error(self.text, f"unexpected '{name}'", token.start, hint)
        return lambda scope: scope.values.get(name)

    def function(self, node: ast.Call) -> str:
        token = self.token(node)
        if token.text not in FUNCTIONS:
            expected = f"; expected {listing(FUNCTIONS)}.{nearest(token.text, FUNCTIONS)}"
            raise _error(self.text, f"unknown function '{token.text}'", token.start, expected)
        return token.text

    def arguments(self, node: ast.Call) -> tuple[str, list[_Number]]:
        """Return the metric and the numbers that a function is called with."""
        function, metric, extra = self.function(node), node.args[0], node.args[1:]
        meaning, (least, most) = FUNCTIONS[function].meaning, FUNCTIONS[function].extra
        if not isinstance(metric, ast.Name) or self.token(metric).mark == "number":
            raise _unexpected(self.text, self.token(metric), f"the name of a metric: {meaning}")
        if not least <= len(extra) <= most:
            what = f"{function} with {len(node.args)} argument{'s' if extra else ''}"
            raise _error(self.text, what, node.col_offset, f"; expected {meaning}")
        return self.token(metric).text, [self.number(each) for each in extra]


def _joined(settles: bool, parts: Sequence[_Truth]) -> _Truth:
    """Return Kleene's `or` (settled by True) or `and` (settled by False) of several truths."""

    def holds(scope: Scope) -> bool | None:
        found = [part(scope) for part in parts]
        return settles if settles in found else None if None in found else not settles

    return holds


def _compared(signs: Sequence[Callable[[float, float], bool]], operands: Sequence[_Number]) -> _Truth:
    """Return the truth of a chain such as `a < b < c`, which one comparison that does not hold settles."""

    def holds(scope: Scope) -> bool | None:
        values = [operand(scope) for operand in operands]
        found = [
            None if left is None or right is None else sign(left, right)
            for sign, (left, right) in zip(signs, pairwise(values), strict=True)
        ]
        return False if False in found else None if None in found else True

    return holds


def _calculated(first: _Number, steps: Sequence[tuple[Callable[[float, float], float | None], _Number]]) -> _Number:
    def value(scope: Scope) -> float | None:
        found = first(scope)
        for calculate, operand in steps:
            other = operand(scope)
            found = None if found is None or other is None else calculate(found, other)
        return found

    return value


def _applied(function: Callable[[float], float], operand: _Number) -> _Number:
    return lambda scope: None if (found := operand(scope)) is None else function(found)


def _finite(name: str) -> _Truth:
    return lambda scope: None if (value := scope.values.get(name)) is None else math.isfinite(value)


def _rising(name: str, epochs: _Number) -> _Truth:
    def holds(scope: Scope) -> bool | None:
        values, count = scope.series.get(name), _count(epochs(scope))
        return None if values is None or count is None else predicates.rising(values, count) is not None

    return holds


def _of_series(function: str, name: str, extra: _Number | None) -> _Number:
    def value(scope: Scope) -> float | None:
        values = scope.series.get(name)
        if not values:
            return None
        if function == "first":
            return values[0]
        if function == "previous":
            return values[-2] if len(values) > 1 else None
        given = len(values) if extra is None else extra(scope)
        if function == "at":
            return next(
                (each for epoch, each in zip(scope.epochs.get(name, ()), values, strict=False) if epoch == given), None
            )
        count = _count(given) or 0
        known = [each for each in values[-count:] if math.isfinite(each)] if count > 0 else []
        if not known:
            return None
        if function == "mean":
            return sum(each / len(known) for each in known)  # their sum may be too large
        return min(known) if function == "min" else max(known)

    return value


def _count(value: float | None) -> int | None:
    """Return a whole number of epochs, None if it is unknown."""
    return int(value) if value is not None and math.isfinite(value) else None
