from __future__ import annotations

import math

import pytest
from reading import SCORE, study, trial

from hpo.analysis.comparison import comparison
from hpo.analysis.summary_statistics import Range


def of(name: str) -> dict[str, object]:
    return {"architecture": name, "learning_rate": 1e-3, "batch_size": 8}


def test_groups_are_compared_by_the_finals_of_their_complete_trials() -> None:
    trials = [
        trial(0, of("unet"), 0.8),
        trial(1, of("unet"), 0.9),
        trial(2, of("unet"), state="PRUNED", curve=[0.99], cause="pruner"),
        trial(3, of("resnet"), 0.7),
        trial(4, of("resnet"), state="FAIL", cause="exception"),
        trial(5, of("resnet"), state="FAIL", cause="lost", requeued=True),
    ]
    data = comparison(study(trials), SCORE)
    unet, resnet = data.groups
    assert unet.finals == ((0, 0.8), (1, 0.9))
    assert unet.spread is not None
    assert (unet.spread.mean, unet.spread.deviation) == (pytest.approx(0.85), pytest.approx(0.1 / math.sqrt(2)))
    assert (unet.finished, resnet.finished) == (3, 2)
    assert resnet.spread is not None
    assert resnet.spread.deviation is None
    assert (data.shown, data.beyond) == (Range(0.7, 0.9), 0)


def test_a_diverged_trial_lies_beyond() -> None:
    trials = [trial(k, of("unet"), value) for k, value in enumerate([0.80, 0.81, 0.82, 0.83, 0.84, -1e9])]
    data = comparison(study(trials), SCORE)
    assert (data.shown, data.beyond) == (Range(0.80, 0.84), 1)
