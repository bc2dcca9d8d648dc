"""A report as Markdown that also reads well as plain text; where no images are drawn, a chart is its table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from hpo.analysis.formatting import columns_of
from hpo.reports.blocks import (
    Cell,
    Chart,
    Explanation,
    Facts,
    Findings,
    Link,
    Report,
    Row,
    Section,
    Table,
    Text,
)
from hpo.text import presentable
from hpo.translation.catalogue import tr


def render(report: Report, images: Sequence[str] = ()) -> str:
    """Return the report as Markdown in the current language.

    `images` are the paths of the figures relative to the report, one for each chart in order; empty if none were drawn.
    """
    shown = iter(images)
    links = {section.anchor: f"[{escape(section.title)}](#{_slug(section.title)})" for section in report.sections}
    lines = [f"# {escape(report.title)}", "", escape(report.subtitle), ""]
    for section in report.sections:
        lines += [f"## {escape(section.title)}", "", *lines_of(section, shown, links)]
    return "\n".join(lines).rstrip() + "\n"


def lines_of(
    section: Section,
    images: Iterator[str] = iter(()),  # noqa: B008 (an empty one stays empty)
    links: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Yield the lines below a section's title; `links` lead to sections, by their anchors."""
    for block in section.blocks:
        if isinstance(block, Findings):
            yield from _findings(block, links)
        else:
            yield from _block(block, images)


def _slug(title: str) -> str:
    """Return the anchor that a code host gives to a title: words in small letters, joined by hyphens."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _findings(block: Findings, links: Mapping[str, str]) -> Iterator[str]:
    for one in block.items:
        parts = (escape(one.text), _code(one.command), links.get(one.section, ""))
        yield "- " + " ".join(part for part in parts if part)
    yield ""


def _code(command: str) -> str:
    """Return a command as code, or as text if that would end the code."""
    literal = command and not re.search(r"[`<\s]", command.replace(" ", "")) and presentable(command) == command
    return f"`{command}`" if literal else escape(command)


def escape(text: str) -> str:
    """Return the text on one line, so that Markdown and the HTML and TeX in it show it literally.

    Underscores within words are literal anyway and stay as they are.
    """
    flat = " ".join(presentable(text).split())
    # What begins no entity and no tag stays as it is, so that `p < 0.001` reads well as plain text too.
    flat = re.sub(r"&(?=#?\w+;)", "&amp;", flat)
    flat = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", flat)
    flat = re.sub(r"([\\`*\[\]|~$])", r"\\\1", flat)
    flat = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", flat)
    flat = re.sub(r"^>", r"\\>", flat)
    # A backslash escapes punctuation only, so that of "1." stands before the point and not before the digit.
    return re.sub(r"^(\d*)(#+|-+|[+.)])(?=\s|$)", r"\1\\\2", flat)


def _block(block: Text | Explanation | Facts | Table | Chart | Row, images: Iterator[str]) -> Iterator[str]:
    if isinstance(block, (Text, Explanation)):
        yield from (escape(block.text), "")
    elif isinstance(block, Facts) and block.headline:
        yield from (" · ".join(f"{escape(name)} **{_cell(value)}**" for name, value in block.items), "")
    elif isinstance(block, Facts):
        for name, value in block.items:
            item = tr("{name}: {value}", name=escape(name), value=_cell(value))
            yield f"- {item}"
        yield ""
    elif isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Row):
        charts = [(chart, next(images, "")) for chart in block.charts]
        tables = block.table is not None or any(chart.table is not None for chart in block.charts)
        if block.title and (tables or any(image for _, image in charts)):
            yield from (f"### {escape(block.title)}", "")
        for chart, image in charts:
            yield from _chart(chart, image, "####" if block.title else "###")
        if block.table is not None:
            yield from _captioned(block.caption, block.table)
        elif block.caption and any(image for _, image in charts):
            yield from (escape(block.caption), "")
    else:
        yield from _chart(block, next(images, ""), "###")


def _chart(chart: Chart, image: str, mark: str) -> Iterator[str]:
    if chart.table is None and not image:
        return
    if chart.title:
        yield from (f"{mark} {escape(chart.title)}", "")
    if image:
        yield from (f"![{escape(chart.title)}]({image})", "")
    if chart.table is not None:
        yield from _captioned(chart.caption, chart.table)
    elif chart.caption:
        yield from (escape(chart.caption), "")


def _captioned(caption: str, table: Table) -> Iterator[str]:
    if caption:
        yield from (escape(caption), "")
    yield from _table(table, folded=False)


def _table(table: Table, folded: bool = True) -> Iterator[str]:
    if table.elsewhere:
        yield from (escape(table.elsewhere), "")
        return
    if folded and table.folded:
        yield from (tr("{title}:", title=escape(table.folded)), "")
    heads = [escape(head) or " " for head in table.columns]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    widths = [max(3, *(columns_of(row[k]) for row in [heads, *rows])) for k in range(len(heads))]
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
        room = " " * (width - columns_of(cell))
        padded.append(room + cell if to_right else cell + room)
    return "| " + " | ".join(padded) + " |"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f"[{escape(cell.text)}]({cell.target})"
    return escape(cell)
