"""Complete trials of each group at the end: random spaces, budgets, pruners, losses and numbers of workers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from hpo.engines.replay import NOWHERE, Clock, MemoryFiles
from hpo.oracle.oracle import Oracle
from hpo.search.samplers import make_pruner, make_sampler
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget, Checkpoints, Component, Metric, StudySpec
from hpo.trackers.base import Tracker
from hpo.trial import EXCEPTION, OBJECTIVE, PRUNER, Job, Outcome, Stop

EPOCHS = 4


class Always(optuna.pruners.BasePruner):
    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return True


PRUNERS = {
    "always": None,
    "none": Component(name="none"),
    "halving": Component(name="successive_halving", options={"min_resource": 1, "reduction_factor": 4}),
    "median": Component(name="median", options={"n_startup_trials": 1}),
}
SAMPLERS = ("kernel", "random", "tpe", "grid")


def spec_of(groups: int, least: int, pruner: str, sampler: str, **keys: Any) -> StudySpec:
    spread: dict[str, Any] = {"choices": list(range(12))} if sampler == "grid" else {"low": 0.0, "high": 1.0}
    choices = {f"g{k}": {"own": spread} if k == 1 else {} for k in range(groups)}
    return StudySpec(
        name="fair",
        objective="none:train",
        root=Path(),
        metrics=(Metric(name="score", direction="maximize"),),
        space=SearchSpace.parse({"group": {"choices": choices}, "x": spread}),
        group_by="group",
        min_complete=least,
        pruner=PRUNERS[pruner] or Component(name="none"),
        sampler=Component(name=sampler),
        red_flags=(),
        checkpoints=Checkpoints(keep_best=None),
        mlflow=None,
        source=Path(),
        **keys,
    )


class Said(Tracker):
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def message(self, text: str) -> None:
        self.sentences.append(text)


def driven(
    spec: StudySpec,
    pruner: str = "halving",
    workers: int = 1,
    lost: Callable[[Job, random.Random], bool] = lambda job, rng: False,
    seed: int = 0,
    study: optuna.Study | None = None,
    until: int = 10**6,
    clock: Clock | None = None,
    tracker: Tracker | None = None,
) -> optuna.Study:
    """Run the study in simulated time, each epoch a second; a driver that dies after `until` events leaves trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng, clock = random.Random(seed), clock or Clock()
    study = study or optuna.create_study(direction="maximize", sampler=make_sampler(spec, 0))
    study.pruner = Always() if pruner == "always" else make_pruner(spec)
    oracle = Oracle(spec, study, NOWHERE, tracker, clock, MemoryFiles(False))
    running: dict[int, tuple[Job, int]] = {}
    for _ in range(until):
        while len(running) < workers and (job := oracle.ask()) is not None:
            running[job.number] = (job, 0)
        if not running:
            break
        number = rng.choice(list(running))
        job, epoch = running.pop(number)
        clock.now += 1.0 / workers
        if epoch == 2 and lost(job, rng):
            state, cause = rng.choice([("FAIL", EXCEPTION), ("PRUNED", OBJECTIVE)])
            oracle.tell(Outcome(number, state, cause=cause, reason="lost", seconds=1.0))  # type: ignore[arg-type]
        elif epoch == EPOCHS:
            oracle.tell(Outcome(number, "COMPLETE", {"score": rng.random()}, seconds=EPOCHS))
        else:
            score = rng.random() + (job.params["group"] == "g0")
            stop: Stop | None = oracle.report(number, epoch + 1, {"score": score})
            if stop is None:
                running[number] = (job, epoch + 1)
            else:
                oracle.tell(Outcome(number, "PRUNED", cause=PRUNER, reason=stop.reason, seconds=epoch))
    return study


def complete(study: optuna.Study) -> Counter[str]:
    return Counter(t.params["group"] for t in study.trials if t.state == TrialState.COMPLETE)


def losses(study: optuna.Study) -> int:
    causes = (t.user_attrs.get("hpo:outcome", {}).get("cause") for t in study.trials)
    return sum(cause in (EXCEPTION, OBJECTIVE) for cause in causes)


@settings(max_examples=50)
@given(
    groups=st.integers(1, 4),
    least=st.integers(0, 3),
    more=st.integers(0, 40),
    pruner=st.sampled_from(sorted(PRUNERS)),
    sampler=st.sampled_from(SAMPLERS),
    workers=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_every_group_ends_with_enough_complete_trials(
    groups: int, least: int, more: int, pruner: str, sampler: str, workers: int, seed: int
) -> None:
    budget = groups * least + more
    spec = spec_of(groups, least, pruner, sampler, budget=Budget(trials=max(1, budget)), seed=seed)
    study = driven(spec, pruner, workers, seed=seed)
    assert all(complete(study)[f"g{k}"] >= least for k in range(groups)), complete(study)


@settings(max_examples=50)
@given(
    groups=st.integers(1, 3),
    more=st.integers(0, 9),
    rate=st.sampled_from([0.1, 0.3, 0.5]),
    pruner=st.sampled_from(sorted(PRUNERS)),
    workers=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_it_stands_failures_for_which_the_budget_has_room(
    groups: int, more: int, rate: float, pruner: str, workers: int, seed: int
) -> None:
    spec = spec_of(groups, 3, pruner, "random", budget=Budget(trials=3 * groups + more, failures=1000), seed=seed)
    study = driven(spec, pruner, workers, lambda job, rng: rng.random() < rate, seed)
    # While enough of a group run, what starts beside them may be one too many.
    if losses(study) + workers - 1 <= min(more, 3):
        assert all(complete(study)[f"g{k}"] >= 3 for k in range(groups)), complete(study)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("pruner", sorted(PRUNERS))
def test_a_group_in_which_everything_fails_takes_nothing_from_the_others(pruner: str, workers: int) -> None:
    spec = spec_of(3, 3, pruner, "kernel", budget=Budget(trials=30, failures=1000))
    study = driven(spec, pruner, workers, lambda job, rng: job.params["group"] == "g1")
    tried = Counter(trial.params["group"] for trial in study.trials)
    found = complete(study)
    assert min(found["g0"], found["g2"]) >= 3
    assert found["g1"] == 0
    assert tried["g1"] <= 20


def test_the_sampler_and_the_pruner_decide_alone_while_the_budget_has_room() -> None:
    """All is pruned at once. Six are missing, so that six more are kept: from trial 28 of 40 on."""
    spec = spec_of(2, 3, "always", "random", budget=Budget(trials=40))
    said = Said()
    study = driven(spec, "always", tracker=said)
    ends = [trial.number for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert ends == [28, 29, 30, 31, 32, 36]
    assert said.sentences[0] == (
        "fewer than 3 trials of group g0, g1 have completed: from here on trials go there, and the pruner lets them "
        "run to their end (min_complete)"
    )


@pytest.mark.parametrize("least", [0, 3])
def test_without_group_by_or_with_0_the_pruner_has_the_last_word(least: int) -> None:
    spec = spec_of(2, least, "always", "random", budget=Budget(trials=12))
    if least:
        spec = spec.model_copy(update={"group_by": None})
    study = driven(spec, "always")
    assert {trial.state for trial in study.trials} == {TrialState.PRUNED}


@pytest.mark.parametrize("limit", ["hours", "gpu_hours"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_budget_of_time_keeps_its_end_for_the_groups_that_are_short(limit: str, workers: int) -> None:
    spec = spec_of(3, 3, "halving", "random", budget=Budget(**{limit: 120 / 3600}))
    if limit == "gpu_hours":
        spec = spec.model_copy(update={"engine": spec.engine.model_copy(update={"gpu": 1.0})})
    study = driven(spec, "halving", workers)
    assert all(complete(study)[f"g{k}"] >= 3 for k in range(3)), complete(study)


@pytest.mark.parametrize("until", [5, 17, 31, 48, 60])
def test_a_study_that_is_killed_ends_as_well(until: int) -> None:
    spec = spec_of(3, 3, "always", "kernel", budget=Budget(trials=24))
    study = driven(spec, "always", 2, until=until)
    driven(spec, "always", 2, study=study)
    assert all(complete(study)[f"g{k}"] >= 3 for k in range(3)), complete(study)


def test_an_extension_is_for_those_that_are_still_short() -> None:
    spec = spec_of(2, 0, "always", "random", budget=Budget(trials=12))
    study = driven(spec, "always")
    assert not complete(study)
    driven(spec.model_copy(update={"min_complete": 3, "budget": Budget(trials=18)}), "always", study=study)
    assert complete(study) == {"g0": 3, "g1": 3}


def test_groups_share_a_budget_that_is_too_small_for_all() -> None:
    study = driven(spec_of(4, 3, "always", "random", budget=Budget(trials=6)), "always")
    assert sorted(complete(study).values()) == [1, 1, 2, 2]


def test_what_is_enqueued_comes_first_and_counts() -> None:
    enqueue = tuple({"group": "g0", "x": k / 10} for k in range(5))
    spec = spec_of(2, 3, "always", "random", budget=Budget(trials=8), enqueue=enqueue)
    study = driven(spec, "always")
    assert [trial.params["group"] for trial in study.trials] == 5 * ["g0"] + 3 * ["g1"]
    assert complete(study) == {"g0": 3, "g1": 3}


def test_a_grid_that_ends_before_its_budget_has_them_too() -> None:
    spec = spec_of(2, 3, "always", "grid", budget=Budget())
    study = driven(spec, "always")
    assert len(study.trials) == 12 + 12 * 12
    assert complete(study) == {"g0": 3, "g1": 3}
