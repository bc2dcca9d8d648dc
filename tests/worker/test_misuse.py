"""An objective that takes its trial for another tool's is told hpo's way to the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.trial import Job, ObjectiveRef, Trial
from hpo.worker.misuse import advice

SENT: list[tuple[int, dict[str, float]]] = []


def trial() -> Trial:
    job = Job(3, {"lr": 0.1}, 0, ObjectiveRef(), {"epochs": 5, "data": {"root": "x"}}, Path(), ("val_ap",))
    return Trial(job, lambda step, metrics: SENT.append((step, metrics)))


PARAMS = "study.yaml's search_space says what is drawn; read it as trial.params['name']"
REPORT = "leave it out: trial.report ends the trial by itself when it is to stop"
CASES: list[tuple[Callable[[Any], object], str]] = [
    (lambda t: t.suggest_float("lr", 0, 1), PARAMS),
    (lambda t: t.suggest_categorical("lr", [0, 1]), PARAMS),
    (lambda t: t.should_prune(), REPORT),
    (lambda t: t.set_user_attr("a", 1), "report it as a metric, trial.report(step, name=value), or write a file into"),
    (lambda t: t.params.lr, "read it with ['lr'] in place of .lr"),
    (lambda t: t.constants.epochs, "read it with ['epochs'] in place of .epochs"),
    (lambda t: t.params.lrr, "Did you mean 'lr'?"),
    (lambda t: t.lr, "read trial.params['lr']"),
    (lambda t: t.epochs, "read trial.constants['epochs']"),
    (lambda t: t.config, "read trial.params['name'], and trial.constants['name'] for what is fixed"),
    (lambda t: t["lr"], "read trial.params['name'], and trial.constants['name'] for what is fixed"),
    (lambda t: t.params.__class__ and t.params.update(lr=1), "it is read-only; change a copy of it, dict(...)"),
    (lambda t: t.params["lrr"], "trial.params has lr. Did you mean 'lr'?"),
    (lambda t: t.params["epochs"], "it stands in trial.constants"),
    (lambda t: t.constants["lr"], "it stands in trial.params"),
    (lambda t: {"a": 1}["b"], ""),
    (lambda t: [].append_, ""),
    (lambda t: len(3), ""),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_what_to_write_instead(index: int) -> None:
    use, said = CASES[index]
    with pytest.raises(Exception) as error:  # noqa: PT011
        use(trial())
    assert advice(error.value).removeprefix("; ").startswith(said)
    assert bool(advice(error.value)) == bool(said)


def test_metrics_may_be_reported_as_a_mapping() -> None:
    SENT.clear()
    trial().report(1, {"val_ap": 0.5, "val/loss": 2})
    trial().report(2, {"val_ap": 0.5}, seconds=3)
    trial().report(step=3, val_ap=1)
    assert SENT == [(1, {"val_ap": 0.5, "val/loss": 2.0}), (2, {"val_ap": 0.5, "seconds": 3.0}), (3, {"val_ap": 1.0})]


@pytest.mark.parametrize("given", [(0.3, 1), (1, 0.3), ("val_ap", 0.3, 1), ({"val_ap": 0.3}, 1)])
def test_a_value_without_a_name_is_told_how_it_is_reported(given: tuple[Any, ...]) -> None:
    with pytest.raises(
        TypeError, match=r"the step comes first, and each metric has a name; expected report\(step, val_"
    ):
        trial().report(*given)
