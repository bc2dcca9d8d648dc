from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from reading import LOSS, SCORE, epochs, study, trial

from hpo.analysis.heatmaps import heatmaps
from hpo.analysis.records import TrialRecord
from hpo.reports.blocks import Chart, Facts, Link, Row, Section, Table, Text
from hpo.reports.charts import ColourScale
from hpo.reports.sections.comparison import comparison_section
from hpo.reports.sections.heatmaps import HeatmapChart, cell_lines
from hpo.reports.sections.shared import MOST_ROWS
from hpo.reports.study_report import study_report
from hpo.spec.models import StudySpec

UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}
RESNET = {"architecture": "resnet", "learning_rate": 2e-3, "batch_size": 16}
TRIALS = (
    trial(0, UNET, 0.80, curve=[0.5, 0.8], seconds=12.5, started=100.0),
    trial(1, UNET, 0.90, curve=[0.6, 0.9], seconds=7.5, started=105.0),
    trial(2, UNET, state="PRUNED", cause="pruner", reason="stopped at step 0", curve=[0.1], seconds=2.0),
    trial(3, RESNET, 0.70, curve=[0.7], seconds=3.0, started=120.0),
    trial(4, RESNET, state="FAIL", cause="exception", reason="ValueError: no positives", seconds=1.0),
)


def sections(trials: Sequence[TrialRecord] = TRIALS, **more: object) -> dict[str, Section]:
    return {section.anchor: section for section in study_report(study(trials, **more)).sections}  # type: ignore[arg-type]


def first(section: Section, kind: type) -> object:
    return next(block for block in section.blocks if isinstance(block, kind))


def test_the_summary_counts_and_names_the_best() -> None:
    headline, facts = (block for block in sections()["summary"].blocks if isinstance(block, Facts))
    # Trials 0 and 1 overlap: 100 to 112.5; trial 3 runs from 120 to 123.
    assert dict(headline.items) == {
        "best score": "0.900",
        "in trial": "1",
        "finished": "5 trials",
        "wall time": "15.5 s",
    }
    said = dict(facts.items)
    assert said["Trials"] == "3 complete, 1 pruned and 1 failed"
    # Of 0.8, 0.9 and 0.7: the squared distances from 0.8 sum to 0.02, over N - 1 = 2.
    spread = "0.700 to 0.900, mean 0.800, standard deviation 0.100"
    assert said["All final score"] == f"{spread} (n = 3, 60% of 5 finished trials)"
    assert said["Time"] == "15.5 s of wall time, 23.0 s of trials"


def test_the_summary_says_when_on_how_many_samples_and_how(make_spec: Callable[..., StudySpec]) -> None:
    """The hours of the first beginning and the last end, 100 s and 3 h 100 s after 1970 began."""
    trials = [
        trial(0, UNET, 0.8, started=100.0, seconds=60.0, history=epochs(1, train_samples=[12e3], val_samples=[90.0])),
        trial(1, UNET, 0.9, started=7300.0, seconds=3600.0, history=epochs(1, train_samples=[9e3])),
    ]
    report = study_report(replace(study(trials), spec=make_spec(budget={"trials": 1, "gpu_hours": 2})))
    said = dict([block for block in report.sections[0].blocks if isinstance(block, Facts)][1].items)
    assert (said["Training samples"], said["Validation samples"]) == ("9000 to 12,000", "90")
    first, last = (datetime.fromtimestamp(second).strftime("%H:%M") for second in (100, 10900))
    trained = said["Trained"]
    assert isinstance(trained, str)
    assert re.fullmatch(rf"\d+ \w+ 19\d\d, {first} to \d+ \w+ 19\d\d, {last}", trained)
    assert (said["Budget"], said["Sampler"]) == ("1 trial, 2 GPU hours", "random")


def test_the_best_configuration_of_each_architecture() -> None:
    table = first(sections()["best"], Table)
    assert isinstance(table, Table)
    assert table.rows == (
        ("unet", "0.900", "1", "learning_rate 2e-4, batch_size 8", "7.5 s", "2 of 2", "—", "2 / 1 / 0"),
        ("resnet", "0.700", "3", "learning_rate 0.002, batch_size 16", "3.0 s", "1 of 1", "—", "1 / 0 / 1"),
    )
    assert "not shown: no validation loss was reported" in table.note


def test_the_best_configuration_has_its_epochs_and_its_stability() -> None:
    history = epochs(1, score=[0.5, 0.9, 0.8], val_loss=[0.50, 0.52, 0.54])
    table = first(sections([trial(0, UNET, 0.9, history=history)])["best"], Table)
    assert isinstance(table, Table)
    # Deviations from the mean 0.52 are 0.02, 0 and 0.02: sqrt(0.0008 / 2) = 0.02.
    assert table.rows[0][5:7] == ("2 of 3", "0.02 (good)")


def test_cells_say_the_number_n_and_what_was_pruned() -> None:
    data = heatmaps(study(TRIALS), SCORE)
    assert data is not None
    assert cell_lines(data, data.maps[0], 0, 0) == ("0.850 ★", "n = 2", "1 pruned")
    assert cell_lines(data, data.maps[1], 2, 1) == ("0.700 ★", "n = 1", "1 failed")
    assert cell_lines(data, data.maps[0], 1, 1) == ()


def test_the_star_is_the_best_trial_and_another_best_mean_is_named() -> None:
    other = {**UNET, "batch_size": 16}
    trials = [trial(0, UNET, 0.95), trial(1, UNET, 0.55), trial(2, other, 0.80), trial(3, other, 0.82)]
    data = heatmaps(study(trials), SCORE)
    assert data is not None
    assert (data.maps[0].best, data.maps[0].best_mean) == ((0, 0), (0, 1))
    assert cell_lines(data, data.maps[0], 0, 0)[0].endswith(" ★")
    # Two cells of two trials: sqrt((0.08 + 0.0002) / 2) of noise.
    assert data.noise == pytest.approx(0.2003, abs=1e-4)
    assert data.low is not None
    assert data.high is not None
    # Means differ by 0.06, which is chance: the scale spans four times the noise, or all final values.
    assert (data.low, data.high) == (0.55, 0.95)
    section = sections(trials)["heatmaps"]
    said = [chart.caption for block in section.blocks if isinstance(block, Row) for chart in block.charts]
    assert "The best mean is in another cell: learning_rate 1e-4 to 3.16e-4 and batch_size 16 (n = 2)." in said
    scale = first(section, Row)
    assert isinstance(scale, Row)
    assert "The scale spans 0.4; trials of one cell have a standard deviation of 0.2." in scale.caption


def test_there_is_a_heatmap_for_each_architecture() -> None:
    section = sections()["heatmaps"]
    assert section.title == "Learning rate by batch size for each architecture"
    scale, row = (block for block in section.blocks if isinstance(block, Row))
    assert isinstance(scale.charts[0].data, ColourScale)  # in a row, so that it is as wide as one map
    assert [chart.title for chart in row.charts] == ["architecture: unet", "architecture: resnet"]
    assert all(isinstance(chart.data, HeatmapChart) for chart in row.charts)
    assert row.charts[0].table is not None
    assert row.charts[0].table.rows[0] == ("1e-4 to 3.16e-4", "0.850 ★; n = 2; 1 pruned", "")


def test_failures_and_prunings_have_their_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "4"
    folder.mkdir(parents=True)
    (folder / "error.txt").write_text("Traceback")
    counts, failed, pruned = (b for b in sections(directory=tmp_path)["failures"].blocks if isinstance(b, Table))
    assert [row[:3] for row in counts.rows] == [("failed", "exception", "1"), ("pruned", "pruner", "1")]
    assert failed.rows[0][:2] == (Link("4", "trials/4/error.txt"), "ValueError: no positives")
    assert pruned.rows[0][:3] == ("2", "stopped at step 0", "1")


def test_importance_says_why_it_is_not_shown() -> None:
    text = first(sections()["importance"], Text)
    assert isinstance(text, Text)
    assert text.text == (
        "PED-ANOVA: not shown (n = 3; below 50 complete trials it changes from one draw of trials to the next)."
    )


@pytest.mark.parametrize(("sampler", "adaptive"), [("qmc", False), ("random", False), ("tpe", True)])
def test_only_an_adaptive_sampler_returned_to_what_was_good(
    make_spec: Callable[..., StudySpec], sampler: str, adaptive: bool
) -> None:
    spec = make_spec(sampler={"name": sampler})
    section = comparison_section(replace(study(TRIALS), spec=spec))
    assert section is not None
    said = " ".join(block.text for block in section.blocks if isinstance(block, Text))
    assert ("returned to what was good" in said) == adaptive


def test_long_tables_end_and_say_so() -> None:
    many = [trial(k, UNET, state="PRUNED", cause="pruner", reason="behind") for k in range(MOST_ROWS + 5)]
    _, pruned = (block for block in sections(many)["failures"].blocks if isinstance(block, Table))
    assert len(pruned.rows) == MOST_ROWS
    assert pruned.note == "5 more are left out here."


def test_several_metrics_have_a_front() -> None:
    trials = [
        trial(0, UNET, values={"score": 0.9, "loss": 3.0}, seconds=1.0),
        trial(1, UNET, values={"score": 0.8, "loss": 2.0}, seconds=1.0),
        trial(2, RESNET, values={"score": 0.7, "loss": 2.5}, seconds=1.0),
    ]
    made = sections(trials, metrics=(SCORE, LOSS))
    table, chart = first(made["pareto"], Table), first(made["pareto"], Chart)
    assert isinstance(table, Table)
    assert isinstance(chart, Chart)
    assert [row[:3] for row in table.rows] == [("0", "0.900", "3.00"), ("1", "0.800", "2.00")]
    assert [(point[0], point[3]) for point in chart.data.points] == [(0, True), (1, True), (2, False)]
    headline = first(made["summary"], Facts)
    assert isinstance(headline, Facts)
    assert dict(headline.items)["on the Pareto front"] == "2 trials"


@pytest.mark.parametrize("group_by", ["architecture", None])
def test_one_metric_has_no_front(group_by: str | None) -> None:
    assert "pareto" not in sections(group_by=group_by)


def test_groups_are_compared_with_mean_deviation_and_share() -> None:
    chart = first(sections()["comparison"], Chart)
    assert isinstance(chart, Chart)
    assert chart.table is not None
    assert chart.table.rows == (
        ("unet", "2 of 3", "67%", "0.850", "0.071", "0.850", "0.900", "0.800"),
        ("resnet", "1 of 2", "50%", "0.700", "—", "0.700", "0.700", "0.700"),
    )
    assert "comparison" not in sections(group_by=None)


def test_the_worst_of_a_minimized_metric_is_the_highest() -> None:
    trials = [trial(k, UNET, value, metric="loss") for k, value in enumerate([0.1, 0.4])]
    chart = first(sections(trials, metrics=(LOSS,))["comparison"], Chart)
    assert isinstance(chart, Chart)
    assert chart.table is not None
    assert chart.table.rows[0][6:] == ("0.100", "0.400")
    assert "lower is better" in chart.caption


def test_effects_have_a_panel_and_rows_for_each_group() -> None:
    section = sections()["effects"]
    rows = [block for block in section.blocks if isinstance(block, Row)]
    assert [row.title for row in rows] == [
        "Final score by learning_rate for each architecture",
        "Final score by batch_size for each architecture",
    ]
    assert [chart.title for chart in rows[1].charts] == ["unet", "resnet"]
    assert rows[1].table is not None
    assert rows[1].table.rows == (
        ("unet", "8", "2", "0.850", "0.850", "0.071", "0.900 (trial 1)", "1", "0"),
        ("resnet", "16", "1", "0.700", "0.700", "—", "0.700 (trial 3)", "0", "1"),
    )


def test_a_group_without_a_complete_trial_has_one_sentence_and_no_panel() -> None:
    for others in ([], [trial(1, RESNET, state="PRUNED", cause="pruner")]):
        section = sections([trial(0, UNET, 0.5), *others])["effects"]
        rows = [block for block in section.blocks if isinstance(block, Row)]
        assert [[chart.title for chart in row.charts] for row in rows] == [["unet"], ["unet"]]
        said = [block.text for block in section.blocks if isinstance(block, Text)]
        assert said.count("Without a complete trial, and so without a panel: resnet.") == 1


def test_training_curves_have_first_best_and_last() -> None:
    history = epochs(1, train_loss=[0.9, 0.5, 0.3], val_loss=[1.0, 0.6, 0.8], score=[0.2, 0.7, 0.6])
    trials = [
        trial(0, UNET, 0.7, history=history),
        trial(1, UNET, state="PRUNED", curve=[0.3], cause="pruner"),
    ]
    best, every = (block for block in sections(trials)["curves"].blocks if isinstance(block, Row))
    assert [chart.title for chart in best.charts] == ["unet (trial 0)"]
    assert best.table is not None
    assert best.table.rows == (
        ("unet", "0", "train_loss", "0.900", "0.300 (3)", "0.300"),
        ("unet", "0", "val_loss", "1.000", "0.600 (2)", "0.800"),
        ("unet", "0", "score", "0.200", "0.700 (2)", "0.600"),
    )
    assert every.table is not None
    assert every.table.rows == (("unet", "1", "1", "0", "1 to 3", "0.600", "0.700 (0, 2)"),)


def test_stability_is_read_in_words_for_each_group() -> None:
    trials = [
        trial(0, UNET, 0.7, history=epochs(1, val_loss=[0.5, 0.5])),
        trial(1, UNET, 0.9, history=epochs(1, val_loss=[0.5, 0.7])),
        trial(2, RESNET, 0.9, history=epochs(1, val_loss=[0.5])),
    ]
    section = sections(trials)["stability"]
    table, chart = first(section, Table), first(section, Chart)
    assert isinstance(table, Table)
    assert isinstance(chart, Chart)
    assert table.rows == (
        ("unet", "1", "0.141", "2", "poor"),
        ("resnet", "2", "—", "1", "not shown: 1 reported, at least 2 needed"),
    )
    assert chart.table is not None
    assert chart.table.rows == (
        ("unet", "2", "0.0707", "0", "0.141", "1", "0", "0", "1"),
        ("resnet", "0", "—", "—", "—", "0", "0", "0", "0"),
    )
    assert "A deviation of 0 is drawn on the left edge. 1 complete trial is not shown" in chart.caption


def test_stability_without_a_validation_loss_says_so() -> None:
    text = first(sections()["stability"], Text)
    assert isinstance(text, Text)
    assert text.text.startswith("Not shown: no validation loss was reported")
