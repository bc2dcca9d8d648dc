"""Two drivers of one study in two runs folders: the storage tells the second one of the first."""

from __future__ import annotations

import os
import signal
import threading
import time

import optuna
import pytest
from books import check_books, processes_of, start
from servers import PostgreSQL
from waiting import leftover, wait_until

from hpo import layout
from hpo.doctor.examine import examine
from hpo.errors import StudyLocked
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage import driver_pulse
from hpo.storage.driver_pulse import driver_elsewhere, driving
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import DRIVER, PULSE


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = PostgreSQL(tmp_path_factory.mktemp("postgresql"))
    yield server
    server.close()


@pytest.fixture(params=["journal", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "postgresql"))])
def shared(request, tmp_path):
    """The URL of a storage outside of the runs folders."""
    if request.param == "postgresql":
        return request.getfixturevalue("server").url("shared")
    return {"journal": f"journal:{tmp_path}/shared.log", "sqlite": f"sqlite:///{tmp_path}/shared.db"}[request.param]


def refused(path, runs):
    with pytest.raises(StudyLocked) as caught:
        run(path, runs)
    return str(caught.value)


def test_a_second_driver_is_refused_and_takes_over_from_one_that_was_killed(study_yaml, tmp_path, shared):
    here, there = tmp_path / "here", tmp_path / "there"
    gates = tmp_path / "gates"
    gates.mkdir()
    path = study_yaml("slow", storage=shared, budget={"trials": 5}, constants={"gates": str(gates)})
    first = start(path, here)
    try:
        wait_until(lambda: (here / "toy/trials/0" / layout.HISTORY).exists())
        said = refused(path, there)
        assert f"is being driven by process {first.pid} on host" in said
        assert f"from another runs folder, {here / 'toy'}," in said
        assert f"`hpo stop toy --runs {here}`" in said
        # The doctor of the other folder lets its trials be.
        (there / "toy").mkdir(exist_ok=True)
        (there / "toy" / layout.SPEC).write_bytes((here / "toy" / layout.SPEC).read_bytes())
        assert all(one.result == "left" for one in examine(there, ("toy",), fix=True))
        assert [t.state.name for t in load_study(here, "toy")[1].trials] == ["RUNNING"]
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
        leftover(processes_of(here))
    for number in range(20):
        (gates / str(number)).touch()
    assert run(path, there).done
    trials, _ = check_books(there, 5)
    assert trials[0].user_attrs["hpo:outcome"]["reason"] == "its driver died"
    assert load_study(there, "toy")[1].user_attrs[DRIVER] is None


@pytest.fixture
def study(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    return optuna.create_study(study_name="toy", storage=storage)


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(driver_pulse, "PULSE_SECONDS", 0.05)
    monkeypatch.setattr(driver_pulse, "TIMEOUT_SECONDS", 3.0)


def elsewhere(study, tmp_path, **keys):
    """Note a driver of another machine."""
    study.set_user_attr(
        DRIVER,
        {"host": "node7", "pid": 4711, "started": 1.0, "folder": "/far/runs/toy", "inode": 1, "token": "a"}
        | {"machine": "node7"}
        | keys,
    )
    study.set_user_attr(PULSE, ["a", 1, time.time()])


def test_a_driver_beats_and_leaves_no_name(study, tmp_path, soon):
    with driving(study, tmp_path, pytest.fail) as own:
        first = study.user_attrs[PULSE]
        wait_until(lambda: study.user_attrs[PULSE][1] > first[1] + 2)
        assert study.user_attrs[DRIVER]["pid"] == os.getpid()
        assert driver_elsewhere(study, tmp_path) is None  # it is this folder's own
        assert driver_elsewhere(study, tmp_path.parent)["pid"] == os.getpid()
    assert own.lost == ""
    assert study.user_attrs[DRIVER] is None


def test_a_driver_of_another_machine_that_beats_is_at_work(study, tmp_path, soon):
    elsewhere(study, tmp_path)
    said = []

    def say(text):
        said.append(text)
        study.set_user_attr(PULSE, ["a", 2, 0.0])

    with pytest.raises(StudyLocked, match="process 4711 on host node7"), driving(study, tmp_path, say):
        pytest.fail("two drivers")
    assert "did not end cleanly; waiting 3 s" in said[0]


def test_a_driver_of_another_machine_without_a_pulse_is_dead(study, tmp_path, soon):
    elsewhere(study, tmp_path)
    assert driver_elsewhere(study, tmp_path)["host"] == "node7"
    study.set_user_attr(PULSE, ["a", 1, time.time() - 3600])
    assert driver_elsewhere(study, tmp_path) is None
    with driving(study, tmp_path, str):
        assert study.user_attrs[DRIVER]["pid"] == os.getpid()


def test_the_same_folder_at_another_path_on_another_machine_is_not_waited_for(study, tmp_path):
    elsewhere(study, tmp_path, inode=tmp_path.stat().st_ino, folder=str(tmp_path))
    with driving(study, tmp_path, pytest.fail):
        pass


def test_a_process_of_the_same_number_is_not_the_driver(study, tmp_path):
    with driving(study, tmp_path, pytest.fail):
        own = study.user_attrs[DRIVER]
    study.set_user_attr(DRIVER, own | {"ticks": "1", "inode": 1})
    with driving(study, tmp_path, pytest.fail):
        pass


@pytest.mark.parametrize(
    "noted",
    [7, "text", [], {"token": "a"}, {"token": "a", "pid": "x", "machine": 3}, {"token": "a", "started": 1e300}],
)
def test_a_damaged_note_ends_in_no_traceback(study, tmp_path, soon, noted):
    study.set_user_attr(DRIVER, noted)
    with driving(study, tmp_path, str):
        pass


def test_a_driver_whose_study_was_taken_over_stops(study_yaml, runs, soon):
    path = study_yaml("slow", engine="inline", budget={"trials": 500})
    spec = load_spec(path)

    def take():
        wait_until(lambda: (runs / "toy/trials/1" / layout.HISTORY).exists())
        elsewhere(load_study(runs, "toy")[1], runs)

    thread = threading.Thread(target=take)
    thread.start()
    with pytest.raises(StudyLocked, match=r"process 4711 on host node7 .* has taken it over"):
        run(spec, runs)
    thread.join()
    assert load_study(runs, "toy")[1].user_attrs[DRIVER]["host"] == "node7"
