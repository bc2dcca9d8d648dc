"""JSON lines among all that a program prints: bytes to lines, lines to rows of numbers.

A program prints for people, and for other tools. So whatever is no row of numbers is passed over.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hpo.text import cut, printable_line
from hpo.trial import LARGEST_STEP, LONGEST_NAME

# Most bytes of a line that is read. A line of numbers has a few hundred.
MOST_BYTES = 2**20
# Names that `Trial.report(self, step, **metrics)` cannot take.
_NO_NAMES = ("", "self", "step")

# Sequences by which terminals colour text and move the cursor (ECMA-48: CSI; and OSC, ended by BEL or ST).
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# Loggers, and launchers of several ranks, put a prefix before what a program prints.
_OBJECT = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder(parse_int=float)
# Numbers that JSON has no literals for, as Protocol Buffers writes them.
_TEXTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Lines:
    """Splitter of bytes into lines, in linear time and bounded memory.

    A carriage return ends a line too: what follows it overwrites a progress bar.

    Args:
        too_long: called once for each line of more than `MOST_BYTES`, which is dropped.
    """

    def __init__(self, too_long: Callable[[], None]) -> None:
        self._too_long = too_long
        self._buffer = bytearray()
        self._dropping = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that end in this chunk."""
        *ended, last = chunk.replace(b"\r", b"\n").split(b"\n")
        for piece in ended:
            self._add(piece)
            yield from self.rest()
        self._add(last)

    def rest(self) -> Iterator[bytes]:
        """Yield the line that is being read, if there is one: it ends here."""
        line = bytes(self._buffer)
        self._buffer.clear()
        self._dropping = False
        if line:
            yield line

    def _add(self, piece: bytes) -> None:
        if self._dropping:
            return
        if len(self._buffer) + len(piece) > MOST_BYTES:
            self._dropping = True
            self._buffer.clear()
            self._too_long()
        else:
            self._buffer += piece


@dataclass(frozen=True)
class Row:
    """Content of a JSON line.

    Attributes:
        step: its step; None without one.
        metrics: its numbers by name. Those of an object in it have dotted names.
        wrong_step: what it has in the place of a step, as JSON; or empty.
        others: names of what is no number.
    """

    step: int | None
    metrics: dict[str, float]
    wrong_step: str = ""
    others: tuple[str, ...] = ()


class NotJson(ValueError):
    """Error of a line that looks like a JSON object and is none."""


class RowReader:
    """Reader of the JSON lines of one trial.

    Args:
        names: the metrics of the study.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._not_numbers: set[str] = set()

    def printed(self, line: bytes) -> Row | None:
        """Return the row that a printed line is, begins with (before a progress bar) or ends with; None if it is text.

        Raises:
            NotJson: it looks like a JSON object and is none.
        """
        text = _ESCAPES.sub("", line.decode("utf-8", errors="replace")).strip("\0 \t\f\v\ufeff")
        found = _OBJECT.search(text)
        try:
            if found is not None:
                return self.read(text[found.start() :], more=found.start() == 0)
        except NotJson:
            if found is not None and found.start() == 0:
                raise
        if text.startswith("{'") and text.endswith("}"):
            raise NotJson("its names stand in single quotes, as Python prints a dict")
        return None

    def read(self, text: str, more: bool = False) -> Row:
        """Return the row of a JSON object.

        Args:
            text: begins with it.
            more: after a space, other text may follow, such as a progress bar.

        Raises:
            NotJson: it is none.
        """
        try:
            # Integers as floats, too: they may have any number of digits.
            given, end = _DECODER.raw_decode(text)
        except RecursionError:
            raise NotJson("it is nested too deeply") from None
        except ValueError as error:
            raise NotJson(str(error)) from None
        if text[end:].strip() and not (more and text[end].isspace()):
            raise NotJson(f"more follows it: {cut(text[end:], 40)}")
        if not isinstance(given, dict):
            raise NotJson("it is no object")
        step, wrong = _take_step(given)
        metrics, others = self._numbers(given)
        return Row(step, metrics, wrong, others)

    def _numbers(self, given: dict[str, Any]) -> tuple[dict[str, float], tuple[str, ...]]:
        """Return the numbers by name, and the names of what is none."""
        metrics: dict[str, float] = {}
        nulls, others = [], []
        objects = [("", given)]
        while objects:
            prefix, fields = objects.pop()
            for key, value in fields.items():
                name = printable_line(f"{prefix}{key}")
                if name in _NO_NAMES or len(name) > LONGEST_NAME:
                    others.append(name[:LONGEST_NAME])
                elif isinstance(value, dict):
                    objects.append((f"{name}.", value))
                elif value is None:
                    nulls.append(name)
                elif isinstance(value, float):
                    metrics[name] = value
                elif isinstance(value, str) and value in _TEXTS:
                    metrics[name] = _TEXTS[value]
                else:
                    others.append(name)
        self._not_numbers.update(others)
        # JavaScript, orjson and pandas write NaN as null; but `"error": null` is none of a number.
        if metrics or any(name in self._names for name in nulls):
            metrics |= {name: math.nan for name in nulls if name not in self._not_numbers}
        return metrics, tuple(others)


def _take_step(given: dict[str, Any]) -> tuple[int | None, str]:
    """Remove the step from the fields of a row. Return it, and what is no step in its place."""
    wrong = ""
    for name in ("step", "epoch"):
        if name not in given:
            continue
        value = given.pop(name)
        if (step := _step(value)) is not None:
            return step, ""
        if not wrong:
            wrong = f"{name} {printable_line(json.dumps(value))}"
    return None, wrong


def _step(value: object) -> int | None:
    """Return the step that a value means, such as 1.0 or the text "1"; None if it means none."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len(str(LARGEST_STEP)):
        value = float(value)
    if isinstance(value, float) and value.is_integer() and 0 <= value <= LARGEST_STEP:
        return int(value)
    return None
