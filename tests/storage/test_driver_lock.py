"""Who drives a study: one at a time, also where machines cannot see each other's locks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from waiting import wait_until

from hpo import layout
from hpo.errors import StudyLocked
from hpo.storage import driver_lock as module
from hpo.storage.driver_lock import driver_lock, driver_of


def elsewhere(study: Path, age: float) -> None:
    """The lock file of a driver on another machine, whose kernel lock is not seen here, `age` seconds after its last
    sign of life."""
    study.mkdir(exist_ok=True)
    path = study / layout.LOCK
    path.write_text(json.dumps({"host": "node7", "pid": 4711, "started": time.time() - 100, "job": "SLURM job 17"}))
    os.utime(path, (time.time() - age, time.time() - age))


def test_the_drivers_name_is_there_while_it_drives(tmp_path: Path) -> None:
    assert driver_of(tmp_path) is None
    before = time.time()
    with driver_lock(tmp_path):
        now = driver_of(tmp_path)
        assert now is not None
        assert now["pid"] == os.getpid()
        assert before <= now["started"] <= time.time()
        assert "job" not in now
    assert driver_of(tmp_path) is None


def test_a_driver_in_a_queue_says_which_job_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_JOBID", "42.server")
    with driver_lock(tmp_path):
        assert (driver_of(tmp_path) or {})["job"] == "PBS job 42.server"


def test_a_driver_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    with driver_lock(tmp_path):
        os.utime(tmp_path / layout.LOCK, (1, 1))
        wait_until(lambda: time.time() - (tmp_path / layout.LOCK).stat().st_mtime < 5)


def test_a_driver_elsewhere_with_signs_of_life_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 4000.0)
    elsewhere(tmp_path, age=1000)
    assert (driver_of(tmp_path) or {})["host"] == "node7"
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        os.utime(tmp_path / layout.LOCK)  # while it waits, there is a sign of life

    driver_says = r"process 4711 on host node7, SLURM job 17, since"
    with pytest.raises(StudyLocked, match=driver_says) as caught, driver_lock(tmp_path, say):
        pytest.fail("two drivers")
    assert "`hpo stop" in str(caught.value)
    (one,) = said
    words = re.fullmatch(r"the driver on host node7 ended without a word: waiting (\d+) s to be sure", one)
    assert words is not None
    assert 2700 < int(words[1]) <= 3000


def test_a_driver_elsewhere_that_is_silent_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 2.0)
    elsewhere(tmp_path, age=1)
    last = (tmp_path / layout.LOCK).stat().st_mtime
    with driver_lock(tmp_path):
        assert time.time() - last >= 2.0
        assert (driver_of(tmp_path) or {})["pid"] == os.getpid()
    elsewhere(tmp_path, age=60)
    assert driver_of(tmp_path) is None
    with driver_lock(tmp_path, pytest.fail):  # it does not wait
        pass


def test_a_driver_of_this_machine_that_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from hpo.storage.driver_lock import driver_lock\n"
    code += "with driver_lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / layout.LOCK).read_text()
    assert driver_of(tmp_path) is None
    with driver_lock(tmp_path, pytest.fail):  # it does not wait
        pass


def test_who_looks_does_not_keep_a_driver_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 60.0)  # two that look all the time, on a busy machine
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            driver_of(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(50):
            with driver_lock(tmp_path):
                pass
    finally:
        done.set()
        for looker in lookers:
            looker.join()
