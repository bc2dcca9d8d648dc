"""A report as Markdown that also reads well as plain text: charts are their tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from hpo.reports.blocks import Block, Cell, Chart, Facts, Link, Report, Row, Section, Table, Text


def render(report: Report) -> str:
    lines = [f"# {escape(report.title)}", "", escape(report.subtitle), ""]
    for section in report.sections:
        lines += [f"## {escape(section.title)}", "", *lines_of(section)]
    return "\n".join(lines).rstrip() + "\n"


def lines_of(section: Section) -> Iterator[str]:
    """What stands below the section's title."""
    for block in section.blocks:
        yield from _block(block)


def escape(text: str) -> str:
    """`text` on one line, as Markdown, and the HTML and the TeX in it, show it literally. Underscores
    within words are literal as they are."""
    flat = " ".join(text.split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\`*\[\]|~$])", r"\\\1", flat)
    flat = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", flat)
    return re.sub(r"^(#+|[-+]|\d+[.)])(?=\s|$)", r"\\\1", flat)


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield from (escape(block.text), "")
    elif isinstance(block, Facts) and block.headline:
        yield from (" · ".join(f"{escape(name)} **{_cell(value)}**" for name, value in block.items), "")
    elif isinstance(block, Facts):
        yield from (f"- {escape(name)}: {_cell(value)}" for name, value in block.items)
        yield ""
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Row):
        if block.title and (block.table is not None or any(chart.table is not None for chart in block.charts)):
            yield from (f"### {escape(block.title)}", "")
        for chart in block.charts:
            yield from _chart(chart, "####" if block.title else "###")
        if block.table is not None:
            yield from _captioned(block.caption, block.table)
    else:
        yield from _chart(block, "###")


def _chart(chart: Chart, mark: str) -> Iterator[str]:
    if chart.table is not None:
        yield from (f"{mark} {escape(chart.title)}", "")
        yield from _captioned(chart.caption, chart.table)


def _captioned(caption: str, table: Table) -> Iterator[str]:
    if caption:
        yield from (escape(caption), "")
    yield from _table(table, folded=False)


def _table(table: Table, folded: bool = True) -> Iterator[str]:
    if folded and table.folded:
        yield from (f"{escape(table.folded)}:", "")
    heads = [escape(head) or " " for head in table.columns]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    widths = [max(3, *(_width(row[k]) for row in [heads, *rows])) for k in range(len(heads))]
    right = [k in table.numeric for k in range(len(heads))]
    yield _line(heads, widths, right)
    yield "| " + " | ".join("-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)) + " |"
    yield from (_line(row, widths, right) for row in rows)
    yield ""
    if table.note:
        yield from (escape(table.note), "")


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        room = " " * (width - _width(cell))
        padded.append(room + cell if to_right else cell + room)
    return "| " + " | ".join(padded) + " |"


def _width(text: str) -> int:
    """Columns of a terminal: East Asian wide characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f"[{escape(cell.text)}]({cell.target})"
    return escape(cell)
