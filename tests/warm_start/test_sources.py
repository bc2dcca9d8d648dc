"""Earlier studies of Optuna's alone: taken if their parameters are today's, else it is said why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest

from hpo.errors import SpecError
from hpo.warm_start.sources import sources_of


@pytest.fixture
def storage() -> optuna.storages.BaseStorage:
    storage = optuna.storages.InMemoryStorage()
    for name, direction, parameter in (
        ("old", "maximize", "x"),
        ("other", "maximize", "zz"),
        ("down", "minimize", "x"),
        ("empty", "maximize", ""),
    ):
        study = optuna.create_study(study_name=name, storage=storage, direction=direction)
        for value in (0.25, 0.75) if parameter else ():
            trial = study.ask({parameter: optuna.distributions.FloatDistribution(0, 2), "more": _INT})
            study.tell(trial, value)
    return storage


_INT = optuna.distributions.IntDistribution(1, 3)


def test_a_study_of_optunas_alone_is_an_earlier_one(storage: Any, make_spec: Callable[..., Any], runs: Any) -> None:
    (source,) = sources_of(make_spec(warm_start="old"), storage, runs, print)
    drawn = optuna.load_study(study_name="old", storage=storage).trials
    assert source.trials == [(trial.number, {"x": trial.params["x"]}, (trial.value,)) for trial in drawn]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other", r"'other' is a study of Optuna's alone, and none of its parameters \(more, zz\) is one of .* \(x\)"),
        ("down", "'down' is a study of Optuna's alone, and its directions are minimize; expected maximize"),
        ("empty", "'empty' is a study of Optuna's alone, and it has no complete trial"),
        ("olde", "there is no study 'olde' .*Did you mean 'old'?"),
    ],
)
def test_one_that_is_of_no_use(storage: Any, make_spec: Callable[..., Any], runs: Any, name: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        sources_of(make_spec(warm_start=name), storage, runs, print)
