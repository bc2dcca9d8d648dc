"""What a study keeps for optuna-dashboard, in real storages."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import SYSTEM_ATTR_PLOT_DATA, get_plotly_graph_objects
from reading import SCORE, study, trial, with_distributions
from waiting import PATIENCE, leftover, wait_until

from hpo.analysis.records import StudyRecord, records_of
from hpo.reports import dashboard_tracker
from hpo.reports.dashboard import IMPORTANCE, dashboard_figures, save_figures
from hpo.reports.dashboard_process import changes_of
from hpo.reports.dashboard_tracker import LARGEST_SHARE, PERIOD, DashboardTracker
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


def test_importance_comes_with_fifty_trials() -> None:
    assert IMPORTANCE not in dashboard_figures(searched(49))
    figure = dashboard_figures(searched(50))[IMPORTANCE]
    assert json.loads(figure.to_json())["layout"]["title"]["text"] == "Importance for score: PED-ANOVA, n = 50"


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
        title = dashboard_figures(searched(50))[IMPORTANCE].layout.title.text
    assert "PED-ANOVA" in title


# --- during a run


@dataclass(frozen=True)
class Stored:
    """A study that has run, without what the end of its run left for optuna-dashboard, as its driver has it open."""

    study: optuna.Study
    directory: Path
    url: str

    def tracker(self, say: Callable[[str], None], clock: Callable[[], float]) -> DashboardTracker:
        return DashboardTracker(self.study, self.directory, self.url, say, clock)

    def finish(self, tracker: DashboardTracker) -> None:
        """A trial ends, and what that starts runs to its end."""
        job = Job(0, {}, 1, ObjectiveRef("toys:smooth"), {}, self.directory, ("score",))
        tracker.trial_finished(job, Outcome(0, "COMPLETE", {"score": 0.5}), PROGRESS)
        if tracker._thread is not None:
            tracker._thread.join()


PROGRESS = Progress(4, 4, 0, 0, 0, 0, 0.5, 1)


@pytest.fixture(params=["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def stored(request: pytest.FixtureRequest, make_spec: Callable[..., StudySpec], runs: Path) -> Iterator[Stored]:
    sqlite = request.param == "sqlite"
    spec = make_spec(engine={"name": "inline"}, **({"storage": f"sqlite:///{runs / 'toy.db'}"} if sqlite else {}))
    runs.mkdir(exist_ok=True)
    run(spec, runs)
    finished = load_study(runs, "toy")[1].trials
    url = f"sqlite:///{runs / 'copy.db'}" if sqlite else f"journal:{runs / 'copy.log'}"
    storage = open_storage(url, pytest.fail)
    study = optuna.create_study(study_name="toy", storage=storage, direction="maximize")
    study.add_trials(finished)
    yield Stored(study, runs / "toy", url)
    close_storage(storage)


@pytest.mark.slow
def test_it_is_brought_up_to_date_seldom(stored: Stored) -> None:
    now, said = [50.0], list[str]()
    tracker = stored.tracker(said.append, lambda: now[0])
    stored.finish(tracker)
    assert get_note(stored.study) == ""
    now[0] += PERIOD
    stored.finish(tracker)
    assert get_note(stored.study).startswith("4 complete, 0 pruned and 0 failed.")
    assert set(shown(stored.study)) == {"hpo-heatmap-1"}

    # What somebody writes meanwhile is kept, and what says nothing new is not written.
    save_note(stored.study, get_note(stored.study) + "mine")
    before = stored.study._storage.get_study_system_attrs(stored.study._study_id)
    now[0] += PERIOD
    stored.finish(tracker)
    assert stored.study._storage.get_study_system_attrs(stored.study._study_id) == before

    optuna.delete_study(study_name="toy", storage=stored.study._storage)
    now[0] += PERIOD - 1
    stored.finish(tracker)  # not yet: it would fail
    tracker.close()
    assert said == []


def test_a_note_that_is_edited_while_it_is_drawn_is_left_to_the_next_update(stored: Stored) -> None:
    record = records_of(stored.study, load_study(stored.directory.parent, "toy")[0], stored.directory)
    changes = changes_of(stored.study, record)
    save_note(stored.study, "mine")
    tracker = stored.tracker(pytest.fail, time.monotonic)
    tracker._write(changes)
    assert (get_note(stored.study), shown(stored.study)) == ("mine", {})
    tracker._write(changes_of(stored.study, record))
    assert get_note(stored.study).endswith("mine")
    assert set(shown(stored.study)) == {"hpo-heatmap-1"}


@pytest.mark.slow
def test_what_takes_long_is_done_more_seldom(stored: Stored) -> None:
    seconds = iter([0.0, PERIOD, PERIOD, PERIOD + 60])  # the update takes a minute
    tracker = stored.tracker(pytest.fail, lambda: next(seconds))
    stored.finish(tracker)
    assert tracker._next == PERIOD + 60 + 60 / LARGEST_SHARE


def test_a_failure_is_said_once_and_fails_nothing(stored: Stored) -> None:
    optuna.delete_study(study_name="toy", storage=stored.study._storage)
    now, said = [0.0], list[str]()
    tracker = stored.tracker(said.append, lambda: now[0])
    for _ in range(2):
        now[0] += PERIOD
        stored.finish(tracker)
    tracker.close()
    assert len(said) == 1
    assert said[0].startswith("what optuna-dashboard shows could not be brought up to date: ")
    assert "but is not in its storage" in said[0]


def drawing(parent: int) -> list[psutil.Process]:
    """The processes that draw, of a driver."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(parent).children()
        return [one for one in children if "hpo.reports.dashboard_process" in one.cmdline()]
    return []


def test_what_hangs_is_ended_with_the_run_or_after_its_time(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [0.0], list[str]()
    tracker = stored.tracker(said.append, lambda: now[0])
    for longest in (PATIENCE, 1.0):
        monkeypatch.setattr(dashboard_tracker, "LONGEST", longest)
        now[0] = tracker._next
        job = Job(0, {}, 1, ObjectiveRef("toys:smooth"), {}, stored.directory, ("score",))
        tracker.trial_finished(job, Outcome(0, "COMPLETE", {"score": 0.5}), PROGRESS)  # does not wait
        wait_until(lambda: drawing(os.getpid()))
        (process,) = drawing(os.getpid())
        process.suspend()
        if longest == PATIENCE:
            tracker.close()
            tracker._closed = False
        assert tracker._thread is not None
        tracker._thread.join()
        assert not process.is_running()
        assert get_note(stored.study) == ""
    tracker.close()
    assert said == [
        "what optuna-dashboard shows could not be brought up to date: what draws it took more than 1 s; trials go on"
    ]


DRIVER = """
import json, sys, threading
from pathlib import Path
from hpo.reports import dashboard_tracker
from hpo.runner import run
from hpo.trackers.base import Tracker

dashboard_tracker.PERIOD = float(sys.argv[3])

class Watch(Tracker):
    def trial_finished(self, job, outcome, progress):
        for thread in threading.enumerate():
            if thread.name == "hpo-dashboard":
                thread.join()
        if progress.finished == 4:
            status = Path("/proc/self/status").read_text()
            memory = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            heavy = [name for name in ("plotly", "sklearn", "optuna_dashboard", "pandas") if name in sys.modules]
            print(json.dumps([int(memory.split()[1]) / 1024, heavy]), flush=True)

run(sys.argv[1], sys.argv[2], [Watch()])
"""


@pytest.mark.slow
def test_figures_cost_the_driver_no_memory(study_yaml: Callable[..., Path], runs: Path) -> None:
    """In its own process they cost 170 MB."""
    found = []
    for period, name in ((1e9, "without"), (0.0, "with")):
        spec = study_yaml(name=name)
        command = [sys.executable, "-c", DRIVER, str(spec), str(runs), str(period)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found.append(json.loads(said.splitlines()[0]))
    (without, none), (drawn, heavy) = found
    assert none == heavy == []
    assert drawn - without < 20, found


@pytest.mark.slow
def test_what_draws_ends_with_a_killed_driver(study_yaml: Callable[..., Path], runs: Path) -> None:
    spec = study_yaml("slow", budget={"trials": 200})
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(spec), str(runs), "0"], stdout=subprocess.DEVNULL)
    wait_until(lambda: drawing(driver.pid))
    left = drawing(driver.pid)
    driver.kill()
    driver.wait()
    assert leftover(left) == []


def test_a_run_leaves_figures_and_the_diagnosis_of_the_best(make_spec: Callable[..., StudySpec], runs: Path) -> None:
    run(make_spec(engine={"name": "inline"}), runs)
    _, stored = load_study(runs, "toy")
    assert shown(stored)["hpo-heatmap-1"]["layout"]["title"]["text"] == "all trials: final score, mean and n"
    assert SCORE.name in json.dumps(shown(stored))
    best = runs / "toy" / "trials" / str(stored.best_trial.number)
    assert json.loads((best / "diagnosis.json").read_text())["kind"] == "diagnosis"
    assert (best / "diagnosis.md").read_text().startswith("# ")
