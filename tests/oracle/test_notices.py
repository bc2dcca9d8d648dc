"""Notices: what a trial shows that is no error, and what must not be said of one that is as it should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo.oracle.notices import Notices, TrialWatch
from hpo.spec.models import StudySpec
from hpo.trial import Job, Outcome, Stop


def job(spec: StudySpec, number: int = 0, attempt: int = 1, **params: Any) -> Job:
    return Job(number, params, 1, spec.objective_ref(), {}, Path("."), ("score",), attempt)


def kinds(
    spec: StudySpec, reports: Sequence[tuple[int, dict[str, float]]], returned: float = 1.0, attempt: int = 1
) -> dict[str, dict[str, Any]]:
    watch = TrialWatch(spec, job(spec, attempt=attempt))
    for step, metrics in reports:
        watch.add(step, metrics)
    return watch.ended(Outcome(0, "COMPLETE", {"score": returned}), None)


@pytest.fixture
def spec(make_spec: Callable[..., StudySpec]) -> StudySpec:
    return make_spec(pruner="successive_halving")


def scores(steps: Sequence[int], values: Sequence[float] = (0.0, 1.0)) -> list[tuple[int, dict[str, float]]]:
    return [(step, {"score": values[min(index, len(values) - 1)]}) for index, step in enumerate(steps)]


@pytest.mark.parametrize(
    ("built", "sees", "kind"),
    [("", False, "gpu_not_built_for"), ("CUDA 12.6", False, "gpu_not_seen"), ("CUDA 12.6", True, "gpu_unused")],
)
def test_a_gpu_that_torch_did_not_use(spec: StudySpec, built: str, sees: bool, kind: str) -> None:
    seen = {"unused_gpu": {"torch": "2.13.0", "built": built, "sees": sees}}
    pruned = Outcome(0, "PRUNED", cause="pruner", reason="behind", observed=seen)
    assert TrialWatch(spec, job(spec)).ended(pruned, None) == {kind: {"torch": "2.13.0", "built": built}}
    # One that failed may not have come to it.
    failed = Outcome(0, "FAIL", cause="exception", reason="no", observed=seen)
    assert TrialWatch(spec, job(spec)).ended(failed, None) == {}
    used = replace(pruned, observed={"unused_gpu": {}})
    assert TrialWatch(spec, job(spec)).ended(used, None) == {}


def test_steps(spec: StudySpec) -> None:
    assert kinds(spec, scores([1, 1, 1])) == {"step_constant": {"metric": "score", "times": 3, "step": 1}}
    assert kinds(spec, scores([3, 2, 1])) == {"step_back": {"metric": "score", "lower": 1, "higher": 3}}
    again = kinds(spec, scores([*range(10), *range(10)]))
    assert again == {"step_back": {"metric": "score", "lower": 0, "higher": 9}}


@pytest.mark.parametrize(
    "reports",
    [
        [],
        scores([0]),
        scores([1, 2, 3]),
        scores([0, 10, 20, 30]),
        # Ranks of one program, a step apart at most.
        scores([1, 1, 2, 1, 2, 3, 3, 2, 4, 3, 4]),
        # Training and validation in reports of their own.
        [(1, {"loss": 0.1}), (1, {"score": 1.0})],
        [(step, {name: 1.0}) for step in range(3) for name in ("loss", "score")],
        # The returned value is the last, the best, or near them.
        scores([1, 2, 3], [0.9, 1.0, 0.5]),
        scores([1, 2, 3], [0.5, 0.9, 0.99]),
        scores([1, 2, 3], [0.995, 0.99, 0.985]),
        scores([1], [0.2]),
        scores([1, 2], [float("nan"), float("inf")]),
    ],
)
def test_nothing_is_said_of_a_trial_that_is_as_it_should_be(
    spec: StudySpec, reports: list[tuple[int, dict[str, float]]]
) -> None:
    assert kinds(spec, reports) == {}


def test_a_resumed_trial_may_report_its_last_step_again(spec: StudySpec) -> None:
    assert kinds(spec, scores([9, 9]), attempt=2) == {}
    assert kinds(spec, scores([9, 9]), attempt=1).keys() == {"step_constant"}


def test_the_pruned_metric_has_another_name(spec: StudySpec, make_spec: Callable[..., StudySpec]) -> None:
    reports = [(step, {"scores": 1.0, "loss": 0.1}) for step in range(3)]
    shown = {"reported": "scores, loss", "metric": "score", "near": "scores"}
    assert kinds(spec, reports) == {"metric_unreported": shown}
    assert kinds(make_spec(pruner="none", name="unpruned"), reports) == {}


@pytest.mark.parametrize(("values", "returned"), [((-0.9, -0.5), 0.5), ((40.0, 90.0), 0.9), ((0.5,), -0.5)])
def test_what_is_returned_is_not_what_was_reported(spec: StudySpec, values: Sequence[float], returned: float) -> None:
    found = kinds(spec, scores(range(len(values)), values), returned)
    shown = {"metric": "score", "value": returned, "low": min(values), "high": max(values)}
    assert found == {"returned_outside": shown}


def test_each_kind_is_said_of_its_first_trial_and_counted_at_the_end(spec: StudySpec) -> None:
    said: list[str] = []
    notices = Notices(spec, said.append)
    outcome = Outcome(0, "COMPLETE", {"score": 1.0}, observed={"stepless": {"lines": 5, "name": "global_step"}})
    for number in (3, 4):
        found = TrialWatch(spec, job(spec, number)).ended(replace(outcome, number=number), Stop("slow"))
        notices.trial_ended(number, found)
    assert said[0].startswith("Trial 3 was told to stop (slow)")
    assert said[1] == (
        "Trial 3 printed 5 JSON lines with score and none with a step: the last one counts, without curves and without "
        "pruning. Print 'step' or 'epoch' in each of them. They have 'global_step', which is not read as the step. "
        "(said of the first such trial)"
    )
    assert len(said) == 2
    assert [notice.trials for notice in notices.closing()] == [(3, 4), (3, 4)]
    assert str(notices.closing()[1]).endswith("(2 trials)")


def test_a_parameter_that_no_trial_reads(make_spec: Callable[..., StudySpec]) -> None:
    space = {
        "x": {"low": 0.0, "high": 1.0},
        "dropout": {"low": 0.0, "high": 0.5},
        "momentum": {"low": 0.0, "high": 0.9},
        "fixed": 3,
        "one": {"choices": [8]},
    }
    spec = make_spec(search_space=space)
    said: list[str] = []
    notices = Notices(spec, said.append)
    params = {"x": 0.1, "dropout": 0.2, "momentum": 0.5, "fixed": 3, "one": 8}
    for number, unread in enumerate((("dropout", "momentum", "fixed", "one"), ("dropout",), ("dropout", "momentum"))):
        assert said == []
        notices.parameters_read(job(spec, number, **params), unread)
    assert len(said) == 1
    assert said[0].startswith("No trial has read the searched parameter dropout:")
    assert [notice.trials for notice in notices.closing()] == [(0, 1, 2)]
