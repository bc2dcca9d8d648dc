"""The JSON Schema of study.yaml takes what the loader takes, in all short forms, and refuses unknown keys."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo.errors import SpecError
from hpo.red_flags.definitions import BUILT_IN
from hpo.spec.algorithms import PRUNERS, SAMPLERS
from hpo.spec.json_schema import schema_text, study_schema
from hpo.spec.load import KEYS, load_spec
from hpo.spec.schema_file import FILE, editor_line
from hpo.spec.yaml_document import dump, read_yaml

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = study_schema()
CHECKER = jsonschema.Draft202012Validator(SCHEMA)
STUDY = {
    "name": "a",
    "objective": "objective.py:train",
    "metrics": [{"name": "val_loss", "direction": "minimize"}],
    "search_space": {"lr": {"low": 1e-4, "high": 1e-2, "log": True}, "arch": {"choices": ["unet", "resunet"]}},
    "budget": {"trials": 5},
}


def as_json(data):
    """Return what YAML holds as JSON holds it: keys are text."""
    if isinstance(data, dict):
        return {"null" if key is None else str(key): as_json(value) for key, value in data.items()}
    return [as_json(value) for value in data] if isinstance(data, list) else data


def problems(data) -> list[str]:
    return [f"{list(error.path)}: {error.message[:300]}" for error in CHECKER.iter_errors(as_json(data))]


def test_the_file_that_comes_with_hpo_is_what_the_models_give():
    assert FILE.read_text(encoding="utf-8") == schema_text(), "python -P -m hpo.spec.json_schema writes it"


def test_it_is_a_schema_that_describes_every_key_with_examples_that_hold():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(KEYS) <= set(SCHEMA["properties"])
    for key, schema in SCHEMA["properties"].items():
        assert schema["description"].endswith("."), key
        for example in schema.get("examples", ()):
            each = jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], **schema})
            assert not list(each.iter_errors(example)), (key, example)
        if "default" in schema:
            assert not list(each.iter_errors(schema["default"])) or key in ("constants",), key
    for part in ("budget", "engine", "confirm", "mlflow", "metric"):
        for key, schema in SCHEMA["$defs"][part]["properties"].items():
            assert schema.get("description"), f"{part}.{key}"


def test_the_line_for_editors_is_a_uri_of_the_file_and_no_part_of_the_study(tmp_path):
    assert editor_line() == f"# yaml-language-server: $schema={FILE.as_uri()}"
    (tmp_path / "objective.py").write_text("def train(trial): ...\n")
    file = tmp_path / "study.yaml"
    file.write_text(f"{editor_line()}\n{dump(STUDY)}")
    assert load_spec(file).name == "a"


def documents() -> list[Path]:
    folders = ("studies", "benchmarks", "tests")
    found = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.yaml"))]
    return [file for file in found if re.search(r"^metrics:", file.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("file", documents(), ids=lambda file: str(file.relative_to(ROOT)))
def test_each_study_of_the_project_is_right_as_written_and_as_recorded(file):
    assert problems(read_yaml(file).data) == []
    assert problems(load_spec(file, locate=False).data()) == []


def test_each_study_in_the_documents_is_right():
    """A block of YAML with the required keys is a study; others are parts, of which each key is looked at."""
    seen = 0
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            data = as_json(yaml.safe_load(block))
            if not isinstance(data, dict) or not set(data) <= set(KEYS) or "..." in block:
                continue
            seen += 1
            whole = {"name", "metrics", "search_space"} <= set(data)
            study = data if whole else {**STUDY, **data}
            if "command" in study and not whole:
                study.pop("objective")
            assert problems(study) == [], f"{page.name}:\n{block}"
    assert seen > 10


ACCEPTED = [
    *({"sampler": name} for name in SAMPLERS if name not in ("grid", "pbt", "racing")),
    *({"pruner": name} for name in PRUNERS if name not in ("patient", "percentile", "threshold")),
    {"sampler": {"name": "tpe", "multivariate": True, "history": 1000, "n_startup_trials": 5}},
    {"sampler": "my.module:Sampler"},
    {"sampler": {"name": "my.module:Sampler", "any": {"thing": 1}}},
    {"sampler": "grid", "budget": None, "search_space": {"a": {"choices": [1, 2]}}},
    {"sampler": {"name": "grid"}, "budget": {}, "search_space": {"a": {"low": 1, "high": 2}}},
    {"pruner": {"name": "patient", "wrapped_pruner": "median", "patience": 3}},
    {"pruner": {"name": "patient", "wrapped_pruner": {"name": "percentile", "percentile": 25.0}, "patience": 3}},
    {"pruner": {"name": "threshold", "lower": 0.1}},
    {"red_flags": []},
    {"red_flags": [*(name for name, rule in BUILT_IN.items() if not rule.needs)]},
    {
        "red_flags": [
            {"name": "late", "rule": "rising", "epochs": 5, "after": ["warmup"]},
            {"name": "a", "when": "x > 1"},
        ]
    },
    {"red_flags": [{"name": "too_slow", "seconds": 5}, {"name": "collapsed", "metrics": ["a", "b"], "action": "warn"}]},
    {"budget": {"hours": 2}},
    {"budget": {"by": "2099-12-01 09:00", "hours": 8, "confirm": "20%"}},
    {"budget": {"trials": None, "gpu_hours": 1.5, "confirm": 0.2}},
    {"engine": "inline"},
    {"engine": {"gpu": "auto", "retries": 2, "workers": None}},
    {"engine": {"name": "ray", "address": "head:6379", "retries": {"lost": 3}, "resources": {"ssd": 1}}},
    {"mlflow": False},
    {"mlflow": "sqlite:///x.db"},
    {"mlflow": {"trials": "best 10", "experiment": "e"}},
    {"checkpoints": "all"},
    {"checkpoints": 3},
    {"checkpoints": {"keep_best": "all", "max_gb": 2}},
    {"keep_checkpoints": 4},
    {"warm_start": False},
    {"warm_start": "off"},
    {"warm_start": ["one", "two.json"]},
    {"warm_start": {"from": "one", "guard": None}},
    {"confirm": True, "budget": {"trials": 100}},
    {"confirm": {"top": 2}, "budget": {"trials": 100}},
    {"objective": None, "command": ["python", "train.py", "--n", 3, ["--lr", "{lr}"]]},
    {"enqueue": [{"lr": 1e-3}], "fallbacks": [{}]},
    {"search_space": {"include": "search_spaces/optimizer.yaml"}},
    {"search_space": {"include": ["optimizer.yaml"], "width": 64, "flag": None, "text": "x"}},
    {"search_space": {"layers": {"choices": [[64, 32], [128], []]}, "n": {"low": 1, "high": 9, "step": 2}}},
    {"search_space": {"opt": {"choices": {"adam": None, "sgd": {"m": {"low": 0, "high": 1.0}}}, "structural": True}}},
    {"search_space": {"opt": {"choices": ["adam", "sgd"], "was": "sgd"}, "x": {"low": 0, "high": 1.0, "was": 0}}},
    {"search_space": {"weights": {"simplex": ["bce", "dice"], "was": {"bce": 0.25, "dice": 0.75}}}},
    {"search_space": {"w": {"simplex": ["a", "b"]}, "v": {"simplex": {"a": 0.25, "b": 0.75}}}},
    {"x-ranges": {"unit": {"low": 0.0}}},
    {"trial_seeds": [1, 2], "seed": None, "storage": "sqlite:///a.db"},
]


@pytest.mark.parametrize("change", ACCEPTED, ids=lambda change: json.dumps(change)[:60])
def test_short_forms_are_right_for_both(tmp_path, change):
    study = {**STUDY, **change}
    assert problems(study) == []
    file = tmp_path / "study.yaml"
    file.write_text(dump(study))
    (tmp_path / "train.py").write_text("")
    spec = load_spec(file, locate=False)
    assert problems(spec.data()) == []


REFUSED = [
    {"nmae": "x"},
    {"name": None},
    {"name": "with space"},
    {"objective": None},
    {"objective": "objective.py"},
    {"command": ["x"]},
    {"objective": None, "command": "python train.py"},
    {"objective": None, "command": ["python", {"lr": None}]},
    {"metrics": []},
    {"metrics": [{"name": "a"}]},
    {"metrics": [{"name": "a", "direction": "max"}]},
    {"metrics": [{"name": "a", "direction": "maximize", "weight": 1}]},
    {"search_space": {}},
    {"search_space": {"lr": [1, 2]}},
    {"search_space": {"lr": {"low": 1}}},
    {"search_space": {"lr": {"low": 1, "high": 2, "choices": [1]}}},
    {"search_space": {"lr": {"min": 1, "max": 2}}},
    {"search_space": {"lr": {"low": 0, "high": 2, "log": True}}},
    {"search_space": {"lr": {"low": 1, "high": 2, "log": True, "step": 1}}},
    {"search_space": {"lr": {"low": 1, "high": "2"}}},
    {"search_space": {"a b": 1}},
    {"search_space": {"w": {"simplex": ["a"]}}},
    {"search_space": {"x": {"choices": []}}},
    {"search_space": {"x": {"choices": [{"a": 1}]}}},
    {"search_space": {"x": {"choices": {"a": {"y": {"low": 1}}}}}},
    {"sampler": "tpee"},
    {"sampler": {"name": "tpe", "multivarate": True}},
    {"sampler": {"name": "auto", "seed": 1}},
    {"sampler": {"multivariate": True}},
    {"sampler": {"name": "kernel", "group_by": "arch"}},
    {"pruner": "percentile"},
    {"pruner": "auto"},
    {"pruner": {"name": "halving", "min_resources": 1}},
    {"pruner": {"name": "halving", "min_resource": "one"}},
    {"red_flags": "non_finite"},
    {"red_flags": ["nonfinite"]},
    {"red_flags": ["too_slow"]},
    {"red_flags": [{"name": "too_slow"}]},
    {"red_flags": [{"name": "a"}]},
    {"red_flags": [{"name": "a", "when": "x > 1", "margin": 1}]},
    {"red_flags": [{"name": "a", "when": "x > 1", "rule": "rising"}]},
    {"red_flags": [{"name": "rising", "epoch": 3}]},
    {"red_flags": [{"name": "rising", "action": "kill"}]},
    {"budget": None},
    {"budget": {}},
    {"budget": 50},
    {"budget": {"failures": 3}},
    {"budget": {"trials": 0}},
    {"budget": {"trials": True}},
    {"budget": {"trials": 5, "confirm": 2}},
    {"budget": {"trial": 5}},
    {"engine": "slurm"},
    {"engine": {"gpus": 1}},
    {"engine": {"gpu": -1}},
    {"engine": {"retries": {"lots": 1}}},
    {"engine": {"name": "ray", "address": "ray://head:10001"}},
    {"mlflow": "mlruns"},
    {"mlflow": {"trials": 3}},
    {"mlflow": {"uri": "http://x"}},
    {"checkpoints": 0},
    {"checkpoints": {"keep": 3}},
    {"checkpoints": "none"},
    {"warm_start": {"sources": "auto"}},
    {"warm_start": []},
    {"confirm": {"top": 0}},
    {"confirm": 3},
    {"enqueue": {"lr": 1}},
    {"constants": [1]},
    {"seed": -1},
    {"seed": 1.5},
    {"min_complete": -1},
    {"trial_seeds": ["a"]},
]


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: json.dumps(change)[:60])
def test_what_is_wrong_is_wrong_for_both(tmp_path, change):
    study = {**STUDY, **change}
    assert problems(study) != []
    file = tmp_path / "study.yaml"
    file.write_text(dump(study))
    with pytest.raises(SpecError):
        load_spec(file, locate=False)


# --- a family of studies, right and wrong ones

names = st.sampled_from(["a", "b", "lr", "_x", "x-y", "1a", ""])
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.sampled_from(["x", "y", ""]))
numbers = st.one_of(st.integers(-3, 9), st.floats(0.25, 4), st.just("1"), st.none())
ranges = st.fixed_dictionaries(
    {"low": numbers, "high": numbers},
    optional={"step": numbers, "log": scalars, "structural": st.booleans(), "was": numbers},
)
lists = st.lists(st.one_of(scalars, st.lists(scalars, max_size=2)), max_size=3)
parameters = st.recursive(
    st.one_of(
        scalars,
        ranges,
        st.fixed_dictionaries({"choices": lists}),
        st.fixed_dictionaries({"simplex": st.lists(names, max_size=3)}),
        st.fixed_dictionaries({"simplex": st.dictionaries(names, st.sampled_from([0, 0.5, 1, "1"]), max_size=3)}),
    ),
    lambda inner: st.fixed_dictionaries(
        {"choices": st.dictionaries(st.sampled_from(["p", "q"]), st.one_of(st.none(), st.dictionaries(names, inner)))}
    ),
    max_leaves=4,
)
algorithm = st.one_of(
    st.sampled_from([*SAMPLERS, *PRUNERS, "Tpe"]),
    st.fixed_dictionaries(
        {"name": st.sampled_from([*SAMPLERS, *PRUNERS])},
        optional={"n_startup_trials": numbers, "min_resource": numbers, "patience": numbers, "percentile": numbers},
    ),
)
flags = st.one_of(
    st.sampled_from([*BUILT_IN, "other"]),
    st.fixed_dictionaries(
        {"name": st.sampled_from([*BUILT_IN, "other"])},
        optional={
            "rule": st.one_of(st.none(), st.sampled_from([*BUILT_IN])),
            "when": st.sampled_from(["x > 1", "x >", None]),
            "epochs": numbers,
            "metric": st.sampled_from(["loss", ""]),
            "from_epoch": numbers,
            "seconds": numbers,
            "action": st.sampled_from(["stop", "warn", "kill"]),
            "after": st.sampled_from(["a", ["a", "b"], []]),
        },
    ),
)
limits = st.dictionaries(st.sampled_from(["trials", "hours", "gpu_hours", "failures", "confirm"]), numbers, max_size=2)
engines = st.one_of(
    st.sampled_from(["local", "ray", "slurm"]),
    st.dictionaries(
        st.sampled_from(["workers", "cpu", "gpu", "retries", "trial_timeout", "fresh_process"]),
        st.one_of(numbers, st.booleans(), st.just("auto")),
        max_size=2,
    ),
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "search_space": st.dictionaries(names, parameters, max_size=3),
        "sampler": algorithm,
        "pruner": algorithm,
        "red_flags": st.lists(flags, max_size=2),
        "budget": limits,
        "engine": engines,
        "checkpoints": st.one_of(scalars, st.fixed_dictionaries({"keep_best": scalars})),
        "warm_start": st.one_of(scalars, lists, st.fixed_dictionaries({"from": scalars}, optional={"trials": numbers})),
        "mlflow": st.one_of(scalars, st.fixed_dictionaries({"trials": st.sampled_from(["all", "best 2", 2, None])})),
        "confirm": st.one_of(scalars, st.fixed_dictionaries({"top": numbers})),
        "seed": numbers,
        "min_complete": numbers,
        "enqueue": st.one_of(lists, st.just([{}])),
        "constants": st.one_of(scalars, st.dictionaries(names, lists, max_size=2)),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(change=changes)
def test_whatever_the_loader_takes_the_schema_takes(tmp_path_factory, change):
    study = {**STUDY, **change}
    file = tmp_path_factory.mktemp("family") / "study.yaml"
    file.write_text(dump(study))
    try:
        spec = load_spec(file, locate=False)
    except SpecError:
        return
    assert problems(study) == []
    assert problems(spec.data()) == []
