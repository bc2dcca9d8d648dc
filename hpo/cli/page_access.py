"""Access to a page that a command serves: under the server's own names alone, and with the token of the printed link.

Without the first, a web page could have its own name resolve to this machine and read the answers (DNS rebinding).
Without the second, every program and user of this machine could.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import urllib.parse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOCAL = ("127.0.0.1", "localhost", "::1")
_EVERY_ADDRESS = ("0.0.0.0", "::")
_READS = ("GET", "HEAD", "OPTIONS")


def names_of(host: str) -> set[str]:
    """Return the names under which a server that listens on `host` is reached."""
    names = {host, *LOCAL} - set(_EVERY_ADDRESS)
    if host not in LOCAL:
        names |= {socket.gethostname(), socket.getfqdn()}
        with contextlib.suppress(OSError):
            names |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    return names


def address(host: str, port: int) -> str:
    """Return `http://HOST:PORT` of a server that listens on `host`, as it is opened on this machine."""
    shown = LOCAL[0] if host in _EVERY_ADDRESS else host
    return f"http://{bracketed(shown)}:{port}"


def bracketed(host: str) -> str:
    """Return a host as URLs write it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


class PageAccess:
    """WSGI application that lets requests through to another one, or answers 403 with a sentence.

    The first request brings the token of the link, and gets a cookie with it and the same link without it.

    Args:
        application: what is served.
        host: address that the server listens on.
        port: its port.
        where: clause that says where the link is found.
    """

    def __init__(self, application: WSGIApplication, host: str, port: int, where: str) -> None:
        self._application = application
        self._token = secrets.token_urlsafe()
        # Browsers send a cookie to every port of a host: two servers must not overwrite each other's.
        self._cookie = f"hpo-{port}"
        hosts = {bracketed(name).lower() for name in names_of(host)}
        self._hosts = {f"{name}:{port}" for name in hosts} | (hosts if port == 80 else set())
        self._address = address(host, port)
        self._where = where

    def link(self, path: str) -> str:
        """Return the link that opens a page."""
        return f"{self._address}{path}?{urllib.parse.urlencode({'token': self._token})}"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        host, origin = environ.get("HTTP_HOST", "").lower(), environ.get("HTTP_ORIGIN", "").lower()
        if host not in self._hosts:
            return _refuse(start_response, f"This server is not called '{host}'. Expected {self._address}")
        if environ["REQUEST_METHOD"] not in _READS and origin and origin != f"http://{host}":
            return _refuse(start_response, f"A page of {origin} may change nothing here.")
        query = urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if given and self._right(*given):
            rest = urllib.parse.urlencode([(name, value) for name, value in query if name != "token"])
            path = urllib.parse.quote(environ.get("PATH_INFO", "").encode("latin-1")).lstrip("/")
            return self._admit(start_response, f"/{path}?{rest}".rstrip("?"))
        if not self._right(*_cookies(environ, self._cookie)):
            said = "the token of this link is not that of the server" if given else "this page needs the printed link"
            return _refuse(start_response, f"{said.capitalize()}: {self._where}.")
        return self._application(environ, start_response)

    def _right(self, *given: str) -> bool:
        token = self._token.encode()
        return any(hmac.compare_digest(one.encode("utf-8", "replace"), token) for one in given)

    def _admit(self, start_response: StartResponse, location: str) -> Iterable[bytes]:
        cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        headers = [("Location", location), ("Set-Cookie", cookie), ("Cache-Control", "no-store")]
        start_response("303 See Other", [*headers, ("Referrer-Policy", "no-referrer"), ("Content-Length", "0")])
        return [b""]


def _cookies(environ: dict[str, Any], name: str) -> list[str]:
    pairs = [pair.strip().partition("=") for pair in environ.get("HTTP_COOKIE", "").split(";")]
    return [value for key, _, value in pairs if key == name]


def _refuse(start_response: StartResponse, sentence: str) -> Iterable[bytes]:
    body = f"{sentence}\n".encode("utf-8", "replace")
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    start_response("403 Forbidden", [*headers, ("Content-Length", str(len(body)))])
    return [body]
