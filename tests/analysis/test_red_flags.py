from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import optuna
import pytest
from reading import ended_by, epochs, study, trial

from hpo.analysis.failures import causes_of, warnings_of
from hpo.analysis.records import RaisedFlag, WarmOrigin, records_of
from hpo.analysis.red_flags import flag_counts
from hpo.spec.models import StudySpec
from hpo.storage.trial_attributes import FLAGS, ORIGIN, OUTCOME, WARM_START

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}
RESNET = {**UNET, "architecture": "resnet"}
WARNED = RaisedFlag("overfitting", "warn", 9)


def whole(number: int, params: dict[str, object], length: int, **more: object):
    return trial(number, params, 0.5, history=epochs(score=[0.5] * length), **more)


def test_a_flag_is_counted_by_what_it_did() -> None:
    (slow, collapsed) = flag_counts(
        study(
            [
                ended_by(0, UNET, "slow", 2),
                ended_by(1, UNET, "slow", 4),
                replace(ended_by(2, UNET, "collapsed", 7), flags=(WARNED, RaisedFlag("collapsed", "stop", 7))),
            ]
        )
    )[:2]
    assert [one.trial.number for one in slow.stopped] == [0, 1]
    assert (slow.name, slow.warned, slow.epochs) == ("slow", (), (2, 3.0, 4))
    assert (collapsed.name, collapsed.epochs) == ("collapsed", (7, 7, 7))


def test_warnings_leave_a_trial_and_are_counted_apart() -> None:
    trials = [
        whole(0, UNET, 12, flags=(WARNED,)),
        trial(1, UNET, state="RUNNING", flags=(replace(WARNED, step=3),)),
        trial(2, UNET, state="FAIL", cause="lost", requeued=True, flags=(WARNED,)),  # told of under its next number
        replace(ended_by(3, UNET, "collapsed", 5), flags=(WARNED, RaisedFlag("collapsed", "stop", 5))),
    ]
    collapsed, overfitting = flag_counts(study(trials))
    assert [one.trial.number for one in overfitting.warned] == [0, 1, 3]
    assert (overfitting.stopped, overfitting.saved) == ((), None)
    assert overfitting.epochs == (3, 9, 9)
    assert [one.trial.number for one in collapsed.stopped] == [3]
    assert warnings_of(study(trials)) == {"overfitting": 3}


def test_epochs_saved_are_those_to_the_median_length_of_its_group() -> None:
    trials = [
        *(whole(k, UNET, length) for k, length in enumerate([10, 20, 40])),  # median 20
        ended_by(3, UNET, "collapsed", 4),  # trained 5 epochs: 15 saved
        ended_by(4, UNET, "collapsed", 29),  # trained 30: none
        ended_by(5, RESNET, "collapsed", 9),  # no complete resnet: the study's 20, so 10 saved
    ]
    (collapsed,) = flag_counts(study(trials))
    assert collapsed.saved == 25


def test_without_a_complete_trial_nobody_knows_what_was_saved() -> None:
    (collapsed,) = flag_counts(study([ended_by(0, UNET, "collapsed", 4)]))
    assert collapsed.saved is None


def test_rules_that_were_never_raised_are_listed_too(make_spec: Callable[..., StudySpec]) -> None:
    spec = make_spec(red_flags=["non_finite", {"name": "slow", "when": "seconds > 9", "action": "warn"}])
    made = replace(study([ended_by(0, UNET, "gone", 4)]), spec=spec)
    assert [(one.name, len(one.raised)) for one in flag_counts(made)] == [("gone", 1), ("non_finite", 0), ("slow", 0)]


def test_each_red_flag_is_a_cause_of_its_own(make_spec: Callable[..., StudySpec]) -> None:
    spec = make_spec(red_flags=[{"name": "slow", "when": "seconds > 9"}])
    trials = [
        *(ended_by(k, UNET, "slow", 1) for k in range(2)),
        *(ended_by(k, UNET, "collapsed", 1) for k in range(2, 5)),
        trial(5, UNET, state="PRUNED", cause="pruner"),
    ]
    first, second, last = causes_of(replace(study(trials), spec=spec))
    assert [(one.name, len(one.trials)) for one in (first, second, last)] == [
        ("red flag: collapsed", 3), ("red flag: slow", 2), ("pruner", 1),
    ]  # fmt: skip
    assert second.meaning == "a rule of red_flags stopped it: seconds > 9"
    assert first.meaning == "a rule of red_flags stopped it"


def test_what_the_driver_noted_is_read(make_spec: Callable[..., StudySpec]) -> None:
    spec = make_spec(search_space={"x": {"low": 0.0, "high": 1.0}})
    stored = optuna.create_study()
    raised = {
        "name": "bad", "action": "stop", "step": 3, "reason": "loss is nan",
        "evidence": {"metrics": {"loss": "nan", "recall": 0.0, "grad": "-inf"}, "since": 2, "limit": 4},
    }  # fmt: skip
    asked = stored.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})
    asked.set_user_attr(FLAGS, [raised])
    asked.set_user_attr(ORIGIN, {"source": "warm_start", "from": "old", "number": 7, "value": 0.25, "index": 0})
    asked.set_user_attr(OUTCOME, {"state": "PRUNED", "cause": "red_flag", "flag": "bad", "reason": "loss is nan"})
    stored.tell(asked, state=optuna.trial.TrialState.PRUNED)
    stored.set_user_attr(WARM_START, {"offered": 3, "trusted": False})
    record = records_of(stored, spec, spec.root)
    (found,) = record.trials
    (flag,) = found.flags
    assert found.flag == flag.name == "bad"
    assert (flag.action, flag.step, flag.since, flag.more) == ("stop", 3, 2, {"limit": 4})
    assert flag.metrics == pytest.approx({"loss": float("nan"), "recall": 0.0, "grad": -float("inf")}, nan_ok=True)
    assert found.warm == WarmOrigin("old", 7, 0.25)
    assert record.warm_start == {"offered": 3, "trusted": False}
