"""The Oracle with configurations of earlier studies: when it hands them out, guards them, and stops believing them."""

from __future__ import annotations

import contextlib
import math
import statistics

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from test_oracle import Killed, MortalStorage, complete

from hpo import layout
from hpo.oracle.oracle import Oracle
from hpo.storage import history
from hpo.trackers.base import Tracker
from hpo.trial import INTERRUPTED, LOST, PRUNER, Outcome
from hpo.warm_start.candidates import Candidate
from hpo.warm_start.trust import WarmStart


class Strict(optuna.pruners.BasePruner):
    """Ends every trial at every step, and counts how often it was asked."""

    asked = 0

    def prune(self, study, trial):
        self.asked += 1
        return True


class Heard(Tracker):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def candidates(*xs):
    return [Candidate({"x": x}, "old", number, x) for number, x in enumerate(xs)]


@pytest.fixture
def start(make_spec, tmp_path):
    """An Oracle over one study, again and again; `xs`: those that the earlier study has to offer."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    with contextlib.ExitStack() as stack:

        def make(*xs, guard=2, pruner=None, tracker=None, study=study, **keys):
            study.pruner = pruner or optuna.pruners.NopPruner()
            spec = make_spec(**{"budget": {"trials": 20}, **keys})
            maximize = spec.metrics[0].direction == "maximize"
            warm = WarmStart(candidates(*xs), guard, maximize)
            oracle = Oracle(spec, study, tmp_path / "toy", tracker, warm=warm)
            return stack.enter_context(contextlib.closing(oracle))

        make.study = study
        yield make


def sources(study):
    return [trial.user_attrs.get("hpo:job", {}).get("source") for trial in study.trials]


def test_they_come_in_turn_with_the_samplers_own_and_after_what_is_enqueued(start):
    oracle = start(0.3, 0.6, enqueue=[{"x": 0.125}])
    for _ in range(6):
        oracle.ask()
    assert sources(start.study) == ["enqueue", "warm_start", "sampler", "warm_start", "sampler", "sampler"]
    assert [trial.params["x"] for trial in start.study.trials][1:4:2] == [0.3, 0.6]
    assert start.study.trials[3].user_attrs["hpo:origin"] == {
        "source": "warm_start", "from": "old", "number": 1, "value": 0.6, "index": 1,
    }  # fmt: skip
    assert start.study.user_attrs["hpo:warm_start"] == {
        "studies": ["old"], "offered": 2, "started": 2, "trusted": True, "why": "",
    }  # fmt: skip


def test_the_pruner_is_asked_about_a_guarded_trial_but_not_obeyed(start):
    pruner = Strict()
    oracle = start(0.3, guard=2, pruner=pruner)
    warm, own = oracle.ask(), oracle.ask()
    assert oracle.report(own.number, 1, {"score": 0.9}) is not None
    assert oracle.report(warm.number, 1, {"score": 0.1}) is None
    assert oracle.report(warm.number, 1, {"score": 0.1}) is None  # a step reported again is no further one
    assert oracle.report(warm.number, 2, {"score": 0.1}) is None
    assert pruner.asked == 3
    assert oracle.report(warm.number, 3, {"score": 0.1}).reason == "the pruner none stopped it at step 3"


def mislead(oracle):
    """Five of the sampler's own and, then, two of the old study, which do worse after as good a start."""
    jobs = [oracle.ask() for _ in range(10)]
    stops = {}
    for job, value in zip(jobs[1::2] + jobs[0:4:2], (0.7, 0.8, 0.9, 0.8, 0.8, 0.1, 0.2), strict=True):
        stops[job.number] = [oracle.report(job.number, step, {"score": s}) for step, s in ((1, 0.5), (2, value))]
    return jobs, stops


def test_a_history_that_misleads_is_dropped(start):
    heard = Heard()
    xs = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    oracle = start(*xs, guard=2, tracker=heard)
    jobs, stops = mislead(oracle)
    # The two that showed it end; a third goes on, no longer guarded.
    assert stops[jobs[0].number] == [None, None]
    assert stops[jobs[2].number][1].reason == "the earlier study 'old', whose configuration it tries, misleads"
    assert oracle.report(jobs[0].number, 3, {"score": 0.1}).reason.endswith("misleads")
    assert oracle.report(jobs[4].number, 1, {"score": 0.1}) is None
    noted = start.study.user_attrs["hpo:warm_start"]
    assert not noted["trusted"]
    assert "at step 2 the best of 2 trials from them has 0.2, the median of 5 of the sampler's own 0.8" in noted["why"]
    assert [text for text in heard.messages if "mislead" in text] == [noted["why"]]
    oracle.ask()
    assert sources(start.study)[-1] == "sampler"
    assert noted["started"] == 5
    # Nor is it believed after a restart.
    for trial in start.study.get_trials(states=(TrialState.RUNNING,)):
        oracle.tell(Outcome(trial.number, "PRUNED", cause=PRUNER, reason="enough"))
    again = start(*xs, guard=2, pruner=Strict())
    started = [again.ask() for _ in range(2)]
    assert "warm_start" not in sources(start.study)[len(jobs) :]
    assert again.report(started[0].number, 1, {"score": 0.9}) is not None
    assert start.study.user_attrs["hpo:warm_start"]["why"] == noted["why"]


def test_what_earlier_runs_saw_counts_after_a_restart(start):
    oracle = start(0.3, 0.4, guard=2)
    jobs = [oracle.ask() for _ in range(7)]
    assert sources(start.study)[:4] == ["warm_start", "sampler", "warm_start", "sampler"]
    first, second, own = jobs[0], jobs[2], [jobs[1], *jobs[3:]]
    for job, value in zip([first, *own], (0.1, 0.7, 0.8, 0.9, 0.8, 0.8), strict=True):
        oracle.report(job.number, 1, {"score": 0.5})
        oracle.report(job.number, 2, {"score": value})
        oracle.tell(Outcome(job.number, "PRUNED", cause=PRUNER, reason="enough"))
    oracle.report(second.number, 1, {"score": 0.5})
    # The driver dies; the second is tried again and comes as far as the others had come before.
    again = start(0.3, 0.4, guard=2)
    retry = again.ask()
    assert retry.params == {"x": 0.4}
    assert again.report(retry.number, 1, {"score": 0.5}) is None
    assert start.study.user_attrs["hpo:warm_start"]["trusted"]
    again.report(retry.number, 2, {"score": 0.2})
    assert "the best of 2 trials from them has 0.2" in start.study.user_attrs["hpo:warm_start"]["why"]


def test_a_further_attempt_at_a_guarded_trial_is_guarded(start):
    oracle = start(0.3, guard=2, pruner=Strict())
    lost = oracle.ask()
    oracle.report(lost.number, 1, {"score": 0.1})
    oracle.tell(Outcome(lost.number, "FAIL", cause=LOST, reason="the worker process was killed"))
    again = oracle.ask()
    assert (again.attempt, again.params) == (2, {"x": 0.3})
    assert oracle.report(again.number, 1, {"score": 0.1}) is None
    oracle.tell(Outcome(again.number, "FAIL", cause=INTERRUPTED, reason="the study is being stopped"))
    third = start(0.3, guard=2, pruner=Strict()).ask()
    assert start.study.trials[third.number].user_attrs["hpo:origin"]["value"] == 0.3


def test_objectives_without_reports_are_judged_by_their_final_values(start):
    oracle = start(0.1, 0.2, 0.3, 0.4)
    jobs = [oracle.ask() for _ in range(6)]
    for job, value in zip(jobs, (0.1, 0.7, 0.2, 0.8, 0.3, 0.9), strict=True):
        oracle.tell(Outcome(job.number, "COMPLETE", {"score": value}, seconds=1.0))
    noted = start.study.user_attrs["hpo:warm_start"]
    assert noted["why"].startswith("the earlier studies mislead: at the end the best of 3 trials from them has 0.3")


def test_successive_halving_keeps_its_rungs_while_it_is_not_obeyed(start):
    halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    oracle = start(0.3, guard=2, pruner=halving)
    warm, own = oracle.ask(), oracle.ask()
    oracle.report(own.number, 1, {"score": 0.9})
    assert oracle.report(warm.number, 1, {"score": 0.1}) is None
    assert start.study.trials[warm.number].system_attrs["completed_rung_0"] == 0.1


def drive(oracle):
    with contextlib.closing(oracle):
        while (job := oracle.ask()) is not None:
            for step in range(2):
                oracle.report(job.number, step, {"score": job.params["x"]})
            if job.params["x"] == 0.75 and job.attempt == 1:
                oracle.tell(Outcome(job.number, "FAIL", cause=LOST, reason="the worker process was killed"))
            else:
                complete(oracle, job)


def test_the_driver_may_die_before_any_of_its_writes(make_spec, tmp_path):
    spec = make_spec(budget={"trials": 6})
    deaths = 0
    while True:
        storage, directory = MortalStorage(), tmp_path / str(deaths)
        study = optuna.create_study(
            storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
        )
        storage.left = deaths
        try:
            drive(Oracle(spec, study, directory, warm=WarmStart(candidates(0.75, 0.5), 1, True)))
        except Killed:
            deaths += 1
        else:
            break
        drive(Oracle(spec, study, directory, warm=WarmStart(candidates(0.75, 0.5), 1, True)))
        trials = study.trials
        finished = [t for t in trials if not t.user_attrs["hpo:outcome"]["requeued"]]
        assert all(t.state.is_finished() for t in trials)
        assert [t.state for t in finished] == [TrialState.COMPLETE] * 6
        # Each candidate once, whatever became of its first attempt.
        assert sorted(t.params["x"] for t in finished if t.params["x"] in (0.75, 0.5)) == [0.5, 0.75]
        for trial in finished:
            steps = history.read(layout.trial_directory(directory, trial.number) / layout.HISTORY)
            assert [step.step for step in steps] == [0, 1]
    assert deaths > 30


def test_history_is_judged_among_thousands_of_the_samplers_trials():
    """A thousand trials have more combinations than a float can hold."""
    warm = WarmStart(candidates(0.1, 0.2), guard=1, maximize=True)
    for step in (1, 2):
        for number in range(3000):
            assert not warm.observe(number, {}, step, float(number % 10))
    # 1500 of 3000 are better than both: that would be so in 1501 * 1502 of 3001 * 3002 orders, a quarter of them.
    assert not warm.observe(3000, {"from": "old"}, 1, 4.2)
    assert not warm.observe(3001, {"from": "old"}, 1, 4.2)
    # 2700 of 3000: in 301 * 302 of 3001 * 3002, a hundredth.
    assert not warm.observe(3000, {"from": "old"}, 2, 0.5)
    why = warm.observe(3001, {"from": "old"}, 2, 0.4)
    assert "at step 2 the best of 2 trials from them has 0.5, the median of 3000 of the sampler's own 4.5" in why


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 2), st.integers(0, 6), st.booleans()), max_size=60))
def test_the_judgement_is_that_of_all_values_together(reports):
    """Trials report at random, some are forgotten; 0 to 2 are from the earlier study."""
    warm, values = WarmStart(candidates(0.1, 0.2, 0.3), guard=1, maximize=False), {}
    for number, step, value, forget in reports:
        if forget:
            warm.forget(number)
            values = {key: one for key, one in values.items() if key[0] != number}
            continue
        values[number, step] = -float(value)
        said = warm.observe(number, {"from": "old"} if number < 3 else {}, step, float(value))
        theirs = [one for (of, at), one in values.items() if at == step and of < 3]
        own = [one for (of, at), one in values.items() if at == step and of >= 3]
        misled = len(theirs) >= 2 and len(own) >= 3 and max(theirs) < statistics.median(own)
        if misled:
            ahead = sum(one > max(theirs) for one in own)
            misled = math.comb(len(own), ahead) <= 0.05 * math.comb(len(own) + len(theirs), ahead)
        assert bool(said) == misled
        if said:
            return
