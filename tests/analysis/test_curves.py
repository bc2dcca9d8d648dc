from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import LOSS, SCORE, epochs, study, trial

from hpo.analysis.summary_statistics import Range
from hpo.analysis.training.curves import (
    FEWEST_POINTS,
    MOST_IN_ALL,
    MOST_LINES,
    MOST_POINTS,
    Curve,
    all_curves,
    best_step,
    curve_of,
    drawn,
    epochs_to_best,
    trainings,
)

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}
RESNET = {**UNET, "architecture": "resnet"}


def test_the_best_epoch_is_the_first_of_equals_and_never_nan() -> None:
    one = trial(0, UNET, 0.9, history=epochs(1, score=[0.1, math.nan, 0.9, 0.9, math.inf, 0.3]))
    assert best_step(curve_of(one, "score"), "maximize") == (3, 0.9)
    assert best_step(curve_of(one, "score"), "minimize") == (1, 0.1)
    assert best_step(curve_of(one, "unknown"), "minimize") is None
    assert curve_of(one, "score").values == (0.1, None, 0.9, 0.9, None, 0.3)


@pytest.mark.parametrize(("first", "every", "found"), [(0, 1, (3, 4)), (1, 1, (3, 4)), (5, 5, (15, 20))])
def test_epochs_to_best_are_counted_from_one(first: int, every: int, found: tuple[int, int]) -> None:
    one = trial(0, UNET, 0.9, history=epochs(first, every, score=[0.1, 0.2, 0.9, 0.3]))
    assert epochs_to_best(study([one]), one, SCORE) == found


def test_a_trial_whose_history_begins_late_counts_as_the_others_do() -> None:
    whole = trial(0, UNET, 0.5, history=epochs(0, score=[0.1, 0.5]))
    late = trial(1, UNET, 0.9, history=epochs(7, score=[0.8, 0.9]))
    assert epochs_to_best(study([whole, late]), late, SCORE) == (9, 9)
    assert epochs_to_best(study([late]), late, SCORE) == (8, 8)
    silent = trial(2, UNET, 0.9, history=epochs(0, other=[1.0]))
    assert epochs_to_best(study([silent]), silent, SCORE) is None


@given(st.integers(1, 150), st.integers(2, 60), st.data())
def test_a_thinned_curve_keeps_its_ends_and_its_best(n: int, limit: int, data: st.DataObject) -> None:
    values = tuple(data.draw(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=n, max_size=n)))
    best = data.draw(st.integers(0, n - 1))
    thin = drawn(Curve("score", tuple(range(n)), values), limit, [best])
    assert len(thin.steps) <= limit + 1 or n <= limit
    assert {0, best, n - 1} <= set(thin.steps)
    assert list(thin.steps) == sorted(thin.steps)
    for step, value in zip(thin.steps, thin.values, strict=True):
        assert (value is None) == (values[step] is None)
        if value is not None:
            assert value == pytest.approx(values[step], rel=1e-4)
    assert n > limit or len(thin.steps) == n


def test_panels_pair_training_and_validation_on_axes_of_all_groups() -> None:
    losses = {"train_loss": [1.0, 0.5], "val_loss": [2.0, 1.0]}
    unet = epochs(1, **losses, train_recall=[0.1, 0.2], val_recall=[0.1, 0.3], score=[0.3, 0.2])
    resnet = epochs(1, train_loss=[3.0, 0.2, 0.2], val_loss=[1.0, 1.0, 1.0], score=[0.1, 0.2, 0.4])
    trials = [
        trial(0, UNET, 0.2, history=unet),
        trial(1, RESNET, 0.4, history=resnet),
        trial(2, RESNET, 0.3, history=epochs(1, val_loss=[1e9])),  # not the best
        trial(3, UNET, state="PRUNED", history=epochs(1, score=[0.9]), cause="pruner"),
    ]
    data = trainings(study(trials), SCORE)
    assert data is not None
    assert [(panel.title, panel.names) for panel in data.panels] == [
        ("loss", ("train_loss", "val_loss")),
        ("score", ("score",)),
    ]
    assert data.panels[0].shown == Range(0.2, 3.0)
    assert not data.panels[0].log
    assert data.left_out == ("recall",)
    assert (data.first, data.last) == (1, 3)
    assert [(own.group, own.trial.number, own.best) for own in data.groups] == [("unet", 0, 1), ("resnet", 1, 3)]
    assert data.groups[1].curves[0][0] == Curve("train_loss", (1, 2, 3), (3.0, 0.2, 0.2))


def test_early_epochs_are_shown_and_only_what_would_press_all_flat_is_not() -> None:
    decay = [1.0, 0.5, *([0.1] * 5), *([0.11] * 5)]
    data = trainings(study([trial(0, UNET, 0.5, history=epochs(1, val_loss=decay))]), SCORE)
    assert data is not None
    assert (data.panels[0].shown, data.groups[0].beyond) == (Range(0.1, 1.0), 0)
    spike = epochs(1, val_loss=[-0.1, 1e9, *([0.1, 0.5] * 5)])
    diverged = trainings(study([trial(0, UNET, 0.5, history=spike)]), SCORE)
    assert diverged is not None
    assert diverged.panels[0].shown == Range(-0.1, 0.5)
    assert diverged.groups[0].beyond == 1


def test_the_partner_of_a_metric_is_beside_it_and_a_wide_loss_is_logarithmic() -> None:
    history = epochs(0, train_score=[0.5], val_score=[0.4], train_loss=[100.0], val_peak_loss=[1.0], val_loss=[0.01])
    metric = SCORE.model_copy(update={"name": "val_score"})
    data = trainings(study([trial(0, UNET, 0.4, metric="val_score", history=history)], metrics=(metric,)), metric)
    assert data is not None
    assert [panel.names for panel in data.panels] == [
        ("train_loss", "val_loss"),
        ("val_peak_loss",),
        ("train_score", "val_score"),
    ]
    assert [panel.log for panel in data.panels] == [True, False, False]
    assert data.panels[1].title == "val_peak_loss"


def test_a_loss_that_is_the_metric_has_one_panel() -> None:
    one = trial(0, UNET, 1.0, metric="loss", history=epochs(1, loss=[2.0, 1.0, 3.0]))
    data = trainings(study([one], metrics=(LOSS,)), LOSS)
    assert data is not None
    assert [panel.names for panel in data.panels] == [("loss",)]
    assert data.groups[0].best == 2


def test_without_complete_trials_or_histories_there_are_no_trainings() -> None:
    assert trainings(study([trial(0, UNET, 0.5)]), SCORE) is None
    pruned = trial(0, UNET, state="PRUNED", curve=[0.1], cause="pruner")
    assert trainings(study([pruned]), SCORE) is None
    assert all_curves(study([trial(0, UNET, 0.5)]), SCORE) is None


def test_all_curves_end_where_their_trials_ended() -> None:
    trials = [
        trial(0, UNET, 0.5, curve=[0.1, 0.3, 0.5]),
        trial(1, UNET, state="PRUNED", curve=[0.2, 0.6], cause="pruner"),
        trial(2, UNET, state="FAIL", curve=[0.1, math.nan], cause="exception"),
        trial(3, UNET, 0.4),
        trial(4, RESNET, 0.9, curve=[math.nan]),
        trial(5, UNET, state="RUNNING", curve=[0.9]),
    ]
    data = all_curves(study(trials), SCORE)
    assert data is not None
    unet, resnet = data.groups
    assert [(line.number, line.state, line.curve.steps[-1]) for line in unet.lines] == [
        (0, "COMPLETE", 2),
        (1, "PRUNED", 1),
        (2, "FAIL", 1),
    ]
    assert unet.best == 0  # not the pruned one, although its curve went higher
    assert unet.peak == (0.6, 1, 1)
    assert (unet.shortest, unet.longest, unet.silent) == (2, 3, 1)
    assert (resnet.lines, resnet.silent) == ((), 1)
    assert (data.first, data.last, data.thinned) == (0, 2, False)


def test_many_long_curves_stay_within_what_a_page_can_hold() -> None:
    trials = [trial(k, UNET, 0.5, curve=[0.5 + 0.001 * (s % 7) for s in range(400)]) for k in range(300)]
    data = all_curves(study(trials), SCORE)
    assert data is not None
    assert data.thinned
    points = [len(line.curve.steps) for own in data.groups for line in own.lines]
    assert sum(points) <= MOST_IN_ALL + len(points)
    assert min(points) >= FEWEST_POINTS
    assert max(points) <= MOST_POINTS + 1


def test_a_trial_that_reported_neither_losses_nor_the_metric_has_no_training_to_show() -> None:
    assert trainings(study([trial(0, UNET, 0.9, history=epochs(1, epoch_seconds=[1.0, 2.0]))]), SCORE) is None


def test_of_very_many_curves_some_are_drawn_and_the_best_among_them() -> None:
    trials = [trial(k, UNET, 0.9 if k == 701 else 0.5, curve=[0.1, 0.5]) for k in range(2 * MOST_LINES + 1)]
    data = all_curves(study(trials), SCORE)
    assert data is not None
    (own,) = [group for group in data.groups if group.lines]
    assert {line.number for line in own.lines} == {*range(0, len(trials), 3), 701}
    assert (data.n, own.states) == (len(trials), {"COMPLETE": len(trials)})  # tables still count them all
    few = all_curves(study(trials[:MOST_LINES]), SCORE)
    assert few is not None
    assert sum(len(group.lines) for group in few.groups) == MOST_LINES


def test_numbers_of_very_many_curves_are_those_of_all_of_them() -> None:
    rare = [trial(k, RESNET, 0.1, curve=[0.2, 0.1]) for k in range(4 * MOST_LINES, 4 * MOST_LINES + 3)]
    trials = [trial(k, UNET, 0.5, curve=[0.1, 0.3 + k / 1e4] + [0.2] * (k == 5)) for k in range(4 * MOST_LINES)]
    data = all_curves(study([*trials, *rare]), SCORE)
    assert data is not None
    unet, resnet = (group for group in data.groups if group.states)
    assert (unet.peak, unet.shortest, unet.longest) == ((0.5399, 2399, 1), 2, 3)
    assert unet.last == pytest.approx(0.41995, abs=1e-4)  # the median of 0.3 to 0.5399, one of them 0.2
    assert [line.number for line in resnet.lines] == [2400]  # every group is represented
    assert (data.first, data.last, data.n) == (0, 2, 2403)
