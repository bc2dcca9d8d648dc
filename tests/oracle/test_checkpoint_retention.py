"""Which trials keep their checkpoint and weights on disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from hpo import layout
from hpo.oracle.checkpoint_retention import CheckpointRetention
from hpo.runner import run
from hpo.spec.models import StudySpec
from hpo.trackers.base import Tracker

NAMES = (layout.CHECKPOINT, layout.WEIGHTS)
SCORE = [{"name": "score", "direction": "maximize"}]
LOSS = [{"name": "loss", "direction": "minimize"}]


def keeping(study: Path) -> set[int]:
    """Trials whose two files are there; having one without the other would be an error."""
    folders = {int(folder.name): folder for folder in (study / "trials").iterdir()}
    found = {name: {n for n, folder in folders.items() if (folder / name).exists()} for name in NAMES}
    assert found[layout.CHECKPOINT] == found[layout.WEIGHTS]
    assert all((folder / layout.HISTORY).exists() for folder in folders.values()), "curves are never removed"
    return found[layout.CHECKPOINT]


def enqueued(xs: Iterable[float], **more: object) -> list[dict[str, object]]:
    return [{"x": x, **more} for x in xs]


Make = Callable[..., StudySpec]


@pytest.fixture
def drive(make_spec: Make, runs: Path) -> Callable[..., set[int]]:
    def drive(objective: str = "keeps", **keys: object) -> set[int]:
        engine = {"name": "inline"}
        run(make_spec(objective, **({"engine": engine, "budget": {"trials": 5}} | keys)), runs)
        return keeping(runs / "toy")

    return drive


def test_the_best_k_stay_and_of_equals_the_first(drive: Callable[..., set[int]]) -> None:
    trials = enqueued([0.1, 0.9, 0.5, 0.9, 0.7])
    assert drive(enqueue=trials, checkpoints=2) == {1, 3}
    assert drive(enqueue=[*trials, {"x": 0.9}], checkpoints=2, budget={"trials": 6}) == {1, 3}


def test_fewer_may_be_kept_after_a_resume(drive: Callable[..., set[int]]) -> None:
    trials = enqueued([0.1, 0.9, 0.5, 0.8, 0.7])
    assert drive(enqueue=trials, checkpoints="all") == {0, 1, 2, 3, 4}
    assert drive(enqueue=trials, checkpoints=3) == {1, 3, 4}


def test_a_smaller_metric_can_be_better(drive: Callable[..., set[int]]) -> None:
    assert drive("keeps_loss", metrics=LOSS, enqueue=enqueued([0.3, 0.1, 0.2, 0.5, 0.4]), checkpoints=1) == {1}


def test_each_group_keeps_its_own(drive: Callable[..., set[int]]) -> None:
    space = {"x": {"low": 0.0, "high": 1.0}, "net": {"choices": ["a", "b"]}}
    trials = [*enqueued([0.9, 0.8, 0.7], net="a"), *enqueued([0.1, 0.2], net="b")]
    assert drive(search_space=space, group_by="net", enqueue=trials, checkpoints=1) == {0, 4}


def test_of_several_metrics_the_pareto_front_stays(drive: Callable[..., set[int]]) -> None:
    rng = random.Random(0)
    points = [(rng.random(), rng.random()) for _ in range(12)]
    space = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
    front = {n for n, (x, y) in enumerate(points) if not any(a >= x and b <= y and (a, b) != (x, y) for a, b in points)}
    assert 1 < len(front) < 12
    found = drive(
        "keeps_two", metrics=[*SCORE, *LOSS], search_space=space, enqueue=[{"x": x, "y": y} for x, y in points],
        budget={"trials": 12}, checkpoints=1,
    )  # fmt: skip
    assert found == front


def test_pruned_trials_keep_nothing_and_failed_ones_what_they_have(drive: Callable[..., set[int]], runs: Path) -> None:
    trials = enqueued([0.9, 0.2, 0.4, 0.8, 0.6])
    assert drive("keeps_or_ends", enqueue=trials, checkpoints=2) == {0, 3, 2}  # 0.2 is pruned, 0.4 fails


def test_the_disk_is_bounded_and_the_worst_go_first(drive: Callable[..., set[int]], runs: Path) -> None:
    trials = enqueued([0.9, 0.2, 0.4, 0.8, 0.6])  # the second is pruned, the third fails
    limit = {"keep_best": "all", "max_gb": 30_000 / 1e9}
    assert drive("keeps_large", enqueue=trials, checkpoints=limit) == {0, 3, 4}
    limit["max_gb"] = 50_000 / 1e9
    assert drive("keeps_large", enqueue=[*trials, {"x": 0.3}], checkpoints=limit, budget={"trials": 6}) == {0, 3, 4, 5}
    limit["max_gb"] = 25_000 / 1e9
    assert drive("keeps_large", enqueue=trials, checkpoints=limit, budget={"trials": 6}) == {0, 3}


def test_no_group_loses_its_best_before_another_its_second(drive: Callable[..., set[int]]) -> None:
    space = {"x": {"low": 0.0, "high": 1.0}, "net": {"choices": ["a", "b"]}}
    trials = [*enqueued([0.9, 0.8, 0.7], net="a"), *enqueued([0.5, 0.6], net="b")]
    keys = {"search_space": space, "group_by": "net", "enqueue": trials}
    assert drive("keeps_large", **keys, checkpoints={"max_gb": 40_000 / 1e9}) == {0, 1, 3, 4}
    assert drive("keeps_large", **keys, checkpoints={"max_gb": 30_000 / 1e9}) == {0, 1, 4}
    assert drive("keeps_large", **keys, checkpoints={"max_gb": 20_000 / 1e9}) == {0, 4}


def test_the_best_trial_stays_however_little_disk_there_may_be(make_spec: Make, runs: Path) -> None:
    said: list[str] = []

    class Says(Tracker):
        def message(self, text: str) -> None:
            said.append(text)

    trials = enqueued([0.6, 0.9, 0.7])
    spec = make_spec(
        "keeps_large", engine="inline", budget={"trials": 3}, enqueue=trials, checkpoints={"max_gb": 5_000 / 1e9}
    )
    run(spec, runs, [Says()])
    assert keeping(runs / "toy") == {1}
    (sentence,) = [text for text in said if "checkpoints" in text]
    assert "take 5e-06 GB more than checkpoints.max_gb = 5e-06" in sentence


def test_no_more_trials_are_ranked_than_keep_their_files(tmp_path: Path, make_spec: Make) -> None:
    job = {"hpo:job": {"params": {"x": 0.5}}}
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    study = optuna.create_study(direction="maximize")
    for number in range(300):
        state = states[number % 3]
        value = number / 300 if state == TrialState.COMPLETE else None
        study.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=job))
    retention = CheckpointRetention(make_spec(), tmp_path, study.trials)
    retention.prune()
    assert sorted(retention._stored) == [291, 294, 297]


def test_what_a_trial_will_go_on_from_counts_and_stays(tmp_path: Path, make_spec: Make) -> None:
    """Trial 0 was lost and is tried again, 1 and 2 completed, 3 runs: 4 x 10,000 bytes, of which 25,000 may stay."""
    study = optuna.create_study(direction="maximize")
    job = {"hpo:job": {"params": {"x": 0.5}}}
    lost = {"hpo:outcome": {"requeued": True, "cause": "interrupted"}}
    for state, value, attrs in (
        (TrialState.FAIL, None, job | lost), (TrialState.COMPLETE, 0.5, job), (TrialState.COMPLETE, 0.7, job),
        (TrialState.RUNNING, None, job),
    ):  # fmt: skip
        study.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=attrs))
    for number in range(4):
        folder = layout.trial_directory(tmp_path, number)
        folder.mkdir(parents=True)
        (folder / layout.CHECKPOINT).write_bytes(bytes(10_000))
    spec = make_spec(checkpoints={"max_gb": 25_000 / 1e9})
    retention = CheckpointRetention(spec, tmp_path, study.trials)
    assert retention.surplus() == [layout.trial_directory(tmp_path, 1) / layout.CHECKPOINT]
    retention.prune()
    assert retention.surplus() == []
    left = {n for n in range(4) if (layout.trial_directory(tmp_path, n) / layout.CHECKPOINT).exists()}
    assert left == {0, 2, 3}
