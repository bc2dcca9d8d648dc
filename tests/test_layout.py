"""Paths: what a user types is kept in a form that outlives the folder it was typed in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo import layout
from hpo.runner import run
from hpo.storage.load_study import load_study


def test_an_absolute_path_steps_back_over_folders_and_the_targets_of_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path / "far" / "target"
    far.mkdir(parents=True)
    here = tmp_path / "here"
    here.mkdir()
    (here / "link").symlink_to(far)
    monkeypatch.chdir(here)
    assert layout.absolute("runs") == here / "runs"
    assert layout.absolute("../runs") == tmp_path / "runs"
    assert layout.absolute("gone/../runs") == here / "runs"
    # As the operating system reads it: back from the folder that the link names.
    assert layout.absolute("link/../runs") == tmp_path / "far" / "runs"
    assert layout.absolute("link/runs") == here / "link" / "runs"
    assert layout.absolute("../here/link/x") == here / "link" / "x"
    assert layout.absolute("/..") == Path("/")


@pytest.mark.slow
def test_a_study_outlives_the_folder_in_which_its_paths_were_typed(
    study_yaml: Callable[..., Path], default_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study_yaml(engine={"name": "inline"}, mlflow=None)
    typed_in = tmp_path / "typed in"
    typed_in.mkdir()
    monkeypatch.chdir(typed_in)
    run(Path("..") / path.name, Path("../runs"))
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(typed_in)
    runs = tmp_path / "runs"
    kept = [file for file in runs.rglob("*") if file.is_file() and b"typed in" in file.read_bytes()]
    assert kept == []
    run(layout.study_directory(runs, "toy") / layout.SPEC, runs, overrides=["budget.trials=6"])
    assert len(load_study(runs, "toy")[1].trials) == 6
