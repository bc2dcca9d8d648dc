"""The simulator of the search benchmark does what the replay through the Oracle does, trial by trial."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from hpo.engines.replay import NOWHERE, Clock, MemoryFiles, RecordedSampler, Recordings, ReplayEngine
from hpo.oracle.oracle import Oracle
from hpo.search.halving import HalvingPruner
from hpo.search.kernel_sampler import KernelSampler
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget, Metric, StudySpec, WarmStartSpec
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME
from hpo.warm_start.candidates import Source, candidates_of
from hpo.warm_start.trust import WarmStart, guard_of

LOSS = Metric(name="loss", direction="minimize")
FOLDER = Path(__file__).parents[2] / "benchmarks" / "search"
SPACE = SearchSpace.parse(
    {
        "rate": {"low": 1e-4, "high": 1.0, "log": True},
        "kind": {"choices": {"plain": {}, "deep": {"depth": {"low": 2, "high": 6}}}},
    }
)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    if not FOLDER.exists():
        pytest.skip("the benchmarks are not installed")
    monkeypatch.syspath_prepend(str(FOLDER))
    import problems
    import simulator

    yield problems, simulator
    for name in ("problems", "simulator"):
        sys.modules.pop(name, None)


def problem_of(problems: Any, count: int = 120, epochs: int = 16) -> Any:
    """Trainings whose loss falls at a pace of their own; every eighth diverges."""
    rng = np.random.default_rng(3)
    sampler = optuna.samplers.RandomSampler(seed=3)
    study = optuna.create_study(sampler=sampler)
    configurations = []
    for _ in range(count):
        trial = study.ask()
        SPACE.suggest(trial)
        configurations.append(trial.params)
    ends = np.array([abs(np.log10(one["rate"]) + 2) + 0.1 * one.get("kind.deep.depth", 1) for one in configurations])
    paces = rng.uniform(0.05, 1.0, count)
    curves = (
        ends[:, None] + 3 * np.exp(-paces[:, None] * np.arange(1, epochs + 1)) + rng.normal(0, 0.05, (count, epochs))
    )
    curves[::8, 5:] = np.nan
    seconds = rng.uniform(0.5, 2.0, count)
    return problems.Problem("made", "made", SPACE, tuple(configurations), curves[:, None], seconds, full_trainings=15)


def random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def kernel(seed: int) -> optuna.samplers.BaseSampler:
    return KernelSampler(SPACE, seed=seed)


@pytest.mark.parametrize("sampler", [random, tpe, kernel])
@pytest.mark.parametrize(
    "pruner",
    [HalvingPruner, optuna.pruners.SuccessiveHalvingPruner, optuna.pruners.MedianPruner, optuna.pruners.NopPruner],
)
def test_it_agrees_with_the_replay(
    bench: Any,
    sampler: Callable[[int], optuna.samplers.BaseSampler],
    pruner: Callable[[], optuna.pruners.BasePruner],
) -> None:
    problems, simulator = bench
    problem = problem_of(problems)
    options = {"min_resource": 1} if pruner is optuna.pruners.SuccessiveHalvingPruner else {}
    trace, simulated = simulator.simulate(problem, sampler(7), pruner(**options))

    assert trace.trials == len(simulated.trials) > 10
    assert shown(simulated.trials) == shown(replayed(problem, sampler(7), pruner(**options)))


# TPE counts later numbers for more, and what goes on gets a later one. The simulator gives it none.
@pytest.mark.parametrize("sampler", [random, kernel])
def test_it_agrees_with_the_replay_of_trials_that_wait(
    bench: Any, sampler: Callable[[int], optuna.samplers.BaseSampler]
) -> None:
    problems, simulator = bench
    problem = problem_of(problems)
    _, simulated = simulator.simulate(problem, sampler(7), HalvingPruner(), checkpoints=True)
    there = replayed(problem, sampler(7), HalvingPruner(), saves=True)
    once = trainings(there)
    assert len(there) - len(once) > 5
    assert shown(simulated.trials) == shown(once)


def test_it_agrees_with_the_replay_of_a_space_that_ends(bench: Any) -> None:
    """When each configuration was tried, those that wait have the rest of the time."""
    problems, simulator = bench
    made = problem_of(problems, count=36)
    space = SearchSpace.parse({"rate": {"low": 1, "high": 9}, "kind": {"choices": ["a", "b", "c", "d"]}})
    problem = dataclasses.replace(made, space=space, configurations=tuple(space.grid()), full_trainings=25)
    budget = Budget(hours=problem.budget / 3600, failures=10**9)

    def sampler() -> optuna.samplers.BaseSampler:
        return KernelSampler(space, seed=7)

    _, simulated = simulator.simulate(problem, sampler(), HalvingPruner(), checkpoints=True)
    there = replayed(problem, sampler(), HalvingPruner(), saves=True, budget=budget)
    once = trainings(there)
    assert len(once) == 36
    assert shown(simulated.trials) == shown(once)
    # The last configuration was not the last to be trained: what waited went on after it.
    assert any(trial.number > once[-1].number for trial in once[:-1])


@pytest.mark.parametrize("order", [1, -1], ids=["true", "misleading"])
def test_it_agrees_with_the_replay_of_a_warm_start(bench: Any, order: int) -> None:
    problems, simulator = bench
    problem = problem_of(problems)
    ends = np.where(np.isfinite(problem.curves[:, 0, -1]), problem.curves[:, 0].min(axis=1), np.inf)
    told = [int(i) for i in np.argsort(ends) if np.isfinite(ends[i])][::order]
    source = Source("before", SPACE, (LOSS,), [(k, problem.configurations[i], [k]) for k, i in enumerate(told[:10])])
    spec = spec_of(problem, warm_start=WarmStartSpec())

    def warm() -> WarmStart:
        return WarmStart(candidates_of(spec, [source]), guard_of(spec), maximize=False)

    trace, simulated = simulator.simulate(problem, kernel(7), HalvingPruner(), warm=warm())
    there = replayed(problem, kernel(7), HalvingPruner(), warm())
    assert shown(simulated.trials) == shown(there)
    seconds: dict[int, float] = {}
    for trial in there:
        if trial.user_attrs.get(ORIGIN, {}).get("from"):
            outcome, job = trial.user_attrs.get(OUTCOME), trial.user_attrs[JOB]
            seconds[trial.number] = (outcome["finished"] if outcome else problem.budget) - job["started"]
    assert len(seconds) == 2
    assert dict(trace.told) == pytest.approx(seconds)
    pruned = [simulated.trials[number].state.name == "PRUNED" for number in seconds]
    assert all(pruned) == (order == -1)


def spec_of(problem: Any, **more: Any) -> StudySpec:
    usual: dict[str, Any] = {
        "name": "replay",
        "objective": "recorded:train",
        "root": Path(),
        "metrics": (LOSS,),
        "space": problem.space,
        "budget": Budget(trials=len(problem.configurations), failures=10**9),
        "constants": {"epochs": problem.curves.shape[2]},
        "mlflow": None,
        "source": Path(),
    }
    return StudySpec(**usual | more)


def replayed(
    problem: Any,
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    warm: WarmStart | None = None,
    saves: bool = False,
    **keys: Any,
) -> list[optuna.trial.FrozenTrial]:
    recordings, clock, files = Recordings(problem.space, problem.recordings()), Clock(), MemoryFiles(saves)
    study = optuna.create_study(sampler=RecordedSampler(sampler, recordings), pruner=pruner)
    keys |= {"warm_start": WarmStartSpec()} if warm else {}
    oracle = Oracle(spec_of(problem, **keys), study, NOWHERE, None, clock, files, warm)
    ReplayEngine(recordings, clock, 8, problem.budget, files).run(oracle)
    return study.get_trials(deepcopy=False)


def trainings(trials: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Of each training its last attempt, in the order in which they began."""
    last: dict[int, optuna.trial.FrozenTrial] = {}
    first: dict[int, int] = {}
    for trial in trials:
        before = trial.user_attrs.get(ORIGIN, {}).get("retry_of")
        first[trial.number] = trial.number if before is None else first[before]
        last[first[trial.number]] = trial
    return [last[number] for number in sorted(last)]


def shown(trials: list[optuna.trial.FrozenTrial]) -> list[Any]:
    return [(trial.state, trial.params, trial.intermediate_values) for trial in trials]


def test_a_finite_problem_can_be_tried_again_and_is_judged_by_means(bench: Any) -> None:
    problems, simulator = bench
    space = SearchSpace.parse({"x": {"choices": [1, 2]}})
    # The second repeat of the first configuration is lucky; by its mean, 3, it is worse than the second one's 2.
    curves = np.array([[[5.0], [1.0]], [[2.0], [2.0]]])
    problem = problems.Problem(
        "made", "finite", space, ({"x": 1}, {"x": 2}), curves, np.ones(2), True, full_trainings=40
    )
    trace, study = simulator.simulate(problem, random(0), optuna.pruners.NopPruner())
    reported = {(trial.params["x"], *trial.intermediate_values.values()) for trial in study.trials if trial.values}
    assert reported == {(1, 5.0), (1, 1.0), (2, 2.0)}
    assert (set(trace.values), problem.scale, problem.regret(3.0)) == ({3.0, 2.0}, (2.0, 2.5, 3.0), 200.0)
