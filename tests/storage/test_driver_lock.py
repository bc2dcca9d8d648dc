"""The driver's lock: one driver at a time, also where machines cannot see each other's locks."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hpo import layout
from hpo.errors import StudyLocked
from hpo.storage import driver_lock as module
from hpo.storage.driver_lock import driver_lock, driver_of

# Seconds that a busy machine may take for anything.
PATIENCE = 60.0


def elsewhere(study: Path, age: float) -> None:
    """Write the lock file of a driver on another machine, whose kernel lock is not seen here.

    age: seconds since its last heartbeat.
    """
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


def test_a_driver_sends_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    with driver_lock(tmp_path):
        os.utime(tmp_path / layout.LOCK, (1, 1))
        until = time.monotonic() + PATIENCE
        while (tmp_path / layout.LOCK).stat().st_mtime == 1:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert time.time() - (tmp_path / layout.LOCK).stat().st_mtime < PATIENCE


def test_a_driver_elsewhere_that_sends_heartbeats_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", PATIENCE)
    elsewhere(tmp_path, age=1)
    assert (driver_of(tmp_path) or {})["host"] == "node7"
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        os.utime(tmp_path / layout.LOCK)  # while it waits, there is a sign of life

    driver_says = r"process 4711 on host node7, SLURM job 17, since"
    with pytest.raises(StudyLocked, match=driver_says) as caught, driver_lock(tmp_path, say):
        pytest.fail("two drivers")
    assert "`hpo stop" in str(caught.value)
    (sentence,) = said
    left = re.fullmatch(r"the driver on node7 did not shut down cleanly; waiting (\d+) s before taking over", sentence)
    assert left is not None
    assert 1 <= int(left[1]) <= PATIENCE - 1


def test_a_driver_elsewhere_without_heartbeats_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 4.0)
    said: list[str] = []
    elsewhere(tmp_path, age=1)
    heartbeat = (tmp_path / layout.LOCK).stat().st_mtime
    with driver_lock(tmp_path, said.append):
        assert time.time() - heartbeat > 3.9
        assert (driver_of(tmp_path) or {})["pid"] == os.getpid()
    elsewhere(tmp_path, age=6000)
    said.clear()
    assert driver_of(tmp_path) is None
    with driver_lock(tmp_path, said.append):
        assert said == []


def test_a_driver_elsewhere_is_known_by_new_heartbeats_where_clocks_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", PATIENCE)
    elsewhere(tmp_path, age=600)
    path, done = tmp_path / layout.LOCK, threading.Event()

    def beat() -> None:
        while not done.wait(0.05):
            os.utime(path, (time.time() - 600, time.time() - 600))

    heartbeats = threading.Thread(target=beat)
    heartbeats.start()
    try:
        assert (driver_of(tmp_path) or {})["host"] == "node7"
    finally:
        done.set()
        heartbeats.join()
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.1)
    assert driver_of(tmp_path) is None


def test_those_who_look_at_once_see_no_driver(tmp_path: Path) -> None:
    with driver_lock(tmp_path):
        pass
    with (tmp_path / layout.LOCK).open() as other:
        fcntl.flock(other.fileno(), fcntl.LOCK_SH)
        assert driver_of(tmp_path) is None


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Neither the lock's time nor the folder's, also where a driver elsewhere has left a lock."""
    elsewhere(tmp_path, age=6000)
    before = (tmp_path.stat().st_mtime_ns, (tmp_path / layout.LOCK).stat().st_mtime_ns)
    assert driver_of(tmp_path) is None
    assert (tmp_path.stat().st_mtime_ns, (tmp_path / layout.LOCK).stat().st_mtime_ns) == before


def test_a_driver_of_this_machine_that_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from hpo.storage.driver_lock import driver_lock\n"
    code += "with driver_lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / layout.LOCK).read_text()
    assert driver_of(tmp_path) is None
    said: list[str] = []
    with driver_lock(tmp_path, said.append):
        assert said == []


def test_who_looks_does_not_keep_a_driver_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRY_SECONDS", 60.0)  # two that look all the time, on a busy machine
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
