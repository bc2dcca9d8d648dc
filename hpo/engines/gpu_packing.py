"""Number of trials that share a GPU, by measurement (`engine.gpu: auto`).

Trials with the same structural parameters are a group: they train models of one shape. A group asks for 1/n of a GPU
for each trial, where n is its level. An engine starts a trial where that much of a GPU is free, so the shares on a GPU
never add up to more than one. Two things decide the level:

- Memory. The first trial of a group has a GPU to itself until its peak is known. Level n is allowed while n times the
  highest peak so far, and a margin, fit. Parameters that decide about memory should be structural. With a batch size
  that is not, the group's peak is that of its largest batch so far, and a trial that is larger still may run out of
  memory in its share. The packing is to blame for that, not the configuration: see `Packer.finished`.
- Speed. The levels are tried upwards. A level pays if its trials together do at least a tenth more work than those of
  the level below. The utilisation that nvidia-smi shows is no evidence: it is the part of the time in which any kernel
  ran, on however little of the GPU.

Speeds of unlike trials cannot be compared: samples per second depend less on the batch size than steps per second
do, but on a GPU that waits for its host they grow with it too. So a speed counts relative to those of like trials at
the level below. Like trials have the same structural parameters, and the same whole numbers, words and switches beside
them; real numbers such as a learning rate are taken to cost no time. Where few trials are alike, as in a space of many
such parameters, all speeds of a level are taken together, and then the decision is as good as their mix.

A trial of another group on the same GPU counts as a neighbour like any other: what runs beside a trial is what the
study's sampler proposes, and packing has to pay beside that.

A Packer does not know about engines, GPUs of different kinds (shares are parts of whichever GPU) or earlier runs. A
driver that starts again measures anew, unless it tells `finished` how much memory earlier trials took.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

LEVELS = (1, 2, 4)
# Part of the peak that must also fit: allocators fragment, and an epoch is not the whole of a training.
MARGIN = 0.1
# A level pays if it does at least this many times the work of the level below.
GAIN = 1.1
# Number of speeds that a level is judged by.
SPEEDS = 3
# Trials of a level after which speeds of unlike trials are compared, for want of like ones.
UNLIKE_TRIALS = 4
_REMEMBERED = 300


class Row(NamedTuple):
    """Measurements of a group, and the decision.

    Attributes:
        group: its structural parameters, as text.
        peak: part of a GPU's memory that a trial takes; None: unknown.
        level: number of trials that share a GPU.
        rates: median speed of a trial, by the number of trials on its GPU.
        why: a sentence.
    """

    group: str
    peak: float | None
    level: int
    rates: Mapping[int, float]
    why: str


class _Speed(NamedTuple):
    number: int
    kind: str  # the same for like trials
    rate: float


def _no_speeds() -> dict[int, deque[_Speed]]:
    return {level: deque(maxlen=_REMEMBERED) for level in LEVELS}


@dataclass
class _Group:
    """State of a group.

    level: what trials ask for. best: the highest level that has paid, `level` itself or the one below it. most: the
    highest level that has not run out of memory. settled: `level` stays.
    """

    peak: float | None = None
    level: int = LEVELS[0]
    best: int = LEVELS[0]
    most: int = LEVELS[-1]
    settled: bool = False
    gain: str = ""
    speeds: dict[int, deque[_Speed]] = field(default_factory=_no_speeds)

    def above(self) -> int | None:
        """Return the next level that memory allows, or None."""
        higher = [level for level in LEVELS if level > self.level]
        return higher[0] if higher and self.allows(higher[0]) else None

    def allows(self, level: int) -> bool:
        return level == 1 or (level <= self.most and self.peak is not None and level * self.peak * (1 + MARGIN) <= 1)


class Packer:
    """Decide the level of each group.

    Args:
        structural: names, as the objective sees them, of the parameters that make groups.
    """

    def __init__(self, structural: Sequence[str]) -> None:
        self._structural = tuple(structural)
        self._groups: dict[str, _Group] = {}

    def group(self, params: Mapping[str, Any]) -> str:
        """Return the group of a trial: its structural parameters, `architecture="unet", base_width=8`."""
        return _key(params, [name for name in self._structural if name in params]) or "all trials"

    def alone(self, params: Mapping[str, Any]) -> bool:
        """Return True if the memory of such a trial is not known yet, so that it needs a GPU to itself."""
        return self._of(params).peak is None

    def share(self, params: Mapping[str, Any]) -> float:
        """Return the part of a GPU that the next such trial asks for: 1, 1/2 or 1/4."""
        return 1 / self._of(params).level

    def reported(
        self,
        number: int,
        params: Mapping[str, Any],
        memory: float | None,
        rate: float | None,
        neighbours: int | None,
    ) -> None:
        """Take in the measurements of a running trial.

        Args:
            number: the trial's.
            params: its parameters, as the objective sees them.
            memory: the most that it has taken so far, CUDA context included, as a part of its GPU's memory; None:
                unknown.
            rate: its speed since its last report, in one unit for the whole study: samples per second, or epochs per
                second if all epochs have the same number of samples; None: unknown.
            neighbours: number of trials on its GPU, this one included, if it has not changed since the last report;
                else None.
        """
        group = self._of(params)
        self._remember(group, memory)
        if rate is not None and neighbours in LEVELS and math.isfinite(rate) and rate > 0 and not group.settled:
            others = [name for name in params if name not in self._structural and _counts(params[name])]
            group.speeds[neighbours].append(_Speed(number, _key(params, sorted(others)), rate))
        self._judge(group)

    def finished(
        self,
        number: int,
        params: Mapping[str, Any],
        memory: float | None,
        out_of_memory: bool,
        share: float | None = None,
    ) -> bool:
        """Take in the end of a trial.

        For a trial of an earlier run, with the memory that it took, this spares its group the trial that runs alone.

        Args:
            number: the trial's.
            params: its parameters, as the objective sees them.
            memory: the most that it took, as a part of its GPU's memory; None: unknown.
            out_of_memory: it ran out of GPU memory.
            share: the part of the GPU that it had; None: what its group asks for now.

        Returns:
            True if it ran out of memory in less than a whole GPU. Its group then never packs as densely again, and the
            trial should be tried again, since the configuration is not to blame.
        """
        group = self._of(params)
        self._remember(group, memory)
        level = group.level if share is None else round(1 / share) if share > 0 else 1
        blamed = out_of_memory and level > 1
        if blamed:
            group.most = min(group.most, max(lower for lower in LEVELS if lower < level))
        self._judge(group)
        return blamed

    def rows(self) -> list[Row]:
        """Return the groups in the order in which they came."""
        return [
            Row(
                name,
                group.peak,
                group.level,
                {level: median(speed.rate for speed in speeds) for level, speeds in group.speeds.items() if speeds},
                _why(group),
            )
            for name, group in self._groups.items()
        ]

    def _of(self, params: Mapping[str, Any]) -> _Group:
        return self._groups.setdefault(self.group(params), _Group())

    def _remember(self, group: _Group, memory: float | None) -> None:
        if memory is not None and math.isfinite(memory) and memory >= 0:
            group.peak = max(memory, group.peak or 0.0)

    def _judge(self, group: _Group) -> None:
        """Go to the next level while that pays, and back from one that does not; then the group is settled."""
        if not group.allows(group.level):
            group.level = max(level for level in LEVELS if group.allows(level))
            group.best = min(group.best, group.level)
            group.settled = True
        while group.peak is not None and not group.settled:
            if group.level > group.best:
                gain = _gain(group.speeds[group.best], group.speeds[group.level], group.best, group.level)
                if gain is None:
                    return
                group.gain = f"{group.level} beside each other do {gain:.2f} times the work of {_many(group.best)}"
                if gain < GAIN:
                    group.gain += f", too little to pay ({GAIN:g})"
                    group.level, group.settled = group.best, True
                    return
                group.best = group.level
            above = group.above()
            if above is None:
                group.settled = True
            elif len(group.speeds[group.level]) < SPEEDS:
                return
            else:
                group.level = above


def _gain(below: Sequence[_Speed], speeds: Sequence[_Speed], low: int, high: int) -> float | None:
    """Return how many times the work of `low` trials on a GPU `high` of them do; None: too little was measured."""
    rates_of_kind: dict[str, list[float]] = {}
    for speed in below:
        rates_of_kind.setdefault(speed.kind, []).append(speed.rate)
    relative = [speed.rate / median(rates_of_kind[speed.kind]) for speed in speeds if speed.kind in rates_of_kind]
    if len(relative) >= SPEEDS:
        return high / low * median(relative)
    if len(speeds) >= SPEEDS and len({speed.number for speed in speeds}) >= UNLIKE_TRIALS:
        return high / low * median(speed.rate for speed in speeds) / median(speed.rate for speed in below)
    return None


def _why(group: _Group) -> str:
    if group.peak is None:
        return "its memory is not known yet: a trial of it has a GPU to itself"
    if not group.settled:
        known = len(group.speeds[group.level])
        at = _many(group.level) + (" beside each other" if group.level > 1 else "")
        return f"measuring the speed of {at}: {known} so far"
    higher = [level for level in LEVELS if level > group.level]
    reasons = [group.gain] if group.gain else []
    if higher and not group.allows(higher[0]):
        if group.most < higher[0]:
            reasons.append(f"a trial ran out of memory in 1/{higher[0]} of a GPU")
        else:
            reasons.append(f"{higher[0]} do not fit: one takes {group.peak:.0%} of a GPU's memory")
    return "; ".join(reasons)


def _many(level: int) -> str:
    return "one alone" if level == 1 else str(level)


def _counts(value: Any) -> bool:
    """Return True if like trials share this value of a parameter: no real number, and no weights."""
    return value is None or isinstance(value, (str, bool, int))


def _key(params: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name}={json.dumps(params[name], sort_keys=True, default=str)}" for name in names)
