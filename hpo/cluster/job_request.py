"""Resources and options of a job, as the command line and the site file give them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hpo.errors import InvalidJobRequest
from hpo.text import quote

QUEUES = {"slurm": "SLURM", "pbs": "PBS"}

# Bounds of the default of `grace`, in seconds.
MOST_GRACE = 300
LEAST_GRACE = 10


@dataclass(frozen=True)
class JobRequest:
    """Request for a job of a queue.

    Attributes:
        queue: slurm or pbs; None: the one that is installed here.
        nodes: Number of nodes.
        gpus: GPUs of each node.
        cpus: CPUs of each node; None: the default of the queue.
        mem: Memory of each node, such as 64G; None: the default of the queue.
        time: Time limit in seconds; None: the default of the queue.
        partition: Partition, or the queue of PBS.
        account: Account that pays.
        extra: Options of the queue itself.
        setup: Shell lines before hpo.
        grace: Seconds before the time limit at which the study is interrupted; None: a tenth of the time.
        requeues: Number of times the job is put back in the queue at most.
    """

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

    def updated(self, options: JobOptions) -> JobRequest:
        """Return this request with the options that are set; options of the queue are added to those it has."""
        given = {name: value for name, value in options if value is not None}
        return replace(self, **{**given, "extra": (*self.extra, *(options.extra or ()))})

    @property
    def seconds_of_grace(self) -> int:
        """Return `grace`, else a tenth of the time limit, between LEAST_GRACE and MOST_GRACE.

        Raises:
            InvalidJobRequest: The time limit is not longer.
        """
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
    """Return `12:00:00`; more than a day as `36:00:00`."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def days(seconds: int) -> str:
    """Return `12:00:00`, and more than a day as SLURM writes it: `1-12:00:00`."""
    number = seconds // 86400
    return f"{number}-{hours(seconds % 86400)}" if number else hours(seconds)


_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _time(value: Any) -> int | None:
    # `90` and `12:00` are minutes to SLURM and seconds to PBS.
    seconds = 0
    if isinstance(value, str):
        if clock := _CLOCK.fullmatch(value):
            day, hour, minute, second = (int(part or 0) for part in clock.groups())
            seconds = ((day * 24 + hour) * 60 + minute) * 60 + second
        elif (unit := value[-1:]) in _UNITS and value[:-1].isdecimal():
            seconds = int(value[:-1]) * _UNITS[unit]
    if seconds > 0 or value is None:
        return seconds or None
    raise _refusal(value, "a time such as 12:00:00 (hours, minutes, seconds), 1-12:00:00 (a day more), 90m or 12h")


def _mem(value: Any) -> str | None:
    found = re.fullmatch(r"([1-9]\d*)([KMGT])i?B?", str(value), re.IGNORECASE)
    if found is None and value is not None:
        raise _refusal(value, "memory of a node such as 64G or 512M")
    return found and found[1] + found[2].upper()


def _lines(value: Any) -> tuple[str, ...] | None:
    """Return text as its lines, and a list as the lines of its entries."""
    if value is None:
        return None
    texts = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise _refusal(value, "a list of lines")
    return tuple(line for text in texts for line in text.splitlines() if line.strip())


def _options(value: Any) -> tuple[str, ...] | None:
    options = _lines(value)
    if not all(re.match(r"--?\w", option) for option in options or ()):
        raise _refusal(value, "options of the queue as they are typed, such as --qos=long")
    return options


def _refusal(value: Any, expected: str) -> ValueError:
    return ValueError(f"{quote(value)} is not right; expected {expected}")


def _integer(least: int, words: str) -> Any:
    return Field(strict=True, ge=least, description=f"{words}, {least} or more")


_Name = Annotated[str | None, Field(pattern=r"^[\w.@:/,+=-]+$", description="a name, without spaces")]


class JobOptions(BaseModel):
    """Options of `hpo submit` and keys of the site file, as a user writes them; None: not given."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="a site file")

    queue: Literal["slurm", "pbs"] | None = None
    nodes: Annotated[int | None, _integer(1, "a number of nodes")] = None
    gpus: Annotated[int | None, _integer(0, "a number of GPUs of each node")] = None
    cpus: Annotated[int | None, _integer(1, "a number of CPUs of each node")] = None
    mem: Annotated[str | None, BeforeValidator(_mem)] = None
    time: Annotated[int | None, BeforeValidator(_time)] = None
    partition: _Name = None
    account: _Name = None
    extra: Annotated[tuple[str, ...] | None, BeforeValidator(_options)] = None
    setup: Annotated[tuple[str, ...] | None, BeforeValidator(_lines)] = None
    grace: Annotated[int | None, _integer(LEAST_GRACE, "seconds")] = None
    requeues: Annotated[int | None, _integer(0, "a number of times")] = None
