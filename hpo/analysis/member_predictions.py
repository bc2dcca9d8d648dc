"""Predictions of kept weights as an objective's `predict` gives them, kept on disk, and averages of them.

Columns of floating-point numbers are averaged. target, rank, group, name and columns of other kinds say something of
the items, and are the same for all members of an ensemble. Predictions of many images may not fit into memory, so each
column is a file that is read in parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.predictions import GROUP, RANK, SCORE, TARGET
from hpo.errors import ObjectiveError
from hpo.text import brief, listing

ABOUT, NAME = "about", "name"
OF_ITEMS = (TARGET, RANK, GROUP, NAME)
PART_BYTES = 64 * 2**20  # of a column that is read at once

Column = NDArray[Any]


@dataclass(frozen=True)
class MemberPredictions:
    """Predictions of one member.

    Attributes:
        columns: By name, a row an item.
        about: What the objective says of them, as in `evaluate`.
        shift: Subtracted from `score`.
        scale: By which it is divided then.
    """

    columns: Mapping[str, Column]
    about: Mapping[str, Any] = field(default_factory=dict)
    shift: float = 0.0
    scale: float = 1.0

    @property
    def rows(self) -> int:
        """Number of items."""
        return len(next(iter(self.columns.values())))

    def averaged(self, name: str) -> bool:
        """Return True if a column is averaged."""
        return name not in OF_ITEMS and self.columns[name].dtype.kind == "f"

    def part(self, name: str, rows: slice) -> Column:
        """Return rows of a column; those that are averaged as float64."""
        part = np.asarray(self.columns[name][rows])
        if not self.averaged(name):
            return part
        values = part.astype(np.float64)
        return (values - self.shift) / self.scale if name == SCORE else values

    def standardised(self) -> tuple[float, float]:
        """Return mean and standard deviation of its scores, 1 where they are all equal."""
        scores = np.asarray(self.columns[SCORE], np.float64)
        return float(scores.mean()), float(scores.std()) or 1.0

    def with_scale(self, shift: float, scale: float) -> MemberPredictions:
        """Return the same with scores standardised by these numbers."""
        return replace(self, shift=shift, scale=scale)


@dataclass(frozen=True)
class Average:
    """Weighted average of the predictions of some members, computed where it is asked for.

    Attributes:
        members: Their predictions of the same items.
        weights: The weight of each, above 0.
    """

    members: Sequence[MemberPredictions]
    weights: Sequence[float]

    @property
    def first(self) -> MemberPredictions:
        """The first member, whose items are those of all."""
        return self.members[0]

    def part(self, name: str, rows: slice = slice(None)) -> Column:
        """Return rows of a column."""
        if not self.first.averaged(name):
            return self.first.part(name, rows)
        pairs = zip(self.members, self.weights, strict=True)
        total: Any = sum(weight * member.part(name, rows) for member, weight in pairs)
        return np.asarray(total / sum(self.weights))

    def parts(self, *names: str) -> Iterator[tuple[slice, tuple[Column, ...]]]:
        """Return columns in parts of bounded size, each with the rows that it is of."""
        row_bytes = max(8 * self.first.columns[name][:1].size for name in names)
        step = max(1, PART_BYTES // row_bytes)
        for start in range(0, self.first.rows, step):
            rows = slice(start, min(start + step, self.first.rows))
            yield rows, tuple(self.part(name, rows) for name in names)


def keep_predictions(returned: object, folder: Path, whose: str) -> MemberPredictions:
    """Write what an objective's `predict` returned, a mapping or parts of it one after the other, into a folder.

    Args:
        returned: A mapping of names to arrays with a row an item, or an iterable of such mappings, whose columns are
            joined.
        folder: An empty folder; it is made.
        whose: The beginning of messages: "trial 3 on validation".

    Raises:
        ObjectiveError: It is something else, or its columns cannot be used.
    """
    folder.mkdir(parents=True)
    parts = [returned] if isinstance(returned, Mapping) else returned
    if not hasattr(parts, "__iter__"):
        raise ObjectiveError(f"{whose}: predict returned {brief(returned)}; expected a mapping of names to arrays")
    kept: dict[str, _File] = {}
    about: dict[str, Any] = {}
    for part in parts:
        if not isinstance(part, Mapping):
            raise ObjectiveError(f"{whose}: predict gave {brief(part)}; expected mappings of names to arrays")
        for name, values in part.items():
            if name == ABOUT:
                about |= dict(values)
                continue
            file = kept.setdefault(str(name), _File(folder / str(len(kept))))
            file.add(_array(values, f"{whose}: the column {name}"), f"{whose}: the column {name}")
    columns = {name: file.closed() for name, file in kept.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or not any(lengths.values()):
        raise ObjectiveError(f"{whose}: predict gave no rows; expected one an item")
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ObjectiveError(f"{whose}: the columns of predict are of different lengths ({told}); expected equal ones")
    return MemberPredictions(columns, about)


def check_same_items(first: MemberPredictions, other: MemberPredictions, whose: tuple[str, str]) -> None:
    """Raise ObjectiveError unless two members have predicted the same items."""
    names = f"{whose[0]} and {whose[1]}"
    if first.columns.keys() != other.columns.keys():
        differing = sorted(first.columns.keys() ^ other.columns.keys())
        raise ObjectiveError(f"predict gives {listing(differing)} for one of {names} only; expected the same columns")
    for name, column in first.columns.items():
        there = other.columns[name]
        if column.shape != there.shape:
            raise ObjectiveError(
                f"the column {name} of {names} is of shapes {column.shape} and {there.shape}; expected predictions of "
                "the same items, whatever the parameters of a trial"
            )
        if not first.averaged(name) and not _equal(column, there):
            raise ObjectiveError(
                f"the column {name} of {names} differs; expected the same items in the same order, and numbers that "
                "can be averaged (floating-point, such as probabilities) for what the weights say"
            )


def _equal(one: Column, other: Column) -> bool:
    step = max(1, PART_BYTES // max(1, one[:1].nbytes))
    starts = range(0, len(one), step)
    return all(np.array_equal(one[start : start + step], other[start : start + step]) for start in starts)


class _File:
    """A column that is written part by part; text is held in memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self.shape: tuple[int, ...] | None = None
        self.kind = np.dtype(float)
        self.texts: list[Column] = []

    def add(self, part: Column, whose: str) -> None:
        if self.shape is None:
            self.shape, self.kind = part.shape[1:], part.dtype
        if part.shape[1:] != self.shape:
            raise ObjectiveError(
                f"{whose} has items of shapes {self.shape} and {part.shape[1:]}; expected items of one shape"
            )
        if part.dtype.kind == "U":
            self.texts.append(part)
        elif len(part):
            with self.path.open("ab") as file:
                np.ascontiguousarray(part, self.kind).tofile(file)
        self.rows += len(part)

    def closed(self) -> Column:
        if self.texts:
            return np.concatenate(self.texts)
        shape = (self.rows, *(self.shape or ()))
        if not self.rows:
            return np.empty(shape, self.kind)
        return np.memmap(self.path, self.kind, "r", shape=shape)


def _array(values: Any, whose: str) -> Column:
    """Return values as an array with a row an item; tensors count as arrays."""
    try:
        if hasattr(values, "detach"):
            tensor = values.detach().cpu()
            values = (tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy()
        found = np.asarray(values)
    except Exception as error:
        raise ObjectiveError(f"{whose} is {brief(values)}; expected an array") from error
    if found.dtype.kind == "O" and all(isinstance(value, str) for value in found.ravel()):
        found = found.astype(str)
    if not found.ndim or found.dtype.kind not in "buifU":
        raise ObjectiveError(f"{whose} is {brief(values)}; expected an array of numbers or text with a row an item")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise ObjectiveError(f"{whose} holds NaN or infinity; expected numbers")
    return found
