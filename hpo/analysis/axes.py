"""Divide a parameter into the cells of a heatmap, and choose the two parameters that one shows.

Categorical parameters and those with few values have one cell a value. Continuous ones are binned in equal steps, of
the logarithm if they are searched so. There the edges are powers of ten where these give 3 to 6 bins, but for whole
numbers. A bin holds its lower edge, the last bin both.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.analysis.formatting import label, listed, number
from hpo.space.parameter import Parameter, same_choice
from hpo.space.scale import at_part, log_ratio, part_of_range
from hpo.space.search_space import SearchSpace
from hpo.translation.catalogue import mark, tr

LEARNING_RATE = ("learning_rate", "lr")
BATCH_SIZE = ("batch_size",)
# More values than this are binned.
MOST_VALUES = 8
LINEAR_BINS = 5
FEWEST_BINS, MOST_BINS = 3, 6  # on a logarithmic axis
SLIM = 1 / 3  # of a usual bin: a first or last one that is narrower is joined to its neighbour


@dataclass(frozen=True)
class Axis:
    """Cells of one parameter.

    Attributes:
        name: Name of the parameter.
        labels: One a cell.
        values: The value of each cell; empty if the parameter is binned.
        edges: Of a binned parameter, ascending, one more than there are cells.
        log: Whether the bins are equal steps of the logarithm.
        whole: Whether binned values are integers. `edges` are then the first integer of each bin and the one after the
            last.
    """

    name: str
    labels: tuple[str, ...]
    values: tuple[Any, ...] = ()
    edges: tuple[float, ...] = ()
    log: bool = False
    whole: bool = False

    @property
    def binned(self) -> bool:
        """Return True if the cells are bins."""
        return bool(self.edges)

    def cell_of(self, value: Any) -> int | None:
        """Return the cell of a value; None if it is in none."""
        if not self.binned:
            return next((cell for cell, own in enumerate(self.values) if same_choice(own, value)), None)
        if value == self.edges[-1] and not self.whole:
            return len(self.labels) - 1
        cell = bisect_right(self.edges, value) - 1
        return cell if 0 <= cell < len(self.labels) else None

    def value_in(self, params: Mapping[str, Any]) -> Any:
        """Return the value that a configuration has on the axis, a weight of several too; None if it has none."""
        name, _, weight = self.name.partition(".")  # no name of a parameter has a dot
        value = params.get(name)
        if not weight:
            return value
        return value.get(weight) if isinstance(value, Mapping) else None

    def cell_in(self, params: Mapping[str, Any]) -> int | None:
        """Return the cell of a configuration; None if it is in none, or has no such parameter."""
        return self.cell_of(self.value_in(params)) if self.name.partition(".")[0] in params else None

    def position(self, value: Any) -> float:
        """Return where a value is drawn.

        It is the number of the cell, so that cell k spans k - 0.5 to k + 0.5. A binned parameter has its place within
        the cell.

        Raises:
            ValueError: The value is in no cell.
        """
        cell = self.cell_of(value)
        if cell is None:
            raise ValueError(f"{value!r} is not on the axis of '{self.name}'")
        return self.position_in(cell, value)

    def position_in(self, cell: int, value: Any) -> float:
        """Return the same of a value whose cell is known."""
        if not self.binned:
            return float(cell)
        half = 0.5 if self.whole else 0.0  # the integers 5 to 8 fill 4.5 to 8.5
        low, high = self.edges[cell] - half, self.edges[cell + 1] - half
        return cell - 0.5 + part_of_range(value, low, high, self.log)


def varies(parameter: Parameter) -> bool:
    """Return True if a parameter has more than one value."""
    if parameter.kind in ("float", "int"):
        return parameter.low != parameter.high
    return parameter.kind == "simplex" or (parameter.kind == "categorical" and len(parameter.choices) > 1)


def searched(space: SearchSpace) -> dict[str, tuple[Parameter, ...]]:
    """Return the parameters that vary, by the name that the objective sees, in the order declared.

    A parameter that several branches of a conditional declare has several entries. Weights that sum to 1 are a
    parameter each, `weights.dice`.
    """
    found: dict[str, tuple[Parameter, ...]] = {}
    for parameter in space.walk():
        if varies(parameter):
            for one in _weights(parameter) if parameter.kind == "simplex" else (parameter,):
                found[one.name] = (*found.get(one.name, ()), one)
    return found


def _weights(simplex: Parameter) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, "float", low=0.0, high=1.0, condition=simplex.condition) for name in _names(simplex))


def flat_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by the names of `searched`: one entry a weight in place of weights that sum to 1."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{weight}": share for weight, share in value.items()}
        else:
            flat[name] = value
    return flat


def axis_of(name: str, parameters: Sequence[Parameter]) -> Axis:
    """Return the axis of a parameter; several declarations of one name share an axis that spans them all.

    Raises:
        ValueError: Declarations of numbers and of choices cannot share an axis.
    """
    ranges = [parameter for parameter in parameters if parameter.kind in ("float", "int")]
    few = [_few(parameter) for parameter in parameters]
    if all(values is not None for values in few):
        together: list[Any] = []
        for value in (value for values in few for value in values or ()):
            if not any(same_choice(value, known) for known in together):
                together.append(value)
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in together):
            together.sort()
        return Axis(name, tuple(label(value) for value in together), values=tuple(together))
    if len(ranges) < len(parameters):
        raise ValueError(f"parameter '{name}' is a range in one place and a list of choices in another")
    return _binned(name, ranges)


def _few(parameter: Parameter) -> tuple[Any, ...] | None:
    """All values of a parameter that has a list of them or few steps."""
    if parameter.kind == "categorical":
        return parameter.choices
    steps = parameter.count
    if steps is None or steps > MOST_VALUES:
        return None
    return tuple(parameter.value_at(index) for index in range(steps))


def _binned(name: str, parameters: Sequence[Parameter]) -> Axis:
    low = min(parameter.low for parameter in parameters)
    high = max(parameter.high for parameter in parameters)
    log = any(parameter.log for parameter in parameters) and low > 0
    if all(parameter.kind == "int" for parameter in parameters):
        firsts = sorted({round(edge) for edge in _spaced(low, high + 1, log)})
        pairs = itertools.pairwise(firsts)
        labels = tuple(str(a) if b - a == 1 else _span(str(a), str(b - 1)) for a, b in pairs)
        return Axis(name, labels, edges=tuple(firsts), log=log, whole=True)
    # Few doubles lie between the ends of a narrow range.
    edges = tuple(sorted(set(_nice(low, high) if log else _spaced(low, high, log))))
    labels = tuple(_span(a, b) for a, b in itertools.pairwise(edge_texts(edges)))
    return Axis(name, labels, edges=edges, log=log)


def edge_texts(edges: Sequence[float]) -> list[str]:
    """Return the edges of bins in three digits, or in as many as tell them apart."""
    for digits in range(3, 16):
        texts = [number(edge, digits) for edge in edges]
        if len(set(texts)) == len(texts):
            return texts
    return list(map(repr, edges))


def _span(low: str, high: str) -> str:
    return tr("{low} to {high}", low=low, high=high)


def _spaced(low: float, high: float, log: bool) -> tuple[float, ...]:
    if log:  # about two bins a decade
        bins = min(MOST_BINS, max(FEWEST_BINS, round(2 * log_ratio(high, low) / math.log(10))))
    else:
        bins = LINEAR_BINS
    return (low, *(at_part(k / bins, low, high, log) for k in range(1, bins)), high)


def _nice(low: float, high: float) -> tuple[float, ...]:
    """Return edges of bins that are read easily: powers of ten, with what lies between where that gives 3 to 6 bins.

    Equal steps of the logarithm where no such edges do. A first or last bin is at least a third of the others.
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in ((1.0, 10**0.5), (1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)):
        step = math.log(10) / len(parts)
        inner = sorted(float(f"{part:.12g}e{exponent}") for exponent in exponents for part in parts)
        kept = [
            edge
            for edge in inner
            if low < edge < high and min(log_ratio(edge, low), log_ratio(high, edge)) > SLIM * step
        ]
        if MOST_BINS > len(kept) >= FEWEST_BINS - 1:
            return (low, *kept, high)
    return _spaced(low, high, log=True)


@dataclass(frozen=True)
class Axes:
    """The two parameters of a heatmap and a sentence on how they were chosen."""

    rows: Axis
    columns: Axis
    chosen: str


def choose_axes(space: SearchSpace, group_by: str | None, ranking: Sequence[str] = ()) -> Axes | None:
    """Choose the two parameters of the heatmaps.

    Learning rate by batch size, where both are searched. What is missing is filled from `ranking`, then in the order
    declared. A single parameter has a second axis of one cell.

    Args:
        space: The search space.
        group_by: The parameter of the groups, which is never an axis.
        ranking: Optuna's names, most important first.

    Returns:
        None when nothing but `group_by` is searched.
    """
    candidates = searched(space)
    order = in_order(space, group_by, ranking)
    if not order:
        return None
    learning_rate = next((name for name in LEARNING_RATE if name in order), None)
    batch_size = next((name for name in BATCH_SIZE if name in order), None)
    others = [name for name in order if name not in (learning_rate, batch_size)]
    rows = learning_rate or (others.pop(0) if others else None)
    columns = batch_size or (others.pop(0) if others else None)
    if rows is None:
        rows, columns = columns, None
    if rows is None:
        return None
    usual = (tr("learning rate"), learning_rate), (tr("batch size"), batch_size)
    missing = [name for name, found in usual if found is None]
    filled = [name for name in (rows, columns) if name is not None and name not in (learning_rate, batch_size)]
    second = Axis("", ("",), values=(None,)) if columns is None else axis_of(columns, candidates[columns])
    return Axes(axis_of(rows, candidates[rows]), second, _chosen(missing, filled, bool(ranking)))


def _chosen(missing: Sequence[str], filled: Sequence[str], ranked: bool) -> str:
    if not missing:
        return ""
    names = listed(missing, "and no")
    shown = listed(filled)
    if not shown:
        return tr("The space searches no {names} by that name.", names=names)
    if ranked:
        text = mark("The space searches no {names} by that name; shown instead: {shown} (the most important).")
    else:
        text = mark("The space searches no {names} by that name; shown instead: {shown} (the first declared).")
    return tr(text, names=names, shown=shown)


def in_order(space: SearchSpace, group_by: str | None, ranking: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the parameters beside `group_by` that have an axis.

    Learning rate and batch size come first, then those of `ranking` (Optuna's names, most important first), then the
    others as declared.
    """
    candidates = [name for name, parameters in searched(space).items() if name != group_by and _has_axis(parameters)]
    names = {own: _names(parameter) for parameter in space.walk() for own in parameter.optuna_names}
    usual = [name for known in (LEARNING_RATE, BATCH_SIZE) for name in [n for n in known if n in candidates][:1]]
    ranked = [name for own in ranking for name in names.get(own, ()) if name in candidates]
    return tuple(dict.fromkeys([*usual, *ranked, *candidates]))


def _names(parameter: Parameter) -> tuple[str, ...]:
    return tuple(f"{parameter.name}.{weight}" for weight in parameter.weights) or (parameter.name,)


def _has_axis(parameters: Sequence[Parameter]) -> bool:
    """Return False for a range in one place and choices in another."""
    numeric = {parameter.kind in ("float", "int") for parameter in parameters}
    return len(numeric) == 1 or all(_few(parameter) is not None for parameter in parameters)
