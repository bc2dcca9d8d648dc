"""The default sampler: what it ranks by, and that it learns from early steps."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import Any

import optuna
import pytest
from lines import lines_of
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from hpo.search.kernel_sampler import KernelSampler
from hpo.search.study_view import view_of
from hpo.space.search_space import SearchSpace

PRUNED = TrialState.PRUNED
LINE = SearchSpace.parse({"x": {"low": 0.0, "high": 1.0}})


def new_study(space: SearchSpace = LINE, direction: str = "minimize", **options: Any) -> optuna.Study:
    sampler = KernelSampler(space, **{"random_fraction": 0.0, "seed": 1, **options})
    return optuna.create_study(sampler=sampler, direction=direction)


def add(
    study: optuna.Study, x: float, values: Mapping[int, float], final: float | None = None, constraint: str = ""
) -> None:
    """A trial at x that reported `values`, and ended with `final`, or pruned."""
    study.enqueue_trial({"x": x})
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    for step, value in values.items():
        trial.report(value, step)
    if constraint:
        trial.set_constraint(constraint, 1.0)
    study.tell(trial, final, state=None if final is not None else PRUNED)


def proposals(study: optuna.Study, n: int = 60) -> list[float]:
    """What it would propose, n times, with nothing learned in between."""
    found = []
    for _ in range(n):
        trial = study.ask()
        found.append(trial.suggest_float("x", 0.0, 1.0))
        study.tell(trial, state=TrialState.FAIL)
    return found


def near(xs: list[float], place: float) -> float:
    return sum(abs(x - place) < 0.15 for x in xs) / len(xs)


def grid(n: int) -> list[float]:
    return [(k + 0.5) / n for k in range(n)]


def test_it_learns_from_the_first_step() -> None:
    study = new_study()
    for x in grid(20):
        add(study, x, {1: abs(x - 0.3)})
    assert near(proposals(study), 0.3) > 0.9


def test_a_trial_counts_by_the_best_that_it_reached_wherever_it_stands() -> None:
    study = new_study()
    for x in grid(20):
        # Those below 0.5 ran to their end and got to 0.5; those above were stopped at 0.2, which is better.
        if x < 0.5:
            add(study, x, {1: 1.0, 4: 0.5, 16: 0.6}, final=0.6)
        else:
            add(study, x, {1: 0.2 + abs(x - 0.8)})
    assert near(proposals(study), 0.8) > 0.9


def test_the_best_value_counts_not_the_last_one() -> None:
    study = new_study()
    for x in grid(20):
        add(study, x, {1: 1.0, 2: abs(x - 0.3), 3: 2.0}, final=2.0 if x < 0.5 else 1.0)
    assert near(proposals(study), 0.3) > 0.9


def test_an_objective_that_reports_nothing() -> None:
    study = new_study()
    for x in grid(20):
        add(study, x, {}, final=abs(x - 0.2))
    assert near(proposals(study), 0.2) > 0.9


def test_higher_may_be_better() -> None:
    study = new_study(direction="maximize")
    for x in grid(20):
        add(study, x, {1: -abs(x - 0.3)}, final=-1.0)
    assert near(proposals(study), 0.3) > 0.9


@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e9])
def test_only_ranks_count(factor: float) -> None:
    """The scale of the metric changes nothing, nor does a value that is far off."""

    def drawn(factor: float, worst: float) -> list[float]:
        study = new_study()
        for x in grid(20):
            add(study, x, {1: worst if x > 0.9 else factor * abs(x - 0.3)})
        return proposals(study, 10)

    assert drawn(factor, 1e30) == drawn(1.0, 2.0)


@pytest.mark.parametrize("constraint", ["red_flag_collapsed", "out_of_memory"])
def test_a_trial_that_broke_a_constraint_is_bad_however_good_it_looked(constraint: str) -> None:
    study = new_study()
    for x in grid(20):
        # All that begins best, below 0.3, is ended by a red flag after the first step.
        add(study, x, {1: x}, constraint=constraint if x < 0.3 else "")
    xs = proposals(study)
    assert sum(x < 0.25 for x in xs) / len(xs) < 0.05
    assert near(xs, 0.4) > 0.7


def test_what_turns_ill_after_it_was_seen_to_be_good() -> None:
    study = new_study()
    for x in grid(20):
        add(study, x, {1: abs(x - 0.7)})
    running = []
    for x in grid(20):
        study.enqueue_trial({"x": 0.05 + 0.1 * x})
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        trial.report(-1.0, 1)
        running.append(trial)
    assert near(proposals(study), 0.1) > 0.9  # by far the best, as long as they run
    for trial in running:
        trial.set_constraint("red_flag_non_finite", 1.0)
        study.tell(trial, state=PRUNED)
    xs = proposals(study)
    assert near(xs, 0.1) < 0.05
    assert near(xs, 0.7) > 0.8


def test_it_is_random_before_enough_was_seen_and_for_a_share_afterwards() -> None:
    for options in ({"random_fraction": 1.0}, {"n_startup_trials": 21}):
        study = new_study(**options)
        for x in grid(20):
            add(study, x, {1: abs(x - 0.3)})
        assert near(proposals(study, 300), 0.3) == pytest.approx(0.3, abs=0.08)
    half = new_study(random_fraction=0.5)
    for x in grid(20):
        add(half, x, {1: abs(x - 0.3)})
    assert near(proposals(half, 300), 0.3) == pytest.approx(0.65, abs=0.1)


def test_failed_trials_and_those_that_have_not_reported_say_nothing() -> None:
    study = new_study(n_startup_trials=16)
    for x in grid(15):
        add(study, x, {1: abs(x - 0.3)})
    study.ask()
    proposals(study, 30)  # told as FAIL
    assert near(proposals(study, 300), 0.3) == pytest.approx(0.3, abs=0.08)  # 15 of 16: still random


def test_a_new_sampler_on_an_old_study_knows_as_much() -> None:
    study = new_study()
    for x in grid(20):
        add(study, x, {1: abs(x - 0.3)})
    study.sampler = KernelSampler(LINE, random_fraction=0.0, seed=9)
    assert near(proposals(study), 0.3) > 0.9


def test_conditional_parameters_and_choices() -> None:
    space = SearchSpace.parse(
        {
            "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
            "batch_size": {"choices": [8, 16, 32]},
            "layers": {"low": 1, "high": 9},
        }
    )
    study = new_study(space)

    def ask() -> tuple[optuna.Trial, dict[str, Any]]:
        trial = study.ask()
        return trial, space.suggest(trial)

    for _ in range(80):
        trial, params = ask()
        cost = abs(params["gamma"] - 2.0) if "gamma" in params else 3.0
        trial.report(cost + 0.3 * abs(params["layers"] - 7) + (params["batch_size"] != 16), 1)
        study.tell(trial, state=PRUNED)
    late = [ask()[1] for _ in range(40)]
    assert sum("gamma" in params for params in late) > 30
    assert sum(abs(params.get("gamma", 9.0) - 2.0) < 1.0 for params in late) > 24
    assert sum(params["batch_size"] == 16 for params in late) > 28
    assert sum(5 <= params["layers"] <= 9 for params in late) > 28


def test_what_is_given_stays_and_the_rest_fits_to_it() -> None:
    space = SearchSpace.parse(
        {
            "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
            "x": {"low": 0.0, "high": 1.0},
        }
    )
    study = new_study(space)
    for k in range(40):  # with focal small x is good, with bce large x
        focal = k % 2 == 0
        x = grid(40)[k]
        given = {"loss": "focal", "loss.focal.gamma": 1.0} if focal else {"loss": "bce"}
        study.enqueue_trial({"x": x, **given})
        trial = study.ask()
        space.suggest(trial)
        trial.report(x if focal else 1 - x, 1)
        study.tell(trial, state=PRUNED)
    for loss, place in (("focal", 0.05), ("bce", 0.95)):
        found = []
        for _ in range(20):
            study.enqueue_trial({"loss": loss})
            trial = study.ask()
            params = space.suggest(trial)
            assert params["loss"] == loss
            assert ("gamma" in params) == (loss == "focal")
            found.append(params["x"])
            study.tell(trial, state=TrialState.FAIL)
        assert abs(median(found) - place) < 0.2


GROUPS = SearchSpace.parse({"kind": {"choices": ["slow", "fast", "broken"]}, "x": {"low": 0.0, "high": 1.0}})


def add_of(study: optuna.Study, kind: str, x: float, value: float, constraint: str = "") -> None:
    study.enqueue_trial({"kind": kind, "x": x})
    trial = study.ask()
    GROUPS.suggest(trial)
    trial.report(value, 1)
    if constraint:
        trial.set_constraint(constraint, 1.0)
    study.tell(trial, state=PRUNED)


@pytest.mark.parametrize("group_by", ["kind", None])
def test_trials_are_ranked_within_their_group(group_by: str | None) -> None:
    """Every slow trial is worse than every fast one, and each kind is best at another place; all broken ones end by a
    red flag, though they look best."""
    study = new_study(GROUPS, group_by=group_by)
    for x in grid(12):
        add_of(study, "slow", x, 10 + abs(x - 0.2))
        add_of(study, "fast", x, abs(x - 0.8))
        add_of(study, "broken", x, -1.0, "red_flag_collapsed")
    found = []
    for _ in range(60):
        trial = study.ask()
        found.append(GROUPS.suggest(trial))
        study.tell(trial, state=TrialState.FAIL)
    slow, fast = ([one["x"] for one in found if one["kind"] == kind] for kind in ("slow", "fast"))
    assert len(slow) + len(fast) == 60
    assert near(fast, 0.8) > 0.9
    if group_by:
        assert len(slow) > 15
        assert near(slow, 0.2) > 0.9
    else:
        assert len(slow) < 5


def test_the_values_of_a_group_change_nothing_in_another() -> None:
    def drawn(ahead: float) -> list[dict[str, Any]]:
        study = new_study(GROUPS, group_by="kind")
        for x in grid(12):
            add_of(study, "slow", x, 10 + abs(x - 0.2))
            add_of(study, "fast", x, abs(x - 0.8) - ahead)
        return [GROUPS.suggest(study.ask()) for _ in range(10)]

    assert drawn(0.0) == drawn(1e6) == drawn(-10.5)


def test_several_objectives_are_left_to_tpe() -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=KernelSampler(LINE, seed=1))
    for x in grid(20):
        study.enqueue_trial({"x": x})
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        study.tell(trial, [abs(x - 0.3), -abs(x - 0.3)])
    assert near(proposals(study), 0.3) > 0.6


def test_the_seed_decides() -> None:
    def drawn(seed: int) -> list[float]:
        study = new_study(seed=seed)
        for x in grid(20):
            add(study, x, {1: abs(x - 0.3)})
        return proposals(study, 5)

    assert drawn(1) == drawn(1) != drawn(2)


def searched(sampler: optuna.samplers.BaseSampler, trials: int, workers: int = 3) -> list[dict[str, Any]]:
    """Return what a sampler proposes in a study with groups, in which trials end in every way, by a fixed rule."""
    study, running, found = optuna.create_study(sampler=sampler), [], list[dict[str, Any]]()
    for number in range(trials):
        if number % 13 == 5:
            study.enqueue_trial({"kind": "slow"})
        running.append(study.ask())
        params = NETS.suggest(running[-1])
        found.append(dict(running[-1].params))
        cost = abs(params["x"] - 0.3) + abs(math.log10(params["rate"]) + 2) + params.get("momentum", 0.5)
        for step in range(number % 4):
            running[-1].report(cost * (1 + 1 / (1 + step)), step)
        if len(running) > workers:
            trial, fate = running.pop(number % workers), number % 11
            if fate == 7:
                trial.set_constraint("red_flag_collapsed", 1.0)
            state = {7: PRUNED, 8: TrialState.FAIL, 9: PRUNED, 10: PRUNED}.get(fate)
            study.tell(trial, None if state else cost, state=state)
    return found


NETS = SearchSpace.parse(
    {
        "kind": {"choices": {"slow": {}, "fast": {"momentum": {"low": 0.0, "high": 1.0}}, "odd": {}}},
        "x": {"low": 0.0, "high": 1.0},
        "rate": {"low": 1e-5, "high": 1.0, "log": True},
        "layers": {"low": 1, "high": 5},
    }
)


# The last three proposals of 150 trials, by the version that ranked all trials at each ask.
BEFORE = [
    {
        "kind": "fast",
        "kind.fast.momentum": 0.0,
        "x": 0.5112697271401608,
        "rate": 0.008770048802516512,
        "layers": 3,
    },
    {"kind": "slow", "x": 0.5356835637052442, "rate": 0.17946826920179298, "layers": 4},
    {"kind": "slow", "x": 0.0, "rate": 0.6013753413314578, "layers": 4},
]


def test_below_its_history_it_proposes_what_it_does_with_all_of_it() -> None:
    found = searched(KernelSampler(NETS, group_by="kind", seed=3), 150)
    assert found[-3:] == BEFORE
    assert searched(KernelSampler(NETS, group_by="kind", seed=3, history=150), 150) == found
    assert searched(KernelSampler(NETS, group_by="kind", seed=3, history=40), 150) != found


def test_a_resumed_sampler_estimates_from_the_same_part() -> None:
    study = new_study(n_startup_trials=16, history=20)
    for x in grid(60):
        add(study, x, {1: abs(x - 0.3)})
    first = [study.ask().suggest_float("x", 0.0, 1.0) for _ in range(5)]
    again = new_study(n_startup_trials=16, history=20)
    again.add_trials(study.trials[:60])
    again.sampler._rng.setstate(KernelSampler(LINE, seed=1)._rng.getstate())  # type: ignore[attr-defined]
    assert [again.ask().suggest_float("x", 0.0, 1.0) for _ in range(5)] == first


def test_of_a_long_history_a_part_tells_where_it_is_good() -> None:
    study = new_study(n_startup_trials=16, history=32)
    for x in grid(600):
        add(study, x, {1: abs(x - 0.3)})
    assert near(proposals(study), 0.3) > 0.9


def test_an_ask_does_as_much_after_thousands_of_trials_as_after_hundreds() -> None:
    def lines(size: int) -> int:
        """Lines of 20 asks."""
        study = optuna.create_study(sampler=KernelSampler(NETS, group_by="kind", seed=3, history=100))
        dice, count = random.Random(0), 0
        for _ in range(size):
            params = NETS.sample(dice)
            study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions={name: NETS.distributions()[name] for name in params},
                    value=params["x"],
                    intermediate_values={1: params["x"]},
                )
            )
        view = view_of(study)
        NETS.suggest(view.ask())  # it takes in what there is

        for _ in range(20):
            trial = view.ask()
            count += lines_of(partial(NETS.suggest, trial))
            trial.report(0.5, 1)
            view.tell(trial, 0.5)
        return count

    assert lines(2000) < 1.1 * lines(200)


@pytest.mark.parametrize(
    "options",
    [{"history": 15}, {"n_startup_trials": 1}, {"random_fraction": 1.2}, {"n_candidates": 1}, {"mutation": 0.0}],
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} is {next(iter(options.values()))}; expected"):
        KernelSampler(LINE, **options)


def test_it_finds_more_than_random_under_halving() -> None:
    """12 seeds of a toy whose early values say much, but not all, of the end."""
    space = SearchSpace.parse({"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}})

    def best(sampler: optuna.samplers.BaseSampler) -> float:
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)
        study = optuna.create_study(sampler=sampler, pruner=pruner)
        for _ in range(80):
            trial = study.ask()
            params = space.suggest(trial)
            loss = (params["x"] - 0.3) ** 2 + (params["y"] - 0.8) ** 2
            for step in range(1, 17):
                trial.report(loss + 0.1 * params["x"] / step, step)
                if trial.should_prune():
                    study.tell(trial, state=PRUNED)
                    break
            else:
                study.tell(trial, loss)
        return study.best_value

    ours = [best(KernelSampler(space, seed=seed)) for seed in range(12)]
    others = [best(RandomSampler(seed=seed)) for seed in range(12)]
    assert median(ours) < 0.25 * median(others)


FINITE = {
    "flat": {"a": {"choices": [1, 2, 3]}, "b": {"low": 0.1, "high": 0.9, "step": 0.2}, "n": {"low": 1, "high": 4}},
    "conditional": {
        "net": {
            "choices": {
                "a": {"depth": {"low": 1, "high": 3}},
                "b": {"kind": {"choices": {True: {}, False: {"k": {"low": 0.1, "high": 0.3, "step": 0.1}}}}},
                "c": {},
            }
        },
        "f": {"choices": [None, 0.5]},
    },
    "skewed": {"a": {"choices": {"s": {}, "t": {"b": {"choices": {"s": {}, "t": {"n": {"low": 1, "high": 40}}}}}}}},
}


@pytest.mark.parametrize("space", FINITE.values(), ids=FINITE)
@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]], ids=["one", "two"])
@pytest.mark.parametrize("workers", [1, 5])
def test_no_configuration_is_proposed_again_while_others_are_left(
    space: dict[str, Any], directions: list[str], workers: int
) -> None:
    space_ = SearchSpace.parse(space)
    study = optuna.create_study(directions=directions, sampler=KernelSampler(space_, seed=2, n_startup_trials=4))
    size = space_.grid_size()
    assert size is not None
    running: list[optuna.Trial] = []
    proposed = []
    for number in range(size + 3):
        running.append(study.ask())
        proposed.append(space_.cell_of(space_.suggest(running[-1]) and running[-1].params))
        if len(running) == workers:
            state = [None, None, PRUNED, TrialState.FAIL][number % 4]
            values = None if state else [0.1 * number] * len(directions)
            study.tell(running.pop(0), values, state=state)
    assert len(set(proposed[:size])) == size
    assert set(proposed[size:]) <= set(proposed[:size]), "all were tried: they come again"


def test_a_new_sampler_knows_what_was_tried_and_what_waits() -> None:
    space = SearchSpace.parse(FINITE["flat"])
    study = optuna.create_study(sampler=KernelSampler(space, seed=2))
    for value in range(30):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, value)
    left = [cell for cell in space.grid() if space.cell_of(cell) not in {space.cell_of(t.params) for t in study.trials}]
    assert len(left) == 30
    study.enqueue_trial(left[0])
    waiting = optuna.create_study(sampler=KernelSampler(space, seed=3))
    waiting.add_trials(study.trials)
    trials = []
    for _ in range(30):
        trials.append(waiting.ask())
        space.suggest(trials[-1])
    assert len({space.cell_of(trial.params) for trial in waiting.trials}) == 60


def test_a_retry_and_what_is_enqueued_come_as_they_are() -> None:
    space = SearchSpace.parse(FINITE["flat"])
    study = optuna.create_study(sampler=KernelSampler(space, seed=2))
    whole = {"a": 2, "b": 0.5, "n": 3}
    for _ in range(3):
        study.enqueue_trial(whole)
        assert space.suggest(study.ask()) == whole
    for n in range(1, 5):
        study.enqueue_trial({"a": 2, "b": 0.5})
        found = space.suggest(study.ask())
        assert (found["a"], found["b"]) == (2, 0.5), n
    tried = {space.cell_of(trial.params) for trial in study.trials}
    assert len(tried) == 4, "the rest of a partly enqueued one is drawn from what is left"


def test_the_last_configurations_of_a_large_grid_are_not_searched_for_anew() -> None:
    def lines(size: int) -> int:
        """Lines of five asks that all draws miss: eight configurations are left, at the end of the grid."""
        space = SearchSpace.parse({"n": {"low": 1, "high": size}})
        study = optuna.create_study(sampler=KernelSampler(space, seed=2, n_startup_trials=size, history=size))
        for n in range(1, size - 7):
            study.add_trial(
                optuna.trial.create_trial(params={"n": n}, distributions=space.distributions(), value=float(n))
            )
        view = view_of(study)
        found = [space.suggest(view.ask())["n"]]
        count = lines_of(lambda: found.extend(space.suggest(view.ask())["n"] for _ in range(5)))
        assert len(set(found)) == 6
        assert min(found) > size - 8
        return count

    assert lines(6000) < 1.3 * lines(3000)
