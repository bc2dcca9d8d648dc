"""Findings of the doctor, and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# certain: it is seen. likely: what is seen has hardly another cause. possible: it may well be as it should.
Sure = Literal["certain", "likely", "possible"]
# What became of a finding. failed: a fix was tried, and `why` says what was in the way.
Result = Literal["left", "fixed", "failed"]


# Kinds of findings in which nothing is wrong: what this user may not look at, and what a user may well have done.
NOT_LOOKED_AT = "not-looked-at"
OBJECTIVE_CHANGED = "objective-changed"
NOTES = frozenset({NOT_LOOKED_AT, OBJECTIVE_CHANGED})


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        check: Its kind, in kebab-context.
        study: The study's name; empty for the runs folder or the machine.
        trial: The trial's number, if it is about one.
        said: What was seen, and where: a sentence without its full stop.
        sure: How sure it is.
        remedy: What `fix` does, or what the user can do where there is none: a clause in the imperative ("queue it
            again").
        fix: Called while no driver can start on the study. It may raise HpoError or OSError, and must do no harm when
            what it fixes is already right.
    """

    check: str
    study: str
    trial: int | None
    said: str
    sure: Sure
    remedy: str
    fix: Callable[[], None] | None = None


def not_looked_at(study: str, said: str) -> Finding:
    """Return the finding that something was not looked at; `said` says what, and why."""
    return Finding(NOT_LOOKED_AT, study, None, said, "certain", "let its owner, or root, run `hpo doctor`")


@dataclass(frozen=True)
class CheckedFinding:
    """A finding and what became of it; `why` says why a fix failed."""

    finding: Finding
    result: Result
    why: str = ""

    @property
    def is_wrong(self) -> bool:
        """True if something is wrong and was not fixed."""
        return self.result != "fixed" and self.finding.check not in NOTES
