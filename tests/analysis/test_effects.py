from __future__ import annotations

import math
import random

import pandas as pd
import pytest
from reading import SCORE, study, trial

from hpo.analysis.axes import axis_of, searched
from hpo.analysis.effects import MOST_PARAMETERS, Level, effects
from hpo.analysis.records import TrialRecord
from hpo.analysis.summary_statistics import Range
from hpo.space.search_space import SearchSpace

SPACE = {
    "architecture": {"choices": ["unet", "resnet"]},
    "dropout": {"low": 0.0, "high": 0.5},
    "batch_size": {"choices": [8, 16, 32]},
    "learning_rate": {"choices": [1e-4, 5e-4, 1e-3, 5e-3]},
}


def drawn(n: int = 80) -> list[TrialRecord]:
    rng = random.Random(3)
    trials = []
    for k in range(n):
        params = {
            "architecture": rng.choice(["unet", "resnet"]),
            "dropout": rng.uniform(0.0, 0.5),
            "batch_size": rng.choice([8, 16, 32]),
            "learning_rate": rng.choice([1e-4, 5e-4, 1e-3, 5e-3]),
        }
        state = rng.choice(["COMPLETE", "COMPLETE", "COMPLETE", "PRUNED", "FAIL"])
        value = rng.random() if state == "COMPLETE" else None
        trials.append(trial(k, params, value, state=state, curve=[0.99], cause="pruner"))
    return trials


@pytest.mark.parametrize("name", ["learning_rate", "batch_size", "dropout"])
def test_every_level_of_every_group_is_what_pandas_groups(name: str) -> None:
    trials = drawn()
    effect = next(found for found in effects(study(trials, space=SPACE), SCORE).shown if found.axis.name == name)
    parsed = SearchSpace.parse(dict(SPACE))
    axis = axis_of(name, searched(parsed)[name])
    table = pd.DataFrame(
        {
            "group": t.params["architecture"],
            "level": axis.cell_of(t.params[name]),
            "state": t.state,
            "value": t.values.get("score", math.nan),
        }
        for t in trials
    )
    seen = 0
    for (group, level), part in table.groupby(["group", "level"]):
        own = next(own for own in effect.groups if own.group == group).levels[int(level)]
        done = part[part.state == "COMPLETE"].value
        seen += len(part)
        assert own.n == len(done)
        assert own.pruned == (part.state == "PRUNED").sum()
        assert own.failed == (part.state == "FAIL").sum()
        if len(done):
            assert own.mean == pytest.approx(done.mean())
            assert own.best is not None
            assert own.best[1] == done.max()
        if len(done) > 1:
            assert own.deviation == pytest.approx(done.std(ddof=1))
        else:
            assert own.deviation is None
    assert seen == len(trials)
    assert sum(len(own.dots) for own in effect.groups) == (table.state == "COMPLETE").sum()


def test_groups_are_never_averaged_together() -> None:
    # Each architecture has its own best rate; averaged over both, all rates look alike.
    finals = {("unet", 1e-4): 0.9, ("unet", 5e-3): 0.1, ("resnet", 1e-4): 0.1, ("resnet", 5e-3): 0.9}
    trials = [
        trial(k, {"architecture": name, "dropout": 0.1, "batch_size": 8, "learning_rate": rate}, value)
        for k, ((name, rate), value) in enumerate(finals.items())
    ]
    rates = effects(study(trials, space=SPACE), SCORE).shown[0]
    means = {own.group: [level.mean for level in own.levels] for own in rates.groups}
    assert means == {"unet": [0.9, None, None, 0.1], "resnet": [0.1, None, None, 0.9]}
    assert rates.groups[0].levels[0] == Level(1, 0.9, None, (0, 0.9), median=0.9)
    assert rates.groups[0].levels[1].empty


def test_learning_rate_and_batch_size_come_first_then_the_most_important() -> None:
    space = {f"p{k}": {"low": 0.0, "high": 1.0} for k in range(7)}
    space |= {"weights": {"simplex": ["a", "b"]}, **SPACE}
    shown = effects(study(space=space), SCORE, ranking=("p5", "architecture", "p1"))
    names = [effect.axis.name for effect in shown.shown]
    assert names == ["learning_rate", "batch_size", "p5", "p1", "p0", "p2"]
    assert len(names) == MOST_PARAMETERS
    assert shown.left_out == ("p3", "p4", "p6", "weights.a", "weights.b", "dropout")


def test_weights_that_sum_to_one_have_a_panel_a_component() -> None:
    """Of (0.1, 0.9), (0.5, 0.5) and (0.9, 0.1): dice in the first, the middle and the last of five bins."""
    space = {"weights": {"simplex": ["dice", "bce"]}, "lr": {"low": 0.0, "high": 1.0}}
    shares = (0.1, 0.5, 0.9)
    trials = [trial(k, {"weights": {"dice": s, "bce": 1 - s}, "lr": 0.5}, s) for k, s in enumerate(shares)]
    found = effects(study(trials, space=space, group_by=None), SCORE)
    assert [effect.axis.name for effect in found.shown] == ["lr", "weights.dice", "weights.bce"]
    _, dice, bce = (effect.groups[0] for effect in found.shown)
    assert [level.mean for level in dice.levels] == [0.1, None, 0.5, None, 0.9]
    assert [level.mean for level in bce.levels] == [0.9, None, 0.5, None, 0.1]
    assert [dot.parameter for dot in dice.dots] == [0.1, 0.5, 0.9]


def test_trials_without_the_parameter_are_counted_apart() -> None:
    space = {"loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}}}
    trials = [
        trial(0, {"loss": "bce"}, 0.1),
        trial(1, {"loss": "focal", "gamma": 0.5}, 0.2),
        trial(2, {"loss": "focal", "gamma": 4.5}, state="PRUNED", cause="pruner"),
    ]
    gamma = next(e for e in effects(study(trials, space=space, group_by=None), SCORE).shown if e.axis.name == "gamma")
    (own,) = gamma.groups
    assert (own.unplaced, [level.n for level in own.levels], own.levels[4].pruned) == (1, [1, 0, 0, 0, 0], 1)
    assert [(dot.number, dot.position) for dot in own.dots] == [(1, 0.0)]  # the middle of the first bin


def test_a_diverged_trial_lies_beyond_the_axis_and_not_out_of_the_table() -> None:
    params = {"architecture": "unet", "dropout": 0.1, "batch_size": 8, "learning_rate": 1e-4}
    trials = [trial(k, params, value) for k, value in enumerate([0.80, 0.81, 0.82, 0.83, 0.84, -1e300])]
    rates = effects(study(trials, space=SPACE), SCORE).shown[0]
    assert (rates.shown, rates.beyond) == (Range(0.80, 0.84), 1)
    assert rates.groups[0].levels[0].n == 6
    assert not rates.groups[1].has_trials
