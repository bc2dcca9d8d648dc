"""What hpo says to study files that are wrong: where, which key, and the words that help."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from hpo.errors import SpecError
from hpo.spec.identity import differences
from hpo.spec.load import load_spec

GOOD = """\
name: demo
objective: objective.py:train
metrics:
  - {name: loss, direction: minimize}
group_by: arch
search_space:
  arch: {choices: [unet, resunet]}
  lr: {low: 1e-4, high: 1e-2, log: true}
  loss:
    choices:
      bce: {}
      focal: {gamma: {low: 0.0, high: 5.0}}
constants: {epochs: 4}
budget: {trials: 10}
sampler: tpe
pruner: none
engine: local
seed: 1
"""
OBJECTIVE = """\
def train(trial):
    return {"loss": 1.0}


def two(trial, data):
    return {"loss": 1.0}


async def waits(trial):
    return {"loss": 1.0}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    (tmp_path / "broken.py").write_text("def train(trial:\n")
    (tmp_path / "study.yaml").write_text(GOOD)
    return tmp_path


def problems_of(folder: Path, old: str, new: str, overrides: tuple[str, ...] = ()) -> tuple[SpecError, str]:
    assert old in GOOD, "the line to replace is not in GOOD"
    text = GOOD.replace(old, new)
    (folder / "study.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(folder / "study.yaml", overrides)
    return caught.value, text


# name: (text of GOOD, what it becomes, a text on the line that is to blame, the key, words of the message)
LR = "  lr: {low: 1e-4, high: 1e-2, log: true}"
TABLE: dict[str, tuple[str, str, str, str, tuple[str, ...]]] = {
    # YAML
    "bracket left open": ("seed: 1", "seed: [1", "seed: [1", "", ("not valid YAML",)),
    "tab": ("constants: {epochs: 4}", "constants:\n\tepochs: 4", "\tepochs", "", ("not valid YAML", "character")),
    "duplicate key": ("seed: 1", "seed: 1\nseed: 2", "seed: 2", "seed", ("given twice", "line 18")),
    "duplicate nested key": (
        *(LR, "  lr: {low: 1, high: 2}\n  lr: {low: 1, high: 3}"),
        *("high: 3", "search_space.lr", ("given twice",)),
    ),
    "unknown tag": ("seed: 1", "seed: !env SEED", "seed: !env", "seed", ("!env", "not understood")),
    "self reference": ("constants: {epochs: 4}", "constants: &c {epochs: *c}", "&c", "constants.epochs", ("alias",)),
    "key that is a list": ("seed: 1", "? [a]\n: 1", "? [a]", "", ("key", "list")),
    # the schema
    "unknown key": ("seed: 1", "sed: 1", "sed: 1", "sed", ("not a key of a study", "Did you mean 'seed'?")),
    "a folder of MLflow's old file store": (
        *("seed: 1", "mlflow: mlruns", "mlflow: mlruns", "mlflow"),
        ("'mlruns' is no tracking URI", "http://HOST:PORT, sqlite:///FILE or false"),
    ),
    "a misspelt tracking URI": (
        *("seed: 1", "mlflow: {tracking_uri: 'htp://host'}", "mlflow:", "mlflow.tracking_uri"),
        ("'htp://host' is no tracking URI",),
    ),
    "unknown key of mlflow": (
        *("seed: 1", "mlflow: {tracking_url: 'http://host'}", "mlflow:", "mlflow.tracking_url"),
        ("not a key of mlflow", "Did you mean 'tracking_uri'?"),
    ),
    "a number of runs without a word": (
        *("seed: 1", "mlflow: {trials: 1000}", "mlflow:", "mlflow.trials"),
        ("1000 is not right; expected all, or best and a number from 1", "Did you mean 'best 1000'?"),
    ),
    "a misspelt word before a number of runs": (
        *("seed: 1", "mlflow: {trials: bset 500}", "mlflow:", "mlflow.trials"),
        ("'bset 500' is not right", "Did you mean 'best 500'?"),
    ),
    "more runs than there are numbers": (
        *("seed: 1", f"mlflow: {{trials: best {10**30}}}", "mlflow:", "mlflow.trials"),
        ("is not right; expected all, or best and a number from 1.",),
    ),
    "a misspelt word for all runs": (
        *("seed: 1", "mlflow: {trials: al}", "mlflow:", "mlflow.trials"),
        ("'al' is not right", "Did you mean 'all'?"),
    ),
    "no runs at all": (
        *("seed: 1", "mlflow: {trials: best 0}", "mlflow:", "mlflow.trials"),
        ("'best 0' is not right", "a number from 1"),
    ),
    "a list of runs": (
        *("seed: 1", "mlflow: {trials: [1, 2]}", "mlflow:", "mlflow.trials"),
        ("[1, 2] is not right", "best and a number"),
    ),
    "a comma in a number of runs": (
        *("seed: 1", "mlflow: {trials: 'best 1,000'}", "mlflow:", "mlflow.trials"),
        ("'best 1,000' is not right", "a number from 1"),
    ),
    "no checkpoints at all": ("seed: 1", "checkpoints: 0", "checkpoints", "checkpoints.keep_best", ("at least 1",)),
    "checkpoints in words": ("seed: 1", "checkpoints: best", "checkpoints", "checkpoints", ("'best'", "all")),
    "a list of checkpoints": ("seed: 1", "checkpoints: [3]", "checkpoints", "checkpoints", ("[3]", "keep_best: 3")),
    "no disk for checkpoints": (
        *("seed: 1", "checkpoints: {max_gb: 0}", "checkpoints", "checkpoints.max_gb"),
        ("0 is out of range", "more than 0"),
    ),
    "a misspelt key of checkpoints": (
        *("seed: 1", "checkpoints: {max_gib: 9}", "checkpoints", "checkpoints.max_gib"),
        ("not a key of checkpoints", "Did you mean 'max_gb'?"),
    ),
    "unknown key of budget": ("{trials: 10}", "{trails: 10}", "trails", "budget.trails", ("Did you mean 'trials'?",)),
    "missing name": ("name: demo\n", "", "objective", "name", ("missing", "expected")),
    "missing metrics": (
        *("metrics:\n  - {name: loss, direction: minimize}\n", "", "name: demo"),
        *("metrics", ("missing", "direction: minimize")),
    ),
    "missing budget": ("budget: {trials: 10}\n", "", "name: demo", "budget", ("missing", "trials: 50")),
    "missing space": (
        *(GOOD[GOOD.index("group_by") : GOOD.index("constants")], ""),
        *("name: demo", "search_space", ("missing", "low")),
    ),
    "missing direction": (", direction: minimize", "", "- {name: loss", "metrics.0.direction", ("missing",)),
    "name with a slash": ("name: demo", "name: a/b", "a/b", "name", ("'a/b'", "letters, digits")),
    "direction typo": ("minimize", "minimise", "minimise", "metrics.0.direction", ("Did you mean 'minimize'?",)),
    "metric twice": (
        *(
            "- {name: loss, direction: minimize}",
            "- {name: a, direction: minimize}\n  - {name: a, direction: maximize}",
        ),
        *("maximize", "metrics.1.name", ("'a' is given twice",)),
    ),
    "no metrics": (
        *("metrics:\n  - {name: loss, direction: minimize}", "metrics: []"),
        *("metrics: []", "metrics", ("at least one",)),
    ),
    "seed is text": ("seed: 1", "seed: one", "seed: one", "seed", ("'one'", "expected an integer")),
    "seed negative": ("seed: 1", "seed: -1", "seed: -1", "seed", ("-1", "at least 0")),
    "constants are a list": ("{epochs: 4}", "[4]", "constants: [4]", "constants", ("expected a mapping",)),
    "group_by unknown": ("group_by: arch", "group_by: arc", "group_by: arc", "group_by", ("Did you mean 'arch'?",)),
    "group_by a number": ("group_by: arch", "group_by: lr", "group_by: lr", "group_by", ("choices", "arch, loss")),
    # the space
    "low above high": (LR, "  lr: {low: 2, high: 1}", "lr:", "search_space.lr.low", ("low is 2, high is 1",)),
    "low equals high": (LR, "  lr: {low: 2, high: 2}", "lr:", "search_space.lr.low", ("'lr: 2' for a fixed value",)),
    "log from zero": (
        *(LR, "  lr: {low: 0, high: 1.0, log: true}", "lr:"),
        *("search_space.lr.low", ("low is 0", "more than 0", "log")),
    ),
    "log and step": (
        *(LR, "  lr: {low: 1, high: 9, log: true, step: 2}", "lr:"),
        *("search_space.lr.step", ("do not go together",)),
    ),
    "step does not divide": (
        *(LR, "  lr:\n    low: 0.0\n    high: 1.0\n    step: 0.3", "step: 0.3"),
        *("search_space.lr.step", ("does not divide", "0.9 or 1.2")),
    ),
    "step of zero": (LR, "  lr: {low: 1, high: 9, step: 0}", "lr:", "search_space.lr.step", ("above 0",)),
    "high missing": (LR, "  lr: {low: 1}", "lr:", "search_space.lr", ("high is missing", "low: 1")),
    "low is text": (LR, "  lr: {low: ten, high: 20}", "lr:", "search_space.lr.low", ("'ten'", "finite number")),
    "high is infinite": (LR, "  lr: {low: 1, high: .inf}", "lr:", "search_space.lr.high", ("inf", "finite number")),
    "key of a parameter": (LR, "  lr: {low: 1, hihg: 2}", "lr:", "search_space.lr.hihg", ("Did you mean 'high'?",)),
    "choices and low": (LR, "  lr: {low: 1, high: 2, choices: [1]}", "lr:", "search_space.lr", ("do not go together",)),
    "empty declaration": (LR, "  lr: {}", "lr:", "search_space.lr", ("declares nothing", "choices")),
    "a bare list": (LR, "  lr: [1, 2]", "lr:", "search_space.lr", ("Did you mean {choices: [1, 2]}?",)),
    "no choices": ("[unet, resunet]", "[]", "arch:", "search_space.arch.choices", ("offers no choice",)),
    "choice twice": ("[unet, resunet]", "[a, b, a]", "arch:", "search_space.arch.choices.2", ("a is given twice",)),
    "choice is mapping": ("[unet, resunet]", "[{a: 1}, 2]", "arch:", "search_space.arch.choices.0", ("is a mapping",)),
    "unknown child key": (
        *("{low: 0.0, high: 5.0}", "{low: 0.0, hgh: 5.0}", "focal:"),
        *("search_space.loss.choices.focal.gamma.hgh", ("Did you mean 'high'?",)),
    ),
    "choice holds a number": ("bce: {}", "bce: 3", "bce: 3", "search_space.loss.choices.bce", ("its parameters",)),
    "leaf collision": (
        *("bce: {}", "bce: {lr: {low: 1, high: 2}}", "bce:"),
        *("search_space.loss.choices.bce.lr", ("'lr' is also a parameter in every trial", "rename")),
    ),
    "one weight": (LR, "  w: {simplex: [bce]}", "w:", "search_space.w.simplex", ("1 weight", "at least two")),
    "weights of numbers": (LR, "  w: {simplex: [1, 2]}", "w:", "search_space.w.simplex", ("list of names",)),
    "name with a dot": (LR, "  l.r: 3", "l.r", "search_space.l.r", ("'l.r' is not a parameter's name",)),
    "family not there": (
        *(LR, "  include: [optimzer.yaml]", "include", "search_space.include.0"),
        ("no family 'optimzer.yaml'",),
    ),
    # the objective
    "no function": (
        "objective.py:train",
        "objective.py",
        "objective:",
        "objective",
        ("Did you mean 'objective.py:train'",),
    ),
    "module and dot": ("objective.py:train", "a.b.train", "objective:", "objective", ("Did you mean 'a.b:train'",)),
    "module not there": (
        *("objective.py:train", "objectve:train", "objective:", "objective"),
        ("no module 'objectve'", "Did you mean 'objective'?"),
    ),
    "file not there": (
        "objective.py:train",
        "objetive.py:train",
        "objective:",
        "objective",
        ("no file", "objective.py"),
    ),
    "function typo": ("objective.py:train", "objective.py:tran", "objective:", "objective", ("Did you mean 'train'?",)),
    "function of two": (
        "objective.py:train",
        "objective.py:two",
        "objective:",
        "objective",
        ("(trial, data)", "two(trial)"),
    ),
    "function is async": ("objective.py:train", "objective.py:waits", "objective:", "objective", ("async",)),
    "file does not parse": ("objective.py:train", "broken.py:train", "objective:", "objective", ("not valid Python",)),
    "no objective": ("objective: objective.py:train\n", "", "name: demo", "objective", ("missing", "command")),
    "both": ("seed: 1", "command: [python]", "objective:", "objective", ("both given",)),
    # the command
    "command is text": (
        *("objective: objective.py:train", "command: python t.py", "command", "command"),
        ("['python', 't.py']",),
    ),
    "placeholder unknown": (
        *("objective: objective.py:train", "command: [python, '{lrr}']", "command", "command.1"),
        ("'{lrr}'", "Did you mean 'lr'?"),
    ),
    "constant unknown": (
        *("objective: objective.py:train", "command: [python, '{constants.epoch}']", "command", "command.1"),
        ("Did you mean 'epochs'?",),
    ),
    "placeholder not always there": (
        *("objective: objective.py:train", "command: [python, '{gamma}']", "command", "command.1"),
        ("only where loss = focal", "inner list"),
    ),
    "placeholder unquoted": (
        *("objective: objective.py:train", "command: [python, {lr}]", "command", "command.1"),
        ("quotes",),
    ),
    "single brace": (
        *("objective: objective.py:train", "command: [python, 'a}']", "command", "command.1"),
        ("single brace",),
    ),
    "program not there": (
        *("objective: objective.py:train", "command: [no-such-program]", "command", "command.0"),
        ("'no-such-program' is not on $PATH",),
    ),
    "script not there": (
        *("objective: objective.py:train", "command: [python, objectiv.py]", "command", "command.1"),
        ("no file", "Did you mean 'objective.py'?"),
    ),
    # storage, budget, engine
    "storage scheme": (
        "seed: 1",
        "storage: sqlit:///x.db",
        "storage",
        "storage",
        ("'sqlit'", "Did you mean 'sqlite'?"),
    ),
    "storage in memory": ("seed: 1", "storage: 'sqlite:///:memory:'", "storage", "storage", ("not the URL of a file",)),
    "storage without host": ("seed: 1", "storage: postgresql:x", "storage", "storage", ("names no host",)),
    "budget empty": ("{trials: 10}", "{}", "budget", "budget", ("says no end", "trials: 50")),
    "budget zero": ("{trials: 10}", "{trials: 0}", "budget", "budget.trials", ("0 is out of range", "at least 1")),
    "budget negative": ("{trials: 10}", "{hours: -2}", "budget", "budget.hours", ("-2", "more than 0")),
    "budget is a number": ("{trials: 10}", "30", "budget", "budget", ("30", "a mapping")),
    "engine typo": ("engine: local", "engine: locla", "engine", "engine.name", ("Did you mean 'local'?",)),
    "workers negative": ("engine: local", "engine: {workers: -2}", "engine", "engine.workers", ("-2", "at least 1")),
    "gpu in words": ("engine: local", "engine: {gpu: all}", "engine", "engine.gpu", ("'all'", "0.5, 1 or 2, or auto")),
    "gpu below zero": ("engine: local", "engine: {gpu: -1}", "engine", "engine.gpu", ("-1", "from 0")),
    "retries in words": (
        *("engine: local", "engine: {retries: often}", "engine", "engine.retries"),
        ("'often'", "a number from 0, or several: {lost: 1, exception: 0, timeout: 0}"),
    ),
    "retries of an unknown cause": (
        *("engine: local", "engine: {retries: {lostt: 1}}", "engine", "engine.retries.lostt"),
        ("not a key of engine.retries", "Did you mean 'lost'?"),
    ),
    "an address without Ray": (
        *("engine: local", "engine: {address: auto}", "engine", "engine.address"),
        ("for the ray engine", "this one is local", "name: ray"),
    ),
    "Ray Client": (
        *("engine: local", "engine: {name: ray, address: 'ray://head:10001'}", "engine", "engine.address"),
        ("is Ray Client", "HOST:PORT of its head (port 6379)"),
    ),
    "an address without a port": (
        *("engine: local", "engine: {name: ray, address: head}", "engine", "engine.address"),
        ("'head' is no address", "auto, or HOST:PORT"),
    ),
    "sharing GPUs inline": (
        *("engine: local", "engine: {name: inline, gpu: auto}", "engine", "engine.gpu"),
        ("inline runs one",),
    ),
    "workers half": ("engine: local", "engine: {workers: 1.5}", "engine", "engine.workers", ("1.5", "integer")),
    # sampler and pruner
    "sampler typo": ("sampler: tpe", "sampler: tep", "sampler", "sampler.name", ("'tep'", "Did you mean 'tpe'?")),
    "pruner typo": ("pruner: none", "pruner: medain", "pruner", "pruner.name", ("Did you mean 'median'?",)),
    "sampler option": (
        *("sampler: tpe", "sampler: {name: tpe, multivariat: true}", "sampler", "sampler.multivariat"),
        ("not a key of the sampler 'tpe'", "Did you mean 'multivariate'?"),
    ),
    "sampler option's type": (
        *("sampler: tpe", "sampler: {name: tpe, n_startup_trials: ten}", "sampler", "sampler.n_startup_trials"),
        ("'ten'", "an integer"),
    ),
    "sampler seed": ("sampler: tpe", "sampler: {name: tpe, seed: 3}", "sampler", "sampler.seed", ("own key 'seed'",)),
    "sampler that needs objects": (
        *("sampler: tpe", "sampler: {name: gp, independent_sampler: x}", "sampler", "sampler.independent_sampler"),
        ("YAML cannot write",),
    ),
    "sampler's own refusal": (
        *("sampler: tpe", "sampler: {name: nsga2, population_size: 1}", "sampler", "sampler.name"),
        ("population_size",),
    ),
    "pruner lacks an option": (
        "pruner: none",
        "pruner: percentile",
        "pruner",
        "pruner.percentile",
        ("is missing", "a number"),
    ),
    "sampler class": ("sampler: tpe", "sampler: optuna.samplers:TPE", "sampler", "sampler.name", ("no class 'TPE'",)),
    "sampler is a pruner": (
        *("sampler: tpe", "sampler: optuna.pruners:NopPruner", "sampler", "sampler.name"),
        ("not an Optuna sampler", "BaseSampler"),
    ),
    # enqueue
    "enqueue unknown": ("seed: 1", "enqueue: [{lrr: 1e-3}]", "enqueue", "enqueue.0.lrr", ("Did you mean 'lr'?",)),
    "enqueue out of range": ("seed: 1", "enqueue: [{lr: 1}]", "enqueue", "enqueue.0.lr", ("1 is out of range", "0.01")),
    "enqueue no choice": (
        *("seed: 1", "enqueue:\n  - {arch: unet}\n  - {arch: resnet}", "resnet", "enqueue.1.arch"),
        ("'resnet' is not a choice", "Did you mean 'resunet'?"),
    ),
    "enqueue inactive": (
        *("seed: 1", "fallbacks: [{loss: bce, gamma: 1}]", "fallbacks", "fallbacks.0.gamma"),
        ("only where loss = focal",),
    ),
    "enqueue is a mapping": ("seed: 1", "enqueue: {lr: 1e-3}", "enqueue", "enqueue", ("expected a list",)),
}


def test_the_study_without_a_mistake_is_accepted(folder: Path) -> None:
    assert load_spec(folder / "study.yaml").name == "demo"


@pytest.mark.parametrize("case", TABLE)
def test_a_bad_input_is_told_with_its_place_and_what_is_expected(folder: Path, case: str) -> None:
    old, new, blamed, key, words = TABLE[case]
    error, text = problems_of(folder, old, new)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if blamed in line]
    found = [p for p in error.problems if p.key == key and all(word in p.message for word in words)]
    assert found, f"no problem of '{key}' with {words} in:\n{error}"
    assert found[0].file == str(folder / "study.yaml")
    assert found[0].line in lines, f"line {found[0].line} of {found[0]}; expected {lines}"
    assert len(error.problems) == 1, f"one mistake, several messages:\n{error}"


# --set text: (the file of the problem, the key, words)
SETTINGS = {
    "constants.epochs": ("--set", "", ("KEY=VALUE",)),
    "=3": ("--set", "", ("KEY=VALUE",)),
    "constants..epochs=3": ("--set", "", ("KEY=VALUE",)),
    "constants.epochs=[3": ("--set constants.epochs", "", ("not valid YAML",)),
    "constants.epoch=3": ("--set constants.epoch", "", ("Did you mean 'epochs'?",)),
    "search_space.lrr.high=3": ("--set search_space.lrr.high", "", ("Did you mean 'lr'?",)),
    "search_space.lr.high=0": ("--set search_space.lr.high", "search_space.lr.low", ("low is 0.0001, high is 0",)),
    "budget.trails=3": ("--set budget.trails", "budget.trails", ("Did you mean 'trials'?",)),
    "budget.trials=0": ("--set budget.trials", "budget.trials", ("0 is out of range",)),
    "bugdet.trials=3": ("--set bugdet.trials", "bugdet", ("Did you mean 'budget'?",)),
    "metrics.3.name=x": ("--set metrics.3.name", "", ("1 entries",)),
    "seed.x=3": ("--set seed.x", "", ("'seed' is 1, without keys",)),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_bad_override_is_told_as_such(folder: Path, setting: str) -> None:
    file, key, words = SETTINGS[setting]
    error, _ = problems_of(folder, "seed: 1", "seed: 1", (setting,))
    problem = error.problems[0]
    if setting == "search_space.lr.high=0":
        assert problem.file == str(folder / "study.yaml"), "low is what stands in the file"
    elif key == "bugdet":
        assert problem.key == key
    else:
        assert (problem.file, problem.key) == (file, key)
    assert all(word in problem.message for word in words), str(error)


def test_a_grid_over_any_number_is_told_for_each_parameter(folder: Path) -> None:
    error, _ = problems_of(folder, "sampler: tpe", "sampler: grid")
    assert [(p.line, p.key) for p in error.problems] == [
        (8, "search_space.lr"),
        (12, "search_space.loss.choices.focal.gamma"),
    ]
    assert all("step or choices" in problem.message for problem in error.problems)


def test_all_problems_of_a_file_are_told_at_once_in_the_order_of_its_lines(folder: Path) -> None:
    text = GOOD.replace("minimize", "minimise").replace("high: 1e-2", "high: 1e-9").replace("tpe", "tep")
    text = text.replace("seed: 1", "sead: 1").replace("objective.py", "nowhere.py")
    (folder / "study.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(folder / "study.yaml", ["budget.trials=-1"])
    keys = [problem.key for problem in caught.value.problems]
    assert keys == [
        *("objective", "metrics.0.direction", "search_space.lr.low", "sampler.name", "sead"),
        "budget.trials",
    ]
    assert str(caught.value).count("\n") == 5


def test_a_family_is_blamed_by_its_own_file_and_line(folder: Path) -> None:
    (folder / "family.yaml").write_text("momentum: 0.9\ndecay: {low: 1, high: 0}\n")
    error, _ = problems_of(folder, "search_space:\n", "search_space:\n  include: [family.yaml]\n")
    assert [(p.file, p.line, p.key) for p in error.problems] == [
        (str(folder / "family.yaml"), 2, "search_space.decay.low")
    ]


def test_a_family_that_includes_itself_is_refused(folder: Path) -> None:
    (folder / "family.yaml").write_text("include: [family.yaml]\nmomentum: 0.9\n")
    error, _ = problems_of(folder, "search_space:\n", "search_space:\n  include: [family.yaml]\n")
    assert "includes itself" in str(error)


def test_no_file_an_empty_file_a_folder_and_bytes_that_are_no_text(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"studdy\.yaml: there is no such file\. Did you mean 'study\.yaml'\?"):
        load_spec(folder / "studdy.yaml")
    with pytest.raises(SpecError, match="is a folder"):
        load_spec(folder)
    (folder / "study.yaml").write_text("# nothing\n")
    with pytest.raises(SpecError, match="the file is empty; expected the keys of a study"):
        load_spec(folder / "study.yaml")
    (folder / "study.yaml").write_bytes(b"name: a\nseed: \xff\n")
    with pytest.raises(SpecError, match=r"study\.yaml:2: byte 0xff is not UTF-8"):
        load_spec(folder / "study.yaml")


def test_a_password_in_a_wrong_url_is_not_repeated(folder: Path) -> None:
    error, _ = problems_of(folder, "seed: 1", "storage: postgres://ann:secret@host/db")
    assert "secret" not in str(error)
    assert "Did you mean 'postgresql'?" in str(error)


EDITS = {
    "search_space.lr.high=0.5": ["search_space.lr.high was 0.01, is 0.5"],
    "search_space.lr.log=false": ["search_space.lr.log was true, is gone"],
    "search_space.arch.choices=[resunet, unet]": [
        "search_space.arch.choices was ['unet', 'resunet'], is ['resunet', 'unet']"
    ],
    "search_space.loss.choices={focal: {gamma: {low: 0.0, high: 5.0}}, bce: {}}": [
        "search_space.loss.choices was [bce, focal], is [focal, bce]"
    ],
    "metrics.0.direction=maximize": ["metrics.0.direction was minimize, is maximize"],
    "objective=objective.py:other": ["objective was objective.py:train, is objective.py:other"],
    "constants.epochs=5": ["constants.epochs was 4, is 5"],
    "constants.data=x": ["constants.data was not there, is x"],
    "budget.trials=99": [],
    "engine.workers=2": [],
    "sampler=random": [],
}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: shlex.quote(edit))
def test_an_edited_study_is_told_by_its_differences(folder: Path, edit: str) -> None:
    before = load_spec(folder / "study.yaml").identity()
    after = load_spec(folder / "study.yaml", [edit], locate=False).identity()
    assert differences(before, after) == EDITS[edit]


HEAD = "name: demo\nobjective: objective.py:train\nmetrics: [{name: loss, direction: minimize}]\n"
MEETING = """\
search_space:
  net:
    choices:
      a: {b: {choices: {c: {x: {low: 0, high: 5}}, d: {}}}}
      a.b.c: {x: {low: 0.0, high: 1.0}}
"""


def test_names_that_meet_in_optuna_are_refused_with_both(folder: Path) -> None:
    """Also where one is fixed or a set of weights; a study that ran before this was refused can be read."""
    text = HEAD + MEETING + "budget: {trials: 1}\n"
    for x in ("{low: 0.0, high: 1.0}", "3", "{simplex: [p, q]}", "{low: 0, high: 5}"):
        (folder / "study.yaml").write_text(text.replace("{low: 0.0, high: 1.0}", x))
        line = text[: text.index("      a.b.c")].count("\n") + 1
        with pytest.raises(SpecError) as caught:
            load_spec(folder / "study.yaml")
        place, said = (
            f"{folder}/study.yaml:{line}: search_space.net.choices.a.b.c.x",
            "would both be 'net.a.b.c.x' in Optuna",
        )
        both = f"'x' where net = a.b.c and 'x' where net = a and b = c (line {line - 1})"
        assert str(caught.value) == f"{place}: {both} {said}; rename one of them, or a choice that holds a dot"
        load_spec(folder / "study.yaml", locate=False)
    (folder / "study.yaml").write_text(text.replace("a.b.c:", "a-b-c:"))
    load_spec(folder / "study.yaml")


@pytest.mark.parametrize(
    "written",
    [
        "{low: 1, high: 9007199254740992, log: true}",
        "{low: -9007199254740992, high: 9007199254740992}",
        "{low: 1, high: 1000001}",
    ],
)
def test_gp_over_more_values_than_optuna_can_list_is_refused(folder: Path, written: str) -> None:
    text = HEAD + f"search_space: {{n: {written}}}\nbudget: {{trials: 1}}\n"
    (folder / "study.yaml").write_text(text)
    with pytest.raises(
        SpecError, match=r"search_space\.n: 'n' has \d+ values, of which the sampler gp would keep a list"
    ):
        load_spec(folder / "study.yaml", ["sampler=gp"])
    load_spec(folder / "study.yaml", ["sampler=tpe"])
    load_spec(folder / "study.yaml", ["sampler=gp"], locate=False)
    load_spec(folder / "study.yaml", ["sampler=gp", "search_space.n.high=1000", "search_space.n.low=1"])
