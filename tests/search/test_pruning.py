"""Pruning within groups: what one group reports decides nothing in another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from hpo.oracle.open_study import open_study
from hpo.oracle.oracle import Oracle
from hpo.spec.models import StudySpec
from hpo.trial import PRUNER, Outcome

SPACE = {"arch": {"choices": ["slow", "fast"]}, "x": {"low": 0.0, "high": 1.0}}
# How good the trials of a group are, in the order tried; each epoch adds a little.
XS = (0.5, 0.2, 0.8, 0.4, 0.9, 0.1, 0.6, 0.3)
EPOCHS = 9
ONE = [{"name": "score", "direction": "maximize"}]
TWO = [*ONE, {"name": "other", "direction": "minimize"}]


class Stateful(optuna.pruners.BasePruner):
    """A pruner of a user's that keeps the best value in itself, and asks Optuna for the best of the study."""

    def __init__(self) -> None:
        self.best = float("-inf")

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        value = trial.intermediate_values[trial.last_step or 0]
        behind = value < self.best - 0.25
        self.best = max(self.best, value)
        complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        return behind or (bool(complete) and trial.last_step == 5 and value < study.best_value - 0.35)


PRUNERS: dict[str, Any] = {
    "successive_halving": {"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    "automatic": {"name": "successive_halving", "min_resource": "auto"},
    "hyperband": {"name": "hyperband", "min_resource": 1, "max_resource": 9},
    "median": {"name": "median", "n_startup_trials": 1},
    "percentile": {"name": "percentile", "percentile": 30.0, "n_startup_trials": 1},
    "patient": {"name": "patient", "wrapped_pruner": {"name": "median", "n_startup_trials": 1}, "patience": 0},
    "own": "own",
}


def studied(make_spec: Callable[..., StudySpec], pruner: Any, metrics: Any, **keys: Any) -> StudySpec:
    queue = [{"arch": arch, "x": x} for x in XS for arch in ("slow", "fast")]
    return make_spec(
        **{
            "search_space": SPACE,
            "metrics": metrics,
            "pruner": "none" if pruner == "own" else pruner,
            "enqueue": queue,
            "budget": {"trials": len(queue)},
            "group_by": "arch",
            "min_complete": 0,
        }
        | keys
    )


def score_of(x: float, epoch: int) -> float:
    """In steps of 1/1024, so that adding 4 rounds nothing."""
    return round(1024 * (x + 0.1 * epoch * (1 - x) - 0.3 * (epoch > 3) * x)) / 1024


def reached(spec: StudySpec, folder: Path, ahead: float, pieces: int = 1, own: bool = False) -> dict[str, list[int]]:
    """The epochs that each trial reached, by group; `ahead`: how much better the fast ones are. A driver for each of
    the pieces."""
    storage = optuna.storages.InMemoryStorage()
    found: dict[str, list[int]] = {"slow": [], "fast": []}
    for _ in range(pieces):
        study = open_study(spec, storage)
        if own:
            study.pruner = Stateful()
        oracle = Oracle(spec, study, folder)
        for _ in range(2 * len(XS) // pieces):
            job = oracle.ask()
            assert job is not None
            outcome = Outcome(job.number, "COMPLETE", {"score": 0.0, "other": 0.0}, seconds=1.0)
            for epoch in range(1, EPOCHS + 1):
                score = score_of(float(job.params["x"]), epoch) + ahead * (job.params["arch"] == "fast")
                outcome.metrics["score"] = score  # type: ignore[index]
                if oracle.report(job.number, epoch, {"score": score, "other": 0.0}) is not None:
                    outcome = Outcome(job.number, "PRUNED", cause=PRUNER, reason="behind", seconds=1.0)
                    break
            found[str(job.params["arch"])].append(epoch)
            oracle.tell(outcome)
        oracle.close()
    return found


@pytest.mark.parametrize("metrics", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_group_is_judged_as_if_it_were_alone(
    make_spec: Callable[..., StudySpec], tmp_path: Path, pruner: str, metrics: Any
) -> None:
    spec = studied(make_spec, PRUNERS[pruner], metrics)
    own = pruner == "own"
    alike = reached(spec, tmp_path / "alike", 0.0, own=own)
    apart = reached(spec, tmp_path / "apart", 4.0, own=own)
    assert apart == alike
    assert EPOCHS in apart["slow"]
    assert min(apart["slow"]) < EPOCHS
    if pruner in ("successive_halving", "median", "percentile", "own"):  # others see too little to mix groups up
        mixed = spec.model_copy(update={"group_by": None})
        assert reached(mixed, tmp_path / "mixed", 4.0, own=own)["slow"] != apart["slow"]


@pytest.mark.parametrize("metrics", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("group_by", ["arch", None])
def test_a_resumed_study_compares_as_before(
    make_spec: Callable[..., StudySpec], tmp_path: Path, metrics: Any, group_by: str | None
) -> None:
    spec = studied(make_spec, PRUNERS["successive_halving"], metrics, group_by=group_by)
    once = reached(spec, tmp_path / "once", 0.1)
    assert reached(spec, tmp_path / "pieces", 0.1, pieces=4) == once


def test_the_groups_are_those_that_optuna_would_have_in_studies_of_their_own(
    make_spec: Callable[..., StudySpec], tmp_path: Path
) -> None:
    """Each group against plain Optuna with its trials alone."""
    spec = studied(make_spec, PRUNERS["successive_halving"], ONE)
    found = reached(spec, tmp_path, 4.0)
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    )
    alone = []
    for x in XS:
        trial = study.ask()
        for epoch in range(1, EPOCHS + 1):
            trial.report(score_of(x, epoch), epoch)
            if trial.should_prune():
                break
        alone.append(epoch)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert found == {"slow": alone, "fast": alone}
