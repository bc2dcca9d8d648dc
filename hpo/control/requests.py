"""What `hpo pause`, `stop`, `kill` and `extend` leave in a study's folder for its driver, and what outlives the driver.

A request is a file in `requests/`, written whole or not at all; the driver answers with a file beside it, and the one
who asked takes both away. Nothing but the folder is needed, so a request may come from any machine that sees it, and
whoever may write there may steer. `steering.json` is written by whoever holds the driver's lock, and by nobody else."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError

from hpo import layout
from hpo.errors import ControlError, dotted
from hpo.machine.files import write_atomically
from hpo.spec.models import Budget
from hpo.storage.driver_lock import driver_of
from hpo.text import first_line, listing, nearest
from hpo.validation import problems_in

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

ACTIONS = ("pause", "resume", "stop", "kill", "extend")
# Of a request that no driver has answered, how long it is waited for: a folder of a network may be slow.
PATIENCE = 10.0
# How often an answer is looked for, the driver is, and a network's folder is asked what is new in it.
_LOOK, _DRIVER, _REFRESH = 0.05, 1.0, 0.5
_ANSWER = ".answer.json"
_MOST_BYTES = 65536
# How many requests are remembered, so that none is obeyed twice if a driver dies before it has answered.
_REMEMBERED = 20
# What can be extended, and what it is a number of.
LIMITS = {"trials": "trials", "hours": "hours", "gpu_hours": "GPU hours"}


@dataclass(frozen=True)
class Request:
    """`id`: the name of its file, without the ending. `by`: user@host. `sent`: seconds since the epoch, there."""

    id: str
    action: str
    arguments: Mapping[str, Any]
    by: str
    sent: float


@dataclass(frozen=True)
class Answer:
    """`said`: a sentence. `ok`: what was asked was done, or was so already."""

    said: str
    ok: bool = True


@dataclass(frozen=True)
class Pause:
    """`since`: seconds since the epoch. `by`: user@host."""

    since: float
    by: str

    def __str__(self) -> str:
        return f"since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.since))} by {self.by}"


@dataclass(frozen=True)
class Steering:
    """`budget`: limits that were extended, as they are now, by the names of study.yaml. `answered`: what was said to
    the last requests that must not be obeyed twice."""

    paused: Pause | None = None
    budget: Mapping[str, float] = field(default_factory=dict)
    answered: Mapping[str, str] = field(default_factory=dict)

    def remembering(self, id: str, said: str) -> Steering:
        answered = {**self.answered, id: said}
        return replace(self, answered=dict(list(answered.items())[-_REMEMBERED:]))


def _whole_numbers(budget: Any) -> Any:
    """Return the limits with trials as the integer that they are; `steering.json` has floats."""
    is_whole = isinstance(budget, dict) and isinstance(budget.get("trials"), float) and budget["trials"].is_integer()
    return {**budget, "trials": int(budget["trials"])} if is_whole else budget


class _SteeringFile(BaseModel):
    paused: Pause | None
    budget: Annotated[Budget, BeforeValidator(_whole_numbers)]
    answered: dict[str, str]


def oneself() -> str:
    """user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


# --- what outlives the driver


def read_steering(directory: Path) -> Steering:
    """Return what is kept in a study's folder; ControlError if the file holds something else."""
    path = directory / layout.STEERING
    try:
        kept = _SteeringFile.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Steering()
    except (ValidationError, OSError) as error:
        problems = (
            problems_in(error, _SteeringFile) if isinstance(error, ValidationError) else [((), first_line(error))]
        )
        said = "; ".join(": ".join(filter(None, [dotted(keys), message])) for keys, message in problems)
        raise ControlError(
            f"{path} cannot be read ({said}); it says whether the study is paused and how far its budget was "
            "extended. Delete it to go on as study.yaml says"
        ) from error
    limits = kept.budget.model_dump(exclude_unset=True)
    return Steering(kept.paused, {name: float(amount) for name, amount in limits.items()}, kept.answered)


def write_steering(directory: Path, steering: Steering) -> None:
    """Under the driver's lock alone."""
    write_atomically(directory / layout.STEERING, json.dumps(asdict(steering), indent=1))


def effective(spec: StudySpec, steering: Steering) -> StudySpec:
    """The spec with each limit of its budget at what it was extended to, if that is more. A limit that study.yaml does
    not set stays unset."""
    now = spec.budget.model_dump()
    larger = {name: to for name, to in steering.budget.items() if now[name] is not None and to > now[name]}
    return with_budget(spec, Budget(**{**now, **_whole_trials(larger)})) if larger else spec


def with_budget(spec: StudySpec, budget: Budget) -> StudySpec:
    return spec.model_copy(update={"budget": budget})


def record(spec: StudySpec, directory: Path) -> None:
    """Writes the study as it runs into its folder, for all who read it."""
    write_atomically(directory / layout.SPEC, spec.to_yaml())


def extended(name: str, budget: Budget, wanted: Mapping[str, Any]) -> Budget:
    """The budget of study `name` with the limits `wanted`: "+50" is that many more, "150" that many in all.

    Raises ControlError, with the sentence for the user."""
    now = budget.model_dump()
    new: dict[str, float] = {}
    if not wanted:
        raise ControlError("nothing to extend was named; expected --trials, --hours or --gpu-hours, such as +50")
    for limit, given in wanted.items():
        if limit not in LIMITS:
            expected = f"expected {listing(LIMITS)}.{nearest(limit, LIMITS)}"
            raise ControlError(f"'{limit}' is no limit of a budget; {expected}")
        option = f"--{limit.replace('_', '-')}"
        if now[limit] is None:
            has = listing(f"{key} = {amount:g}" for key, amount in now.items() if key in LIMITS and amount is not None)
            ends = f"its budget is {has}" if has else "it ends when every cell of its grid was tried"
            raise ControlError(f"study '{name}' has no limit of {LIMITS[limit]} that {option} could extend; {ends}")
        more = str(given).startswith("+")
        try:
            amount = float(str(given))
            if not 0 < amount < float("inf") or (limit == "trials" and amount != int(amount)):
                raise ValueError
        except ValueError:
            kind = "whole number" if limit == "trials" else "number"
            raise ControlError(
                f"{option} is {str(given)!r}; expected +N for so many more or N for so many in all, a {kind} above 0"
            ) from None
        new[limit] = now[limit] + amount if more else amount
        if new[limit] <= now[limit]:
            raise ControlError(
                f"{option} {given} is not more than study '{name}' has now: {now[limit]:g} {LIMITS[limit]}; a budget "
                "can only be extended, `hpo pause` and `hpo stop` end a study sooner"
            )
    return Budget(**{**now, **_whole_trials(new)})


def extend_steering(steering: Steering, budget: Budget) -> Steering:
    """`steering`, with this budget kept in it."""
    limits = {name: float(amount) for name, amount in budget.model_dump().items() if name in LIMITS and amount}
    return replace(steering, budget={**steering.budget, **limits})


def extension_said(name: str, before: Budget, after: Budget) -> str:
    """`the budget of study 'toy' is now 150 trials (was 100)`."""
    old, new = before.model_dump(), after.model_dump()
    changes = [f"{new[key]:g} {word} (was {old[key]:g})" for key, word in LIMITS.items() if old[key] != new[key]]
    return f"the budget of study '{name}' is now {' and '.join(changes)}"


def _whole_trials(limits: Mapping[str, float]) -> dict[str, float]:
    return {name: int(amount) if name == "trials" else amount for name, amount in limits.items()}


# --- the side that asks


def new_id() -> str:
    """By their ids requests are sorted, and known if they are made again."""
    return f"{time.time_ns()}-{secrets.token_hex(4)}"


def ask(
    directory: Path,
    action: str,
    arguments: Mapping[str, Any],
    patience: float | None = None,
    by: str | None = None,
    id: str | None = None,
) -> Answer | None:
    """What the driver at work on the study says to a request; None if it ended without a word. It may have done what
    was asked all the same: whoever asks again does so with the same `id`.

    Raises ControlError if nothing came within `patience` seconds (None: PATIENCE), or the folder cannot be
    written. `by`: who asks (None: `oneself`)."""
    folder = directory / layout.REQUESTS
    name = id or new_id()
    content = {"action": action, "arguments": dict(arguments), "by": by or oneself(), "sent": time.time()}
    request, reply = folder / f"{name}.json", folder / f"{name}{_ANSWER}"
    try:
        folder.mkdir(exist_ok=True)
        write_atomically(request, json.dumps(content))
    except OSError as error:
        raise ControlError(
            f"a request to the driver of study '{directory.name}' cannot be left in {folder}: {error.strerror}. Who "
            "may write there may steer the study"
        ) from error
    try:
        return _wait(directory, request, reply, PATIENCE if patience is None else patience)
    finally:
        for path in (request, reply):
            with contextlib.suppress(OSError):
                path.unlink()


def _wait(directory: Path, request: Path, reply: Path, patience: float) -> Answer | None:
    began = time.monotonic()
    looked = refreshed = began
    while True:
        now = time.monotonic()
        if now - refreshed > _REFRESH:
            refreshed = now
            refresh(reply.parent)
        if (answer := _answer_in(reply)) is not None:
            return answer
        if now - looked > _DRIVER:
            looked = now
            if driver_of(directory) is None:
                # Its last words may have come just now.
                return _answer_in(reply)
        if now - began > patience:
            break
        time.sleep(_LOOK)
    # Withdrawn; but it may have been answered in this very moment.
    request.unlink(missing_ok=True)
    if (answer := _answer_in(reply)) is not None:
        return answer
    driver = driver_of(directory) or {}
    who = f"process {driver.get('pid', '?')} on {driver.get('host', '?')}"
    raise ControlError(
        f"the driver of study '{directory.name}' ({who}) did not answer within {patience:g} s: it may be starting, or "
        f"hang, or {directory} may be seen late there. The request was withdrawn; try again, or stop it there with "
        f"`kill {driver.get('pid', 'PID')}`"
    )


def _answer_in(path: Path) -> Answer | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Answer(str(content["said"]), bool(content["ok"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- the side that is asked


def prepare_request_folder(directory: Path) -> Path:
    """The folder of requests, made if need be, without those that nobody waits for any more: what a killed driver or a
    killed command left there."""
    folder = directory / layout.REQUESTS
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        mark = folder / f"{secrets.token_hex(4)}.partial"
        mark.touch()
        now = mark.stat().st_mtime  # by the clock of whoever holds the files
        for path in folder.iterdir():
            if path == mark or now - path.stat().st_mtime > PATIENCE:
                path.unlink()
    return folder


def waiting(folder: Path) -> Iterator[Request | tuple[str, Answer]]:
    """What has been asked and not been answered, in the order sent; of what is no request, its id and the answer to
    it."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    for name in names:
        id = name.removesuffix(".json")
        if name.endswith(_ANSWER) or f"{id}{_ANSWER}" in names:
            continue
        try:
            content = _read(folder / name)
        except FileNotFoundError:
            continue  # withdrawn
        except OSError as error:
            yield id, Answer(f"the request cannot be read: {error.strerror}", ok=False)
            continue
        try:
            request = json.loads(content)
            action, arguments = request["action"], request["arguments"]
            if action not in ACTIONS:
                yield id, Answer(f"there is no request '{action}'; expected {listing(ACTIONS)}", ok=False)
            elif not isinstance(arguments, dict):
                raise TypeError
            else:
                yield Request(id, action, arguments, str(request.get("by", "?")), float(request.get("sent", 0.0)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            said = 'expected a request such as {"action": "pause", "arguments": {}, "by": "user@host", "sent": 0}'
            yield id, Answer(f"{name} is no request; {said}", ok=False)


def answer(folder: Path, id: str, answer: Answer) -> None:
    """Leaves the answer, and takes the request away. Raises OSError."""
    write_atomically(folder / f"{id}{_ANSWER}", json.dumps(asdict(answer)))
    (folder / f"{id}.json").unlink(missing_ok=True)


def refresh(folder: Path) -> None:
    """A network's file system tells late what others have put into a folder, unless one changes something there."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def _read(path: Path) -> bytes:
    """Of a plain file and no more than a request has: whatever else lies there must not hold the driver up."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(0, "it is no plain file")
        return os.read(file, _MOST_BYTES)
    finally:
        os.close(file)
