"""Requests to the driver of a study: those of `hpo pause`, `resume`, `stop`, `kill` and `extend`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hpo import layout
from hpo.control import client
from hpo.control.requests import LIMITS, Answer
from hpo.errors import HpoError
from hpo.layout import how_to_continue
from hpo.text import presentable

ACTIONS = ("pause", "resume", "stop", "kill", "extend")


def steer(runs: Path, name: str, action: str, given: Mapping[str, str]) -> Answer:
    """Send a request, and return what is said to it. An error is an answer too, as the study goes on.

    Args:
        runs: The runs folder.
        name: The study.
        action: One of ACTIONS.
        given: `now` for pause and stop, `trial` for kill, the limits for extend, as a page sends them.
    """
    directory = layout.study_directory(runs, name)
    try:
        answer, driven = _ask(directory, action, given)
    except HpoError as error:
        return Answer(presentable(str(error)), ok=False)
    if answer is None:
        nothing = "no trial runs" if action == "kill" else "there is nothing to stop"
        return Answer(f"No driver is at work on study '{name}': {nothing}. {how_to_continue(runs, name)}.", ok=False)
    said = presentable(answer.said)
    goes_on = f". {how_to_continue(runs, name)}" if answer.ok and not driven and action in ("resume", "extend") else ""
    return Answer(f"{said[:1].upper()}{said[1:]}{goes_on}.", answer.ok)


def _ask(directory: Path, action: str, given: Mapping[str, str]) -> tuple[Answer | None, bool]:
    now = given.get("now") == "yes"
    if action == "pause":
        return client.pause(directory, now)
    if action == "resume":
        return client.resume(directory)
    if action == "stop":
        return client.stop(directory, now), True
    if action == "kill":
        number = given.get("trial", "")
        if not (number.isascii() and number.isdigit() and len(number) < 12):
            return Answer(f"'{number}' is no trial; expected its number", ok=False), True
        return client.kill(directory, [int(number)]), True
    wanted = {limit: given[limit].strip() for limit in LIMITS if given.get(limit, "").strip()}
    if not wanted:
        return Answer("Nothing was named that the budget gets more of; expected such as +50", ok=False), True
    return client.extend(directory, wanted)
