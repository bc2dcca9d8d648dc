"""Journals that many processes share: torn and damaged records, full disks, stopped holders of the lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import optuna
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from waiting import wait_until

from hpo.errors import StorageError, StorageLocked
from hpo.storage import journal, journal_lock
from hpo.storage.open import open_storage
from hpo.storage.trial_attributes import JOB, OUTCOME


@pytest.fixture
def path(tmp_path):
    """A journal with a study `s` of one trial, whose value is 1."""
    path = tmp_path / "journal.log"
    study = optuna.create_study(study_name="s", storage=open_storage(f"journal:{path}"))
    study.tell(study.ask(), 1.0)
    return path


def values(path):
    """The values of the study `s`, as Optuna without hpo reads them."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return [trial.value for trial in optuna.load_study(study_name="s", storage=storage).trials]


def add_trial(storage, value):
    study = optuna.load_study(study_name="s", storage=storage)
    study.add_trial(optuna.trial.create_trial(value=value))
    return [trial.value for trial in study.trials]


def python(code, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], text=True, **options)


# --- torn records


TORN = {
    "start": b"{",
    "half": b'{"op_code":4,"worker_id":"a-1","study_id":0,"dat',
    "value": b'{"op_code":6,"worker_id":"a-1","trial_id":0,"state":1,"values":[1.2',
    "zeros": b"\0" * 500,
    "zeros and a line end": b"\0" * 40 + b"\n",
    "no text": b"\xff\xfe\x80",
    "longer than a block": b'{"b":"' + b"x" * 200_000,
}


@pytest.mark.parametrize("torn", TORN.values(), ids=TORN)
def test_a_torn_record_is_cut_off_by_the_next_writer_and_harms_nobody(path, torn):
    whole = path.read_bytes()
    reader = open_storage(f"journal:{path}")  # read before the damage, it goes on after it
    path.write_bytes(whole + torn)
    said = []
    writer = open_storage(f"journal:{path}", said.append)
    assert [trial.value for trial in optuna.load_study(study_name="s", storage=reader).trials] == [1.0]
    assert said == []
    assert path.read_bytes() == whole + torn  # looking changes nothing
    assert add_trial(writer, 2.0) == [1.0, 2.0]
    (sentence,) = said
    assert f"the last record of {path} was torn by a full disk, a power cut or a kill" in sentence
    assert f"({len(torn)} bytes)" in sentence
    assert path.read_bytes().startswith(whole)
    assert values(path) == [1.0, 2.0]
    assert add_trial(reader, 3.0) == [1.0, 2.0, 3.0]
    assert values(path) == [1.0, 2.0, 3.0]


def test_a_whole_record_that_lacks_its_line_end_gets_one(path):
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip(b"\n"))
    storage = open_storage(f"journal:{path}", pytest.fail)
    assert add_trial(storage, 2.0) == [1.0, 2.0]
    assert path.read_bytes().startswith(whole)
    assert values(path) == [1.0, 2.0]


FULL = """
import resource, sys
import optuna
from hpo.storage.open import open_storage
path, room = sys.argv[1], int(sys.argv[2])
storage = open_storage(f"journal:{path}")
study = optuna.load_study(study_name="s", storage=storage)
size = len(open(path, "rb").read())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
try:
    study.add_trial(optuna.trial.create_trial(value=7.0))
except OSError as error:
    print("refused", error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print([trial.value for trial in study.trials])
study.add_trial(optuna.trial.create_trial(value=2.0))
"""


@pytest.mark.parametrize("missing", [None, 1, 2])
def test_a_record_for_which_there_is_no_room_is_not_counted(path, missing):
    """The kernel takes the first bytes of it and refuses the rest, as on a full disk."""
    before = path.read_bytes()
    room = 30
    if missing:  # all but the line end, all but the last brace
        add_trial(open_storage(f"journal:{path}"), 7.0)
        room = len(path.read_bytes()) - len(before) - missing
        path.write_bytes(before)
    done = subprocess.run(
        [sys.executable, "-c", FULL, path, str(room)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert done[0].startswith("refused")
    assert done[1] == "[1.0]"
    assert values(path) == [1.0, 2.0]
    assert path.read_bytes().startswith(before)


# --- what reaches the file, and the disk, and when


@pytest.fixture
def synced(monkeypatch):
    """The sizes of the journal when the disk was waited for, by a clock that stands still."""
    sizes, real = [], os.fsync

    def fsync(file):
        sizes.append(os.fstat(file).st_size)
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(journal, "time", SimpleNamespace(monotonic=lambda: 100.0))
    return sizes


def test_the_disk_is_waited_for_where_a_trial_starts_and_ends_and_once_a_second_between(path, synced, monkeypatch):
    study = optuna.load_study(study_name="s", storage=open_storage(f"journal:{path}"))

    def waits(write):
        """How often the disk is waited for; what is written is in the file, for others to read, when it returns."""
        synced.clear()
        before = path.stat().st_size
        write()
        assert path.stat().st_size > before
        assert synced[-1:] in ([], [path.stat().st_size])
        return len(synced)

    assert waits(lambda: study.set_user_attr("a", 1)) == 1
    trial = study.ask()
    synced.clear()
    assert waits(lambda: trial.suggest_float("x", 0, 1)) == 0
    assert waits(lambda: trial.set_user_attr(JOB, {"seed": 1})) == 1
    assert [waits(lambda step=step: trial.report(0.5, step)) for step in range(3)] == [0, 0, 0]
    monkeypatch.setattr(journal, "time", SimpleNamespace(monotonic=lambda: 101.0))
    assert [waits(lambda step=step: trial.report(0.5, step)) for step in range(3, 6)] == [1, 0, 0]
    assert waits(lambda: trial.set_user_attr(OUTCOME, {"state": "COMPLETE"})) == 0
    assert waits(lambda: study.tell(trial, 2.0)) == 1
    assert waits(lambda: study.enqueue_trial({"x": 0.5})) >= 1


KILLED = """
import os, signal, sys
import optuna
from hpo.storage.open import open_storage
study = optuna.load_study(study_name="s", storage=open_storage(f"journal:{sys.argv[1]}"))
trial = study.ask()
trial.suggest_float("x", 0, 1)
for step in range(5):
    trial.report(step / 2, step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_written_a_moment_before_a_kill_is_there(path):
    with python(KILLED, path) as writer:
        assert writer.wait() == -signal.SIGKILL
    storage = JournalStorage(JournalFileBackend(str(path)))
    *_, trial = optuna.load_study(study_name="s", storage=storage).trials
    assert trial.intermediate_values == {step: step / 2 for step in range(5)}
    assert list(trial.params) == ["x"]


def test_a_writer_does_not_read_its_own_records_again(path, monkeypatch):
    study = optuna.load_study(study_name="s", storage=open_storage(f"journal:{path}"))
    read, real = [], journal.parse
    monkeypatch.setattr(journal, "parse", lambda line: read.append(line) or real(line))
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    for step in range(10):
        trial.report(0.5, step)
    study.tell(trial, 2.0)
    assert [each.value for each in study.trials] == [1.0, 2.0]
    assert read == []
    add_trial(open_storage(f"journal:{path}"), 3.0)  # another writer, which reads all
    read.clear()
    assert [each.value for each in study.trials] == [1.0, 2.0, 3.0] == values(path)
    assert len(read) == 1


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["ask", "report", "attr", "tell", "look"])), max_size=40))
def test_writers_beside_each_other_see_what_optuna_reads(turns):
    with tempfile.TemporaryDirectory() as folder:
        url = f"journal:{folder}/journal.log"
        optuna.create_study(study_name="s", storage=open_storage(url))
        studies = [optuna.load_study(study_name="s", storage=open_storage(url)) for _ in range(3)]
        running = [[], [], []]
        for who, what in turns:
            study, own = studies[who], running[who]
            if what == "ask":
                own.append(study.ask())
                own[-1].suggest_float("x", 0, 1)
            elif what == "look" or not own:
                study.get_trials(deepcopy=False)
            elif what == "report":
                own[-1].report(0.5, len(own[-1]._cached_frozen_trial.intermediate_values))
            elif what == "attr":
                own[-1].set_user_attr("a", {"b": [1, 2.5, "nan", None]})
            else:
                study.tell(own.pop(), 1.0)
        whole = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(f"{folder}/journal.log")))
        assert studies[0].trials == studies[1].trials == studies[2].trials == whole.trials


# --- damaged records


def damage(path, line, content=b"garbage\n"):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = content
    path.write_bytes(b"".join(lines))


DAMAGED = {
    "no JSON": b"garbage\n",
    "zeros": b"\0\0\0\n",
    "no text": b'{"op_code":9,"worker_id":"\xff"}\n',
    "no record": b"5\n",
    "empty": b"\n",
    "nested": b"[" * 100_000 + b"\n",
    "key missing": b'{"op_code":5,"worker_id":"a"}\n',
    "unknown kind": b'{"op_code":77,"worker_id":"a"}\n',
    "kind of a wrong type": b'{"op_code":[1],"worker_id":"a"}\n',
    "wrong type": b'{"op_code":6,"worker_id":"a","trial_id":0,"state":1,"values":"1"}\n',
    "no time": b'{"op_code":4,"worker_id":"a","study_id":0,"datetime_start":"yesterday"}\n',
}


@pytest.mark.parametrize("record", DAMAGED.values(), ids=DAMAGED)
def test_damage_in_the_middle_names_the_line_and_what_to_do(path, record):
    damage(path, 2, record)
    with pytest.raises(StorageError, match=r"journal\.log:2: this record of the journal is damaged: .*doctor --fix"):
        open_storage(f"journal:{path}")


@pytest.mark.parametrize("record", DAMAGED.values(), ids=DAMAGED)
def test_damage_that_a_living_driver_meets_is_a_sentence_each_time(path, record):
    storage = open_storage(f"journal:{path}")
    line = path.read_bytes().count(b"\n") + 1
    with path.open("ab") as file:
        file.write(record + b'{"op_code":10}\n')
    for _ in range(2):
        with pytest.raises(StorageError, match=rf"journal\.log:{line}: this record"):
            storage.get_all_studies()


def test_nothing_is_written_behind_a_damaged_record(path):
    storage = open_storage(f"journal:{path}")
    with path.open("ab") as file:
        file.write(b"garbage\n")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="the last record of the journal is damaged: it is not JSON"):
        add_trial(storage, 2.0)
    assert path.read_bytes() == before


def test_a_journal_that_is_gone_is_not_begun_anew(path):
    storage = open_storage(f"journal:{path}")
    path.unlink()
    with pytest.raises(OSError, match=r"journal\.log"):
        add_trial(storage, 2.0)
    assert not path.exists()


def test_a_journal_that_was_repaired_is_read_anew(path):
    """As a driver of another runs folder, or the dashboard, sees it."""
    storage = open_storage(f"journal:{path}")
    study = optuna.load_study(study_name="s", storage=storage)
    trial = study.ask()
    note = b'{"op_code":8,"worker_id":"x","trial_id":-1,"user_attr":{"a":"%s"}}\n' % (b"y" * 100)
    lines = path.read_bytes().splitlines(keepends=True)
    path.rename(path.with_name("old"))
    path.write_bytes(b"".join([lines[0], note, *lines[1:]]))
    trial.suggest_float("x", 0, 1)
    study.tell(trial, 3.0)
    assert [trial.value for trial in study.trials] == [1.0, 3.0] == values(path)
    assert trial.number == 1


# --- the lock

HOLD = """
import os, signal, sys
from pathlib import Path
from hpo.storage.journal_lock import JournalLock
lock = JournalLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
if sys.argv[2] == "die":
    os._exit(9)
os.kill(os.getpid(), signal.SIGSTOP)
lock.release()
"""


@pytest.fixture
def stopped(path, monkeypatch):
    """A process that was stopped while it held the lock."""
    monkeypatch.setattr(journal_lock, "_QUIET_SECONDS", 0.2)
    holder = python(HOLD, path, "stop", stdout=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    wait_until(lambda: psutil.Process(holder.pid).status() == psutil.STATUS_STOPPED)
    yield holder
    holder.kill()
    holder.communicate()


def test_reading_needs_no_lock(path, stopped):
    storage = open_storage(f"journal:{path}")
    assert [trial.value for trial in optuna.load_study(study_name="s", storage=storage).trials] == [1.0]


def test_a_lock_held_by_a_stopped_process_is_said_with_what_to_do(path, stopped, monkeypatch):
    monkeypatch.setattr(journal_lock, "SHORT_PATIENCE", 0.5)
    storage = open_storage(f"journal:{path}")
    with pytest.raises(StorageLocked) as caught:
        add_trial(storage, 2.0)
    words = str(caught.value)
    assert f"the journal {path} has been locked for" in words
    assert f"by process {stopped.pid} (" in words
    assert f"which was stopped: `kill -CONT {stopped.pid}` lets it go on" in words


def test_a_driver_says_whom_it_waits_for_and_goes_on(path, stopped):
    said = []

    def say(sentence):
        said.append(sentence)
        stopped.send_signal(signal.SIGCONT)

    assert add_trial(open_storage(f"journal:{path}", say), 2.0) == [1.0, 2.0]
    waits, goes_on = said
    assert f"by process {stopped.pid} (" in waits
    assert "which was stopped" in waits
    assert "the study waits for it, at most 600 s" in waits
    assert "is free again" in goes_on


def test_a_wait_for_the_lock_can_be_ended(path, stopped):
    storage = open_storage(f"journal:{path}", lambda _: storage.stop_waiting())
    with pytest.raises(StorageLocked, match=f"by process {stopped.pid} "):
        add_trial(storage, 2.0)


def test_a_lock_left_by_a_killed_driver_does_not_hold_up_the_next(path, monkeypatch):
    with python(HOLD, path, "die", stdout=subprocess.DEVNULL) as holder:
        holder.wait()
    assert os.path.lexists(f"{path}.lock")
    monkeypatch.setattr(journal_lock, "_GRACE_SECONDS", float("inf"))
    monkeypatch.setattr(journal_lock, "SHORT_PATIENCE", 30.0)
    optuna.create_study(study_name="t", storage=open_storage(f"journal:{path}"))
    assert not os.path.lexists(f"{path}.lock")


def test_a_lock_held_by_another_program_is_waited_for(path):
    code = (
        "import sys, time; from optuna.storages.journal import JournalFileSymlinkLock as L; "
        "lock = L(sys.argv[1]); lock.acquire(); print('held', flush=True); time.sleep(1); "
        "print(time.monotonic()); lock.release()"
    )
    with python(code, path, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        optuna.create_study(study_name="t", storage=open_storage(f"journal:{path}"))
        ended = time.monotonic()
        assert ended > float(holder.stdout.readline())  # one clock for all processes


def test_a_lock_that_another_program_left_behind_is_taken_from_it(path, monkeypatch):
    assert JournalFileSymlinkLock(str(path)).acquire()  # and never released
    storage = open_storage(f"journal:{path}")
    monkeypatch.setattr(journal_lock, "SHORT_PATIENCE", 0.2)
    with pytest.raises(StorageLocked, match="by a program other than hpo, such as optuna-dashboard"):
        add_trial(storage, 2.0)
    monkeypatch.setattr(journal_lock, "SHORT_PATIENCE", 60.0)
    monkeypatch.setattr(journal_lock, "_GRACE_SECONDS", 0.1)
    assert add_trial(storage, 2.0) == [1.0, 2.0]


def test_a_lock_that_was_taken_away_meanwhile_is_given_up_without_a_word(path):
    """As after a stop of more than 30 s: Optuna's own programs do not wait longer."""
    lock = journal_lock.JournalLock(path)
    lock.acquire()
    other = JournalFileSymlinkLock(str(path))
    os.unlink(f"{path}.lock")
    other.acquire()
    lock.release()
    assert os.readlink(f"{path}.lock") == str(path)  # the other's is left alone
    other.release()


WRITE = """
import sys
import optuna
from hpo.storage.open import open_storage
study = optuna.load_study(study_name="s", storage=open_storage(f"journal:{sys.argv[1]}"))
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    study.add_trial(optuna.trial.create_trial(value=float(sys.argv[3])))
"""


def test_many_writers_write_whole_records_whatever_is_torn_between_them(path):
    writers = [python(WRITE, path, 20, value, stdout=subprocess.PIPE) for value in (2, 3, 4)]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    # As a program that knows nothing of the lock, and dies in the middle of it.
    while any(writer.poll() is None for writer in writers):
        with journal_lock.journal_lock(path), path.open("ab") as file:
            file.write(b'{"op_code":4,"worker_id":"x","stu')
        time.sleep(0.02)
    assert all(writer.wait() == 0 for writer in writers)
    for writer in writers:
        writer.stdout.close()
    add_trial(open_storage(f"journal:{path}"), 5.0)
    found = values(path)
    assert sorted(found) == [1.0, *([2.0] * 20), *([3.0] * 20), *([4.0] * 20), 5.0]
    for line in path.read_text().splitlines():
        json.loads(line)
