"""The report of one training, and what the report of a study says of its trainings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading import LOSS, epochs, study, trial

from hpo.analysis.records import TrialRecord
from hpo.analysis.training.diagnosis import diagnose
from hpo.analysis.training.training_log import TrainingLog
from hpo.reports import figures
from hpo.reports.blocks import Link, Table, Text
from hpo.reports.charts import DiagnosisChart
from hpo.reports.sections.diagnosis import diagnosis_section
from hpo.reports.sections.training import diagnosis_chart
from hpo.reports.sections.verdict_text import reason
from hpo.reports.training_report import training_report, write_diagnosis
from hpo.translation.catalogue import language

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}
RESNET = {**UNET, "architecture": "resnet"}
FALLING = [math.exp(-k / 6) for k in range(20)]
OVERFIT = [max(value, 0.2) + 0.05 * max(0, k - 9) for k, value in enumerate(FALLING)]


def overfit() -> TrainingLog:
    return TrainingLog("mine", epochs(1, train_loss=FALLING, val_loss=OVERFIT), params={"lr": 0.1})


def test_the_reason_has_the_numbers_and_the_rule() -> None:
    said = reason(diagnose(overfit()).judgement)
    # e^(-9/6) = 0.223 in epoch 10; from then on 0.05 an epoch are added to 0.2.
    assert "val_loss was best in epoch 10 (" in said
    assert "Rule:" in said
    assert "Meanwhile train_loss went from" in said


def test_the_chart_has_the_evidence_drawn_in() -> None:
    data = diagnosis_chart(diagnose(overfit()))
    assert isinstance(data, DiagnosisChart)
    assert (data.best, data.since, data.verdict) == (10, 10, "overfitting")
    (panel,) = data.panels
    assert panel.level == pytest.approx(min(np.median([OVERFIT[k - 1 : k + 2]], axis=1)[0] for k in range(1, 19)))
    drawn: dict[str, Any] = json.loads(figures.to_json(figures.figure(data)))
    assert [trace["name"] for trace in drawn["data"]] == ["train", "validation", "best epoch"]
    assert drawn["data"][1]["y"] == pytest.approx(OVERFIT, rel=1e-4)
    assert (drawn["data"][2]["x"], drawn["data"][2]["y"]) == ([10], [pytest.approx(OVERFIT[9])])
    rule, band = drawn["layout"]["shapes"]
    assert (rule["type"], rule["y0"], band["type"], band["x0"]) == ("line", panel.level, "rect", 10)
    rows = figures.rows(data)
    assert rows is not None
    assert (rows.columns, len(rows.rows)) == (("metric", "epoch", "value"), 40)
    assert rows.rows[20] == ("val_loss", 1, OVERFIT[0])


def test_a_report_is_written_in_each_language(tmp_path: Path) -> None:
    found = diagnose(overfit())
    written = write_diagnosis(found, tmp_path)
    with language("zh-TW"):
        other = write_diagnosis(found, tmp_path)
    assert written.markdown.read_text().startswith("# Diagnosis of mine\n\nTrained with lr 0.1.")
    assert other.markdown.name == "diagnosis.zh-TW.md"
    data = json.loads(written.json.read_text())
    assert data["kind"] == "diagnosis"
    assert (data["judgement"]["verdict"], data["judgement"]["evidence_kind"]) == ("overfitting", "Overfitting")
    assert data["judgement"]["evidence"]["epochs"] == 10
    assert data["advice"][0]["code"] == "stop_at"
    assert data["advice"][0]["text"].startswith("Keep the weights of epoch 10")


def test_components_and_steps_have_tables() -> None:
    parts = {name: np.linspace(scale, scale / 2, 40) for name, scale in (("a", 100.0), ("b", 1.0))}
    steps = {"loss": parts["a"] + parts["b"] ** 2, **parts, "epoch": np.repeat([1, 2], 20)}
    history = epochs(1, **{f"train_{name}": [steps[name][:20].mean(), steps[name][20:].mean()] for name in steps})
    report = training_report(diagnose(TrainingLog("x", history, steps=steps)))
    assert [section.anchor for section in report.sections] == ["verdict", "curves", "losses", "epochs"]
    losses, per_epoch = report.sections[2], report.sections[3]
    table, shares = losses.blocks[0], losses.blocks[1]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["loss", "a", "b"]
    assert isinstance(shares, Text)
    assert "a dominates with" in shares.text
    first, within = per_epoch.blocks[1], per_epoch.blocks[2]
    assert isinstance(first, Table)
    assert isinstance(within, Table)
    assert first.rows[0][3] == "20"
    assert within.columns == ("epoch", "a", "b")


def test_many_epochs_are_spread_over_the_table() -> None:
    history = epochs(1, train_loss=[1 / (k + 1) for k in range(500)])
    table = training_report(diagnose(TrainingLog("x", history))).sections[3].blocks[1]
    assert isinstance(table, Table)
    assert (len(table.rows), table.rows[0][0], table.rows[-1][0]) == (40, "1", "500")
    assert table.note == "460 epochs between these are left out here."


def test_nothing_logged_is_said() -> None:
    report = training_report(diagnose(TrainingLog("x", ())))
    assert report.subtitle == "0 epochs were written down."
    assert report.sections[0].title == "Verdict: no verdict"


def trials() -> list[TrialRecord]:
    fine = epochs(1, train_loss=FALLING, val_loss=FALLING)
    sick = epochs(1, train_loss=FALLING, val_loss=OVERFIT)
    return [
        trial(0, UNET, 0.1, metric="loss", history=fine),
        trial(1, UNET, 0.2, metric="loss", history=sick),
        trial(2, RESNET, 0.3, metric="loss", history=sick),
        trial(3, RESNET, state="PRUNED", history=fine[:3], cause="pruner"),
        trial(4, RESNET, state="FAIL", cause="error"),
    ]


def test_a_study_says_how_its_trainings_went(tmp_path: Path) -> None:
    page = tmp_path / "trials" / "2" / "diagnosis.html"
    page.parent.mkdir(parents=True)
    page.touch()
    section = diagnosis_section(study(trials(), metrics=(LOSS,), directory=tmp_path))
    assert section is not None
    _, best, _, counted, counts = section.blocks
    assert isinstance(best, Table)
    assert [row[:4] for row in best.rows] == [
        ("unet", "0", "healthy", "20"),
        ("resnet", Link("2", "trials/2/diagnosis.html"), "overfitting", "20"),
    ]
    assert isinstance(counted, Text)
    assert counted.text == (
        "1 finished trial reported nothing and is not judged. "
        "The verdicts on all 4 finished trials that reported their epochs:"
    )
    assert isinstance(counts, Table)
    assert counts.columns[3:] == (
        "healthy", "overfitting", "plateau", "diverged", "collapsed", "nothing passes 0.5", "metric does not follow",
        "noisy", "no verdict",
    )  # fmt: skip
    assert counts.rows == (
        ("unet", "complete", "2", "1", "1", "0", "0", "0", "0", "0", "0", "0"),
        ("resnet", "complete", "1", "0", "1", "0", "0", "0", "0", "0", "0", "0"),
        ("resnet", "pruned", "1", "0", "0", "0", "0", "0", "0", "0", "0", "1"),
    )


def test_a_study_without_histories_has_no_such_section() -> None:
    assert diagnosis_section(study([trial(0, UNET, 0.1)])) is None
