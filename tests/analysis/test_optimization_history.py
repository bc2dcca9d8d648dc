from __future__ import annotations

from reading import LOSS, SCORE, study, trial

from hpo.analysis.optimization_history import Point, optimization_history
from hpo.analysis.summary_statistics import Range

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}


def test_history_has_finals_last_reports_of_pruned_trials_and_the_best_so_far() -> None:
    data = optimization_history(
        study(
            [
                trial(0, UNET, 0.5),
                trial(1, UNET, state="PRUNED", curve=[0.1, 0.9], cause="pruner"),
                trial(2, UNET, 0.4),
                trial(3, UNET, state="FAIL", cause="exception", curve=[0.99]),
                trial(4, UNET, state="PRUNED", cause="out_of_memory"),
                trial(5, UNET, 0.7),
                trial(6, UNET, state="FAIL", cause="lost", requeued=True),
            ]
        ),
        SCORE,
    )
    assert data.points == (
        Point(0, "COMPLETE", "unet", 0.5, 0),
        Point(1, "PRUNED", "unet", 0.9, 2),
        Point(2, "COMPLETE", "unet", 0.4, 0),
        Point(5, "COMPLETE", "unet", 0.7, 0),
    )
    assert data.best == ((0, 0.5), (2, 0.5), (5, 0.7))  # a pruned trial is never the best
    assert (data.silent, data.failed, data.beyond) == (1, 1, 0)


def test_the_best_of_a_minimized_metric_falls() -> None:
    trials = [trial(k, UNET, value, metric="loss") for k, value in enumerate([3.0, 4.0, 1.0])]
    assert optimization_history(study(trials, metrics=(LOSS,)), LOSS).best == ((0, 3.0), (1, 3.0), (2, 1.0))


def test_points_far_beyond_are_counted() -> None:
    trials = [trial(k, UNET, value, metric="loss") for k, value in enumerate([0.2, 0.21, 0.22, 0.23, 0.24, 1e6])]
    data = optimization_history(study(trials, metrics=(LOSS,)), LOSS)
    assert (data.shown, data.beyond) == (Range(0.2, 0.24), 1)
