"""Settings of a script that loads them from a file: `cfg = yaml.safe_load(open("config.yaml"))`."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo.errors import SpecError
from hpo.machine.files import read_plain
from hpo.scaffold.draft import Setting, kind_of
from hpo.scaffold.guess import any_searched, snake
from hpo.scaffold.python_source import Change, Script, call_name, from_trial
from hpo.spec.yaml_document import read_yaml

_LOADERS = {
    *("yaml.safe_load", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "json.load", "json.loads"),
    *("OmegaConf.load", "omegaconf.OmegaConf.load"),
}
_ENDINGS = (".yaml", ".yml", ".json")
_FOLDERS = ("config", "configs", "conf")
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class ConfigFile:
    """File of settings, and where it is loaded.

    Attributes:
        file: it.
        root: the folder of the script that is run.
        script: the file in which it is loaded.
        statement: the statement that does so: an assignment, or a return.
        holder: what holds the settings behind it: `cfg`, `self.cfg`.
        settings: its values by dotted names.
        named: the script names it; else it is the only one that there is.
    """

    file: Path
    root: Path
    script: Script
    statement: ast.Assign | ast.Return
    holder: str
    settings: list[Setting]
    named: bool

    def given_to(self, arguments: Sequence[Setting]) -> list[Setting]:
        """Return the arguments of the script; one that asks for this file has it as its value."""
        path = self.file.relative_to(self.root).as_posix()
        return [
            replace(one, value=path) if one.required and not self.named and _asks_for_file(one) else one
            for one in arguments
        ]

    def changes(self, read: Mapping[str, str]) -> list[Change]:
        """Return the changes that read settings from the trial, once the file is loaded.

        Args:
            read: what is read in their places: `params.learning_rate`, by name.
        """
        script, statement = self.script, self.statement
        lines = []
        for name, place in read.items():
            here = f"{self.holder}{''.join(f'[{_quoted(part)}]' for part in name.split('.'))}"
            lines.append(f"{here} = {from_trial(place, here)}")
        indentation = script.indentation(statement)
        if isinstance(statement, ast.Return):
            assert statement.value is not None
            text = script.newline.join(
                [f"{self.holder} = {script.source(statement.value)}"]
                + [f"{indentation}{line}" for line in (*lines, f"return {self.holder}")]
            )
            return [Change(script.start(statement), script.end(statement), text)]
        return [script.insert_lines(script.line_after(statement), lines, indentation)]


def read_config_file(scripts: Sequence[Script]) -> ConfigFile | None:
    """Return the file that a script, or a module of its own, loads its settings from; None if it searches nothing.

    Args:
        scripts: the script, and its modules. The file is the first that they name and that is there; if they name
            none, the only one beside the script or in a folder such as configs/.
    """
    root = scripts[0].path.parent
    for script, statement in _loads(scripts):
        named = [(file, found) for file in _named_files(scripts, root) if (found := _searched_in(file))]
        others = [] if named else [(file, found) for file in _files_in(root) if (found := _searched_in(file))]
        for file, settings in named or (others if len(others) == 1 else []):
            return ConfigFile(file, root, script, statement, _holder(statement), settings, bool(named))
    return None


def _searched_in(file: Path) -> list[Setting]:
    """Return the settings of a file, if one of them is worth a search."""
    data = _load(file)
    if isinstance(data, dict) and ("search_space" in data or {"method", "parameters"} <= data.keys()):
        return []  # a study, or a sweep of W&B
    settings = list(_settings(data, ""))
    return settings if any_searched(settings) else []


def _files_in(root: Path) -> Iterator[Path]:
    for folder in (root, *(root / name for name in _FOLDERS)):
        if folder.is_dir():
            yield from sorted(one for one in folder.iterdir() if one.suffix in _ENDINGS and one.is_file())


def _asks_for_file(argument: Setting) -> bool:
    return bool({"config", "cfg", "conf", "params", "settings"} & {*snake(argument.name).split("_")})


def _quoted(text: str) -> str:
    """Return a text as Python writes it in any encoding; JSON has no other escapes but for characters beyond it."""
    return json.dumps(text) if text.isascii() else ascii(text)


def _loads(scripts: Sequence[Script]) -> Iterator[tuple[Script, ast.Assign | ast.Return]]:
    """Yield the statements that load a file, in lines of their own."""
    for script in scripts:
        if script.reads_trial():
            continue
        for node in script.nodes():
            if not isinstance(node, ast.Call) or script.full_name(node) not in _LOADERS:
                continue
            statement = script.statement(node)
            simple = isinstance(statement, ast.Return) or (
                isinstance(statement, ast.Assign)
                and len(statement.targets) == 1
                and isinstance(statement.targets[0], (ast.Name, ast.Attribute))
            )
            # One that is called for several files gets no lines: only one of the files has the settings.
            simple = simple and not any(isinstance(one, (ast.For, ast.While)) for one in script.above(statement))
            simple = simple and _calls(scripts, script, statement) < 2
            before = script.text[script.line_start(statement.lineno) : script.start(statement)]
            behind = script.text[script.end(statement) : script.line_after(statement)].strip()
            if simple and not before.strip() and (not behind or behind.startswith("#")):
                assert isinstance(statement, (ast.Assign, ast.Return))
                yield script, statement


def _calls(scripts: Sequence[Script], script: Script, statement: ast.stmt) -> int:
    """Return how often the function is called, by its name, that a statement stands in; 1 if it stands in none."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    name = next((one.name for one in script.above(statement) if isinstance(one, functions)), "")
    called = (
        isinstance(node, ast.Call)
        and call_name(node).rpartition(".")[2] == name
        and one.full_name(node) not in _LOADERS
        for one in scripts
        for node in ast.walk(one.tree)
    )
    return sum(called) if name and not name.startswith("__") else 1


def _holder(statement: ast.Assign | ast.Return) -> str:
    return ast.unparse(statement.targets[0]) if isinstance(statement, ast.Assign) else "loaded"


def _named_files(scripts: Sequence[Script], root: Path) -> Iterator[Path]:
    for script in scripts:
        for node in script.nodes():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(_ENDINGS):
                holder = script.parents.get(node)
                beside = holder.args if isinstance(holder, ast.Call) else []
                written = any(isinstance(one, ast.Constant) and str(one.value)[:1] in tuple("wax") for one in beside)
                if len(node.value) < 1000 and not written and (root / node.value).is_file():
                    yield root / node.value


def _load(file: Path) -> Any:
    """Return what a file holds; None if it cannot be read: then it is not the file."""
    try:
        if file.suffix == ".json":
            return json.loads(read_plain(file, _MOST_BYTES))
        document = read_yaml(file)
    except (OSError, ValueError, SpecError, RecursionError):
        return None
    return None if document.problems else document.data


def _settings(data: Any, prefix: str) -> Iterator[Setting]:
    for key, value in data.items() if isinstance(data, dict) else ():
        if not isinstance(key, str) or not key or "." in key:
            continue
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _settings(value, f"{name}.")
        elif isinstance(value, (bool, int, float, str)):
            yield Setting(name, value, kind_of(value), shown=name)
