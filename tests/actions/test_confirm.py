"""`hpo confirm` from end to end: what is trained with which seeds, what is refused, and what is said of it."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from books import processes_of
from waiting import leftover, wait_until

import hpo
from hpo import layout
from hpo.actions.best import choose
from hpo.actions.confirm import Limits, plan_at_end, plan_confirmation
from hpo.actions.replay import recorded_of
from hpo.analysis.confirmation import BETTER, NO_BETTER, NOT_SHOWN, TIED, WINNER, WORSE, Confirmation, confirmation_of
from hpo.analysis.records import read_study
from hpo.analysis.statistics.racing import Difference
from hpo.errors import HpoError, ReplayError, SpecError
from hpo.reports.sections.confirmation import confirmation_sentences
from hpo.spec.confirming import fitted
from hpo.spec.load import load_spec
from hpo.spec.racing import CHOOSE, ESTIMATE
from hpo.trackers.base import Tracker

Write = Callable[..., Path]
ENQUEUED = [{"x": x} for x in (0.1, 0.9, 0.901, 0.5, 0.902)]
INLINE = {"engine": "inline", "enqueue": ENQUEUED, "budget": {"trials": 5}, "constants": {"data": {"seed": 0}}}


@pytest.fixture
def search(study_yaml: Write, runs: Path) -> Callable[..., Path]:
    def run(**keys: object) -> Path:
        path = study_yaml("lucky", **(INLINE | keys))
        hpo.run(path, runs)
        return path

    return run


def confirmed(runs: Path, **options: object) -> Confirmation:
    hpo.run(plan_confirmation(runs, "toy", **options), runs)  # type: ignore[arg-type]
    found = confirmation_of(read_study(runs, "toy"))
    assert found is not None
    return found


def test_the_best_and_the_reference_are_trained_with_the_same_fresh_seeds(search: Write, runs: Path) -> None:
    search()
    found = confirmed(runs, top=3)
    assert next((one.trial, one.params, one.reference) for one in found.configurations) == (0, {"x": 0.1}, True)
    assert {one.trial for one in found.configurations} == {0, 1, 2, 4}
    standings = {one.params["x"]: one.standing for one in found.configurations}
    assert standings[0.1] == WORSE
    assert sorted(standings[x] for x in (0.9, 0.901, 0.902)) == [TIED, TIED, WINNER]

    trials = read_study(runs, "toy.confirm").trials
    seeds: dict[tuple[str, int], set[int]] = {}
    for trial in trials:
        assert trial.training is not None
        assert trial.seed is not None
        seeds.setdefault((trial.training.part, trial.training.index), set()).add(trial.seed)
    assert all(len(found) == 1 for found in seeds.values())
    every = [one for found in seeds.values() for one in found]
    assert len(set(every)) == len(every) == 10
    assert not set(every) & {trial.seed for trial in read_study(runs, "toy").trials}
    # 4 x 3 seeds, then the three that are left to 5, then the winner with 5 more.
    assert len(trials) == found.trainings == 12 + 6 + 5
    assert found.plan.most == 4 * 5 + 2 * 5

    # The winner is estimated by seeds that did not choose it.
    assert found.winner is not None
    assert found.winner.estimating is not None
    assert found.done
    again = [trial.values["score"] for trial in trials if trial.training and trial.training.part == ESTIMATE]
    assert found.winner.estimating.mean == pytest.approx(statistics.fmean(again))
    assert found.winner.estimating.deviation == pytest.approx(statistics.stdev(again))
    chosen = [
        trial.values["score"]
        for trial in trials
        if trial.training and trial.training.part == CHOOSE and trial.params == found.winner.params
    ]
    assert found.winner.choosing.mean == pytest.approx(statistics.fmean(chosen))
    assert found.verdict == BETTER
    assert found.gain is not None
    assert found.gain.low > 0
    assert found.winner.test == {}  # nothing was scored yet
    choice = choose(read_study(runs, "toy"))
    assert choice.trial.number == found.winner.trial
    assert choice.confirmation is not None


def test_the_same_again_trains_nothing_and_more_seeds_train_the_rest(search: Write, runs: Path) -> None:
    search()
    confirmed(runs, top=3)
    before = len(read_study(runs, "toy.confirm").trials)
    assert plan_confirmation(runs, "toy", 3) == load_spec(runs / "toy.confirm" / layout.SPEC)
    confirmed(runs)
    assert len(read_study(runs, "toy.confirm").trials) == before
    more = confirmed(runs, seeds=8)
    assert more.plan.seeds == 8
    assert more.done
    assert more.winner is not None
    assert more.winner.estimating is not None
    assert more.winner.estimating.n == 8
    trials = read_study(runs, "toy.confirm").trials
    assert trials[:before][-1].training is not None
    places = [trial.training for trial in trials]
    assert len(set(places)) == len(places)  # nothing was trained twice
    larger = confirmed(runs, top=5)
    assert [one.trial for one in larger.configurations][:4] == [one.trial for one in more.configurations]
    assert len(larger.configurations) == 5


def test_the_data_are_split_anew_with_each_seed(search: Write, runs: Path) -> None:
    search()
    confirmed(runs, top=1, seeds=2, resplit=True)
    trials = read_study(runs, "toy.confirm").trials
    assert trials
    assert all(trial.values["split"] == trial.seed for trial in trials)
    with pytest.raises(HpoError, match="was begun with --resplit, and trainings of both kinds cannot be compared"):
        plan_confirmation(runs, "toy", resplit=False)


def test_a_race_in_each_group(study_yaml: Write, runs: Path) -> None:
    space = {"net": {"choices": ["a", "b"]}, "x": {"low": 0.0, "high": 1.0}}
    enqueue = [{"net": net, "x": x} for net in "ab" for x in (0.2, 0.5, 0.8)]
    path = study_yaml(
        "lucky",
        **(INLINE | {"group_by": "net", "search_space": space, "enqueue": enqueue}),
    )
    hpo.run(path, runs, overrides=["budget.trials=6"])
    found = confirmed(runs, top=2, seeds=3, per_group=True)
    assert [len(heat) for heat in found.plan.heats] == [3, 2]
    winners = {one.group: one for one in found.configurations if one.standing == WINNER}
    assert {group: one.params["x"] for group, one in winners.items()} == {"a": 0.8, "b": 0.8}
    assert all(one.estimating is not None and one.estimating.n == 3 for one in winners.values())
    assert found.winner is not None
    assert found.groups.keys() == {"a", "b"} - {found.winner.group}


def test_a_configuration_that_fails_is_left_behind(search: Write, runs: Path) -> None:
    path = search()
    constants = {"data": {"seed": 0}, "failing": [0.901]}
    planned = plan_confirmation(runs, "toy", 3).model_copy(update={"constants": constants})
    assert path.exists()
    hpo.run(planned, runs)
    found = confirmation_of(read_study(runs, "toy"))
    assert found is not None
    assert found.winner is not None
    by_x = {one.params["x"]: one for one in found.configurations}
    assert (by_x[0.901].standing, by_x[0.901].failures) == ("failed", by_x[0.901].failures)
    assert 1 <= by_x[0.901].failures <= 3
    assert found.winner.params["x"] in (0.9, 0.902)


def test_what_cannot_be_confirmed_is_said(search: Write, study_yaml: Write, runs: Path) -> None:
    search(constants={})
    with pytest.raises(HpoError, match=r"--resplit: study 'toy' has no constants.data.seed, .* `constants: \{data"):
        plan_confirmation(runs, "toy", resplit=True)
    with pytest.raises(HpoError, match="--per-group: study 'toy' has no group_by"):
        plan_confirmation(runs, "toy", per_group=True)
    confirmed(runs, top=1, seeds=2)
    with pytest.raises(HpoError, match="is itself a confirmation; `hpo confirm toy` goes on with it"):
        plan_confirmation(runs, "toy.confirm")
    hpo.run(study_yaml("raising", name="bad", enqueue=[{"x": 0.9}], budget={"trials": 1}, engine="inline"), runs)
    with pytest.raises(HpoError, match="no trial of study 'bad' has completed, so there is nothing to confirm"):
        plan_confirmation(runs, "bad")


def test_a_confirmation_of_another_study_of_the_name_is_not_taken_for_its_own(search: Write, runs: Path) -> None:
    search()
    confirmed(runs, top=1, seeds=2)
    owner = runs / "toy" / layout.OWNER
    owner.write_text(owner.read_text().replace('"key": "', '"key": "0'))
    assert confirmation_of(read_study(runs, "toy")) is None


def test_a_part_of_the_budget_confirms_at_the_end(study_yaml: Write, runs: Path) -> None:
    path = study_yaml("lucky", **(INLINE | {"budget": {"trials": 40, "confirm": "30%"}}))
    spec = load_spec(path)
    assert (spec.search_budget.trials, spec.confirm_budget.trials, spec.planned_trials()) == (28, 12, 28)
    hpo.run(path, runs)
    planned = plan_at_end(runs, spec)
    assert planned is not None
    assert planned.budget.trials is not None
    assert planned.budget.trials <= 12
    hpo.run(planned, runs)
    assert plan_at_end(runs, spec) == load_spec(runs / "toy.confirm" / layout.SPEC)
    total = sum(len(read_study(runs, name).finished) for name in ("toy", "toy.confirm"))
    assert total <= 40


def test_a_design_sets_its_trainings_aside(study_yaml: Write) -> None:
    spec = load_spec(study_yaml(confirm={"top": 2, "seeds": 3}, budget={"trials": 60, "hours": 10}))
    # (2 and the reference, then the winner and the reference) x 3
    assert (spec.confirm_budget.trials, spec.search_budget.trials) == (15, 45)
    assert (spec.confirm_budget.hours, spec.search_budget.hours) == (2.0, 8.0)
    assert load_spec(study_yaml(confirm=False)).confirms is False
    assert load_spec(study_yaml(confirm=True, budget={"hours": 1})).confirm_budget.hours == 0.2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"budget": {"trials": 20, "confirm": "20%"}},
            "leaves 4 trainings of 20 trials, and the smallest confirmation",
        ),
        ({"budget": {"trials": 20, "confirm": "lots"}}, "expected a share, such as 20% or 0.2"),
        ({"budget": {"trials": 20, "confirm": 1.5}}, "expected a share, such as 20% or 0.2"),
        ({"budget": {"trials": 20, "confirm": True}}, "expected a share, such as 20% or 0.2"),
        ({"confirm": {"top": 9, "seeds": 9}}, "takes up to 108 trainings, the whole budget of 4"),
        ({"confirm": {"seeds": 1}, "budget": {"trials": 99}}, "confirm.seeds"),
        ({"confirm": {"per_group": True}, "budget": {"trials": 99}}, "is true, and the study has no group_by"),
        ({"sampler": "racing"}, "expected the configurations that sampler racing trains, the reference first"),
        ({"sampler": {"name": "racing", "seeds": 1}, "enqueue": [{"x": 1}]}, "seeds is 1; expected at least 2"),
        ({"sampler": {"name": "racing", "trials": [1, 2]}, "enqueue": [{"x": 1}]}, "expected the number of the trial"),
        ({"sampler": {"name": "racing", "resplit": True}, "enqueue": [{"x": 1}]}, "there is no constants.data.seed"),
        ({"sampler": "racing", "enqueue": [{"x": 1}], "pruner": "median"}, "write none"),
    ],
)
def test_a_study_yaml_that_cannot_be_confirmed_is_refused(study_yaml: Write, keys: dict, said: str) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(study_yaml(**keys))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("trainings", "groups", "design"),
    [(40, 1, (5, 5)), (1000, 1, (5, 5)), (39, 1, (4, 5)), (25, 1, (2, 5)), (24, 1, (3, 4)),
     (15, 1, (2, 3)), (12, 1, (1, 3)), (8, 1, (1, 2)), (0, 1, (1, 2))],
)  # fmt: skip
def test_what_a_number_of_trainings_pays_for(trainings: int, groups: int, design: tuple[int, int]) -> None:
    found = fitted(trainings, groups)
    assert (found.top, found.seeds) == design


def test_no_time_left_to_confirm(search: Write, runs: Path) -> None:
    search()
    spec = load_spec(runs / "toy" / layout.SPEC)
    spent = spec.model_copy(update={"budget": spec.budget.model_copy(update={"hours": 1e-9, "confirm": 0.2})})
    assert plan_at_end(runs, spent) is None
    planned = plan_confirmation(runs, "toy", limits=Limits(hours=0.5))
    assert planned.budget.hours == 0.5


@pytest.mark.slow
def test_a_confirmation_killed_again_and_again_ends_as_if_it_had_not_been(study_yaml: Write, runs: Path) -> None:
    keys = {"engine": {"workers": 2}, "enqueue": ENQUEUED, "budget": {"trials": 5}, "constants": {"seconds": 0.05}}
    hpo.run(study_yaml("lucky", **keys), runs)
    command = [sys.executable, "-m", "hpo", "confirm", "toy", "--top", "3", "--runs", str(runs)]

    def start() -> subprocess.Popen[str]:
        variables = {**os.environ, "HPO_TEST_RUN": str(runs)}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=variables, start_new_session=True
        )

    for number in (1, 8, 19):
        driver = start()
        folder = layout.trial_directory(runs / "toy.confirm", number)
        wait_until(lambda folder=folder: folder.exists())  # type: ignore[misc]
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    driver = start()
    said = driver.communicate(timeout=300)[0]
    assert driver.returncode == 0, said
    assert "Confirmed: trial" in said
    found = confirmation_of(read_study(runs, "toy"))
    assert found is not None
    assert found.done
    assert found.winner is not None
    places = [trial.training for trial in read_study(runs, "toy.confirm").finished]
    assert len(set(places)) == len(places) == found.trainings == 23
    assert not leftover(processes_of(runs))


# --- what is said


def test_sentences_say_what_the_numbers_show_and_no_more(search: Write, runs: Path) -> None:
    search()
    found = confirmed(runs, top=3)
    assert found.winner is not None
    said = confirmation_sentences(found)
    assert said[0].startswith(f"Confirmed: trial {found.winner.trial}, score ")
    assert said[0].endswith("by 5 seeds that did not choose it.")
    assert any(sentence.startswith("It is tied with trial ") for sentence in said)
    assert any(sentence.startswith("It is better than the reference, trial 0, by +") for sentence in said)

    # The winner is less than the reference in cost by `mean`: the metric is maximized, so the sign turns once.
    gap = Difference(5, -0.01, -0.05, 0.03, 0.5, 0.2, None)
    overtuned = "\n".join(confirmation_sentences(replace(found, verdict=NO_BETTER, gain=gap)))
    assert "The search overtuned: it is no better than the reference, trial 0 (difference -0.0" in overtuned
    gap = Difference(5, 0.02, -0.01, 0.05, 0.2, 0.4, 30)
    unclear = "\n".join(confirmation_sentences(replace(found, verdict=NOT_SHOWN, gain=gap)))
    assert "It is not shown to be better than the reference, trial 0 (difference +0.02" in unclear
    assert "better than the reference, trial 0, by" not in unclear
    first = replace(found.winner, reference=True)
    assert "The search found nothing better than its reference" in "\n".join(
        confirmation_sentences(replace(found, winner=first, verdict=NO_BETTER, gain=None))
    )
    begun = replace(found, winner=None, done=False, trainings=7)
    assert confirmation_sentences(begun) == [
        "Not decided yet: 7 of at most 30 trainings have ended; hpo confirm toy goes on."
    ]
    failed = replace(found, winner=None, done=True)
    assert confirmation_sentences(failed) == ["No configuration is confirmed: each failed in a training."]


def test_the_verdict_on_the_search(search: Write, runs: Path) -> None:
    search(enqueue=[{"x": 0.9}, {"x": 0.1}, {"x": 0.2}])  # the sampler's two are below
    found = confirmed(runs, top=5)
    assert found.winner is not None
    best = max(found.configurations, key=lambda one: one.params["x"])
    assert best.standing in (WINNER, TIED)
    if found.winner.reference:
        assert found.verdict == NO_BETTER
        assert "The search found nothing better than its reference, trial 0." in confirmation_sentences(found)


def test_a_confirmation_is_not_replayed_and_offers_no_warm_start(search: Write, study_yaml: Write, runs: Path) -> None:
    search()
    confirmed(runs, top=1, seeds=2)
    with pytest.raises(ReplayError, match="expected the study that it confirms, toy"):
        recorded_of(read_study(runs, "toy.confirm"))
    said: list[str] = []

    class Listener(Tracker):
        def message(self, text: str) -> None:
            said.append(text)

    hpo.run(study_yaml("lucky", name="next", sampler="tpe", engine="inline", budget={"trials": 1}), runs, [Listener()])
    warm = [text for text in said if "toy" in text]
    assert warm
    assert not any("toy.confirm" in text for text in warm)
