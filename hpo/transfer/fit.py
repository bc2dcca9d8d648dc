"""Trials of a source as trials of a study: their parameters checked against its search space, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from hpo.machine.files import parse_json
from hpo.space.parameter import Parameter, break_stick, same_choice
from hpo.space.search_space import SearchSpace
from hpo.spec.models import StudySpec
from hpo.text import count, cut, exact, listing, nearest, nearest_name, quote, show
from hpo.transfer.source import COMPLETE, FAIL, Row, Source, SourceTrial, plain_name


@dataclass(frozen=True)
class FittedTrial:
    """A trial of a source that fits a study.

    Attributes:
        trial: The trial.
        state: COMPLETE, PRUNED or FAIL: FAIL also of a trial whose final metric is not finite.
        reason: Why it ended, if that is known.
        params: Its parameters by Optuna's names.
        metrics: Its final metrics by the study's names.
        rows: Its reported steps, by the study's names.
    """

    trial: SourceTrial
    state: str
    reason: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    rows: tuple[Row, ...]


@dataclass
class Misfit:
    """A reason for which trials do not fit: the sentence, the trials with their values, and what would let them fit."""

    what: str
    trials: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    remedy: str = ""

    def __str__(self) -> str:
        given = list(dict.fromkeys(cut(quote(value), 40) for value in self.values))
        such = f", such as {listing(given, 4)}" if given else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{count(len(self.trials), 'trial')}: {self.what}{such} ({listing(self.trials, 3)}){remedy}"


@dataclass(frozen=True)
class Fit:
    """Trials of a source that fit a study.

    Attributes:
        fitted: The trials that do, in the order of the source.
        misfits: Why others do not, the most frequent reason first.
        left_out: Number of trials that do not.
        notes: Sentences on what was changed or passed over in those that do.
    """

    fitted: tuple[FittedTrial, ...]
    misfits: tuple[Misfit, ...]
    left_out: int
    notes: tuple[str, ...]


def fit(source: Source, spec: StudySpec, names: Mapping[str, str], ignored: Sequence[str]) -> Fit:
    """Return which trials of a source fit a study, and why others do not.

    Args:
        source: The trials.
        spec: The study.
        names: The study's names of parameters and metrics that the source calls otherwise, by the source's.
        ignored: Patterns of parameters that the study does not know and that are passed over.
    """
    fitter = _Fitter(spec, names, ignored)
    fitted = [one for trial in source.trials if (one := fitter.fit(trial, source.typed)) is not None]
    misfits = sorted(fitter.misfits.values(), key=lambda one: -len(one.trials))
    for misfit in misfits:
        misfit.what = misfit.what or fitter.unknown()
        misfit.remedy = misfit.remedy or fitter.remedy(misfit)
    return Fit(tuple(fitted), tuple(misfits), len(source.trials) - len(fitted), tuple(fitter.notes()))


def study_names(source: Source, spec: StudySpec, given: Mapping[str, str]) -> dict[str, str]:
    """Return the study's name of each parameter and metric of a source that is called otherwise there.

    Args:
        source: The trials.
        spec: The study.
        given: Names that the user has given, by the source's.
    """
    known = {name for one in spec.space.walk() for name in (one.name, one.full_name)}
    metrics = [metric.name for metric in spec.metrics]
    found = {name: plain for name in source.param_names if name not in known and (plain := plain_name(name)) in known}
    if len(source.metrics) == len(metrics) and source.directions:  # Optuna's, which may have no names
        found |= dict(zip(source.metrics, metrics, strict=True))
    return found | dict(given)


class _Fitter:
    def __init__(self, spec: StudySpec, names: Mapping[str, str], ignored: Sequence[str]) -> None:
        self._spec, self._space = spec, spec.space
        self._names, self._ignored = names, ignored
        self._metrics = [metric.name for metric in spec.metrics]
        self._known = {name for one in spec.space.walk() for name in (one.name, one.full_name)}
        self.misfits: dict[tuple[str, str], Misfit] = {}
        self._passed: dict[str, int] = {}
        self._inactive: dict[str, int] = {}
        self._not_finite = 0
        self._unknown: dict[str, None] = {}

    def fit(self, trial: SourceTrial, typed: bool) -> FittedTrial | None:
        given = {self._names.get(name, name): value for name, value in trial.params.items()}
        problems = list[tuple[str, str, Any, str]]()  # parameter, kind, value, sentence
        params = self._params(given, typed, trial.state, problems)
        metrics = {self._names.get(name, name): value for name, value in trial.metrics.items()}
        state, reason = trial.state, trial.reason
        for metric in self._metrics if state == COMPLETE else ():
            if metric not in metrics:
                hint = nearest(metric, metrics)
                problems.append((metric, "no value", None, f"has no final value of the metric '{metric}'{hint}"))
            elif not math.isfinite(metrics[metric]):
                state, reason = FAIL, f"its {metric} was {metrics[metric]} at its end"
        if problems:
            for name, kind, value, sentence in problems:
                misfit = self.misfits.setdefault((name, kind), Misfit(sentence))
                if kind == "unknown" and misfit.trials[-1:] == [trial.name]:
                    continue
                misfit.trials.append(trial.name)
                misfit.values += [] if value is None else [value]
            return None
        self._not_finite += state != trial.state
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        rows = tuple(
            Row(row.step, {self._names.get(name, name): value for name, value in row.metrics.items()}, row.time)
            for row in trial.rows
        )
        return FittedTrial(trial, state, reason, params, finite if state == COMPLETE else {}, rows)

    def _params(
        self, given: Mapping[str, Any], typed: bool, state: str, problems: list[tuple[str, str, Any, str]]
    ) -> dict[str, Any]:
        """Return parameters by Optuna's names; what does not fit goes to `problems`."""
        given, exact_numbers = self._with_weights(given)
        known = {name: value for name, value in given.items() if name in self._known}
        for name, value in given.items():
            if name not in self._known and not self._is_passed_over(name, value):
                self._unknown[name] = None
                problems.append(("", "unknown", None, ""))
        values = dict[str, Any]()
        active = list(self._space.parameters)
        while active:
            parameter = active.pop(0)
            found = [key for key in (parameter.full_name, parameter.name) if key in known]
            if not found and not typed and None in parameter.choices:  # a table leaves its cell empty
                values[parameter.full_name] = None
                active[:0] = parameter.children.get(None, ())
                continue
            if not found:
                if parameter.kind != "fixed" and state != FAIL:
                    problems.append(self._missing(parameter))
                continue
            value = known.pop(found[0])
            value = value if typed else _typed(parameter, value)
            try:
                value = parameter.validate(value)
            except ValueError as error:
                problems.append(
                    (parameter.full_name, _kind(parameter, value, error), value, _sentence(parameter, value))
                )
                for child in (child for group in parameter.children.values() for child in group):
                    known.pop(child.name, None)
                    known.pop(child.full_name, None)
                continue
            values[parameter.full_name] = value
            if parameter.kind == "categorical":
                active[:0] = parameter.children.get(value, ())
        for name in known:  # of a choice that this trial did not take: it changed nothing
            self._inactive[name] = self._inactive.get(name, 0) + 1
        translated = self._space.translate(values)[0]
        return {name: exact_numbers.get(name, value) for name, value in translated.items()}

    def _with_weights(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
        """Return parameters with weights that sum to 1 as one mapping, and Optuna's numbers where they were given.

        Sources have one number a weight, or Optuna's k - 1 numbers, which would lose a digit on their way by weights.
        """
        found, exact_numbers = dict(given), dict[str, float]()
        for parameter in self._space.walk():
            if not parameter.weights:
                continue
            for prefix in dict.fromkeys((parameter.full_name, parameter.name)):
                named = {f"{prefix}.{weight}": weight for weight in parameter.weights}
                sticks = [f"{prefix}.{k}" for k in range(len(parameter.weights) - 1)]
                if parameter.kind == "simplex" and sticks and all(name in found for name in sticks):
                    uniform = [_number(found.pop(name)) for name in sticks]
                    if all(isinstance(one, (int, float)) and 0 <= one <= 1 for one in uniform):
                        shares = break_stick(uniform)
                        found[parameter.full_name] = dict(zip(parameter.weights, shares, strict=True))
                        exact_numbers |= dict(zip(parameter.optuna_names, uniform, strict=True))
                elif all(name in found for name in named):
                    found[parameter.full_name] = {weight: _number(found.pop(name)) for name, weight in named.items()}
        return found, exact_numbers

    def _is_passed_over(self, name: str, value: Any) -> bool:
        constant = next((one for one in map(self._constant, (name, plain_name(name))) if one is not None), None)
        same = constant is not None and (same_choice(constant, value) or str(constant) == str(value))
        if same or any(fnmatchcase(name, pattern) for pattern in self._ignored):
            self._passed[name] = self._passed.get(name, 0) + 1
            return True
        return False

    def _constant(self, name: str) -> Any:
        """Return a constant of the study by its name, `epochs` or `data.seed`; None if there is none."""
        found: Any = self._spec.constants
        for part in name.removeprefix("constants.").split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return None if isinstance(found, Mapping) else found

    def _missing(self, parameter: Parameter) -> tuple[str, str, Any, str]:
        where = f" (where {parameter.condition_text})" if parameter.condition else ""
        return parameter.full_name, "missing", None, f"has no '{parameter.name}'{where}"

    # --- sentences

    def unknown(self) -> str:
        """Return the sentence on parameters that the study does not know."""
        return f"the study has no parameter {listing(map(quote, self._unknown), 20)}"

    def remedy(self, misfit: Misfit) -> str:
        """Return what would let the trials of a misfit fit."""
        name, kind = next(key for key, one in self.misfits.items() if one is misfit)
        if kind == "unknown":
            near = {one: nearest_name(one, sorted(self._known)) for one in self._unknown}
            renames = "".join(f"; --rename {one}={other}, if that is the same" for one, other in near.items() if other)
            return (
                "Add to search_space or constants what the objective is to have, and pass the rest over with "
                f"--ignore {','.join(self._unknown)}{renames}"
            )
        if kind == "missing":
            return (
                f"If all of these had one value, --fill {name}=VALUE gives it to them; if the source calls it "
                f"otherwise, --rename OTHER={name}"
            )
        parameter = next((one for one in self._space.walk() if one.full_name == name), None)
        if parameter is None:
            return "--rename OTHER=NAME says which of its metrics that is" if kind == "no value" else ""
        if kind == "range":
            numbers = [float(value) for value in misfit.values]
            low, high = min(parameter.low, *numbers), max(parameter.high, *numbers)
            whole = parameter.kind == "int"
            written = [str(int(one)) if whole else exact(float(one)) for one in (low, high)]
            return f"To take them in: {parameter.name}: {{low: {written[0]}, high: {written[1]}, ...}}"
        if kind == "choice":
            more = [value for k, value in enumerate(misfit.values) if value not in misfit.values[:k]]
            choices = listing(map(show, (*parameter.choices, *more)), 30)
            return f"To take them in: {parameter.name}: {{choices: [{choices}]}}"
        return ""

    def notes(self) -> Iterable[str]:
        """Yield what was passed over or changed."""
        if self._passed:
            yield f"passed over, for the study has no such parameter: {listing(self._passed)}"
        for name, n in self._inactive.items():
            home = self._space.find(name)
            where = " or ".join(one.condition_text for one in home if one.condition)
            yield f"{name} left out of {count(n, 'trial')}, where it is not active (only where {where})"
        if self._not_finite:
            yield f"{count(self._not_finite, 'trial')} with a final metric that is not finite count as failed"


def _kind(parameter: Parameter, value: Any, error: ValueError) -> str:
    if "out of range" in str(error):
        return "range"
    if parameter.kind == "categorical":
        return "choice"
    return "step" if "not on a step" in str(error) else "type"


def _sentence(parameter: Parameter, value: Any) -> str:
    where = f" (where {parameter.condition_text})" if parameter.condition else ""
    return f"{parameter.name}{where} is not {_expected(parameter)}"


def _expected(parameter: Parameter) -> str:
    kinds = {"int": "an integer of ", "float": "a number of ", "categorical": "one of "}
    return f"{kinds.get(parameter.kind, '')}{parameter.distribution}"


def _typed(parameter: Parameter, text: Any) -> Any:
    """Return a text as a value of a parameter; a text that is none stays as it is."""
    if not isinstance(text, str):
        return text
    if parameter.kind in ("int", "float"):
        number = _number(text)
        return text if number is None else number
    options = parameter.choices if parameter.kind == "categorical" else (parameter.value,)
    for choice in options:
        if text in (str(choice), show(choice)):
            return choice
    for choice in options:
        if str(choice).lower() == text.lower() and isinstance(choice, (bool, type(None))):
            return choice
    number = _number(text)
    for choice in options:
        if number is not None and same_choice(choice, number):
            return choice
    if text[:1] in "[{":
        try:
            return parse_json(text.replace("'", '"'))
        except ValueError:
            return text
    return text if number is None else number


def _number(text: Any) -> Any:
    """Return a text as the number that it is; None if it is none."""
    if not isinstance(text, str):
        return text
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if math.isfinite(number) and number.is_integer() and abs(number) < 2**53 else number


def filled(source: Source, values: Mapping[str, str], space: SearchSpace) -> Source:
    """Return a source whose trials have these values where they lack the parameter.

    Args:
        source: The trials.
        values: Texts by the study's names.
        space: The study's, which says what the texts mean.
    """
    typed = {}
    for name, text in values.items():
        found = space.find(name)
        typed[name] = _typed(found[0], text) if source.typed and found else text
    trials = tuple(SourceTrial(**{**vars(trial), "params": {**typed, **trial.params}}) for trial in source.trials)
    return Source(**{**vars(source), "trials": trials})
