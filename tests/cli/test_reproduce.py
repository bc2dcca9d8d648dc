"""`hpo reproduce`: what is said of a second training, what of a change, and the folder for elsewhere."""

from __future__ import annotations

import json
import math
import shutil
import subprocess

import pytest
import yaml

from hpo import layout
from hpo.analysis.reproduction import Noise
from hpo.machine.provenance import MOST_DIFF_BYTES, git_state, packages
from hpo.storage.load_study import load_study

OBJECTIVE = """
import random
import time

import helper

def train(trial):
    scale = sum(map(float, (trial.root / trial.constants["table"]).read_text().split()))
    for step in range(1, 4):
        score = trial.params["x"] + 0.1 * random.random() + helper.OFFSET
        trial.report(step, score=score * scale, step_seconds=time.perf_counter())
    return {"score": score * scale}
"""


@pytest.fixture
def project(tmp_path, study_yaml):
    """A study over an objective of its own, which depends on its seed, a data file and a module beside it."""
    (tmp_path / "train.py").write_text(OBJECTIVE)
    (tmp_path / "helper.py").write_text("OFFSET = 0.0\n")
    (tmp_path / "table.txt").write_text("0.5 0.5")

    def write(**keys):
        more = {"constants": {"table": "table.txt"}, "engine": {"name": "inline"}, "budget": {"trials": 2}}
        path = study_yaml(**more | keys)
        study = yaml.safe_load(path.read_text()) | {"objective": "train.py:train"}
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write


def state_of(folder):
    """Content of every file of a study, to see that none changes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def changed(said):
    return {(one["kind"], one["name"]) for one in json.loads(said.out)["changed"]}


def test_a_second_training_is_equal_bit_for_bit_and_leaves_the_study_alone(hpo, project, runs):
    hpo("run", project(), "--quiet")
    before = state_of(runs)
    said = hpo("reproduce", "toy", 1)
    assert said.code == 0, said.err
    assert said.out.startswith("trial 1 of study 'toy': equal bit for bit (1 metric, 3 steps)\n")
    assert "not compared, as times or memory: step_seconds" in said.out
    assert "changed since" not in said.out
    assert {path: content for path, content in state_of(runs).items() if path in before} == before
    assert layout.studies_in(runs) == ["toy"]
    assert json.loads(hpo("reproduce", "toy", 1, "-o", "elsewhere", "--json").out)["verdict"] == "equal"


def test_another_seed_is_named_and_measured_by_the_spread_of_seeds(hpo, project, runs):
    space = {"x": {"choices": [0.5]}}
    hpo("run", project(search_space=space, budget={"trials": 6}), "--quiet")
    said = hpo("reproduce", "toy", 0, "--seed", 12345)
    assert said.code == 0
    assert "equal within seed noise: score " in said.out
    assert "of 6 seeds)" in said.out
    seed = load_study(runs, "toy")[1].get_trials()[0].user_attrs["hpo:job"]["seed"]
    assert f"changed since:\n  seed is 12345, was {seed}\n" in said.out


def test_without_repeats_the_noise_is_not_known(hpo, project):
    hpo("run", project(), "--quiet")
    said = hpo("reproduce", "toy", 0, "--seed", 12345)
    assert said.code == 1
    assert "How much the seed alone changes is not known" in said.out


def test_the_z_score_is_that_of_two_trainings_by_students_t():
    # Standard deviation 2, so that of a difference 2 sqrt(2); t(0.975, 4) = 2.776.
    noise = Noise("score", 10.0, 10.0 + 2 * 2.7 * math.sqrt(2), 5, 2.0)
    assert noise.z == pytest.approx(2.7)
    assert noise.within
    assert not Noise("score", 10.0, 10.0 + 2 * 2.8 * math.sqrt(2), 5, 2.0).within
    assert Noise("score", 10.0, 11.0, 1, None).z is None
    assert not Noise("score", 10.0, 11.0, 3, 0.0).within


def test_a_changed_package_and_a_changed_data_file_are_named(hpo, project, tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "some_lib-1.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(site))
    packages.cache_clear()
    path = project()
    hpo("run", path, "--quiet")
    (site / "some_lib-1.0.dist-info").rename(site / "some_lib-1.1.dist-info")
    packages.cache_clear()
    same = hpo("reproduce", "toy", 0)
    assert same.code == 0
    assert "  package some-lib is 1.1, was 1.0" in same.out
    (tmp_path / "table.txt").write_text("0.5 0.6")
    other = hpo("reproduce", "toy", 0)
    assert other.code == 1
    assert "first difference of score at step 1: " in other.out
    assert "  data file constants.table: table.txt has other content" in other.out
    packages.cache_clear()


def test_a_changed_source_commit_and_number_of_threads_are_named(hpo, project, tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    (tmp_path / ".gitignore").write_text("runs\nex\n")
    git("init"), git("add", "."), git("commit", "-m", "first")
    (tmp_path / "train.py").write_text(OBJECTIVE + "# a change\n# postgresql://me:secret@host/db\n")
    hpo("run", project(engine={"workers": 1, "cpu": 1}, budget={"trials": 1}), "--quiet")
    git("add", "."), git("commit", "-m", "second")
    (tmp_path / "helper.py").write_text("OFFSET = 1.0\n")
    said = hpo("reproduce", "toy", 0, "--json")
    assert said.code == 1
    assert {("source", "helper.py"), ("commit", "")} <= changed(said)
    assert ("source", "train.py") not in changed(said)
    # Elsewhere it runs with the file as it was, which git has.
    exported = hpo("reproduce", "toy", 0, "--export", "ex")
    assert exported.code == 0
    assert (tmp_path / "ex/source/helper.py").read_text() == "OFFSET = 0.0\n"
    diff = (tmp_path / "ex/changes.diff").read_text()
    assert "+# a change" in diff
    assert "secret" not in diff


def test_an_export_runs_and_gives_the_same_numbers(hpo, project, tmp_path, runs):
    hpo("run", project(), "--quiet")
    value = load_study(runs, "toy")[1].get_trials()[1].value
    said = hpo("reproduce", "toy", 1, "--export", "ex")
    assert said.code == 0, said.err
    files = {path.relative_to(tmp_path / "ex").as_posix() for path in (tmp_path / "ex").rglob("*") if path.is_file()}
    assert files == {"study.yaml", "constraints.txt", "data.json", "README.md", "source/train.py", "source/helper.py"}
    assert "optuna==" in (tmp_path / "ex/constraints.txt").read_text()
    assert "table.txt" in (tmp_path / "ex/README.md").read_text()
    shutil.move(tmp_path / "train.py", tmp_path / "moved_away.py")  # it needs nothing of the project but the data
    assert hpo("run", "ex/study.yaml", "--runs", "there", "--quiet").code == 0
    assert load_study(tmp_path / "there", "toy-trial-1")[1].get_trials()[0].value == value
    assert "is not an empty folder" in hpo("reproduce", "toy", 1, "--export", "ex").err


def test_a_pruned_trial_is_trained_as_far_as_it_went(hpo, study_yaml, runs):
    path = study_yaml(
        engine={"name": "inline"},
        pruner={"name": "threshold", "lower": 10.0, "n_warmup_steps": 3},
        budget={"trials": 1},
    )
    hpo("run", path, "--quiet")
    said = hpo("reproduce", "toy", 0, "-o", "again")
    assert said.out.startswith("trial 0 of study 'toy': equal bit for bit (2 metrics, 4 steps)"), said.out
    rows = (runs.parent / "again/toy-trial-0/trials/0/history.jsonl").read_text().splitlines()
    assert len(rows) == 4


def test_what_cannot_be_repeated_is_said(hpo, study_yaml):
    hpo("run", study_yaml(engine={"name": "inline"}), "--quiet")
    absent = hpo("reproduce", "toy", 9)
    assert (absent.code, absent.err) == (2, "hpo: study 'toy' has no trial 9; it has trials 0 to 3\n")
    assert hpo("reproduce", "toi", 0).code == 2
    assert hpo("reproduce", "toy").code == 2


def test_a_failed_trial_is_compared_by_its_failure(hpo, study_yaml):
    hpo("run", study_yaml("raising", engine={"name": "inline"}, search_space={"x": {"choices": [0.9]}}), "--quiet")
    said = hpo("reproduce", "toy", 0)
    assert said.code == 0
    assert "equal bit for bit" in said.out


def test_a_diff_beyond_the_limit_is_left_out(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    assert git_state(tmp_path) == {}
    git("init")
    (tmp_path / "big.txt").write_text("x\n")
    git("add", "."), git("commit", "-m", "first")
    assert git_state(tmp_path)["diff"] == ""
    (tmp_path / "big.txt").write_text("y\n" * MOST_DIFF_BYTES)
    found = git_state(tmp_path)
    assert found["diff"] == ""
    assert found["diff_bytes"] > MOST_DIFF_BYTES


TINY = {
    "quickstart": ["constants.epochs=2"],
    "mitochondria_small": ["constants.epochs=2", "constants.base_width=2", "constants.data.slices=4"],
    "glaucoma_small": ["search_space.epochs=2", "enqueue=[]", "constants.data.images=400"],
    "audio_angle_small": ["constants.epochs=2"],
    "abr_small": ["constants.epochs=2", "constants.data.records=300"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_every_built_in_task_is_reproduced_bit_for_bit_on_the_cpu(hpo, name, runs):
    sets = [f"--set={one}" for one in TINY[name]]
    ran = hpo("run", name, "--trials", 1, "--quiet", "--set=mlflow=false", *sets)
    assert ran.code == 0, ran.err
    said = hpo("reproduce", name, 0)
    assert said.code == 0, said.out
    assert "equal bit for bit" in said.out
    # Other data of the same study are named by their fingerprint.
    spec = yaml.safe_load((runs / name / "study.yaml").read_text())
    seed = spec["constants"].get("data", {}).get("seed", 0)
    spec["constants"].setdefault("data", {})["seed"] = seed + 1
    (runs / name / "study.yaml").write_text(yaml.safe_dump(spec))
    other = hpo("reproduce", name, 0, "--json")
    assert other.code == 1
    assert {("data", "of split train"), ("data", "of split val")} <= changed(other)
