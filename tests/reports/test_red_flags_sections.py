"""The sections on red flags and on warm start, and what is drawn of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reading import ended_by, epochs, study, trial

from hpo.analysis.records import RaisedFlag, StudyRecord, TrialRecord, WarmOrigin
from hpo.reports import figures
from hpo.reports.blocks import Link, Row, Section, Table, Text
from hpo.reports.charts import EnrichmentChart
from hpo.reports.dashboard_note import note_of
from hpo.reports.sections.red_flag_regions import region_sentences
from hpo.reports.study_json import study_data
from hpo.reports.study_report import study_report
from hpo.reports.to_json import to_plain_data

UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}
FAST = {**UNET, "learning_rate": 5e-3}
RESNET = {**UNET, "architecture": "resnet"}


def sick(**more: Any) -> StudyRecord:
    """unet collapses at high learning rates, 8 of 9 against 1 of 11; of resnet there are two trials."""
    trials = [ended_by(k, FAST, "collapsed", 4, since=2, train_recall=0.0) for k in range(8)]
    trials += [trial(8, FAST, 0.5, history=epochs(score=[0.5] * 10))]
    trials += [ended_by(9, UNET, "collapsed", 6, since=4, train_recall=0.0)]
    trials += [trial(k, UNET, 0.6, history=epochs(score=[0.6] * 10)) for k in range(10, 20)]
    warned = RaisedFlag("overfitting", "warn", 8, "val_loss rose", {"val_loss": float("nan")}, None, {"lowest": 0.25})
    trials += [trial(20, RESNET, 0.7, history=epochs(score=[0.7] * 12), flags=(warned,)), trial(21, RESNET, 0.8)]
    return study(trials, **more)


def section_of(record: StudyRecord, anchor: str) -> Section | None:
    return next((section for section in study_report(record).sections if section.anchor == anchor), None)


def blocks(section: Section | None, kind: type) -> list[Any]:
    assert section is not None
    return [block for block in section.blocks if isinstance(block, kind)]


def test_a_study_without_rules_has_no_such_section() -> None:
    record = study([trial(0, UNET, 0.5)])
    assert section_of(record, "red-flags") is None
    assert section_of(record, "warm-start") is None


def test_rules_that_found_nothing_are_shown(make_spec: Any) -> None:
    spec = make_spec(red_flags=[{"name": "slow", "when": "seconds > 9", "from_epoch": 2, "action": "warn"}])
    section = section_of(replace(study([trial(0, UNET, 0.5)]), spec=spec), "red-flags")
    assert blocks(section, Text)[0].text.endswith("None was raised.")
    (table,) = blocks(section, Table)
    assert table.rows == (("slow", "seconds > 9, from epoch 2 on: warns only", "0", "0", "—", "—"),)


def test_what_each_flag_did_and_saved() -> None:
    counts = blocks(section_of(sick(), "red-flags"), Table)[0]
    # Complete unets have 10 epochs: eight saved 5 each, one 3.
    assert counts.rows == (
        ("collapsed", "no longer in study.yaml", "9", "0", "4 / 4 / 6", "43"),
        ("overfitting", "no longer in study.yaml", "0", "1", "8", "—"),
    )
    said = [block.text for block in blocks(section_of(sick(), "red-flags"), Text)]
    # 8 of 5 epochs, 7, 11 of 10 and 12 were trained.
    assert any(text.endswith("summed: 43. In total 169 were trained.") for text in said)


def test_where_it_lives_is_said_for_each_group() -> None:
    said = [block.text for block in blocks(section_of(sick(), "red-flags"), Text)]
    (text,) = (text for text in said if text.startswith("collapsed, in unet"))
    # Four regions: two learning rates, two groups; 4 * 100 / binomial(20, 9). One resnet came to step 4.
    p = "(p = 0.002)"
    assert text == (
        f"collapsed, in unet: 8 of 9 trials with learning_rate ≥ 0.00316, against 1 of 11 elsewhere {p}. collapsed: "
        "too few trials that raised it, or that did not, for a test in resnet (0 of 1)."
    )
    assert region_sentences(sick()) == [text.partition(". ")[0] + "."]


def test_every_flag_has_its_evidence(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "0"
    folder.mkdir(parents=True)
    evidence = blocks(section_of(sick(directory=tmp_path), "red-flags"), Table)[-1]
    assert evidence.folded == "Every red flag, with the numbers that led to it"
    first = (Link("0", "trials/0"), "collapsed", "stopped", "4", "2", "train_recall 0", "collapsed is met")
    assert evidence.rows[0] == first
    assert evidence.rows[-1] == ("20", "overfitting", "warned", "8", "—", "val_loss nan, lowest 0.25", "val_loss rose")
    assert len(evidence.rows) == 10


def chart_of(record: StudyRecord) -> EnrichmentChart:
    (row,) = blocks(section_of(record, "red-flags"), Row)
    between, chart = row.charts
    assert between.title == "all trials"
    assert row.title == "collapsed: the share of trials that raised it"
    assert chart.title == "architecture: unet"
    assert isinstance(chart.data, EnrichmentChart)
    return chart.data


def test_the_strips_have_a_cell_for_each_value() -> None:
    figure = json.loads(figures.to_json(figures.figure(chart_of(sick()))), parse_constant=pytest.fail)
    layout = figure["layout"]
    texts = [note["text"] for note in layout["annotations"]]
    # Four bins of the learning rate; the batch size has one value that was tried, and no region.
    assert layout["yaxis"]["ticktext"] == ["learning_rate"]
    assert texts[0] == "1e-4 to 3.16e-4<br><b>1 of 11</b>"
    assert [text.partition("<br>")[2] for text in texts] == ["<b>1 of 11</b>", "", "", "<b>8 of 9</b>"]
    cells = [shape for shape in layout["shapes"] if shape.get("layer") == "below"]
    (outline,) = (shape for shape in layout["shapes"] if shape.get("layer") != "below")
    assert [(cell["x0"], cell["x1"]) for cell in cells] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert ["fillcolor" in cell for cell in cells] == [True, False, False, True]
    assert (outline["x0"], outline["x1"]) == (0.75, 1)
    (hovered,) = figure["data"]
    assert hovered["customdata"][0] == "learning_rate 1e-4 to 3.16e-4<br>1 of 11 trials raised it (9%)"
    assert hovered["customdata"][3].startswith("learning_rate 0.00316 to 0.01<br>8 of 9 trials raised it (89%)<br>")


def test_the_strips_as_rows() -> None:
    found = figures.rows(chart_of(sick()))
    assert found is not None
    assert found.columns == ("flag", "group", "parameter", "value", "raised", "trials", "share", "p_of_region")
    first, last = found.rows
    assert first == ("collapsed", "unet", "learning_rate", "1e-4 to 3.16e-4", 1, 11, 1 / 11, None)
    assert last[:7] == ("collapsed", "unet", "learning_rate", "0.00316 to 0.01", 8, 9, 8 / 9)
    # Hypergeometric: 8 or all of the 9 ill among 9 of 20; two regions, and the two groups.
    assert last[7] == pytest.approx(4 * (9 * 11 + 1) / 167960)


def test_the_note_names_causes_warnings_and_places() -> None:
    note = note_of(sick())
    assert "| red flag: collapsed |      9 | a rule of red_flags stopped it |" in note
    assert "Red flags that only warned, in so many trials: overfitting 1." in note
    assert "8 of 9 trials with learning" in note


def test_programs_read_the_same() -> None:
    data = to_plain_data(study_data(sick()))
    assert data["red_flags"][0] == {
        "flag": "collapsed", "stopped": [*range(8), 9], "warned": [], "epochs": [4, 4, 6], "saved": 43.0,
    }  # fmt: skip
    unet = data["diseases"][0]["groups"][0]
    assert unet["share"] == {"ill": 9, "n": 20}
    assert unet["strips"][0]["region"]["inside"] == {"ill": 8, "n": 9}
    assert data["trials"][20]["flags"][0]["metrics"] == {"val_loss": None}
    assert (data["trials"][0]["flag"], data["failures"][0]["flag"]) == ("collapsed", "collapsed")
    json.dumps(data, allow_nan=False)


# --- warm start


def warm(trials: Sequence[TrialRecord], **noted: Any) -> Section | None:
    return section_of(replace(study(trials), warm_start=noted), "warm-start")


def test_configurations_of_earlier_studies_with_their_values_there_and_here() -> None:
    trials = [
        trial(0, UNET, 0.85, history=epochs(1, score=[0.6, 0.85]), warm=WarmOrigin("old", 12, 0.91)),
        trial(1, UNET, 0.80, history=epochs(1, score=[0.5, 0.80])),
        trial(2, UNET, state="PRUNED", history=epochs(1, score=[0.4]), warm=WarmOrigin("file.json", None, None)),
    ]
    section = warm(trials, studies=["old", "file.json"], offered=5, started=2, trusted=False, why="they mislead")
    (text,) = blocks(section, Text)
    assert text.text == (
        "5 configurations of earlier studies (old and file.json) could be tried; 2 were started. They were not "
        "trusted to the end (they mislead). The best of them: score 0.8500 (trial 0); of all other trials: 0.8000 "
        "(trial 1)."
    )
    (table,) = blocks(section, Table)
    assert table.columns[3:5] == ("score there", "score here")
    assert table.rows == (
        ("0", "old", "12", "0.91", "0.8500", "complete", "1 of 2", "2"),
        ("2", "file.json", "—", "—", "—", "pruned", "3 of 3", "1"),
    )


def test_offered_but_never_started() -> None:
    section = warm([trial(0, UNET, 0.5)], studies=["old"], offered=1, started=0, trusted=True, why="")
    (text,) = blocks(section, Text)
    assert text.text == (
        "1 configuration of earlier studies (old) could be tried; 0 were started. They were trusted to the end."
    )
    assert blocks(section, Table) == []
