"""Guard before every page: who may open it, and what a browser may do with it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from hpo.machine.page_access import PageAccess

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts and styles of this server alone; nothing that stands in the data can be run, or send anything anywhere.
# Plotly sets styles of its own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The lines of parallel coordinates are drawn by functions that plotly makes from texts of its own.
POLICY_WITH_EVAL = POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-eval'")
# A report is a page of its own, with scripts in it. It gets no access to the other pages, nor to the cookie.
POLICY_OF_REPORTS = (
    "sandbox allow-scripts allow-downloads allow-popups allow-modals; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_READS = ("GET", "HEAD")
_ARRIVED = "arrived"
# From another page the browser sends no cookie along with a link; from this one it does.
_AGAIN = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={}"><title>hpo</title>'


class Guard:
    """ASGI application that lets requests through to another one, or answers them with a sentence.

    Args:
        application: What is served.
        access: Judge of host, origin and token.
    """

    def __init__(self, application: ASGIApp, access: PageAccess) -> None:
        self._application = application
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._application(scope, receive, send)
            return
        response = self._refusal(scope)
        await (response or self._application)(scope, receive, _careful(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        query = scope["query_string"].decode("latin-1")
        reply = self._access.reply(scope["method"], scope["path"], query, headers)
        site = headers.get("sec-fetch-site", "")
        if reply is None:
            if scope["method"] not in _READS and site not in ("", "same-origin"):
                return PlainTextResponse("A page of another server may change nothing here.\n", 403)
            if scope["method"] not in _READS and "hx-request" not in headers:
                return PlainTextResponse("Only the buttons of a page change anything here.\n", 403)
            return None
        if reply.status.startswith("303"):
            return Response(reply.body, 303, dict(reply.headers))
        arrives = site == "cross-site" and headers.get("sec-fetch-mode") == "navigate" and "cookie" not in headers
        if arrives and scope["method"] == "GET" and _ARRIVED not in query and self._access.is_called(headers["host"]):
            return HTMLResponse(_AGAIN.format(_same_page(scope, query)))
        return Response(reply.body, int(reply.status[:3]), dict(reply.headers))


def _same_page(scope: Scope, query: str) -> str:
    mark = f"{query}&{_ARRIVED}=" if query else f"{_ARRIVED}="
    return html.escape(f"/{quote(scope['path']).lstrip('/')}?{mark}")


def _careful(send: Send) -> Send:
    """Return what adds to each answer the headers that keep it where it belongs."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", POLICY)
            headers.setdefault("cache-control", "no-store")
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "no-referrer"
            headers["cross-origin-opener-policy"] = "same-origin"
            headers["cross-origin-resource-policy"] = "same-origin"
        await send(message)

    return sending
