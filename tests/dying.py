"""A process that dies at one of its writes, as by a kill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Death(BaseException):
    """As a kill: nothing catches it."""


class Writes:
    """Counter of calls, one of which is the last.

    Attributes:
        made: How many there were.
        fatal: The number of the one that dies, from 1; 0: none.

    Args:
        after: It dies when the call is done, not before.
    """

    def __init__(self, after: bool = False) -> None:
        self.made = self.fatal = 0
        self._after = after

    def dying(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose calls are counted."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.made += 1
            fatal = self.made == self.fatal
            if fatal and not self._after:
                raise Death
            result = original(*args, **kwargs)
            if fatal:
                raise Death
            return result

        return call
