"""Ranges on which Optuna's samplers fail (seen in 5.0), each with the sentence that refuses it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hpo.space.parameter import Parameter
from hpo.space.search_space import SearchSpace

# GPSampler makes a list of all values of a number with steps: beyond this it takes hundreds of megabytes, and minutes.
MOST_GP_VALUES = 10**6
# It also reckons with half a step below the lowest value, which a double no longer has beyond this.
_LARGEST_GP_INTEGER = 2**51
# TPESampler divides by parts of the width of a range, on its logarithm if it is sampled so.
_LEAST_TPE_WIDTH = 1e-300


def refused_ranges(sampler: str, objectives: int, space: SearchSpace) -> Iterator[tuple[Parameter, str]]:
    """Yield the parameters on which a sampler would fail, each with a sentence.

    Args:
        sampler: its short name; `kernel` leaves studies of several objectives to Optuna's TPESampler.
        objectives: number of metrics.
        space: the search space.
    """
    for parameter in space.walk():
        if parameter.kind in ("int", "float"):
            if sampler == "gp":
                message = _gp(parameter)
            else:
                message = _tpe(parameter) if sampler == "tpe" or (sampler == "kernel" and objectives > 1) else ""
            if message:
                yield parameter, f"'{parameter.full_name}' {message}"


def _gp(parameter: Parameter) -> str:
    count = parameter.count
    if count is not None and count > MOST_GP_VALUES:
        return (
            f"has {count} values, of which the sampler gp would keep a list; expected at most {MOST_GP_VALUES}: give "
            "it a coarser step, a float range, or use another sampler"
        )
    if parameter.kind == "int" and max(abs(parameter.low), abs(parameter.high)) > _LARGEST_GP_INTEGER:
        return "goes beyond 2**51, where the sampler gp confuses integers; use another sampler, or choices"
    return ""


def _tpe(parameter: Parameter) -> str:
    low, high = parameter.low, parameter.high
    half = 0.5 if parameter.kind == "int" else 0.0
    width = math.log(high + half) - math.log(low - half) if parameter.log else high - low
    if width >= _LEAST_TPE_WIDTH or (parameter.kind == "float" and parameter.step is not None):
        return ""
    logarithms = ", whose logarithms are the same" if parameter.log else ""
    return f"goes from {low} to {high}{logarithms}: too narrow for the sampler tpe; use sampler random, or choices"
