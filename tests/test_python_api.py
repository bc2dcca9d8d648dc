"""The public names of hpo, and the examples of docs/python-api.md."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
from documentation.walk import FILES, Walk

import hpo

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "python-api.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(FILES / "digits", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_RUNS", raising=False)
    return tmp_path


def test_the_public_names_are_those_of_all() -> None:
    public = {
        name for name in dir(hpo) if not name.startswith("_") and not isinstance(getattr(hpo, name), types.ModuleType)
    } - {"TYPE_CHECKING", "import_module"}
    assert public == set(hpo.__all__)
    assert all(getattr(hpo, name) is not None for name in hpo.__all__)


def test_every_public_name_is_on_its_page_and_has_a_docstring() -> None:
    page = PAGE.read_text()
    assert [name for name in hpo.__all__ if f"hpo.{name}" not in page] == []
    assert [name for name in hpo.__all__ if not getattr(hpo, name).__doc__] == []


def test_unknown_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="module 'hpo' has no attribute 'optimise'"):
        _ = hpo.optimise  # type: ignore[attr-defined]


def test_an_objective_pays_for_no_import_that_it_does_not_need() -> None:
    code = "import sys, hpo; print([m for m in ('optuna', 'pandas', 'plotly', 'ray', 'mlflow') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.strip() == "[]"


def test_types_are_shipped() -> None:
    assert (ROOT / "hpo" / "py.typed").exists()


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    walk = Walk(folder).follow(PAGE)
    assert "True 8 " in walk.output
    assert "Did you mean 'digits'?" in walk.output
    assert isinstance(walk.names["figure"], go.Figure)


def test_trials_and_history_say_what_was_stored(folder: Path) -> None:
    hpo.run(hpo.load_spec("study.yaml"), folder / "runs")
    study = hpo.load_study(runs=folder / "runs")
    trials = study.trials()
    assert list(trials.index) == [0, 1]
    assert list(trials["state"]) == ["COMPLETE", "COMPLETE"]
    assert list(trials["params_architecture"]) == ["wide", "small"]
    assert list(trials["params_learning_rate"]) == [0.02, 0.01]
    assert trials["values_val_score"].to_list() == pytest.approx([0.9 - 0.01**2, 0.7])
    assert trials["source"].to_list() == ["enqueue", "enqueue"]
    history = study.history()
    assert history[["trial", "step"]].to_numpy().tolist() == [[0, 1], [0, 2], [0, 3], [1, 1], [1, 2], [1, 3]]
    assert history["val_score"].to_list() == pytest.approx(
        [(0.9 - 0.01**2) * k / 3 for k in (1, 2, 3)] + [0.7 * k / 3 for k in (1, 2, 3)]
    )
    assert study.best().number == 0
    assert study.best(group="small").number == 1
    assert repr(study) == f"Study('digits', 2 finished trials, {folder / 'runs' / 'digits'})"


def test_a_group_that_is_none_is_answered_with_the_nearest(folder: Path) -> None:
    hpo.run(hpo.load_spec("study.yaml"), folder / "runs")
    with pytest.raises(hpo.HpoError, match=r"has no group 'smal'; .*: small, wide\. Did you mean 'small'\?"):
        hpo.load_study("digits", folder / "runs").best(group="smal")


def test_a_study_without_trials_has_empty_frames_with_their_columns(folder: Path) -> None:
    with pytest.raises(hpo.HpoError, match="there is no study in"):
        hpo.load_study(runs=folder / "nowhere")
    frame = hpo.load_study("kept", ROOT / "tests" / "data" / "kept_runs" / "runs_folder").trials()
    assert {"state", "values_val_score", "params_gamma"} <= set(frame.columns)
    assert isinstance(frame, pd.DataFrame)
