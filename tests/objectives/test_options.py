"""What a study says over the defaults of its task."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hpo.spec.load import load_spec
from hpo.trial import Job, ObjectiveRef, Trial
from objectives.options import chosen, hashable

DEFAULTS: dict[str, Any] = {"epochs": 40, "rate": 0.1, "data": {"root": None, "seed": 0}}


def trial(params: dict[str, Any], constants: dict[str, Any]) -> Trial:
    return Trial(Job(0, params, 1, ObjectiveRef(), constants, Path(), ()), lambda step, metrics: None)


def test_parameters_win_over_constants_and_constants_over_defaults() -> None:
    options = chosen(trial({"rate": 0.3}, {"rate": 0.2, "data": {"seed": 3}}), DEFAULTS)
    assert options == {"epochs": 40, "rate": 0.3, "data": {"root": None, "seed": 3}}
    assert DEFAULTS["data"] == {"root": None, "seed": 0}


@pytest.mark.parametrize(
    ("params", "constants", "message"),
    [
        ({}, {"epoch": 3}, r"constants\.epoch is not known; expected epochs, rate, data\. Did you mean 'epochs'\?"),
        ({}, {"data": {"sed": 3}}, r"constants\.data\.sed is not known; .* Did you mean 'seed'\?"),
        ({}, {"data": "folder"}, r"constants\.data is 'folder'; expected a mapping with root, seed"),
        ({"rates": 1}, {}, r"search_space\.rates is not known; .* Did you mean 'rate'\?"),
    ],
)
def test_unknown_names_are_refused(params: dict[str, Any], constants: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chosen(trial(params, constants), DEFAULTS)


def test_options_can_be_a_key() -> None:
    assert hash(hashable({"b": 1, "a": None})) == hash(hashable({"a": None, "b": 1}))
    assert dict(hashable({"b": 1, "a": None})) == {"a": None, "b": 1}


@pytest.mark.parametrize("task", ["abr", "glaucoma", "mitochondria", "audio_angle"])
def test_every_documented_option_of_a_built_in_task_can_be_set(task: str) -> None:
    """`data.test_fraction` is no misspelt `data.val_fraction`."""
    options = import_module(f"objectives.{task}.objective").DEFAULTS
    study = f"{task}_small"
    searched = {parameter.name for parameter in load_spec(study).space.walk()}
    keys = {name: name for name in options if name not in searched} | {
        f"{name}.{key}": key for name, inner in options.items() if isinstance(inner, dict) for key in inner
    }
    spec = load_spec(study, [f"constants.{key}=null" for key in keys if key.partition(".")[0] not in searched])
    assert spec.constants["data"]["test_fraction"] is None
