"""Warm start: which configurations are taken, how they come into today's space, when they are no longer believed."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.space.search_space import SearchSpace
from hpo.spec.models import Metric
from hpo.warm_start.candidates import Candidate, Source, candidates_of, choose, fit, round_robin
from hpo.warm_start.trust import FINAL, WarmStart, guard_of

SCORE = Metric(name="score", direction="maximize")
LOSS = Metric(name="loss", direction="minimize")


def space(**declared):
    return SearchSpace.parse(declared)


def source(name, trials, metrics=(SCORE,), **declared):
    """`trials`: of the parameters and the value, or the values."""
    rows = [(n, p, v if isinstance(v, tuple) else (v,)) for n, (p, v) in enumerate(trials)]
    return Source(name, space(**(declared or {"x": {"low": 0.0, "high": 1.0}})), metrics, rows)


def taken(candidates):
    return [(one.study, one.number) for one in candidates]


# --- into today's space


TODAY = {
    "x": {"low": 0.0, "high": 1.0},
    "width": {"low": 16, "high": 64, "step": 16},
    "lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "weights": {"simplex": ["bce", "dice"]},
    "fixed": 7,
    "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 4.0, "step": 0.5}}}},
}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"x": 0.25}, {"x": 0.25}, ()),
        ({"x": 1.5, "lr": 1e-6}, {"x": 1.0, "lr": 1e-4}, ("x 1.5 -> 1", "lr 1e-6 -> 1e-4")),
        ({"width": 39}, {"width": 32}, ("width 39 -> 32",)),
        ({"width": 41}, {"width": 48}, ("width 41 -> 48",)),
        ({"width": 10**400}, {"width": 64}, None),
        ({"x": 0.5, "gone": 3}, {"x": 0.5}, ()),
        ({"x": 0.5, "fixed": 7}, {"x": 0.5}, ()),
        ({"x": 0.5, "fixed": 8}, {"x": 0.5}, ("fixed 8 -> 7",)),
        ({"x": 0.5, "lr": "fast"}, {"x": 0.5}, ("lr = fast does not fit and is sampled",)),
        ({"x": 0.5, "lr": True}, {"x": 0.5}, ("lr = true does not fit and is sampled",)),
        ({"x": 0.5, "lr": math.nan}, {"x": 0.5}, ("lr = nan does not fit and is sampled",)),
        ({"loss": "bce", "gamma": 2.0}, {"loss": "bce"}, ()),
        ({"loss": "focal", "gamma": 2.2}, {"loss": "focal", "loss.focal.gamma": 2.0}, ("gamma 2.2 -> 2",)),
        ({"weights": {"bce": 0.25, "dice": 0.75}}, {"weights.0": 0.25}, ()),
    ],
)
def test_a_configuration_is_moved_to_the_nearest_one_allowed_today(before, after, changes):
    fitted, said = fit(space(**TODAY), before)
    assert fitted == pytest.approx(after)
    assert changes is None or said == changes


def test_weights_of_other_losses_are_left_to_the_sampler():
    fitted, said = fit(space(**TODAY), {"x": 0.5, "weights": {"bce": 0.5, "l1": 0.5}})
    assert fitted == {"x": 0.5}
    assert "does not fit" in said[0]


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ({"x": 0.5, "loss": "ghm"}, "loss = ghm is no longer a choice"),
        ({"gone": 3}, "no parameter of it is searched today"),
        ({"fixed": 7}, "no parameter of it is searched today"),
    ],
)
def test_a_configuration_that_has_no_place_today_is_refused(before, why):
    with pytest.raises(ValueError, match=why):
        fit(space(**TODAY), before)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda b: st.dictionaries(st.sampled_from(["bce", "dice", "x"]), b, max_size=3) | st.lists(b, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*TODAY, "gamma", "other"]), anything | st.sampled_from(["bce", "focal"])))
def test_whatever_was_tried_before_what_comes_of_it_is_valid_today(before):
    today = space(**TODAY)
    try:
        fitted, _ = fit(today, before)
    except ValueError:
        return
    # The space's own check of a user's `enqueue` entry accepts it.
    names = {parameter.full_name: parameter for parameter in today.walk()}
    for name, value in fitted.items():
        if name in names:
            assert names[name].validate(value) == pytest.approx(value) if isinstance(value, float) else True
        else:
            assert name == "weights.0"
            assert 0 <= value <= 1


# --- which ones


def test_the_best_come_first_and_near_duplicates_not_at_all(make_spec):
    spec = make_spec(warm_start={"from": "auto", "trials": 3})
    tried = [(0.1, 0.1), (0.9, 0.9), (0.87, 0.8), (0.5, 0.5), (0.3, 0.3)]
    old = source("old", [({"x": x}, value) for x, value in tried])
    found = choose(spec, [old])
    # 0.87 is within a twentieth of the range of 0.9, which is better.
    assert taken(found.candidates) == [("old", 1), ("old", 3), ("old", 4)]
    assert [one.value for one in found.candidates] == [0.9, 0.5, 0.3]
    assert found.left_out == {"nearly the same as a better one": 1}


@pytest.mark.parametrize(
    ("trials", "complete", "found"),
    [(60, 20, 2), (40, 20, 2), (39, 20, 1), (9, 20, 1), (60, 7, 1), (60, 3, 0)],
)
def test_unasked_at_most_two_a_twentieth_of_the_trials_and_a_quarter_of_a_study(make_spec, trials, complete, found):
    spec = make_spec(budget={"trials": trials}, sampler="kernel")
    old = source("old", [({"x": n / 20}, n / 20) for n in range(complete)])
    assert len(candidates_of(spec, [old])) == found
    # Of knowledge only the best are there: the quarter is that of all.
    carried = replace(old, trials=old.trials[-1:], tried=complete)
    assert len(candidates_of(spec, [carried])) == min(1, found)


def test_the_quarter_is_that_of_all_that_were_tried(make_spec):
    """Those that a pruner let through are the best of many."""
    spec = make_spec(budget={"trials": 60}, sampler="kernel")
    old = source("old", [({"x": n / 3}, n / 3) for n in range(3)])
    assert [len(candidates_of(spec, [replace(old, tried=tried)])) for tried in (3, 4, 8, 40)] == [0, 1, 2, 2]


def test_studies_with_the_same_constants_come_first(make_spec):
    spec = make_spec(constants={"data": "a", "n": [1, 2]}, warm_start={"from": "auto", "trials": 3})
    rows = [({"x": 0.1 * n}, 0.1 * n) for n in range(9)]
    old = [
        replace(source(name, rows[first::4]), constants=constants)
        for first, (name, constants) in enumerate(
            [("other", {"data": "b", "n": [1, 2]}), ("unknown", None), ("same", {"data": "a", "n": [1, 2]})]
        )
    ]
    found = candidates_of(spec, old)
    assert [(one.study, one.other_constants) for one in found] == [("same", False), ("same", False), ("other", True)]


def test_nearness_on_a_logarithmic_range_is_that_of_the_logarithm(make_spec):
    declared = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}
    spec = make_spec(search_space=declared, warm_start="auto")
    # 1e-3 and 1.4e-3 are 0.037 of the four decades apart, 1e-3 and 2e-3 are 0.075.
    old = source("old", [({"lr": 1e-3}, 3.0), ({"lr": 1.4e-3}, 2.0), ({"lr": 2e-3}, 1.0)], **declared)
    assert taken(candidates_of(spec, [old])) == [("old", 0), ("old", 2)]


def test_what_is_enqueued_anyway_is_not_taken_again(make_spec):
    spec = make_spec(warm_start="auto", enqueue=[{"x": 0.9}])
    assert taken(candidates_of(spec, [source("old", [({"x": 0.9}, 0.9), ({"x": 0.5}, 0.5)])])) == [("old", 1)]


def test_a_smaller_loss_is_better(make_spec):
    spec = make_spec(metrics=[LOSS.model_dump()], warm_start="auto")
    old = source("old", [({"x": 0.1}, 0.5), ({"x": 0.9}, 0.1)], (LOSS,))
    assert taken(candidates_of(spec, [old])) == [("old", 1), ("old", 0)]


def test_sources_take_turns_and_groups_do(make_spec):
    declared = {"x": {"low": 0.0, "high": 1.0}, "net": {"choices": ["unet", "attention"]}}
    spec = make_spec(search_space=declared, group_by="net", warm_start={"from": ["a", "b"], "trials": 4})
    rows = {
        "a": [("unet", 0.9), ("unet", 0.8), ("attention", 0.1)],
        "b": [("attention", 0.6), ("attention", 0.2), ("unet", 0.3)],
    }
    a, b = (source(k, [({"x": value, "net": net}, value) for net, value in rows[k]], **declared) for k in rows)
    found = candidates_of(spec, [a, b])
    # Each group begins with another source: unet of a, attention of b, then the other ones.
    assert taken(found) == [("a", 0), ("b", 0), ("b", 2), ("a", 2)]


def test_a_group_that_is_gone_leaves_its_place_to_the_others(make_spec):
    declared = {"x": {"low": 0.0, "high": 1.0}, "net": {"choices": ["unet", "vnet"]}}
    today = declared | {"net": {"choices": ["unet", "resnet"]}}
    spec = make_spec(search_space=today, group_by="net", warm_start="auto")
    old = source("old", [({"x": 0.5, "net": "vnet"}, 0.9), ({"x": 0.5, "net": "unet"}, 0.1)], **declared)
    found = choose(spec, [old])
    assert taken(found.candidates) == [("old", 1)]
    assert found.left_out == {"net = vnet is no longer a choice": 1}


def test_of_several_metrics_the_pareto_front_comes_first_from_end_to_end(make_spec):
    spec = make_spec(metrics=[SCORE.model_dump(), LOSS.model_dump()], warm_start={"from": "auto", "trials": 4})
    values = [(0.9, 0.9), (0.8, 0.5), (0.7, 0.4), (0.6, 0.1), (0.75, 0.6), (0.5, 0.2)]
    old = source("old", [({"x": i / 6}, v) for i, v in enumerate(values)], (SCORE, LOSS))
    # On the front are 0, 1, 2, 3; trial 4 is dominated by 1, trial 5 by 3. Both ends, then the middles.
    assert [number for _, number in taken(candidates_of(spec, [old]))] == [0, 3, 1, 2]


def test_of_metrics_that_are_not_shared_only_the_shared_ones_decide(make_spec):
    spec = make_spec(metrics=[SCORE.model_dump(), LOSS.model_dump()], warm_start="auto")
    auc = Metric(name="auc", direction="maximize")
    old = source("old", [({"x": 0.1}, (5.0, 0.1)), ({"x": 0.9}, (1.0, 0.9))], (auc, SCORE))
    assert [(one.number, one.value) for one in candidates_of(spec, [old])] == [(1, 0.9), (0, 0.1)]
    assert candidates_of(make_spec(metrics=[LOSS.model_dump()], warm_start="auto"), [old]) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=8), st.integers(1, 3))
def test_in_turn_yields_every_trial_of_every_source_once(points, sources):
    from hpo.spec.models import StudySpec

    spec = StudySpec.model_construct(metrics=(SCORE, LOSS), group_by=None)
    olds = [source(f"s{k}", [({"x": x}, (x, y)) for x, y in points], (SCORE, LOSS)) for k in range(sources)]
    found = [(one.name, trial[0]) for one, trial in round_robin(spec, olds)]
    assert sorted(found) == [(f"s{k}", n) for k in range(sources) for n in range(len(points))]
    # After as many picks as there are sources, each has had one.
    assert len({name for name, _ in found[:sources]}) == (sources if points else 0)


# --- while a study runs


def warm_start(count=5, guard=2, maximize=True):
    return WarmStart([Candidate({"x": n / 10}, "old", n, 1.0 - n / 10) for n in range(count)], guard, maximize)


OWN = {"source": "sampler"}


def test_every_other_one_is_warm_until_there_are_no_more():
    warm = warm_start(2)
    offers = [warm.next() for _ in range(6)]
    assert [offer is not None for offer in offers] == [True, False, True, False, False, False]
    params, origin = offers[2]
    assert params == {"x": 0.1}
    assert origin == {"source": "warm_start", "from": "old", "number": 1, "value": 0.9, "index": 1}
    assert warm.facts() == {"studies": ["old"], "offered": 2, "started": 2, "trusted": True, "why": ""}


def test_after_a_restart_none_is_handed_out_twice():
    warm = warm_start(3)
    origins = [warm.next()[1], OWN]
    again = warm_start(3)
    again.resume(origins)
    assert [again.next()[1]["number"], again.next(), again.next()[1]["number"], again.next(), again.next()] == [
        1, None, 2, None, None,
    ]  # fmt: skip
    assert again.facts()["started"] == 3


def test_a_history_that_grew_meanwhile_does_not_make_more_of_them():
    again = warm_start(3)
    again.resume([{"source": "warm_start", "from": "other", "number": n} for n in (7, 8)])
    assert [again.next() is not None for _ in range(4)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("pruner", "given", "guard"),
    [
        ({"name": "successive_halving"}, None, 4),  # the rungs 1 and 4
        ({"name": "successive_halving", "min_resource": 10, "reduction_factor": 2}, None, 11),  # counted from 0 too
        ({"name": "successive_halving", "min_resource": "auto"}, None, 4),
        ({"name": "median"}, None, 4),
        ({"name": "successive_halving", "min_resource": 10}, 2, 2),
        ({"name": "none"}, 0, 0),
    ],
)
def test_the_guard_lasts_through_the_first_rung(make_spec, pruner, given, guard):
    spec = make_spec(pruner=pruner, warm_start={"from": "auto", **({} if given is None else {"guard": given})})
    assert guard_of(spec) == guard
    assert spec.warm_start.guard == given


def test_the_guard_is_for_warm_trials_and_for_their_first_reports():
    warm = warm_start(guard=2)
    origin = warm.next()[1]
    assert [warm.guards(origin, reports) for reports in (1, 2, 3)] == [True, True, False]
    assert not warm.guards(OWN, 1)
    # A second attempt at it is one of its kind.
    assert warm.guards({"source": "retry", "from": "old", "number": 0}, 1)


def feed(warm, kind, number, *values):
    origin = {"source": "warm_start", "from": "old", "number": number} if kind == "warm" else OWN
    return [warm.observe(number, origin, step, value) for step, value in enumerate(values, start=1)]


def test_history_is_no_longer_trusted_when_its_trials_fall_behind_the_samplers_own():
    warm = warm_start(guard=2)
    # The five best of seven are the sampler's: by chance in 1 of C(7, 5) = 21 cases; of six, in 1 of 15.
    for number, value in enumerate((0.6, 0.7, 0.8, 0.9, 0.9), start=10):
        feed(warm, "own", number, 0.0, value)
    feed(warm, "warm", 0, 0.0, 0.3)
    said = feed(warm, "warm", 1, 0.0, 0.55)
    assert said[0] == ""
    assert said[1] == warm.why
    assert "at step 2 the best of 2 trials from them has 0.55, the median of 5 of the sampler's own 0.8" in said[1]
    assert not warm.trusted
    assert warm.disproved_trials == {0, 1}
    assert warm.next() is None
    assert not warm.guards({"from": "old"}, 1)
    assert feed(warm, "warm", 2, 0.0, 0.0) == ["", ""]  # said once


@pytest.mark.parametrize(
    ("own", "warm", "trusted"),
    [
        (5, 2, False),  # 1 / C(7, 5) = 0.048
        (4, 2, True),  # 1 / C(6, 4) = 0.067
        (3, 3, False),  # 1 / C(6, 3) = 0.05
        (3, 2, True),  # 1 / C(5, 3) = 0.1
        (25, 1, True),  # one alone
        (2, 9, True),  # too few to compare with
    ],
)
def test_how_many_it_takes_to_be_sure(own, warm, trusted):
    history = warm_start(9, guard=1)
    for number in range(own):
        feed(history, "own", 100 + number, 0.5)
    for number in range(warm):
        feed(history, "warm", number, 0.1)
    assert history.trusted == trusted


def test_one_good_one_is_enough_to_trust_it():
    warm = warm_start(guard=2)
    for number in range(10, 20):
        feed(warm, "own", number, 0.5, 0.5 + number / 100)
    # 0.645 is the median of 0.6 to 0.69.
    feed(warm, "warm", 4, 0.5, 0.65)
    for number in range(4):
        feed(warm, "warm", number, 0.5, 0.3)
    assert warm.trusted


def test_between_its_first_report_and_the_guards_end_it_is_not_judged():
    warm = warm_start(guard=3)
    for number in range(10, 15):
        feed(warm, "own", number, 0.5, 0.5, 0.5)
    feed(warm, "warm", 0, 0.5, 0.0)
    feed(warm, "warm", 1, 0.5, 0.0)
    assert warm.trusted
    feed(warm, "warm", 2, 0.5, 0.0, 0.0)
    assert warm.trusted  # one of them alone
    feed(warm, "warm", 3, 0.5, 0.0, 0.0)
    assert not warm.trusted


def test_a_loss_is_judged_the_other_way_round_and_final_values_without_reports():
    warm = warm_start(guard=4, maximize=False)
    for number in range(10, 15):
        warm.observe(number, OWN, FINAL, 0.2)
    origin = {"source": "warm_start", "from": "old", "number": 0}
    assert warm.observe(0, origin, FINAL, 0.5) == ""
    assert "at the end the best of 2 trials from them has 0.4" in warm.observe(1, origin, FINAL, 0.4)


def test_an_attempt_that_is_tried_again_is_not_counted_twice():
    warm = warm_start(guard=1)
    for number in range(10, 15):
        feed(warm, "own", number, 0.5)
    feed(warm, "warm", 0, 0.1)
    warm.forget(0)
    feed(warm, "warm", 20, 0.1)  # the same configuration once more
    assert warm.trusted
    feed(warm, "warm", 1, 0.1)
    assert not warm.trusted


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 5), st.floats(-1, 1)), max_size=60),
    st.integers(0, 4),
    st.booleans(),
)
def test_trust_is_lost_exactly_when_the_rule_says(reports, guard, maximize):
    """Against the rule read off a table of all values."""
    warm = warm_start(guard=guard, maximize=maximize)
    sign = 1 if maximize else -1
    table = {}
    expected = True
    for is_warm, number, step, value in reports:
        number += 100 * is_warm
        if step in table.get(number, {}):
            continue
        table.setdefault(number, {})[step] = value
        origin = {"source": "warm_start", "from": "old", "number": number} if is_warm else OWN
        said = warm.observe(number, origin, step, value)
        # A value counts for a warm trial if it was its first report or at least its `guard`th, as they came.
        there = {n: (sign * row[step], list(row).index(step) + 1) for n, row in table.items() if step in row}
        theirs = [value for n, (value, report) in there.items() if n >= 100 and (report == 1 or report >= guard)]
        own = [value for n, (value, _) in there.items() if n < 100]
        lost = expected and len(theirs) >= 2 and len(own) >= 3 and max(theirs) < statistics.median(own)
        if lost:  # of all orders of so many, the part in which the best `ahead` are the sampler's
            ahead, all_ = sum(value > max(theirs) for value in own), len(own) + len(theirs)
            lost = math.prod((len(own) - k) / (all_ - k) for k in range(ahead)) <= 0.05 + 1e-12
        expected = expected and not lost
        assert bool(said) == lost
        assert warm.trusted == expected
