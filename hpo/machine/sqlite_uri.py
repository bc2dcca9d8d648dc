"""SQLite files as URIs, and back: the one place that does either.

SQLAlchemy, and so Optuna and MLflow, ends the path at a `?` and decodes `%41`; Optuna fills in what is in braces; hpo
takes passwords out of what follows a `&`. In a URI these characters are written as `%3F`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from hpo import layout

_URI = re.compile(r"(sqlite(?:\+\w+)?):///([^?]+)(\?.*)?", re.DOTALL)
_MISREAD = re.compile(r"[%?#&{}\x00-\x1f\x7f]")


def sqlite_uri(path: str | os.PathLike[str]) -> str:
    """Return the URI of a SQLite file: `sqlite:///` and the path, where all characters of it mean themselves.

    With others it names the driver too. MLflow takes what follows `sqlite:///` for a path as it is, and makes the
    folders of that path.
    """
    written = _written(path)
    return f"sqlite:///{written}" if written == os.fspath(path) else f"sqlite+pysqlite:///{written}"


def sqlite_path(uri: str) -> Path | None:
    """Return the SQLite file that a URI names; None if it names none."""
    found = _URI.fullmatch(uri)
    return Path(unquote(found[2])) if found else None


def resolved(uri: str, folder: str | os.PathLike[str]) -> str:
    """Return the URI of a SQLite file with its path made absolute, by the folder that it is relative to."""
    found = _URI.fullmatch(uri)
    if found is None:
        raise ValueError(f"'{uri}' is not the URI of a SQLite file; expected sqlite:///FILE")
    path = layout.absolute(Path(folder) / unquote(found[2]))
    plain = sqlite_uri(path) if found[1] == "sqlite" else f"{found[1]}:///{_written(path)}"
    return plain + (found[3] or "")


def _written(path: str | os.PathLike[str]) -> str:
    return _MISREAD.sub(lambda misread: f"%{ord(misread[0]):02X}", os.fspath(path))
