"""A PostgreSQL server that is restarted, crashes, or loses single answers, under a study that runs."""

from __future__ import annotations

import inspect
import random
import re
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import optuna
import psycopg
import pytest
from books import TPE, TRIALS, check_books, finish, lineage, processes_of, start
from mlflow_reading import check_all_is_there, in_postgresql, parent_of
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from servers import PostgreSQL, Wire
from sqlalchemy import event
from waiting import PATIENCE, leftover, wait_until

from hpo import layout
from hpo.cli.main import main
from hpo.errors import StorageMissing
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage.absence import libpq_timeouts
from hpo.storage.load_study import load_study
from hpo.storage.open import close_storage, open_storage, stop_waiting
from hpo.storage.reconnecting import ReconnectingStorage

LOST = ["before", "after"]
MODES = ["fast", "immediate", "kill"]
ENGINES = ["local", "ray"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = PostgreSQL(tmp_path_factory.mktemp("postgresql"))
    yield server
    server.close()


@pytest.fixture
def url(server):
    """A database of the test's own, on the server, which runs again afterwards."""
    yield server.url(uuid.uuid4().hex)
    server.start()


@pytest.fixture
def wire(server):
    wire = Wire(server.port)
    yield wire
    wire.close()


@pytest.fixture
def storage(server, wire):
    """A driver's storage by way of the wire. What it says is a failure."""
    storage = open_storage(wire.url(server.url("units")), pytest.fail)
    yield storage
    close_storage(storage)


@pytest.fixture
def study(storage, request):
    """The id of a study without trials."""
    return storage.create_new_study([StudyDirection.MAXIMIZE], request.node.name)


def lose_next(wire, how):
    """The next COMMIT, or what else the wire looks for, and no other."""
    at = wire.passed + 1
    wire.lose = lambda n: how if n == at else ""


def waiting(x):
    return optuna.trial.create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"x": x}})


def stop(server, mode):
    server.kill() if mode == "kill" else server.stop(mode)


# --- single operations


def test_only_the_storage_of_a_driver_waits(server, tmp_path):
    for url, say, kind in [
        (server.url("units"), print, ReconnectingStorage),
        (server.url("units"), None, RDBStorage),
        (f"sqlite:///{tmp_path}/study.db", print, ReconnectingStorage),
        (f"sqlite:///{tmp_path}/study.db", None, RDBStorage),
    ]:
        storage = open_storage(url, say)
        assert type(storage) is kind
        # Optuna keeps what it has read of an RDBStorage in memory.
        assert type(optuna.create_study(storage=storage)._storage).__name__ == "_CachedStorage"
        close_storage(storage)


def test_a_server_is_read_and_not_written(server):
    url = server.url("readers")
    with pytest.raises(StorageMissing, match="holds no study"):  # no tables are made
        open_storage(url, readonly=True)
    storage = open_storage(url)
    study = optuna.create_study(study_name="s", storage=storage)
    study.tell(study.ask(), 1.0)
    reading = open_storage(url, readonly=True)
    seen = optuna.load_study(study_name="s", storage=reading)
    assert [trial.value for trial in seen.trials] == [1.0]
    with pytest.raises(StorageInternalError):
        seen.set_user_attr("a", 1)
    close_storage(reading)
    close_storage(storage)


def test_an_empty_database_can_be_opened_by_several_at_once(url):
    together = threading.Barrier(6)

    def open_it(n):
        together.wait()
        storage = open_storage(url, pytest.fail, keep=n % 2 == 0)
        study = optuna.create_study(study_name=f"s{n}", storage=storage)
        study.tell(study.ask(), 1.0)
        close_storage(storage)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_it, range(6)))
    studies = open_storage(url, keep=False).get_all_studies()
    assert sorted(study.study_name for study in studies) == [f"s{n}" for n in range(6)]


def test_every_operation_of_optunas_storage_is_done_again():
    opening = {
        name
        for name, method in vars(RDBStorage).items()
        if inspect.isfunction(method) and "_create_scoped_session(" in inspect.getsource(method)
    }
    assert len(opening) > 20
    # Its public name goes through this one.
    assert opening - vars(ReconnectingStorage).keys() == set()


@pytest.mark.parametrize("template", [None, waiting(0.5)], ids=["asked", "enqueued"])
@pytest.mark.parametrize("how", LOST)
def test_a_trial_is_made_once(storage, study, wire, how, template):
    first = storage.create_new_trial(study, template)
    lose_next(wire, how)
    made = storage._create_new_trial(study, template)
    assert [trial._trial_id for trial in storage.get_all_trials(study)] == [first, made._trial_id]
    assert made.number == 1
    assert made.state == (template.state if template else TrialState.RUNNING)
    stored = storage.get_trial(made._trial_id)
    assert (stored.number, stored.state, stored.datetime_start) == (1, made.state, made.datetime_start)
    assert stored.system_attrs == (template.system_attrs if template else {})
    assert storage._create_new_trial(study, template).number == 2


@pytest.mark.parametrize("how", LOST)
def test_a_waiting_trial_that_was_started_is_given_to_the_one_who_asked(storage, study, wire, how):
    number = storage.create_new_trial(study, waiting(0.5))
    lose_next(wire, how)
    assert storage.set_trial_state_values(number, TrialState.RUNNING) is True
    assert storage.get_trial(number).state == TrialState.RUNNING
    assert storage.set_trial_state_values(number, TrialState.RUNNING) is False


@pytest.mark.parametrize(
    ("state", "values"), [(TrialState.COMPLETE, [0.1 + 0.2]), (TrialState.PRUNED, [1 / 3]), (TrialState.FAIL, None)]
)
@pytest.mark.parametrize("how", LOST)
def test_a_trial_is_ended_once(storage, study, wire, how, state, values):
    number = storage.create_new_trial(study)
    lose_next(wire, how)
    assert storage.set_trial_state_values(number, state, values) is True
    trial = storage.get_trial(number)
    assert (trial.state, trial.values) == (state, values)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(number, state, values)


def test_a_trial_that_another_ended_meanwhile_is_not_taken_for_ones_own(server, storage, study, wire):
    number = storage.create_new_trial(study)
    dashboard = open_storage(server.url("units"), keep=False)

    def end_it(connection, record):
        dashboard.set_trial_state_values(number, TrialState.FAIL)

    # While the driver connects again.
    event.listen(storage.engine, "connect", end_it, once=True)
    lose_next(wire, "before")
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(number, TrialState.COMPLETE, [1.0])
    assert storage.get_trial(number).state == TrialState.FAIL


@pytest.mark.parametrize("how", LOST)
def test_a_study_is_made_once_and_deleted_once(storage, wire, how):
    name = f"made-{how}"
    lose_next(wire, how)
    study = storage.create_new_study([StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE], name)
    assert storage.get_study_directions(study) == [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    with pytest.raises(DuplicatedStudyError):
        storage.create_new_study([StudyDirection.MINIMIZE], name)
    lose_next(wire, how)
    storage.delete_study(study)
    assert name not in [known.study_name for known in storage.get_all_studies()]
    with pytest.raises(KeyError):
        storage.delete_study(study)
    before = len(storage.get_all_studies())
    lose_next(wire, how)
    storage.create_new_study([StudyDirection.MINIMIZE])
    assert len(storage.get_all_studies()) == before + 1


def test_a_study_that_was_there_before_is_not_taken_for_a_new_one(storage, wire):
    study = storage.create_new_study([StudyDirection.MINIMIZE], "taken")
    storage.create_new_trial(study)
    storage.create_new_study([StudyDirection.MINIMIZE], "empty")
    wire.sign = b"INSERT INTO studies"
    for name, directions in (("taken", [StudyDirection.MINIMIZE]), ("empty", [StudyDirection.MAXIMIZE])):
        lose_next(wire, "before")
        with pytest.raises(DuplicatedStudyError):
            storage.create_new_study(directions, name)
    assert wire.passed > 4


@pytest.mark.parametrize("how", LOST)
def test_values_are_written_once(storage, study, wire, how):
    number = storage.create_new_trial(study)
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    for write in (
        lambda: storage.set_trial_param(number, "x", 0.25, distribution),
        lambda: storage.set_trial_intermediate_value(number, 3, 0.5),
        lambda: storage.set_trial_user_attr(number, "a", [1, 2]),
        lambda: storage.set_trial_system_attr(number, "b", {"c": 1}),
        lambda: storage.set_study_user_attr(study, "d", 1),
        lambda: storage.set_study_system_attr(study, "e", 2),
    ):
        lose_next(wire, how)
        write()
    trial = storage.get_trial(number)
    assert (trial.params, trial.intermediate_values) == ({"x": 0.25}, {3: 0.5})
    assert (trial.user_attrs, trial.system_attrs) == ({"a": [1, 2]}, {"b": {"c": 1}})
    assert (storage.get_study_user_attrs(study), storage.get_study_system_attrs(study)) == ({"d": 1}, {"e": 2})


def test_an_error_that_no_second_try_would_mend_is_raised_at_once(storage, study, wire):
    before = wire.passed
    with pytest.raises(StorageInternalError):
        storage.set_study_user_attr(study, "k" * 5000, 1)
    with pytest.raises(KeyError):
        storage.get_trial(10**6)
    assert wire.passed == before


# --- the wait


def test_a_connection_that_is_cut_is_no_news(server, storage, study):
    for _ in range(3):
        server.cut()
        storage.create_new_trial(study)
    assert [trial.number for trial in storage.get_all_trials(study)] == [0, 1, 2]


def test_a_connection_that_is_cut_at_any_statement_makes_no_second_trial(server, storage, study):
    statements, fatal = 0, 0

    def cut(*_):
        nonlocal statements
        statements += 1
        if statements == fatal:
            server.cut()

    event.listen(storage.engine, "before_cursor_execute", cut)
    storage.create_new_trial(study, waiting(0.5))
    moments = statements
    assert moments >= 5
    while fatal < moments:
        statements, fatal = 0, fatal + 1
        storage.create_new_trial(study, waiting(0.5))
        assert statements > moments
    assert [trial.number for trial in storage.get_all_trials(study)] == list(range(1 + moments))


@pytest.mark.parametrize(
    "mode", [pytest.param("fast", marks=pytest.mark.slow), "immediate", pytest.param("kill", marks=pytest.mark.slow)]
)
def test_a_server_that_comes_back_is_waited_for_and_said_once(server, url, mode):
    said = []
    storage = ReconnectingStorage(url, said.append)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    for _ in range(2):
        said.clear()
        stop(server, mode)
        started = []

        def start_again(started=started):
            started.append(time.monotonic())
            server.start()

        back = threading.Timer(1.0, start_again)
        back.start()
        storage.create_new_trial(study)
        assert started
        assert time.monotonic() - started[0] < 60  # not the 600 s for which it is waited at most
        back.join()
        storage.get_all_trials(study)
        away, again = said
        assert away.startswith(f"the database {url} is away since ")
        assert away.endswith("Connection refused); the study waits for it, at most 600 s")
        assert again.startswith(f"the database {url} is back after ")
    assert [trial.number for trial in storage.get_all_trials(study)] == [0, 1]
    close_storage(storage)


def test_a_server_that_stays_away_is_given_up(server, url):
    said = []
    storage = ReconnectingStorage(url, said.append, patience=0.5)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    server.stop()
    began = time.monotonic()
    with pytest.raises(StorageInternalError, match=r"the database has been away for \d+ s \(.*Connection refused\)"):
        storage.create_new_trial(study)
    assert 0.5 <= time.monotonic() - began < PATIENCE
    assert len(said) == 1
    close_storage(storage)


def test_a_signal_can_end_the_wait(server, url):
    storage = open_storage(url, lambda text: None)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    server.stop()
    earlier = signal.signal(signal.SIGALRM, lambda number, frame: stop_waiting(storage))
    try:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.7)
        with pytest.raises(StorageInternalError, match="has been away"):
            storage.create_new_trial(study)
        assert 0.6 < time.monotonic() - began < PATIENCE
    finally:
        signal.signal(signal.SIGALRM, earlier)
    server.start()
    assert storage.get_all_trials(study) == []  # it still works as long as nothing fails
    close_storage(storage)


def test_what_a_url_says_of_time_is_kept():
    plain = libpq_timeouts("postgresql://ann@db/hpo")
    assert (plain["connect_timeout"], plain["tcp_user_timeout"]) == (10, 60_000)
    own = libpq_timeouts("postgresql+psycopg2://ann@db/hpo?connect_timeout=3")
    assert own == {name: value for name, value in plain.items() if name != "connect_timeout"}
    assert libpq_timeouts("mysql+pymysql://ann@db/hpo") == {}


# --- whole studies


def table(name, runs):
    """What a study has found out, without ids and times."""
    rows = []
    for trial in load_study(runs, name)[1].trials:
        outcome = {key: trial.user_attrs["hpo:outcome"][key] for key in ("state", "cause", "metrics", "requeued")}
        origin = trial.user_attrs.get("hpo:origin")
        rows.append((trial.number, trial.state, trial.values, trial.params, trial.intermediate_values, origin, outcome))
    return rows


# Enqueued and sampled trials, complete and pruned ones.
SMALL = {
    "engine": {"name": "inline"},
    "budget": {"trials": 3},
    "enqueue": [{"x": 0.25}, {"x": 0.9}],
    "pruner": {"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
}


@pytest.fixture
def small(study_yaml, runs, server, wire):
    """Runs the small study under a name. `lose` is asked about the COMMITs after those of opening its storage. Returns
    its table and how many those were."""
    url = wire.url(server.url(uuid.uuid4().hex))
    for _ in range(2):  # the first time, it makes its tables
        began = wire.passed
        close_storage(open_storage(url))
    opening = wire.passed - began

    def study(name, lose=lambda n: ""):
        began = wire.passed + opening
        wire.lose = lambda n: lose(n - began) if n > began else ""
        run(load_spec(study_yaml(name=name, storage=url, **SMALL)), runs)
        wire.lose = lambda n: ""
        commits = wire.passed - began
        return table(name, runs), commits

    return study


@pytest.mark.slow
@pytest.mark.timeout(900)  # hundreds of statements, each through a proxy: seconds, or minutes on a busy machine
def test_a_study_whose_answers_are_lost_again_and_again_is_the_same(small):
    expected, commits = small("calm")
    assert {row[1].name for row in expected} == {"COMPLETE", "PRUNED"}
    assert commits > 60
    # Every second one, before the server got it and after it did in turn.
    found, more = small("lost", lambda n: LOST[n // 2 % 2] if n % 2 else "")
    assert found == expected
    assert more > 1.8 * commits


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", LOST)
def test_a_study_that_loses_any_one_answer_is_the_same(small, how):
    expected, commits = small("calm")
    for moment in range(1, commits + 1):
        assert small(f"{how}-{moment}", lambda n, moment=moment: how if n == moment else "")[0] == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", LOST)
def test_a_study_whose_server_crashes_at_a_commit_is_the_same(small, server, wire, how):
    expected, commits = small("calm")

    def crash():
        server.stop("immediate")
        server.start()

    wire.lost = crash
    for moment in range(1, commits, 3):
        assert small(f"crash-{how}-{moment}", lambda n, moment=moment: how if n == moment else "")[0] == expected


# --- the process that drives a study

SLOW = {"engine": {"workers": 2}, "budget": {"trials": TRIALS}, "constants": {"seconds": 0.05}, **TPE}


def restart(server, driver, runs, mode, chance, times, name="toy"):
    """Takes the server away under a driver for a while, now and then, as long as a trial is still to come. Returns how
    often."""
    study = runs / name
    while not (study / "study.yaml").exists():  # its storage is open
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.02)
    for done in range(times):
        time.sleep(chance.uniform(0.0, 1.5))
        if (study / "trials" / str(TRIALS - 1)).exists():
            return done
        before = away(study)
        stop(server, mode)
        # On a busy machine the driver may have nothing to write for a while, and not notice.
        wait_until(lambda before=before: away(study) > before or driver.poll() is not None)
        time.sleep(chance.uniform(0.5, 1.5))
        server.start()
        # Between two tries it waits for seconds: a server that comes and goes meanwhile was away once.
        wait_until(lambda: times_said(study, " is back after ") == away(study) or driver.poll() is not None)
    return times


def away(study):
    """How often its driver has said that the database is away."""
    return times_said(study, " is away since ")


def times_said(study, words):
    log = study / layout.DRIVER_LOG
    return log.read_text().count(words) if log.exists() else 0


def output_of(driver, code=0):
    said = driver.communicate(timeout=600)[0]
    assert driver.returncode == code, said
    assert "Traceback" not in said
    return said


def moments():
    """The first kill is a fast test."""
    pairs = [(mode, moment) for moment in range(4) for mode in reversed(MODES)]
    return [pytest.param(*pair, marks=[] if k == 0 else pytest.mark.slow) for k, pair in enumerate(pairs)]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "moment"), moments())
def test_a_study_outlives_restarts_of_its_server(study_yaml, runs, server, url, mode, moment):
    chance = random.Random(3000 + moment)
    driver = start(study_yaml("slow", storage=url, **SLOW), runs)
    restarts = restart(server, driver, runs, mode, chance, 1 + moment)
    said = output_of(driver)
    assert min(1, restarts) <= said.count(" is away since ") <= restarts
    assert said.count(" is away since ") == said.count(" is back after ")
    trials, finished = check_books(runs, TRIALS)
    assert len(trials) == TRIALS  # no attempt was lost either
    assert all(trial.state.name != "FAIL" for trial in finished)
    assert not leftover(processes_of(runs))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(6))
def test_after_restarts_under_both_the_study_and_mlflow_have_every_trial(study_yaml, runs, server, moment, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    chance = random.Random(4000 + moment)
    stores = [server.url(uuid.uuid4().hex) for _ in range(2)]
    path = study_yaml("slow", storage=stores[0], mlflow=stores[1], **SLOW | {"constants": {"seconds": 0.5}})
    driver = start(path, runs)
    restart(server, driver, runs, MODES[moment % 3], chance, 6)
    said = output_of(driver)
    assert "lacks runs" not in said
    assert "could not be written" not in said
    check_books(runs, TRIALS)
    found = in_postgresql(stores[1])
    check_all_is_there(runs, "toy", found)
    assert parent_of(found).status == "FINISHED"
    assert not leftover(processes_of(runs))


@pytest.mark.slow
def test_what_writes_to_mlflow_may_begin_while_the_server_is_away(study_yaml, runs, server, url, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = server.url(uuid.uuid4().hex)
    driver = start(study_yaml("slow", storage=url, mlflow=store, **SLOW), runs)
    log = runs / "toy" / "mlflow.log"
    while not log.exists():
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.005)
    server.stop()
    while "cannot be opened" not in log.read_text():
        time.sleep(0.05)
    server.start()
    said = output_of(driver)
    assert "what writes to MLflow has ended" not in said
    check_books(runs, TRIALS)
    check_all_is_there(runs, "toy", in_postgresql(store))


@pytest.mark.slow
def test_a_server_that_is_restarted_at_the_very_end_costs_mlflow_nothing(study_yaml, runs, server, url, tmp_path):
    constants = {"until": str(tmp_path / "go")}
    driver = start(study_yaml("waits", mlflow=url, constants=constants, budget={"trials": 1}), runs)
    while not written(url):
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.1)
    server.stop()
    (tmp_path / "go").touch()
    heard = ""
    while "writing the last runs to MLflow" not in heard:
        heard += driver.stdout.readline()
    server.start()
    said = heard + output_of(driver)
    assert "lacks runs" not in said
    found = in_postgresql(url)
    check_all_is_there(runs, "toy", found)
    assert parent_of(found).status == "FINISHED"


def written(url):
    """Whether MLflow has a metric of a trial there; its tables may still lack or change columns."""
    try:
        return any(run.metrics for run in in_postgresql(url))
    except psycopg.errors.ProgrammingError:
        return False


class Hasty(ReconnectingStorage):
    def __init__(self, url, say):
        super().__init__(url, say, patience=1.0)


@pytest.mark.slow
def test_a_server_that_never_comes_back_ends_the_study_in_a_sentence_and_the_same_command_resumes(
    study_yaml, runs, server, url, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("hpo.storage.reconnecting.ReconnectingStorage", Hasty)
    path = study_yaml(
        "waits",
        storage=url.replace("postgres@", "postgres:secret@"),
        constants={"until": str(tmp_path / "go")},
        engine={"workers": 2},
    )

    def leave():
        while not (runs / "toy" / "trials" / "1" / "history.jsonl").exists():
            time.sleep(0.02)
        server.stop()
        (tmp_path / "go").touch()

    leaving = threading.Thread(target=leave)
    leaving.start()
    assert main(["run", str(path), "--runs", str(runs)]) == 1
    leaving.join()
    said = capsys.readouterr()
    assert f"the database {url} is away since " in said.out
    assert re.fullmatch(
        r"hpo: writing the study failed: the database has been away for \d+ s \(.*Connection refused\) "
        rf"\(storage {url}\). What was finished is kept; run the same command again when the disk or the database "
        r"is back\n",
        said.err,
    )
    assert "secret" not in said.out + said.err
    server.start()
    assert main(["run", str(path), "--runs", str(runs)]) == 0
    trials = load_study(runs, "toy")[1].trials
    finished = [trial for trial in trials if not trial.user_attrs["hpo:outcome"]["requeued"]]
    assert [trial.state.name for trial in finished] == ["COMPLETE"] * 4
    assert sorted({lineage(trial, trials) for trial in trials}) == sorted(lineage(trial, trials) for trial in finished)


@pytest.mark.slow
def test_ctrl_c_waits_with_the_study_and_again_does_not(study_yaml, runs, server, url):
    path = study_yaml("slow", storage=url, **SLOW)
    for times, code in ((1, 130), (2, 1)):
        driver = start(path, runs)
        begun = len(list(runs.glob("toy/trials/*/history.jsonl")))
        while len(list(runs.glob("toy/trials/*/history.jsonl"))) < begun + 2:
            assert driver.poll() is None
            time.sleep(0.02)
        server.stop()
        heard = ""
        while " is away since " not in heard:
            heard += driver.stdout.readline()
        for _ in range(times):
            driver.send_signal(signal.SIGINT)
            time.sleep(1.0)
        if times == 1:
            assert driver.poll() is None
            server.start()
        said = heard + output_of(driver, code)
        assert "stopping: running trials end at their next report" in said
        assert ("writing the study failed: the database has been away for" in said) == (times == 2)
    server.start()
    finish(path, runs)
    check_books(runs, TRIALS)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_the_time_without_a_server_is_not_that_of_trials(study_yaml, runs, server, url, engine):
    keys = SLOW | {"engine": {"name": engine, "workers": 2, "report_timeout": 10.0, "trial_timeout": 20.0}}
    driver = start(study_yaml("slow", storage=url, **keys), runs)
    while len(list(runs.glob("toy/trials/*/history.jsonl"))) < 2:
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.02)
    server.stop()
    time.sleep(25.0)
    server.start()
    output_of(driver)
    trials, finished = check_books(runs, TRIALS)
    assert all(trial.state.name != "FAIL" for trial in finished)
    assert len(trials) == TRIALS


@pytest.mark.slow
@pytest.mark.parametrize("other", ENGINES)
def test_two_studies_with_eight_workers_share_a_server_that_is_restarted(
    study_yaml, runs, server, url, tmp_path, other
):
    drivers = {}
    for name, engine in (("one", "local"), ("two", other)):
        keys = SLOW | {"engine": {"name": engine, "workers": 4}, "budget": {"trials": 3 * TRIALS}}
        path = study_yaml("slow", name=name, storage=url, **keys).rename(tmp_path / f"{name}.yaml")
        drivers[name] = start(path, runs)
    restart(server, drivers["two"], runs, "immediate", random.Random(1), 2, name="two")
    for name, driver in drivers.items():
        output_of(driver)
        trials, _ = check_books(runs, 3 * TRIALS, name)
        assert len(trials) == 3 * TRIALS
    assert not leftover(processes_of(runs))
