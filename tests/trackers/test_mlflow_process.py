"""`hpo run` with MLflow on: the writing process, and stores that are away, die or hang."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from mlflow_reading import check_all_is_there, children_of, in_file, over_http, parent_of
from waiting import leftover

from hpo.control import client as steer
from hpo.storage.load_study import load_study

SLOW = {"engine": {"workers": 2}, "budget": {"trials": 6}}


def output_of(driver, code=0):
    said = driver.communicate(timeout=300)[0]
    assert driver.returncode == code, said
    return said


def writers(runs):
    """The processes that write MLflow for a study in `runs`: their log is open there."""
    found = []
    for process in psutil.process_iter():
        try:
            if "hpo.trackers.mlflow.process" in process.cmdline() and any(
                file.path.startswith(str(runs)) for file in process.open_files()
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def sync(runs, code=0):
    command = [sys.executable, "-m", "hpo", "mlflow", "toy", "--sync", "--runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_is_in_the_default_store_when_it_ends_and_a_longer_one_adds_to_it(study_yaml, runs, default_store, drive):
    path = study_yaml("slow", mlflow=True, **SLOW)
    said = output_of(drive(path))
    assert f"mlflow     hpo mlflow toy --runs {runs}\n" in said
    assert f"mlflow ui --backend-store-uri sqlite:///{default_store}\n" in said
    first = check_all_is_there(runs, "toy", in_file(default_store))
    assert all(run.tags["hpo.python"] for run in first.values())
    parent = parent_of(in_file(default_store))
    assert parent.status == "FINISHED"
    assert parent.start <= min(run.start for run in first.values())
    folder = runs / "mlartifacts" / "toy"
    assert (folder / parent.id / "artifacts" / "report.html").stat().st_size > 1000
    assert (folder / first[0].id / "artifacts" / "history.jsonl").read_text().count("\n") >= 1
    assert writers(runs) == []

    path = study_yaml("slow", mlflow=True, **SLOW | {"budget": {"trials": 8}})
    output_of(drive(path))
    found = in_file(default_store)
    assert check_all_is_there(runs, "toy", found).items() >= first.items()
    assert parent_of(found).id == parent.id
    assert "8 of 8 trials" in parent_of(found).tags["mlflow.note.content"]


@pytest.mark.slow
def test_a_server_that_is_away_at_first_misses_nothing(study_yaml, runs, own_server, drive, tmp_path):
    path = study_yaml("waits", mlflow=own_server.url, constants={"until": str(tmp_path / "go")}, **SLOW)
    driver = drive(path)
    log = runs / "toy" / "mlflow.log"
    while not (log.exists() and "Connection refused" in log.read_text()):
        time.sleep(0.1)
    own_server.start()
    own_server.wait()
    (tmp_path / "go").touch()
    said = output_of(driver)
    away = f"MLflow at {own_server.url} cannot be written: connection refused; trials go on, and it is tried again"
    assert said.count(away) == said.count("cannot be written") == 1
    assert said.count(f"MLflow at {own_server.url} can be written again; what was missing is being written") == 1
    check_all_is_there(runs, "toy", over_http(own_server.url, "toy"))


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_costs_no_trial_and_is_made_up_for(study_yaml, runs, own_server, drive):
    own_server.start()
    own_server.wait()
    path = study_yaml("slow", mlflow=own_server.url, constants={"seconds": 0.2}, **SLOW | {"budget": {"trials": 12}})
    driver = drive(path)
    while not any(run.tags["hpo.kind"] == "trial" for run in in_file(own_server.file)):
        assert driver.poll() is None
        time.sleep(0.05)
    own_server.kill()
    said = output_of(driver)
    assert "12 of 12 trials finished" in said
    command = f"`hpo mlflow toy --sync --runs {runs}` writes them"
    assert f"MLflow at {own_server.url} lacks runs of this study (connection refused); {command}" in said
    assert said.count("cannot be written") <= 1
    assert "cannot be written: connection refused" in sync(runs, code=1)
    own_server.start()
    own_server.wait()
    assert sync(runs).endswith(f"MLflow at {own_server.url} now equals study 'toy'\n")
    found = over_http(own_server.url, "toy")
    check_all_is_there(runs, "toy", found)
    assert parent_of(found).status == "FINISHED"
    assert sync(runs) == f"MLflow at {own_server.url} equals study 'toy'\n"
    assert over_http(own_server.url, "toy") == found


@pytest.fixture
def hanging():
    """A server that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def take():
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


@pytest.mark.slow
def test_a_server_that_never_answers_slows_no_trial(study_yaml, runs, hanging, drive):
    path = study_yaml("slow", mlflow=hanging, **SLOW)
    driver = drive(path, MLFLOW_HTTP_REQUEST_TIMEOUT="1")
    said = output_of(driver)
    assert f"MLflow at {hanging} lacks runs of this study (no answer)" in said
    spans = [trial.user_attrs["hpo:outcome"]["finished"] for trial in load_study(runs, "toy")[1].trials]
    begun = [trial.user_attrs["hpo:job"]["started"] for trial in load_study(runs, "toy")[1].trials]
    assert max(spans) - min(begun) < 60  # six trials of a tenth of a second
    assert writers(runs) == []


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_a_server(study_yaml, runs, hanging, drive):
    path = study_yaml("slow", mlflow=hanging, **SLOW)
    driver = drive(path)
    heard = ""
    while "writing the last runs to MLflow" not in heard:
        heard += driver.stdout.readline()
    began = time.monotonic()
    driver.send_signal(signal.SIGINT)
    said = output_of(driver)
    assert time.monotonic() - began < 60
    assert f"MLflow was not waited for; `hpo mlflow toy --sync --runs {runs}` writes what it lacks" in said
    assert "6 of 6 trials finished" in said
    assert writers(runs) == []


@pytest.mark.slow
def test_a_writer_that_is_killed_is_said_and_made_up_for(study_yaml, runs, default_store, drive):
    path = study_yaml("slow", mlflow=True, constants={"seconds": 0.1}, **SLOW)
    driver = drive(path)
    while not writers(runs):
        time.sleep(0.05)
    (writer,) = writers(runs)
    writer.kill()
    said = output_of(driver)
    assert said.count("what writes to MLflow has ended") == 1
    assert "6 of 6 trials finished" in said
    output_of(drive(path))
    check_all_is_there(runs, "toy", in_file(default_store))


@pytest.mark.slow
def test_a_driver_that_is_killed_takes_its_writer_along_and_its_runs_are_closed_by_the_next(
    study_yaml, runs, default_store, drive, tmp_path
):
    path = study_yaml("waits", mlflow=True, constants={"until": str(tmp_path / "go")}, **SLOW)
    driver = drive(path)
    while not any(run.metrics and run.status == "RUNNING" for run in in_file(default_store)):
        assert driver.poll() is None
        time.sleep(0.05)
    (writer,) = writers(runs)
    # Beyond the reach of Ctrl-C; in the driver's session, where its low priority counts against the trials'.
    assert os.getpgid(writer.pid) != os.getpgid(driver.pid)
    assert (os.getsid(writer.pid), writer.nice()) == (os.getsid(driver.pid), 19)
    driver.kill()
    driver.communicate()
    assert not leftover(writers(runs))
    left = in_file(default_store)
    assert parent_of(left).status == "RUNNING"
    assert {run.status for run in children_of(left).values()} == {"RUNNING"}
    (tmp_path / "go").touch()
    output_of(drive(path))
    found = in_file(default_store)
    children = check_all_is_there(runs, "toy", found)
    lost = [run for run in children.values() if "hpo.requeued" in run.tags]
    assert [run.status for run in lost] == ["KILLED", "KILLED"]
    assert parent_of(found).id == parent_of(left).id
    assert parent_of(found).status == "FINISHED"


@pytest.mark.slow
def test_an_interrupted_study_is_killed_in_mlflow_until_it_goes_on(study_yaml, runs, default_store, drive):
    path = study_yaml("slow", mlflow=True, constants={"seconds": 0.2}, **SLOW)
    driver = drive(path)
    while not (runs / "toy" / "trials" / "0" / "history.jsonl").exists():
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    output_of(driver, code=130)
    assert parent_of(in_file(default_store)).status == "KILLED"
    output_of(drive(path))
    found = in_file(default_store)
    assert parent_of(found).status == "FINISHED"
    check_all_is_there(runs, "toy", found)


@pytest.mark.slow
def test_an_extension_while_it_runs_is_known_in_mlflow(study_yaml, runs, default_store, drive):
    driver = drive(study_yaml("slow", mlflow=True, constants={"seconds": 0.2}, **SLOW | {"budget": {"trials": 4}}))
    # It waits until its writer has read the budget that it began with.
    while not (runs / "toy" / "requests").is_dir():
        time.sleep(0.1)
    assert steer.pause(runs / "toy")[1]
    while not (default_store.exists() and children_of(in_file(default_store))):
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.1)
    assert steer.extend(runs / "toy", {"trials": "+1"})[1]
    assert steer.resume(runs / "toy")[1]
    assert "[5/5]" in output_of(driver)
    found = in_file(default_store)
    check_all_is_there(runs, "toy", found)
    assert parent_of(found).status == "FINISHED"
    assert "5 of 5 trials" in parent_of(found).tags["mlflow.note.content"]


@pytest.mark.slow
def test_the_driver_imports_no_mlflow(study_yaml, runs, default_store):
    code = (
        "import sys; from pathlib import Path; from hpo import runner; from hpo.spec.load import load_spec; "
        "runner.run(load_spec(sys.argv[1]), Path(sys.argv[2])); "
        "print([name for name in sys.modules if name.partition('.')[0] == 'mlflow'])"
    )
    path = study_yaml(mlflow=True, budget={"trials": 1})
    command = [sys.executable, "-c", code, str(path), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env={**os.environ})
    assert done.stdout == "[]\n"
    assert sorted(children_of(in_file(default_store))) == [0]
