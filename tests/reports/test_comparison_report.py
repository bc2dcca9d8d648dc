from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reading import LOSS, SCORE, epochs, study, trial

from hpo.analysis.comparison import Comparison
from hpo.analysis.records import StudyRecord
from hpo.analysis.study_comparison import Side, StudyComparison, compare_sides
from hpo.reports import html, markdown
from hpo.reports.blocks import charts_of
from hpo.reports.comparison_report import comparison_data, comparison_report
from hpo.reports.sections.study_comparison import change_text, data_warnings
from hpo.reports.to_json import to_plain_data
from hpo.spec.models import Metric

CURVE = {"train_loss": [0.9, 0.5, 0.4], "val_loss": [1.0, 0.6, 0.7], "score": [0.2, 0.7, 0.6]}


def searched(seed: int, n: int, better: float = 0.0, **more: Any) -> StudyRecord:
    rng = random.Random(seed)
    trials = []
    for k in range(2 * n):
        architecture = ["unet", "resnet"][k % 2]
        params = {"architecture": architecture, "learning_rate": 10 ** rng.uniform(-4, -2), "batch_size": 8}
        trials.append(trial(k, params, 0.5 + better + rng.gauss(0, 0.05), history=epochs(1, **CURVE), seconds=2.0))
    return study(trials, **more)


def beside(*studies: StudyRecord) -> StudyComparison:
    return compare_sides([Side(f"study{k}", one) for k, one in enumerate(studies)])


def sections(data: StudyComparison) -> dict[str, str]:
    text = markdown.render(comparison_report(data))
    return dict(part.split("\n", 1) for part in text.split("\n## ")[1:])


def test_a_comparison_has_all_its_sections() -> None:
    found = sections(beside(searched(1, 8), searched(2, 9, better=0.2)))
    assert list(found) == [
        "Overview",
        "Differences of configuration",
        "Best configuration of each architecture",
        "Best within equal budgets",
        "Is the difference more than scatter?",
        "Training curves",
        "Training stability",
    ]
    head, _, *rows = [line for line in found["Best configuration of each architecture"].splitlines() if line[:1] == "|"]
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        *("architecture", "study", "score", "trial", "learning_rate", "batch_size", "other parameters", "time"),
        "epochs to best",
    ]
    assert [[cell.strip() for cell in row.split("|")[1:3]] for row in rows] == [
        ["unet", "study0"], ["unet", "study1"], ["resnet", "study0"], ["resnet", "study1"],
    ]  # fmt: skip
    assert all(row.rstrip(" |").endswith("2 of 3") for row in rows)
    tests = found["Is the difference more than scatter?"]
    assert "study1 less study0" in tests
    assert "< 0.001" in tests
    assert "study0: unet" in found["Training curves"]


def test_too_few_trials_are_not_tested() -> None:
    tests = sections(beside(searched(1, 2), searched(2, 9)))["Is the difference more than scatter?"]
    assert "not shown (n = 2, at least 3 needed)" in tests


def test_what_may_have_been_missed_is_said_of_what_was_not_found() -> None:
    tests = sections(beside(searched(1, 6), searched(1, 6)))["Is the difference more than scatter?"]
    assert "Welch; may have missed d below 1.8" in tests
    assert "may have missed" not in sections(beside(searched(1, 8), searched(2, 9, better=0.2)))[
        "Is the difference more than scatter?"
    ].replace("a smaller one may have been missed", "")


@pytest.mark.parametrize(
    ("metric", "before", "after", "said"),
    [
        (LOSS, 1.2, 0.1, "12 times less"),
        (LOSS, 0.1, 1.2, "12 times more"),
        (LOSS, 100.0, 92.0, "8 % less"),
        (LOSS, -0.5, -1.5, "-1"),
        (LOSS, 0.5, 0.0, "-0.5"),
        (LOSS, 0.5, 0.5, "the same"),
        (SCORE, 0.6, 0.9, "+0.3"),
        (SCORE, 0.6, None, "—"),
    ],
)
def test_a_loss_is_so_many_times_less(metric: Metric, before: float, after: float | None, said: str) -> None:
    assert change_text(metric, before, after) == said


def test_before_and_after_stand_beside_each_other() -> None:
    page = html.render(comparison_report(beside(searched(1, 2), searched(2, 2))))
    rows = page.split('<div class="row')[1:]
    assert [row.count("data-figure") for row in rows[:2]] == [2, 2]


def test_trials_have_curves_and_no_test() -> None:
    record = searched(1, 2)
    late = replace(record.trials[3], state="PRUNED", values={}, cause="pruner")
    other = StudyRecord(**{**vars(record), "trials": (*record.trials[:3], late)})
    data = compare_sides([Side("s/0", record, record.trials[0]), Side("s/3", other, late)])
    found = sections(data)
    assert "Is the difference more than scatter?" not in found
    rows = [line.split("|")[1:3] for line in found["The trials"].splitlines() if line.startswith("| s/")]
    assert [[cell.strip() for cell in row] for row in rows][1] == ["s/3", "pruned"]
    assert "s/3" in found["Training curves"]


def test_metrics_that_not_all_have_are_flagged() -> None:
    two = study([trial(0, {}, values={"score": 1.0, "loss": 2.0})], metrics=(SCORE, LOSS), group_by=None)
    text = sections(beside(two, study([trial(0, {}, 1.0)], group_by=None)))["Overview"]
    assert "Not compared, since not all have it: loss of study0." in text


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"train": "a", "val": "b"}, {"train": "a", "val": "b"}, "Trained and validated on the same data"),
        ({"train": "a", "val": "b"}, {"train": "a", "val": "c"}, "Warning: validated on other data"),
        ({"train": "a", "val": "b"}, {"train": "c", "val": "b"}, "Trained on other data."),
        ({"train": "a", "val": "b"}, {}, "Whether all were validated on the same data was not recorded."),
    ],
)
def test_other_data_are_flagged(tmp_path: Path, first: dict[str, str], second: dict[str, str], said: str) -> None:
    studies = []
    for name, prints in (("before", first), ("after", second)):
        for number in (0, 1):
            folder = tmp_path / name / "trials" / str(number)
            folder.mkdir(parents=True)
            data = {split: {"samples": 5, "sha256": one} for split, one in prints.items()}
            (folder / "data.json").write_text(json.dumps(data))
        studies.append(searched(1, 1, directory=tmp_path / name))
    warnings = data_warnings(beside(*studies))
    assert any(said in text for text in warnings)


def test_without_a_complete_trial_there_is_a_page() -> None:
    empty = study([trial(0, {"architecture": "unet"}, state="FAIL", cause="exception")])
    text = markdown.render(comparison_report(beside(empty, searched(1, 1))))
    assert "no complete trial" in text
    assert "Not shown: no group has complete trials on both sides." in text


def test_what_users_named_is_escaped() -> None:
    record = searched(1, 6)
    data = compare_sides([Side("<b>a</b>", record), Side("b", searched(2, 6))])
    assert "<b>a</b>" not in html.render(comparison_report(data))


def test_programs_get_the_numbers() -> None:
    data = beside(searched(1, 7), searched(2, 7))
    found = json.loads(json.dumps(to_plain_data(comparison_data(data)), allow_nan=False))
    assert (found["kind"], found["sides"]) == ("comparison", ["study0", "study1"])
    assert found["metrics"][0]["tests"][0]["p"] == pytest.approx(data.metrics[0].tests[0].p)
    assert "trainings" not in found


def test_very_many_trials_are_cells_and_the_caption_says_so() -> None:
    report = comparison_report(beside(searched(1, 1100), searched(2, 1100)))
    captions = [chart.caption for _, chart in charts_of(report) if isinstance(chart.data, Comparison)]
    (caption,) = captions
    assert caption.startswith("Cells stand for 4400 trials: ")
    assert "A dot" not in caption
