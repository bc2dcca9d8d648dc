"""Environment variables for a while: what libraries take their settings from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def variables(settings: Mapping[str, str]) -> Iterator[None]:
    """Of this process and of those that it starts meanwhile; afterwards they are as before."""
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
