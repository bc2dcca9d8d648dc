"""A report as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from hpo.analysis.formatting import columns_of
from hpo.reports import figures
from hpo.reports.blocks import Block, Cell, Chart, Facts, Link, Report, Row, Table, Text
from hpo.reports.csv import file_name, to_csv
from hpo.translation.catalogue import current, tr

# Nothing may be fetched or sent, whatever stands in the data.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
# Pixels of paper that a figure gets where two stand side by side (page.js has the same).
HALF_A_PAGE = 320
LONG_NAME = 14


def render(report: Report) -> str:
    return _Page(report).render()


class _Page:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._figures: list[str] = []
        self._tables: list[str] = []

    def render(self) -> str:
        sections = list(self._sections())  # before the scripts: it collects the figures
        report = self._report
        title = escape(tr("{name}: report", name=report.title))
        contents = escape(tr("Contents"))
        links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in report.sections)
        return "\n".join(
            [
                "<!doctype html>",
                f'<html lang="{current()}">',
                "<head>",
                '<meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="color-scheme" content="light dark">',
                '<link rel="icon" href="data:,">',
                f"<title>{title}</title>",
                f"<style>\n{_asset('page.css')}</style>",
                "</head>",
                "<body>",
                f"<header><h1>{escape(report.title)}</h1><p>{escape(report.subtitle)}</p>",
                f'<nav aria-label="{contents}">{links}</nav></header>',
                "<main>",
                *sections,
                "</main>",
                *self._scripts(),
                "</body>",
                "</html>",
                "",
            ]
        )

    def _sections(self) -> Iterator[str]:
        for section in self._report.sections:
            yield f'<section id="{section.anchor}"><h2>{escape(section.title)}</h2>'
            for block in section.blocks:
                yield self._block(block)
            yield "</section>"

    def _scripts(self) -> Iterator[str]:
        if not self._figures:
            return
        words = {"old": tr("This browser is too old to draw the figures. The tables have their numbers.")}
        yield _json("words", json.dumps(words, ensure_ascii=False))
        yield _json("figures", f"[{','.join(self._figures)}]")
        yield _json("tables", f"[{','.join(self._tables)}]")
        yield f'<script type="text/plain" id="plotly">{_packed_plotly()}</script>'
        yield f"<script>\n{_asset('page.js')}</script>"

    def _block(self, block: Block) -> str:
        if isinstance(block, Text):
            return f"<p>{escape(block.text)}</p>"
        if isinstance(block, Facts):
            items = "".join(f"<div><dt>{_soft(name)}</dt><dd>{_cell(value)}</dd></div>" for name, value in block.items)
            return f'<dl class="{"headline" if block.headline else "facts"}">{items}</dl>'
        if isinstance(block, Table):
            return _table(block)
        if isinstance(block, Row):
            drawn = [(chart, figures.figure(chart.data)) for chart in block.charts]
            least = max((figures.least_width(figure) for _, figure in drawn), default=0)
            heading = "h4" if block.title else "h3"
            inner = "".join(self._chart(chart, figure, heading, block.title) for chart, figure in drawn)
            kind = "row broad" if least > HALF_A_PAGE else "row"
            title = f"<h3>{escape(block.title)}</h3>" if block.title else ""
            caption = f'<p class="note">{escape(block.caption)}</p>' if block.caption else ""
            table = _table(block.table) if block.table is not None else ""
            return f'{title}<div class="{kind}" style="--least:{least}px">{inner}</div>{caption}{table}'
        return self._chart(block, figures.figure(block.data))

    def _chart(self, chart: Chart, figure: Any, heading: str = "h3", row: str = "") -> str:
        """`row`: the title above this chart and those beside it."""
        index = len(self._figures)
        self._figures.append(figures.to_json(figure))
        name = escape(chart.title)
        caption = f"<figcaption>{escape(chart.caption)}</figcaption>" if chart.caption else ""
        table = _table(chart.table) if chart.table is not None else ""
        return (
            f'<figure><div class="title"><{heading}>{name}</{heading}>{self._csv(chart, row)}</div>'
            f'<div class="wide"><div class="plot" data-figure="{index}" role="img" '
            f'aria-label="{name}" style="height:{figure.layout.height}px;min-width:{figures.least_width(figure)}px">'
            f"</div></div>{caption}{table}</figure>"
        )

    def _csv(self, chart: Chart, row: str) -> str:
        """What a click saves the chart's numbers with; nothing where it has none."""
        rows = figures.rows(chart.data)
        if rows is None:
            return ""
        name = f"{file_name(self._report.title, row, chart.title)}.csv"
        self._tables.append(json.dumps([name, to_csv(rows)], ensure_ascii=False))
        title = escape(tr("Save the numbers of this figure as {file}", file=name))
        return f'<button class="csv" data-table="{len(self._tables) - 1}" title="{title}">CSV</button>'


def _json(name: str, text: str) -> str:
    # `</script>` and `<!--` within a JSON string would end or change the script element.
    return '<script type="application/json" id="{}">{}</script>'.format(name, text.replace("<", "\\u003c"))


@cache
def _packed_plotly() -> str:
    """plotly.js as base64 of gzip, a third of its size; page.js unpacks it."""
    return base64.b64encode(gzip.compress(figures.script().encode(), mtime=0)).decode()


def _table(table: Table) -> str:
    right = ' class="number"'
    heads = "".join(
        f'<th scope="col"{right if k in table.numeric else ""}>{_soft(head)}</th>'
        for k, head in enumerate(table.columns)
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{right if k in table.numeric else _long(cell)}>{_cell(cell)}</td>" for k, cell in enumerate(row))
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    body = (
        f'<div class="table" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{note}"
    )
    return f"<details><summary>{escape(table.folded)}</summary>{body}</details>" if table.folded else body


def _long(cell: Cell) -> str:
    """Long texts get room even where the table must then be scrolled."""
    return ' class="long"' if isinstance(cell, str) and columns_of(cell) > 40 else ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f'<a href="{escape(cell.target)}">{escape(cell.text)}</a>'
    return _unbroken(escape(cell))


def _soft(text: str) -> str:
    """`text`, escaped, in which a long name may break after an underscore rather than anywhere."""
    return re.sub(r"(?<=\w_)(?=\w)", "<wbr>", escape(text)) if len(text) > LONG_NAME else escape(text)


def _unbroken(text: str) -> str:
    """Escaped text in which no line ends within a number such as 3.16e-4."""
    return re.sub(r"\b\d[\d.]*e-\d+\b", r'<span class="whole">\g<0></span>', text)


def _asset(name: str) -> str:
    return files("hpo.reports").joinpath(name).read_text(encoding="utf-8")
