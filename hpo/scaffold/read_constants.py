"""Settings of a script without a command line: constants at its top, or a class or dict of its configuration."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo.scaffold.draft import Setting, kind_of
from hpo.scaffold.guess import any_searched, guess, snake
from hpo.scaffold.printed_values import dict_entries
from hpo.scaffold.python_source import Change, Script, assignments, call_name, from_trial, keyword

_DICTS = {"config", "cfg", "hparams", "hyperparameters", "hyperparams", "params", "settings", "conf", "defaults",
          "configuration", "args", "opt", "options"}  # fmt: skip


@dataclass
class Constants:
    """Constants of a script, and the expressions that hold their values."""

    script: Script
    settings: list[Setting] = field(default_factory=list)
    nodes: dict[str, ast.expr] = field(default_factory=dict)

    def add(self, name: str, value: ast.expr) -> None:
        """Add a constant if its value is a number, a text, true or false."""
        literal = self.script.literal(value)
        if isinstance(literal, (bool, int, float, str)) and name not in self.nodes:
            self.settings.append(Setting(name, literal, kind_of(literal), shown=name))
            self.nodes[name] = value

    def changes(self, read: Mapping[str, str]) -> list[Change]:
        """Return the changes that read constants from the trial.

        Args:
            read: what is read in their places: `params.learning_rate`, by name.
        """
        changes = []
        for name, place in read.items():
            node = self.nodes[name]
            text = from_trial(place, self.script.source(node))
            changes.append(Change(self.script.start(node), self.script.end(node), text))
        return changes


def read_constants(script: Script) -> Constants:
    """Return the constants of a script.

    They are its names in upper case; else the attributes of a class called Config or the like; else the entries of a
    dict called so, or given to `wandb.init`; else those of its variables that are known by their names, such as `lr`.
    """
    found = Constants(script)
    top = _top_level(script.tree.body)
    for name, value, statement in assignments(top):
        if name.isupper() and _once(script, name) and isinstance(statement, (ast.Assign, ast.AnnAssign)):
            found.add(name, value)
    if any_searched(found.settings):
        return found
    for held in (_class(script), _configuration(script)):
        inside = Constants(script)
        for key, value in held.items():
            inside.add(key, value)
        if any_searched(inside.settings):
            return inside
    known = Constants(script)
    for name, value, _ in assignments(top):
        if not name.isupper() and _once(script, name):
            known.add(name, value)
    recognised = [setting for setting in known.settings if guess(setting).role != "constant" or guess(setting).why]
    if any_searched(recognised):
        return Constants(script, recognised, {setting.name: known.nodes[setting.name] for setting in recognised})
    return found


def _top_level(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a module, with those below `if __name__ == "__main__":`."""
    found: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
            found += statement.body
        else:
            found.append(statement)
    return found


def _once(script: Script, name: str) -> bool:
    """Return True if a name is assigned once in the whole script."""
    return script.stored[name] == 1


def _class(script: Script) -> dict[str, ast.expr]:
    """Return what is assigned once in the body of `class CFG:`, `@dataclass class TrainConfig:`."""
    for node in script.tree.body:
        if isinstance(node, ast.ClassDef) and _DICTS & {node.name.lower(), *snake(node.name).split("_")}:
            found = list(assignments(node.body))
            names = Counter(name for name, _, _ in found)
            if once := {name: value for name, value, _ in found if names[name] == 1}:
                return once
    return {}


def _configuration(script: Script) -> dict[str, ast.expr]:
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and call_name(node) == "wandb.init":
            given = keyword(node, "config")
            if given is not None and (entries := dict_entries(given, script)):
                return entries
    for name, value, _ in assignments(_top_level(script.tree.body)):
        if name.lower() in _DICTS and (entries := dict_entries(value, script)):
            return entries
    return {}
