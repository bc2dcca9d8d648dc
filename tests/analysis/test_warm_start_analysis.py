from __future__ import annotations

import math
from dataclasses import replace

import pytest
from reading import LOSS, SCORE, epochs, study, trial

from hpo.analysis.records import TrialRecord, WarmOrigin
from hpo.analysis.warm_start import Rank, warm_trials

X = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}
OLD = WarmOrigin("old", 7, 0.8)


def curve(number: int, *values: float, metric: str = "score", **more: object):
    return trial(number, X, values[-1], metric=metric, history=epochs(1, **{metric: list(values)}), **more)


def test_a_rank_is_among_all_at_the_same_step() -> None:
    trials = [
        curve(0, 0.5, 0.6, warm=OLD, state="PRUNED", values={}),
        curve(1, 0.4, 0.7, 0.9),
        curve(2, 0.3, 0.6, 0.8),  # an equal at step 2
        curve(3, 0.9, math.nan, 0.7),  # nothing to compare with at step 2
        curve(4, 0.9, state="PRUNED", values={}),  # ended before it
        trial(5, X, state="FAIL", cause="lost", requeued=True, history=epochs(1, score=[1.0, 1.0])),
        curve(6, 0.1, 0.9, state="RUNNING", values={}),
    ]
    found = warm_trials(study(trials))
    assert found is not None
    (one,) = found.trials
    assert (one.trial.number, one.value, one.rank) == (0, None, Rank(3, 4, 2))


def test_final_values_rank_where_nothing_was_reported() -> None:
    trials = [trial(0, X, 0.7, warm=OLD), trial(1, X, 0.9), trial(2, X, 0.6), trial(3, X, state="PRUNED")]
    found = warm_trials(study(trials))
    assert found is not None
    assert (found.trials[0].value, found.trials[0].rank) == (0.7, Rank(2, 3, None))
    assert found.best is trials[0]
    assert found.best_own is trials[1]


def test_lower_is_better_where_the_metric_is_minimized() -> None:
    trials = [curve(0, 0.2, metric="loss", warm=OLD), curve(1, 0.1, metric="loss"), curve(2, 0.3, metric="loss")]
    found = warm_trials(study(trials, metrics=(LOSS, SCORE)))
    assert found is not None
    assert found.trials[0].rank == Rank(2, 3, 1)


def test_what_the_driver_noted_comes_first() -> None:
    noted = {"studies": ["old", "older"], "offered": 5, "started": 2, "trusted": False, "why": "they mislead"}
    trials = [trial(0, X, 0.7, warm=OLD), trial(1, X, state="WAITING", warm=OLD)]
    found = warm_trials(replace(study(trials), warm_start=noted))
    assert found is not None
    assert (found.studies, found.offered, found.started, found.trusted) == (("old", "older"), 5, 2, False)
    assert [one.trial.number for one in found.trials] == [0]  # who waits has not been tried
    bare = warm_trials(study(trials))
    assert bare is not None
    assert (bare.studies, bare.offered, bare.trusted) == (("old",), 2, True)


def test_a_study_from_nothing_has_no_warm_start() -> None:
    assert warm_trials(study([trial(0, X, 0.7)])) is None
    nothing = {"studies": [], "offered": 0, "started": 0, "trusted": True, "why": ""}
    assert warm_trials(replace(study([trial(0, X, 0.7)]), warm_start=nothing)) is None


def test_values_at_a_step_are_put_in_order_once_for_all_that_are_ranked_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    series = TrialRecord.series
    monkeypatch.setattr(TrialRecord, "series", lambda self, name: asked.append(self.number) or series(self, name))
    trials = [curve(k, 0.1 * (k % 7), 0.1 * (k % 11), warm=OLD if k < 20 else None) for k in range(100)]
    found = warm_trials(study(trials))
    assert found is not None
    assert len(asked) == 20 + 100  # each trial from an earlier study, then all once
    last = [t.values["score"] for t in trials]
    for one in found.trials:
        assert one.rank == Rank(1 + sum(value > one.value for value in last), 100, 2)
