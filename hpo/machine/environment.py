"""Temporary environment variables, from which libraries take their settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def environment_variables(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables for this process and for those that it starts meanwhile; restore them afterwards."""
    earlier = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
