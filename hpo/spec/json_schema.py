"""JSON Schema (draft 2020-12) of study.yaml, made of the models of a study, for editors.

It accepts whatever `hpo.spec.load` accepts, short forms too, and refuses unknown keys and wrong kinds of values. What
needs more than one look at the file stays with `hpo check`: names of files and modules, names of parameters, bounds in
the wrong order. `python -m hpo.spec.json_schema` writes the file that comes with the package.
"""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import PydanticJsonSchemaWarning

from hpo.red_flags.definitions import BUILT_IN, ConditionEntry, model_of
from hpo.spec import algorithms
from hpo.spec.models import (
    Budget,
    Checkpoints,
    ConfirmSpec,
    EngineSpec,
    Metric,
    MlflowSpec,
    Retries,
    StudySpec,
    WarmStartSpec,
)
from hpo.spec.schema_file import FILE
from hpo.spec.study_name import LONGEST

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}
_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_NAMES: Schema = {"pattern": r"^[A-Za-z_][A-Za-z0-9_-]*$"}
# Examples of keys, by the path of keys from the top of a study.
_EXAMPLES: Mapping[str, list[Any]] = {
    "name": ["mito-unet"],
    "objective": ["train.py:train", "my_package.training:train"],
    "command": [["python", "train.py", "--lr", "{learning_rate}", ["--momentum", "{momentum}"]]],
    "root": [".."],
    "metrics": [[{"name": "val_loss", "direction": "minimize"}]],
    "group_by": ["architecture"],
    "min_complete": [3],
    "search_space": [
        {
            "include": ["search_spaces/optimizer.yaml"],
            "depth": {"low": 2, "high": 6},
            "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
            "batch_size": {"choices": [16, 32, 64]},
            "optimizer": {"choices": {"adam": {}, "sgd": {"momentum": {"low": 0.0, "high": 0.99}}}},
            "weights": {"simplex": ["bce", "dice"]},
        }
    ],
    "constants": [{"epochs": 40, "data": {"root": "data/images"}}],
    "sampler": ["auto", {"name": "tpe", "multivariate": True}],
    "pruner": ["none", {"name": "halving", "min_resource": 5}],
    "red_flags": [["non_finite", {"name": "nothing_found", "when": "train_recall == 0", "from_epoch": 4}]],
    "enqueue": [[{"learning_rate": 1e-3, "batch_size": 16}]],
    "fallbacks": [[{"learning_rate": 1e-4}]],
    "warm_start": ["auto", False, {"from": ["an-earlier-study"], "trials": 5}],
    "confirm": [True, {"top": 5, "seeds": 5}],
    "budget": [{"trials": 50}, {"hours": 8, "gpu_hours": 40}],
    "budget.trials": [50],
    "budget.hours": [8, 0.5],
    "budget.gpu_hours": [40],
    "budget.failures": [10],
    "budget.by": ["2026-12-01 09:00", "2026-12-01T09:00+08:00"],
    "budget.confirm": ["20%"],
    "engine": ["local", {"name": "local", "workers": 4, "gpu": 0.5}],
    "engine.name": ["ray"],
    "engine.workers": [4],
    "engine.cpu": [2],
    "engine.trial_timeout": [3600],
    "engine.report_timeout": [600],
    "engine.fresh_process": [True],
    "engine.runtime_env": [{"working_dir": ".", "pip": ["monai"]}],
    "engine.checkpoint_dir": ["/shared/hpo"],
    "engine.retries.lost": [2],
    "engine.retries.exception": [1],
    "engine.retries.timeout": [1],
    "engine.gpu": [0.5, 1, "auto"],
    "engine.retries": [1, {"lost": 1, "timeout": 1}],
    "engine.address": ["auto", "head:6379"],
    "engine.resources": [{"ssd": 1}],
    "storage": ["sqlite:///results/study.db", "postgresql://user@host/db"],
    "mlflow": [False, "http://localhost:5000", {"trials": "best 1000"}],
    "checkpoints": [3, "all", {"keep_best": 3, "max_gb": 20}],
    "checkpoints.keep_best": [3, "all"],
    "checkpoints.max_gb": [20],
    "metrics.name": ["val_loss"],
    "metrics.direction": ["minimize"],
    "metrics.goal": [0.6],
    "warm_start.from": ["auto", ["an-earlier-study"]],
    "warm_start.trials": [5],
    "warm_start.guard": [4],
    "confirm.top": [5],
    "confirm.seeds": [5],
    "confirm.per_group": [True],
    "mlflow.tracking_uri": ["http://localhost:5000"],
    "mlflow.experiment": ["segmentation"],
    "mlflow.trials": ["best 1000"],
    "seed": [42],
    "trial_seeds": [[1, 2, 3]],
}
# What stands for a key that is left out, where the models hold it otherwise than YAML says it.
_DEFAULTS: Mapping[str, Any] = {
    "root": ".",
    "sampler": "auto",
    "pruner": "halving",
    "red_flags": ["non_finite"],
    "warm_start": "auto",
    "confirm": False,
    "engine": "local",
    "mlflow": True,
    "checkpoints": 3,
    "constants": {},
}


def study_schema() -> Schema:
    """Return the JSON Schema of study.yaml."""
    described = _attributes(StudySpec)
    described["search_space"] = described.pop("space").removeprefix("`search_space` in YAML: ")
    described["sampler"] += f" {_one_of(algorithms.SAMPLERS)}."
    described["pruner"] += f" {_one_of(algorithms.PRUNERS)}."
    properties = {}
    for key, schema in _keys().items():
        field = StudySpec.model_fields.get(key)
        default = _DEFAULTS.get(key, field.default if field is not None and not field.is_required() else None)
        properties[key] = {
            "description": _sentence(described[key]),
            **({} if default is None else {"default": list(default) if isinstance(default, tuple) else default}),
            **({"examples": _EXAMPLES[key]} if key in _EXAMPLES else {}),
            **schema,
        }
    properties["keep_checkpoints"] = {
        "description": "The earlier name of `checkpoints`.",
        "deprecated": True,
        "$ref": "#/$defs/checkpoints",
    }
    given: Schema = {"type": ["string", "array"]}  # one that is null is left out
    grid: Schema = {"anyOf": [{"const": "grid"}, {"properties": {"name": {"const": "grid"}}, "type": "object"}]}
    ends = ("trials", "hours", "gpu_hours", "by")
    says_end = [{"required": [key], "properties": {key: {"not": _NULL}}} for key in ends]
    return {
        "$schema": DRAFT,
        "title": "study.yaml of hpo",
        "description": "A study: what to search, how to train, when to end. `hpo check` says all mistakes of one.",
        "type": "object",
        "properties": properties,
        # What other keys take up by aliases and merge keys.
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
        "required": ["name", "metrics", "search_space"],
        "oneOf": [{"required": [key], "properties": {key: given}} for key in ("objective", "command")],
        # A grid is its own end.
        "if": {"required": ["sampler"], "properties": {"sampler": grid}},
        "else": {"required": ["budget"], "properties": {"budget": {"type": "object", "anyOf": says_end}}},
        "$defs": _definitions(),
    }


def schema_text() -> str:
    """Return the JSON Schema as the text of its file."""
    return json.dumps(study_schema(), indent=1, ensure_ascii=False) + "\n"


def _keys() -> dict[str, Schema]:
    """Return the schemas of the keys of a study, without what is said of them."""
    configurations: Schema = {"type": ["array", "null"], "items": {"type": "object"}}
    seed: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}
    argument: Schema = {"type": ["string", "number", "boolean"]}
    strings: Schema = {"type": "array", "items": argument}
    optional_text: Schema = {"type": ["string", "null"], "minLength": 1}
    return {
        "name": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", "maxLength": LONGEST},
        "objective": {"type": ["string", "null"], "pattern": r"^.+:.+$"},
        "command": {"type": ["array", "null"], "minItems": 1, "items": {"anyOf": [argument, strings]}},
        "root": {"type": ["string", "null"]},
        "metrics": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/metric"}},
        "group_by": optional_text,
        "min_complete": {"type": ["integer", "null"], "minimum": 0},
        "search_space": {
            "type": "object",
            "minProperties": 1,
            "properties": {
                "include": {
                    "description": "Families of parameters: files beside the study, in its root, or hpo's own.",
                    "examples": [["search_spaces/optimizer.yaml"]],
                    "type": ["array", "string"],
                    "items": {"type": "string"},
                }
            },
            "propertyNames": _NAMES,
            "additionalProperties": {"$ref": "#/$defs/parameter"},
        },
        "constants": {"type": ["object", "null"]},
        "sampler": _or_null({"$ref": "#/$defs/sampler"}),
        "pruner": _or_null({"$ref": "#/$defs/pruner"}),
        "red_flags": {"type": ["array", "null"], "items": {"$ref": "#/$defs/red_flag"}},
        "enqueue": configurations,
        "fallbacks": configurations,
        "warm_start": _or_null(*_warm_start()),
        "budget": _or_null({"$ref": "#/$defs/budget"}),
        "engine": _or_null(
            {"enum": list(_model(EngineSpec, "engine")["properties"]["name"]["enum"])}, {"$ref": "#/$defs/engine"}
        ),
        "storage": optional_text,
        "mlflow": _or_null({"type": "boolean"}, _URI, {"$ref": "#/$defs/mlflow"}),
        "checkpoints": {"$ref": "#/$defs/checkpoints"},
        "seed": _or_null(seed),
        "trial_seeds": {"type": ["array", "null"], "items": seed},
        "confirm": _or_null({"type": "boolean"}, {"$ref": "#/$defs/confirm"}),
    }


_URI: Schema = {"type": "string", "pattern": r"^(https?|databricks|postgresql|mysql|mssql|sqlite)([+:]|$)"}


def _definitions() -> dict[str, Schema]:
    """Return the schemas that others refer to."""
    engine = _model(EngineSpec, "engine")
    retries = engine["properties"]["retries"]
    for key in ("default", "description", "examples"):
        retries.pop(key)
    retries["properties"] = _model(Retries, "engine.retries")["properties"]
    engine["properties"]["retries"] = {
        "description": "Retries of a configuration, by the cause that ended its attempt; a number is that of `lost`.",
        "default": 1,
        "examples": _EXAMPLES["engine.retries"],
        "anyOf": [{"type": "integer", "minimum": 0}, retries],
    }
    checkpoints = _model(Checkpoints, "checkpoints")
    kept: Schema = {"type": "integer", "minimum": 1}
    every: Schema = {"const": "all"}
    keep_best = checkpoints["properties"]["keep_best"]
    keep_best["anyOf"] = [kept, every, _NULL]
    keep_best["description"] = "Those of so many best trials of each group; `all`: of all."
    engine["properties"]["address"]["anyOf"] = [{"type": "string", "pattern": r"^(auto|[^\s/:]+:[0-9]+)$"}, _NULL]
    mlflow = _model(MlflowSpec, "mlflow")
    for key, schema in (
        ("trials", {"type": "string", "pattern": r"^(all|best 0*[1-9][0-9]*)$"}),
        ("tracking_uri", _URI),
    ):
        mlflow["properties"][key]["anyOf"] = [schema, _NULL]
    mlflow["properties"]["trials"] |= {
        "description": "`all`, or `best N`: only so many trials have a run.",
        "default": "all",
    }
    return {
        "metric": _model(Metric, "metrics"),
        "parameter": _parameter(),
        "group": {
            "description": "Parameters by name.",
            "type": "object",
            "propertyNames": _NAMES,
            "additionalProperties": {"$ref": "#/$defs/parameter"},
        },
        "choice": {"anyOf": [_SCALAR, {"type": "array", "items": {"$ref": "#/$defs/choice"}}]},
        "budget": _model(Budget, "budget"),
        "engine": engine,
        "checkpoints": {"anyOf": [kept, every, checkpoints, _NULL]},
        "confirm": _model(ConfirmSpec, "confirm"),
        "mlflow": mlflow,
        "red_flag": {"anyOf": _red_flags()},
        "sampler": {"anyOf": _components("sampler")},
        "pruner": {"anyOf": _components("pruner")},
    }


def _parameter() -> Schema:
    """Return the schema of a parameter: a range, choices, weights, or one value."""
    structural: Schema = {
        "description": "It shapes the model rather than its training.",
        "type": "boolean",
        "default": False,
    }
    names: Schema = {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"type": "string", **_NAMES}}
    weights: Schema = {
        "type": "object",
        "minProperties": 2,
        "propertyNames": _NAMES,
        "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
    }
    listed: Schema = {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"$ref": "#/$defs/choice"}}
    named: Schema = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/group"}, _NULL]},
    }
    number: Schema = {"type": "number"}
    was = {"description": "What trials had before it was searched, for `hpo grow`."}
    return {
        "anyOf": [
            {**_SCALAR, "description": "A fixed value, not searched."},
            {
                "description": "A range: integers if all its numbers are, else real numbers.",
                "type": "object",
                "required": ["low", "high"],
                "additionalProperties": False,
                "properties": {
                    "low": {"description": "The least value.", **number},
                    "high": {"description": "The greatest value, included.", **number},
                    "step": {"description": "It must divide the range.", **number, "exclusiveMinimum": 0},
                    "log": {"description": "Sampled by its logarithm.", "type": "boolean", "default": False},
                    "structural": structural,
                    "was": was | number,
                },
                "if": {"required": ["log"], "properties": {"log": {"const": True}}},
                "then": {"properties": {"low": {"exclusiveMinimum": 0}, "step": False}},
            },
            {
                "description": "One of some values; as a mapping, each may bring its own parameters.",
                "type": "object",
                "required": ["choices"],
                "additionalProperties": False,
                "properties": {
                    "choices": {"anyOf": [listed, named]},
                    "structural": structural,
                    "was": was | {"$ref": "#/$defs/choice"},
                },
            },
            {
                "description": "Weights that are at least 0 and sum to 1; as a mapping, fixed ones.",
                "type": "object",
                "required": ["simplex"],
                "additionalProperties": False,
                "properties": {
                    "simplex": {"anyOf": [names, weights]},
                    "structural": structural,
                    "was": was | weights,
                },
            },
        ]
    }


def _warm_start() -> list[Schema]:
    """Return the forms of `warm_start`."""
    text: Schema = {"type": "string", "minLength": 1}
    several: Schema = {"type": "array", "minItems": 1, "items": text}
    mapping = _model(WarmStartSpec, "warm_start")
    mapping["properties"]["from"] |= {
        "description": "`auto`, the name or folder of a study, a knowledge file, or a list of them.",
        "default": "auto",
        "anyOf": [text, several, {"const": True}],
    }
    return [{"type": "boolean"}, text, several, mapping]


def _red_flags() -> list[Schema]:
    """Return the forms of a red flag: a name, a condition, and a mapping for each built-in rule."""
    condition = _model(ConditionEntry)
    condition["properties"] |= {"rule": _NULL, "when": condition["properties"]["when"] | {"minLength": 1}}
    condition["description"] = "A condition, such as `train_recall == 0`."
    found: list[Schema] = [{"enum": [name for name, rule in BUILT_IN.items() if not rule.needs]}, condition]
    for name, rule in BUILT_IN.items():
        schema = _model(model_of(name))
        meaning = re.sub(r"\{(\w+)\}", r"`\1`", rule.meaning)
        schema["description"] = _sentence(f"raised when {meaning}")
        properties = schema["properties"]
        properties["when"] = _NULL
        for key, usual in (("from_epoch", rule.from_epoch), ("for_epochs", rule.for_epochs)):
            properties[key]["default"] = usual
        for key, option in rule.options.items():
            properties[key].pop("default", None)
            if option.default is not None:
                properties[key]["default"] = option.default
        known: Schema = {"const": name}
        properties["rule"] = {**properties["rule"], "type": ["string", "null"]}
        schema["required"] = []
        schema["anyOf"] = [
            {"required": ["name"], "properties": {"name": known, "rule": _NULL}},
            {"required": ["name", "rule"], "properties": {"rule": known}},
        ]
        if rule.needs:
            schema["allOf"] = [{"anyOf": [{"required": [key]} for key in rule.needs]}]
        found.append({key: value for key, value in schema.items() if value != []})
    return found


def _components(role: algorithms.Role) -> list[Schema]:
    """Return the forms of a sampler or a pruner: a name, and a mapping for each with its options."""
    known = algorithms.names(role)
    own: Schema = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
    short: list[str] = []  # names that need no options
    found: list[Schema] = [{"enum": short}, {**own, "description": "A class of yours."}]
    for name in known:
        cls = algorithms.find_class(role, name)
        schema = _model(algorithms.options_model(role, cls, name)) if name != "auto" else {"properties": {}}
        described = _described(cls, "Args") if cls.__module__.startswith("hpo.") else {}
        properties: Schema = {"name": {"const": name}}
        for key, option in schema["properties"].items():
            default = algorithms.DEFAULTS.get(name, {}).get(key, option.pop("default", None))
            properties[key] = option | ({} if default is None else {"default": default})
            if key in described:
                properties[key]["description"] = _sentence(described[key])
        # It is set by study.yaml's own key.
        if role == "sampler":
            properties.pop("group_by", None)
        if "wrapped_pruner" in properties:
            properties["wrapped_pruner"] = {
                "description": "The pruner to be patient with, or null.",
                "anyOf": [{"$ref": "#/$defs/pruner"}, _NULL],
            }
        required = ["name", *schema.get("required", ())]
        if len(required) == 1:
            short.append(name)
        found.append(
            {
                "type": "object",
                "required": required,
                "properties": properties,
                "additionalProperties": schema.get("additionalProperties", False),
            }
        )
    return [*found, {"type": "object", "required": ["name"], "properties": {"name": own}}]


def _model(model: type[BaseModel], path: str = "") -> Schema:
    """Return the schema of a model, with what its docstring says of its attributes.

    Args:
        model: a part of a study.
        path: the keys down to it, for examples.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # defaults that JSON cannot say are left out
        schema = model.model_json_schema(by_alias=True)
    _resolve(schema, schema.pop("$defs", {}))
    schema.pop("description", None)
    described = _attributes(model)
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    for key, each in schema["properties"].items():
        if each.get("default", ...) in (None, ""):
            each.pop("default")
        if text := described.get(names[key], each.get("description")):
            each["description"] = _sentence(text)
        if example := _EXAMPLES.get(f"{path}.{key}"):
            each["examples"] = example
    return schema


def _resolve(schema: Any, definitions: Mapping[str, Any]) -> None:
    """Put definitions in the place of references to them, and leave titles and formats out, in place."""
    if isinstance(schema, list):
        for each in schema:
            _resolve(each, definitions)
    if not isinstance(schema, dict):
        return
    if reference := schema.pop("$ref", None):
        schema.update(definitions[reference.rpartition("/")[2]] | schema)
        schema.pop("description", None)
    for key in ("title", "format"):
        if isinstance(schema.get(key), str):
            del schema[key]
    for value in schema.values():
        _resolve(value, definitions)


def _attributes(model: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of its attributes."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if each is not BaseModel and each.__doc__:
            found |= _described(each, "Attributes")
    return found


def _described(owner: type, section: str) -> dict[str, str]:
    """Return the entries of a section of a docstring by name."""
    _, found, rest = inspect.cleandoc(owner.__doc__ or "").partition(f"{section}:\n")
    if not found:
        return {}
    body = re.split(r"\n(?=\S)", rest)[0]
    entries = re.split(r"^ {4}(\w+): ", body, flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}


def _sentence(text: str) -> str:
    """Return a text that begins with a capital and ends with a full stop. In YAML, None is a key that is left out."""
    text = text.replace("None: ", "left out: ").replace("None (`false` in YAML): ", "false: ")
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _one_of(names: Iterable[str]) -> str:
    return f"One of {', '.join(names)}, or package.module:Class"


def _or_null(*forms: Schema) -> Schema:
    return {"anyOf": [*forms, _NULL]}


if __name__ == "__main__":
    FILE.write_text(schema_text(), encoding="utf-8")
