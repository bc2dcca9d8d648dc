"""Studies made by hand, for the tests of analysis and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hpo.analysis.records import RaisedFlag, StudyRecord, TrialRecord
from hpo.space.parameter import Parameter
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget, Metric, StudySpec
from hpo.storage.history import Step

SCORE = Metric(name="score", direction="maximize")
LOSS = Metric(name="loss", direction="minimize")
SPACE = {
    "architecture": {"choices": ["unet", "resnet"]},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "batch_size": {"choices": [8, 16]},
}


def trial(
    number: int,
    params: Mapping[str, Any],
    value: float | None = None,
    *,
    state: str = "COMPLETE",
    curve: Iterable[float] = (),
    metric: str = "score",
    **more: Any,
) -> TrialRecord:
    """A trial with one final `value` and the reported values `curve`; `more` are fields."""
    history = tuple(Step(step, 0.0, 1, {metric: reported}) for step, reported in enumerate(curve))
    values = {} if value is None else {metric: value}
    return TrialRecord(number, state, dict(params), **({"values": values, "history": history} | more))


def epochs(first: int = 0, every: int = 1, **curves: Sequence[float]) -> tuple[Step, ...]:
    """A history in which each metric has these values, from step `first` on."""
    length = max(len(values) for values in curves.values())
    return tuple(
        Step(first + k * every, 0.0, 1, {name: values[k] for name, values in curves.items() if k < len(values)})
        for k in range(length)
    )


def study(
    trials: Sequence[TrialRecord] = (),
    *,
    space: Mapping[str, Any] | None = None,
    group_by: str | None = "architecture",
    metrics: tuple[Metric, ...] = (SCORE,),
    directory: Path = Path("runs/hand-made"),
    name: str = "hand-made",
) -> StudyRecord:
    parsed = SearchSpace.parse(dict(SPACE if space is None else space))
    return StudyRecord(name, directory, metrics, group_by, parsed, tuple(trials))


def spec_of(space: SearchSpace, **keys: Any) -> StudySpec:
    """A study of one loss, of which only its recordings are left."""
    usual = {"metrics": (LOSS,), "budget": Budget(failures=100), "mlflow": None, "source": Path()}
    return StudySpec(name="replayed", objective="recorded:train", root=Path(), space=space, **(usual | keys))


def with_distributions(record: StudyRecord) -> StudyRecord:
    """The same study with what Optuna knows of each trial filled in; for spaces without conditions."""
    distributions = {parameter.name: _distribution(parameter) for parameter in record.space.walk()}
    trials = tuple(replace(t, optuna_params=dict(t.params), distributions=distributions) for t in record.trials)
    return StudyRecord(**{**vars(record), "trials": trials})


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(float(parameter.low), float(parameter.high), log=parameter.log)


def ended_by(
    number: int, params: Mapping[str, Any], flag: str, step: int, *, since: int | None = None, **metrics: float
) -> TrialRecord:
    """A trial that a red flag stopped after the steps 0 to `step`."""
    raised = RaisedFlag(flag, "stop", step, f"{flag} is met", metrics, since)
    history = epochs(score=[0.1] * (step + 1))
    return trial(number, params, state="PRUNED", cause="red_flag", flag=flag, flags=(raised,), history=history)
