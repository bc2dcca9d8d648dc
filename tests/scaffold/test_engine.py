"""The engine of a scaffolded study: trials of a script that wants a GPU see one, if the machine has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.scaffold.from_script import engine_entry
from hpo.scaffold.python_source import Script


@pytest.mark.parametrize(
    ("text", "gpus", "engine"),
    [
        ("import torch\n", "0,1", {"workers": 1, "gpu": 1}),
        ("import torch\n", "", {"workers": 1}),
        ("import sklearn\n", "0", {"workers": 1}),
    ],
)
def test_a_gpu_for_a_script_that_wants_one(
    text: str, gpus: str, engine: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    path = tmp_path / "train.py"
    path.write_text(text)
    assert engine_entry([Script(path)]).declared == engine
