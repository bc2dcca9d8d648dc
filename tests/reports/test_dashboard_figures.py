"""What a study keeps for optuna-dashboard, in real storages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna_dashboard import get_note
from optuna_dashboard._custom_plot_data import SYSTEM_ATTR_PLOT_DATA, get_plotly_graph_objects
from reading import SCORE, study, trial, with_distributions

from hpo.analysis.records import StudyRecord
from hpo.reports.dashboard import IMPORTANCE, LARGEST_SHARE, PERIOD, DashboardTracker, dashboard_figures, save_figures
from hpo.reports.figures.dashboard import HEIGHT
from hpo.runner import run
from hpo.spec.models import StudySpec
from hpo.storage.load_study import load_study
from hpo.storage.open import close_storage, open_storage
from hpo.trackers.base import Progress
from hpo.translation.catalogue import language
from hpo.trial import Job, ObjectiveRef, Outcome

UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}
RESNET = {"architecture": "resnet", "learning_rate": 2e-3, "batch_size": 16}


def shown(study: optuna.Study) -> dict[str, Any]:
    """The figures as optuna-dashboard reads them."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return {name: json.loads(text) for name, text in get_plotly_graph_objects(attributes).items()}


def pieces(study: optuna.Study) -> int:
    attributes = study._storage.get_study_system_attrs(study._study_id)
    return sum(name.startswith(SYSTEM_ATTR_PLOT_DATA) for name in attributes)


def searched(n: int) -> StudyRecord:
    rates = [10 ** (-4 + 2 * k / n) for k in range(n)]
    trials = [
        trial(k, {"architecture": ("unet", "resnet")[k % 2], "learning_rate": rate, "batch_size": 8}, 0.5 + rate)
        for k, rate in enumerate(rates)
    ]
    return with_distributions(study(trials))


def test_the_heatmaps_by_hand() -> None:
    record = study([trial(0, UNET, 0.8), trial(1, UNET, 0.9), trial(2, UNET, state="PRUNED"), trial(3, RESNET, 0.2)])
    found = {name: json.loads(figure.to_json()) for name, figure in dashboard_figures(record).items()}
    assert set(found) == {"hpo-heatmap-1", "hpo-heatmap-2"}
    cells, numbers = found["hpo-heatmap-1"]["data"]
    assert [value for row in cells["z"] for value in row if value is not None] == [0.85]
    assert numbers["text"] == ["0.850<br>n 2"]
    scales = [[group["data"][0][end] for end in ("zmin", "zmax")] for group in found.values()]
    assert scales[0] == scales[1] == pytest.approx([0.2, 0.85])
    look = found["hpo-heatmap-1"]["layout"]
    assert look["title"]["text"] == "unet: final score, mean and n"
    # Ink and ground of its own: optuna-dashboard has a dark theme, of which it says nothing.
    assert (look["paper_bgcolor"], look["font"]["color"], look["height"]) == ("#ffffff", "#1c2128", HEIGHT)


def test_a_group_keeps_its_id_and_has_no_figure_before_it_has_a_trial() -> None:
    assert set(dashboard_figures(study([trial(3, RESNET, 0.2)]))) == {"hpo-heatmap-2"}
    assert dashboard_figures(study([trial(3, RESNET, state="PRUNED")])) == {}


def test_importance_comes_with_ten_trials() -> None:
    assert IMPORTANCE not in dashboard_figures(searched(9))
    figure = dashboard_figures(searched(30))[IMPORTANCE]
    assert json.loads(figure.to_json())["layout"]["title"]["text"] == "Importance for score: PED-ANOVA, n = 30"


def test_the_largest_figures_take_few_writes() -> None:
    groups, batches = [f"network {k}" for k in range(12)], [2**k for k in range(8)]
    space = {
        "architecture": {"choices": groups},
        "learning_rate": {"low": 1e-6, "high": 1.0, "log": True},
        "batch_size": {"choices": batches},
    }
    trials = [
        trial(0, {"architecture": group, "learning_rate": 10.0 ** (k / 4 - 6), "batch_size": batch}, 0.1234567 * k)
        for group in groups
        for batch in batches
        for k in range(24)
    ]
    stored = optuna.create_study()
    save_figures(stored, study(trials, space=space))
    assert len(shown(stored)) == 8
    assert pieces(stored) <= 40


def test_figures_are_replaced_and_texts_follow_the_language() -> None:
    stored = optuna.create_study()
    save_figures(stored, searched(30))
    before = pieces(stored)
    save_figures(stored, study([trial(3, RESNET, 0.2)]))
    assert len(shown(stored)["hpo-heatmap-2"]["data"][1]["text"]) == 1
    assert pieces(stored) == before  # what is not needed any more is blank
    with language("zh-TW"):
        title = dashboard_figures(searched(30))[IMPORTANCE].layout.title.text
    assert "PED-ANOVA" in title


# --- during a run


@pytest.fixture(params=["journal", "sqlite"])
def stored(
    request: pytest.FixtureRequest, make_spec: Callable[..., StudySpec], runs: Path
) -> Iterator[tuple[optuna.Study, StudySpec]]:
    """A study that has run, without what the end of its run left for optuna-dashboard, as its driver has it open."""
    url = f"sqlite:///{runs / 'toy.db'}" if request.param == "sqlite" else None
    spec = make_spec(engine={"name": "inline"}, **({} if url is None else {"storage": url}))
    runs.mkdir(exist_ok=True)
    run(spec, runs)
    finished = load_study(runs, "toy")[1].trials
    storage = open_storage(f"{url}2" if url else f"journal:{runs / 'copy.log'}", pytest.fail)
    study = optuna.create_study(study_name="toy", storage=storage, direction="maximize")
    study.add_trials(finished)
    yield study, spec
    close_storage(storage)


PROGRESS = Progress(4, 4, 0, 0, 0, 0, 0.5, 1)


def finish(tracker: DashboardTracker, directory: Path) -> None:
    job = Job(0, {}, 1, ObjectiveRef("toys:smooth"), {}, directory, ("score",))
    tracker.trial_finished(job, Outcome(0, "COMPLETE", {"score": 0.5}), PROGRESS)


def test_it_is_brought_up_to_date_seldom(stored: tuple[optuna.Study, StudySpec], runs: Path) -> None:
    study, spec = stored
    now = [50.0]
    tracker = DashboardTracker(study, spec, runs / "toy", pytest.fail, clock=lambda: now[0])
    finish(tracker, runs)
    tracker.close()
    assert get_note(study) == ""
    now[0] += PERIOD
    finish(tracker, runs)
    tracker.close()
    assert get_note(study).startswith("4 complete, 0 pruned and 0 failed.")
    assert set(shown(study)) == {"hpo-heatmap-1"}

    optuna.delete_study(study_name="toy", storage=study._storage)
    now[0] += PERIOD - 1
    finish(tracker, runs)  # not yet: it would fail
    tracker.close()


def test_what_takes_long_is_done_more_seldom(stored: tuple[optuna.Study, StudySpec], runs: Path) -> None:
    study, spec = stored
    seconds = iter([0.0, PERIOD, PERIOD, PERIOD + 60])  # the update takes a minute
    tracker = DashboardTracker(study, spec, runs / "toy", pytest.fail, clock=lambda: next(seconds))
    finish(tracker, runs)
    tracker.close()
    assert tracker._next == PERIOD + 60 + 60 / LARGEST_SHARE


def test_a_failure_is_said_once_and_fails_nothing(stored: tuple[optuna.Study, StudySpec], runs: Path) -> None:
    study, spec = stored
    optuna.delete_study(study_name="toy", storage=study._storage)
    now, said = [0.0], list[str]()
    tracker = DashboardTracker(study, spec, runs / "toy", said.append, clock=lambda: now[0])
    for _ in range(3):
        now[0] += PERIOD
        finish(tracker, runs)
        tracker.close()
    assert len(said) == 1
    assert said[0].startswith("what optuna-dashboard shows could not be brought up to date: ")


def test_a_run_leaves_figures_and_the_diagnosis_of_the_best(make_spec: Callable[..., StudySpec], runs: Path) -> None:
    run(make_spec(engine={"name": "inline"}), runs)
    _, stored = load_study(runs, "toy")
    assert shown(stored)["hpo-heatmap-1"]["layout"]["title"]["text"] == "all trials: final score, mean and n"
    assert SCORE.name in json.dumps(shown(stored))
    best = runs / "toy" / "trials" / str(stored.best_trial.number)
    assert json.loads((best / "diagnosis.json").read_text())["kind"] == "diagnosis"
    assert (best / "diagnosis.md").read_text().startswith("# ")
