"""Settings of a script that Hydra configures: the values of its YAML files, and its groups of options."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.errors import ScaffoldError, SpecError
from hpo.scaffold.draft import MISSING, VALUE, Setting, kind_of
from hpo.scaffold.python_source import Script, call_name, keyword
from hpo.spec.yaml_document import read_yaml

_GROUPS_OF_THE_RUN = {
    *("data", "dataset", "datamodule", "logger", "logging", "hydra", "paths", "env", "launcher", "debug", "callbacks"),
    *("experiment", "hparams_search", "extras", "local", "cluster", "trainer"),
}


@dataclass(frozen=True)
class Group:
    """Group of options, each a file: `optimizer/adam.yaml`.

    Attributes:
        name: of the group, and of what its files hold.
        default: the option that the configuration takes.
        options: settings of each option.
        searched: the option is worth a search; else it stays.
    """

    name: str
    default: str
    options: dict[str, list[Setting]]
    searched: bool


@dataclass
class HydraConfig:
    """Configuration of a script.

    Attributes:
        file: its main file.
        settings: what the main file and the options that stay hold.
        groups: those with several options.
    """

    file: Path
    settings: list[Setting] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)


def read_hydra(script: Script) -> HydraConfig | None:
    """Return the configuration of a script; None if it has no `@hydra.main`.

    Raises:
        ScaffoldError: its file is not there, or is no configuration.
    """
    modules = script.bound_modules
    for node in ast.walk(script.tree):
        for decorator in getattr(node, "decorator_list", []):
            called = call_name(decorator)
            if called == "hydra.main" or modules.get(called) == "hydra.main":
                return _read(script, decorator)
    return None


def _read(script: Script, decorator: ast.expr) -> HydraConfig | None:
    given = decorator if isinstance(decorator, ast.Call) else None
    folder = script.literal(keyword(given, "config_path")) if given else MISSING
    name = script.literal(keyword(given, "config_name")) if given else MISSING
    if not isinstance(name, str):
        return None
    place = script.path.parent / (folder if isinstance(folder, str) else ".")
    file = place / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")
    if not file.is_file():
        raise ScaffoldError(
            f"{script.path} is configured by Hydra, and its file {file} is not there; expected config_path and "
            "config_name of @hydra.main to name a YAML beside the script"
        )
    data = _load(file)
    found = HydraConfig(file)
    for entry in data.pop("defaults", None) or []:
        if isinstance(entry, Mapping) and len(entry) == 1:
            (group, option), *_ = entry.items()
            _add_group(found, place, str(group).removeprefix("override ").strip(), option)
        elif isinstance(entry, str) and entry != "_self_" and (place / f"{entry}.yaml").is_file():
            found.settings += _settings(_load(place / f"{entry}.yaml"), "")
    own = _settings({key: value for key, value in data.items() if key != "hydra"}, "")
    names = {setting.name for setting in own}
    found.settings = [*(setting for setting in found.settings if setting.name not in names), *own]
    found.groups = [
        Group(
            group.name,
            group.default,
            {option: [one for one in held if one.name not in names] for option, held in group.options.items()},
            group.searched,
        )
        for group in found.groups
    ]
    return found


def _add_group(found: HydraConfig, place: Path, group: str, option: Any) -> None:
    name, _, package = group.partition("@")
    folder = place / name
    if not isinstance(option, str) or not folder.is_dir():
        return
    prefix = (package or name).replace("/", ".")
    files = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    if option not in files:
        return
    options = {stem: _settings(_load(file), f"{prefix}.") for stem, file in files.items()}
    searched = len(options) > 1 and name.rpartition("/")[2].lower() not in _GROUPS_OF_THE_RUN
    if searched:
        found.groups.append(Group(name, option, options, True))
    else:
        found.settings += options[option]


def _load(file: Path) -> dict[Any, Any]:
    try:
        document = read_yaml(file)
    except SpecError as error:
        raise ScaffoldError(str(error)) from error
    if document.problems:
        raise ScaffoldError("\n".join(str(problem) for problem in document.problems))
    if document.data is None:
        return {}
    if not isinstance(document.data, dict):
        raise ScaffoldError(f"{file} holds no configuration; expected keys and their values")
    return document.data


def _settings(data: Mapping[Any, Any], prefix: str) -> list[Setting]:
    return list(_walk(data, prefix))


def _walk(data: Mapping[Any, Any], prefix: str) -> Iterator[Setting]:
    for key, value in data.items():
        if not isinstance(key, str) or not key or any(mark in key for mark in " =.{}[],'\"$@/"):
            continue
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _walk(value, f"{name}.")
        elif value == "???":
            yield Setting(name, MISSING, "", (), name, (f"{name}={VALUE}",), required=True)
        elif isinstance(value, (bool, int, float)) or (
            isinstance(value, str) and "${" not in value and key != "_target_"
        ):
            yield Setting(name, value, kind_of(value), (), name, (f"{name}={VALUE}",))
