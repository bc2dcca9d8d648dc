"""Ranges by name and default, and what is no parameter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.scaffold.draft import MISSING, Setting
from hpo.scaffold.draft_builder import fits
from hpo.scaffold.guess import CONSTANT, DIRECTORY, LEAVE, PARAMETER, SEED, guess
from hpo.space.search_space import SearchSpace

RANGES: list[tuple[str, Any, dict[str, Any]]] = [
    ("lr", 1e-3, {"low": 1e-4, "high": 1e-2, "log": True}),
    ("LEARNING_RATE", 3e-4, {"low": 3e-5, "high": 3e-3, "log": True}),
    ("optimizer.lr", 0.5, {"low": 0.05, "high": 1.0, "log": True}),
    ("encoder_lr", 1e-5, {"low": 1e-6, "high": 1e-4, "log": True}),
    ("learningRate", MISSING, {"low": 1e-4, "high": 1e-2, "log": True}),
    ("batch_size", 64, {"choices": [32, 64, 128]}),
    ("batchSize", 100, {"choices": [64, 100, 128]}),
    ("bs", 1, {"choices": [1, 2]}),
    ("weight_decay", 0.0, {"low": 1e-6, "high": 1e-2, "log": True}),
    ("wd", 1e-4, {"low": 1e-5, "high": 1e-3, "log": True}),
    ("dropout", 0.1, {"low": 0.0, "high": 0.5}),
    ("attn_drop", 0.6, {"low": 0.0, "high": 0.6}),
    ("momentum", 0.9, {"low": 0.8, "high": 0.99}),
    ("beta1", 0.5, {"low": 0.5, "high": 0.95}),
    ("hidden_size", 256, {"choices": [128, 256, 512], "structural": True}),
    ("num_layers", 2, {"low": 1, "high": 4, "structural": True}),
    ("max_depth", 6, {"low": 2, "high": 12}),
    ("n_estimators", 100, {"low": 25, "high": 400, "log": True}),
    ("warmup_epochs", 5, {"low": 0, "high": 10}),
    ("use_bias", True, {"choices": [False, True]}),
    # Of losses: as in search_spaces/.
    ("focal_gamma", 2.0, {"low": 0.0, "high": 5.0}),
    ("loss.focal.gamma", 6.0, {"low": 0.0, "high": 6.0}),
    ("fl_alpha", 0.25, {"low": 0.05, "high": 0.95}),
    ("focalAlpha", 1.0, {"low": 0.05, "high": 1.0}),
    ("ghm_bins", 10, {"choices": [5, 10, 20, 30]}),
    ("GHM_NUM_BINS", 12, {"choices": [5, 10, 12, 20, 30]}),
    ("ghm_momentum", 0.75, {"low": 0.0, "high": 0.95}),
    ("loss.ghm.alpha", 0.75, {"low": 0.0, "high": 1.0}),
    ("tversky_beta", 0.7, {"low": 0.1, "high": 0.9}),
    ("pos_weight", 1.0, {"low": 1.0, "high": 50.0, "log": True}),
    ("positive_class_weight", 100.0, {"low": 1.0, "high": 200.0, "log": True}),
    ("w_seg", 1.0, {"low": 0.1, "high": 10.0, "log": True}),
    ("lambda_cls", 0.5, {"low": 0.05, "high": 5.0, "log": True}),
    ("dice_weight", 0.5, {"low": 0.05, "high": 5.0, "log": True}),
    ("loss_weight_peak", 2.0, {"low": 0.2, "high": 20.0, "log": True}),
    ("loss.weights.dice", 1.0, {"low": 0.1, "high": 10.0, "log": True}),
    ("weight_seg_loss", 1.0, {"low": 0.1, "high": 10.0, "log": True}),
    ("gamma", 0.95, {"low": 0.1, "high": 0.99}),  # of a schedule
    ("momentum_encoder_momentum", 0.9, {"low": 0.8, "high": 0.99}),
]
NOT_SEARCHED = {
    "epochs": (20, CONSTANT),
    "num_epochs": (20, CONSTANT),
    "seed": (0, SEED),
    "data_dir": ("data", CONSTANT),
    "output_dir": ("out", DIRECTORY),
    "log_dir": ("logs", DIRECTORY),
    "checkpoint_path": ("model.pt", CONSTANT),  # what is loaded, rather
    "save_dir": (None, LEAVE),
    "num_workers": (4, CONSTANT),
    "device": ("cuda", CONSTANT),
    "log_interval": (10, CONSTANT),
    "eval_batch_size": (1000, CONSTANT),
    "image_size": (224, CONSTANT),
    "min_lr": (1e-6, CONSTANT),
    "no_cuda": (False, CONSTANT),
    "nu": (0.3, CONSTANT),  # not known
}


def setting(name: str, value: Any) -> Setting:
    kinds = {bool: "bool", int: "int", float: "float", str: "text"}
    return Setting(name, value, kinds.get(type(value), ""), shown=name)


@pytest.mark.parametrize(("name", "value", "declared"), RANGES, ids=lambda one: str(one))
def test_ranges(name: str, value: Any, declared: dict[str, Any]) -> None:
    found = guess(setting(name, value))
    assert (found.role, found.declared) == (PARAMETER, declared)


@pytest.mark.parametrize(
    ("names", "same", "value"),
    [
        (("lr", "lr0", "eta0", "learningrate", "learningRate", "learn-rate", "init_lr"), "learning_rate", 0.01),
        (("bs", "batchsize", "batch_sz", "mb_size", "train-batch-size", "BATCH"), "batch_size", 32),
        (("wd", "weightDecay", "weightdecay", "weight_decay_rate"), "weight_decay", 1e-4),
    ],
)
def test_what_has_many_spellings_is_searched_alike_under_one_name(
    names: tuple[str, ...], same: str, value: float
) -> None:
    expected = guess(setting(same, value))
    assert expected.role == PARAMETER
    assert [guess(setting(name, value)) for name in names] == [expected] * len(names)


def test_widths_may_be_numbered() -> None:
    for name in ("hidden1", "hidden_dim_2", "num_units10"):
        assert guess(setting(name, 64)).declared == {"choices": [32, 64, 128], "structural": True}


@pytest.mark.parametrize("name", NOT_SEARCHED)
def test_what_is_not_searched(name: str) -> None:
    value, role = NOT_SEARCHED[name]
    assert guess(setting(name, value)).role == role


def test_a_number_that_is_not_known_comes_with_the_line_that_searches_it() -> None:
    assert guess(setting("nu", 0.3)).decide.endswith("nu: {low: 0.15, high: 0.6}")


@given(
    st.sampled_from([name for name, _, _ in RANGES]), st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
)
def test_a_range_holds_the_default_and_is_one(name: str, value: Any) -> None:
    found = guess(setting(name, value))
    if found.role == PARAMETER:
        SearchSpace.parse({"a": found.declared})
        zero_of_a_log_range = value == 0 and found.declared.get("log")
        assert fits(found.declared, value) or zero_of_a_log_range
