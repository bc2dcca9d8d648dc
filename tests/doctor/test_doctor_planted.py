"""What the doctor fixes of Optuna, its storages and the histories: each planted in a study that was whole, found by a
look that changes nothing, fixed, and not found again."""

from __future__ import annotations

import time

import optuna
import pytest
from books import check_books
from optuna.trial import TrialState, create_trial

from hpo import layout
from hpo.doctor.examine import examine
from hpo.storage import history


def test_a_whole_study_has_nothing_wrong(planted_anywhere):
    assert planted_anywhere.look() == []
    before = planted_anywhere.state()
    assert examine(planted_anywhere.runs, (), fix=True) == []
    assert planted_anywhere.state() == before


# --- Optuna


# Each of these drives the study to its end, which takes longer in SQLite.
to_the_end = pytest.mark.parametrize(
    "planted_anywhere", ["journal", pytest.param("sqlite", marks=pytest.mark.slow)], indirect=True
)


@to_the_end
def test_a_trial_left_running_is_lost_and_tried_again(planted_anywhere):
    number = planted_anywhere.left_by_a_dead_driver()
    (found,) = planted_anywhere.fix("left-running")
    assert (found.trial, found.sure) == (number, "certain")
    trials = planted_anywhere.study.trials
    assert trials[number].state == TrialState.FAIL
    assert trials[number + 1].state == TrialState.WAITING
    assert trials[number + 1].user_attrs["hpo:origin"]["retry_of"] == number
    planted_anywhere.finish(8)


@to_the_end
def test_a_trial_killed_while_it_was_asked_is_tried_again(planted_anywhere):
    planted_anywhere.study.ask()
    planted_anywhere.fix("left-running")
    planted_anywhere.finish(6)


@to_the_end
def test_a_trial_whose_end_was_noted_is_ended_as_noted(planted_anywhere):
    number = planted_anywhere.left_by_a_dead_driver()
    trial = planted_anywhere.study.trials[number]
    score = -((trial.params["x"] - 0.3) ** 2)
    note = {
        "state": "COMPLETE", "cause": "", "reason": "", "metrics": {"score": score}, "finished": time.time(),
        "seconds": 1.0, "gpu_seconds": 0.0, "peak_gpu_bytes": 0, "requeued": False,
    }  # fmt: skip
    study = planted_anywhere.study
    study._storage.set_trial_user_attr(trial._trial_id, "hpo:outcome", note)
    (found,) = planted_anywhere.fix("half-ended")
    assert found.trial == number
    ended = planted_anywhere.study.trials[number]
    assert (ended.state, ended.value) == (TrialState.COMPLETE, score)
    assert len(planted_anywhere.study.trials) == number + 1


@to_the_end
@pytest.mark.parametrize(("cause", "spent"), [("interrupted", {}), ("lost", {"lost": 1})])
def test_an_attempt_whose_retry_is_gone_is_queued_again(planted_anywhere, cause, spent):
    example = planted_anywhere.study.trials[0]
    job = example.user_attrs["hpo:job"] | {"seed": 77, "params": {"x": 0.25}}
    lost = example.user_attrs["hpo:outcome"] | {"state": "FAIL", "cause": cause, "reason": "x", "requeued": True}
    planted_anywhere.study.add_trial(
        create_trial(
            state=TrialState.FAIL,
            params={"x": 0.25},
            distributions=example.distributions,
            user_attrs={"hpo:job": job, "hpo:outcome": lost},
        )
    )
    (found,) = planted_anywhere.fix("not-tried-again")
    assert found.trial == 4
    again = planted_anywhere.study.trials[5]
    assert again.state == TrialState.WAITING
    assert again.system_attrs["fixed_params"] == {"x": 0.25}
    origin = again.user_attrs["hpo:origin"]
    assert (origin["retry_of"], origin["attempt"], origin["seed"], origin["spent"]) == (4, 2, 77, spent)
    _, finished = planted_anywhere.finish(5)
    assert finished[-1].params == {"x": 0.25}


@to_the_end
@pytest.mark.parametrize("started", [False, True])
def test_a_retry_that_waits_twice_is_withdrawn_once(planted_anywhere, started):
    number = planted_anywhere.left_by_a_dead_driver()
    examine(planted_anywhere.runs, (), fix=True)
    if started:
        planted_anywhere.finish(5)
    lost = planted_anywhere.study.trials[number]
    planted_anywhere.queue().requeue(number, 1, {}, {}, lost.params)
    (found,) = planted_anywhere.fix("waits-twice")
    assert found.trial == number + 2
    waiting = [trial.number for trial in planted_anywhere.study.trials if trial.state == TrialState.WAITING]
    assert waiting == ([] if started else [number + 1])
    planted_anywhere.finish(7)


# --- the journal


TAILS = {"cut": b'{"op_code":4,"wor', "zeros": b"\0\0\0\0\0\0\n", "noise": b"\xff\xfe"}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_a_torn_journal_is_ended_with_a_whole_line(planted, tail):
    journal = planted.runs / layout.JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    (found,) = planted.fix("journal-torn")
    assert str(journal) in found.said
    assert journal.read_bytes() == whole
    assert journal.with_name("journal.log.damaged").read_bytes() == tail
    planted.finish(5)


def test_a_torn_journal_hides_nothing_of_what_comes_before(planted):
    planted.left_by_a_dead_driver()
    with (planted.runs / layout.JOURNAL).open("ab") as file:
        file.write(b'{"op_')
    planted.fix("journal-torn", "left-running")


@pytest.mark.parametrize(
    ("plant", "check"),
    [
        (lambda p: (p.runs / layout.JOURNAL).unlink(), "storage-missing"),
        (lambda p: optuna.delete_study(study_name="toy", storage=p.study._storage), "study-missing"),
    ],
)
def test_a_study_that_is_in_no_storage_is_said_and_left(planted, plant, check):
    plant(planted)
    before = planted.state()
    (one,) = examine(planted.runs, (), fix=True)
    assert (one.finding.check, one.result, one.finding.sure) == (check, "left", "certain")
    assert planted.state() == before
    assert not (check == "storage-missing" and (planted.runs / layout.JOURNAL).exists())


def test_a_database_that_is_no_database_is_a_finding(ran, tmp_path):
    planted = ran(storage="sqlite:///study.db")
    (tmp_path / "study.db").write_bytes(b"no database" * 1000)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"study.db{suffix}").unlink(missing_ok=True)
    (one,) = examine(planted.runs, (), fix=True)
    assert (one.finding.check, one.result) == ("storage-unreadable", "left")


# --- histories


def test_a_torn_history_keeps_its_whole_rows(planted):
    path = planted.history(2)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step":10,"ti')
    (found,) = planted.fix("history-torn")
    assert found.trial == 2
    assert path.read_bytes() == whole
    assert path.with_name("history.jsonl.damaged").read_bytes() == whole + b'{"step":10,"ti'


def test_a_history_without_its_last_line_end_gets_it(planted):
    path = planted.history(0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    planted.fix("history-torn")
    assert path.read_bytes() == whole


def test_garbled_rows_in_the_middle_go_and_a_copy_stays(planted):
    path = planted.history(1)
    lines = path.read_bytes().splitlines(keepends=True)
    garbled = b"".join([*lines[:3], b"\0\0\0\0\n", b'{"step":"three"}\n', *lines[3:]])
    path.write_bytes(garbled)
    (found,) = planted.fix("history-garbled")
    assert "lines 4, 5 are of 12 no rows" in found.said
    assert path.read_bytes() == b"".join(lines)
    assert path.with_name("history.jsonl.damaged").read_bytes() == garbled


def test_rows_that_are_both_garbled_and_missing_come_back(planted):
    path = planted.history(1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b'{"step":3,"time":17637', b"\n", *lines[5:]]))
    planted.fix("history-garbled", "history-missing")
    steps = history.read(path)
    trial = planted.study.trials[1]
    assert {step.step: step.metrics["score"] for step in steps} == trial.intermediate_values
    assert len(steps) == 10


def test_of_a_step_in_pieces_the_lost_one_is_written_from_optuna_and_the_other_stays(ran):
    planted = ran("pieces")
    path = planted.history(1)
    before = history.read(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    (found,) = planted.fix("history-missing")
    assert "lacks 1 step that Optuna has" in found.said
    steps = history.read(path)
    assert [dict(step.metrics) for step in steps if step.step != 2] == [
        dict(step.metrics) for step in before if step.step != 2
    ]
    there = dict(before[1].metrics)
    del there["other"]
    assert steps[1].metrics == there


@pytest.mark.parametrize("left", [None, 0, 4])
def test_a_history_that_is_gone_or_short_is_written_from_optuna(planted, left):
    path = planted.history(3)
    before = history.read(path)
    if left is None:
        path.unlink()
    else:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:left]))
    (found,) = planted.fix("history-missing")
    assert (found.trial, found.sure) == (3, "certain")
    assert "what Optuna has of" in found.remedy
    steps = history.read(path)
    assert steps[: left or 0] == before[: left or 0]
    assert [(step.step, step.metrics) for step in steps] == [(step.step, step.metrics) for step in before]
    job, outcome = (planted.study.trials[3].user_attrs[key] for key in ("hpo:job", "hpo:outcome"))
    restored = [step.time for step in steps[left or 0 :]]
    assert restored == sorted(restored)
    assert job["started"] - 0.001 <= restored[0]
    assert restored[-1] == pytest.approx(outcome["finished"], abs=0.001)
    check_books(planted.runs, 4)


def test_of_several_metrics_a_lost_history_cannot_be_made_up(ran):
    metrics = [{"name": "score", "direction": "maximize"}, {"name": "other", "direction": "minimize"}]
    planted = ran("smooth", metrics=metrics)
    planted.history(1).unlink()
    for _ in range(2):
        (one,) = examine(planted.runs, (), fix=True)
        assert (one.finding.check, one.finding.trial, one.result) == ("history-missing", 1, "left")
