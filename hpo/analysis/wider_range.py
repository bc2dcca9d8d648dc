"""Propose a wider range for a parameter that is best at an edge of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpo.space.parameter import Parameter

MOST = 10.0  # the factor by which a logarithmic range grows at most


@dataclass(frozen=True)
class Wider:
    """A wider range.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        choices: All choices of a parameter that has a list of numbers; empty of a range.
        path: Where the new end stands in study.yaml, such as `search_space.learning_rate.high`; empty where that is
            within a choice of another parameter.
        value: What stands there then.
    """

    low: float
    high: float
    choices: tuple[float, ...]
    path: str
    value: str


def wider(parameter: Parameter, upper: bool) -> Wider | None:
    """Return a range that is wider at one end; None where that end is a limit of such values, as 0 or 1.

    A linear range grows by half its width, a logarithmic one by half its decades and at most by a factor of 10. A
    number of values from 0 to 1 stays there: it may be a probability or a share.

    Args:
        parameter: A parameter of numbers.
        upper: Whether it grows at its upper end.
    """
    path = "" if parameter.condition else f"search_space.{parameter.name}"
    if parameter.kind == "categorical":
        numbers = sorted(float(choice) for choice in parameter.choices)  # type: ignore[arg-type]
        added = _next(numbers if upper else numbers[::-1])
        whole = all(isinstance(choice, int) for choice in parameter.choices)
        if added is None or (whole and added != int(added)) or (whole and added < 1):
            return None
        every = sorted([*numbers, added])
        values: tuple[float, ...] = tuple(map(int, every)) if whole else tuple(every)
        text = f"[{', '.join(f'{value:g}' for value in values)}]"
        return Wider(every[0], every[-1], values, path and f"{path}.choices", text)
    low, high = float(parameter.low), float(parameter.high)
    end = _end(low, high, parameter.log, upper)
    if end is None:
        return None
    step = 1 if parameter.kind == "int" else parameter.step
    if step is not None:
        steps = max(1.0, abs(end - (high if upper else low)) // float(step))
        end = high + steps * float(step) if upper else low - steps * float(step)
        if end < 1 <= low and parameter.kind == "int":
            return None
    ends = (low, end) if upper else (end, high)
    text = str(int(end)) if parameter.kind == "int" else _text(end)
    return Wider(*ends, (), path and f"{path}.{'high' if upper else 'low'}", text)


def _text(value: float) -> str:
    """Return a number that YAML reads as one: it takes `1e-4` for a text."""
    text = f"{value:g}"
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _next(numbers: list[float]) -> float | None:
    """Return the number that follows in a series of ratios or differences; None beyond 0 or 1."""
    last, before = numbers[-1], numbers[-2]
    added = last * last / before if before > 0 and last > 0 else 2 * last - before
    if len(numbers) > 2 and math.isclose(numbers[-2] - numbers[-3], last - before):
        added = 2 * last - before
    share = min(numbers) >= 0 and max(numbers) <= 1
    if (min(numbers) >= 0 and added <= 0) or (share and added >= 1):
        return None
    return _rounded(added)


def _end(low: float, high: float, log: bool, upper: bool) -> float | None:
    share = low >= 0 and high <= 1 and not log
    if log:
        factor = min(MOST, math.sqrt(high / low))
        end = high * factor if upper else low / factor
    elif upper:
        end = high + (1 - high) / 2 if share else high + (high - low) / 2
    else:
        end = low - (high - low) / 2
        if low >= 0:
            end = max(end, low / 2)
    end = _rounded(end)
    return end if math.isfinite(end) and (end > high if upper else end < low) else None


def _rounded(value: float) -> float:
    """Return a number of two significant digits."""
    return float(f"{value:.2g}")
