"""Population-based training by the Oracle: the rule in numbers, forks, and what does not go with it."""

from __future__ import annotations

import random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineages import check_lineages
from optuna.storages import InMemoryStorage

from hpo import layout
from hpo.actions.best import as_yaml, choose
from hpo.analysis.lineages import population
from hpo.analysis.records import records_of
from hpo.engines.inline import InlineEngine
from hpo.errors import SpecError
from hpo.machine.checkpoint import read_checkpoint
from hpo.oracle.open_study import open_study
from hpo.oracle.oracle import Oracle
from hpo.runner import run
from hpo.search.pbt import Segment, checkpoints_needed, explored, parent_of, propose, segments_of
from hpo.space.encoding import UnitCubeEncoder
from hpo.spec.load import load_spec
from hpo.spec.population import population_of, population_words
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME, SEGMENT
from hpo.trackers.mlflow.records import trial_tags
from hpo.trial import Outcome

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


def test_checkpoints_hold_exactly_what_the_lineages_say(study_yaml, runs):
    keys = {"engine": {"name": "local", "workers": 2}, "checkpoints": {"keep_best": "all"}}
    path = study_yaml("segmented", **{**PBT, **keys})
    run(path, runs=runs)
    check_lineages(runs, members=4, generations=4, interval=2)
    report = (runs / "toy" / "report.md").read_text()
    assert "\n## Population\n" in report
    for title in ("Analysis of variance", "Effect of each parameter", "Parameter importance", "Training stability"):
        assert f"## {title}" not in report
    assert "so train longer" not in report
    assert "with other seeds" not in report


def test_surplus_checkpoints_go_when_no_member_can_go_on_from_them(study_yaml, runs):
    path = study_yaml("segmented", **{**PBT, "engine": {"name": "inline"}, "checkpoints": {"keep_best": 1}})
    run(path, runs=runs)
    kept = [file.parent.name for file in (runs / "toy" / "trials").glob("*/checkpoint.pkl")]
    assert len(kept) == 1
    spec, study = load_study(runs, "toy")
    assert kept == [str(study.best_trial.number)]
    assert not checkpoints_needed(spec, study.trials)


def drive(spec, folder):
    """Run a study without its report. Return its Optuna study, and why it stopped."""
    study = open_study(spec, InMemoryStorage())
    oracle = Oracle(spec, study, folder)
    InlineEngine().run(oracle)
    oracle.close()
    return study, oracle.budget.stopped


def test_members_of_one_group_stay_in_it(study_yaml, tmp_path):
    spec = spec_of(study_yaml, group_by="kind", engine="inline")
    study, _ = drive(spec, tmp_path / "toy")
    groups = {}
    for one in segments_of(spec, study.trials):
        groups.setdefault(one.member, set()).add(one.group)
    assert groups == {0: {"a"}, 1: {"b"}, 2: {"a"}, 3: {"b"}}


def test_the_first_members_have_the_enqueued_parameters(study_yaml, tmp_path):
    spec = spec_of(study_yaml, enqueue=[{"rate": 0.25}, {"kind": "b"}], engine="inline")
    study, _ = drive(spec, tmp_path / "toy")
    found = {(one.member, one.generation): one for one in segments_of(spec, study.trials)}
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
def test_an_objective_that_cannot_go_on_stops_the_study_with_a_sentence(study_yaml, tmp_path, objective, said):
    study, stopped = drive(load_spec(study_yaml(objective, **{**PBT, "engine": "inline"})), tmp_path / "toy")
    assert said in stopped
    assert "sampler pbt needs an objective that" in stopped
    assert len(study.trials) <= 5


def test_a_segment_whose_checkpoint_is_gone_fails_and_its_member_is_replaced(study_yaml, tmp_path):
    spec = spec_of(study_yaml, engine="inline", checkpoints={"keep_best": "all"})
    study = open_study(spec, InMemoryStorage())
    oracle = Oracle(spec, study, tmp_path / "toy")
    job = oracle.ask()
    (job.directory / layout.CHECKPOINT).write_bytes(b"x")
    oracle.report(job.number, 2, {"score": -1.0})
    oracle.tell(Outcome(job.number, "PRUNED", cause="pruner", reason="its segment ends"))
    others = [oracle.ask() for _ in range(3)]
    (job.directory / layout.CHECKPOINT).unlink()
    again = oracle.ask()
    assert study.trials[again.number].user_attrs[ORIGIN][SEGMENT]["parent"] == job.number
    assert "reports step 1" in oracle.report(again.number, 1, {"score": -1.0}).reason
    oracle.tell(Outcome(again.number, "PRUNED", cause="pruner", reason="it was told so"))
    assert [study.trials[n].state.name for n in (job.number, again.number)] == ["COMPLETE", "FAIL"]
    assert not oracle.budget.stopped  # the objective is not to blame
    assert len(others) == 3
    oracle.close()


def test_mlflow_tags_name_the_lineage(study_yaml, tmp_path):
    spec = spec_of(study_yaml, engine="inline")
    study, _ = drive(spec, tmp_path / "toy")
    for trial in study.trials:
        place, tags = trial.user_attrs[ORIGIN][SEGMENT], trial_tags(trial, spec)
        assert tags["hpo.member"] == str(place["member"])
        assert tags["hpo.generation"] == str(place["generation"])
        assert tags.get("hpo.parent") == (None if place["parent"] is None else str(place["parent"]))


def test_the_schedule_of_the_best_trial_is_what_its_checkpoint_was_trained_with(study_yaml, tmp_path):
    # The score is lower for every step trained, so the best trial is a first segment: take the last ones too.
    spec = spec_of(study_yaml, engine="inline", checkpoints={"keep_best": "all"})
    study, _ = drive(spec, tmp_path / "toy")
    records = records_of(study, spec, tmp_path / "toy")
    found = population(records)
    assert found.parameters == ("rate",)
    assert [lineage.member for lineage in found.survivors] == [0, 1, 2, 3]
    for lineage in found.survivors:
        rates = [(step, one.params["rate"]) for one in lineage.stages for step in range(one.first, one.last + 1)]
        state = read_checkpoint(layout.trial_directory(tmp_path / "toy", lineage.last.number) / layout.CHECKPOINT, "")
        assert state == rates
        text = as_yaml(spec, choose(records, lineage.last.number))
        for one in lineage.stages:
            assert f"#   steps {one.first} to {one.last} (trial {one.trial.number}): " in text
    assert any(lineage.forks for lineage in found.survivors)


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
