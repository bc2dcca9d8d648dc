"""A run as a function: what it takes, returns and leaves alone."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from hpo.errors import SpecError
from hpo.runner import run
from hpo.trackers.base import Tracker


def test_a_run_takes_the_path_of_a_study_and_the_runs_folder_of_the_environment(
    study_yaml, tmp_path, monkeypatch, capfd
):
    path = study_yaml(engine="inline")
    monkeypatch.setenv("HPO_RUNS", str(tmp_path / "elsewhere"))
    result = run(str(path))
    assert (result.study, result.directory, result.state) == ("toy", tmp_path / "elsewhere" / "toy", "finished")
    assert result.progress.complete == 4
    assert all(report.is_file() for report in result.reports)
    assert capfd.readouterr() == ("", "")


def test_without_a_runs_folder_it_is_the_one_in_the_working_folder(study_yaml, tmp_path, monkeypatch):
    monkeypatch.delenv("HPO_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(study_yaml(engine="inline", budget={"trials": 1})).directory == tmp_path / "runs" / "toy"


def test_a_path_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(SpecError, match="there is no such file"):
        run(tmp_path / "missing.yaml", tmp_path)


def test_the_end_in_one_word(make_spec, runs):
    class Interrupt(Tracker):
        def reported(self, number, step, metrics):
            signal.raise_signal(signal.SIGTERM)

    spec = make_spec(engine="inline")
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run(spec, runs, [Interrupt()]).state == "interrupted"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert run(spec, runs).state == "finished"
    failing = make_spec("not_a_dict", name="failing", engine="inline", budget={"trials": 50, "failures": 2})
    stopped = run(failing, runs)
    assert (stopped.state, stopped.done, stopped.progress.failed) == ("stopped", False, 2)


def test_a_run_in_another_thread_leaves_signals_alone(make_spec, runs: Path):
    spec, found = make_spec(engine="inline", budget={"trials": 1}), []
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: found.append(run(spec, runs)))
    thread.start()
    thread.join()
    (result,) = found
    assert result.state == "finished"
    assert signal.getsignal(signal.SIGINT) is before
