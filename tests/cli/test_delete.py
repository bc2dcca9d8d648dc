"""`hpo delete` and the trash: nothing is deleted that was not made here; a kill leaves the study or the trash whole."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest

from hpo import layout
from hpo.cli.main import main
from hpo.doctor.examine import examine
from hpo.errors import StudyNotFound
from hpo.runner import run
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage
from hpo.storage.study_copy import begins_as

from .conftest import Hpo, Said, environment


def entries(runs: Path) -> list[Path]:
    """The trash: each is a deleted study."""
    trash = runs / ".trash"
    return sorted(trash.iterdir()) if trash.is_dir() else []


def is_in_storage(runs: Path, name: str) -> bool:
    storage = open_storage(f"journal:{runs / layout.JOURNAL}")
    return name in {study.study_name for study in storage.get_all_studies()}


def content(folder: Path) -> dict[str, bytes]:
    """All files but what a driver holds, and the place of the folder."""
    out = {layout.LOCK, layout.OWNER}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in out and not path.name.startswith(f"{layout.OWNER}.")
    }


def test_delete_removes_the_study_and_its_files_and_no_other(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "other", "--trials", 1, "-q")
    said = hpo("delete", "toy", "--yes")
    assert said.code == 0
    (entry,) = entries(runs)
    assert said.out.splitlines() == [
        "deleted study 'toy' (4 trials)",
        f"it is in {entry}; `hpo restore toy` brings it back, `hpo delete --purge` removes it for good",
    ]
    assert not (runs / "toy").exists()
    with pytest.raises(StudyNotFound):
        load_study(runs, "toy")
    assert len(load_study(runs, "other")[1].trials) == 1
    assert hpo("run", finished, "-q").code == 0, "the name is free again"
    assert hpo("list").out.count("\n") == 3
    assert hpo("doctor").code == 0


def test_what_was_deleted_comes_back_as_it_was(hpo: Hpo, finished, runs: Path):
    study, files = load_study(runs, "toy")[1], content(runs / "toy")
    before, attributes = study.trials, study.user_attrs
    assert hpo("delete", "toy", "--yes").code == 0
    listed = hpo("restore")
    assert listed.code == 0
    assert "study 'toy', deleted 20" in listed.out
    said = hpo("restore", "toy")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"restored study 'toy' (4 trials) in {runs / 'toy'}\n"
    after = load_study(runs, "toy")[1]
    assert after.user_attrs == attributes
    assert begins_as(after.trials, before)
    assert [trial.datetime_complete for trial in after.trials] == [trial.datetime_complete for trial in before]
    assert content(runs / "toy") == files
    assert entries(runs) == []
    assert hpo("doctor").code == 0
    assert hpo("run", finished, "--trials", 6, "-q").code == 0
    assert len(load_study(runs, "toy")[1].trials) == 6


def test_a_study_that_is_there_is_not_replaced_by_a_deleted_one(hpo: Hpo, finished, runs: Path):
    hpo("delete", "toy", "--yes")
    hpo("run", finished, "--trials", 1, "-q")
    said = hpo("restore", "toy")
    assert said.code == 1
    assert f"study 'toy' is not restored: {runs / 'toy'} is there." in said.err
    assert len(load_study(runs, "toy")[1].trials) == 1
    assert len(entries(runs)) == 1


def test_the_trash_is_emptied_for_good(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "other", "--trials", 1, "-q")
    hpo("delete", "toy", "--yes")
    hpo("delete", "other", "--yes")
    refused = hpo("delete", "--purge")
    assert refused.code == 1
    assert "study 'toy', deleted " in refused.err
    assert " files, " in refused.err
    assert "this would remove 2 entries of the trash for good; without a terminal to ask on" in refused.err
    assert len(entries(runs)) == 2
    said = hpo("delete", "other", "--purge", "--yes")
    assert (said.code, len(entries(runs))) == (0, 1)
    assert hpo("delete", "--purge", "--yes").code == 0
    assert entries(runs) == []
    said = hpo("delete", "--purge", "--yes")
    assert (said.code, said.err) == (0, f"the trash is empty: there is nothing in {runs / '.trash'}\n")
    assert hpo("restore", "toy").code == 1


def test_it_deletes_for_good_at_once_if_asked(hpo: Hpo, finished, runs: Path):
    said = hpo("delete", "toy", "--purge", "--yes")
    assert (said.code, said.out) == (0, "deleted study 'toy' (4 trials) for good\n")
    assert entries(runs) == []
    assert not is_in_storage(runs, "toy")


def test_without_a_terminal_it_needs_yes(hpo_process: Hpo, finished, runs: Path):
    said = hpo_process("delete", "toy")
    assert said.code == 1
    assert "study 'toy' (4 trials)" in said.err
    assert "needs --yes" in said.err
    assert (runs / "toy").exists()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_on_a_terminal_it_asks(finished, runs: Path, answer, code):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hpo", "delete", "toy"]
    asked = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment())
    os.write(leader, answer.encode())
    assert asked.wait(timeout=300) == code
    assert (runs / "toy").exists() is (code != 0)
    printed = os.read(leader, 4096).decode()
    assert f"  {runs}/toy: " in printed
    assert f"  study 'toy' (4 trials) in the storage journal:{runs}/journal.log" in printed
    assert "Delete study 'toy' (4 trials)" in printed
    os.close(leader)
    os.close(follower)


def test_the_study_must_be_named(hpo: Hpo, finished):
    assert hpo("delete", "--yes").code == 2


def test_a_study_that_is_only_a_folder_any_more_can_be_deleted(hpo: Hpo, finished, runs: Path):
    (runs / "journal.log").unlink()
    assert hpo("delete", "toy", "-y").code == 0
    assert not (runs / "toy").exists()


# --- links, and what others made


def outside(tmp_path: Path) -> Path:
    """A folder of somebody's, with a thesis."""
    folder = tmp_path / "home"
    (folder / "trials").mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    return folder


def trials_on_another_disk(directory: Path, home: Path) -> Path:
    for path in (directory / "trials").iterdir():
        shutil.move(path, home / "trials")
    (directory / "trials").rmdir()
    (directory / "trials").symlink_to(home / "trials")
    return directory / "trials"


def whole_trials(directory: Path, home: Path) -> Path:
    (directory / "data").symlink_to(home)
    return directory / "data"


def file_in_a_trial(directory: Path, home: Path) -> Path:
    (directory / "trials/0/notes").symlink_to(home / "thesis.tex")
    return directory / "trials/0/notes"


def trial_on_another_disk(directory: Path, home: Path) -> Path:
    shutil.move(directory / "trials/1", home / "1")
    (directory / "trials/1").symlink_to(home / "1")
    return directory / "trials/1"


@pytest.mark.parametrize("make", [trials_on_another_disk, whole_trials, file_in_a_trial, trial_on_another_disk])
@pytest.mark.parametrize("purge", [False, True])
def test_of_a_link_made_by_hand_the_link_alone_goes(hpo: Hpo, finished, runs: Path, tmp_path: Path, make, purge):
    home = outside(tmp_path)
    link = make(runs / "toy", home)
    before, target = content(home), os.readlink(link)
    assert f"{target}: {link} is a link to it, and the link alone goes" in hpo("delete", "toy").err
    assert hpo("delete", "toy", "--yes", *(["--purge"] if purge else [])).code == 0
    assert hpo("delete", "--purge", "--yes").code == 0
    assert content(home) == before
    assert not (runs / "toy").exists()
    assert not is_in_storage(runs, "toy")


def test_of_a_study_folder_that_is_a_link_what_it_leads_to_stays(hpo: Hpo, finished, runs: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(runs / "toy", elsewhere)
    (runs / "toy").symlink_to(elsewhere)
    before = content(elsewhere)
    said = hpo("delete", "toy", "--yes")
    assert said.code == 0
    assert f"{elsewhere}: {runs / 'toy'} is a link to it, and the link alone goes" in said.err
    assert not os.path.lexists(runs / "toy")
    assert not is_in_storage(runs, "toy")
    assert hpo("restore", "toy").code == 0
    assert (runs / "toy").is_symlink()
    assert hpo("doctor").code == 0
    assert hpo("delete", "toy", "--yes", "--purge").code == 0
    assert content(elsewhere) == before


def mount(source: Path, target: Path) -> bool:
    return subprocess.run(["mount", "--bind", source, target], capture_output=True, check=False).returncode == 0


def test_a_file_system_that_is_mounted_in_it_is_not_emptied(hpo: Hpo, finished, runs: Path, tmp_path: Path):
    home, place = outside(tmp_path), runs / "toy" / "disk"
    place.mkdir()
    if not mount(home, place):
        pytest.skip("nothing can be mounted here")
    try:
        hpo("delete", "toy", "--yes")
        said = hpo("delete", "--purge", "--yes")
        assert said.code == 1
        assert "/folder/disk is mounted in it; unmount it first" in said.err
        assert (home / "thesis.tex").read_text() == "years of work"
    finally:
        for path in [place, *runs.glob(".trash/*/folder/disk")]:
            subprocess.run(["umount", path], capture_output=True, check=False)


def test_a_folder_that_may_not_be_written_goes_all_the_same(hpo: Hpo, finished, runs: Path):
    (runs / "toy/trials/0").chmod(0o500)
    assert hpo("delete", "toy", "--yes", "--purge").code == 0
    assert entries(runs) == []


# --- engine.checkpoint_dir


@pytest.fixture
def shared(make_spec, runs: Path, tmp_path: Path, ray_here) -> Path:
    """The folder around the trials of a study `toy` that ran with engine.checkpoint_dir."""
    run(shared_spec(make_spec, tmp_path), runs)
    (folder,) = (tmp_path / "shared").iterdir()
    return folder


def shared_spec(make_spec, tmp_path: Path, **keys):
    return make_spec(engine={"name": "ray", "workers": 1, "checkpoint_dir": str(tmp_path / "shared")}, **keys)


@pytest.mark.slow
def test_trials_in_a_shared_folder_go_when_the_trash_is_emptied(
    hpo: Hpo, make_spec, shared, runs: Path, tmp_path: Path
):
    before = content(shared)
    assert f"{shared}, the folders of its trials: " in hpo("delete", "toy").err
    assert hpo("delete", "toy", "--yes").code == 0
    # A new study of that name does not take them over.
    run(shared_spec(make_spec, tmp_path, budget={"trials": 1}), runs)
    assert content(shared) == before
    assert len(list((tmp_path / "shared").iterdir())) == 2
    assert hpo("delete", "toy", "--yes", "--purge").code == 0
    assert hpo("restore", "toy").code == 0
    assert content(shared) == before
    assert hpo("doctor").code == 0
    hpo("delete", "toy", "--yes")
    assert hpo("delete", "--purge", "--yes").code == 0
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.slow
def test_a_copy_of_the_runs_folder_does_not_take_the_originals_trials(hpo: Hpo, shared, runs: Path, tmp_path: Path):
    before, copy = content(shared), tmp_path / "copy"
    shutil.copytree(runs, copy, symlinks=True)
    refused = hpo("run", runs / "toy/study.yaml", "--runs", copy)
    assert refused.code == 2
    assert f"its trials are in {shared}/trials, which are those of {runs / 'toy'}" in refused.err
    fixed = hpo("doctor", "--fix", "--runs", copy)
    assert fixed.code == 1
    assert f"are those of {runs / 'toy'}" in fixed.out
    said = hpo("delete", "toy", "--runs", copy, "--yes")
    assert said.code == 0
    assert (
        f"the trials in {shared}/trials: they are those of {runs / 'toy'}, of which this folder is a copy" in said.err
    )
    assert hpo("delete", "--purge", "--yes", "--runs", copy).code == 0
    assert content(shared) == before
    assert hpo("doctor").code == 0


@pytest.mark.slow
def test_a_runs_folder_that_was_moved_keeps_its_shared_trials(hpo: Hpo, shared, runs: Path, tmp_path: Path):
    moved = tmp_path / "moved"
    runs.rename(moved)
    assert hpo("doctor", "--runs", moved).code == 0
    assert hpo("run", moved / "toy/study.yaml", "--runs", moved, "--trials", 5, "-q").code == 0
    assert hpo("delete", "toy", "--runs", moved, "--yes", "--purge").code == 0
    assert list((tmp_path / "shared").iterdir()) == []


# --- another study, another place, another user


def test_two_different_studies_of_one_name_are_both_left_alone(hpo: Hpo, finished, runs: Path):
    (runs / "toy").rename(runs / "kept")
    (runs / "toy").mkdir()
    storage = open_storage(f"journal:{runs / layout.JOURNAL}")
    storage.delete_study(storage.get_study_id_from_name("toy"))
    hpo("run", finished, "-q")
    shutil.rmtree(runs / "toy")
    (runs / "kept").rename(runs / "toy")
    before = content(runs / "toy")
    said = hpo("delete", "toy", "--yes")
    assert said.code == 1
    assert (
        f"{runs / 'toy'} and the storage journal:{runs}/journal.log have two different studies of the name" in said.err
    )
    assert "Neither was deleted." in said.err
    assert content(runs / "toy") == before
    assert len(load_study(runs, "toy")[1].trials) == 4
    assert entries(runs) == []


@pytest.mark.parametrize("scheme", ["journal:{}", pytest.param("sqlite:///{}", marks=pytest.mark.slow)])
def test_the_storage_of_a_copied_folder_is_the_originals(hpo: Hpo, study_yaml, runs: Path, tmp_path: Path, scheme):
    path = study_yaml(storage=scheme.format(tmp_path / "storage.file"))
    hpo("run", path, "-q")
    copy = tmp_path / "copy"
    shutil.copytree(runs, copy, symlinks=True)
    refused = hpo("run", path, "--runs", copy)
    assert refused.code == 2
    assert f"it is a copy of {runs / 'toy'}, and both have their trials in the storage" in refused.err
    said = hpo("delete", "toy", "--yes", "--runs", copy)
    assert said.code == 0
    assert f"the folder is a copy of {runs / 'toy'}, which uses it" in said.err
    assert not (copy / "toy").exists()
    assert len(load_study(runs, "toy")[1].trials) == 4
    assert hpo("doctor").code == 0
    # Once the original is gone, it is a folder that was moved.
    assert hpo("restore", "toy", "--runs", copy).code == 0
    shutil.rmtree(runs / "toy")
    assert hpo("run", path, "--runs", copy, "--trials", 5, "-q").code == 0
    assert hpo("delete", "toy", "--yes", "--runs", copy).code == 0
    with pytest.raises(StudyNotFound):
        load_study(runs, "toy")


@pytest.mark.parametrize("scheme", ["journal:{}", pytest.param("sqlite:///{}", marks=pytest.mark.slow)])
def test_a_storage_in_the_runs_folder_is_moved_with_it(hpo: Hpo, study_yaml, runs: Path, tmp_path: Path, scheme):
    path = study_yaml(storage=scheme.format(runs / "own.file"))
    hpo("run", path, "-q")
    moved = tmp_path / "moved"
    runs.rename(moved)
    assert hpo("doctor", "--fix", "--runs", moved).code == 0
    assert hpo("run", moved / "toy/study.yaml", "--runs", moved, "--trials", 5, "-q").code == 0
    assert len(load_study(moved, "toy")[1].trials) == 5
    assert hpo("delete", "toy", "--runs", moved, "--yes").code == 0
    assert not runs.exists()


def as_user(uid: int, *arguments: object) -> Said:
    """`hpo` as another user, in a copy of this process: he may not read the interpreter's own files."""
    for module in ("hpo.actions.deletion", "hpo.actions.restore", "hpo.cli.restore", "hpo.trackers.mlflow.sync"):
        importlib.import_module(module)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with open(write, "w") as pipe:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            out, err = io.StringIO(), io.StringIO()
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    code = main(list(map(str, arguments)))
                json.dump([code, out.getvalue(), err.getvalue()], pipe)
            except BaseException:
                json.dump([-1, "", traceback.format_exc()], pipe)
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        said = Said(*json.loads(pipe.read()))
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")
@pytest.mark.parametrize("mode", [0o755, 0o777, 0o700])
def test_another_users_study_is_not_deleted(finished, runs: Path, mode):
    # Below pytest's own folder each pytest that starts takes back the rights of others.
    with tempfile.TemporaryDirectory() as around:
        Path(around).chmod(0o755)
        _check_users(Path(shutil.move(runs, around)), mode)


def _check_users(runs: Path, mode: int) -> None:
    for path in (runs, *runs.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    runs.chmod(0o777)
    (runs / "toy").chmod(mode)
    before = content(runs)
    said = as_user(12346, "delete", "toy", "--yes", "--runs", runs)
    assert said.code == 1
    assert said.err == (
        f"hpo: {runs / 'toy'} belongs to user 12345 (mode {mode:03o}), and you are user 12346: only user 12345 may "
        "delete study 'toy'. Nothing was changed\n"
    )
    assert content(runs) == before
    mine = as_user(12345, "delete", "toy", "--yes", "--runs", runs)
    assert (mine.code, mine.err) == (0, "")
    theirs = as_user(12346, "restore", "toy", "--runs", runs)
    assert theirs.code == 1
    assert "only user 12345 may restore the deleted study 'toy'" in theirs.err
    purged = as_user(12346, "delete", "--purge", "--yes", "--runs", runs)
    assert purged.code == 1
    assert "only user 12345 may remove" in purged.err
    assert as_user(12345, "restore", "toy", "--runs", runs).code == 0
    assert content(runs / "toy") == {
        path.removeprefix("toy/"): found for path, found in before.items() if path.startswith("toy/")
    }


# --- kills


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(12))
def test_a_kill_leaves_the_study_whole_or_the_trash(hpo: Hpo, finished, runs: Path, moment):
    chance = random.Random(moment)
    before, files = load_study(runs, "toy")[1].trials, content(runs / "toy")
    deletion = subprocess.Popen([sys.executable, "-P", "-m", "hpo", "delete", "toy", "--yes"], env=environment())
    # From when it takes the lock: its first second is imports.
    until = time.monotonic() + 60
    while deletion.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            if (runs / "toy" / layout.LOCK).stat().st_size or entries(runs):
                break
    time.sleep(chance.uniform(0.0, 0.25))
    deletion.send_signal(signal.SIGKILL)
    deletion.wait()
    if (runs / "toy").exists():
        assert content(runs / "toy") == files
        assert begins_as(load_study(runs, "toy")[1].trials, before)
    else:
        (entry,) = entries(runs)
        assert content(entry / "folder") == files
        if json.loads((entry / "saved.json").read_text())["deleting"]:
            assert "was cut short: `hpo delete toy` finishes it, `hpo restore toy` brings" in hpo("run", finished).err
        if moment % 2:
            assert hpo("restore", "toy").code == 0
            assert begins_as(load_study(runs, "toy")[1].trials, before)
            assert content(runs / "toy") == files
            assert examine(runs, (), fix=True) is not None
            assert hpo("doctor").code == 0
    again = hpo("delete", "toy", "--yes")
    assert again.code == 0 or "there is no study 'toy'" in again.err
    assert not (runs / "toy").exists()
    assert not is_in_storage(runs, "toy")
    (entry,) = entries(runs)
    assert content(entry / "folder") == files
    assert hpo("restore", "toy").code == 0
    assert begins_as(load_study(runs, "toy")[1].trials, before)
    assert hpo("doctor", "--fix").code == 0
