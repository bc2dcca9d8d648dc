"""A report as one HTML file that needs nothing else: no network, no other file.

The page itself is the template `page.html`, with its parts in `blocks.html`, its style in `page.css` and its script in
`plots.js` and `page.js`.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from hpo.analysis.formatting import columns_of
from hpo.reports import figures
from hpo.reports.blocks import (
    Block,
    Chart,
    Explanation,
    Facts,
    Findings,
    Link,
    Report,
    Row,
    Table,
    Text,
    charts_in,
    charts_of,
)
from hpo.reports.csv import file_name, to_csv
from hpo.text import redact
from hpo.translation.catalogue import current, tr

# Pixels of paper that a figure gets where two stand side by side (page.js has the same).
HALF_A_PAGE = 320
LONG_NAME = 14


@dataclass(frozen=True)
class DrawnChart:
    """A chart's figure as the page needs it.

    Attributes:
        index: Place of the figure among those of the page.
        figure: The figure as JSON.
        height: In pixels.
        least_width: Pixels below which the figure could not be read; 0 if it fits any screen.
        table: Place of its CSV file among those of the page, or None if it has no numbers of its own.
        table_title: What the button that saves the CSV file says.
    """

    index: int
    figure: str
    height: int
    least_width: int
    table: int | None
    table_title: str


def render(report: Report) -> str:
    """Return the report as an HTML page in the current language."""
    drawings = _Drawings(report.title)
    drawings.add(charts_of(report))
    too_old = tr("This browser is too old to draw the figures. The tables have their numbers.")
    return _templates().get_template("page.html").render(
        report=report,
        titles={section.anchor: section.title for section in report.sections},
        language=current(),
        title=tr("{name}: report", name=report.title),
        contents=tr("Contents"),
        style=Markup(_asset("page.css")),
        words=_script_json(json.dumps({"old": too_old}, ensure_ascii=False)),
        plotly=_packed_plotly() if drawings.figures else "",
        script=Markup(_asset("plots.js") + _asset("page.js")),
        **drawings.as_values(),
    )  # fmt: skip


def fragment(title: str, blocks: Sequence[Block]) -> Markup:
    """Return parts of a report as a piece of another page, with their figures as JSON for plots.js to draw.

    Args:
        title: Begins the names of the CSV files.
        blocks: The parts.
    """
    drawings = _Drawings(title)
    drawings.add(charts_in(blocks))
    return Markup(_templates().get_template("fragment.html").render(blocks=blocks, titles={}, **drawings.as_values()))


class _Drawings:
    """Figures of a page, and the CSV files of those that have numbers of their own.

    Args:
        title: Begins the names of the CSV files.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._drawn: dict[int, DrawnChart] = {}
        self._tables: list[str] = []

    def add(self, charts: Iterable[tuple[str, Chart]]) -> None:
        """Draw charts, each given with the title of its row."""
        for row_title, chart in charts:
            name = file_name(self._title, row_title, chart.title)
            self._drawn[id(chart)] = _draw(chart, len(self._drawn), self._tables, name)

    @property
    def figures(self) -> Markup:
        """The figures as a JSON list for a script element; empty without any."""
        return _script_list(chart.figure for chart in self._drawn.values())

    def as_values(self) -> dict[str, Any]:
        """Return what the templates need of them."""
        return {
            "drawn": lambda chart: self._drawn[id(chart)],
            "least_width": self._least_width,
            "half_a_page": HALF_A_PAGE,
            "how_to_read": tr("How to read this"),
            "figures": self.figures,
            "tables": _script_list(self._tables),
        }

    def _least_width(self, row: Row) -> int:
        return max((self._drawn[id(chart)].least_width for chart in row.charts), default=0)


@cache
def _templates() -> jinja2.Environment:
    page = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        finalize=_without_passwords,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page.filters |= {"soft_breaks": _soft_breaks, "keep_numbers": _keep_numbers}
    for kind in (Text, Explanation, Facts, Findings, Table, Row, Link):
        page.tests[kind.__name__.lower()] = kind.__instancecheck__
    page.tests["long"] = _is_long
    return page


def _without_passwords(value: Any) -> Any:
    """Return a text without passwords; what is HTML already stays."""
    return redact(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _draw(chart: Chart, index: int, tables: list[str], name: str) -> DrawnChart:
    """Draw a chart and add its CSV file, if it has one, to `tables`."""
    figure = figures.figure(chart.data)
    rows = figures.rows(chart.data)
    place, title = None, ""
    if rows is not None:
        place, title = len(tables), tr("Save the numbers of this figure as {file}", file=f"{name}.csv")
        tables.append(json.dumps([f"{name}.csv", to_csv(rows)], ensure_ascii=False))
    return DrawnChart(index, figures.to_json(figure), figure.layout.height, figures.least_width(figure), place, title)


def _script_list(documents: Iterable[str]) -> Markup:
    """Return JSON documents as one JSON list for a script element; empty if there are none."""
    joined = ",".join(documents)
    return _script_json(f"[{joined}]") if joined else Markup("")


def _script_json(text: str) -> Markup:
    # `</script>` and `<!--` within a JSON string would end or change the script element.
    return Markup(text.replace("<", "\\u003c"))


@cache
def _packed_plotly() -> Markup:
    """Return plotly.js as base64 of gzip, a third of its size; page.js unpacks it."""
    return Markup(base64.b64encode(gzip.compress(figures.script().encode(), mtime=0)).decode())


def _is_long(cell: Any) -> bool:
    """Return True for a long text: it gets room even where the table must then be scrolled."""
    return isinstance(cell, str) and columns_of(cell) > 40


def _soft_breaks(text: str) -> Markup:
    """Let a long name break after an underscore rather than anywhere."""
    escaped = str(escape(redact(text)))
    return Markup(re.sub(r"(?<=\w_)(?=\w)", "<wbr>", escaped) if len(text) > LONG_NAME else escaped)


def _keep_numbers(text: str) -> Markup:
    """Let no line end within a number such as 3.16e-4."""
    return Markup(re.sub(r"\b\d[\d.]*e-\d+\b", r'<span class="whole">\g<0></span>', str(escape(redact(text)))))


def _asset(name: str) -> str:
    return files("hpo.reports").joinpath(name).read_text(encoding="utf-8")
