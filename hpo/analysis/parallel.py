"""Lay out COMPLETE trials in parallel coordinates: a scale a parameter, and one for the final value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hpo.analysis.axes import flat_params, in_order, searched
from hpo.analysis.formatting import label, number
from hpo.analysis.ranking import ranked
from hpo.analysis.records import StudyRecord
from hpo.space.parameter import Parameter, same_choice
from hpo.spec.models import Metric

# More scales than that cannot be read side by side.
MOST_SCALES = 12
_TICKS = 5
# Place of trials without the parameter, as a part of the scale below its low end.
_BELOW = 0.12
ABSENT = "not used"


@dataclass(frozen=True)
class Scale:
    """One scale.

    Attributes:
        name: What it is of.
        values: The place of each trial on it.
        ticks: (place, text) of what is written beside it.
    """

    name: str
    values: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class ParallelCoordinates:
    """Trials over some scales.

    Attributes:
        metric: The metric of their final values.
        trials: Their numbers, the best first.
        finals: Their final values, in that order.
        scales: The scales, each with its values in that order; that of the metric is the last.
        left_out: Parameters that have no scale for want of room.
    """

    metric: Metric
    trials: tuple[int, ...]
    finals: tuple[float, ...]
    scales: tuple[Scale, ...]
    left_out: tuple[str, ...]


def parallel_coordinates(study: StudyRecord, metric: Metric) -> ParallelCoordinates | None:
    """Return the COMPLETE trials of a study in parallel coordinates; None without any."""
    trials = ranked(study, metric)
    if not trials:
        return None
    known = searched(study.space)
    first = [study.group_by] if study.group_by in known else []
    names = [*first, *in_order(study.space, study.group_by)]
    params = [flat_params(trial.params) for trial in trials]
    scales = [
        _scale(name, known[name or ""], [own.get(str(name)) for own in params]) for name in names[: MOST_SCALES - 1]
    ]
    finals = tuple(trial.values[metric.name] for trial in trials)
    scales.append(_numeric(metric.name, list(finals), min(finals), max(finals), False))
    left_out = tuple(map(str, names[MOST_SCALES - 1 :]))
    return ParallelCoordinates(metric, tuple(trial.number for trial in trials), finals, tuple(scales), left_out)


def _scale(name: str | None, declared: Sequence[Parameter], values: list[Any]) -> Scale:
    ranges = [parameter for parameter in declared if parameter.kind in ("float", "int")]
    numbers = all(value is None or (isinstance(value, (int, float)) and value is not True) for value in values)
    if len(ranges) < len(declared) or not numbers:
        return _categorical(str(name), declared, values)
    low, high = min(one.low for one in ranges), max(one.high for one in ranges)
    # The space may have been edited since.
    there = [value for value in values if value is not None]
    log = any(one.log for one in ranges) and min([low, *there]) > 0
    return _numeric(str(name), values, min([low, *there]), max([high, *there]), log)


def _numeric(name: str, values: list[float | None], low: float, high: float, log: bool) -> Scale:
    def place(value: float) -> float:
        return math.log10(value) if log else float(value)

    below = place(low) - _BELOW * ((place(high) - place(low)) or 1.0)
    steps = [k / (_TICKS - 1) for k in range(_TICKS)] if high > low else [0.0]
    places = [place(low) + part * (place(high) - place(low)) for part in steps]
    ticks = [(at, number(10**at if log else at, 3)) for at in places]
    if any(value is None for value in values):
        ticks.insert(0, (below, ABSENT))
    return Scale(name, tuple(below if value is None else place(value) for value in values), tuple(ticks))


def _categorical(name: str, declared: Sequence[Parameter], values: list[Any]) -> Scale:
    choices: list[Any] = []
    for value in [*(choice for one in declared for choice in one.choices), *(v for v in values if v is not None)]:
        if not any(same_choice(value, known) for known in choices):
            choices.append(value)
    texts = list(map(label, choices))
    if any(value is None for value in values):
        texts.append(ABSENT)

    def place(value: Any) -> float:
        if value is None:
            return float(len(choices))
        return float(next(k for k, known in enumerate(choices) if same_choice(value, known)))

    return Scale(name, tuple(map(place, values)), tuple((float(k), text) for k, text in enumerate(texts)))
