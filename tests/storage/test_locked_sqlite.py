"""A SQLite file that another program locks, under a study that runs."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace

import optuna
import pytest
from books import TPE, TRIALS, check_books, processes_of, start
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import event
from waiting import PATIENCE, leftover, wait_until

from hpo.errors import StorageError, StorageLocked
from hpo.storage import absence
from hpo.storage.absence import LOCKED_FILE, is_locked
from hpo.storage.open import close_storage, open_storage, stop_waiting
from hpo.storage.reconnecting import ReconnectingStorage

MODES = ["wal", "delete"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "study.db"


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Tries and what goes unsaid last shorter than for users."""
    monkeypatch.setattr(absence, "_BUSY_SECONDS", 0.05)


class Holder:
    """Another connection that holds the file, from `take` on; in WAL mode writers are kept out, else readers too."""

    def __init__(self, file):
        self._file = file
        self._connection = None

    def take(self):
        self._connection = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
        self._connection.execute("begin exclusive")

    def drop(self):
        self._connection.execute("commit")
        self._connection.close()


@pytest.fixture
def holder(file):
    return Holder(file)


@pytest.fixture(params=MODES)
def storage(request, file):
    """A driver's storage, in either journal mode: not every file system has shared memory for WAL."""
    said = []
    storage = open_storage(f"sqlite:///{file}", said.append)
    if request.param == "delete":
        with storage.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode=DELETE").scalar() == "delete"
        storage.engine.dispose()
    storage.said = said
    yield storage
    close_storage(storage)


def waiting(x):
    return optuna.trial.create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"x": x}})


def test_a_lock_that_ends_is_waited_for_and_said_once(storage, holder, monkeypatch):
    monkeypatch.setattr(storage, "_absence", replace(LOCKED_FILE, quiet=0.2))
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    for _ in range(2):
        storage.said.clear()
        holder.take()
        free = threading.Timer(1.0, holder.drop)
        free.start()
        storage.create_new_trial(study)
        free.join()
        locked, again = storage.said
        assert locked.startswith(f"the database {storage.url} is locked since ")
        assert "another program holds it, such as optuna-dashboard, a backup or a SQLite shell" in locked
        assert locked.endswith("the study waits for it, at most 600 s")
        assert again.startswith(f"the database {storage.url} is free again after ")
    assert [trial.number for trial in storage.get_all_trials(study)] == [0, 1]


def test_a_short_lock_is_not_worth_a_word(storage, holder):
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    holder.take()
    free = threading.Timer(0.5, holder.drop)
    free.start()
    storage.create_new_trial(study)
    free.join()
    assert storage.said == []


def lock_at(storage, holder, fatal, seconds=0.3):
    """Locks the file before the statement of that number (COMMIT is one), and frees it after a while. Returns a list to
    which each statement adds."""
    statements, timers = [], []

    def lock(*_):
        statements.append(0)
        if len(statements) == fatal:
            with contextlib.suppress(sqlite3.OperationalError):  # the storage holds it itself, and cannot be locked out
                sqlite3.connect(holder._file, timeout=0).execute("begin exclusive").connection.close()
                holder.take()
                timers.append(threading.Timer(seconds, holder.drop))
                timers[-1].start()

    event.listen(storage.engine, "before_cursor_execute", lock)
    event.listen(storage.engine, "commit", lock)

    def end():
        event.remove(storage.engine, "before_cursor_execute", lock)
        event.remove(storage.engine, "commit", lock)
        for timer in timers:
            timer.join()

    return statements, end


def test_a_lock_at_any_statement_loses_and_doubles_nothing(storage, holder):
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)

    def write(number):
        """All that a driver does with a trial, under a study of the number."""
        study = storage.create_new_study([StudyDirection.MAXIMIZE], f"s{number}")
        trial = storage.create_new_trial(study, waiting(0.5))
        assert storage.set_trial_state_values(trial, TrialState.RUNNING) is True
        storage.set_trial_param(trial, "x", 0.25, distribution)
        storage.set_trial_intermediate_value(trial, 3, 0.5)
        storage.set_trial_user_attr(trial, "a", [1, 2])
        storage.set_study_user_attr(study, "d", 1)
        assert storage.set_trial_state_values(trial, TrialState.COMPLETE, [0.1 + 0.2]) is True
        storage.create_new_trial(study)
        return study

    statements, end = lock_at(storage, holder, 0)
    write(0)
    end()
    moments = len(statements)
    assert moments > 30
    for fatal in range(1, moments + 1, 3):
        _, end = lock_at(storage, holder, fatal, seconds=0.1)
        study = write(fatal)
        end()
        first, second = storage.get_all_trials(study)
        assert (first.number, first.state, first.values) == (0, TrialState.COMPLETE, [0.1 + 0.2])
        assert (first.params, first.intermediate_values, first.user_attrs) == ({"x": 0.25}, {3: 0.5}, {"a": [1, 2]})
        assert (second.number, second.state) == (1, TrialState.RUNNING)
        assert storage.get_study_user_attrs(study) == {"d": 1}


def test_a_trial_that_another_program_makes_meanwhile_is_not_taken_for_ones_own(file):
    """SQLite gives the id of a transaction that was rolled back to the next one that asks."""
    storage = open_storage(f"sqlite:///{file}", pytest.fail)
    other = open_storage(f"sqlite:///{file}", keep=False)
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
    storage.engine.dispose()
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    reader = sqlite3.connect(file, isolation_level=None)
    enqueued = []

    def read(_):
        """Keep the COMMIT out, as a reader does in this journal mode."""
        if not reader.in_transaction and not enqueued:
            reader.execute("begin")
            reader.execute("select * from trials").fetchall()

    def enqueue(*_):
        """Make a trial between the COMMIT that was refused and the next try."""
        reader.execute("commit")
        enqueued.append(other.create_new_trial(study, waiting(0.5)))

    storage._wait = enqueue
    event.listen(storage.engine, "commit", read)
    made = storage._create_new_trial(study)
    assert len(enqueued) == 1
    trials = other.get_all_trials(study)
    assert [(trial.number, trial.state) for trial in trials] == [(0, TrialState.WAITING), (1, TrialState.RUNNING)]
    assert (made.number, made._trial_id) == (1, trials[1]._trial_id)
    reader.close()
    close_storage(storage)
    close_storage(other)


def test_a_lock_that_stays_is_given_up(file, holder):
    said = []
    storage = ReconnectingStorage(f"sqlite:///{file}", said.append, LOCKED_FILE, patience=0.5)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    holder.take()
    with pytest.raises(StorageInternalError, match=r"the database has been locked for \d+ s: another program holds it"):
        storage.create_new_trial(study)
    holder.drop()
    assert storage.get_all_trials(study) == []
    close_storage(storage)


def test_a_signal_can_end_the_wait(storage, holder):
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    holder.take()
    earlier = signal.signal(signal.SIGALRM, lambda number, frame: stop_waiting(storage))
    try:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.7)
        with pytest.raises(StorageInternalError, match="has been locked"):
            storage.create_new_trial(study)
        assert 0.6 < time.monotonic() - began < PATIENCE
    finally:
        signal.signal(signal.SIGALRM, earlier)
        holder.drop()
    assert storage.get_all_trials(study) == []


@pytest.mark.parametrize("made", [False, True], ids=["new", "made"])
def test_a_file_that_is_locked_while_it_is_opened_is_waited_for_by_a_driver(file, holder, made):
    if made:
        close_storage(open_storage(f"sqlite:///{file}"))
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    said = []
    holder.take()
    free = threading.Timer(0.6, holder.drop)
    free.start()
    storage = open_storage(f"sqlite:///{file}", said.append)
    free.join()
    storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    assert said == []
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    close_storage(storage)


def test_what_only_reads_a_locked_file_says_so(file, holder, monkeypatch):
    close_storage(open_storage(f"sqlite:///{file}"))
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    holder.take()
    monkeypatch.setattr("hpo.storage.open.READER_SECONDS", 0.1)
    with pytest.raises(StorageLocked, match=r"is locked: another program holds it, .* Try again when it has ended"):
        open_storage(f"sqlite:///{file}", keep=False)
    holder.drop()
    close_storage(open_storage(f"sqlite:///{file}", keep=False))


def test_other_errors_are_no_lock(file):
    storage = open_storage(f"sqlite:///{file}", pytest.fail)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # a full disk
        with pytest.raises(Exception, match="full") as full:
            connection.exec_driver_sql("create table t as select zeroblob(1000000)")
    assert not is_locked(full.value)
    close_storage(storage)
    for path in file.parent.glob("study.db*"):
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError) as broken:
        open_storage(f"sqlite:///{file}", pytest.fail)
    assert not isinstance(broken.value, StorageLocked)
    assert study


SLOW = {"engine": {"workers": 2}, "budget": {"trials": TRIALS}, "constants": {"seconds": 0.05}, **TPE}


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(3))
def test_a_study_outlives_locks_of_its_file(study_yaml, runs, file, moment):
    chance = random.Random(5000 + moment)
    driver = start(study_yaml("slow", storage=f"sqlite:///{file}", **SLOW), runs)
    wait_until(lambda: (runs / "toy/trials/1").exists() or driver.poll() is not None)
    code = "import sqlite3, sys, time\nc = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
    code += "c.execute('begin exclusive'); print(flush=True); time.sleep(float(sys.argv[2])); c.execute('commit')"
    for _ in range(2):
        time.sleep(chance.uniform(0.0, 1.0))
        subprocess.run([sys.executable, "-c", code, str(file), "8"], check=True, stdout=subprocess.DEVNULL)
    said = driver.communicate(timeout=600)[0]
    assert driver.returncode == 0, said
    assert "Traceback" not in said
    assert said.count(" is locked since ") == said.count(" is free again after ")
    trials, finished = check_books(runs, TRIALS)
    assert len(trials) == TRIALS
    assert all(trial.state.name != "FAIL" for trial in finished)
    assert not leftover(processes_of(runs))
