"""Findings of `hpo try`: lines that are ok, a warning or an error, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """A line of `hpo try`.

    Attributes:
        level: ok; warning: it runs, and most likely is not meant so; error: the study would not do what it says.
        topic: What was looked at, in a word or two.
        text: What was found, as a sentence without its end.
        todo: What to do about it; empty if nothing is to be done.
    """

    level: Level
    topic: str
    text: str
    todo: str = ""


def ok(topic: str, text: str) -> Finding:
    """Return a line that is all right."""
    return Finding("ok", topic, text)


def warning(topic: str, text: str, todo: str = "") -> Finding:
    """Return a warning."""
    return Finding("warning", topic, text, todo)


def error(topic: str, text: str, todo: str = "") -> Finding:
    """Return an error."""
    return Finding("error", topic, text, todo)
