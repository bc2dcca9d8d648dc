"""The grammar of the conditions of study.yaml: their own, never Python's.

    condition   = both ("or" both)*            both  = truth ("and" truth)*          truth = "not" truth | compared
    compared    = sum (("==" | "!=" | "<" | "<=" | ">" | ">=") sum)*                  sum   = term (("+" | "-") term)*
    term        = signed (("*" | "/") signed)*                                       signed = "-" signed | atom
    atom        = number | name | `any name` | function "(" arguments ")" | "(" condition ")"

A chain `0 < x < 1` is that of Python. Whether an expression is a number or a truth is known when it is compiled."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from hpo.red_flags.condition import (
    COMPARISONS,
    FUNCTIONS,
    Absolute,
    Asked,
    Call,
    Chain,
    Compared,
    Expression,
    Joined,
    Name,
    Negative,
    Not,
    Number,
    Numeric,
    Truth,
)
from hpo.text import listing, nearest

MAX_LENGTH = 1000
MAX_DEPTH = 30

_WORDS = ("and", "or", "not")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])|(?P<name>[^\W\d]\w*)|`(?P<quoted>[^`]+)`"
    r"|(?P<sign>==|!=|<=|>=|[-+*/()<>,]))"
)


class ExpressionError(ValueError):
    """A text that is no condition: what was found, at which column, and what was expected."""


def compile_expression(text: str) -> Expression:
    """Raises ExpressionError, a sentence with the column."""
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError("is empty; expected a condition, such as train_recall == 0")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"is {len(text)} characters long; expected at most {MAX_LENGTH}")
    return _Parser(text).parse()


@dataclass(frozen=True)
class _Token:
    kind: str  # number, name, quoted, sign, end
    text: str
    column: int


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.place = 0
        self.depth = 0
        self.names: dict[str, None] = {}

    def parse(self) -> Expression:
        found = self.truth_of(self.condition(), self.tokens[0])
        if self.here.kind != "end":
            raise self.unexpected("and, or, a comparison or the end")
        return Expression(self.text.strip(), tuple(self.names), found)

    @property
    def here(self) -> _Token:
        return self.tokens[self.place]

    def take(self) -> _Token:
        token = self.here
        self.place += token.kind != "end"
        return token

    def at(self, *texts: str) -> bool:
        return self.here.kind in ("sign", "name") and self.here.text in texts

    def error(self, what: str, token: _Token, more: str = "") -> ExpressionError:
        return ExpressionError(f"{what} at column {token.column} of '{self.text}'{more}")

    def unexpected(self, expected: str) -> ExpressionError:
        token = self.here
        found = "unexpected end" if token.kind == "end" else f"unexpected '{token.text}'"
        return self.error(found, token, f"; expected {expected}")

    def expect(self, text: str) -> None:
        if not self.at(text):
            raise self.unexpected(f"'{text}'")
        self.take()

    def deeper(self, parse: Callable[[], Numeric | Truth]) -> Numeric | Truth:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"is nested more than {MAX_DEPTH} deep", self.here)
        found = parse()
        self.depth -= 1
        return found

    def truth_of(self, found: Numeric | Truth, token: _Token) -> Truth:
        if isinstance(found, Truth):
            return found
        expected = "; expected something that holds or does not, such as train_recall == 0"
        raise self.error(f"'{token.text}' begins a number", token, expected)

    def number_of(self, found: Numeric | Truth, token: _Token) -> Numeric:
        if isinstance(found, Numeric):
            return found
        expected = "; expected a number, for it is compared or calculated with"
        raise self.error(f"'{token.text}' begins a condition", token, expected)

    def condition(self) -> Numeric | Truth:
        return self.joined("or", lambda: self.joined("and", self.negated))

    def joined(self, word: str, part: Callable[[], Numeric | Truth]) -> Numeric | Truth:
        token = self.here
        found = part()
        if not self.at(word):
            return found
        parts = [self.truth_of(found, token)]
        while self.at(word):
            self.take()
            token = self.here
            parts.append(self.truth_of(part(), token))
        return Joined(word, tuple(parts))

    def negated(self) -> Numeric | Truth:
        if not self.at("not"):
            return self.compared()
        self.take()
        token = self.here
        return Not(self.truth_of(self.deeper(self.negated), token))

    def compared(self) -> Numeric | Truth:
        first = self.chain(("+", "-"), lambda: self.chain(("*", "/"), self.signed))
        return self.series(first, tuple(COMPARISONS), Compared)

    def chain(self, signs: tuple[str, ...], part: Callable[[], Numeric | Truth]) -> Numeric | Truth:
        token = self.here
        found = part()
        if not self.at(*signs):
            return found
        first = self.number_of(found, token)
        rest = []
        while self.at(*signs):
            sign = self.take().text
            token = self.here
            rest.append((sign, self.number_of(part(), token)))
        return Chain(first, tuple(rest))

    def series(self, first: Numeric | Truth, signs: tuple[str, ...], kind: type[Compared]) -> Numeric | Truth:
        if not self.at(*signs):
            return first
        start = self.number_of(first, self.here)
        rest = []
        while self.at(*signs):
            sign = self.take().text
            token = self.here
            part = self.chain(("+", "-"), lambda: self.chain(("*", "/"), self.signed))
            rest.append((sign, self.number_of(part, token)))
        return kind(start, tuple(rest))

    def signed(self) -> Numeric | Truth:
        if not self.at("-"):
            return self.atom()
        self.take()
        token = self.here
        return Negative(self.number_of(self.deeper(self.signed), token))

    def atom(self) -> Numeric | Truth:
        if self.at("("):
            self.take()
            found = self.deeper(self.condition)
            self.expect(")")
            return found
        token = self.here
        if token.kind == "number":
            self.take()
            value = float(token.text)
            if math.isinf(value):
                raise self.error(f"{token.text} is too large", token)
            return Number(value)
        if token.kind not in ("name", "quoted") or (token.kind == "name" and token.text in _WORDS):
            raise self.unexpected("a number, a name or '('")
        self.take()
        if token.kind == "name" and self.at("("):
            return self.call(token)
        if token.kind == "name" and token.text.lower() in ("nan", "inf", "infinity"):
            raise self.error(f"unexpected '{token.text}'", token, "; ask finite(x), for no comparison with NaN holds")
        self.names[token.text] = None
        return Name(token.text)

    def call(self, token: _Token) -> Numeric | Truth:
        if token.text not in FUNCTIONS:
            expected = f"; expected {listing(FUNCTIONS)}.{nearest(token.text, FUNCTIONS)}"
            raise self.error(f"unknown function '{token.text}'", token, expected)
        function = FUNCTIONS[token.text]
        self.take()
        if token.text == "abs":
            inner = self.here
            found = Absolute(self.number_of(self.deeper(self.condition), inner))
            self.expect(")")
            return found
        metric = self.here
        if metric.kind not in ("name", "quoted") or metric.text in _WORDS:
            raise self.unexpected(f"the name of a metric: {function.meaning}")
        self.take()
        self.names[metric.text] = None
        extra = []
        while self.at(","):
            self.take()
            inner = self.here
            extra.append(self.number_of(self.deeper(self.condition), inner))
        least, most = function.extra
        if not self.at(")"):
            raise self.unexpected(f"')': {function.meaning}")
        if not least <= len(extra) <= most:
            what = f"{token.text} with {len(extra) + 1} argument{'s' if extra else ''}"
            raise self.error(what, token, f"; expected {function.meaning}")
        self.take()
        return (Asked if function.truth else Call)(token.text, metric.text, tuple(extra))


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            what = text[place]
            hint = "; expected '=='" if what == "=" else "; expected 'not'" if what == "!" else ""
            if what.isdigit():
                hint = "; expected a number, such as 0.5 or 1e-3"
            raise ExpressionError(f"unexpected '{what}' at column {place + 1} of '{text}'{hint}")
        kind = match.lastgroup or ""
        start = match.start(kind) - (kind == "quoted")
        found.append(_Token(kind, match.group(kind), start + 1))
        place = match.end()
    return [*found, _Token("end", "", len(text.rstrip()) + 1)]
