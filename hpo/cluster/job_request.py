"""What a job asks of a queue, as the command line and the site file give it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo.errors import InvalidJobRequest
from hpo.text import nearest

QUEUES = {"slurm": "SLURM", "pbs": "PBS"}

# Of a job without a limit of its own, or a long one, in seconds.
MOST_GRACE = 300
LEAST_GRACE = 10


@dataclass(frozen=True)
class JobRequest:
    """`gpus`, `cpus`, `mem` (such as 64G) are of each node; `time` and `grace` seconds; None: as the queue has it.
    `extra`: options of the queue; `setup`: shell lines before hpo; `grace`: how long before the limit the study is
    interrupted; `requeues`: how often at most it is put in the queue again."""

    queue: str | None = None
    nodes: int = 1
    gpus: int = 0
    cpus: int | None = None
    mem: str | None = None
    time: int | None = None
    partition: str | None = None
    account: str | None = None
    extra: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    grace: int | None = None
    requeues: int = 100

    def with_(self, given: Mapping[str, Any]) -> JobRequest:
        """These, but for what is `given` (values that `read` returned); options of the queue are added."""
        extra = (*self.extra, *given.get("extra", ()))
        return replace(self, **{**given, "extra": extra})

    @property
    def seconds_of_grace(self) -> int:
        """`grace`, else a tenth of the time, within limits. Raises InvalidJobRequest if the time is not longer."""
        if self.grace is None:
            tenth = MOST_GRACE if self.time is None else self.time // 10
            grace = min(MOST_GRACE, max(LEAST_GRACE, tenth))
        else:
            grace = self.grace
        if self.time is not None and self.time <= grace:
            raise InvalidJobRequest(
                f"the time is {hours(self.time)}, and the study is to be interrupted {grace} s before its end, so it "
                "would never run; give more --time or less --grace"
            )
        return grace


def hours(seconds: int) -> str:
    """`12:00:00`, of days too: `36:00:00`."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def days(seconds: int) -> str:
    """`12:00:00` and `1-12:00:00`, as SLURM writes it."""
    number = seconds // 86400
    return f"{number}-{hours(seconds % 86400)}" if number else hours(seconds)


_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _time(value: Any) -> int:
    # `90` and `12:00` are minutes to SLURM and seconds to PBS.
    if isinstance(value, str):
        if clock := _CLOCK.fullmatch(value):
            day, hour, minute, second = (int(part or 0) for part in clock.groups())
            seconds = ((day * 24 + hour) * 60 + minute) * 60 + second
        elif (unit := value[-1:]) in _UNITS and value[:-1].isdecimal():
            seconds = int(value[:-1]) * _UNITS[unit]
        else:
            seconds = 0
        if seconds > 0:
            return seconds
    raise ValueError("a time such as 12:00:00 (hours, minutes, seconds), 1-12:00:00 (a day more), 90m or 12h")


def _mem(value: Any) -> str:
    found = re.fullmatch(r"([1-9]\d*)([KMGT])i?B?", str(value), re.IGNORECASE)
    if not found:
        raise ValueError("memory of a node such as 64G or 512M")
    return found[1] + found[2].upper()


def _number(least: int, what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{what}, {least} or more")
        return value

    return read


def _word(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.@:/,+=-]+", value):
        raise ValueError("a name, without spaces")
    return value


def _queue(value: Any) -> str:
    if value not in QUEUES:
        raise ValueError(f"slurm or pbs.{nearest(value, QUEUES)}")
    return str(value)


def _extra(value: Any) -> tuple[str, ...]:
    options = _lines(value)
    if not all(re.match(r"--?\w", option) for option in options):
        raise ValueError("options of the queue as they are typed, such as --qos=long")
    return options


def _lines(value: Any) -> tuple[str, ...]:
    lines = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(line, str) for line in lines):
        raise ValueError("a list of lines")
    return tuple(line for text in lines for line in text.splitlines() if line.strip())


READERS: Mapping[str, Callable[[Any], Any]] = {
    "queue": _queue,
    "nodes": _number(1, "a number of nodes"),
    "gpus": _number(0, "a number of GPUs of each node"),
    "cpus": _number(1, "a number of CPUs of each node"),
    "mem": _mem,
    "time": _time,
    "partition": _word,
    "account": _word,
    "extra": _extra,
    "setup": _lines,
    "grace": _number(LEAST_GRACE, "seconds"),
    "requeues": _number(0, "a number of times"),
}


def read(name: str, value: Any) -> Any:
    """The value of a wish as it is kept. Raises ValueError with the sentence that says what is expected."""
    try:
        return READERS[name](value)
    except ValueError as error:
        raise ValueError(f"{str(value)!r} is not understood; expected {error}") from None
