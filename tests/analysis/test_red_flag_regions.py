from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import ended_by, epochs, study, trial
from scipy.stats import fisher_exact

from hpo.analysis.axes import axis_of, searched
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.red_flag_regions import (
    Region,
    Share,
    Strip,
    enriched,
    enrichments,
    needed_trials,
    region_label,
    regions_of,
)
from hpo.space.search_space import SearchSpace

GAMMA = {"gamma": {"low": 0.0, "high": 5.0}}
TWO = {"architecture": {"choices": ["unet", "resnet"]}, "loss": {"choices": ["bce", "focal"]}}


def well(number: int, params: dict[str, object], length: int = 10) -> TrialRecord:
    return trial(number, params, 0.5, history=epochs(score=[0.5] * length))


def made(cells: list[tuple[dict[str, object], int, int]], **more: object) -> StudyRecord:
    """Of each of these settings `n` trials, `ill` of which a flag stopped at step 4."""
    trials: list[TrialRecord] = []
    for params, ill, n in cells:
        for k in range(n):
            number = len(trials)
            trials.append(ended_by(number, params, "collapsed", 4) if k < ill else well(number, params))
    return study(trials, **more)  # type: ignore[arg-type]


def tail(ill: int, n: int, others: int, m: int) -> Fraction:
    """Fisher's one-sided p, added up in whole numbers."""
    every = range(ill, min(n, ill + others) + 1)
    ways = sum(math.comb(n, k) * math.comb(m, ill + others - k) for k in every)
    return Fraction(ways, math.comb(n + m, ill + others))


def test_a_flag_lives_above_an_edge() -> None:
    """9 of 11 trials with gamma above 3, 2 of 40 elsewhere; five bins are 11 regions."""
    record = made(
        [({"gamma": 0.5}, 0, 14), ({"gamma": 1.5}, 1, 13), ({"gamma": 2.5}, 1, 13), ({"gamma": 3.5}, 4, 5),
         ({"gamma": 4.5}, 5, 6)],
        space=GAMMA,
        group_by=None,
    )  # fmt: skip
    (found,) = enrichments(record)
    (group,) = found.groups
    assert (found.flag, found.since, found.between, found.tests) == ("collapsed", 4, None, 11)
    assert (group.share, group.needed) == (Share(11, 51), None)
    (strip,) = group.strips
    assert strip.cells == (Share(0, 14), Share(1, 13), Share(1, 13), Share(4, 5), Share(5, 6))
    ((_, region),) = found.regions
    assert (region.first, region.last, region.inside, region.elsewhere) == (3, 4, Share(9, 11), Share(2, 40))
    assert region.p == pytest.approx(float(11 * tail(9, 11, 2, 40)))
    assert region_label(strip.axis, region) == "gamma ≥ 3"


def test_only_trials_that_came_so_far_count() -> None:
    """Raised from step 4 on: who ended at step 3 could not raise it."""
    trials = [
        ended_by(0, {"gamma": 4.5}, "collapsed", 4),
        ended_by(1, {"gamma": 4.5}, "collapsed", 9),
        well(2, {"gamma": 0.5}, length=5),  # its last step is 4
        well(3, {"gamma": 0.5}, length=4),
        trial(4, {"gamma": 0.5}, state="FAIL", cause="exception"),
        trial(5, {"gamma": 0.5}, state="RUNNING", history=epochs(score=[0.5] * 9)),
    ]
    (found,) = enrichments(study(trials, space=GAMMA, group_by=None))
    assert found.groups[0].share == Share(2, 3)


def test_groups_are_tested_each_for_itself() -> None:
    """Half of the trials of either loss in all, yet in each architecture it is one loss only."""
    record = made(
        [({"architecture": "unet", "loss": "focal"}, 10, 10), ({"architecture": "unet", "loss": "bce"}, 0, 10),
         ({"architecture": "resnet", "loss": "focal"}, 0, 10), ({"architecture": "resnet", "loss": "bce"}, 10, 10)],
        space=TWO,
    )  # fmt: skip
    (found,) = enrichments(record)
    said = [(group.group, region_label(group.strips[0].axis, region), region.p) for group, region in found.regions]
    # Each group has two regions, and the groups themselves are two more; no p is below a smaller one's.
    p = pytest.approx(6 / math.comb(20, 10))
    assert said == [("unet", "loss focal", p), ("resnet", "loss bce", p)]
    assert found.between is not None
    assert [strip.cells for strip in found.between.strips] == [(Share(10, 20), Share(10, 20))]
    assert found.between.strips[0].region is not None
    assert found.between.strips[0].region.p == 1.0


def test_a_group_that_is_ill_itself_is_named() -> None:
    settings = [{"architecture": name, "loss": loss} for name in ("unet", "resnet") for loss in ("bce", "focal")]
    record = made([(settings[0], 8, 10), (settings[1], 8, 10), (settings[2], 0, 10), (settings[3], 0, 10)], space=TWO)
    (found,) = enrichments(record)
    ((group, region),) = found.regions
    assert group is found.between
    assert region_label(group.strips[0].axis, region) == "architecture unet"
    unet, resnet = found.groups
    assert (unet.needed, resnet.needed) == (None, 8)  # nobody was ill there: 2 regions, 56 > 40 of 8 trials


def test_trials_without_the_parameter_are_not_elsewhere() -> None:
    """All with a gamma are focal: what is compared is gamma with gamma."""
    space = {"loss": {"choices": {"bce": {}, "focal": {"gamma": {"choices": [1, 2]}}}}}
    record = made(
        [({"loss": "bce"}, 0, 30), ({"loss": "focal", "gamma": 1}, 6, 8), ({"loss": "focal", "gamma": 2}, 6, 8)],
        space=space,
        group_by=None,
    )
    (found,) = enrichments(record)
    strips = {strip.axis.name: strip for strip in found.groups[0].strips}
    assert strips["loss"].region is not None
    assert strips["loss"].region.significant
    assert strips["gamma"].region is not None
    assert strips["gamma"].region.elsewhere == Share(6, 8)
    assert strips["gamma"].region.p == 1.0


def test_too_few_trials_are_not_tested() -> None:
    record = made([({"gamma": 0.5}, 0, 20), ({"gamma": 4.5}, 2, 2)], space=GAMMA, group_by=None)
    (found,) = enrichments(record)
    assert (found.tests, found.regions) == (0, ())
    assert found.groups[0].share == Share(2, 22)
    # Two regions hold trials: the smallest n with binomial(n, 3) above 2 / 0.05 = 40 is 8.
    assert found.groups[0].needed == 8


def test_needed_is_where_the_best_case_is_significant() -> None:
    # binomial(6, 3) = 20 is what one region needs, and not more than it: one of 7 gives 35.
    assert needed_trials(Share(3, 6), 1) == 7
    assert needed_trials(Share(3, 7), 1) is None
    assert needed_trials(Share(4, 7), 1) is None
    assert needed_trials(Share(18, 20), 1) == 7  # two without it


def test_nothing_raised_is_no_disease() -> None:
    assert enrichments(study([well(0, {"gamma": 1.0})], space=GAMMA, group_by=None)) == ()


# --- regions


def axis(**given: object):
    return axis_of("x", searched(SearchSpace.parse({"x": given}))["x"])


@pytest.mark.parametrize(
    ("given", "first", "last", "said"),
    [
        ({"low": 0.0, "high": 5.0}, 0, 0, "x < 1"),
        ({"low": 0.0, "high": 5.0}, 0, 1, "x < 2"),
        ({"low": 0.0, "high": 5.0}, 4, 4, "x ≥ 4"),
        ({"low": 0.0, "high": 5.0}, 2, 2, "x 2 to 3"),
        ({"low": 1e-4, "high": 1e-2, "log": True}, 2, 3, "x ≥ 0.001"),
        ({"low": 1, "high": 100}, 3, 4, "x ≥ 61"),
        ({"choices": [32, 8, 16]}, 1, 2, "x ≥ 16"),
        ({"choices": [32, 8, 16]}, 0, 1, "x ≤ 16"),
        ({"choices": [32, 8, 16]}, 1, 1, "x 16"),
        ({"choices": ["b", "a"]}, 1, 1, "x a"),
    ],
)
def test_a_region_is_spelled_like_a_configuration(given: dict[str, object], first: int, last: int, said: str) -> None:
    assert region_label(axis(**given), Region("x", first, last, Share(), Share())) == said


def test_regions_of_choices_are_single_and_empty_cells_make_none() -> None:
    letters = Strip(axis(choices=["a", "b", "c"]), (Share(1, 2), Share(0, 3), Share(0, 0)))
    assert [(one.first, one.last) for one in regions_of(letters)] == [(0, 0), (1, 1)]
    # The second cell and all from it on hold the same trials: the narrower is kept.
    bins = Strip(axis(low=0.0, high=5.0), (Share(1, 2), Share(0, 3), Share(), Share(2, 2), Share()))
    found = [(one.first, one.last, one.inside, one.elsewhere) for one in regions_of(bins)]
    assert found == [
        (0, 0, Share(1, 2), Share(2, 5)),
        (1, 1, Share(0, 3), Share(3, 4)),
        (3, 3, Share(2, 2), Share(1, 5)),
        (0, 1, Share(1, 5), Share(2, 2)),
        (1, 4, Share(2, 5), Share(1, 2)),
    ]


# --- the test


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_p_is_that_of_fishers_exact_test(ill: int, good: int, others: int, fine: int) -> None:
    (p,) = enriched([Share(ill, ill + good)], [Share(others, others + fine)])
    assert p == pytest.approx(fisher_exact([[ill, good], [others, fine]], alternative="greater")[1], abs=1e-12)
    assert p == pytest.approx(float(tail(ill, ill + good, others, others + fine)), rel=1e-6)


def test_flags_by_lot_are_seldom_found_anywhere() -> None:
    """The correction holds what it says: of studies whose flags fell by lot, at most 5 % name a region (binomial, of
    300: above 24 with a probability below 1 %)."""
    drawn = random.Random(1)
    space = {"gamma": {"low": 0.0, "high": 5.0}, "rate": {"low": 1e-4, "high": 1e-2, "log": True}, **TWO}
    found = 0
    for _ in range(300):
        trials: list[TrialRecord] = []
        for number in range(40):
            params = {
                "gamma": drawn.uniform(0, 5), "rate": 10 ** drawn.uniform(-4, -2),
                "architecture": drawn.choice(["unet", "resnet"]), "loss": drawn.choice(["bce", "focal"]),
            }  # fmt: skip
            ill = drawn.random() < 0.3
            trials.append(ended_by(number, params, "collapsed", 4) if ill else well(number, params))
        found += any(one.regions for one in enrichments(study(trials, space=space)))
    assert found <= 24
