"""Folders that a process needs only while it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.machine.temporary import scratch_folder, short_folder


@pytest.fixture
def around(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


MAKES_ONE = "from hpo.machine.temporary import scratch_folder\nwith scratch_folder(1000) as folder:\n    "


def holder() -> subprocess.Popen[bytes]:
    """Start a process that has such a folder until its stdin ends."""
    code = f"{MAKES_ONE}(folder / 'a' / 'b').mkdir(parents=True); print(flush=True); input()"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_folder_is_removed_with_all_that_is_in_it(around):
    with scratch_folder(1000) as folder:
        assert folder.parent == around
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "link").symlink_to(around)
    assert not os.listdir(around)


def test_what_a_killed_process_left_is_removed_and_nothing_of_a_living_one(around, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(around))
    with holder() as killed, holder() as living:
        assert killed.stdout.readline() == living.stdout.readline() == b"\n"
        theirs = set(os.listdir(around))
        killed.kill()
        killed.wait()
        assert set(os.listdir(around)) == theirs
        (around / "hpo-0f0f0f0f").mkdir()  # no lock in it: nobody knows whose it is
        with scratch_folder(1000) as folder:
            left = set(os.listdir(around)) - {folder.name, "hpo-0f0f0f0f"}
            assert len(left) == 1
            assert left < theirs
        living.communicate(b"\n")
    assert os.listdir(around) == ["hpo-0f0f0f0f"]


def test_processes_that_write_into_an_abandoned_folder_are_ended_and_no_others(around, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(around))
    with holder() as killed, holder() as living:
        assert killed.stdout.readline() == living.stdout.readline() == b"\n"
        # Each holds its lock open, which is a file of its folder.
        open_files = [[os.readlink(link) for link in Path(f"/proc/{one.pid}/fd").iterdir()] for one in (killed, living)]
        dead, alive = (Path(next(file for file in files if "/hpo-" in file)).parent for files in open_files)

        def sleeper(folder: Path, *streams: str) -> subprocess.Popen[bytes]:
            with contextlib.ExitStack() as files:
                opened = {name: files.enter_context((folder / name).open("ab")) for name in streams}
                return subprocess.Popen(["sleep", "600"], **opened)

        ends = [sleeper(dead, "stdout"), sleeper(dead, "stderr")]
        (dead / "log").touch()
        stays = [
            subprocess.Popen(["tail", "-f", dead / "log"], stdout=subprocess.DEVNULL),
            sleeper(alive, "stdout", "stderr"),
        ]
        try:
            killed.kill()
            killed.wait()
            with scratch_folder(1000):
                assert [process.wait(timeout=300) for process in ends] == [-signal.SIGKILL] * 2
                assert [process.poll() for process in stays] == [None, None]
        finally:
            for process in (*ends, *stays):
                process.kill()
                process.wait()
        living.communicate(b"\n")


def test_a_long_path_is_avoided(monkeypatch, tmp_path):
    assert short_folder(1000) == Path(os.environ.get("TMPDIR", "/tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("a" * 100)))
    assert short_folder(100) == Path("/tmp")
