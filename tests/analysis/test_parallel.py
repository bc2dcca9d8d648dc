"""Parallel coordinates: places computed by hand."""

from __future__ import annotations

import pytest
from reading import LOSS, SCORE, study, trial

from hpo.analysis.parallel import ABSENT, MOST_SCALES, parallel_coordinates

SPACE = {
    "architecture": {"choices": ["unet", "resnet"]},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
}
TRIALS = [
    trial(0, {"architecture": "unet", "learning_rate": 1e-3, "loss": "bce"}, 0.5),
    trial(1, {"architecture": "resnet", "learning_rate": 1e-4, "loss": "focal", "gamma": 2.0}, 0.9),
    trial(2, {"architecture": "unet", "learning_rate": 1e-3, "loss": "bce"}, state="FAIL"),
]


def test_a_line_a_complete_trial_the_best_first():
    data = parallel_coordinates(study(TRIALS, space=SPACE), SCORE)
    assert data is not None
    assert data.trials == (1, 0)
    assert data.finals == (0.9, 0.5)
    architecture, rate, loss, gamma, score = data.scales
    assert [scale.name for scale in data.scales] == ["architecture", "learning_rate", "loss", "gamma", "score"]
    assert architecture.values == (1.0, 0.0)
    assert architecture.ticks == ((0.0, "unet"), (1.0, "resnet"))
    assert rate.values == pytest.approx((-4, -3))
    assert [text for _, text in rate.ticks] == ["1e-4", "3.16e-4", "0.001", "0.00316", "0.01"]
    assert loss.values == (1.0, 0.0)
    assert gamma.values == pytest.approx((2.0, -0.6)), "12 % below its range where it is not used"
    assert gamma.ticks[0] == (pytest.approx(-0.6), ABSENT)
    assert score.values == (0.9, 0.5)


def test_without_a_complete_trial_there_is_nothing():
    assert parallel_coordinates(study([TRIALS[2]], space=SPACE), SCORE) is None


def test_a_loss_begins_with_the_lowest():
    trials = [trial(k, {"architecture": "unet"}, value, metric="loss") for k, value in enumerate((0.3, 0.1, 0.2))]
    data = parallel_coordinates(study(trials, metrics=(LOSS,)), LOSS)
    assert data is not None
    assert data.trials == (1, 2, 0)


def test_values_beyond_an_edited_range_stay_on_the_scale():
    trials = [trial(0, {"architecture": "vgg", "learning_rate": 0.1, "batch_size": 32}, 0.5)]
    data = parallel_coordinates(study(trials), SCORE)
    assert data is not None
    architecture, rate, batch, _ = data.scales
    assert architecture.ticks[-1] == (2.0, "vgg")
    assert rate.ticks[-1][0] == pytest.approx(-1)
    assert batch.values == (2.0,)


def test_of_many_parameters_the_last_have_no_scale():
    space = {f"p{k}": {"low": 0.0, "high": 1.0} for k in range(20)}
    data = parallel_coordinates(study([trial(0, dict.fromkeys(space, 0.5), 1.0)], space=space, group_by=None), SCORE)
    assert data is not None
    assert len(data.scales) == MOST_SCALES
    assert len(data.left_out) == 20 - MOST_SCALES + 1
