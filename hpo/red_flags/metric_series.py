"""Metrics of a running trial by epoch, put together from reports that may each hold a part of an epoch."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence


class MetricSeries:
    """Metrics by epoch. A later value of a name takes the place of an earlier one.

    Attributes:
        epochs: those that were reported, ascending.
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self._metrics: dict[int, dict[str, float]] = {}
        self._values: dict[str, list[float]] = {}
        self._where: dict[str, list[int]] = {}

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Take in a report, of the newest epoch or of an earlier one."""
        if epoch not in self._metrics:
            insort(self.epochs, epoch)
        self._metrics.setdefault(epoch, {}).update(metrics)
        for name, value in metrics.items():
            where, values = self._where.setdefault(name, []), self._values.setdefault(name, [])
            place = bisect_left(where, epoch)
            if place < len(where) and where[place] == epoch:
                values[place] = value
            else:
                where.insert(place, epoch)
                values.insert(place, value)

    def __contains__(self, epoch: object) -> bool:
        """Return True if a part of the epoch was reported."""
        return epoch in self._metrics

    def at(self, epoch: int) -> Mapping[str, float]:
        """Return what is known of an epoch."""
        return self._metrics.get(epoch, {})

    def until(self, epoch: int) -> tuple[Mapping[str, Sequence[float]], Mapping[str, Sequence[int]]]:
        """Return for each metric its values up to an epoch, and the epochs of these."""
        if epoch == self.epochs[-1]:
            return self._values, self._where
        ends = {name: bisect_left(where, epoch + 1) for name, where in self._where.items()}
        values = {name: self._values[name][:end] for name, end in ends.items()}
        return values, {name: self._where[name][:end] for name, end in ends.items()}
