"""What is asked of a driver through files: what a request may be, what is kept, what is obeyed, and by whom."""

from __future__ import annotations

import json
import os
import threading
import time

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE, wait_until

from hpo import layout
from hpo.control import requests
from hpo.control.client import extend
from hpo.control.requests import Answer, Pause, Steering
from hpo.control.server import ControlServer
from hpo.errors import ControlError
from hpo.oracle.oracle import Oracle
from hpo.spec.models import Budget
from hpo.storage.driver_lock import driver_lock
from hpo.trial import Outcome

# --- budgets


@pytest.mark.parametrize(
    ("wanted", "now"),
    [
        ({"trials": "+50"}, {"trials": 150, "hours": 8.0}),
        ({"trials": "150"}, {"trials": 150, "hours": 8.0}),
        ({"hours": "+0.5"}, {"trials": 100, "hours": 8.5}),
        ({"trials": "+1", "hours": "10"}, {"trials": 101, "hours": 10.0}),
    ],
)
def test_a_budget_is_extended_by_so_much_or_to_so_much(wanted, now):
    budget = requests.extended_budget("toy", Budget(trials=100, hours=8, failures=3), wanted)
    assert budget == Budget(**now, failures=3)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"trials": "100"}, "--trials 100 is not more than study 'toy' has now: 100 trials"),
        ({"trials": "+0"}, "--trials is '+0'; expected +N for so many more or N for so many in all, a whole number"),
        ({"trials": "+1.5"}, "a whole number above 0"),
        ({"trials": "-5"}, "--trials is '-5'"),
        ({"trials": "many"}, "--trials is 'many'"),
        ({"hours": "nan"}, "--hours is 'nan'; expected +N for so many more or N for so many in all, a number above 0"),
        ({"hours": "inf"}, "--hours is 'inf'"),
        ({"gpu_hours": "+1"}, "has no limit of GPU hours that --gpu-hours could extend; its budget is trials = 100"),
        ({"trails": "+1"}, "no limit of a budget; expected trials, hours, gpu_hours. Did you mean 'trials'?"),
        ({}, "nothing to extend was named"),
        ({"trials": None}, "--trials is 'None'"),
        ({"trials": [5]}, "--trials is '[5]'"),
    ],
)
def test_what_is_no_extension_is_refused_in_a_sentence(wanted, words):
    with pytest.raises(ControlError) as error:
        requests.extended_budget("toy", Budget(trials=100, hours=8), wanted)
    assert words in str(error.value)


def test_a_grid_without_a_budget_cannot_be_extended():
    with pytest.raises(ControlError, match="it ends when every cell of its grid was tried"):
        requests.extended_budget("toy", Budget(), {"trials": "+1"})


def test_a_budget_that_ends_at_a_time_keeps_it():
    by = Budget(by="2099-01-01 09:00", hours=2)
    assert requests.extended_budget("toy", by, {"hours": "+3"}).by == by.by
    with pytest.raises(ControlError, match="its budget is hours = 2, by = 2099-01-01 09:00"):
        requests.extended_budget("toy", by, {"trials": "+5"})


@given(st.dictionaries(st.sampled_from(["trials", "hours", "gpu_hours"]), st.integers(1, 500), min_size=1))
def test_the_larger_of_the_two_budgets_counts_and_an_unset_limit_stays_unset(kept):
    class Spec:  # of a StudySpec it takes the budget alone
        budget = Budget(trials=100, hours=8)

        def model_copy(self, update):
            copy = Spec()
            copy.budget = update["budget"]
            return copy

    budget = requests.effective(Spec(), Steering(budget={name: float(to) for name, to in kept.items()})).budget
    assert budget.trials == max(100, kept.get("trials", 0))
    assert budget.hours == max(8, kept.get("hours", 0))
    assert budget.gpu_hours is None


# --- what is kept


def test_what_must_outlive_the_driver_is_read_as_it_was_written(tmp_path):
    assert requests.read_steering(tmp_path) == Steering()
    kept = Steering(Pause(1763733600.0, "alice@node7"), {"trials": 150.0}, {"1-a": "the budget is now 150 trials"})
    requests.write_steering(tmp_path, kept)
    assert requests.read_steering(tmp_path) == kept
    assert [path.name for path in tmp_path.iterdir()] == [layout.STEERING]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"paused": 1, "budget": {}, "answered": {}}', '{"paused": null, "budget": {"trials": "x"}}',
     '{"paused": null, "budget": {"hours": 1e999}, "answered": {}}'],
)  # fmt: skip
def test_a_damaged_file_is_a_sentence_that_names_it(tmp_path, content):
    (tmp_path / layout.STEERING).write_text(content)
    with pytest.raises(ControlError, match=r"steering\.json cannot be read .* Delete it to go on as study\.yaml says"):
        requests.read_steering(tmp_path)


def test_only_the_last_requests_are_remembered():
    kept = Steering()
    for number in range(50):
        kept = kept.remembering(f"{number}", f"said {number}")
    assert list(kept.answered) == [str(number) for number in range(30, 50)]


# --- the driver's side, with an Oracle and files


@pytest.fixture
def oracle(make_spec, tmp_path):
    spec = make_spec(budget={"trials": 10})
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    directory = tmp_path / "runs" / "toy"
    directory.mkdir(parents=True)
    requests.record(spec, directory)
    oracle = Oracle(spec, study, directory)
    yield oracle
    oracle.close()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "runs" / "toy"


@pytest.fixture
def server(oracle, directory):
    said = []
    server = ControlServer(directory, said.append)
    server.said = said
    server.start(oracle.control)
    yield server
    server.close()


def asked(directory, action, **arguments):
    answer = requests.send_request(directory, action, arguments, by="alice@node7")
    assert not list((directory / layout.REQUESTS).iterdir())
    return answer


def test_a_pause_holds_until_resume_and_is_kept(oracle, server, directory):
    first = oracle.ask()
    assert asked(directory, "pause") == Answer(
        "study 'toy' is paused: trial 0 is running to the end, no other starts", ok=True
    )
    assert server.said == [
        "study 'toy' is paused: trial 0 is running to the end, no other starts (asked by alice@node7)"
    ]
    assert oracle.ask() is None
    assert (oracle.no_more_jobs, oracle.control.paused) == (False, True)
    assert requests.read_steering(directory).paused.by == "alice@node7"
    assert oracle.report(first.number, 0, {"score": 0.5}) is None
    assert asked(directory, "pause").said.startswith("study 'toy' is paused already, since ")
    asked(directory, "pause", now=True)
    stop = oracle.report(first.number, 1, {"score": 0.5})
    assert (stop.interrupted, stop.reason) == (True, "the study was paused at once")
    assert asked(directory, "resume").said.startswith("study 'toy' goes on; it was paused since ")
    assert requests.read_steering(directory).paused is None
    assert oracle.report(first.number, 2, {"score": 0.5}) is None
    assert oracle.ask() is not None
    assert asked(directory, "resume") == Answer("study 'toy' is not paused")


def test_a_kill_is_told_with_who_asked(oracle, server, directory):
    assert asked(directory, "kill", trials=[0]) == Answer(
        "trial 0 is not running in study 'toy'; no trial is. Nothing was killed", ok=False
    )
    first, second = oracle.ask(), oracle.ask()
    assert (
        "trials 2, 9 are not running in study 'toy'; trials 0, 1 are running"
        in asked(directory, "kill", trials=[9, 0, 2]).said
    )
    assert dict(oracle.control.trials_to_kill()) == {}
    assert asked(directory, "kill", trials=[0]) == Answer(
        "trial 0 is being ended at once, as failed; that counts, and is not tried again"
    )
    assert oracle.control.trials_to_kill() == {0: "killed by alice@node7 with `hpo kill`"}
    assert oracle.report(second.number, 0, {"score": 0.5}) is None
    assert oracle.report(first.number, 0, {"score": 0.5}).interrupted is False


def test_an_extension_is_kept_and_recorded_and_at_once_the_oracles(oracle, server, directory):
    assert asked(directory, "extend", trials="+5") == Answer("the budget of study 'toy' is now 15 trials (was 10)")
    assert oracle.spec.budget.trials == oracle.budget.progress.budget == 15
    assert requests.read_steering(directory).budget == {"trials": 15.0}
    assert "trials: 15" in (directory / layout.SPEC).read_text()
    assert "is not more than" in asked(directory, "extend", trials="15").said
    assert oracle.control.extended
    assert server.should_finish() is False
    oracle.ask()
    assert server.should_finish() is True
    assert asked(directory, "extend", trials="+1").said.endswith("(was 15); this run of it has just ended")


def test_an_extension_is_not_obeyed_twice_when_its_driver_died_before_it_said_so(oracle, directory):
    said = "the budget of study 'toy' is now 15 trials (was 10)"
    requests.write_steering(directory, Steering(budget={"trials": 15.0}, answered={"1-ab": said}))
    folder = directory / layout.REQUESTS
    folder.mkdir()
    content = {"action": "extend", "arguments": {"trials": "+5"}, "by": "alice@node7", "sent": 0}
    (folder / "1-ab.json").write_text(json.dumps(content))
    server = ControlServer(directory, str)
    server.start(oracle.control)
    server.close()
    assert json.loads((folder / "1-ab.answer.json").read_text()) == {"said": said, "ok": True}
    assert not (folder / "1-ab.json").exists()
    assert requests.read_steering(directory).budget == {"trials": 15.0}
    assert oracle.spec.budget.trials == 10  # the next `effective` is what knows


def test_a_stop_is_an_interrupt(oracle, server, directory):
    job = oracle.ask()
    assert asked(directory, "stop").said == (
        "study 'toy' is being stopped: trial 0 is ending at the next report, to be tried again later"
    )
    assert server.stopped_by == "alice@node7"
    assert (oracle.control.interrupted, oracle.no_more_jobs) == (True, True)
    assert oracle.report(job.number, 0, {"score": 0.1}).interrupted
    assert server.should_finish()
    assert asked(directory, "stop").said == "study 'toy' has ended; its report is being written"
    assert not asked(directory, "kill", trials=[0]).ok


def test_what_a_driver_did_before_it_died_is_not_done_again_without_it(oracle, directory, monkeypatch):
    """Nor by the next driver: who asks again, asks with the same id."""

    def dies_without_an_answer(directory, action, arguments, id):
        said = "the budget of study 'toy' is now 15 trials (was 10)"
        requests.write_steering(directory, Steering(budget={"trials": 15.0}).remembering(id, said))
        monkeypatch.setattr("hpo.control.client.driver_of", lambda directory: None)

    monkeypatch.setattr("hpo.control.client.driver_of", lambda directory: {"pid": 7})
    monkeypatch.setattr(requests, "send_request", dies_without_an_answer)
    answer, driven = extend(directory, {"trials": "+5"})
    assert (answer.said, driven) == ("the budget of study 'toy' is now 15 trials (was 10)", False)
    assert requests.read_steering(directory).budget == {"trials": 15.0}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no request; expected a request such as"),
        (b"\xff\xfe", "is no request"),
        (b"[" * 60000, "is no request"),
        (b'{"action": "pause"}', "is no request"),
        (b'{"action": "pause", "arguments": 3}', "is no request"),
        (b'{"action": "dance", "arguments": {}}', "there is no request 'dance'; expected pause, resume, stop, kill"),
        (b'{"action": ["pause"], "arguments": {}}', "there is no request ['pause']"),
        (b'{"action": "kill", "arguments": {}}', "the trials to kill are None; expected their numbers"),
        (b'{"action": "kill", "arguments": {"trials": [true]}}', "the trials to kill are [True]"),
        (b'{"action": "kill", "arguments": {"trials": "0"}}', "the trials to kill are '0'"),
        (b'{"action": "extend", "arguments": {"failures": "+3"}}', "'failures' is no limit of a budget"),
        (b'{"action": "pause", "arguments": {}, "sent": "yesterday"}', "is no request"),
        (b"x" * 10**6, "the request cannot be read: it has 1000000 bytes, expected at most 65536"),
        (b'{"action": "extend", "arguments": {"hours\\ud800": "+3"}}', "is no request"),
        (b'{"action": "pause", "arguments": {}, "sent": %s}' % (b"9" * 400), "is no request"),
    ],
)
def test_what_is_no_request_is_answered_and_ends_nothing(oracle, server, directory, content, words):
    folder = directory / layout.REQUESTS
    (folder / "7.partial").write_bytes(content)
    (folder / "7.partial").rename(folder / "7.json")
    wait_until((folder / "7.answer.json").exists)
    answer = json.loads((folder / "7.answer.json").read_text())
    assert answer["ok"] is False
    assert words in answer["said"]
    (folder / "7.answer.json").unlink()
    assert oracle.ask() is not None
    assert not oracle.control.paused
    assert asked(directory, "pause").ok


def test_a_pipe_or_a_link_in_the_folder_does_not_hold_the_driver_up(oracle, server, directory):
    folder = directory / layout.REQUESTS
    os.mkfifo(folder / "1.json")
    (folder / "2.json").symlink_to("/dev/zero")
    (folder / "3.json").mkdir()
    assert requests.send_request(directory, "pause", {}, timeout=PATIENCE).ok
    wait_until((folder / "2.answer.json").exists)
    said = json.loads((folder / "1.answer.json").read_text())["said"]
    assert said == "the request cannot be read: it is a named pipe, expected a plain file"
    assert json.loads((folder / "2.answer.json").read_text())["ok"] is False
    assert not (folder / "1.json").exists()


def test_the_next_driver_takes_away_what_is_old_and_answers_what_is_new(oracle, directory):
    folder = directory / layout.REQUESTS
    folder.mkdir()
    request = json.dumps({"action": "pause", "arguments": {}, "by": "bob@node8", "sent": 0})
    for name in ("1.json", "2.answer.json", "3.json.ab.partial"):
        (folder / name).write_text(request)
        os.utime(folder / name, (time.time() - 60,) * 2)
    (folder / "4.json").write_text(request.replace("pause", "resume"))
    server = ControlServer(directory, str)
    assert [path.name for path in folder.iterdir()] == ["4.json"]
    server.start(oracle.control)
    server.close()
    assert [path.name for path in folder.iterdir()] == ["4.answer.json"]
    assert not oracle.control.paused


def test_without_a_folder_of_requests_a_study_goes_on(oracle, server, directory):
    (directory / layout.REQUESTS).rmdir()
    time.sleep(0.6)  # it looks for requests a few times meanwhile
    assert requests.send_request(directory, "pause", {}).ok  # which makes it again


# --- the side that asks


def test_a_driver_that_does_not_answer_is_named_and_the_request_withdrawn(directory, oracle):
    with driver_lock(directory), pytest.raises(ControlError) as error:
        requests.send_request(directory, "pause", {}, timeout=0.3)
    assert f"the driver of study 'toy' (process {os.getpid()} on " in str(error.value)
    assert "did not answer within 0.3 s" in str(error.value)
    assert not list((directory / layout.REQUESTS).iterdir())


def test_a_driver_that_ends_without_a_word_is_noticed(directory, oracle):
    began = time.monotonic()
    assert requests.send_request(directory, "pause", {}, timeout=600.0) is None
    assert time.monotonic() - began < 300


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_who_may_not_write_there_is_told_so(directory, oracle):
    (directory / layout.REQUESTS).mkdir(mode=0o555)
    with pytest.raises(ControlError, match=r"cannot be left in .*: Permission denied"):
        requests.send_request(directory, "pause", {})


def test_many_may_ask_at_once(oracle, server, directory):
    answers, senders = [], 8

    def ask():
        answers.append(requests.send_request(directory, "extend", {"trials": "+1"}))

    threads = [threading.Thread(target=ask) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.said for answer in answers) == sorted(
        f"the budget of study 'toy' is now {11 + k} trials (was {10 + k})" for k in range(senders)
    )
    assert oracle.spec.budget.trials == 10 + senders
    assert not list((directory / layout.REQUESTS).iterdir())


def test_a_killed_trial_that_completed_meanwhile_is_complete(oracle, server, directory):
    job = oracle.ask()
    assert asked(directory, "kill", trials=[0]).ok
    oracle.tell(Outcome(job.number, "COMPLETE", {"score": 0.5}))
    assert (oracle.budget.progress.complete, oracle.budget.progress.failed) == (1, 0)
    assert dict(oracle.control.trials_to_kill()) == {}
