from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
from optuna_dashboard import get_note
from optuna_dashboard import save_note as save_by_hand
from reading import LOSS, SCORE, study, trial

from hpo.analysis.records import StudyRecord
from hpo.reports.dashboard_note import LAST_LINE, MOST_ROWS, merge_notes, note_of, save_note
from hpo.runner import run
from hpo.spec.models import StudySpec
from hpo.storage.load_study import load_study

UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}
RESNET = {"architecture": "resnet", "learning_rate": 2e-3, "batch_size": 16}


def two_groups() -> StudyRecord:
    return study(
        [
            trial(0, UNET, 0.8),
            trial(1, UNET, 0.9),
            trial(2, UNET, state="PRUNED", curve=[0.99], cause="pruner"),
            trial(3, RESNET, state="FAIL", cause="exception", reason="$x$"),
        ],
        directory=Path("/runs/hand-made"),
    )


def test_the_note_by_hand() -> None:
    assert note_of(two_groups()) == (
        "2 complete, 1 pruned and 1 failed. Goal: maximize score.\n\n"
        "- Best score: 0.900, trial 1 (architecture unet, learning_rate 2e-4, batch_size 8).\n"
        "- Whether architecture matters beyond noise is not tested: fewer than two groups have the 3 complete trials "
        "that are needed.\n"
        "- Which parameters matter is not tested: too few complete trials (n = 2).\n"
        "- Of 4 finished trials 2 did not complete (exception 1 and pruner 1); without a complete trial: resnet (1 "
        "trial).\n"
        "- 20 more trials, drawn like the last 4, would bring a new best with a probability of 83%; by how much is "
        "not estimated (n = 2 complete trials, at least 6 needed).\n"
        "- Next, since few trials were tried, add more, then hpo run: "
        "`hpo extend hand-made --trials +20 --runs /runs`\n\n"
        "The best trial of each architecture:\n\n"
        "| architecture | score | trial | configuration                    |\n"
        "| ------------ | ----: | ----: | -------------------------------- |\n"
        "| unet         | 0.900 |     1 | learning_rate 2e-4, batch_size 8 |\n"
        "| resnet       |     — |     — | no complete trial                |\n\n"
        "Ended early:\n\n"
        "| cause     | trials | meaning                                                     |\n"
        "| --------- | -----: | ----------------------------------------------------------- |\n"
        "| exception |      1 | the objective raised an error                               |\n"
        "| pruner    |      1 | the pruner stopped it: behind other trials at the same step |\n\n"
        "Full report: /runs/hand-made/report.html\n\n"
        f"---\n\n{LAST_LINE}"
    )


def test_several_metrics_have_their_front() -> None:
    values = [(0.9, 5.0), (0.8, 3.0), (0.7, 4.0)]
    trials = [trial(k, UNET, values={"score": s, "loss": c}) for k, (s, c) in enumerate(values)]
    note = note_of(study(trials, metrics=(SCORE, LOSS)))
    assert "Goal: maximize score, minimize loss." in note
    rows = [line for line in note.splitlines() if line.startswith("| ")]
    assert [row.split()[1] for row in rows[2:]] == ["0", "1"]


def test_without_a_complete_trial_it_says_so() -> None:
    for metrics in ((SCORE,), (SCORE, LOSS)):
        note = note_of(study([trial(0, UNET, state="PRUNED", cause="pruner")], metrics=metrics))
        assert "0 complete, 1 pruned and 0 failed" in note
        assert "No trial has completed yet." in note


def test_many_groups_are_cut_and_counted() -> None:
    names = [f"net{k}" for k in range(MOST_ROWS + 3)]
    space = {"architecture": {"choices": names}, "lr": {"low": 0.0, "high": 1.0}}
    note = note_of(study([trial(k, {"architecture": n, "lr": 0.1}, 0.5) for k, n in enumerate(names)], space=space))
    assert f"net{MOST_ROWS - 1}" in note
    assert f"net{MOST_ROWS}" not in note
    assert "3 more are in the report." in note


def test_texts_of_the_user_are_neither_markup_nor_tex() -> None:
    space = {"architecture": {"choices": ["<b>$a$|", "b"]}, "lr": {"low": 0.0, "high": 1.0}}
    note = note_of(study([trial(0, {"architecture": "<b>$a$|", "lr": 0.1}, 0.5)], space=space))
    assert "&lt;b>\\$a\\$\\|" in note


def test_what_somebody_wrote_stays() -> None:
    ours = f"new\n{LAST_LINE}"
    assert merge_notes(ours, "") == ours
    assert merge_notes(ours, f"old\n{LAST_LINE}") == ours
    assert merge_notes(ours, f"old\n{LAST_LINE}\n\nmy words") == f"{ours}\n\nmy words"
    assert merge_notes(ours, "my words") == f"{ours}\n\nmy words"
    assert merge_notes(ours, merge_notes(ours, "my words")) == merge_notes(ours, "my words")


def test_it_is_saved_once_and_again_only_when_it_says_something_new() -> None:
    stored = optuna.create_study(direction="maximize")
    record = two_groups()
    save_note(stored, record)
    first = stored._storage.get_study_system_attrs(stored._study_id)
    assert get_note(stored) == note_of(record)
    save_note(stored, record)
    assert stored._storage.get_study_system_attrs(stored._study_id) == first
    # Longer than the 2045 characters of one attribute, and with what somebody added.
    names = [f"net{k}" for k in range(9)]
    trials = [trial(k, {"architecture": name, "why": "x" * 300}, 0.5) for k, name in enumerate(names)]
    long = study(trials, space={"architecture": {"choices": names}})
    save_by_hand(stored, get_note(stored) + "\n\nmine " + "y" * 3000)
    save_note(stored, long)
    assert get_note(stored).startswith(note_of(long))
    assert get_note(stored).endswith("\n\nmine " + "y" * 3000)


def test_a_run_leaves_its_note_in_the_storage(make_spec: Callable[..., StudySpec], runs: Path) -> None:
    run(make_spec(engine={"name": "inline"}), runs)
    _, stored = load_study(runs, "toy")
    note = get_note(stored)
    assert note.startswith("4 complete, 0 pruned and 0 failed. Goal: maximize score.")
    assert f"{stored.best_trial.number} | " in note
    assert str(runs / "toy" / "report.html") in note
