"""The skeleton of a task, for one that makes up its data and reads no files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from hpo.trial import Job, ObjectiveRef, Trial
from objectives.fingerprint import Fingerprint
from objectives.recording import WEIGHTS
from objectives.task import Evaluation, Task
from objectives.training import LOOP_DEFAULTS, Problem


@dataclass(frozen=True)
class Points:
    summary: str = "8 made-up points"
    fingerprints: ClassVar[dict[str, Fingerprint]] = {}


class Line(Task[Points, Points, nn.Linear]):
    defaults: ClassVar[dict[str, Any]] = {**LOOP_DEFAULTS, "learning_rate": 0.1, "epochs": 1}
    monitor = "val_score"

    def load(self, root: Path | None) -> Points:
        assert root is None
        return Points()

    def inputs_of(self, dataset: Points) -> dict[str, Any]:
        return {"scale": 2.0}

    def scaled(self, *raw: torch.Tensor) -> torch.Tensor:
        factor: float = self.inputs["scale"]
        return raw[0] * factor

    def validation_split(self) -> Points:
        raise NotImplementedError

    def test_split(self) -> Points | None:
        return None

    def build(self) -> nn.Linear:
        return nn.Linear(1, 1)

    def problem(self, model: nn.Linear) -> Problem:
        raise NotImplementedError

    def evaluation(self, model: nn.Linear, held_out: Points) -> Evaluation:
        raise NotImplementedError


@pytest.fixture
def line(tmp_path: Path) -> Line:
    job = Job(0, {}, 1, ObjectiveRef(root=str(tmp_path)), {}, tmp_path, ("val_score",))
    torch.save({"epoch": 1, "metrics": {}, "model": nn.Linear(1, 1).state_dict()}, tmp_path / WEIGHTS)
    return Line(Trial(job, lambda step, metrics: None))


def test_a_task_without_files_needs_no_option_for_them(line: Line) -> None:
    assert line.dataset == Points()
    assert line.device == torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test_it_refuses_held_out_files_with_a_sentence(line: Line, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"this task reads no held-out data, .* leave out --data"):
        line.evaluate(tmp_path / "held-out")


def test_it_says_that_there_is_no_test_split(line: Line) -> None:
    with pytest.raises(ValueError, match="no test split: the task makes none"):
        line.evaluate(None)


def test_weights_are_loaded_for_own_code_without_a_study(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    kept = {"epoch": 3, "metrics": {"val_score": 0.5}, "model": model.state_dict()}
    torch.save(kept | {"options": {"learning_rate": 0.1}, "inputs": {"scale": 3.0}}, tmp_path / WEIGHTS)
    found = Line.from_weights(tmp_path / WEIGHTS)
    one = torch.ones(2, 1)
    assert torch.equal(found.scaled(one), 3 * one)
    assert torch.equal(found.network(one), model(one))
    assert (found.epoch, found.metrics, found.network.training) == (3, {"val_score": 0.5}, False)


def test_weights_of_an_earlier_version_cannot_be_loaded_alone(line: Line, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds weights alone, as earlier versions wrote them; .* reads both"):
        Line.from_weights(tmp_path / WEIGHTS)
