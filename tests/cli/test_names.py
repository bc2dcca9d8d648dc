"""Names that a study cannot have: `hpo check`, `hpo run` and --new-name say the reason, and write nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hpo import layout

from .conftest import Hpo

RESERVED = ["mlartifacts", "knowledge", "journal.log", "mlflow.db"]
BESIDE = ["journal.log.lock", "journal.log.flock", "mlflow.db-wal", "mlflow.db-shm", "mlflow.db.1.partial"]


@pytest.mark.parametrize("name", [*RESERVED, *BESIDE, "MLArtifacts", "JOURNAL.LOG", "Knowledge", "a" * 300, "a" * 201])
def test_a_name_that_would_be_in_the_way_is_refused(hpo: Hpo, study_yaml, runs: Path, name):
    allowed, path = study_yaml(), Path("reserved.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(allowed.read_text()) | {"name": name}))
    for args in (["check", path], ["run", path], ["run", allowed, "--new-name", name]):
        said = hpo(*args)
        assert (said.code, said.out) == (2, "")
        if len(name) > 200:
            assert f"has {len(name)} letters; expected at most 200, since files are named after the study" in said.err
        else:
            assert f"'{name}' is kept for " in said.err
            assert "in the runs folder too; expected another name, such as " in said.err
    assert not runs.exists()


@pytest.mark.parametrize("name", ["journal", "knowledge-2", "mlflow.dbs", "a" * 200])
def test_names_beside_them_are_taken(hpo: Hpo, study_yaml, runs: Path, name):
    assert hpo("run", study_yaml(name=name, budget={"trials": 1}), "-q").code == 0
    assert hpo("delete", name, "--yes", "--purge").code == 0


def test_a_study_of_an_earlier_version_under_such_a_name_is_read_and_not_deleted(hpo: Hpo, finished, runs: Path):
    (runs / "toy").rename(runs / "mlartifacts")
    path = runs / "mlartifacts" / layout.SPEC
    path.write_text(path.read_text().replace("name: toy", "name: mlartifacts", 1))
    (runs / "mlartifacts/other").write_text("artifacts of all studies")
    assert "mlartifacts" in hpo("list").out
    said = hpo("delete", "mlartifacts", "--yes")
    assert said.code == 1
    assert f"{runs / 'mlartifacts'} cannot be deleted as a study: its name 'mlartifacts' is kept for" in said.err
    assert (runs / "mlartifacts/other").exists()


def test_two_names_of_one_folder_are_refused(hpo: Hpo, finished, runs: Path):
    """As `toy` and `Toy` are where the file system does not tell upper from lower case."""
    (runs / "Toy").symlink_to(runs / "toy")
    for args in (["check", finished, "--set", "name=Toy"], ["run", finished, "--new-name", "Toy"]):
        said = hpo(*args)
        assert said.code == 2
        assert "the folder of a study 'Toy' would be that of study 'toy'" in said.err
        assert "does not tell upper from lower case" in said.err


def test_a_study_begins_where_another_start_was_killed_in_the_middle_of_a_file(hpo: Hpo, study_yaml, runs: Path):
    (runs / "toy").mkdir(parents=True)
    left = runs / "toy" / "identity.json.e9730a8e.13380.partial"
    left.write_text("{")
    assert hpo("run", study_yaml(engine="inline", budget={"trials": 1}), "--quiet").code == 0
    (runs / "other").mkdir()
    left.rename(runs / "other" / "thesis.tex.e9730a8e.13380.partial")
    said = hpo("run", study_yaml(), "--new-name", "other")
    assert (said.code, "it has thesis.tex and no study.yaml" in said.err) == (2, True)


def test_a_folder_that_is_somebodys_does_not_become_a_studys(hpo: Hpo, study_yaml, runs: Path):
    (runs / "toy").mkdir(parents=True)
    (runs / "toy/thesis.tex").write_text("years of work")
    for command in ("check", "run"):
        said = hpo(command, study_yaml())
        assert said.code == 2
        assert f"{runs / 'toy'} is there, and is not the folder of a study: it has thesis.tex" in said.err
    assert [path.name for path in (runs / "toy").iterdir()] == ["thesis.tex"]
    (runs / "notes").write_text("a file")
    said = hpo("run", study_yaml(), "--new-name", "notes")
    assert said.code == 2
    assert f"{runs / 'notes'} is there, and is no folder" in said.err
