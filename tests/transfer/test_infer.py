"""A study.yaml from trials alone: ranges, choices, constants, and parameters that only some trials have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo.errors import TransferError
from hpo.spec.load import load_spec
from hpo.spec.models import Metric
from hpo.transfer.infer import study_text
from hpo.transfer.source import COMPLETE, Source, SourceTrial

METRICS = [Metric(name="auc", direction="maximize")]


def text_of(trials: Sequence[Mapping[str, Any]]) -> str:
    made = tuple(SourceTrial((str(k),), f"trial {k}", COMPLETE, params) for k, params in enumerate(trials))
    return study_text(Source("csv", "t.csv", "t", made, typed=False), "t", METRICS, {}, "hpo import csv t.csv")


def space_of(tmp_path: Path, trials: Sequence[Mapping[str, Any]]) -> Any:
    path = tmp_path / "t.yaml"
    path.write_text(text_of(trials))
    load_spec(path, locate=False)
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("values", "declared"),
    [
        (["0.001", "0.1", "0.02"], {"low": 0.001, "high": 0.1, "log": True}),
        (["0.1", "0.3", "0.2"], {"low": 0.1, "high": 0.3}),
        (["8", "32", "16"], {"choices": [8, 16, 32]}),
        (["8.0", "32.0", "16.0"], {"choices": [8, 16, 32]}),
        (["3", "5", "4"], {"low": 3, "high": 5}),
        (["1", "2", "1", "2", "1", "2"], {"choices": [1, 2]}),
        (["adam", "sgd", "adam"], {"choices": ["adam", "sgd"]}),
        (["True", "false", "true"], {"choices": [True, False]}),
        (["yes, no", "a: b", "{x}"], {"choices": ["yes, no", "a: b", "{x}"]}),
    ],
)
def test_what_was_tried_says_what_to_search(tmp_path: Path, values: list[str], declared: Any):
    assert space_of(tmp_path, [{"p": value} for value in values])["search_space"] == {"p": declared}


def test_one_value_is_a_constant_and_names_are_made_plain(tmp_path: Path):
    found = space_of(tmp_path, [{"optim/lr rate": "0.1", "epochs": "5"}, {"optim/lr rate": "0.2", "epochs": "5"}])
    assert found["constants"] == {"epochs": 5}
    assert found["search_space"] == {"optim_lr_rate": {"low": 0.1, "high": 0.2}}


def test_a_parameter_of_a_choice_stands_below_it(tmp_path: Path):
    trials = [
        {"loss": "bce", "lr": "0.1"},
        {"loss": "focal", "lr": "0.2", "gamma": "1.5"},
        {"loss": "focal", "lr": "0.3", "gamma": "2.5"},
    ]
    assert space_of(tmp_path, trials)["search_space"] == {
        "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 1.5, "high": 2.5}}}},
        "lr": {"low": 0.1, "high": 0.3},
    }


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([{"a b": "1"}, {"a_b": "2"}], "would both be called 'a_b'"),
        ([{"dir": f"/data/run-{k}"} for k in range(40)], "--ignore dir passes it over"),
        ([{"lr": "0.1"}, {"lr": "0.1"}], "at least one that was varied"),
        ([{}, {}], "has a parameter"),
        ([{"lr": "inf"}, {"lr": "0.1"}], "expected finite numbers"),
    ],
)
def test_what_cannot_be_declared_is_said(trials: list[Mapping[str, Any]], said: str):
    with pytest.raises(TransferError, match=said):
        text_of(trials)
