"""What the figures draw, read from the figures."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from reading import LOSS, SCORE, epochs, study, trial

from hpo.analysis.comparison import comparison
from hpo.analysis.effects import Effect, effects
from hpo.analysis.optimization_history import optimization_history
from hpo.analysis.pareto import front_of, pareto_front
from hpo.analysis.records import TrialRecord
from hpo.analysis.stability import stabilities
from hpo.analysis.training.curves import all_curves, trainings
from hpo.reports import figures
from hpo.reports.charts import EffectChart, LinesChart, TrainingChart

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}
RESNET = {**UNET, "architecture": "resnet"}


def drawn(data: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Traces and layout as a browser gets them."""
    figure = json.loads(figures.to_json(figures.figure(data)), parse_constant=pytest.fail)
    return figure["data"], figure["layout"]


def effect_of(trials: list[TrialRecord], name: str) -> Effect:
    return next(found for found in effects(study(trials), SCORE).shown if found.axis.name == name)


def test_an_effect_has_dots_and_medians_from_two_trials_on() -> None:
    trials = [
        trial(0, UNET, 0.8),
        trial(1, UNET, 0.9),
        trial(2, {**UNET, "batch_size": 16}, 0.7),
        trial(3, {**UNET, "batch_size": 16}, state="PRUNED", curve=[0.99], cause="pruner"),
        trial(4, RESNET, 0.1),
    ]
    effect = effect_of(trials, "batch_size")
    (dots, medians), layout = drawn(EffectChart(effect, effect.groups[0]))
    assert dots["y"] == [0.8, 0.9, 0.7]  # neither the pruned one nor another group's
    assert [round(x) for x in dots["x"]] == [0, 0, 1]
    assert medians["y"] == [pytest.approx(0.85), None]  # one trial is its own dot
    assert medians["error_y"]["array"] == [None, None]  # two have no quartiles
    assert [note["text"] for note in layout["annotations"]] == ["n 2", "n 1"]
    assert layout["xaxis"]["ticktext"] == ["8", "16"]
    # The axis is that of all groups.
    assert layout["yaxis"]["range"][0] < 0.1
    assert layout["yaxis"]["range"][1] > 0.9


def test_bars_never_leave_the_values_of_a_group_of_two_modes() -> None:
    """Mean and standard deviation of 0.05 and 0.95 reached 1.15 for a score of at most 1."""
    finals = [0.05, 0.95, 0.94, 0.96, 0.06]
    trials = [trial(k, UNET, value) for k, value in enumerate(finals)]
    (_, median), _ = drawn(comparison(study(trials, space={"architecture": {"choices": ["unet"]}}), SCORE))
    (middle,), bars = median["x"], median["error_x"]
    assert (middle - bars["arrayminus"][0], middle, middle + bars["array"][0]) == pytest.approx((0.06, 0.94, 0.95))
    effect = effect_of(trials, "batch_size")
    (_, medians), _ = drawn(EffectChart(effect, effect.groups[0]))
    assert medians["y"][0] + medians["error_y"]["array"][0] <= max(finals)


def test_a_continuous_parameter_is_drawn_where_it_is() -> None:
    trials = [trial(k, {**UNET, "learning_rate": rate}, 0.5) for k, rate in enumerate([1e-4, 1e-3])]
    effect = effect_of(trials, "learning_rate")
    (dots, medians), layout = drawn(EffectChart(effect, effect.groups[0]))
    # Four bins of half a decade, from -0.5 to 3.5; a bin holds its lower edge.
    assert dots["x"] == pytest.approx([-0.5, 1.5])
    assert medians["y"] == [None] * 4  # two single trials, and no line between them
    assert layout["xaxis"]["tickvals"][0] == -0.5
    assert layout["xaxis"]["ticktext"][0] == "1e-4"


def test_the_comparison_has_a_row_for_each_group() -> None:
    trials = [trial(0, UNET, 0.8), trial(1, UNET, 0.9), trial(2, RESNET, 0.7)]
    traces, layout = drawn(comparison(study(trials), SCORE))
    unet, median, resnet = traces
    assert (unet["x"], resnet["x"]) == ([0.8, 0.9], [0.7])
    assert median["x"] == [pytest.approx(0.85)]
    assert median["error_x"]["array"] == [None]
    assert layout["yaxis"]["ticktext"] == ["unet", "resnet"]
    assert layout["yaxis"]["range"] == [1.5, -0.5]  # the first on top


def test_stability_is_placed_by_its_logarithm_between_the_bands() -> None:
    # Ten values of +-d have a spread of sqrt(10 d^2 / 8) around their flat trend.
    steady = [[2.0, *(1 + d * (-1) ** k for k in range(30))] for d in (0.0, 0.02)]
    trials = [trial(k, UNET, 0.5 + k, history=epochs(1, val_loss=values)) for k, values in enumerate(steady)]
    traces, layout = drawn(stabilities(study(trials), SCORE))
    assert [trace["name"] for trace in traces[:4]] == ["excellent ≤ 1 %", "good ≤ 5 %", "moderate ≤ 15 %", "poor"]
    edges = [shape["x1"] for shape in layout["shapes"][:3]]
    assert edges == pytest.approx([math.log10(0.01), math.log10(0.05), math.log10(0.15)])
    others, best = traces[4], traces[5]
    assert others["x"] == [layout["xaxis"]["range"][0]]
    share = math.sqrt(10 / 8) * 0.02 / 1.02
    assert best["x"] == [pytest.approx(math.log10(share), abs=1e-4)]
    assert best["customdata"] == ["trial 1 (the best): good, 2.19 % of the gain; deviation 0.0211"]


def test_the_best_training_has_its_star_and_its_gaps() -> None:
    history = epochs(1, train_loss=[0.9, math.nan, 0.3], val_loss=[1.0, 0.6, 0.8], score=[0.2, 0.7, 0.6])
    data = trainings(study([trial(0, UNET, 0.7, history=history)]), SCORE)
    assert data is not None
    traces, layout = drawn(TrainingChart(data, data.groups[0]))
    assert [(trace["name"], trace["yaxis"]) for trace in traces] == [
        ("train", "y"),
        ("validation", "y"),
        ("score", "y2"),
        ("best epoch", "y2"),
    ]
    assert traces[0]["y"] == [0.9, None, 0.3]
    assert (traces[3]["x"], traces[3]["y"]) == ([2], [0.7])
    assert layout["shapes"][0]["x0"] == layout["shapes"][0]["x1"] == 2
    assert layout["xaxis"]["anchor"] == "y2"
    assert layout["yaxis"]["domain"][0] > layout["yaxis2"]["domain"][1]


def test_lines_are_parted_end_with_a_mark_and_the_best_is_thick() -> None:
    trials = [
        trial(0, UNET, 0.5, curve=[0.1, 0.5]),
        trial(1, UNET, 0.4, curve=[0.123456789, 0.4]),
        trial(2, UNET, 0.3, curve=[0.3]),
        trial(3, UNET, state="PRUNED", curve=[0.2, 0.25], cause="pruner"),
    ]
    data = all_curves(study(trials), SCORE)
    assert data is not None
    thin, ends, pruned, cross, best = drawn(LinesChart(data, data.groups[0]))[0]
    assert thin["x"] == [0, 1, None, 0, None]
    assert thin["y"] == [0.12346, 0.4, None, 0.3, None]
    assert (ends["x"], ends["y"]) == ([1, 0], [0.4, 0.3])
    assert (pruned["name"], pruned["y"]) == ("pruned", [0.2, 0.25, None])
    assert cross["customdata"] == ["trial 3, pruned: 0.25 at epoch 1"]
    assert (best["name"], best["y"]) == ("best: trial 0", [0.1, 0.5])
    assert best["line"]["width"] > thin["line"]["width"]


# --- very many trials


def many(n: int = 3000) -> list[TrialRecord]:
    """Half of the trials of each group; every tenth was pruned, and one has diverged."""
    trials = []
    for k in range(n):
        params = {
            "architecture": "unet" if k % 2 else "resnet",
            "learning_rate": 10 ** (-4 + 2 * k / n),
            "batch_size": 8,
        }
        if k % 10 == 9:
            trials.append(trial(k, params, state="PRUNED", curve=[0.1], cause="pruner"))
        else:
            trials.append(trial(k, params, -1e9 if k == 100 else 0.5 + 0.4 * math.sin(k)))
    return trials


def counted(trace: dict[str, Any]) -> int:
    return sum(count for row in trace["customdata"] for count in row)


def test_of_very_many_trials_a_figure_shows_how_many_lie_where() -> None:
    record = study(many())
    history = optimization_history(record, SCORE)
    (cells, best), _ = drawn(history)
    assert (cells["type"], counted(cells)) == ("heatmap", 2699)  # all complete ones but the one beyond the axis
    assert best["y"][-1] == max(t.values["score"] for t in record.complete(SCORE))
    assert len(best["x"]) < 20
    (unet, _, resnet, _), _ = drawn(comparison(record, SCORE))
    assert counted(unet) + counted(resnet) == 2699
    for data in (history, comparison(record, SCORE)):
        rows = figures.rows(data)
        assert rows is not None
        assert sum(row[-1] for row in rows.rows) == 2699
        assert len(rows.rows) < 4100


def test_an_effect_of_very_many_trials_has_cells_in_its_bins() -> None:
    trials = [trial(k, {**UNET, "batch_size": 8 if k % 3 else 16}, 0.5 + k / 1e4) for k in range(2400)]
    effect = effect_of(trials, "batch_size")
    (cells, medians), layout = drawn(EffectChart(effect, effect.groups[0]))
    assert counted(cells) == 2400
    columns = [sum(row[k] for row in cells["customdata"]) for k in range(3)]
    assert columns == [1600, 0, 800]  # nothing between the two values
    assert medians["y"] == [pytest.approx(0.62, abs=0.001), pytest.approx(0.62, abs=0.001)]
    assert [note["text"] for note in layout["annotations"]] == ["n 1600", "n 800"]
    rate = effect_of(trials, "learning_rate")
    (cells, _), _ = drawn(EffectChart(rate, rate.groups[0]))
    assert counted(cells) == 2400


def test_a_front_among_very_many_trials_is_drawn_and_the_others_are_cells() -> None:
    trials = [trial(k, UNET, values={"score": math.sin(k), "loss": math.cos(3 * k)}) for k in range(2500)]
    record = study(trials, metrics=(SCORE, LOSS))
    front = pareto_front(record)
    (cells, on_front), _ = drawn(front_of(record))
    assert counted(cells) == 2500 - len(front)
    assert sorted(on_front["x"]) == sorted(t.values["score"] for t in front)
    rows = figures.rows(front_of(record))
    assert rows is not None
    assert {row[0] for row in rows.rows} == {t.number for t in front}


def test_of_a_front_of_very_many_trials_a_part_is_drawn() -> None:
    trials = [trial(k, UNET, values={"score": float(k), "loss": float(k)}) for k in range(4100)]  # none beats another
    record = study(trials, metrics=(SCORE, LOSS))
    assert len(pareto_front(record)) == 4100
    (on_front,), _ = drawn(front_of(record))
    assert on_front["x"] == [*map(float, range(0, 4100, 3)), 4099.0]
