"""Which trials keep their checkpoint and weights on disk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from hpo import layout
from hpo.runner import run
from hpo.spec import StudySpec

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
    assert drive(enqueue=trials, keep_checkpoints=2) == {1, 3}
    assert drive(enqueue=[*trials, {"x": 0.9}], keep_checkpoints=2, budget={"trials": 6}) == {1, 3}


def test_fewer_may_be_kept_after_a_resume(drive: Callable[..., set[int]]) -> None:
    trials = enqueued([0.1, 0.9, 0.5, 0.8, 0.7])
    assert drive(enqueue=trials, keep_checkpoints="all") == {0, 1, 2, 3, 4}
    assert drive(enqueue=trials, keep_checkpoints=3) == {1, 3, 4}


def test_a_smaller_metric_can_be_better(drive: Callable[..., set[int]]) -> None:
    assert drive("keeps_loss", metrics=LOSS, enqueue=enqueued([0.3, 0.1, 0.2, 0.5, 0.4]), keep_checkpoints=1) == {1}


def test_each_group_keeps_its_own(drive: Callable[..., set[int]]) -> None:
    space = {"x": {"low": 0.0, "high": 1.0}, "net": {"choices": ["a", "b"]}}
    trials = [*enqueued([0.9, 0.8, 0.7], net="a"), *enqueued([0.1, 0.2], net="b")]
    assert drive(search_space=space, group_by="net", enqueue=trials, keep_checkpoints=1) == {0, 4}


def test_of_several_metrics_the_pareto_front_stays(drive: Callable[..., set[int]]) -> None:
    rng = random.Random(0)
    points = [(rng.random(), rng.random()) for _ in range(12)]
    space = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
    front = {n for n, (x, y) in enumerate(points) if not any(a >= x and b <= y and (a, b) != (x, y) for a, b in points)}
    assert 1 < len(front) < 12
    found = drive(
        "keeps_two", metrics=[*SCORE, *LOSS], search_space=space, enqueue=[{"x": x, "y": y} for x, y in points],
        budget={"trials": 12}, keep_checkpoints=1,
    )  # fmt: skip
    assert found == front


def test_pruned_trials_keep_nothing_and_failed_ones_what_they_have(drive: Callable[..., set[int]], runs: Path) -> None:
    trials = enqueued([0.9, 0.2, 0.4, 0.8, 0.6])
    assert drive("keeps_or_ends", enqueue=trials, keep_checkpoints=2) == {0, 3, 2}  # 0.2 is pruned, 0.4 fails
