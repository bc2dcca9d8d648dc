"""Settings of a script without a command line: constants, a class or dict of its configuration, keywords of calls."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hpo.scaffold.draft import MISSING, Setting, kind_of
from hpo.scaffold.guess import CONSTANT, any_searched, guess, snake
from hpo.scaffold.printed_values import dict_entries
from hpo.scaffold.python_source import Change, Script, assignments, call_name, from_trial, keyword

_DICTS = {"config", "cfg", "hparams", "hyperparameters", "hyperparams", "params", "settings", "conf", "defaults",
          "configuration", "args", "opt", "options"}  # fmt: skip

# What makes a training, or a part of it, by its keywords: optimizers, loaders, losses, models with a `fit`. The
# script's own modules count too.
_CALLS = {"SGD", "Adam", "AdamW", "Adamax", "Adagrad", "Adadelta", "Adafactor", "NAdam", "Nadam", "RAdam", "RMSprop",
          "ASGD", "Lion", "LAMB", "Ftrl", "DataLoader", "fit"}  # fmt: skip
_CALLS_ENDING = ("Arguments", "Args", "Config", "Trainer", "Classifier", "Regressor", "Loss")
# Words of a loader whose batches change no result.
_HELD_OUT = {"val", "valid", "validation", "test", "dev", "eval", "holdout"}


@dataclass
class Constants:
    """Constants of a script, and the expressions that hold their values."""

    script: Script
    settings: list[Setting] = field(default_factory=list)
    nodes: dict[str, list[ast.expr]] = field(default_factory=dict)

    def add(self, name: str, value: ast.expr, shown: str = "") -> None:
        """Add a constant if its value is a number, a text, true or false."""
        literal = self.script.literal(value)
        if isinstance(literal, (bool, int, float, str)) and name not in self.nodes:
            self.settings.append(Setting(name, literal, kind_of(literal), shown=shown or name))
            self.nodes[name] = [value]

    def changes(self, read: Mapping[str, str]) -> list[Change]:
        """Return the changes that read constants from the trial.

        Args:
            read: what is read in their places: `params.learning_rate`, by name.
        """
        changes = []
        for name, place in read.items():
            for node in self.nodes[name]:
                text = from_trial(place, self.script.source(node))
                changes.append(Change(self.script.start(node), self.script.end(node), text))
        return changes


def read_constants(script: Script) -> Constants:
    """Return the constants of a script.

    They are its names in upper case; else the attributes of a class called Config or the like; else the entries of a
    dict called so, or given to `wandb.init`; else what is known by its name, of its variables and of the keywords of
    calls that make a training: `lr = 1e-3`, `AdamW(..., lr=1e-3)`.
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
    functions = [node for node in top if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for block in (top, *(function.body for function in functions)):
        for name, value, _ in assignments(block):
            if not name.isupper() and _once(script, name):
                known.add(name, value)
    together = _recognised(known, _keywords(script))
    return together if any_searched(together.settings) else found


def _recognised(*found: Constants) -> Constants:
    """Return the settings that are known by their names, of all together."""
    together = Constants(found[0].script)
    for one in found:
        for setting in one.settings:
            known = guess(setting)
            if (known.role != CONSTANT or known.why) and setting.name not in together.nodes:
                together.settings.append(setting)
                together.nodes[setting.name] = one.nodes[setting.name]
    return together


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


def _keywords(script: Script) -> Constants:
    """Return the keywords of calls that make a training. Those of one name and value are one setting."""
    found = Constants(script)
    by_value: dict[tuple[str, object], str] = {}
    models = script.subclasses(lambda base: call_name(base).endswith(("Module", "Model")))
    for node in script.nodes():
        if not isinstance(node, ast.Call) or not _makes_training(node, script, models):
            continue
        called = snake(call_name(node).rpartition(".")[2])
        parent = script.parents[node]
        # A loader of validation is seen by its data, or by the name that it gets.
        shown = parent if isinstance(parent, ast.Assign) else node
        words = {*re.split(r"[^a-z]+", snake(script.source(shown)))}
        for given in node.keywords:
            literal = MISSING if isinstance(given.value, ast.Name) else script.literal(given.value)
            held_out = called == "data_loader" and given.arg == "batch_size" and words & _HELD_OUT
            if given.arg is None or held_out or isinstance(literal, bool) or not isinstance(literal, (int, float, str)):
                continue
            if (name := by_value.get((given.arg, literal))) is not None:
                found.nodes[name].append(given.value)
                continue
            name = f"{called}_{len(found.settings)}.{given.arg}"
            found.add(name, given.value, f"{given.arg} in line {given.value.lineno}")
            by_value[given.arg, literal] = name
    return found


def _makes_training(call: ast.Call, script: Script, models: Collection[str]) -> bool:
    """Return True for such a call, unless it stands in an f-string, whose places Python 3.11 does not tell."""
    last = call_name(call).rpartition(".")[2]
    known = last in _CALLS or last in models or last.endswith(_CALLS_ENDING)
    return known and not any(isinstance(one, ast.JoinedStr) for one in script.above(call))


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
