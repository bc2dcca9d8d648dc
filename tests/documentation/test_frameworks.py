"""The files of the page on frameworks, run where the framework is installed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from hpo.spec.yaml_document import dump, load_text
from hpo.storage.load_study import load_study

from .blocks import ROOT, blocks_of
from .walk import FILES, Walk, is_study

pytestmark = pytest.mark.slow
PAGE = ROOT / "docs" / "guides" / "frameworks.md"
# The page's file, the package that it needs, what its study has otherwise than the page's.
TASKS = {
    "keras_task.py": ("keras", "val_loss", {"width": {"choices": [8, 16]}}),
    "lightning_task.py": ("lightning", "val_loss", {"width": {"choices": [8, 16]}}),
    "huggingface_task.py": ("transformers", "eval_loss", {"batch_size": {"choices": [16, 32]}}),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_in_a_framework_runs(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, metric, searched = TASKS[task]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    walk = Walk(tmp_path / "page")
    walk.folder.mkdir()
    blocks = blocks_of(PAGE)
    assert set(TASKS) <= {block.file for block in blocks}
    walk.write(next(block for block in blocks if block.file == task))
    shutil.copy(FILES / "frameworks" / task.replace("task", "model"), walk.folder / "model.py")
    (block,) = [block for block in blocks if block.kind == "yaml" and is_study(block)]
    study = load_text(block.text, block.place).data
    assert isinstance(study, dict)
    study |= {
        "objective": f"{task}:train",
        "metrics": [{"name": metric, "direction": "minimize"}],
        "search_space": {"learning_rate": study["search_space"]["learning_rate"], **searched},
        "constants": {"epochs": 2},
        "pruner": "none",
        "budget": {"trials": 2},
        "engine": {"workers": 1, "cpu": 1},
        "mlflow": False,
    }
    (walk.folder / "study.yaml").write_text(dump(study))
    walk.shell("hpo run study.yaml", block)
    trials = load_study(walk.folder / "runs", study["name"])[1].get_trials(deepcopy=False)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"]
    assert all(len(trial.intermediate_values) == 2 for trial in trials)
