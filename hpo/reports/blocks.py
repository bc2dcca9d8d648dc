"""Parts of a report as plain data: sections of text, facts, tables and charts.

No text in here carries markup. What renders a report, as Markdown or HTML, escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Link:
    """A text that leads to a file; `target` is relative to the report."""

    text: str
    target: str


Cell = str | Link


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Pairs of (label, value); `headline` ones are the few numbers that a reader looks for first."""

    items: tuple[tuple[str, Cell], ...]
    headline: bool = False


@dataclass(frozen=True)
class Table:
    """A table of texts and links.

    Attributes:
        numeric: Indices of the columns to align right.
        note: Says below the table what was left out or meant.
        folded: Title under which the table is folded away where that is possible; empty: it is not folded.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Rows:
    """The numbers of a figure at full precision, as a CSV file has them.

    None is an empty field. The names of the columns are English in every language.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Chart:
    """A figure before it is drawn.

    Attributes:
        data: What `figures.figure` and `figures.rows` take.
        table: The figure's numbers as text, for where nothing is drawn.
    """

    title: str
    data: Any
    table: Table | None = None
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Charts side by side where there is room.

    Attributes:
        title: A common title, or empty.
        table: The numbers of all the charts.
    """

    charts: tuple[Chart, ...]
    title: str = ""
    table: Table | None = None
    caption: str = ""


Block = Text | Facts | Table | Chart | Row


@dataclass(frozen=True)
class Section:
    """A part of a report with a title; `anchor` is its id in the page."""

    title: str
    anchor: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True)
class Report:
    """A whole report: a title, a subtitle and the sections in the order in which they are read."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def charts_of(report: Report) -> Iterator[tuple[str, Chart]]:
    """Yield every chart in the order of the report, with the title of the row it stands in or an empty text."""
    for block in (block for section in report.sections for block in section.blocks):
        if isinstance(block, Chart):
            yield "", block
        elif isinstance(block, Row):
            yield from ((block.title, chart) for chart in block.charts)
