"""Sentences about a program that ended well without a metric of the study: what it printed in place of JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from hpo.text import cut, listing, nearest, printable_line, redact
from hpo.worker.printed_rows import NotJson, RowReader

# How a note of hpo's own begins in the output.
PASSED_OVER = "hpo passes over"
# Lines of the output that a message repeats, and characters of each.
_LINES, _LENGTH = 3, 60
# A JSON object over several lines, as `json.dumps(..., indent=2)` writes it.
_INDENTED = re.compile(r'^\{\s*\n\s*"[^{}]*^\s*\}', re.MULTILINE)


def why_no_metric(names: Sequence[str], given: Mapping[str, float], tail: str) -> str:
    """Return a sentence about a program that did not report every metric of the study.

    Args:
        names: the metrics of the study.
        given: what it reported last.
        tail: the end of what it printed, on stdout and stderr.
    """
    missing = next(name for name in names if name not in given)
    example = json.dumps({"step": 1} | dict.fromkeys(names, 0.9))
    if given:
        return (
            f"the command reported no metric '{missing}', but {listing(given)}; expected a line such as {example} on "
            f"stdout.{nearest(missing, given)}"
        )
    lines = [printable_line(line.strip()) for line in re.split(r"[\r\n]+", tail)]
    lines = [line for line in lines if line and not line.startswith(PASSED_OVER)]
    last = "; ".join(f"`{cut(redact(line), _LENGTH)}`" for line in lines[-_LINES:])
    printed = f"It printed last: {last}" if last else "It printed nothing at all"
    return f"the command printed no JSON line{_likely(names, tail, lines)}; expected {example} on stdout. {printed}"


def _likely(names: Sequence[str], tail: str, lines: Sequence[str]) -> str:
    """Return what was printed in place of a JSON line, as ` on stdout (why)`; empty if nothing is like one."""
    reader = RowReader(tuple(names))
    for line in reversed(lines):
        try:
            row = reader.printed(line.encode())
        except NotJson as error:
            return f" that can be read ({error}; json.dumps writes it right)"
        if row is None or not row.metrics:
            continue
        if missing := [name for name in names if name not in row.metrics]:
            return f" with {listing(missing)}, but one with {listing(row.metrics)}"
        # What stands on stdout has been read.
        return " on stdout, but on stderr, where logging writes (print() writes to stdout)"
    if _INDENTED.search(tail):
        return " (its JSON stands on several lines: leave out indent)"
    return ""
