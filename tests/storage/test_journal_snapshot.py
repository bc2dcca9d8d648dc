"""The snapshot of a journal: the same studies and trials as a replay from the start, and never more than a cache."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import zlib

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from hpo.errors import StorageError
from hpo.storage import journal_snapshot
from hpo.storage.journal import open_journal
from hpo.storage.journal_replay import Replay
from hpo.storage.open import open_storage
from hpo.storage.study_copy import _Lines

RANGES = [FloatDistribution(0.0, 1.0), IntDistribution(1, 9), CategoricalDistribution(("a", "b", None, True, 2))]
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@pytest.fixture(autouse=True)
def small_frames(monkeypatch):
    """A frame for each 500 bytes of a journal."""
    monkeypatch.setattr(journal_snapshot, "EVERY", 500)
    monkeypatch.setattr(journal_snapshot, "_REST", 0)


def driver(path):
    return open_journal(path, lambda _: None)


def snapshot_of(path):
    return path.with_name(f"{path.name}.snapshot")


def state(storage):
    """All that a replay comes to, in plain text."""
    replay = storage._replay_result
    return (
        replay.log_number_read, replay._next_study_id, replay._study_id_to_trial_ids, replay._trial_id_to_study_id,
        [repr(vars(study)) for study in replay._studies.values()],
        {one: (repr(vars(trial)), trial._trial_id) for one, trial in replay._trials.items()},
    )  # fmt: skip


def as_optuna_reads(path):
    return state(JournalStorage(JournalFileBackend(str(path))))


def act(storage, chance):
    """One of all the things that can be written, right or refused."""
    replay = storage._replay_result
    studies, trials = [*replay._studies], [*replay._trials]
    study, trial = chance.choice(studies or [0]), chance.choice([*trials[-4:], *trials, 0])
    kind = chance.random()
    value = chance.choice([0.25, -1e300, float("inf"), 3.0])
    try:
        if kind < 0.05 or not studies:
            storage.create_new_study([StudyDirection.MINIMIZE], chance.choice("abc") + str(chance.randrange(3)))
        elif kind < 0.07:
            storage.delete_study(study)
        elif kind < 0.12:
            storage.set_study_user_attr(study, chance.choice("kl"), {"deep": [value, None, "ä"]})
            storage.set_study_system_attr(study, "m", [1, {"a": "b"}])
        elif kind < 0.30:
            template = create_trial(
                state=chance.choice([TrialState.WAITING, *FINISHED[:2]]), value=1.5,
                params={"x": 0.5, "c": "b"}, distributions={"x": RANGES[0], "c": RANGES[2]},
                intermediate_values={3: 0.5}, user_attrs={"why": "given"}, system_attrs={"fixed_params": {"x": 0.5}},
            )  # fmt: skip
            storage.create_new_trial(study, chance.choice([None, None, template]))
        elif kind < 0.5:
            number = chance.randrange(3)
            storage.set_trial_param(trial, "xnc"[number], chance.choice([0.0, 1.0, 2.0]), chance.choice(RANGES))
        elif kind < 0.65:
            storage.set_trial_intermediate_value(trial, chance.randrange(5), value)
        elif kind < 0.8:
            storage.set_trial_user_attr(trial, chance.choice("kl"), {"nested": {"why": "ü", "n": [1, 2.5, None]}})
            storage.set_trial_system_attr(trial, "rung", value)
        else:
            to = chance.choice([TrialState.RUNNING, *FINISHED, *FINISHED])
            storage.set_trial_state_values(trial, to, None if to == TrialState.RUNNING else [value])
    except (OptunaError, KeyError, ValueError, AssertionError):  # Optuna asserts that a trial is there
        pass


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_what_is_loaded_is_what_a_replay_of_everything_comes_to(tmp_path_factory, seed):
    path, chance = tmp_path_factory.mktemp("journal") / "journal.log", random.Random(seed)
    lines = _Lines()
    programs = [JournalStorage(lines), JournalStorage(lines)]
    path.touch()
    drivers = [driver(path)]
    for _ in range(30):
        written = len(lines.rows)
        for _ in range(4):
            act(chance.choice(programs), chance)
        with path.open("a") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in lines.rows[written:])
        chance.choice(drivers).get_all_studies()
        if chance.random() < 0.2:  # another driver of the same journal, or the next one after a kill
            drivers = [*drivers[-1:], driver(path)]
    expected = as_optuna_reads(path)
    reader = open_storage(f"journal:{path}", readonly=True)
    assert state(reader) == expected
    for storage in drivers:
        storage.get_all_studies()
        assert state(storage) == expected


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a journal of 30 trials and its snapshot, written by a driver that was killed."""
    path = tmp_path_factory.mktemp("written") / "journal.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_snapshot, "EVERY", 500)
        patch.setattr(journal_snapshot, "_REST", 0)
        study = optuna.create_study(study_name="s", storage=driver(path))
        for number in range(30):
            trial = study.ask(dict(zip("xnc", RANGES, strict=True)))
            trial.report(0.5, 1)
            trial.set_user_attr("hpo:job", {"started": 1763733600.0 + number, "params": trial.params})
            study.tell(trial, float(number))
        study.ask()
    assert snapshot_of(path).stat().st_size > 1000
    return path.parent


@pytest.fixture
def path(written, tmp_path):
    """A copy of the journal and its snapshot."""
    shutil.copytree(written, tmp_path / "runs")
    return tmp_path / "runs" / "journal.log"


def replayed(path, monkeypatch):
    """How many records of a journal are replayed when it is opened."""
    count = []
    whole = Replay.apply_logs
    monkeypatch.setattr(Replay, "apply_logs", lambda self, logs: whole(self, (count.append(1) or log for log in logs)))
    before = as_optuna_reads(path)
    storage = open_storage(f"journal:{path}", readonly=True)
    assert state(storage) == before
    return len(count)


def test_only_the_records_behind_the_last_frame_are_replayed(path, monkeypatch):
    assert 0 < replayed(path, monkeypatch) < 12  # of 31 trials with 6 records each


def test_without_a_snapshot_all_are_replayed_and_a_reader_writes_none(path, monkeypatch):
    snapshot_of(path).unlink()
    there = sorted(path.parent.iterdir())
    assert replayed(path, monkeypatch) > 150
    open_storage(f"journal:{path}").get_all_studies()  # a short look of a command
    assert sorted(path.parent.iterdir()) == there


def test_the_next_driver_writes_it_anew(path, monkeypatch):
    whole = snapshot_of(path).read_bytes()
    snapshot_of(path).unlink()
    driver(path)
    assert 500 < len(snapshot_of(path).read_bytes()) < len(whole)
    assert replayed(path, monkeypatch) == 0


def test_it_grows_with_the_journal_and_is_not_written_anew(path):
    before = snapshot_of(path).read_bytes()
    study = optuna.load_study(study_name="s", storage=driver(path))
    for number in range(4):
        study.tell(study.ask(), float(number))
    assert snapshot_of(path).read_bytes().startswith(before)
    assert snapshot_of(path).stat().st_size > len(before)


def test_a_driver_that_is_alone_reads_neither_the_journal_nor_the_snapshot_to_add_a_frame(path, monkeypatch):
    storage, read = driver(path), []
    whole = journal_snapshot._true_of
    monkeypatch.setattr(journal_snapshot, "_true_of", lambda *arguments: (read.append(1), whole(*arguments))[1])
    study, before = optuna.load_study(study_name="s", storage=storage), snapshot_of(path).stat().st_size
    for number in range(4):
        study.tell(study.ask(), float(number))
    assert snapshot_of(path).stat().st_size > before
    assert read == []
    driver(path)
    assert read == [1]  # to open it


def damages():
    yield "empty", lambda data: b""
    yield "torn", lambda data: data[:-7]
    yield "torn in its head", lambda data: data[:20]
    yield "garbage behind it", lambda data: data + b"garbage" * 30
    yield "zeros behind it", lambda data: data + b"\0" * 4096
    yield "zeros", lambda data: b"\0" * len(data)
    yield "another version", lambda data: b"hpo0" + data[4:]
    yield "text", lambda data: b"no snapshot\n"
    yield "endless", lambda data: data[:28] + b"\xff" * 24 + data[52:]
    for seed in range(20):
        yield f"byte {seed}", lambda data, seed=seed: flipped(data, random.Random(seed))


def flipped(data, chance):
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


@pytest.mark.parametrize("damage", [pytest.param(how, id=name) for name, how in damages()])
def test_a_damaged_snapshot_is_left_out_and_mended_by_the_next_driver(path, damage):
    expected = as_optuna_reads(path)
    snapshot_of(path).write_bytes(damage(snapshot_of(path).read_bytes()))
    assert state(open_storage(f"journal:{path}", readonly=True)) == expected
    study = optuna.load_study(study_name="s", storage=driver(path))
    for number in range(4):
        study.tell(study.ask(), float(number))
    assert state(open_storage(f"journal:{path}", readonly=True)) == as_optuna_reads(path)
    with snapshot_of(path).open("rb") as file:
        frames = list(journal_snapshot._frames(file))
    assert frames[-1].end == snapshot_of(path).stat().st_size  # nothing but whole frames


def test_no_code_in_a_snapshot_is_run(path, tmp_path):
    made = tmp_path / "made by code"

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(made),)

    position = driver(path)._backend.position
    for part in (pickle.dumps(Code()), pickle.dumps(([], [Code()], None)), b"cos\nmkdir\n(V/tmp/x\ntR."):
        snapshot_of(path).write_bytes(journal_snapshot._framed(position, 0, part, part))
        assert state(open_storage(f"journal:{path}", readonly=True)) == as_optuna_reads(path)
    assert not made.exists()


def test_a_snapshot_of_another_journal_is_left_out(path, tmp_path):
    other = tmp_path / "other.log"
    study = optuna.create_study(study_name="other", storage=driver(other))
    for number in range(40):
        study.tell(study.ask(), float(number))
    shutil.copy(snapshot_of(other), snapshot_of(path))
    assert state(open_storage(f"journal:{path}", readonly=True)) == as_optuna_reads(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_snapshot_that_somebody_else_could_write_is_not_believed(path, monkeypatch):
    os.chown(path, 12345, -1)
    os.chown(snapshot_of(path), 54321, -1)
    assert replayed(path, monkeypatch) > 150
    os.chown(snapshot_of(path), 12345, -1)
    assert replayed(path, monkeypatch) < 12
    snapshot_of(path).chmod(0o666)
    assert replayed(path, monkeypatch) > 150
    path.chmod(0o666)  # who can write the snapshot can write the journal
    assert replayed(path, monkeypatch) < 12


@pytest.mark.parametrize("line", [3, 60, 150])
def test_a_journal_that_was_damaged_is_not_hidden_by_its_snapshot(path, line):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = b"x" * (len(lines[line - 1]) - 1) + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(StorageError, match=rf"journal\.log:{line}: this record of the journal is damaged"):
        open_storage(f"journal:{path}", readonly=True)


@pytest.mark.parametrize("line", [3, 60, 150])
def test_a_journal_that_was_repaired_is_read_as_it_is_now(path, line):
    """By the one that opens it, and by a driver that has it open."""
    living = driver(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = b'{"op_code":10,"worker_id":"doctor"}\n'
    path.rename(path.with_name("journal.log.damaged"))
    path.write_bytes(b"".join(lines))
    assert state(open_storage(f"journal:{path}", readonly=True)) == as_optuna_reads(path)
    living.get_all_studies()
    assert state(living)[1:] == as_optuna_reads(path)[1:]


def test_an_older_journal_that_was_brought_back_is_read_as_it_is(path):
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(content[:220]))  # the same file, with another content
    assert state(open_storage(f"journal:{path}", readonly=True)) == as_optuna_reads(path)
    study = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    for number in range(30):  # by a program that knows nothing of it, until it is longer than it was
        study.tell(study.ask(), -float(number))
    assert path.stat().st_size > sum(map(len, content))
    assert state(open_storage(f"journal:{path}", readonly=True)) == as_optuna_reads(path)


def test_a_snapshot_that_cannot_be_written_harms_nobody(path):
    snapshot_of(path).unlink()
    snapshot_of(path).mkdir()
    study = optuna.load_study(study_name="s", storage=driver(path))
    for number in range(4):
        study.tell(study.ask(), float(number))
    assert state(open_storage(f"journal:{path}", readonly=True)) == as_optuna_reads(path)


def test_the_checks_sum_is_of_the_whole_beginning(path):
    with snapshot_of(path).open("rb") as file:
        frames = list(journal_snapshot._frames(file))
    content = path.read_bytes()
    for frame in frames:
        assert frame.position.crc == zlib.crc32(content[: frame.position.bytes])
        assert frame.position.lines == content[: frame.position.bytes].count(b"\n")
    assert len(frames) > 5
    assert isinstance(pickle.load(io.BytesIO(frames[0].rest)), tuple)  # plain data, for any unpickler
