"""A study.yaml for trials that come without one: ranges as Optuna has them, or as wide as what was tried."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.errors import TransferError
from hpo.spec.models import Metric
from hpo.spec.yaml_document import dump
from hpo.text import count, listing, show
from hpo.transfer.source import FAIL, Source, plain_name

MOST_CHOICES = 8  # numbers of so many different values were choices, if each was tried often or is a power of 2
OFTEN = 3
LOG = 50  # values of a range that differ by this factor were tried on a logarithmic scale
MOST_TEXTS = 30  # texts of more different values are no choices


@dataclass(frozen=True)
class _Declared:
    """A parameter to be written: its YAML, and the comment beside it."""

    data: Any
    comment: str = ""


def study_text(source: Source, name: str, metrics: Sequence[Metric], names: Mapping[str, str], command: str) -> str:
    """Return a study.yaml into which the trials of a source fit.

    Args:
        source: The trials.
        name: Name of the study.
        metrics: Its metrics.
        names: The study's names of what the source calls otherwise.
        command: The command that asks for it, for the comment on top.

    Raises:
        TransferError: A parameter cannot be declared.
    """
    if source.study_yaml:
        return _exported(source, name, command)
    called = _plain_names(source, names)
    trials = [{called[key]: value for key, value in trial.params.items()} for trial in source.trials if trial.params]
    if not trials:
        raise TransferError(f"none of the trials of {source.name} has a parameter; expected at least one that has")
    # Failed trials may have ended before all of their parameters were chosen.
    whole = [params for params, one in zip(trials, _with_params(source), strict=True) if one.state != FAIL] or trials
    declared = {called[key]: _declared(source, key, called[key]) for key in source.param_names}
    constants = {key: one.data for key, one in declared.items() if not isinstance(one.data, dict)}
    searched = {key: one for key, one in declared.items() if key not in constants}
    if not searched:
        raise TransferError(
            f"every parameter of {source.name} has one value in all trials; expected at least one that was varied"
        )
    homes = _homes(searched, whole)
    lines = [
        f"# Written by `{command}`. Look at what is marked with DECIDE before `hpo run`.",
        f"name: {show(name)}",
        "objective: train.py:train  # DECIDE: your function, or `command: [python, train.py, ...]`",
        "metrics:",
        *(f"  - {{name: {_scalar(one.name)}, direction: {one.direction}}}" for one in metrics),
        "search_space:",
        *_space_lines(searched, homes, None, 2),
        *(["constants:  # had one value in all trials", *_constant_lines(constants)] if constants else []),
        "budget: {trials: 50}  # DECIDE: trials to be trained here; imported ones do not count",
    ]
    return "\n".join(lines) + "\n"


def _with_params(source: Source) -> list[Any]:
    return [trial for trial in source.trials if trial.params]


def _exported(source: Source, name: str, command: str) -> str:
    """Return the study.yaml that hpo has exported with the trials, under another name."""
    text = re.sub(r"(?m)^name:.*$", f"name: {name}", source.study_yaml, count=1)
    return f"# Written by `{command}`, as it was exported. DECIDE: `root` is the folder of the objective.\n{text}"


def _plain_names(source: Source, names: Mapping[str, str]) -> dict[str, str]:
    """Return the study's names of parameters, none of them twice."""
    found: dict[str, str] = {}
    for name in source.param_names:
        plain = names.get(name) or plain_name(name)
        if plain in found.values():
            other = next(key for key, value in found.items() if value == plain)
            raise TransferError(
                f"the parameters '{other}' and '{name}' would both be called '{plain}'; --rename {name}=OTHER gives "
                "one of them another name"
            )
        found[name] = plain
    return found


# --- one parameter


def _declared(source: Source, name: str, called: str) -> _Declared:
    origin = "" if called == name else f"{show(name)} there"
    distribution = source.distributions.get(name)
    if distribution is not None:
        return _Declared(_of_distribution(name, distribution), origin)
    values = [trial.params[name] for trial in source.trials if name in trial.params]
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers):
        data, comment = _of_numbers([number for number in numbers if number is not None])
    else:
        data, comment = _of_texts(source, name, list(map(str, values)))
    return _Declared(data, "; ".join(filter(None, [origin, comment])))


def _of_distribution(name: str, distribution: Any) -> Any:
    if hasattr(distribution, "choices"):
        choices = list(distribution.choices)
        if any(isinstance(one, float) and not math.isfinite(one) for one in choices):
            raise TransferError(f"the choices of '{name}' are {listing(choices)}; a choice of hpo's is a finite number")
        return {"choices": choices}
    if distribution.low == distribution.high:
        return distribution.low
    data = {"low": distribution.low, "high": distribution.high}
    if distribution.step is not None and not (isinstance(distribution.low, int) and distribution.step == 1):
        data["step"] = distribution.step
    return data | ({"log": True} if distribution.log else {})


def _of_numbers(numbers: Sequence[int | float]) -> tuple[Any, str]:
    different = sorted(set(numbers))
    # pandas writes 8 as 8.0 in a column that has gaps.
    if all(abs(one) < 2**53 and float(one).is_integer() for one in different) and different[-1] >= 2:
        different = list(map(int, different))
    if len(different) == 1:
        return different[0], ""
    powers = all(isinstance(one, int) and one > 1 and one & (one - 1) == 0 for one in different)
    if len(different) <= MOST_CHOICES and (powers or len(numbers) >= OFTEN * len(different)):
        return {"choices": different}, "DECIDE: the values that were tried"
    low, high = different[0], different[-1]
    if not all(math.isfinite(one) for one in (low, high)):
        raise TransferError(f"a parameter has the values {listing(different)}; expected finite numbers")
    data: dict[str, Any] = {"low": low, "high": high}
    if low > 0 and high / low >= LOG:
        data["log"] = True
    if any(isinstance(one, float) for one in different):
        data |= {"low": float(low), "high": float(high)}
    return data, "DECIDE: as wide as what was tried"


def _of_texts(source: Source, name: str, values: Sequence[str]) -> tuple[Any, str]:
    different = list(dict.fromkeys(values))
    if len(different) > MOST_TEXTS:
        raise TransferError(
            f"'{name}' has {count(len(different), 'different text')} in {count(len(values), 'trial')} of {source.name} "
            f"({listing(map(repr, different), 3)}): that is no parameter to search. --ignore {name} passes it over"
        )
    choices = list(dict.fromkeys(map(_boolean, different)))
    if len(choices) == 1:
        return choices[0], ""
    return {"choices": choices}, "DECIDE: the values that were tried"


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    try:
        number = float(str(value))
    except ValueError:
        return None
    whole = math.isfinite(number) and number.is_integer() and abs(number) < 2**53
    return int(number) if whole and re.fullmatch(r"[+-]?\d+", str(value).strip()) else number


# --- parameters that only some trials have


def _homes(declared: Mapping[str, _Declared], trials: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, list[Any]]]:
    """Return the choices under which a parameter is active, of those that are not in every trial.

    A parameter belongs to a categorical one if it is in exactly those trials that have some of its values.
    """
    found: dict[str, tuple[str, list[Any]]] = {}
    for name in declared:
        have = [name in params for params in trials]
        if all(have):
            continue
        for parent, one in declared.items():
            if parent == name or "choices" not in one.data or found.get(parent, ("",))[0] == name:
                continue
            values = [_text(params[parent]) if parent in params else None for params in trials]
            with_it = {value for value, has in zip(values, have, strict=True) if has}
            without = {value for value, has in zip(values, have, strict=True) if not has}
            if with_it and not with_it & without and None not in with_it:
                found[name] = parent, [choice for choice in one.data["choices"] if _text(choice) in with_it]
                break
    return found


def _text(value: Any) -> str:
    return str(value).lower()


# --- lines


def _space_lines(
    declared: Mapping[str, _Declared],
    homes: Mapping[str, tuple[str, list[Any]]],
    home: tuple[str, Any] | None,
    indent: int,
) -> Iterable[str]:
    """Yield the lines of the parameters of one level, those of a choice below the choice."""
    for name, one in declared.items():
        own = homes.get(name)
        here = own is None if home is None else own is not None and own[0] == home[0] and home[1] in own[1]
        if not here:
            continue
        space, comment = " " * indent, f"  # {one.comment}" if one.comment else ""
        if not any(parent == name for parent, _ in homes.values()):
            yield f"{space}{name}: {_flow(one.data)}{comment}"
            continue
        yield f"{space}{name}:{comment}"
        yield f"{space}  choices:"
        for choice in one.data["choices"]:
            below = list(_space_lines(declared, homes, (name, choice), indent + 6))
            yield f"{space}    {_scalar(choice)}:{'' if below else ' {}'}"
            yield from below


def _constant_lines(constants: Mapping[str, Any]) -> Iterable[str]:
    return (f"  {_scalar(name)}: {_scalar(value)}" for name, value in constants.items())


def _flow(data: Mapping[str, Any]) -> str:
    parts = (
        f"{key}: [{', '.join(map(_scalar, value))}]" if isinstance(value, list) else f"{key}: {_scalar(value)}"
        for key, value in data.items()
    )
    return f"{{{', '.join(parts)}}}"


def _scalar(value: Any) -> str:
    """Return a value as YAML writes it between braces."""
    return dump([value]).strip()[1:-1]  # of the brackets of a list
