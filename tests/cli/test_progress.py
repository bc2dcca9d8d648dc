from __future__ import annotations

import io
from pathlib import Path

import pytest

from hpo.analysis.formatting import rough_duration
from hpo.cli.progress import PlainProgress
from hpo.trackers.base import Progress
from hpo.trial import Job, ObjectiveRef, Outcome


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def job(number: int, **params: object) -> Job:
    return Job(number, params, 0, ObjectiveRef("m:f"), {}, Path("runs/toy/trials") / str(number), ("score",))


def progress(complete: int = 0, pruned: int = 0, failed: int = 0, requeued: int = 0, **more) -> Progress:
    rest = {"budget": 10, "running": 0, "best": None, "best_number": None} | more
    return Progress(complete=complete, pruned=pruned, failed=failed, requeued=requeued, **rest)


def best(value: float, number: int) -> dict[str, float]:
    return {"best": value, "best_number": number}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plain(make_spec, clock):
    return PlainProgress(make_spec(budget={"trials": 10}), io.StringIO(), clock=clock)


def said(plain: PlainProgress) -> list[str]:
    return plain._stream.getvalue().splitlines()


def test_a_line_a_finished_trial(plain, clock):
    plain.study_started(progress())
    plain.trial_started(job(0, x=0.5))
    clock.now = 20.0
    plain.trial_finished(
        job(0), Outcome(0, "COMPLETE", {"score": 0.8123456}, seconds=19.5), progress(1, **best(0.8123, 0))
    )
    plain.trial_started(job(1, x=0.5))
    clock.now = 30.0
    pruned = Outcome(1, "PRUNED", cause="pruner", reason="below the median at step 3", seconds=9.0)
    plain.trial_finished(job(1), pruned, progress(1, 1, **best(0.8123, 0)))
    plain.message("a sentence")
    assert said(plain) == [
        "[1/10] trial 0 COMPLETE score 0.8123 (best 0.8123, trial 0) 19.5 s, about 3 min (2 min to 5 min) left",
        "[2/10] trial 1 PRUNED below the median at step 3 (best 0.8123, trial 0) 9.0 s, about 2 min (1 min to 3 min) "
        "left",
        "a sentence",
    ]


def test_in_a_confirmation_the_luckiest_training_is_not_named(make_spec):
    sampler = {"name": "racing", "study": "toy", "key": "k", "trials": [7, 3], "seeds": 5}
    enqueue = [{"x": 0.2}, {"x": 0.5}]
    spec = make_spec(sampler=sampler, enqueue=enqueue, pruner="none", budget={"trials": 20})
    shown = PlainProgress(spec, io.StringIO())
    shown.study_started(progress())
    shown.trial_started(job(0, x=0.5))
    shown.trial_finished(job(0, x=0.5), Outcome(0, "COMPLETE", {"score": 1.0}), progress(1, **best(1.0, 0)))
    assert said(shown)[0].startswith("[1/10] trial 0 COMPLETE score 1 (as trial 3) 0.00 s")


def test_a_trial_that_is_tried_again_has_only_the_oracles_message(plain):
    plain.study_started(progress())
    plain.trial_started(job(0))
    lost = Outcome(0, "FAIL", cause="lost", reason="its worker was killed", seconds=1.0)
    plain.trial_finished(job(0), lost, progress(requeued=1))
    assert said(plain) == []
    plain.trial_started(job(1))
    plain.trial_finished(job(1), lost, progress(failed=1, requeued=1))
    assert said(plain)[0].startswith("[1/10] trial 1 FAIL its worker was killed (none complete yet) 1.0 s")


def test_the_end_is_estimated_by_this_run_alone(plain, clock):
    plain.study_started(progress(6))
    plain.trial_started(job(6))
    clock.now = 60.0
    plain.trial_finished(job(6), Outcome(6, "COMPLETE", {"score": 1.0}), progress(7, **best(1.0, 6)))
    assert plain.remaining.low < 3 * 60 < plain.remaining.high < 2 * 3 * 60


def test_each_trial_of_a_command_pays_for_its_start(make_spec, clock):
    """60 s of start and 2 epochs of 1 s: of the first trial of a worker most of the start would not come again."""
    functions = make_spec(budget={"trials": 4}, constants={"epochs": 2}, engine={"workers": 1})
    commands = functions.model_copy(update={"objective": None, "command": ("python", "train.py")})
    left = []
    for spec in (functions, commands):
        shown = PlainProgress(spec, io.StringIO(), clock=clock)
        shown.study_started(progress(budget=4))
        shown.trial_started(job(0))
        clock.now += 60
        for step in (1, 2):
            clock.now += 1
            shown.reported(0, step, {"score": 0.5})
        shown.trial_finished(job(0), Outcome(0, "COMPLETE", {"score": 1.0}), progress(1, budget=4, **best(1.0, 0)))
        left.append(shown.remaining.middle)
    assert left[0] < 120 < left[1] < 240  # three trials of 62 s, but for the machine's speed


def test_what_waits_goes_on_to_its_end_when_each_was_tried_once(make_spec, clock):
    """Each of four cells was stopped after the first of 4 epochs; two of them go on."""
    spec = make_spec(
        budget={"hours": 1}, search_space={"x": {"choices": [1, 2, 3, 4]}}, sampler="grid", constants={"epochs": 4}
    )
    shown = PlainProgress(spec, io.StringIO(), lambda: 3600.0, clock)
    shown.study_started(progress(budget=4))
    for number in range(4):
        shown.trial_started(job(number, x=number + 1))
        clock.now += 10
        shown.reported(number, 1, {"score": 0.1})
        stopped = Outcome(number, "PRUNED", cause="pruner", reason="behind", seconds=10)
        shown.trial_finished(job(number, x=number + 1), stopped, progress(pruned=number + 1, budget=4))
    assert shown.remaining is None
    for number, x in ((4, 4), (5, 3)):
        shown.trial_promoted(stopped, progress(pruned=7 - number, requeued=number - 3, budget=4))
        shown.trial_started(job(number, x=x))
    for step in (2, 3, 4):
        clock.now += 10
        shown.reported(4, step, {"score": 0.1})
    done = Outcome(4, "COMPLETE", {"score": 0.2}, seconds=30)
    shown.trial_finished(job(4, x=4), done, progress(1, 2, requeued=2, budget=4, **best(0.2, 4)))
    # Of 4 epochs of 10 s the one that runs has 1 to go, and two are to come, on two workers: about 50 s.
    assert 30 <= shown.remaining.middle <= 100


def test_the_hours_end_a_run_that_trials_would_not(make_spec, clock):
    shown = PlainProgress(make_spec(budget={"trials": 10, "hours": 1}), io.StringIO(), lambda: 600.0, clock)
    shown.study_started(progress())
    clock.now = 400.0
    shown.trial_finished(job(0), Outcome(0, "COMPLETE", {"score": 1.0}), progress(1, **best(1.0, 0)))
    assert shown.remaining == (200.0, 200.0, 200.0)


def test_without_a_budget_of_trials_there_is_no_total_and_no_end(make_spec, clock):
    shown = PlainProgress(make_spec(budget={"gpu_hours": 1}), io.StringIO(), clock=clock)
    shown.study_started(progress(budget=None))
    clock.now = 5.0
    shown.trial_finished(job(0), Outcome(0, "COMPLETE", {"score": 1.0}), progress(1, budget=None, **best(1.0, 0)))
    assert said(shown) == ["[1] trial 0 COMPLETE score 1 (best 1, trial 0) 0.00 s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (8.4, "8 s"), (75, "1 min"), (3600, "1 h"), (4800, "1 h 20 min"), (100 * 3600, "4 d 4 h")],
)
def test_a_time_to_wait_is_no_finer_than_it_can_be_known(seconds, text):
    assert rough_duration(seconds) == text
