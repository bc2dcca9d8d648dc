"""Databases that are away for a while: how that is known of a server and of a SQLite file, and how it is told.

A server is restarted, crashes or is cut off. A SQLite file is locked by a program that reads or writes all of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

# With these a host that vanishes is noticed after a minute, instead of the hours that TCP waits.
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# SQLite itself waits so long for a lock. While it does, no signal handler runs, so that Ctrl-C would wait too.
_BUSY_SECONDS = 0.5
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
HOLDERS = "another program holds it, such as optuna-dashboard, a backup or a SQLite shell with an open transaction"


@dataclass(frozen=True)
class Absence:
    """Signs of a kind of database that it is away for a while, and the words for it.

    Attributes:
        lost: says of an error of the database that a later try may succeed.
        options: arguments of SQLAlchemy's `create_engine`, by the URL.
        opening: the same of an error while it is opened. A server that does not answer may not be there at all.
        undone: True if an operation that failed so was certainly not done. (The answer of a server may be lost.)
        quiet: seconds of waiting before it is said.
        longest_pause: seconds between two tries, at most.
        away: sentence when it is away, with `url`, `since`, `why` and `patience`.
        back: sentence when it is back, with `url` and `seconds`.
        given_up: error when it is waited for no longer, with `seconds` and `why`.
    """

    lost: Callable[[ExceptionContext], bool]
    options: Callable[[str], Mapping[str, Any]]
    opening: Callable[[BaseException], bool]
    undone: bool
    quiet: float
    longest_pause: float
    away: str
    back: str
    given_up: str


def is_locked(error: BaseException) -> bool:
    """Return True if an error says, or was caused by one that says, that a SQLite file is locked."""
    return any(
        isinstance(one, sqlite3.OperationalError) and getattr(one, "sqlite_errorcode", 0) & 0xFF in _LOCKED
        for one in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def _is_cut_off(context: ExceptionContext) -> bool:
    return context.connection is None or context.is_disconnect


def libpq_timeouts(url: str) -> Mapping[str, Any]:
    """Return the timeouts of libpq that the URL does not set itself."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql" or parsed.get_driver_name() not in ("psycopg", "psycopg2"):
        return {}
    return {name: value for name, value in _LIBPQ.items() if name not in parsed.query}


SERVER = Absence(
    lost=_is_cut_off,
    options=lambda url: {"pool_pre_ping": True, "connect_args": libpq_timeouts(url)},
    opening=lambda error: False,
    undone=False,
    quiet=0.0,
    longest_pause=5.0,
    away="the database {url} is away since {since} ({why}); the study waits for it, at most {patience:g} s",
    back="the database {url} is back after {seconds:.0f} s; the study goes on",
    given_up="the database has been away for {seconds:.0f} s ({why})",
)
LOCKED_FILE = Absence(
    lost=lambda context: is_locked(context.original_exception),
    options=lambda url: {"connect_args": {"timeout": _BUSY_SECONDS}},
    opening=is_locked,
    undone=True,
    quiet=5.0,
    longest_pause=0.1,
    away=f"the database {{url}} is locked since {{since}}: {HOLDERS}; the study waits for it, at most {{patience:g}} s",
    back="the database {url} is free again after {seconds:.0f} s; the study goes on",
    given_up=f"the database has been locked for {{seconds:.0f}} s: {HOLDERS}",
)
