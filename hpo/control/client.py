"""Requests to the driver of a study; without a driver they are recorded for the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.control import requests
from hpo.control.requests import Answer, Pause
from hpo.errors import ControlError, StudyLocked
from hpo.machine.access import may_write, reason, require_write
from hpo.spec.load import load_spec
from hpo.storage.driver_lock import driver_lock, driver_of

# How often a driver may begin or end between a look at it and what is done then.
_MOST_CHANGES = 5


def pause(directory: Path, now: bool = False) -> tuple[Answer, bool]:
    """Pause the study in `directory`; return the answer, and True if a driver gave it. Raises ControlError."""
    return _steer(directory, "pause", {"now": now}, lambda _: _note_pause(directory))


def resume(directory: Path) -> tuple[Answer, bool]:
    """Resume the study in `directory`; return the answer, and True if a driver gave it. Raises ControlError."""
    return _steer(directory, "resume", {}, lambda _: _note_resume(directory))


def stop(directory: Path, now: bool = False) -> Answer | None:
    """Stop the run of a study; return None if no driver is running. Raises ControlError."""
    return _ask(directory, "stop", {"now": now}, requests.new_id())


def kill(directory: Path, numbers: list[int]) -> Answer | None:
    """Kill running trials of a study; return None if no driver is running. Raises ControlError."""
    return _ask(directory, "kill", {"trials": numbers}, requests.new_id())


def extend(directory: Path, wanted: Mapping[str, str]) -> tuple[Answer, bool]:
    """Extend the budget of a study by `wanted` (`extended_budget`); return as `pause`. Raises ControlError."""
    return _steer(directory, "extend", wanted, lambda id: _note_extension(directory, wanted, id))


def _steer(
    directory: Path, action: str, arguments: Mapping[str, Any], alone: Callable[[str], Answer]
) -> tuple[Answer, bool]:
    id = requests.new_id()
    for _ in range(_MOST_CHANGES):
        if (answer := _ask(directory, action, arguments, id)) is not None:
            return answer, True
        try:
            with driver_lock(directory):
                return alone(id), False
        except StudyLocked:
            continue  # one has begun just now
        except OSError as error:
            raise ControlError(f"nothing can be noted in {directory}: {reason(error)}") from error
    raise ControlError(f"drivers of study '{directory.name}' begin and end all the time; try again")


def _ask(directory: Path, action: str, arguments: Mapping[str, Any], id: str) -> Answer | None:
    # The owner may let others steer a study that runs, by their rights on the folder of requests alone.
    if not may_write(directory / layout.REQUESTS):
        require_write(directory, f"study '{directory.name}' cannot be steered")
    for _ in range(_MOST_CHANGES):
        if driver_of(directory) is None:
            return None
        if (answer := requests.send_request(directory, action, arguments, id=id)) is not None:
            return answer
    raise ControlError(f"drivers of study '{directory.name}' begin and end all the time; try again")


# --- under the driver's lock, for the next driver


def _note_pause(directory: Path) -> Answer:
    kept = requests.read_steering(directory)
    if kept.paused is not None:
        return Answer(f"study '{directory.name}' is paused already, {kept.paused}; no driver is at work on it")
    requests.write_steering(directory, replace(kept, paused=Pause(time.time(), requests.user_and_host())))
    return Answer(f"study '{directory.name}' is paused; no driver is at work on it, and the next one will wait")


def _note_resume(directory: Path) -> Answer:
    kept = requests.read_steering(directory)
    if kept.paused is None:
        return Answer(f"study '{directory.name}' is not paused; no driver is at work on it")
    requests.write_steering(directory, replace(kept, paused=None))
    return Answer(f"study '{directory.name}' is no longer paused (it was {kept.paused}); no driver is at work on it")


def _note_extension(directory: Path, wanted: Mapping[str, str], id: str) -> Answer:
    kept = requests.read_steering(directory)
    if id in kept.answered:  # a driver did it, and died before it said so
        return Answer(kept.answered[id])
    spec = load_spec(directory / layout.SPEC, locate=False)
    after = requests.extended_budget(directory.name, spec.budget, wanted)
    requests.write_steering(directory, requests.extend_steering(kept, after))
    requests.record(requests.with_budget(spec, after), directory)
    return Answer(f"{requests.extension_sentence(directory.name, spec.budget, after)}; no driver is at work on it")
