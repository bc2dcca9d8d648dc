"""Scripts and styles of the pages, each under a path that changes with its content, so that browsers keep it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hpo.reports import figures

_SCRIPT, _STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
_KEPT = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file: its type, and what reads it."""

    kind: str
    read: Callable[[], bytes]


def _own(name: str) -> bytes:
    return files("hpo.ui").joinpath("static", name).read_bytes()


def _of_reports(name: str) -> bytes:
    return files("hpo.reports").joinpath(name).read_bytes()


ASSETS = {
    "page.css": Asset(_STYLE, lambda: _of_reports("page.css")),
    "ui.css": Asset(_STYLE, lambda: _own("ui.css")),
    "htmx.js": Asset(_SCRIPT, lambda: _own("htmx.min.js")),
    "plots.js": Asset(_SCRIPT, lambda: _of_reports("plots.js")),
    "ui.js": Asset(_SCRIPT, lambda: _own("ui.js")),
    "plotly.js": Asset(_SCRIPT, lambda: figures.script().encode()),
}


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(ASSETS[name].read(), mtime=0)


@cache
def path_of(name: str) -> str:
    """Return the path of a file."""
    if name == "plotly.js":  # four megabytes, which need not be read for that
        return f"/static/{figures.script_version()}/{name}"
    return f"/static/{hashlib.sha256(ASSETS[name].read()).hexdigest()[:12]}/{name}"


def asset(request: Request) -> Response:
    """Answer a request for a file."""
    name = request.path_params["name"]
    if name not in ASSETS:
        return PlainTextResponse(f"There is no file {name} here.\n", 404)
    if path_of(name) != request.url.path:
        return Response(None, 302, {"location": path_of(name)})
    kept = {"cache-control": _KEPT, "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(_packed(name), headers={**kept, "content-encoding": "gzip"}, media_type=ASSETS[name].kind)
    return Response(ASSETS[name].read(), headers=kept, media_type=ASSETS[name].kind)
