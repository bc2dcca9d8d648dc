"""What hpo notes on a trial beside its outcome: the red flags it raised, and the earlier trial it was started from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STOP, WARN = "stop", "warn"


@dataclass(frozen=True)
class RaisedFlag:
    """A rule of `red_flags` that a trial met at `step`. action: STOP ended it, WARN only says so. metrics: the numbers
    that led to it, at that step. since: the first step of those in a row that met the rule. more: other evidence."""

    name: str
    action: str
    step: int
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    since: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WarmOrigin:
    """A trial of an earlier study whose configuration was tried again here: its study, number and final value there."""

    study: str
    number: int | None
    value: float | None


def raised_flags(noted: Sequence[Mapping[str, Any]]) -> tuple[RaisedFlag, ...]:
    """The trial attribute `hpo:flags`, in the order raised."""
    found = []
    for one in noted:
        evidence = dict(one.get("evidence") or {})
        metrics = {name: float(value) for name, value in (evidence.pop("metrics", None) or {}).items()}
        since = evidence.pop("since", None)
        flag = RaisedFlag(one["name"], one["action"], one["step"], one.get("reason", ""), metrics, since, evidence)
        found.append(flag)
    return tuple(found)


def warm_origin(origin: Mapping[str, Any]) -> WarmOrigin | None:
    """Of the trial attribute `hpo:origin`; None of a trial that came from no earlier study."""
    if origin.get("from") is None:
        return None
    return WarmOrigin(str(origin["from"]), origin.get("number"), origin.get("value"))
