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
from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Reply:
    """Reply to a request that is not let through: a refusal with a sentence, or the way on with a cookie.

    Attributes:
        status: Status code and its words.
        headers: Pairs of a name and a value.
        body: Content.
    """

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class PageAccess:
    """Judge of requests to a server: each is let through, or answered here.

    The first request brings the token of the link, and gets a cookie with it and the same link without it.

    Args:
        host: Address that the server listens on.
        port: Its port.
        where: Clause that says where the link is found.
    """

    def __init__(self, host: str, port: int, where: str) -> None:
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

    def is_called(self, host: str) -> bool:
        """Return True if the server answers to this name and port."""
        return host.lower() in self._hosts

    def reply(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> Reply | None:
        """Return what a request is answered here; None lets it through.

        Args:
            method: Its method, such as GET.
            path: Its path, decoded.
            query: What stands behind the question mark, as it was sent.
            headers: Its headers by their names in small letters.
        """
        host, origin = headers.get("host", ""), headers.get("origin", "").lower()
        if not self.is_called(host):
            return _refusal(f"This server is not called '{host.lower()}'. Expected {self._address}")
        if method not in _READS and origin and origin != f"http://{host.lower()}":
            return _refusal(f"A page of {origin} may change nothing here.")
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        given = [value for name, value in pairs if name == "token"]
        if given and self._right(*given):
            rest = urllib.parse.urlencode([(name, value) for name, value in pairs if name != "token"])
            return self._admission(f"/{urllib.parse.quote(path).lstrip('/')}?{rest}".rstrip("?"))
        if not self._right(*_cookies(headers.get("cookie", ""), self._cookie)):
            said = "the token of this link is not that of the server" if given else "this page needs the printed link"
            return _refusal(f"{said.capitalize()}: {self._where}.")
        return None

    def _right(self, *given: str) -> bool:
        token = self._token.encode()
        return any(hmac.compare_digest(one.encode("utf-8", "replace"), token) for one in given)

    def _admission(self, location: str) -> Reply:
        cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        headers = (("Location", location), ("Set-Cookie", cookie), ("Cache-Control", "no-store"))
        return Reply("303 See Other", (*headers, ("Referrer-Policy", "no-referrer"), ("Content-Length", "0")), b"")


def _cookies(sent: str, name: str) -> list[str]:
    pairs = [pair.strip().partition("=") for pair in sent.split(";")]
    return [value for key, _, value in pairs if key == name]


def _refusal(sentence: str) -> Reply:
    body = f"{sentence}\n".encode("utf-8", "replace")
    headers = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
    return Reply("403 Forbidden", (*headers, ("Content-Length", str(len(body)))), body)
