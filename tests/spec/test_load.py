"""study.yaml: what it may say, what is made of it, and that it can be written and read again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.actions.plan import plan
from hpo.cli.main import main
from hpo.errors import SpecError
from hpo.spec.load import load_spec, load_with_hints
from hpo.spec.models import StudySpec
from hpo.spec.yaml_document import dump, load_text

STUDY = """\
name: demo
objective: objective.py:train
metrics: [{name: loss, direction: minimize}, {name: recall, direction: maximize}]
group_by: arch
search_space:
  arch: {choices: [unet, resunet], structural: true}
  lr: {low: 1e-4, high: 1e-2, log: true}
  depth: {low: 2, high: 6, step: 2}
  weights: {simplex: [bce, dice]}
  optimizer: adam
  loss:
    choices:
      bce:
      focal: {gamma: {low: 0, high: 5.0}}
constants: {epochs: 4, off: on, date: 2020-01-01, data: {root: data/x}, text: "1e-4"}
sampler: {name: tpe, n_startup_trials: 3}
pruner: successive_halving
enqueue: [{lr: 1e-3, loss: focal, gamma: 2}]
fallbacks: [{lr: 1e-4}]
budget: {trials: 10, hours: 0.5}
engine: {workers: 2, gpu: 1, trial_timeout: 60}
storage: sqlite:///db/x.db
seed: 7
"""
MINIMAL = """\
name: demo
objective: objective.py:train
metrics: [{name: loss, direction: minimize}]
search_space: {lr: {low: 1e-4, high: 1e-2}}
budget: {hours: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "objective.py").write_text("raise SystemExit('imported')\n\ndef train(trial):\n    return {}\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def load(folder: Path, text: str, *overrides: str, locate: bool = True) -> StudySpec:
    (folder / "study.yaml").write_text(text)
    return load_spec(folder / "study.yaml", overrides, locate=locate)


def test_a_full_study(folder: Path) -> None:
    spec = load_spec(folder / "study.yaml")
    assert spec.constants == {
        **{"epochs": 4, "off": "on", "date": "2020-01-01", "data": {"root": "data/x"}, "text": "1e-4"},
    }
    lr = spec.space.find("lr")[0]
    assert (lr.low, lr.high, lr.kind, lr.log) == (0.0001, 0.01, "float", True)
    assert spec.space.parameters[0].structural
    assert spec.sampler.options == {"n_startup_trials": 3}
    assert spec.engine.gpu == 1.0
    assert spec.storage == f"sqlite:///{folder}/db/x.db"
    assert spec.objective_ref().target == f"{folder}/objective.py:train"
    assert spec.objective_ref().root == str(folder)


def test_the_defaults(folder: Path) -> None:
    spec = load(folder, MINIMAL)
    assert spec.sampler.data() == {"name": "auto"}
    rungs = {"min_resource": 1, "reduction_factor": 4, "first_reduction_factor": 2, "window": 32, "promotion": True}
    assert spec.pruner.data() == {"name": "halving", **rungs}
    assert (spec.engine.name, spec.engine.workers, spec.engine.retries.lost) == ("local", None, 1)
    assert (spec.seed, spec.storage, spec.budget.failures, spec.constants) == (42, None, 5, {})


def test_a_key_with_nothing_after_it_is_a_key_left_out(folder: Path) -> None:
    assert load(folder, MINIMAL + "constants:\nenqueue:\nsampler:\n") == load(folder, MINIMAL)


def test_short_forms(folder: Path) -> None:
    spec = load(folder, MINIMAL + "sampler: random\npruner: none\nengine: inline\n")
    assert (spec.sampler.name, spec.pruner.name, spec.engine.name) == ("random", "none", "inline")


def test_a_grid_needs_no_budget(folder: Path) -> None:
    text = MINIMAL.replace("budget: {hours: 1}", "sampler: grid").replace("high: 1e-2", "high: 1e-3, step: 1e-4")
    assert load(folder, text).budget.trials is None
    assert load(folder, text).space.grid_size() == 10


def test_a_budget_may_end_at_a_time(folder: Path) -> None:
    for written, moment in (
        ('"2099-12-01 09:00"', datetime(2099, 12, 1, 9).astimezone()),  # the time of this machine
        ("2099-12-01 09:00", datetime(2099, 12, 1, 9).astimezone()),
        ('"2099-12-01T09:00+08:00"', datetime(2099, 12, 1, 1, tzinfo=UTC)),
        ("2099-12-01T01:00:00Z", datetime(2099, 12, 1, 1, tzinfo=UTC)),
    ):
        spec = load(folder, MINIMAL.replace("{hours: 1}", f"{{by: {written}}}"))
        assert spec.budget.by == moment
        assert load(folder, spec.to_yaml()) == spec


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('"2020-01-01 09:00"', "2020-01-01 09:00 has passed, it is 2"),
        ("tomorrow", "'tomorrow' is not right; expected a date and a time in quotes, \"2026-12-01 09:00\", or with"),
        ('"2099-12-01"', "expected a date and a time"),
        ('"09:00"', "expected a date and a time"),
        ('"2099-13-01 09:00"', "expected a date and a time"),
        ("5", "5 is not right; expected a date and a time"),
        ("true", "true is not right; expected a date and a time"),
        ("[2099-12-01 09:00]", "expected a date and a time"),
    ],
)
def test_what_is_wrong_with_a_time(folder: Path, written: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(folder, MINIMAL.replace("{hours: 1}", f"{{by: {written}}}"))
    assert "budget.by" in str(caught.value)
    assert said in str(caught.value)


def test_a_study_is_frozen(folder: Path) -> None:
    spec = load(folder, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 3  # type: ignore[misc]


def test_a_command_with_numbers_and_an_inner_list(folder: Path) -> None:
    command = "command: [python, objective.py, --epochs, 5, ['--lr', '{lr}']]"
    spec = load(folder, MINIMAL.replace("objective: objective.py:train", command))
    assert spec.command == ("python", "objective.py", "--epochs", "5", ("--lr", "{lr}"))
    assert spec.objective_ref().command == spec.command
    assert load(folder, spec.to_yaml()) == spec


def test_a_root_above_the_yaml(folder: Path) -> None:
    (folder / "studies").mkdir()
    (folder / "studies" / "s.yaml").write_text(MINIMAL + "root: ..\n")
    assert load_spec(folder / "studies" / "s.yaml").root == folder


@pytest.mark.parametrize("written", ["journal:j.log", "j.log", "journal://{folder}/j.log"])
def test_a_journal_has_an_absolute_path(folder: Path, written: str) -> None:
    spec = load(folder, MINIMAL + f"storage: {written.format(folder=folder)}\n")
    assert spec.storage == f"journal:{folder}/j.log"


def test_overrides_from_the_shell(folder: Path) -> None:
    spec = load(
        folder,
        STUDY,
        *(
            "constants.epochs=2",
            "constants.data.root=y",
            "budget.trials=3",
            "sampler.n_startup_trials=9",
            "pruner=none",
        ),
        *("search_space.lr.high=0.5", "search_space.loss.choices.focal.gamma.high=2", "metrics.0.name=error"),
        *("enqueue=[]", "engine.name=inline", "constants.brand_new={a: 1}"),
    )
    assert spec.constants["epochs"] == 2
    assert spec.constants["data"] == {"root": str(Path("y").absolute())}
    assert spec.constants["brand_new"] == {"a": 1}
    assert (spec.budget.trials, spec.budget.hours) == (3, 0.5)
    assert spec.sampler.data() == {"name": "tpe", "n_startup_trials": 9}
    assert spec.pruner.name == "none"
    assert spec.space.find("lr")[0].high == 0.5
    assert spec.space.find("loss.focal.gamma")[0].kind == "int"
    assert spec.metrics[0].name == "error"
    assert load(folder, MINIMAL, "sampler=random", "pruner.min_resource=2", "pruner.name=hyperband").pruner.data() == {
        **{"name": "hyperband", "min_resource": 2}
    }


@pytest.mark.parametrize(
    ("written", "uri", "experiment"),
    [
        ("true", None, None),
        ("{}", None, None),
        ("http://user:secret@host:5000", "http://user:secret@host:5000", None),
        ("{experiment: eyes}", None, "eyes"),
        ("{tracking_uri: 'https://host', experiment: eyes}", "https://host", "eyes"),
    ],
)
def test_mlflow_has_short_forms(folder: Path, written: str, uri: str | None, experiment: str | None) -> None:
    spec = load(folder, MINIMAL + f"mlflow: {written}\n")
    assert spec.mlflow is not None
    assert (spec.mlflow.tracking_uri, spec.mlflow.experiment) == (uri, experiment)
    assert "secret" not in spec.to_yaml()
    assert "mlflow" not in spec.identity()


def test_mlflow_can_be_off_and_a_file_of_it_counts_from_the_study(folder: Path) -> None:
    off = load(folder, MINIMAL + "mlflow: false\n")
    assert off.mlflow is None
    assert load(folder, off.to_yaml()) == off
    there = load(folder, MINIMAL + "mlflow: sqlite:///results/mlflow.db\n")
    assert there.mlflow is not None
    assert there.mlflow.tracking_uri == f"sqlite:///{folder / 'results' / 'mlflow.db'}"


@pytest.mark.parametrize(
    ("written", "most"),
    [
        ("{trials: best 1000}", 1000),
        ("{trials: best 1}", 1),
        ("{trials: best 1000000000000}", 10**12),
        ("{trials: all}", None),
        ("{}", None),
    ],
)
def test_mlflow_may_have_the_best_trials_alone(folder: Path, written: str, most: int | None) -> None:
    spec = load(folder, MINIMAL + f"mlflow: {written}\n")
    assert spec.mlflow is not None
    assert spec.mlflow.trials == most
    assert load(folder, spec.to_yaml()) == spec


def test_how_many_checkpoints_are_kept(folder: Path) -> None:
    def kept(text: str) -> tuple[int | None, float | None]:
        spec = load(folder, MINIMAL + text)
        assert load(folder, spec.to_yaml()) == spec
        return spec.checkpoints.keep_best, spec.checkpoints.max_gb

    assert kept("") == (3, None)
    assert kept("checkpoints: 1\n") == (1, None)
    assert kept("checkpoints: all\n") == (None, None)
    assert kept("checkpoints: {keep_best: all, max_gb: 2.5}\n") == (None, 2.5)
    assert kept("checkpoints: {max_gb: 20}\n") == (3, 20)
    assert kept("keep_checkpoints: 2\n") == (2, None)  # its name in earlier versions


def test_choices_by_name_of_several_families_are_joined(folder: Path) -> None:
    (folder / "one.yaml").write_text("loss:\n  choices:\n    bce: {}\n    focal: {gamma: {low: 0, high: 5}}\n")
    (folder / "two.yaml").write_text("loss:\n  choices: {dice: {}, focal: {gamma: {low: 1, high: 2}}}\n")
    (folder / "list.yaml").write_text("loss: {choices: [mse]}\n")
    text = MINIMAL.replace("{lr:", "{include: [one.yaml, two.yaml], lr:")
    focal = {"gamma": {"low": 1, "high": 2}}
    loss = {"choices": {"bce": {}, "focal": focal, "dice": {}}}
    assert load(folder, text).space.data()["loss"] == loss
    own = text.replace("lr:", "loss: {choices: {hinge: {}}}, lr:")
    assert load(folder, own).space.data()["loss"] == {"choices": ["hinge"]}, "the study's own keys override all"
    last = text.replace("two.yaml]", "list.yaml]")
    assert load(folder, last).space.data()["loss"] == {"choices": ["mse"]}, "a list replaces"
    (folder / "two.yaml").write_text("loss:\n  choices: {dice: {smooth: {lwo: 1, high: 2}}}\n")
    with pytest.raises(SpecError) as caught:
        load(folder, text)
    assert [(Path(problem.file).name, problem.line) for problem in caught.value.problems] == [("two.yaml", 2)]


def test_families_are_merged_and_overridden(folder: Path) -> None:
    (folder / "families").mkdir()
    (folder / "families" / "inner.yaml").write_text("momentum: {low: 0.0, high: 0.9}\n")
    (folder / "families" / "one.yaml").write_text("include: inner.yaml\nlr: {low: 1, high: 2}\ndecay: 1e-2\n")
    (folder / "two.yaml").write_text("decay: 5\n")
    text = MINIMAL.replace("{lr:", "{include: [families/one.yaml, two.yaml], lr:")
    spec = load(folder, text)
    assert spec.space.data() == {
        **{"momentum": {"low": 0.0, "high": 0.9}, "lr": {"low": 1e-4, "high": 1e-2}, "decay": 5},
    }
    assert load(folder, text, "search_space.momentum=0.5").space.find("momentum")[0].value == 0.5
    assert load(folder, text, "search_space.include=[two.yaml]").space.data() == {
        **{"decay": 5, "lr": {"low": 1e-4, "high": 1e-2}}
    }


def test_a_study_elsewhere_is_read_without_its_code(folder: Path) -> None:
    text = STUDY.replace("objective.py:train", "no_such_module:train").replace("name: tpe, n_s", "name: 'no:Such', n_s")
    with pytest.raises(SpecError):
        load(folder, text)
    assert load(folder, text, locate=False).objective == "no_such_module:train"


# ---------------------------------------------------------------------------------------------
# Written and read again


def test_to_yaml_reads_back_equal_from_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = load_spec(folder / "study.yaml")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "study.yaml"
    elsewhere.write_text(spec.to_yaml())
    again = load_spec(elsewhere)
    assert again == spec
    assert again.identity() == spec.identity()
    assert again.to_yaml() == spec.to_yaml()
    assert again.objective_ref() == spec.objective_ref()


def test_to_yaml_holds_no_password(folder: Path) -> None:
    spec = load(folder, MINIMAL + "storage: postgresql+psycopg://ann:s:cr@t/x@host:5432/db?sslmode=on&password=hid\n")
    assert "cr@t" not in spec.to_yaml()
    assert "hid" not in spec.to_yaml()
    assert spec.storage is not None
    assert "s:cr@t" in spec.storage


_texts = st.text(max_size=8) | st.sampled_from(
    ["1e-4", "on", "no", "~", "0x1f", "1_000", "12:30", "{a}", "<<", "=", "- a"]
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts
_data = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3), max_leaves=10
)


@settings(deadline=None, max_examples=150)
@given(_data)
def test_dumped_data_is_read_back(data: Any) -> None:
    document = load_text(dump(data), "x")
    assert not document.problems
    assert repr(document.data) == repr(data)


@settings(deadline=None, max_examples=60)
@given(
    constants=st.dictionaries(_texts, _data, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    trials=st.none() | st.integers(1, 10**9),
    hours=st.floats(1e-6, 1e6),
    gpu=st.floats(0, 8) | st.just("auto"),
    address=st.sampled_from([None, "auto", "head:6379"]),
    choices=st.lists(_texts | st.integers(), min_size=1, max_size=4, unique_by=str),
    low=st.floats(-1e300, 1e300),
    sampler=st.sampled_from(["auto", "kernel", "tpe", "random", "qmc", "nsga2"]),
)
def test_a_spec_is_read_back_equal(tmp_path_factory: pytest.TempPathFactory, **given_: Any) -> None:
    folder = tmp_path_factory.mktemp("spec")
    written = {
        "name": "x",
        "objective": "some.module:function",
        "metrics": [{"name": "loss", "direction": "minimize"}],
        "search_space": {
            "lr": {"low": given_["low"], "high": given_["low"] + abs(given_["low"]) + 1.0},
            "c": {"choices": given_["choices"]},
            "d": {"choices": {choice: {"e": {"low": 1, "high": 2}} for choice in given_["choices"]}},
        },
        "constants": given_["constants"],
        "sampler": given_["sampler"],
        "budget": {"trials": given_["trials"], "hours": given_["hours"]},
        "engine": {
            "name": "ray",
            "gpu": given_["gpu"],
            "address": given_["address"],
            "retries": given_["seed"] % 3,
            "resources": {"ssd": 0.5},
            "runtime_env": {"working_dir": "code", "pip": ["monai"]},
            "checkpoint_dir": "shared",
        },
        "seed": given_["seed"],
    }
    spec = load(folder, dump(written), locate=False)
    assert load(folder, spec.to_yaml(), locate=False) == spec
    assert spec.constants == given_["constants"]


# ---------------------------------------------------------------------------------------------
# Whatever the text

_lines = st.lists(st.sampled_from(STUDY.splitlines()) | st.text(max_size=20), max_size=20).map("\n".join)
_edited = st.tuples(st.integers(0, len(STUDY)), st.integers(0, 5), st.text("{}[]:,-&*!|>'\"\n\t #e1.", max_size=3)).map(
    lambda e: STUDY[: e[0]] + e[2] + STUDY[e[0] + e[1] :]
)


@settings(deadline=None, max_examples=150)
@given(st.text() | _lines | _edited)
def test_any_text_is_a_study_or_a_spec_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(SpecError):
        load_spec(path, locate=False)


_keys = st.sampled_from(
    [*StudySpec.model_fields, "search_space", "low", "high", "choices", "simplex", "trials", "options"]
)
_tree = st.recursive(
    _scalars | st.just(float("nan")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | _texts | st.integers(), inner, max_size=5),
    max_leaves=15,
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(_keys, _tree, min_size=1), st.lists(st.text("abc.=[]{}:1", max_size=8), max_size=2))
def test_any_data_is_a_study_or_a_spec_error(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any], overrides: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(dump(data), encoding="utf-8")
    with contextlib.suppress(SpecError):
        load_spec(path, overrides, locate=False)


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "- " * 5000, "a: " + "9" * 5000, "\x00", "a: !!int x"])
def test_hostile_texts(folder: Path, text: str) -> None:
    with pytest.raises(SpecError):
        load(folder, text)


def test_aliases_that_multiply_are_stopped(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(SpecError, match="aliases"):
        load(folder, "\n".join(lines))


def test_aliases_within_reason_are_understood(folder: Path) -> None:
    text = MINIMAL.replace("{lr: {low: 1e-4, high: 1e-2}}", "{a: &r {low: 1, high: 2}, b: *r}")
    assert [p.high for p in load(folder, text).space.parameters] == [2, 2]


# ---------------------------------------------------------------------------------------------
# hpo check


def test_the_plan_of_a_study(folder: Path) -> None:
    found = plan(load_spec(folder / "study.yaml"), runs=folder / "runs")
    assert found.location == f"{folder}/objective.py:3"
    assert [row.name for row in found.parameters] == ["arch", "lr", "depth", "weights", "optimizer", "loss", "gamma"]
    gamma = found.parameters[-1]
    assert (gamma.condition, gamma.full_name, gamma.distribution) == ("loss = focal", "loss.focal.gamma", "0.0 to 5.0")
    assert found.grid is None
    assert found.endless == ("lr", "weights", "loss.focal.gamma")
    assert all(sample["optimizer"] == "adam" for sample in found.samples)
    assert found.budget.startswith("10 trials or 0.5 hours")
    assert found.first == "1 enqueued, then 1 fallback while no trial has passed the red flags"
    assert found.directory == str(folder / "runs" / "demo")


def test_check_prints_the_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder / "study.yaml"), "--set", "constants.epochs=2", "--trials", "3"]) == 0
    text = capsys.readouterr().out
    for line in (
        "gamma      float        0.0 to 5.0",
        "loss = focal",
        "structural",
        "budget     3 trials or 0.5 hours",
        "mlflow.db, experiment demo",
    ):
        assert line in text
    assert "warning: sampler tpe draws its first 3 trials at random" in text


def test_check_says_how_many_trials_mlflow_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for most, words in ((1000, "of the 1,000 best trials"), (1, "of the best trial")):
        assert main(["check", str(folder / "study.yaml"), "--set", f"mlflow={{trials: best {most}}}"]) == 0
        assert f"mlflow.db, experiment demo, {words}\n" in capsys.readouterr().out


def test_check_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder / "study.yaml"), "--json", "--runs", str(folder)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "demo"
    assert found["parameters"][0] == {
        **{"name": "arch", "kind": "categorical", "distribution": "unet | resunet", "condition": ""},
        **{"full_name": "arch", "structural": True},
    }


def test_check_imports_only_when_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder / "study.yaml")]) == 0
    assert main(["check", str(folder / "study.yaml"), "--import"]) == 2
    assert "raised SystemExit: imported" in capsys.readouterr().err


def test_check_of_a_wrong_study_fails_with_all_its_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.yaml").write_text(STUDY.replace("minimize", "min").replace("seed: 7", "seed: x"))
    assert main(["check", str(folder / "study.yaml")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "study.yaml:3: metrics.0.direction" in captured.err
    assert "study.yaml:23: seed" in captured.err


def test_check_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from hpo.cli.main import main\n"
        f"assert main(['check', {str(folder / 'study.yaml')!r}]) == 0\n"
        "print(sorted({'torch', 'ray', 'mlflow', 'plotly', 'pandas', 'rich', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ,
    )
    assert done.stdout.splitlines()[-1] == "[]"


FLAGS = """\
red_flags:
  - non_finite
  - {name: collapsed, margin: 0.1, from_epoch: 2, after: warmup}
  - {name: late, rule: rising, metric: loss, epochs: 4, action: warn}
  - {name: none_found, when: recall == 0 and epoch > lr, for_epochs: 2}
"""


def test_red_flags(folder: Path) -> None:
    spec = load(folder, MINIMAL + FLAGS)
    assert [(flag.name, flag.rule, flag.when) for flag in spec.red_flags] == [
        ("non_finite", "non_finite", ""),
        ("collapsed", "collapsed", ""),
        ("late", "rising", ""),
        ("none_found", "", "recall == 0 and epoch > lr"),
    ]
    collapsed, late = spec.red_flags[1:3]
    assert (collapsed.options, collapsed.from_epoch, collapsed.after) == ({"margin": 0.1}, 2, ("warmup",))
    assert (late.options, late.action, late.for_epochs) == ({"metric": "loss", "epochs": 4}, "warn", 1)
    assert load(folder, spec.to_yaml()) == spec
    assert "red_flags" not in spec.identity()
    assert plan(spec).red_flags[3] == ("none_found: recall == 0 and epoch > lr, 2 epochs in a row: stops the trial")


def test_red_flags_by_default_and_none(folder: Path) -> None:
    assert [flag.name for flag in load(folder, MINIMAL).red_flags] == ["non_finite"]
    none = load(folder, MINIMAL + "red_flags: []\n")
    assert none.red_flags == ()
    assert load(folder, none.to_yaml()) == none


@pytest.mark.parametrize(
    ("written", "key", "said"),
    [
        ("[collapsd]", "0.name", "'collapsd' is not a built-in rule; expected non_finite, "),
        ("[collapsd]", "0.name", "Did you mean 'collapsed'?"),
        ("[{name: a, when: recall == )}]", "0.when", "unexpected ')' at column 11 of 'recall == )'"),
        ("[{name: a, when: 3}]", "0.when", "3 is not right; expected a condition, such as train_recall == 0"),
        ("[{name: a b, when: x > 1}]", "0.name", "'a b' is not right; expected letters, digits"),
        ("[{when: x > 1}]", "0.name", "is missing; expected letters, digits"),
        ("[{name: a, rule: rising, when: x > 1}]", "0.when", "when and rule are both given"),
        ("[{name: rising, metrc: x}]", "0.metrc", "is not a key of this red flag; expected name, "),
        ("[{name: rising, metrc: x}]", "0.metrc", "Did you mean 'metric'?"),
        ("[{name: rising, epochs: 0}]", "0.epochs", "0 is not right; expected a whole number of at least 1"),
        ("[{name: rising, epochs: true}]", "0.epochs", "true is not right"),
        ("[{name: rising, for_epochs: 0}]", "0.for_epochs", "0 is not right; expected a whole number of at least 1"),
        ("[{name: rising, from_epoch: x}]", "0.from_epoch", "is not right; expected a whole number of at least 0"),
        ("[{name: rising, action: halt}]", "0.action", "'halt' is not right; expected stop or warn"),
        ("[{name: rising, after: 3}]", "0.after", "3 is not right; expected the name of a parameter"),
        ("[{name: exploding_gradient, above: .inf}]", "0.above", "expected a number above 0"),
        ("[too_slow]", "0", "the rule 'too_slow' has no limit; expected seconds or epoch_seconds"),
        ("[rising, {name: rising, epochs: 2}]", "1", "a red flag 'rising' is given twice"),
        ("[3]", "0", "3 is not a red flag; expected the name of a rule, or"),
        ("rising", "", "'rising' is not a list; expected [non_finite, "),
    ],
)
def test_what_is_wrong_with_red_flags(folder: Path, written: str, key: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(folder, MINIMAL + f"red_flags: {written}\n")
    (problem,) = caught.value.problems
    assert problem.key == f"red_flags.{key}".rstrip(".")
    assert problem.line == 6
    assert said in problem.message


DEEP = {
    "lists": "[" * 25_000 + "]" * 25_000,
    "open": "[" * 25_000,
    "mappings": "{a: " * 25_000 + "}" * 25_000,
    "blocks": "\n  " + "- " * 25_000 + "1",
    "keys": "\n  " + "? " * 25_000,
    "aliases": "&a0 [1]\n" + "\n".join(f"k{n}: &a{n} [*a{n - 1}]" for n in range(1, 1000)),
    "merges": "&a0 {b: 1}\n" + "\n".join(f"k{n}: &a{n}\n  <<: *a{n - 1}" for n in range(1, 1000)),
}


@pytest.mark.parametrize("deep", DEEP)
def test_yaml_that_is_nested_too_deeply_is_a_sentence_with_its_line(deep):
    with pytest.raises(SpecError) as caught:
        load_text(f"x: 1\ny: {DEEP[deep]}", "study.yaml")
    (problem,) = caught.value.problems
    assert problem.line is not None
    assert "more than 100 lists and mappings stand in each other here" in problem.message


def test_yaml_of_millions_of_values_is_refused_before_it_is_put_together():
    with pytest.raises(SpecError, match=r"study\.yaml:2: more than 100000 values"):
        load_text("a: 1\nx: [" + "1, " * 2_000_000 + "1]", "study.yaml")


def _space(tmp_path, lines):
    path = tmp_path / "study.yaml"
    (tmp_path / "train.py").write_text("def train(trial): ...\n")
    head = "name: big\nobjective: train.py:train\nmetrics: [{name: loss, direction: minimize}]\nbudget: {trials: 3}\n"
    path.write_text(f"{head}search_space:\n" + "".join(f"  {line}\n" for line in lines))
    return path


MANY = {
    "choices": [f"x: {{choices: [{', '.join(map(str, range(20_000)))}]}}"],
    "names": [f"x: {{choices: [{', '.join(f'c{n}' for n in range(20_000))}]}}"],
    "weights": [f"x: {{simplex: [{', '.join(f'w{n}' for n in range(20_000))}]}}"],
    "parameters": [f"p{n}: {{low: 0.0, high: 1.0}}" for n in range(20_000)],
    "conditional": ["x:", "  choices:", *(f"    c{n}: {{y{n}: {{low: 0.0, high: 1.0}}}}" for n in range(20_000))],
}


@pytest.mark.parametrize(
    "many", [pytest.param(name, marks=pytest.mark.slow if name == "weights" else []) for name in MANY]
)
def test_more_parameters_or_choices_than_can_be_searched_are_a_sentence(tmp_path, many):
    """Which takes seconds: nothing of it is quadratic."""
    path = _space(tmp_path, MANY[many])
    with pytest.raises(SpecError, match=r"search_space.*: has 2000[01] .*; expected at most 1000"):
        load_spec(path)
    if many == "names":  # a study that has run can be read
        assert load_spec(path, locate=False).space.parameters


def test_of_very_many_problems_the_first_are_said(tmp_path):
    with pytest.raises(SpecError) as caught:
        load_spec(_space(tmp_path, [f"p{n}: {{lw: 0, high: 1}}" for n in range(5_000)]))
    assert len(caught.value.problems) == 5_000
    assert str(caught.value).endswith("\nand 4900 more")


BOTH = """name: both
objective: train.py:train
metrics: [{name: loss, direction: minimize}]
search_space:
  epochs: {low: 1, high: 9}
  opt: {choices: {sgd: {momentum: {low: 0.0, high: 1.0}}, adam: {}}}
  weights: {simplex: [a, b]}
constants: {data: x}
budget: {trials: 1}
"""


@pytest.mark.parametrize(
    ("name", "key", "line", "value"),
    [
        ("epochs", "search_space.epochs", 5, 6),
        ("momentum", "search_space.opt.choices.sgd.momentum", 6, 0.5),
        ("weights", "search_space.weights", 7, 3),
    ],
)
def test_a_name_is_searched_or_constant(tmp_path: Path, name: str, key: str, line: int, value: object) -> None:
    (tmp_path / "train.py").write_text("def train(trial): pass")
    load(tmp_path, BOTH)
    expected = (
        f"is searched too ({tmp_path}/study.yaml:{line}); keep one of them. To hold it at one value: --set {key}="
    )
    with pytest.raises(SpecError) as error:
        load(tmp_path, BOTH, f"constants.{name}={value}")
    assert [str(one) for one in error.value.problems] == [
        f"--set constants.{name}: constants.{name}: {expected}{value}"
    ]
    with pytest.raises(SpecError, match=re.escape(f"study.yaml:8: constants.{name}: {expected}{value}")):
        load(tmp_path, BOTH.replace("{data: x}", f"{{data: x, {name}: {value}}}"))
    held = load(tmp_path, BOTH, f"search_space.epochs={value}", locate=False)
    assert held.space.find("epochs")[0].kind == "fixed"
    # A study that ran before this was refused can be read.
    assert load(tmp_path, BOTH, f"constants.{name}={value}", locate=False).constants[name] == value


def test_a_constant_spelled_like_a_parameter_is_refused_and_a_new_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(trial): pass")
    with pytest.raises(SpecError, match=r"search_space has 'epochs'\. Did you mean --set search_space\.epochs="):
        load(tmp_path, BOTH, "constants.epoch=6")
    said = load_with_hints(tmp_path / "study.yaml", ["constants.decay=0.1", "constants.data=other"])[1]
    assert said == ("--set constants.decay: there was no constant 'decay', this is a new one",)


def test_paths_of_overrides_count_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in a YAML count from it; so do texts that are no path."""
    (tmp_path / "here" / "slices").mkdir(parents=True)
    (tmp_path / "resnet").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def constants(*settings: str) -> Any:
        return load_spec("mitochondria_small", [f"constants.{one}" for one in settings]).constants

    assert constants("data.root=slices")["data"]["root"] == str(tmp_path / "here" / "slices")
    assert constants("data.root=./slices")["data"]["root"] == str(tmp_path / "here" / "slices")
    assert constants("data.root=nowhere")["data"]["root"] == str(tmp_path / "here" / "nowhere")
    assert constants("data.root=/data/slices")["data"]["root"] == "/data/slices"
    assert constants("data.root=~/slices")["data"]["root"] == str(tmp_path / "home" / "slices")
    assert constants("data.root=null")["data"]["root"] is None
    monkeypatch.chdir(tmp_path)
    assert constants("backbone=resnet")["backbone"] == "resnet"
    assert constants("model=facebook/opt")["model"] == "facebook/opt"
