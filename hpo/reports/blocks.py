"""The vocabulary of a report: sections of text, facts, tables and charts, as plain data that neither
Markdown nor HTML has touched. No text in here carries markup; whoever renders it escapes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Link:
    """`target` is relative to the report."""

    text: str
    target: str


Cell = str | Link


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Facts:
    """(label, value) pairs; `headline` ones are the few numbers a reader looks for first."""

    items: tuple[tuple[str, Cell], ...]
    headline: bool = False


@dataclass(frozen=True)
class Table:
    """`numeric`: indices of the columns to align right. `note` says what was left out or meant.
    `folded`, if given, is the title under which it is folded away where that is possible."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Rows:
    """The numbers of a figure at full precision, as a CSV file has them: None is an empty field, and the names of
    the columns are English in every language."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Chart:
    """`data` goes to `figures.figure` and `figures.rows`. `table` has its numbers as one reads them, for where
    nothing is drawn."""

    title: str
    data: Any
    table: Table | None = None
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Charts side by side where there is room, under a common title if there is one. `table` has the
    numbers of all of them."""

    charts: tuple[Chart, ...]
    title: str = ""
    table: Table | None = None
    caption: str = ""


Block = Text | Facts | Table | Chart | Row


@dataclass(frozen=True)
class Section:
    title: str
    anchor: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True)
class Report:
    title: str
    subtitle: str
    sections: tuple[Section, ...]


def charts_of(report: Report) -> Iterator[tuple[str, Chart]]:
    """Every chart in the order in which they are read, with the title of the row it stands in or nothing."""
    for block in (block for section in report.sections for block in section.blocks):
        if isinstance(block, Chart):
            yield "", block
        elif isinstance(block, Row):
            yield from ((block.title, chart) for chart in block.charts)
