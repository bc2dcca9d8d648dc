from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from reading import LOSS, SCORE, study, trial

from hpo.analysis.architecture import heatmaps
from hpo.analysis.records import TrialRecord
from hpo.reports.blocks import Chart, Facts, Link, Row, Section, Table, Text
from hpo.reports.sections import MOST_ROWS, HeatmapChart, cell_lines, report_of

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
    return {section.anchor: section for section in report_of(study(trials, **more)).sections}  # type: ignore[arg-type]


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
    assert said["Time"] == "15.5 s of wall time, 23.0 s of trials"


def test_the_best_configuration_of_each_architecture() -> None:
    table = first(sections()["best"], Table)
    assert isinstance(table, Table)
    assert table.rows == (
        ("unet", "0.900", "1", "learning_rate 2e-4, batch_size 8", "7.5 s", "2", "2 / 1 / 0"),
        ("resnet", "0.700", "3", "learning_rate 0.002, batch_size 16", "3.0 s", "1", "1 / 0 / 1"),
    )


def test_cells_say_the_number_n_and_what_was_pruned() -> None:
    data = heatmaps(study(TRIALS), SCORE)
    assert data is not None
    assert cell_lines(data, data.maps[0], 0, 0) == ("0.850 ★", "n = 2", "1 pruned")
    assert cell_lines(data, data.maps[1], 2, 1) == ("0.700 ★", "n = 1", "1 failed")
    assert cell_lines(data, data.maps[0], 1, 1) == ()


def test_there_is_a_heatmap_for_each_architecture() -> None:
    section = sections()["heatmaps"]
    assert section.title == "Learning rate by batch size for each architecture"
    row = first(section, Row)
    assert isinstance(row, Row)
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
    assert text.text == "PED-ANOVA: not shown (n = 3, at least 10 complete trials needed)."


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
