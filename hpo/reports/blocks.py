"""Parts of a report as plain data: sections of text, facts, tables and charts.

No text in here carries markup. What renders a report, as Markdown or HTML, escapes it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
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
class Explanation:
    """A paragraph that says how to read what stands before it. It is folded away where that is possible."""

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
        elsewhere: Says where else its rows are, in place of them where a folded table cannot be folded away.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""
    folded: str = ""
    elsewhere: str = ""


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


@dataclass(frozen=True)
class Finding:
    """A sentence on what a study shows.

    Attributes:
        kind: Which question it answers, for programs.
        text: The sentence.
        section: The anchor of the section that shows it.
        command: A command to type, which follows the sentence.
        data: Its numbers, for programs.
    """

    kind: str
    text: str
    section: str
    command: str = ""
    data: Any = None


@dataclass(frozen=True)
class Findings:
    """A list of sentences, each with a link to its section."""

    items: tuple[Finding, ...]


Block = Text | Explanation | Facts | Table | Chart | Row | Findings


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


def linked_to(folder: Path, part: Any, here: Container[str] = ()) -> Any:
    """Return a report, or a part of one, whose links lead to files of `folder`, wherever the report lies.

    Args:
        folder: the folder that the targets are relative to.
        part: the report.
        here: targets that lie beside the report, and stay.
    """
    if isinstance(part, Link):
        return part if part.target in here else replace(part, target=(folder / part.target).absolute().as_uri())
    if isinstance(part, (tuple, list)):
        return tuple(linked_to(folder, one, here) for one in part)
    if isinstance(part, (Report, Section, Facts, Table, Chart, Row)):
        inner = {one.name: getattr(part, one.name) for one in fields(part) if one.name != "data"}
        return replace(part, **{name: linked_to(folder, value, here) for name, value in inner.items()})
    return part


def charts_of(report: Report) -> Iterator[tuple[str, Chart]]:
    """Yield every chart in the order of the report, with the title of the row it stands in or an empty text."""
    for section in report.sections:
        yield from charts_in(section.blocks)


def charts_in(blocks: Sequence[Block]) -> Iterator[tuple[str, Chart]]:
    """Yield every chart of some blocks, as `charts_of`."""
    for block in blocks:
        if isinstance(block, Chart):
            yield "", block
        elif isinstance(block, Row):
            yield from ((block.title, chart) for chart in block.charts)
