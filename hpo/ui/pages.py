"""Pages and their parts as HTML: the templates, and what all of them can use."""

from __future__ import annotations

import time
import urllib.parse
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from hpo.analysis.formatting import configuration, duration, label, number
from hpo.text import count, presentable
from hpo.ui.assets import path_of

# Parts of a page that show what changes ask for news so often.
POLL = "every 2s"
# Those with figures, which are drawn again.
POLL_FIGURES = "every 10s"


def study_url(name: str, *rest: object) -> str:
    """Return the path of a page of a study."""
    return "/".join(["/study", *(urllib.parse.quote(str(part), safe="") for part in (name, *rest))])


def page(template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response:
    """Return a page, or a part of one, as a response."""
    return HTMLResponse(text_of(template, **values), status, headers)


def text_of(template: str, **values: Any) -> Markup:
    """Return a page, or a part of one."""
    return Markup(_templates().get_template(template).render(values))


def unchanged() -> Response:
    """Return the answer that leaves a part of a page as it is."""
    return Response(None, 204)


def moment(seconds: float | None) -> str:
    """Return a date and a time in this time zone; an em dash where it is not known."""
    return "—" if seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def spark(points: tuple[tuple[int, float], ...], width: int = 90, height: int = 22) -> str:
    """Return a curve as the points of an SVG polyline."""
    if not points:
        return ""
    steps, values = [step for step, _ in points], [value for _, value in points]
    left, wide = steps[0], (steps[-1] - steps[0]) or 1
    low, high = min(values), max(values)
    tall = (high - low) or 1.0
    shown = points[:: -(-len(points) // 60) or 1]
    if shown[-1] != points[-1]:
        shown = (*shown, points[-1])
    return " ".join(
        f"{2 + (width - 4) * (step - left) / wide:.1f},{height - 2 - (height - 4) * (value - low) / tall:.1f}"
        for step, value in shown
    )


def _shown(value: Any) -> Any:
    """Return a text without passwords and control characters; what is HTML already stays."""
    return presentable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _templates() -> jinja2.Environment:
    folder = files("hpo.ui").joinpath("templates")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "POLL": POLL,
        "POLL_FIGURES": POLL_FIGURES,
        "path_of": path_of,
        "study_url": study_url,
        "count": count,
        "now": time.time,
    }
    environment.filters |= {
        "configuration": configuration,
        "duration": duration,
        "label": label,
        "moment": moment,
        "number": number,
        "spark": spark,
        # Texts lose tokens; this link needs its own.
        "with_token": lambda link: Markup(escape(link)),
        "with_page": lambda query, number: replace(query, page=number),
    }
    return environment
