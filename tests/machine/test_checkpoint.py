"""A checkpoint is the state that the trial saved, or it is refused with a sentence; no code of others runs."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo.errors import CheckpointRefused
from hpo.machine.checkpoint import check_checkpoint, read_checkpoint, write_checkpoint
from hpo.trial import Job, ObjectiveRef, Trial

LINEAGE = "0123abcd:42"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    SCALARS | st.sets(st.integers()) | st.frozensets(st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)
# A group and a user whose names are not those of anybody here.
STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class Planted:
    """An object that makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def trial_in(directory: Path, lineage: str = LINEAGE, attempt: int = 2) -> Trial:
    job = Job(3, {}, 42, ObjectiveRef(), {}, directory, (), attempt, lineage)
    return Trial(job, lambda step, metrics: None)


@given(PLAIN)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_plain_data_come_back_as_they_were(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "checkpoint.pkl"
    write_checkpoint(path, state, LINEAGE)
    assert read_checkpoint(path, LINEAGE) == state
    assert pickle.loads(path.read_bytes()) == state, "earlier versions of hpo read it too"
    check_checkpoint(path)


def test_no_flipped_byte_and_no_cut_gives_another_state(tmp_path: Path) -> None:
    state = {"epoch": 7, "weights": [0.25, 0.5], "name": "unet"}
    path = tmp_path / "checkpoint.pkl"
    write_checkpoint(path, state, LINEAGE)
    whole = path.read_bytes()
    end = whole.rindex(b"\nhpo checkpoint")
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x20
        path.write_bytes(damaged)
        for look in (check_checkpoint, lambda path: read_checkpoint(path, LINEAGE)):
            with pytest.raises(CheckpointRefused, match="damaged"):
                look(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length == end:  # all of the pickle, as an earlier version would have written it
            assert read_checkpoint(path, LINEAGE) == state
        else:
            with pytest.raises(CheckpointRefused, match="damaged"):
                read_checkpoint(path, LINEAGE)


@pytest.mark.parametrize("other", ["0123abcd:43", "ffff0000:42", "", "0123abcd:42 "])
def test_a_state_of_another_trial_is_refused(tmp_path: Path, other: str) -> None:
    path = tmp_path / "checkpoint.pkl"
    write_checkpoint(path, {"epoch": 1}, other)
    with pytest.raises(CheckpointRefused, match=re.escape(f"{path} is of another trial or study")):
        read_checkpoint(path, LINEAGE)
    assert read_checkpoint(path, "") == {"epoch": 1}
    assert read_checkpoint(path, other) == {"epoch": 1}


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_a_file_of_an_earlier_version_is_restored(tmp_path: Path, version: int) -> None:
    path = tmp_path / "checkpoint.pkl"
    for state in ({"epoch": 1}, OrderedDict(epoch=1)):
        path.write_bytes(pickle.dumps(state, version))
        assert read_checkpoint(path, LINEAGE) == state


def test_damage_of_a_file_of_an_earlier_version_is_a_sentence_or_another_state_but_no_error(tmp_path: Path) -> None:
    whole = pickle.dumps({"epoch": 7, "weights": [0.25, b"ab"], "name": "unet"}, 5)
    path = tmp_path / "checkpoint.pkl"
    for place in range(len(whole) - 1):
        damaged = bytearray(whole)
        damaged[place] ^= 0x11
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointRefused):
            read_checkpoint(path, LINEAGE)


def test_objects_that_only_this_user_could_write_are_restored(tmp_path: Path) -> None:
    old = os.umask(0o002)  # as where each user has a group; the file and its folder are nobody else's all the same
    try:
        trial = trial_in(tmp_path / "3")
        trial.save(OrderedDict(epoch=1))
    finally:
        os.umask(old)
    assert (tmp_path / "3").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "3" / "checkpoint.pkl").stat().st_mode & 0o777 == 0o644
    assert trial.restore() == OrderedDict(epoch=1)


def others_write_the_file(path: Path) -> None:
    path.chmod(0o666)


def others_write_the_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def a_group_writes_the_file(path: Path) -> None:
    os.chown(path, -1, STRANGER)
    path.chmod(0o664)


def a_group_writes_the_folder(path: Path) -> None:
    os.chown(path.parent, -1, STRANGER)
    path.parent.chmod(0o775)


def the_file_is_of_another_user(path: Path) -> None:
    os.chown(path, STRANGER, -1)


def the_folder_is_of_another_user(path: Path) -> None:
    os.chown(path.parent, STRANGER, -1)


@as_root
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (others_write_the_file, "everybody may write {path}"),
        (others_write_the_folder, "everybody may write {folder}"),
        (a_group_writes_the_file, "the group of gid 54321 may write {path}"),
        (a_group_writes_the_folder, "the group of gid 54321 may write {folder}"),
        (the_file_is_of_another_user, "{path} belongs to another user (uid 54321)"),
        (the_folder_is_of_another_user, "{folder} belongs to another user (uid 54321)"),
    ],
)
def test_objects_that_others_could_have_written_are_not_unpickled(tmp_path: Path, capfd, make, said: str) -> None:
    mark, trial = tmp_path / "code ran", trial_in(tmp_path / "3")
    path = trial.directory / "checkpoint.pkl"
    trial.save({"epoch": 1, "model": Planted(mark)})
    make(path)
    assert trial.restore() is None
    assert not mark.exists()
    err = capfd.readouterr().err
    assert err.startswith(f"hpo: trial 3 starts afresh: {path} holds objects, which running code restores, and ")
    assert said.format(path=path, folder=path.parent) in err
    assert "chmod go-w" in err
    trial.save({"epoch": 2, "loss": [0.5]})  # plain data are nobody's code
    make(path)
    assert trial.restore() == {"epoch": 2, "loss": [0.5]}


def test_a_group_of_this_user_alone_may_write(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("whether this user's group is private is not known")
    trial = trial_in(tmp_path / "3")
    trial.save(OrderedDict(epoch=1))
    for path in (trial.directory / "checkpoint.pkl", trial.directory):
        os.chown(path, 0, 0)
        path.chmod(0o775)
    assert trial.restore() == OrderedDict(epoch=1)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, capfd, make) -> None:
    make(tmp_path / "checkpoint.pkl")
    assert trial_in(tmp_path).restore() is None
    assert "checkpoint.pkl is not a file" in capfd.readouterr().err


def test_an_error_of_an_object_leaves_the_earlier_state(tmp_path: Path) -> None:
    trial = trial_in(tmp_path)
    trial.save({"epoch": 1})
    with pytest.raises(Exception, match="pickle"):
        trial.save({"epoch": 2, "loop": lambda: 0})
    assert trial.restore() == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pkl"]
