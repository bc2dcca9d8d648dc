"""`hpo init` as it is called: from nothing, from other tools' files, from built-in studies, and with what is wrong."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hpo.machine.resources import visible_gpus
from hpo.spec.includes import built_in_studies
from hpo.spec.load import load_spec, load_with_hints
from hpo.spec.models import StudySpec
from hpo.spec.schema_file import editor_line
from hpo.storage.load_study import load_study

from .conftest import Hpo, Said, environment

TASKS = ("segmentation", "classification", "ranking", "multitask", "command")
SCRIPT = """\
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--epochs", type=int, default=3)
args = parser.parse_args()
for epoch in range(args.epochs):
    loss = (args.lr - 0.03) ** 2 + 1 / (epoch + 1)
    print(f"epoch {epoch} val loss {loss:.3f}")
"""


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run_two_trials(study: Path, *settings: str) -> StudySpec:
    words = [sys.executable, "-P", "-m", "hpo", "run", study.name, "--trials", "2", "--set", "mlflow=false", *settings]
    done = subprocess.run(
        words, cwd=study.parent, env=environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    spec, stored = load_study(study.parent / "runs", load_spec(study).name)
    states = [trial.state.name for trial in stored.get_trials(deepcopy=False)]
    ended = [state for state in states if state != "WAITING"]  # more are enqueued than the budget lets run
    assert len(ended) == 2
    assert "COMPLETE" in ended
    assert "FAIL" not in ended
    return spec


# --- from nothing


@pytest.mark.parametrize("task", TASKS)
def test_a_new_study_is_right_at_once(hpo: Hpo, task: str) -> None:
    said = hpo("init", f"my-{task}", "--task", task)
    study = Path(f"my-{task}/study.yaml")
    assert (said.code, said.err) == (0, "")
    assert study.read_text().splitlines()[0] == editor_line()
    spec, hints = load_with_hints(study)
    assert (spec.name, hints) == (f"my-{task}", ())
    checked = hpo("check", study)
    assert checked.code == 0
    assert "warning" not in checked.out
    assert "to decide:" in said.out
    assert f"hpo run {study}" in said.out


@pytest.mark.slow
def test_a_new_command_runs(hpo: Hpo) -> None:
    hpo("init", "mine", "--task", "command")
    run_two_trials(Path("mine/study.yaml"), "--set", "constants.epochs=1")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS[:-1])
def test_a_new_study_runs(hpo: Hpo, task: str) -> None:
    hpo("init", "mine", "--task", task)
    run_two_trials(Path("mine/study.yaml"), "--set", "constants.epochs=1", "--set", "engine.workers=1")


# --- a copy of a built-in study


@pytest.mark.parametrize("name", [Path(one).stem for one in built_in_studies()])
def test_a_copy_has_its_own_files(hpo: Hpo, name: str) -> None:
    said = hpo("init", "--from", name)
    folder = Path(f"my_{name}")
    assert (said.code, said.err) == (0, "")
    spec = load_spec(folder / "study.yaml")
    built_in = load_spec(name)
    assert spec.name == folder.name
    assert spec.space.data() == built_in.space.data()
    assert spec.constants == built_in.constants
    package = (built_in.objective or "").partition(":")[0].replace(".", "/")
    assert (folder / package / "objective.py").is_file()
    checked = hpo("check", folder / "study.yaml", *([] if visible_gpus() else ["--set", "engine.gpu=0"]))
    assert f"{folder.absolute() / package}" in checked.out


@pytest.mark.slow
def test_what_is_edited_in_a_copy_is_what_runs(hpo: Hpo) -> None:
    hpo("init", "mine", "--from", "quickstart")
    objective = Path("mine/objectives/quickstart/objective.py")
    objective.write_text(objective.read_text() + "\n\ndef train(trial):\n    return {'val_average_precision': 0.5}\n")
    spec = run_two_trials(Path("mine/study.yaml"), "--set", "engine.workers=1")
    stored = load_study(Path("mine/runs"), spec.name)[1]
    assert {trial.value for trial in stored.get_trials(deepcopy=False)} == {0.5, None}


@pytest.mark.slow
def test_a_copy_runs(hpo: Hpo) -> None:
    hpo("init", "--from", "mitochondria_small")
    run_two_trials(Path("my_mitochondria_small/study.yaml"), "--set", "constants.epochs=1", "--set", "sampler=random")


# --- a sweep of W&B

SWEEP = """\
program: train.py
method: random
metric: {name: val_loss, goal: minimize}
parameters:
  lr: {distribution: log_uniform_values, min: 0.001, max: 0.1}
  layers: {min: 1, max: 4}
  width: {distribution: q_uniform, min: 16, max: 64, q: 16}
  scale: {distribution: log_normal, mu: 0, sigma: 1}
  amp: {values: [true, false]}
  optimizer: {parameters: {name: {values: [adam, sgd]}}}
  epochs: {value: 3}
early_terminate: {type: hyperband, max_iter: 27, s: 2, eta: 3}
run_cap: 7
"""


def test_a_sweep(hpo: Hpo) -> None:
    said = hpo("init", write("project/sweep.yaml", SWEEP))
    spec = load_spec("project/study.yaml", locate=False)  # train.py is not there
    ranges = {one.name: one.choices or (one.low, one.high, one.log, one.step) for one in spec.space.walk()}
    assert ranges == {
        "lr": (0.001, 0.1, True, None),
        "layers": (1, 4, False, 1),
        "width": (16, 64, False, 16),
        "scale": (0.135, 7.39, True, None),  # e^-2 and e^2: two standard deviations to either side
        "amp": ("True", "False"),  # as W&B writes them into a command line
        "optimizer_name": ("adam", "sgd"),
    }
    assert spec.constants == {"epochs": 3}
    assert spec.command is not None
    assert spec.command[:3] == ("python", "train.py", "--lr={lr}")
    assert "--optimizer.name={optimizer_name}" in spec.command
    assert "--epochs={constants.epochs}" in spec.command
    assert (spec.sampler.name, spec.budget.trials) == ("random", 7)
    assert spec.pruner.data() == {"name": "hyperband", "min_resource": 3, "reduction_factor": 3}  # 27 / 3^2
    assert "log_normal" in said.out
    assert "train.py is not there" in said.out
    assert "to mend first:" in said.out


@pytest.mark.slow
def test_a_sweep_of_a_script_that_reads_its_configuration(hpo: Hpo) -> None:
    # The part of wandb that the script uses.
    write(
        "wandb.py", "config = {}\nlog = print\ndef init(config=None): config and globals()['config'].update(config)\n"
    )
    loop = "for epoch in range(wandb.config.get('epochs', 1)):\n    loss = wandb.config['lr']\n"
    logged = "    wandb.log({'epoch': epoch, 'val/loss': loss, 'lr': 1})\n"
    write("train.py", f"import wandb\nwandb.init()\n{loop}{logged}")
    sweep = "program: train.py\nmethod: bayes\nmetric: {name: val/loss, goal: minimize}\nparameters:\n"
    write("sweep.yaml", f"{sweep}  lr: {{min: 0.001, max: 0.1}}\n  epochs: {{value: 2}}\n")
    said = hpo("init", "sweep.yaml", "--apply")
    assert said.code == 0
    text = Path("train.py").read_text()
    assert "wandb.init(config={**hpo.current_trial().constants, **hpo.current_trial().params})" in text
    assert '    hpo.report(epoch, {"val/loss": loss})\n' in text
    run_two_trials(Path("study.yaml"))


def test_a_grid_of_a_sweep_ends_by_itself(hpo: Hpo) -> None:
    sweep = (
        "program: a.sh\nmethod: grid\nmetric: {name: loss}\nparameters: {a: {values: [1, 2]}, b: {values: [x, y]}}\n"
    )
    hpo("init", write("sweep.yaml", sweep), "-o", "grid.yaml")
    spec = load_spec("grid.yaml")
    assert (spec.sampler.name, spec.space.grid_size(), spec.budget.trials) == ("grid", 4, None)


# --- an Optuna script

OPTUNA = """\
import optuna


def objective(trial):
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 3)
    for i in range(layers):
        trial.suggest_int(f"units_{i}", 4, 64, step=4)
    kind = trial.suggest_categorical("kind", ["adam", "sgd"])
    if kind == "sgd":
        trial.suggest_float("momentum", 0.0, 0.99)
    if layers > 2:
        trial.suggest_float("skip", 0, 1)
    accuracy = 0.0
    for step in range(3):
        accuracy = 1 - lr
        trial.report(accuracy, step)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return accuracy


pruner = optuna.pruners.MedianPruner()
study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(), pruner=pruner)
study.enqueue_trial({"lr": 1e-3, "kind": "sgd", "momentum": 0.9})
study.optimize(objective, n_trials=30, timeout=1800)
"""


def test_an_optuna_script(hpo: Hpo) -> None:
    script = write("search.py", OPTUNA)
    said = hpo("init", script)
    assert script.read_text() == OPTUNA
    spec = load_spec("study.yaml")
    ranges = {one.full_name: one.choices or (one.low, one.high, one.log, one.step) for one in spec.space.walk()}
    assert ranges == {
        "lr": (1e-5, 1e-1, True, None),
        "layers": (1, 3, False, 1),
        **{f"units_{i}": (4, 64, False, 4) for i in range(3)},
        "kind": ("adam", "sgd"),
        "kind.sgd.momentum": (0.0, 0.99, False, None),
        "skip": (0.0, 1.0, False, None),
    }
    assert [(metric.name, metric.direction) for metric in spec.metrics] == [("accuracy", "maximize")]
    assert (spec.budget.trials, spec.budget.hours) == (30, 0.5)
    assert (spec.sampler.name, spec.pruner.name) == ("tpe", "median")
    assert spec.enqueue == ({"lr": 1e-3, "kind": "sgd", "momentum": 0.9},)
    assert "skip: only asked for where layers > 2" in said.out
    assert 'if __name__ == "__main__":' in said.out


@pytest.mark.slow
def test_a_study_of_an_optuna_script_runs(hpo: Hpo) -> None:
    hpo("init", write("search.py", OPTUNA), "--apply")
    compile(Path("search.py").read_text(), "search.py", "exec")
    run_two_trials(Path("study.yaml"))
    rows = Path("runs/search/trials/0/history.jsonl").read_text().splitlines()
    assert len(rows) == 3


# --- a script, and files that are there


def test_nothing_is_overwritten(hpo: Hpo) -> None:
    script = write("train.py", SCRIPT)
    assert hpo("init", script).code == 0
    study = Path("study.yaml")
    study.write_text(study.read_text().replace("trials: 40", "trials: 4"))
    again = hpo("init", script)
    assert (again.code, again.out) == (2, "")
    assert "study.yaml is there already" in again.err
    applied = hpo("init", script, "--apply")
    assert applied.code == 0
    assert "kept" in applied.out
    assert load_spec(study).budget.trials == 4
    assert "hpo.report(epoch, val_loss=loss)" in script.read_text()
    assert hpo("init", script, "--force").code == 0
    assert load_spec(study).budget.trials == 40
    assert hpo("init", script, "-o", "other.yaml").out.endswith("search; the same command again goes on\n")
    assert load_spec("other.yaml").command == load_spec(study).command


def test_apply_keeps_the_mode_and_the_line_ends(hpo: Hpo) -> None:
    script = Path("train.py")
    script.write_bytes(SCRIPT.replace("\n", "\r\n").encode())
    script.chmod(0o755)
    assert hpo("init", script, "--apply").code == 0
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    text = script.read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n") == SCRIPT.count("\n") + 2


@pytest.mark.skipif(shutil.which("patch") is None, reason="patch is not installed")
def test_the_commands_that_are_named_work(hpo: Hpo) -> None:
    script = write("a folder/train.py", SCRIPT)
    said = hpo("init", script)
    line = next(line.strip() for line in said.out.splitlines() if line.strip().startswith("patch"))
    subprocess.run(line.partition("  or:")[0], shell=True, check=True)
    assert "hpo.report" in script.read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(hpo: Hpo) -> None:
    script = write("closed/train.py", SCRIPT)
    script.parent.chmod(0o555)
    said = hpo("init", script)
    script.parent.chmod(0o755)
    assert said.code == 2
    assert "cannot be written" in said.err


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "expected a name with --task"),
    "a name alone": (("foo",), "needs --task"),
    "no such file": (("trian.py",), "there is no file trian.py. Did you mean 'train.py'?"),
    "a folder": (("folder",), "is a folder"),
    "a folder like a script": (("folder.py",), "is a folder"),
    "an empty script": (("empty.py",), "nothing that is known to be searched"),
    "no Python": (("broken.py",), "broken.py:1: this is not valid Python"),
    "bytes": (("bytes.py",), "this is not valid Python"),
    "text": (("notes.txt",), "neither Python"),
    "a notebook": (("train.ipynb",), "`jupyter nbconvert --to script train.ipynb` makes a script of it"),
    "no YAML": (("broken.yaml",), "this is not valid YAML"),
    "an empty YAML": (("empty.yaml",), "holds no sweep"),
    "a study": (("study.yaml",), "is a study already"),
    "no sweep": (("other.yaml",), "is no sweep"),
    "a sweep of nothing": (("fixed.yaml",), "none of them has values or a range"),
    "a task without a name": (("--task", "ranking"), "--task needs a name"),
    "a file for a folder": (("x.py", "--task", "ranking"), "is a file's name"),
    "a script as a study": (("--from", "train.py"), "A file is given without --from: hpo init train.py"),
    "no such study": (("--from", "quickstrat"), "Did you mean 'quickstart'?"),
    "two origins": (("x", "--task", "ranking", "--from", "quickstart"), "expected one of them"),
    "lines for no script": (("x", "--task", "ranking", "--apply"), "leave them out"),
    "another folder": (("train.py", "-o", "folder/study.yaml"), "in another folder"),
    "no configuration": (("hydra.py",), "conf/config.yaml is not there"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(hpo: Hpo, case: str) -> None:
    write("train.py", SCRIPT)
    Path("folder").mkdir()
    Path("folder.py").mkdir()
    write("empty.py", "")
    write("broken.py", "def f(:\n")
    Path("bytes.py").write_bytes(b"\xff\xfe\x00")
    write("notes.txt", "hi")
    write("broken.yaml", "a: [\n")
    write("empty.yaml", "")
    write("study.yaml", "search_space: {a: {low: 0, high: 1}}\n")
    write("other.yaml", "name: x\n")
    write("fixed.yaml", "parameters: {a: {value: 3}}\n")
    write("hydra.py", 'import hydra\n@hydra.main(config_path="conf", config_name="config")\ndef main(cfg): pass\n')
    before = sorted(Path().rglob("*"))
    words, expected = WRONG[case]
    said = hpo("init", *words)
    assert said.code == 2
    assert said.out == ""
    assert expected in said.err
    assert sorted(Path().rglob("*")) == before


def test_it_runs_nothing_and_imports_nothing(hpo_process: Callable[..., Said], tmp_path: Path) -> None:
    script = write("train.py", f"open({str(tmp_path / 'ran')!r}, 'w')\n{SCRIPT}")
    assert hpo_process("init", script).code == 0
    assert not (tmp_path / "ran").exists()
