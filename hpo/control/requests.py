"""Requests of `hpo pause`, `stop`, `kill` and `extend` to the driver of a study, and what outlives the driver.

A request is a file in `requests/`, written whole or not at all. The driver answers with a file beside it, and the
sender removes both. Nothing but the folder is needed, so a request may come from any machine that sees it. Everybody
who may write there may control the study. `steering.json` is written only by the process that holds the driver's lock.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from hpo import layout
from hpo.errors import ControlError, dotted
from hpo.machine.access import reason, told_denials
from hpo.machine.files import parse_json, read_json, read_plain, write_atomically
from hpo.spec.models import Budget
from hpo.spec.wording import moment_text
from hpo.storage.driver_lock import driver_of
from hpo.storage.history import LARGEST_TIME
from hpo.text import cut, first_line, listing, nearest, printable, quote
from hpo.validation import problems_in

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

ACTIONS = ("pause", "resume", "stop", "kill", "extend")
# Of a request that no driver has answered, how long it is waited for: a folder of a network may be slow.
ANSWER_TIMEOUT = 10.0
# How often an answer is looked for, the driver is, and a network's folder is asked what is new in it.
_POLL_SECONDS, _DRIVER_POLL_SECONDS, _REFRESH_SECONDS = 0.05, 1.0, 0.5
_ANSWER = ".answer.json"
_MOST_BYTES = 65536
_LONGEST_SENDER = 200
# How many requests are remembered, so that none is obeyed twice if a driver dies before it has answered.
_REMEMBERED = 20
# What can be extended, and what it is a number of.
LIMITS = {"trials": "trials", "hours": "hours", "gpu_hours": "GPU hours"}


@dataclass(frozen=True)
class Request:
    """A request to the driver.

    Attributes:
        id: Name of its file, without the ending.
        action: One of ACTIONS.
        arguments: Arguments of the action.
        by: user@host of the sender.
        sent: Seconds since the epoch, by the sender's clock.
    """

    id: str
    action: str
    arguments: Mapping[str, Any]
    by: str
    sent: float


@dataclass(frozen=True)
class Answer:
    """Answer to a request: the sentence `said`, and `ok` if what was asked is so now."""

    said: str
    ok: bool = True


@dataclass(frozen=True)
class Pause:
    """A pause, with its beginning in seconds since the epoch, and the user@host who asked for it."""

    since: float
    by: str

    def __str__(self) -> str:
        return f"since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.since))} by {self.by}"


@dataclass(frozen=True)
class Steering:
    """State that outlives the driver: the content of `steering.json`.

    Attributes:
        paused: The pause, if the study is paused.
        budget: Limits that were extended, as they are now, by their names in study.yaml.
        answered: Answers to the last requests that must not be carried out twice, by id.
    """

    paused: Pause | None = None
    budget: Mapping[str, float] = field(default_factory=dict)
    answered: Mapping[str, str] = field(default_factory=dict)

    def remembering(self, id: str, said: str) -> Steering:
        """Return this state with one more answer; the oldest ones are dropped."""
        answered = {**self.answered, id: said}
        return replace(self, answered=dict(list(answered.items())[-_REMEMBERED:]))


def _whole_numbers(budget: Any) -> Any:
    """Return the limits with `trials` as an integer; `steering.json` holds floats."""
    is_whole = isinstance(budget, dict) and isinstance(budget.get("trials"), float) and budget["trials"].is_integer()
    return {**budget, "trials": int(budget["trials"])} if is_whole else budget


def _on_a_calendar(paused: Pause | None) -> Pause | None:
    if paused is not None and not 0 <= paused.since < LARGEST_TIME:
        raise ValueError(f"since is {paused.since}; expected seconds since the epoch")
    return paused


class _SteeringFile(BaseModel):
    """Content of `steering.json`."""

    paused: Annotated[Pause | None, AfterValidator(_on_a_calendar)]
    budget: Annotated[Budget, BeforeValidator(_whole_numbers)]
    answered: dict[str, str]


def user_and_host() -> str:
    """Return user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


# --- what outlives the driver


def read_steering(directory: Path) -> Steering:
    """Return the state kept in a study's folder; ControlError if the file holds something else."""
    path = directory / layout.STEERING
    try:
        with told_denials():
            content = read_plain(path, _MOST_BYTES)
        kept = _SteeringFile.model_validate_json(content)
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
    """Write the state; only the process that holds the driver's lock may."""
    write_atomically(directory / layout.STEERING, json.dumps(asdict(steering), indent=1))


def effective(spec: StudySpec, steering: Steering) -> StudySpec:
    """Return the spec with the limits of its budget as they were extended, where that is more.

    A limit that study.yaml does not set stays unset.
    """
    now = spec.budget.model_dump()
    larger = {name: to for name, to in steering.budget.items() if now[name] is not None and to > now[name]}
    return with_budget(spec, Budget(**{**now, **_whole_trials(larger)})) if larger else spec


def with_budget(spec: StudySpec, budget: Budget) -> StudySpec:
    """Return the spec with another budget."""
    return spec.model_copy(update={"budget": budget})


def record(spec: StudySpec, directory: Path) -> None:
    """Write the study as it runs into its folder, for all who read it."""
    write_atomically(directory / layout.SPEC, spec.to_yaml())


def extended_budget(name: str, budget: Budget, wanted: Mapping[str, Any]) -> Budget:
    """Return the budget of study `name` with the limits `wanted`: "+50" is 50 more, "150" is 150 in all.

    Raises:
        ControlError: With a sentence for the user.
    """
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
            by = "" if budget.by is None else f"by = {moment_text(budget.by)}"
            has = ", ".join(filter(None, [has, by]))
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
    """Return the state with this budget kept in it."""
    limits = {name: float(amount) for name, amount in budget.model_dump().items() if name in LIMITS and amount}
    return replace(steering, budget={**steering.budget, **limits})


def extension_sentence(name: str, before: Budget, after: Budget) -> str:
    """Return a sentence such as `the budget of study 'toy' is now 150 trials (was 100)`."""
    old, new = before.model_dump(), after.model_dump()
    changes = [f"{new[key]:g} {word} (was {old[key]:g})" for key, word in LIMITS.items() if old[key] != new[key]]
    return f"the budget of study '{name}' is now {' and '.join(changes)}"


def _whole_trials(limits: Mapping[str, float]) -> dict[str, float]:
    return {name: int(amount) if name == "trials" else amount for name, amount in limits.items()}


# --- the side that asks


def new_id() -> str:
    """Return a new id; ids sort by time, and a request that is sent again keeps its id."""
    return f"{time.time_ns()}-{secrets.token_hex(4)}"


def send_request(
    directory: Path,
    action: str,
    arguments: Mapping[str, Any],
    timeout: float | None = None,
    by: str | None = None,
    id: str | None = None,
) -> Answer | None:
    """Send a request to the driver of a study and return its answer.

    Args:
        directory: Folder of the study.
        action: One of ACTIONS.
        arguments: Arguments of the action.
        timeout: Seconds to wait for the answer; None: ANSWER_TIMEOUT.
        by: Sender; None: `user_and_host()`.
        id: Id of a request that is sent again; None: a new one.

    Returns:
        The answer; None if the driver ended without one. The driver may have done what was asked all the same, so the
        request is sent again with the same `id`.

    Raises:
        ControlError: There was no answer in time, or the folder cannot be written.
    """
    folder = directory / layout.REQUESTS
    name = id or new_id()
    content = {"action": action, "arguments": dict(arguments), "by": by or user_and_host(), "sent": time.time()}
    request, reply = folder / f"{name}.json", folder / f"{name}{_ANSWER}"
    try:
        folder.mkdir(exist_ok=True)
        write_atomically(request, json.dumps(content))
    except OSError as error:
        raise ControlError(
            f"a request to the driver of study '{directory.name}' cannot be left in {folder}: {reason(error)}. Who "
            "may write there may steer the study"
        ) from error
    try:
        return _wait(directory, request, reply, ANSWER_TIMEOUT if timeout is None else timeout)
    finally:
        for path in (request, reply):
            with contextlib.suppress(OSError):
                path.unlink()


def _wait(directory: Path, request: Path, reply: Path, timeout: float) -> Answer | None:
    began = time.monotonic()
    looked = refreshed = began
    while True:
        now = time.monotonic()
        if now - refreshed > _REFRESH_SECONDS:
            refreshed = now
            refresh(reply.parent)
        if (answer := _answer_in(reply)) is not None:
            return answer
        if now - looked > _DRIVER_POLL_SECONDS:
            looked = now
            if driver_of(directory) is None:
                # Its last words may have come just now.
                return _answer_in(reply)
        if now - began > timeout:
            break
        time.sleep(_POLL_SECONDS)
    # Withdrawn; but it may have been answered in this very moment.
    request.unlink(missing_ok=True)
    if (answer := _answer_in(reply)) is not None:
        return answer
    driver = driver_of(directory) or {}
    who = f"process {driver.get('pid', '?')} on {driver.get('host', '?')}"
    raise ControlError(
        f"the driver of study '{directory.name}' ({who}) did not answer within {timeout:g} s: it may be starting, or "
        f"hang, or {directory} may be seen late there. The request was withdrawn; try again, or stop it there with "
        f"`kill {driver.get('pid', 'PID')}`"
    )


def _answer_in(path: Path) -> Answer | None:
    try:
        content = read_json(path, _MOST_BYTES, links=False)
        return Answer(printable(str(content["said"])), bool(content["ok"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- the side that is asked


def prepare_request_folder(directory: Path) -> Path:
    """Return the folder of requests; make it if needed, and remove files that nobody waits for.

    A killed driver or a killed command leaves such files there.
    """
    folder = directory / layout.REQUESTS
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        mark = folder / f"{secrets.token_hex(4)}.partial"
        mark.touch()
        now = mark.stat().st_mtime  # by the clock of whoever holds the files
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                if path == mark or now - path.lstat().st_mtime > ANSWER_TIMEOUT:
                    path.unlink()
    return folder


def pending_requests(folder: Path) -> Iterator[Request | tuple[str, Answer]]:
    """Yield pending requests in the order sent; for an invalid file yield (id, error answer)."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    for name in names:
        id = name.removesuffix(".json")
        if name.endswith(_ANSWER) or f"{id}{_ANSWER}" in names:
            continue
        try:
            content = read_plain(folder / name, _MOST_BYTES, links=False)
        except FileNotFoundError:
            continue  # withdrawn
        except OSError as error:
            yield id, Answer(f"the request cannot be read: {error.strerror}", ok=False)
            continue
        try:
            request = parse_json(content)
            json.dumps(request, ensure_ascii=False).encode()  # lone surrogates are no text that could be answered
            action, arguments = request["action"], request["arguments"]
            if action not in ACTIONS:
                yield id, Answer(f"there is no request {quote(action)}; expected {listing(ACTIONS)}", ok=False)
            elif not isinstance(arguments, dict):
                raise TypeError
            else:
                yield Request(
                    id,
                    action,
                    arguments,
                    cut(str(request.get("by", "?")), _LONGEST_SENDER),
                    float(request.get("sent", 0.0)),
                )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            said = 'expected a request such as {"action": "pause", "arguments": {}, "by": "user@host", "sent": 0}'
            yield id, Answer(f"{name} is no request; {said}", ok=False)


def write_answer(folder: Path, id: str, answer: Answer) -> None:
    """Write the answer and remove the request. Raises OSError."""
    write_atomically(folder / f"{id}{_ANSWER}", json.dumps(asdict(answer)))
    (folder / f"{id}.json").unlink(missing_ok=True)


def refresh(folder: Path) -> None:
    """Change the folder's time: network file systems show new files of others late otherwise."""
    with contextlib.suppress(OSError):
        os.utime(folder)
