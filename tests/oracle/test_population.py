"""Population-based training by the Oracle: the rule in numbers, forks, and what does not go with it."""

from __future__ import annotations

import random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineages import check_lineages, segments

from hpo.errors import SpecError
from hpo.runner import run
from hpo.search.pbt import Segment, checkpoints_needed, explored, parent_of, propose, segments_of
from hpo.space.encoding import UnitCubeEncoder
from hpo.spec.load import load_spec
from hpo.spec.population import population_of, population_words
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME, SEGMENT

PBT = {
    "search_space": {"rate": {"low": 0.01, "high": 1.0}, "kind": {"choices": ["a", "b"]}},
    "sampler": {"name": "pbt", "population_size": 4, "interval": 2},
    "pruner": None,
    "constants": {"epochs": 8},
    "budget": {"trials": 16},
}


def spec_of(study_yaml, **keys):
    return load_spec(study_yaml("segmented", **{**PBT, **keys}))


def segment(number, cost, member=None, generation=1, end=2, group=None):
    return Segment(number, number if member is None else member, generation, group, {"rate": 0.5}, 7, cost, end)


# --- the rule


@pytest.mark.parametrize(
    ("costs", "own", "parents"),
    [
        ([1.0, 2.0, 3.0, 4.0], 3, {0}),  # a quarter of four: the worst goes on from the best
        ([1.0, 2.0, 3.0, 4.0], 2, {2}),
        ([1.0, 2.0, 3.0, 4.0], 0, {0}),
        ([4.0, 3.0], 0, {1}),  # of two the worse one
        ([4.0], 0, {0}),  # nobody to compare with
        ([1.0, 2.0, 3.0, 4.0, 5.0], 3, {0, 1}),  # a quarter of five, rounded up: two
        ([1.0, 1.0, 1.0, 1.0], 3, {3}),  # as good as the best
        ([1.0, float("inf"), 3.0, 4.0], 3, {3}),  # one that failed is behind all
        ([1.0, float("inf"), 3.0, 4.0], 1, {0}),
        ([float("inf"), float("inf")], 0, {None}),  # nobody to go on from
    ],
)
def test_the_worst_members_go_on_from_the_best_ones(study_yaml, costs, own, parents):
    population = population_of(spec_of(study_yaml))
    ended = [segment(number, cost, end=2 if cost < float("inf") else None) for number, cost in enumerate(costs)]
    found = [parent_of(ended[own], ended, population, random.Random(seed)) for seed in range(40)]
    assert {one and one.number for one in found} == parents


def test_only_segments_of_one_generation_and_group_are_compared(study_yaml):
    population = population_of(spec_of(study_yaml))
    own = segment(0, 4.0, group="a")
    others = [segment(1, 1.0, group="b"), segment(2, 1.0, generation=2, group="a"), segment(3, None, group="a")]
    assert parent_of(own, [own, *others], population, random.Random(0)) is own


def test_a_member_whose_training_came_to_its_end_is_not_gone_on_from(study_yaml):
    population = population_of(spec_of(study_yaml))
    final, own = segment(0, 1.0, end=None), segment(1, 2.0)
    assert parent_of(own, [final, own], population, random.Random(0)) is own


def test_parameters_are_multiplied_or_drawn_anew_within_their_ranges(study_yaml):
    space = {
        "rate": {"low": 0.01, "high": 1.0, "log": True},
        "layers": {"low": 1, "high": 4},
        "kind": {"choices": ["a", "b"]},
    }
    sampler = {**PBT["sampler"], "resample_probability": 0.0, "mutate": ["rate", "layers"]}
    spec = spec_of(study_yaml, search_space=space, sampler=sampler)
    encoder = UnitCubeEncoder(spec.space)

    def changed(rate, layers, resample=0.0):
        population = population_of(
            spec.model_copy(
                update={
                    "sampler": spec.sampler.model_copy(
                        update={"options": {**spec.sampler.options, "resample_probability": resample}}
                    )
                }
            )
        )
        params = {"rate": rate, "layers": layers, "kind": "b"}
        draws = (random.Random(seed) for seed in range(60))
        return [explored(params, encoder.distributions, encoder, population, chance) for chance in draws]

    found = changed(0.5, 2)
    assert {one["rate"] for one in found} == {0.4, 0.6}
    assert {one["layers"] for one in found} == {1, 3}  # 1.6 and 2.4 round to where it was: a step away
    assert {one["kind"] for one in found} == {"b"}
    assert {one["rate"] for one in changed(0.9, 4)} == {0.9 * 0.8, 1.0}  # not beyond the range
    assert {one["layers"] for one in changed(0.9, 4)} == {3, 4}
    drawn = sorted(one["rate"] for one in changed(0.5, 2, resample=1.0))
    assert drawn[0] < 0.03 < 0.3 < drawn[-1]
    assert 0.05 < drawn[30] < 0.2  # the median in the logarithm is 0.1


def trial_of(number, proposal, value, state=optuna.trial.TrialState.COMPLETE, end=True):
    trial = optuna.trial.create_trial(
        state=state,
        value=value if state == optuna.trial.TrialState.COMPLETE else None,
        params=dict(proposal.params),
        distributions={
            "rate": optuna.distributions.FloatDistribution(0.01, 1.0),
            "kind": optuna.distributions.CategoricalDistribution(("a", "b")),
        },
        user_attrs={
            ORIGIN: {SEGMENT: dict(proposal.place)},
            JOB: {"seed": number if proposal.seed is None else proposal.seed},
            OUTCOME: {"segment_end": proposal.place["until"]} if end and proposal.place["until"] else {},
        },
    )
    trial.number = number
    return trial


@settings(max_examples=30)
@given(values=st.lists(st.floats(0, 1) | st.none(), min_size=16, max_size=16))
def test_what_comes_next_follows_from_the_segments_that_ended_alone(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rule")
    spec = load_spec(_written(folder))
    trials, proposals = [], []
    while (proposal := propose(spec, segments_of(spec, trials))) is not None:
        proposals.append(proposal)
        value = values[len(trials)]
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        trials.append(trial_of(len(trials), proposal, value, state))
    for ended in range(len(trials)):
        assert propose(spec, segments_of(spec, trials[:ended])) == proposals[ended]
        # Whoever a proposal goes on from has a checkpoint by then.
        parent = proposals[ended].place["parent"]
        assert parent is None or parent in checkpoints_needed(spec, trials[:ended])
    places = [(one.place["member"], one.place["generation"]) for one in proposals]
    assert len(set(places)) == len(places) <= 16
    if None not in values:
        assert len(places) == 16
        assert not checkpoints_needed(spec, trials)


def _written(folder):
    import yaml

    keys = {key: value for key, value in PBT.items() if value is not None}
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump(
            {"name": "toy", "objective": "toys:segmented", "root": "/".join(__file__.split("/")[:-2])}
            | {"metrics": [{"name": "score", "direction": "maximize"}], **keys}
        )
    )
    return path


# --- runs


@pytest.mark.parametrize("engine", ["inline", "local"])
def test_checkpoints_hold_exactly_what_the_lineages_say(study_yaml, runs, engine):
    workers = {} if engine == "inline" else {"workers": 2}
    path = study_yaml(
        "segmented", **{**PBT, "engine": {"name": engine, **workers}, "checkpoints": {"keep_best": "all"}}
    )
    run(path, runs=runs)
    check_lineages(runs, members=4, generations=4, interval=2)


def test_surplus_checkpoints_go_when_no_member_can_go_on_from_them(study_yaml, runs):
    path = study_yaml("segmented", **{**PBT, "engine": {"name": "inline"}, "checkpoints": {"keep_best": 1}})
    run(path, runs=runs)
    kept = [file.parent.name for file in (runs / "toy" / "trials").glob("*/checkpoint.pkl")]
    assert len(kept) == 1
    spec, study = load_study(runs, "toy")
    assert kept == [str(study.best_trial.number)]
    assert not checkpoints_needed(spec, study.trials)


def test_members_of_one_group_stay_in_it(study_yaml, runs):
    path = study_yaml("segmented", **{**PBT, "engine": {"name": "inline"}, "group_by": "kind"})
    run(path, runs=runs)
    spec, study = load_study(runs, "toy")
    groups = {}
    for one in segments_of(spec, study.trials):
        groups.setdefault(one.member, set()).add(one.group)
    assert groups == {0: {"a"}, 1: {"b"}, 2: {"a"}, 3: {"b"}}


def test_the_first_members_have_the_enqueued_parameters(study_yaml, runs):
    path = study_yaml("segmented", **{**PBT, "engine": {"name": "inline"}, "enqueue": [{"rate": 0.25}, {"kind": "b"}]})
    run(path, runs=runs)
    found = segments(runs)
    assert found[0, 1].params["rate"] == 0.25
    assert found[1, 1].params["kind"] == "b"
    assert len(found) == 16


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("segmented_without_restore", "it was to go on from step 2, with the checkpoint of trial "),
        ("segmented_without_save", "its segment ended at step 2, and it had saved no checkpoint"),
    ],
)
def test_an_objective_that_cannot_go_on_stops_the_study_with_a_sentence(study_yaml, runs, objective, said):
    result = run(study_yaml(objective, **{**PBT, "engine": {"name": "inline"}}), runs=runs)
    assert said in result.stopped
    assert "sampler pbt needs an objective that" in result.stopped
    assert len(load_study(runs, "toy")[1].trials) <= 5


# --- study.yaml


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"pruner": {"name": "median"}}, "'median' does not go with sampler pbt"),
        ({"budget": {"trials": 3}}, "with sampler pbt a trial is a segment of a member's training"),
        ({"constants": {}}, "expected the number of steps (epochs)"),
        ({"sampler": {"name": "pbt", "interval": 8}}, "members would never be compared"),
        ({"sampler": {"name": "pbt", "mutate": ["rat"]}}, "did you mean 'rate'"),
        ({"sampler": {"name": "pbt", "mutate": ["kind"]}}, "takes over only with a checkpoint"),
        ({"sampler": {"name": "pbt", "quantile": 0.7}}, "expected more than 0 and at most 0.5"),
        ({"sampler": {"name": "pbt", "population_size": 1}}, "expected at least 2 members"),
        ({"sampler": {"name": "pbt", "perturbation": 0.8}}, "expected factors above 0, such as [0.8, 1.2]"),
        ({"sampler": {"name": "pbt", "interval": "x"}}, "sampler.interval"),
        ({"fallbacks": [{"rate": 0.5}]}, "are not tried with sampler pbt"),
        ({"metrics": [{"name": "a", "direction": "maximize"}, {"name": "b", "direction": "maximize"}]}, "one metric"),
        ({"search_space": {"kind": {"choices": ["a", "b"]}}}, "has no float that could change"),
        ({"sampler": {"name": "PopulationBasedTraining"}}, "Write 'pbt'"),
    ],
)
def test_what_does_not_go_with_a_population_is_refused_with_a_sentence(study_yaml, keys, said):
    with pytest.raises(SpecError) as refused:
        spec_of(study_yaml, **keys)
    assert said.lower() in str(refused.value).lower()


def test_a_plan_says_what_a_trial_is_and_what_the_budget_pays_for(study_yaml):
    words = population_words(spec_of(study_yaml, budget={"trials": 10}))
    assert words == (
        "4 members, each trained for 8 steps in 4 segments of 2; a trial is one segment, and all take 16",
        "the budget of 10 segments pays for 2.5 full trainings: the run ends before the members are trained to their "
        "end, which takes 16",
        "after each segment the bottom 25 % go on from checkpoints of the top 25 %, with changed parameters",
        "on the way rate changes; a member keeps kind as long as its checkpoint",
    )
