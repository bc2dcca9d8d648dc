"""What the doctor fixes of files and processes, and what it says of the machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from hpo import layout
from hpo.doctor.examine import examine
from hpo.machine import start
from hpo.machine.checkpoint import write_checkpoint
from hpo.runner import run
from hpo.storage import history
from hpo.storage.driver_lock import driver_lock


def test_a_folder_of_a_trial_that_optuna_does_not_know_is_set_aside(planted):
    for number in (4, 17):
        shutil.copytree(planted.folder(0), planted.folder(number))
    planted.fix("trial-unknown", "trial-unknown")
    kept = planted.directory / layout.LOST_AND_FOUND / "trials"
    assert (kept / "17" / layout.HISTORY).read_bytes() == planted.history(0).read_bytes()
    shutil.copytree(planted.folder(0), planted.folder(17))
    planted.fix("trial-unknown")
    assert sorted(path.name for path in kept.iterdir()) == ["17", "17.2", "4"]
    planted.finish(6)


def test_half_written_files_go(planted):
    dead = subprocess.Popen(["true"])
    dead.wait()
    own = [
        planted.folder(1) / "checkpoint.partial",
        planted.folder(2) / "weights.pt.partial",
        planted.directory / "mlflow.json.partial",
        planted.directory / f"steering.json.0badcafe.{dead.pid}.partial",
        planted.directory / f"study.yaml.0badcafe.{dead.pid}.partial",
        planted.directory / f"report.html.{dead.pid}.partial",
    ]
    foreign = planted.folder(3) / "model.partial"
    for path in (*own, foreign):
        path.write_text("half")
    written = planted.directory / f"report.md.{os.getpid()}.partial"
    written.write_text("another command writes it just now")
    found = planted.fix(*["half-written"] * 7)
    assert sorted(one.sure for one in found) == ["certain"] * 6 + ["likely"]
    assert not any(path.exists() for path in (*own, foreign))
    assert (planted.directory / "lost+found/trials/3/model.partial").read_text() == "half"
    assert written.exists()


def a_checkpoint_with_a_flipped_bit():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pkl")
        write_checkpoint(path, 2, "a:1")
        content = path.read_bytes()
    return content.replace(b"K\x02", b"K\x03")


@pytest.mark.parametrize("content", [b"", b"\x80\x05\x95\x10\x00", a_checkpoint_with_a_flipped_bit()])
def test_a_broken_checkpoint_of_a_trial_to_be_tried_again_is_set_aside(planted, content):
    number = planted.left_by_a_dead_driver(save=True)
    checkpoint = planted.folder(number) / layout.CHECKPOINT
    checkpoint.write_bytes(content)
    fixed = examine(planted.runs, (), fix=True)
    assert [(one.finding.check, one.result) for one in fixed] == [
        ("left-running", "fixed"),
        ("checkpoint-broken", "fixed"),
    ]
    assert planted.look() == []
    assert not checkpoint.exists()
    assert checkpoint.with_name("checkpoint.pkl.damaged").read_bytes() == content
    planted.finish(5)
    retried = (planted.folder(number + 1) / "trained.txt").read_text().split("\n")
    assert retried[0] == "2 0"  # the second attempt, from its first step on


def test_a_whole_checkpoint_is_gone_on_from(planted):
    number = planted.left_by_a_dead_driver(save=True)
    planted.fix("left-running")
    planted.finish(5)
    assert (planted.folder(number + 1) / "trained.txt").read_text().startswith("2 3\n")


def test_weights_that_torch_cannot_open_are_set_aside(ran):
    planted = ran(checkpoints={"keep_best": 4})
    torch = pytest.importorskip("torch")
    whole, broken, own = (planted.folder(number) / layout.WEIGHTS for number in (0, 1, 2))
    torch.save({"model": torch.zeros(1000)}, whole)
    assert zipfile.is_zipfile(whole)
    broken.write_bytes(whole.read_bytes()[:-500])
    own.write_text("an objective's own format")
    (found,) = planted.fix("weights-broken")
    assert found.trial == 1
    assert whole.exists()
    assert own.exists()
    assert broken.with_name("weights.pt.damaged").exists()


def test_surplus_checkpoints_are_removed_and_no_others(ran, runs):
    planted = ran("keeps", checkpoints={"keep_best": 2})
    kept = sorted(runs.glob("toy/trials/*/weights.pt"))
    assert len(kept) == 2
    extra = next(folder for folder in sorted(runs.glob("toy/trials/*")) if not (folder / layout.WEIGHTS).exists())
    (extra / layout.WEIGHTS).write_text("0.5")
    (extra / layout.CHECKPOINT).write_bytes(b"x")
    (found,) = planted.fix("checkpoints-surplus")
    assert "2 files" in found.said
    assert sorted(runs.glob("toy/trials/*/weights.pt")) == kept


def test_requests_that_nobody_answered_are_removed(planted):
    requests = planted.directory / layout.REQUESTS
    requests.mkdir(exist_ok=True)
    (requests / "old.json").write_text("{}")
    os.utime(requests / "old.json", (time.time() - 100, time.time() - 100))
    (requests / "new.json").write_text("{}")
    planted.fix("requests-left")
    assert [path.name for path in requests.iterdir()] == ["new.json"]


def test_the_name_of_a_dead_driver_is_cleared(planted):
    lock = planted.directory / layout.LOCK
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": 4711, "started": 1.0}))
    (found,) = planted.fix("driver-died")
    assert "process 4711" in found.said
    assert lock.read_text() == ""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_lock_that_is_no_file_is_a_finding(planted, make):
    lock = planted.directory / layout.LOCK
    lock.unlink()
    make(lock)
    for fix in (False, True):
        (one,) = examine(planted.runs, (), fix=fix)
        assert (one.finding.check, one.result) == ("lock-odd", "left")
        assert f"{lock} cannot be read: it is a " in one.finding.said


def test_the_name_of_a_driver_that_is_no_text_is_cleared(planted):
    lock = planted.directory / layout.LOCK
    for content in (b"\xff\xfe\x00", b"[" * 60_000, b'{"pid": [], "host": 7, "started": 1e400}', b"9" * 5000):
        lock.write_bytes(content)
        (found,) = planted.fix("driver-died")
        assert found.said.startswith("a driver drove the study and died")
        assert lock.read_bytes() == b""


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"\xff", b"[" * 60_000, b'{"paused": {"since": 1e300, "by": "a"}, "budget": {}, "answered": {}}'],
)
def test_a_damaged_steering_file_is_moved_away(planted, content):
    path = planted.directory / layout.STEERING
    path.write_bytes(content)
    (found,) = planted.fix("steering-damaged")
    assert str(path) in found.said
    assert not path.exists()
    assert (planted.directory / layout.LOST_AND_FOUND / layout.STEERING).read_bytes() == content


def test_a_pipe_in_the_place_of_the_steering_file_is_moved_away(planted):
    os.mkfifo(planted.directory / layout.STEERING)
    planted.fix("steering-damaged")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_of_a_history_is_moved_away_and_the_steps_come_back(planted, make):
    path = planted.history(2)
    path.unlink()
    make(path)
    (found,) = planted.fix("history-missing")
    assert f"{path}" in found.said
    assert path.is_file()


def test_rows_that_a_segment_has_lost_are_told_and_the_steps_come_back(planted):
    """Of trials whose histories are in a file with others; the row of one is garbled, the other's are whole."""
    segment = layout.segments_directory(planted.directory) / "0.jsonl"
    segment.parent.mkdir()
    segment.write_bytes(planted.history(1).read_bytes() + planted.history(2).read_bytes())
    for number in (1, 2):
        planted.history(number).unlink()
    assert planted.look() == []
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:2], lines[2].replace(b"score", b"scora"), *lines[3:]]))
    planted.fix("history-garbled", "history-missing")
    assert segment.read_bytes() == b"".join([*lines[:2], *lines[3:]])
    assert len(history.read(planted.history(1))) == 10
    assert not planted.history(2).exists()
    planted.finish(6)


def test_trials_on_a_disk_that_is_not_there_are_one_finding(planted, tmp_path):
    trials = layout.trials_directory(planted.directory)
    trials.rename(tmp_path / "unmounted")
    trials.symlink_to(tmp_path / "shared")
    (one,) = examine(planted.runs, (), fix=True)
    assert (one.finding.check, one.result) == ("trials-away", "left")
    (tmp_path / "unmounted").rename(tmp_path / "shared")
    assert planted.look() == []


def test_without_mlflow_a_damaged_study_yaml_is_said_and_left(planted):
    (planted.directory / layout.SPEC).write_text("name: toy\nobjective: [")
    (one,) = examine(planted.runs, (), fix=True)
    assert (one.finding.check, one.result) == ("spec-unreadable", "left")
    assert "study.yaml:3" in one.finding.said
    run(planted.spec, planted.runs)  # what it says to do
    assert planted.look() == []


# --- processes


@pytest.fixture
def hanging(planted):
    """A worker of a driver that died, stopped, so that it does not notice."""
    theirs, ours = socket.socketpair()
    with (planted.folder(1) / layout.OUTPUT).open("ab") as output:
        process = subprocess.Popen(
            start.command("hpo.worker.main", theirs.fileno(), theirs.fileno()),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    os.kill(process.pid, signal.SIGSTOP)
    yield process
    process.kill()
    process.wait()
    ours.close()
    theirs.close()


@pytest.mark.slow
def test_a_worker_without_a_driver_is_ended(planted, hanging):
    (found,) = planted.look()
    assert (found.finding.check, found.finding.sure) == ("process-left", "certain")
    assert f"process {hanging.pid} on this host, a worker" in found.finding.said
    (one,) = examine(planted.runs, (), fix=True)
    assert one.result == "fixed"
    assert hanging.wait(60) == -signal.SIGKILL
    assert planted.look() == []


def test_a_worker_whose_driver_lives_is_left(planted, hanging):
    with driver_lock(planted.directory):
        assert examine(planted.runs, (), fix=True) == []
    assert hanging.poll() is None


def test_what_a_trial_left_behind_is_ended_alone(planted):
    with (planted.folder(0) / layout.OUTPUT).open("ab") as output:
        left = subprocess.Popen(["sleep", "600"], stderr=output)
    reader = subprocess.Popen(["tail", "-f", planted.folder(0) / layout.OUTPUT], stdout=subprocess.DEVNULL)
    try:
        (one,) = examine(planted.runs, (), fix=True)
        assert (one.finding.check, one.finding.sure, one.result) == ("process-left", "likely", "fixed")
        assert left.wait(60) == -signal.SIGKILL
        assert reader.poll() is None
    finally:
        for process in (left, reader):
            process.kill()
            process.wait()


# --- times and the machine


def test_odd_times_are_said(planted):
    number = planted.left_by_a_dead_driver()
    trial = planted.study.trials[number]
    note = planted.study.trials[0].user_attrs["hpo:outcome"]
    study = planted.study
    study._storage.set_trial_user_attr(trial._trial_id, "hpo:outcome", note | {"finished": time.time() + 100})
    study.tell(number, 0.5)
    (one,) = [one for one in planted.look() if one.finding.check == "odd-times"]
    assert (one.finding.trial, one.finding.sure) == (number, "likely")
    assert "100 s in the future" in one.finding.said or "99 s in the future" in one.finding.said


def test_a_full_disk_is_said_with_what_takes_most(planted, monkeypatch):
    total = 100 * 2**30
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(total, total - 2**29, 2**29))
    (one,) = examine(planted.runs, (), fix=False)
    assert (one.finding.check, one.finding.sure) == ("disk-full", "certain")
    assert "0.537 GB of 107 GB left" in one.finding.said
    assert "toy " in one.finding.said
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(total, total - 2**32, 2**32))
    assert examine(planted.runs, (), fix=False) == []


@pytest.mark.parametrize(("by", "how"), [(10.0, "behind"), (-10.0, "ahead of")])
def test_a_clock_that_is_apart_from_the_file_servers_is_said(planted, monkeypatch, by, how):
    here = time.time
    monkeypatch.setattr(time, "time", lambda: here() + by)
    found = [one.finding for one in examine(planted.runs, (), fix=True) if one.finding.check == "clocks-apart"]
    assert len(found) == 1
    assert f"is 10 s {how} that of this host" in found[0].said


def test_the_clock_of_a_driver_elsewhere_is_compared_with_its_files(planted):
    number = planted.left_by_a_dead_driver()
    path = planted.history(number)
    with driver_lock(planted.directory):
        assert examine(planted.runs, (), fix=True) == []
        history.write(path, [replace(row, time=row.time + 60) for row in history.rows(path)])
        (one,) = examine(planted.runs, (), fix=True)
    assert (one.finding.check, one.finding.sure, one.result) == ("clocks-apart", "likely", "left")
    assert "ahead of that of the file server" in one.finding.said
