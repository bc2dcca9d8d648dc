"""The sampler that a study gets which names none."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo.errors import SpecError
from hpo.spec.load import load_spec
from hpo.spec.models import KERNEL, StudySpec
from hpo.spec.wording import sampler_text

Make = Callable[..., StudySpec]
CELLS = {"x": {"low": 1, "high": 9}, "y": {"choices": ["a", "b", "c", "d"]}}
NUMBERS = {"x": {"low": 1, "high": 9}, "y": {"low": 0.0, "high": 1.0}}
CHOICES = {"x": {"choices": ["a", "b"]}, "y": {"low": 0.0, "high": 1.0}}
BOTH = [{"name": "score", "direction": "maximize"}, {"name": "other", "direction": "minimize"}]


@pytest.fixture
def auto(make_spec: Make) -> Make:
    return lambda space, **keys: make_spec(search_space=space, **{"sampler": None, **keys})


@pytest.mark.parametrize("written", [None, "auto", {"name": "auto"}])
def test_written_or_left_out_is_the_same(auto: Make, written: Any) -> None:
    assert auto(CELLS, sampler=written) == auto(CELLS)


@pytest.mark.parametrize(
    ("space", "budget", "names", "reason"),
    [
        (
            CELLS,
            {"trials": 60},
            ["grid"],
            "the space has 36 configurations and the budget 60 trials; each is tried once",
        ),
        (CELLS, {"trials": 36}, ["grid"], "36 configurations and the budget 36 trials"),
        (CELLS, {"trials": 35}, ["kernel"], "the space has choices; each of its 36 configurations is tried once"),
        (CELLS, {"hours": 2}, ["kernel"], "the space has choices; each of its 36 configurations is tried once"),
        (CHOICES, {"trials": 60}, ["kernel"], "the space has choices"),
        (NUMBERS, {"trials": 60}, ["gp", "kernel"], "the space has numbers alone (kernel if more than one trial"),
        (NUMBERS, {"hours": 2}, ["gp", "kernel"], "the space has numbers alone"),
        ({**NUMBERS, "net": {"choices": ["one"]}, "z": 3}, {"trials": 60}, ["gp", "kernel"], "numbers alone"),
        ({**NUMBERS, "w": {"simplex": ["a", "b", "c"]}}, {"trials": 60}, ["gp", "kernel"], "numbers alone"),
        ({"x": {"low": 0, "high": 99}}, {"trials": 60}, ["gp", "kernel"], "after 200 that did); each of its 100"),
        ({"x": {"low": 0, "high": 2**52}}, {"trials": 60}, ["kernel"], "gp cannot take the range of x"),
        ({"x": 3, "y": {"choices": ["a"]}}, {"trials": 5}, ["kernel"], "one configuration: each trial repeats it with"),
    ],
)
def test_each_rule_with_its_reason(
    auto: Make, space: dict[str, Any], budget: dict[str, Any], names: list[str], reason: str
) -> None:
    spec = auto(space, budget=budget)
    assert [sampler.name for sampler in spec.samplers] == names
    assert sampler_text(spec) == f"auto: {' or '.join(names)}"
    assert sampler_text(spec, reason=True).startswith(f"auto: {names[0]}, for ")
    assert reason in sampler_text(spec, reason=True)


def test_kernel_has_the_options_of_the_default(auto: Make) -> None:
    assert auto(CHOICES).samplers == (KERNEL,)


def test_a_python_without_torch_gets_kernel(auto: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("hpo.spec.auto_sampler.find_spec", lambda name: None if name == "torch" else found(name))
    spec = auto(NUMBERS)
    assert [sampler.name for sampler in spec.samplers] == ["kernel"]
    assert "gp needs torch, which this Python does not have" in sampler_text(spec, reason=True)


def test_a_study_of_cells_plans_as_many_trials(auto: Make, make_spec: Make) -> None:
    assert auto(CELLS, budget={"trials": 60}).planned_trials() == 36
    assert auto(CELLS, budget={"trials": 20}).planned_trials() == 20
    assert auto(CELLS, budget={"hours": 1}).planned_trials() == 36
    assert make_spec(search_space=CELLS, sampler="tpe", budget={"trials": 60}).planned_trials() == 60
    assert auto({"x": 3}, budget={"trials": 5}).planned_trials() == 5


def test_another_budget_may_choose_another_sampler(auto: Make) -> None:
    spec = auto(CELLS, budget={"trials": 20})
    extended = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 40})})
    assert [sampler.name for sampler in (*spec.samplers, *extended.samplers)] == ["kernel", "grid"]
    assert extended.identity() == spec.identity()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("multivariate: true", "sampler.multivariate: is an option, and the sampler auto has none; it is one of tpe"),
        ("mutation: 0.1", "it is one of kernel: write that in place of auto"),
        ("n_startup_trials: 5", "it is one of kernel, tpe, gp, cmaes: write that in place of auto"),
        ("repeats: 3", "write the name of a sampler"),
        ("seed: 3", "is set by study.yaml's own key 'seed'; leave it out here"),
        ("constraints_func: 3", "write the name of a sampler"),
    ],
)
def test_an_option_names_the_sampler_to_write(study_yaml: Callable[..., Path], option: str, words: str) -> None:
    path = study_yaml(sampler=None)
    path.write_text(f"{path.read_text()}sampler: {{name: auto, {option}}}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert words in str(caught.value)
