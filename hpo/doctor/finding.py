"""What the doctor finds, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# certain: it is seen. likely: what is seen has hardly another cause. possible: it may well be as it should.
Sure = Literal["certain", "likely", "possible"]
# What became of a finding. failed: it was tried, and `why` says what was in the way.
Fate = Literal["left", "mended", "failed"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    check: its kind, in kebab-case. study: its name, empty of the runs folder or the machine. trial: its number. said:
    a sentence without its full stop: what was seen, and where. remedy: what `mend` does, or what the user can do where
    there is none, as a clause in the imperative ("queue it again"). mend: called while no driver can start on the
    study; it may raise HpoError or OSError, and must do no harm when what it mends is already right."""

    check: str
    study: str
    trial: int | None
    said: str
    sure: Sure
    remedy: str
    mend: Callable[[], None] | None = None


@dataclass(frozen=True)
class CheckedFinding:
    """A finding and what became of it; `why` it could not be mended."""

    finding: Finding
    fate: Fate
    why: str = ""
