"""The replay engine: simulated time by hand, and the same decisions as a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from reading import spec_of

from hpo.engines.replay import (
    NOWHERE,
    Clock,
    MemoryFiles,
    RecordedSampler,
    Recording,
    Recordings,
    ReplayEngine,
)
from hpo.oracle.oracle import Oracle
from hpo.search.halving import HalvingPruner
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget, Component
from hpo.storage.history import Step
from hpo.storage.history import read as read_history
from hpo.trackers.base import Tracker
from hpo.trial import LOST, OBJECTIVE, Outcome

LINE = SearchSpace.parse({"x": {"low": 0.0, "high": 10.0}})


def recording(number: int, params: dict[str, Any], losses: Sequence[float], seconds: float = 1.0) -> Recording:
    steps = tuple(Step(k, k * seconds, 1, {"loss": loss}) for k, loss in enumerate(losses, start=1))
    outcome = Outcome(number, "COMPLETE", {"loss": min(losses)}, seconds=len(losses) * seconds)
    return Recording(params, steps, outcome)


class Diary(Tracker):
    def __init__(self, clock: Clock) -> None:
        self.lines: list[tuple[float, str]] = []
        self._clock = clock

    def trial_started(self, job: Any) -> None:
        self.lines.append((self._clock.now, f"{job.number} starts"))

    def reported(self, number: int, step: int, metrics: Any) -> None:
        self.lines.append((self._clock.now, f"{number} {step} {metrics['loss']:g}"))

    def trial_finished(self, job: Any, outcome: Outcome, progress: Any) -> None:
        self.lines.append((self._clock.now, f"{job.number} {outcome.state}"))


def replay(
    recordings: Sequence[Recording],
    order: Sequence[dict[str, Any]],
    workers: int,
    pruner: optuna.pruners.BasePruner | None = None,
    until: float = float("inf"),
    space: SearchSpace = LINE,
    saves: bool = False,
    **keys: Any,
) -> tuple[list[tuple[float, str]], optuna.Study]:
    table, clock = Recordings(space, recordings), Clock()
    sampler = RecordedSampler(optuna.samplers.RandomSampler(seed=0), table)
    study = optuna.create_study(sampler=sampler, pruner=pruner or optuna.pruners.NopPruner())
    diary, files = Diary(clock), MemoryFiles(saves)
    keys = {"budget": Budget(trials=len(recordings), failures=100), "enqueue": tuple(order)} | keys
    oracle = Oracle(spec_of(space, **keys), study, NOWHERE, diary, clock, files)
    ReplayEngine(table, clock, workers, until, files).run(oracle)
    return diary.lines, study


def test_time_passes_as_it_did() -> None:
    slow = recording(0, {"x": 1.0}, [0.5, 0.4], seconds=3.0)
    quick = recording(1, {"x": 2.0}, [0.7, 0.6], seconds=1.0)
    last = recording(2, {"x": 3.0}, [0.3], seconds=2.5)
    lines, study = replay([slow, quick, last], [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}], workers=2)
    assert lines == [
        (0.0, "0 starts"),
        (0.0, "1 starts"),
        (1.0, "1 1 0.7"),
        (2.0, "1 2 0.6"),
        (2.0, "1 COMPLETE"),
        (2.0, "2 starts"),
        (3.0, "0 1 0.5"),
        (4.5, "2 1 0.3"),
        (4.5, "2 COMPLETE"),
        (6.0, "0 2 0.4"),
        (6.0, "0 COMPLETE"),
    ]
    assert [trial.value for trial in study.trials] == [0.4, 0.6, 0.3]


def test_a_stopped_trial_frees_its_worker() -> None:
    good = recording(0, {"x": 1.0}, [0.1] * 4)
    bad = [recording(k, {"x": float(k + 1)}, [0.9] * 4) for k in range(1, 4)]
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)
    lines, study = replay([good, *bad], [{"x": float(k)} for k in range(1, 5)], 1, pruner)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] + ["PRUNED"] * 3
    assert lines[-1] == (4.0 + 3 * 1.0, "3 PRUNED")


def test_a_trial_that_waits_goes_on_with_its_own_recording() -> None:
    """With checkpoints: of four the best goes on from its second epoch when the fourth has come to the rung."""
    recordings = [recording(k, {"x": float(k)}, [0.1 * k] * 3) for k in range(1, 5)]
    order = [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}, {"x": 4.0}]
    lines, study = replay(recordings, order, 1, HalvingPruner(), saves=True, constants={"epochs": 3})
    assert lines[:12] == [
        *((float(at), f"{number} {what}") for number in range(4) for at, what in (
            (number, "starts"), (number + 1, f"1 {0.1 * (number + 1):g}"), (number + 1, "PRUNED"),
        )),
    ]  # fmt: skip
    assert lines[12:] == [(4.0, "4 starts"), (5.0, "4 2 0.1"), (6.0, "4 3 0.1"), (6.0, "4 COMPLETE")]
    assert study.trials[4].intermediate_values == {1: 0.1, 2: 0.1, 3: 0.1}
    assert [trial.state.name for trial in study.trials] == ["FAIL", "RUNNING", "RUNNING", "RUNNING", "COMPLETE"]


def test_an_interrupted_trial_goes_on_with_its_own_recording() -> None:
    """Without checkpoints from its start."""
    for saves, reports in ((True, [1, 2]), (False, [1, 1, 2])):
        table, clock = Recordings(LINE, [recording(k, {"x": float(k)}, [0.5, 0.4]) for k in (1, 2)]), Clock()
        study = optuna.create_study(sampler=RecordedSampler(optuna.samplers.RandomSampler(seed=0), table))
        diary, files = Diary(clock), MemoryFiles(saves)
        spec = spec_of(LINE, enqueue=({"x": 1.0},), budget=Budget(trials=1))
        oracle = Oracle(spec, study, NOWHERE, diary, clock, files)
        engine = ReplayEngine(table, clock, 1, files=files)
        job = oracle.ask()
        assert job is not None
        assert table.for_job(job).params == {"x": 1.0}
        assert oracle.report(job.number, 1, {"loss": 0.5}) is None
        oracle.tell(Outcome(job.number, "FAIL", cause=LOST, reason="its node died", seconds=1.0))
        engine.run(oracle)
        assert [int(line.split()[1]) for _, line in diary.lines if line.split()[1].isdigit()] == reports
        assert study.trials[1].params == {"x": 1.0}
        assert clock.now == len(reports) - 1


def test_it_ends_in_the_middle() -> None:
    lines, study = replay([recording(0, {"x": 1.0}, [0.5, 0.4, 0.3])], [{"x": 1.0}], workers=1, until=2.5)
    assert lines[-1] == (2.0, "0 2 0.4")
    assert study.trials[0].state.name == "RUNNING"


def test_what_was_pruned_ends_where_it_ended() -> None:
    cut = Recording(
        {"x": 1.0}, (Step(1, 1.0, 1, {"loss": 0.5}),), Outcome(0, "PRUNED", cause=OBJECTIVE, reason="cut", seconds=1.5)
    )
    lines, _ = replay([cut], [{"x": 1.0}], workers=1)
    assert lines == [(0.0, "0 starts"), (1.0, "0 1 0.5"), (1.5, "0 PRUNED")]


def test_a_red_flag_stops_in_replay_too() -> None:
    diverging = recording(0, {"x": 1.0}, [0.5, 0.4, 0.3])
    first, _, last = diverging.steps
    steps = (first, Step(2, 2.0, 1, {"loss": float("nan")}), last)
    lines, study = replay([Recording(diverging.params, steps, diverging.outcome)], [{"x": 1.0}], workers=1)
    assert lines[-1] == (2.0, "0 PRUNED")
    assert study.trials[0].user_attrs["hpo:outcome"]["flag"] == "non_finite"


def test_the_nearest_that_is_left_is_taken() -> None:
    table = Recordings(LINE, [recording(k, {"x": float(k)}, [0.5]) for k in range(5)])
    assert [table.take(n, {"x": 2.2}).outcome.number for n in range(3)] == [2, 3, 1]
    assert table.take(0, {"x": 9.0}).outcome.number == 2  # trial 0 has its own already
    assert len(table) == 2
    rng = np.random.default_rng(0)
    assert table.draw(7, rng, {"x": 4.0}).outcome.number == 4  # the one that has it
    assert table.draw(8, rng, {"x": 4.0}).outcome.number == 0  # none has it now
    with pytest.raises(ValueError, match="every recorded training was replayed"):
        table.take(9, {"x": 1.0})


def test_conditional_configurations_are_asked_for_whole() -> None:
    space = SearchSpace.parse({"loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}}})
    recordings = [
        recording(0, {"loss": "bce"}, [0.5]),
        *(recording(k, {"loss": "focal", "loss.focal.gamma": float(k)}, [0.5]) for k in range(1, 5)),
    ]
    _, study = replay(recordings, [], workers=2, space=space)
    assert len(study.trials) == 5
    assert sorted(trial.params.get("loss.focal.gamma", 0.0) for trial in study.trials) == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("sampler", ["kernel", "tpe", "random", "qmc"])
def test_every_recording_is_replayed_once_whatever_proposes(sampler: str) -> None:
    from hpo.search.samplers import make_sampler

    recordings = [recording(k, {"x": k / 4}, [0.5 + k / 100]) for k in range(40)]
    table, clock = Recordings(LINE, recordings), Clock()
    spec = spec_of(LINE, sampler=Component(name=sampler), budget=Budget(trials=40))
    study = optuna.create_study(sampler=RecordedSampler(make_sampler(spec, 0), table))
    ReplayEngine(table, clock, 4).run(Oracle(spec, study, NOWHERE, None, clock, MemoryFiles(False)))
    assert sorted(trial.params["x"] for trial in study.trials) == [k / 4 for k in range(40)]
    assert clock.now == 10.0


def test_the_decisions_are_those_of_a_run(make_spec: Any, tmp_path: Path) -> None:
    """What a run without a pruner recorded, replayed under one, is what a run under it does."""
    from hpo.runner import run

    order = [{"x": (7 * k % 20) / 20} for k in range(20)]
    pruner = {"name": "successive_halving", "min_resource": 1, "reduction_factor": 2}
    common: dict[str, Any] = {"enqueue": order, "budget": {"trials": 20}, "engine": "inline"}
    whole = make_spec(name="whole", pruner="none", **common)
    halved = make_spec(name="halved", pruner=pruner, **common)
    run(whole, tmp_path)
    run(halved, tmp_path)

    def trials(name: str) -> list[tuple[dict[str, Any], list[Step]]]:
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
        )
        found = optuna.load_study(study_name=name, storage=storage).trials
        return [(t.params, read_history(tmp_path / name / "trials" / str(t.number) / "history.jsonl")) for t in found]

    recordings = []
    for number, (params, steps) in enumerate(trials("whole")):
        timed = tuple(Step(step.step, float(k), 1, step.metrics) for k, step in enumerate(steps, start=1))
        value = -((params["x"] - 0.3) ** 2)
        recordings.append(Recording(params, timed, Outcome(number, "COMPLETE", {"score": value}, seconds=len(timed))))
    table, clock = Recordings(halved.space, recordings), Clock()
    sampler = RecordedSampler(optuna.samplers.RandomSampler(seed=0), table)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=optuna.pruners.SuccessiveHalvingPruner(1, 2)
    )
    ReplayEngine(table, clock, 1).run(Oracle(halved, study, NOWHERE, None, clock, MemoryFiles(False)))
    replayed = [(t.params, len(t.intermediate_values)) for t in study.trials]
    assert replayed == [(params, len(steps)) for params, steps in trials("halved")]
    assert 20 < sum(steps for _, steps in replayed) < 200
