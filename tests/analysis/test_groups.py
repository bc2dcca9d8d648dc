from __future__ import annotations

import pytest
from reading import LOSS, SCORE, study, trial

from hpo.analysis.groups import ALL_TRIALS, best_per_group, groups_of
from hpo.analysis.heatmaps import Cell, heatmaps


def at(architecture: str, rate: float, batch: int) -> dict[str, object]:
    return {"architecture": architecture, "learning_rate": rate, "batch_size": batch}


def test_cells_hold_the_mean_of_complete_trials_and_count_the_others() -> None:
    record = study(
        [
            trial(0, at("unet", 2e-4, 8), 0.80),
            trial(1, at("unet", 3e-4, 8), 0.90),
            trial(2, at("unet", 2e-4, 8), state="PRUNED", curve=[0.1, 0.2], cause="pruner"),
            trial(3, at("unet", 2e-4, 8), state="FAIL", cause="exception"),
            trial(4, at("unet", 2e-4, 8), state="FAIL", cause="lost", requeued=True),
            trial(5, at("unet", 5e-3, 16), 0.70),
            trial(6, at("unet", 5e-3, 8), state="PRUNED", cause="pruner"),
            trial(7, at("resnet", 2e-4, 8), 0.60),
            trial(8, at("resnet", 2e-4, 8), state="RUNNING"),
        ]
    )
    data = heatmaps(record, SCORE)
    assert data is not None
    unet, resnet = data.maps
    assert unet.group == "unet"
    assert unet.cells[0][0] == Cell(2, pytest.approx(0.85), pruned=1, failed=1, trials=(0, 1, 2, 3))
    assert unet.cells[3][1] == Cell(1, 0.70, trials=(5,))
    assert unet.cells[3][0] == Cell(0, None, pruned=1, trials=(6,))
    assert unet.cells[1][0].empty
    assert resnet.cells[0][0] == Cell(1, 0.60, trials=(7,))
    # One scale over both: four standard deviations of 0.8 and 0.9 about the middle of 0.6 and 0.85, within the values.
    assert (data.low, data.high) == pytest.approx((0.60, 0.725 + 0.1414214))
    assert (unet.best, resnet.best) == ((0, 0), (0, 0))


def test_each_architecture_has_its_own_best_cell_where_the_average_names_neither() -> None:
    finals = {"unet": {2e-4: 0.90, 2e-3: 0.80, 5e-3: 0.10}, "resnet": {2e-4: 0.10, 2e-3: 0.80, 5e-3: 0.90}}
    trials = [
        trial(number, at(architecture, rate, 16), value)
        for number, (architecture, rate, value) in enumerate(
            (architecture, rate, value) for architecture, cells in finals.items() for rate, value in cells.items()
        )
    ]
    apart = heatmaps(study(trials), SCORE)
    assert apart is not None
    assert {own.group: own.best for own in apart.maps} == {"unet": (0, 1), "resnet": (3, 1)}
    # Averaged over architectures the middle rate (0.80) beats both true optima (0.50 each).
    pooled = heatmaps(study(trials, group_by=None), SCORE)
    assert pooled is not None
    assert pooled.maps[0].group == ALL_TRIALS
    assert pooled.maps[0].best_mean == (2, 1)


def test_the_best_cell_of_a_minimized_metric_is_the_lowest() -> None:
    trials = [
        trial(0, at("unet", 2e-4, 8), 0.3, metric="loss"),
        trial(1, at("unet", 2e-4, 16), 0.2, metric="loss"),
    ]
    data = heatmaps(study(trials, metrics=(LOSS,)), LOSS)
    assert data is not None
    assert data.maps[0].best == (0, 1)


def test_what_varies_within_a_cell_is_named_and_trials_without_a_place_are_counted() -> None:
    space = {
        "optimizer": {"choices": {"adam": {"lr": {"low": 1e-4, "high": 1e-2, "log": True}}, "lbfgs": {}}},
        "batch_size": {"choices": [8, 16]},
        "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
        "epochs": 10,
    }
    trials = [
        trial(0, {"optimizer": "adam", "lr": 1e-3, "batch_size": 8, "loss": "bce", "epochs": 10}, 0.5),
        trial(1, {"optimizer": "lbfgs", "batch_size": 8, "loss": "bce", "epochs": 10}, 0.4),
    ]
    data = heatmaps(study(trials, space=space, group_by=None), SCORE)
    assert data is not None
    assert data.averaged == ("optimizer", "loss", "gamma")
    assert data.maps[0].unplaced == 1


def test_groups_come_in_the_order_declared_with_untried_and_inactive_ones() -> None:
    space = {"net": {"choices": {"cnn": {"kind": {"choices": ["a", "b"]}}, "mlp": {}}}}
    record = study([trial(0, {"net": "mlp"}, 0.1), trial(1, {"net": "cnn", "kind": "b"}, 0.2)], space=space)
    by_net = study(record.trials, space=space, group_by="net")
    assert [(group.label, len(group.trials)) for group in groups_of(by_net)] == [("cnn", 1), ("mlp", 1)]
    by_kind = study(record.trials, space=space, group_by="kind")
    assert [(group.label, len(group.trials)) for group in groups_of(by_kind)] == [("a", 0), ("b", 1), ("no kind", 1)]


def test_best_of_each_group_prefers_the_earlier_of_equals_and_ignores_pruned_values() -> None:
    record = study(
        [
            trial(0, at("unet", 2e-4, 8), 0.7),
            trial(1, at("unet", 2e-3, 8), 0.9),
            trial(2, at("unet", 5e-3, 8), 0.9),
            trial(3, at("unet", 5e-3, 8), state="PRUNED", curve=[0.99], cause="pruner"),
            trial(4, at("resnet", 5e-3, 8), state="FAIL", cause="exception"),
        ]
    )
    unet, resnet = best_per_group(record, SCORE)
    assert unet.best is not None
    assert (unet.best.number, unet.complete, unet.pruned, unet.failed) == (1, 3, 1, 0)
    assert (resnet.best, resnet.complete, resnet.failed) == (None, 0, 1)
