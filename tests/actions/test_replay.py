"""What `hpo replay` counts, on studies made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reading import LOSS, spec_of, study, trial, with_distributions

from hpo.actions.replay import Policy, recorded_of, replay
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.errors import ReplayError
from hpo.space.search_space import SearchSpace
from hpo.spec.models import HALVING, Component, EngineSpec, Retries
from hpo.storage.history import Step

SPACE = {"x": {"low": 0.0, "high": 20.0}}
PARSED = SearchSpace.parse(SPACE)


def curve(number: int, losses: list[float], started: float = 0.0, **more: object) -> TrialRecord:
    """A trial that began at `started` and took 2 s an epoch."""
    history = tuple(Step(k, started + 2.0 * k, 1, {"loss": loss}) for k, loss in enumerate(losses, start=1))
    made = trial(number, {"x": float(number)}, losses[-1], metric="loss")
    return replace(made, history=history, started=started, seconds=2.0 * len(losses), **more)


def of(*trials: TrialRecord) -> StudyRecord:
    return with_distributions(study(trials, space=SPACE, group_by=None, metrics=(LOSS,)))


def test_what_there_is_to_replay() -> None:
    cut = curve(2, [0.9], 8.0, state="PRUNED", values={})
    failed = curve(3, [0.8, 0.7], 10.0, state="FAIL", values={}, reason="it broke")
    lost = replace(curve(4, [0.8], 12.0, state="FAIL", values={}), requeued=True)
    silent = trial(5, {"x": 5.0}, 0.4, metric="loss")
    found = recorded_of(of(curve(0, [0.5, 0.3]), curve(1, [0.6, 0.2], 3.0), cut, failed, lost, silent))
    assert (found.complete, found.cut, found.left_out, found.steps) == (2, 2, 1, 7)
    assert (found.winner, found.best, found.workers) == (1, 0.2, 2)
    assert [r.outcome.state for r in found.recordings] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert [step.time for step in found.recordings[0].steps] == [2.0, 4.0]
    assert found.recordings[0].outcome.seconds == 4.0


def test_a_night_between_two_attempts_is_no_part_of_an_epoch() -> None:
    history = tuple(Step(k, at, 1, {"loss": 0.5}) for k, at in enumerate([10.0, 12.0, 14.0, 40_000.0, 40_002.0]))
    resumed = replace(curve(0, [0.5]), history=history)
    found = recorded_of(of(resumed, curve(1, [0.6])))
    assert [step.time for step in found.recordings[0].steps] == [2.0, 4.0, 6.0, 8.0, 10.0]


def test_too_little_is_refused() -> None:
    with pytest.raises(ReplayError, match=r"has 1 trial that ran to the end with a history; expected at least 2"):
        recorded_of(of(curve(0, [0.5]), curve(1, [0.6], state="PRUNED", values={})))


def test_without_a_pruner_nothing_is_saved_and_the_winner_is_kept() -> None:
    recorded = recorded_of(of(*(curve(k, [1.0, 0.1 * k]) for k in range(1, 9))))
    policy = Policy("none", spec_of(PARSED, pruner=Component(name="none")), shuffled=True)
    for seed in range(3):
        found = replay(recorded, policy, 2, seed)
        assert (found.steps, found.kept, found.best, found.rank) == (16, True, 0.1, 1)
        assert found.seconds == 16.0  # 8 trials of 4 s on two workers
        assert found.found_steps is not None
        assert found.found_steps <= 16


def test_what_failed_fails_once_and_a_grid_is_shuffled_too() -> None:
    failed = curve(3, [0.8, 0.7], state="FAIL", values={})
    recorded = recorded_of(of(curve(0, [0.5, 0.3]), curve(1, [0.6, 0.2]), failed))
    engine = EngineSpec(retries=Retries(exception=3))
    grid = SearchSpace.parse({"x": {"low": 0.0, "high": 20.0, "step": 1.0}})
    spec = spec_of(grid, engine=engine, sampler=Component(name="grid"), pruner=Component(name="none"))
    orders = set()
    for seed in range(6):
        found = replay(recorded, Policy("grid", spec, shuffled=True), 1, seed)
        assert (found.steps, found.kept, found.seconds) == (6, True, 12.0)
        orders.add(found.found_steps)
    assert len(orders) > 1


def test_a_pruner_that_looks_at_the_end_saves_and_keeps() -> None:
    """Every trial's first value says how it ends: successive halving keeps the best wherever it comes."""
    recorded = recorded_of(of(*(curve(k, [0.1 * k] * 8) for k in range(1, 17))))
    policy = Policy("halving", spec_of(PARSED, pruner=HALVING), shuffled=True)
    found = [replay(recorded, policy, 1, seed) for seed in range(5)]
    assert all(one.kept and one.rank == 1 and one.steps < 16 * 8 for one in found)
    assert len({one.steps for one in found}) > 1, "each seed has an order of its own"


def test_a_pruner_that_is_misled_loses_the_winner() -> None:
    """The winner is the worst at first."""
    losers = [curve(k, [0.3 + 0.01 * k] * 8) for k in range(1, 17)]
    winner = curve(0, [0.9] * 7 + [0.1])
    recorded = recorded_of(of(winner, *losers))
    policy = Policy("halving", spec_of(PARSED, pruner=HALVING), shuffled=True)
    found = [replay(recorded, policy, 1, seed) for seed in range(10)]
    assert sum(one.kept for one in found) <= 2  # only as the very first has it no rival
    lost = next(one for one in found if not one.kept)
    assert lost.rank is None or lost.rank > 1


def test_a_sampler_that_learns_finds_the_best_sooner_than_a_random_order() -> None:
    trials = (replace(curve(k, [abs(k / 4 - 14.0)] * 2), params={"x": k / 4}) for k in range(80))
    recorded = recorded_of(of(*trials))
    none = Component(name="none")
    learning = Policy("kernel", spec_of(PARSED, sampler=Component(name="kernel"), pruner=none), shuffled=False)
    blind = Policy("random order", spec_of(PARSED, pruner=none), shuffled=True)
    after = {
        policy.name: sum(replay(recorded, policy, 1, seed).found_steps or 0 for seed in range(8))
        for policy in (learning, blind)
    }
    assert after["kernel"] < 0.8 * after["random order"]


@pytest.mark.parametrize("shuffled", [True, False])
def test_the_last_recordings_are_for_groups_that_are_short(shuffled: bool) -> None:
    """As in a run of so many trials: `min_complete` of each group run to their end."""
    space = SearchSpace.parse(SPACE | {"net": {"choices": ["a", "b"], "structural": True}})
    made = [(k, "ab"[k % 2]) for k in range(24)]
    trials = [replace(curve(k, [0.1 * k] * 8), params={"x": float(k % 20), "net": net}) for k, net in made]
    record = with_distributions(study(trials, space=space.data(), group_by="net", metrics=(LOSS,)))
    recorded = recorded_of(record)
    for least in (0, 4):
        spec = spec_of(space, pruner=HALVING, group_by="net", min_complete=least, sampler=Component(name="kernel"))
        for seed in range(3):
            trained = replay(recorded, Policy("halving", spec, shuffled), 1, seed).trained
            assert sorted(trained) == list(range(24))
            whole = [sum(trained[k] == 8 for k, net in made if net == group) for group in "ab"]
            assert (min(whole) >= 4) == (least == 4)
