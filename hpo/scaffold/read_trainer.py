"""Metrics that a Trainer of Hugging Face's transformers evaluates: their names, and when it does."""

from __future__ import annotations

import ast

from hpo.scaffold.printed_values import dict_entries
from hpo.scaffold.python_source import Script, call_name, keyword

_PACKAGES = ("transformers", "trl", "setfit", "sentence_transformers")
_STRATEGIES = ("eval_strategy", "evaluation_strategy")


def trainer_call(script: Script) -> ast.Call | None:
    """Return the call that makes the Trainer; None if there is none."""
    derived = script.subclasses(lambda base: _is_trainer(base, script))
    calls = (node for node in script.nodes() if isinstance(node, ast.Call))
    return next((node for node in calls if _is_trainer(node, script) or call_name(node) in derived), None)


def trainer_metrics(script: Script, trainer: ast.Call) -> tuple[str, ...]:
    """Return the names under which the Trainer gives its metrics to callbacks: what `compute_metrics` returns."""
    given = keyword(trainer, "compute_metrics")
    names: list[str] = []
    for node in script.nodes():
        if isinstance(given, ast.Name) and isinstance(node, ast.FunctionDef) and node.name == given.id:
            for one in ast.walk(node):
                if isinstance(one, ast.Return) and one.value is not None:
                    names += _returned(one.value, script)
    return tuple(dict.fromkeys([*(f"eval_{name.removeprefix('eval_')}" for name in names), "eval_loss"]))


def evaluates(script: Script) -> str:
    """Return when the Trainer evaluates: `epoch`, `steps` or `no`; empty: its arguments are not made here."""
    for node in script.nodes():
        if not isinstance(node, ast.Call) or not script.full_name(node).startswith(_PACKAGES):
            continue
        given = next((value for name in _STRATEGIES if (value := keyword(node, name)) is not None), None)
        if (
            given is not None
            or keyword(node, "output_dir") is not None
            or call_name(node).endswith("TrainingArguments")
        ):
            strategy = "no" if given is None else script.literal(given)
            return strategy if isinstance(strategy, str) else ""
    return ""


def _is_trainer(node: ast.AST, script: Script) -> bool:
    package, _, name = script.full_name(node).partition(".")
    return package in _PACKAGES and name.endswith("Trainer")


def _returned(value: ast.expr, script: Script) -> list[str]:
    """Return the keys of a dict, or the name of the metric that `evaluate.load` gave and that is computed."""
    if isinstance(value, ast.Call) and call_name(value).endswith(".compute"):
        holder = call_name(value).removesuffix(".compute")
        for node in script.nodes():
            if (
                isinstance(node, ast.Assign)
                and call_name(node.targets[0]) == holder
                and isinstance(node.value, ast.Call)
                and call_name(node.value).endswith(("load", "load_metric"))
                and node.value.args
                and isinstance(name := script.literal(node.value.args[0]), str)
            ):
                return [name]
    return list(dict_entries(value, script))
