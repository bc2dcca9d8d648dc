"""Trainings that run during a search are those that would have been recorded."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from benchmarks.search.tables import load
from benchmarks.search.trainings.training import training
from hpo.search.halving import HalvingPruner

FOLDER = Path(__file__).parents[2] / "benchmarks" / "search"
EPOCHS = 6


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(FOLDER))
    import live_table
    import problems
    import simulator

    yield live_table, problems, simulator
    for name in ("live_table", "problems", "simulator"):
        sys.modules.pop(name, None)


def problem_of(problems: Any, name: str) -> Any:
    """A recorded problem, with a fifth of the budget."""
    table = load(name)
    sign = -1.0 if table.direction == "maximize" else 1.0
    points = tuple(table.space.to_optuna(params) for params in table.configurations)
    curves, seconds = sign * table.curves.astype(float), table.epoch_seconds.astype(float)
    return problems.Problem("made", name, table.space, points, curves, seconds, full_trainings=4)


# One that reports from within `torch.no_grad`, one of torch's random numbers, one that diverges, and one without torch.
@pytest.mark.parametrize("name", ["photo_autoencoder", "moons_flow", "waves_rnn", "maze_q_learning"])
def test_a_curve_is_the_same_whatever_trains_in_between(bench: Any, name: str) -> None:
    live_table, *_ = bench
    table, found = load(name), training(name)
    diverged = np.flatnonzero(~np.isfinite(table.curves[:, 0, EPOCHS - 1]))
    places = [3, 7, *diverged[:1]]
    before = torch.get_rng_state()
    runs = [live_table.Run(found, table.configurations[at], int(table.seeds[at, 0])) for at in places]
    for epoch in range(EPOCHS):
        for run in runs[:: 1 if epoch % 2 else -1]:
            run.value(epoch)
    curves = [[run.value(epoch) for epoch in range(EPOCHS)] for run in runs]
    for run in runs:
        run.close()
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    for at, curve in zip(places, curves, strict=True):
        alone = found.record(table.configurations[at], int(table.seeds[at, 0]))
        np.testing.assert_array_equal(curve, alone[0, :EPOCHS].astype(float))
    assert name != "waves_rnn" or math.isnan(curves[-1][-1])


def test_a_search_trains_what_was_proposed(bench: Any) -> None:
    live_table, problems, simulator = bench
    problem, found = problem_of(problems, "digits_mlp"), training("digits_mlp")

    def search() -> tuple[Any, Any]:
        trainings = live_table.LiveTable(problem, seed=2)
        sampler = optuna.samplers.RandomSampler(seed=5)
        trace, study = simulator.simulate(problem, sampler, HalvingPruner(), checkpoints=True, table=trainings)
        trainings.close()
        return trace, study

    trace, study = search()
    recorded = [problem.space.resolve(params) for params in problem.configurations]
    assert len(study.trials) == trace.trials > 10
    for trial in study.trials[:10]:
        params = problem.space.resolve(trial.params)
        assert params not in recorded
        curve = found.record(params, 3 * 10**6 + trial.number)[0]
        sign = -1.0 if found.direction == "maximize" else 1.0
        shown = [sign * float(curve[step - 1]) for step in sorted(trial.intermediate_values)]
        assert [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)] == shown
    assert max(trace.times) <= problem.budget
    assert search()[0] == trace
