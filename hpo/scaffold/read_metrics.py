"""Way in which a script tells its metrics: to hpo already, by Lightning, Keras or a Trainer, or by printing them."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpo.scaffold.choose_metric import choose_metric, direction_of, words_of
from hpo.scaffold.metric_sites import NO_METRICS, Site, assigned_sites, sites_of
from hpo.scaffold.printed_values import dict_entries
from hpo.scaffold.python_source import Script, call_name, keyword
from hpo.scaffold.read_trainer import trainer_call, trainer_metrics

# Keras calls its metrics as their functions and classes are called in snake case.
_KERAS = {"acc": "accuracy", "auc": "auc", "mse": "mse", "mae": "mae"}


@dataclass(frozen=True)
class Found:
    """Way in which a script tells its metrics.

    Attributes:
        kind: reports (to hpo already, or as JSON lines), lightning, keras, trainer (Hugging Face), prints, or empty:
            none was found.
        names: the metrics, in the script's order.
        site: where they are printed; None for the other kinds.
        node: the LightningModule, the call of Keras's fit, or that which makes the Trainer.
        script: the file in which it does: the script, or a module of its own; None: there is no script.
    """

    kind: str = ""
    names: tuple[str, ...] = ()
    site: Site | None = None
    node: ast.AST | None = None
    script: Script | None = None

    @property
    def repeated(self) -> bool:
        """True if metrics are known at each step, so that trials can be pruned."""
        return self.site is None or self.site.repeated


def read_metrics(script: Script, modules: Sequence[Script] = ()) -> Found:
    """Return how a script tells its metrics, or else a module of its own.

    Of a module only what is known for a metric counts, since modules print much else; and of the script too, but for
    what it tells of its own epochs.
    """
    own = _of_file(script)
    of_epochs = own.site is not None and bool(own.site.step) and not own.site.batches
    if not (of_epochs or any(map(direction_of, own.names))):
        for module in modules:
            found = _of_file(module)
            if any(map(direction_of, found.names)):
                return replace(found, script=module)
    return replace(own, script=script)


def _of_file(script: Script) -> Found:
    if ready := _ready(script):
        return Found("reports", ready)
    for node in ast.walk(script.tree):
        if isinstance(node, ast.ClassDef) and any(call_name(base).endswith("LightningModule") for base in node.bases):
            return Found("lightning", _of_validation(_logged_by(node, script)), node=node)
    if (fit := _keras_fit(script)) is not None:
        return Found("keras", _keras_names(script, fit), node=fit)
    if (trainer := trainer_call(script)) is not None:
        return Found("trainer", trainer_metrics(script, trainer), node=trainer)
    sites = sites_of(script)
    if not any(direction_of(name) for site in sites for name in site.metrics):
        sites = assigned_sites(script) or sites  # a value that is kept, and shown elsewhere or not at all
    if not sites:
        return Found()
    best = min(sites, key=lambda site: (site.batches, _rank(site), -script.start(site.statement)))
    return Found("prints", tuple(best.metrics), best)


def _rank(site: Site) -> tuple[bool, bool, bool]:
    entry = choose_metric(list(site.metrics))
    words = words_of(entry.name)
    return (
        bool(words & {"train", "training"}),
        not direction_of(entry.name),
        not (words & {"val", "valid", "validation", "test", "dev", "eval"}),
    )


def _ready(script: Script) -> tuple[str, ...]:
    """Return the metrics that a script reports to hpo, or prints as JSON lines."""
    modules = script.bound_modules
    names: list[str] = []
    for node in ast.walk(script.tree):
        if not isinstance(node, ast.Call):
            continue
        called = call_name(node)
        if called == "hpo.report" or modules.get(called) == "hpo.report":
            names += [one.arg for one in node.keywords if one.arg]
            names += [name for argument in node.args[1:] for name in _keys(argument, script)]
        elif called == "print" and node.args and isinstance(inner := node.args[0], ast.Call):
            keys = _keys(inner.args[0], script) if call_name(inner) in ("json.dumps", "dumps") and inner.args else []
            names += [key for key in keys if key.lower() not in NO_METRICS]
    return tuple(dict.fromkeys(names))


def _keys(node: ast.expr, script: Script) -> list[str]:
    return list(dict_entries(node, script))


def _logged_by(module: ast.ClassDef, script: Script) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and node.args:
            called = call_name(node)
            first = script.literal(node.args[0])
            if called == "self.log" and isinstance(first, str):
                names.append(first)
            elif called == "self.log_dict":
                names += _keys(node.args[0], script)
    return tuple(dict.fromkeys(names))


def _of_validation(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the metrics that are known when validation ends; without any, those of training."""
    validated = tuple(name for name in names if "val" in name.lower())
    other = tuple(name for name in names if not any(word in name.lower() for word in ("train", "test")))
    return validated or other or names


def _keras_fit(script: Script) -> ast.Call | None:
    """Return the call of `fit` in a script of Keras: the one with epochs or validation data."""
    if not any(
        module.partition(".")[0] in ("keras", "tensorflow", "tf_keras") for module in script.bound_modules.values()
    ):
        return None
    fits = [
        node
        for node in ast.walk(script.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "fit"
    ]
    return min(
        fits,
        key=lambda call: (
            keyword(call, "validation_data") is None and keyword(call, "validation_split") is None,
            keyword(call, "epochs") is None,
        ),
        default=None,
    )


def _keras_names(script: Script, fit: ast.Call) -> tuple[str, ...]:
    """Return the names of the history that `fit` makes."""
    names = ["loss"]
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and call_name(node).rpartition(".")[2] == "compile":
            given = keyword(node, "metrics")
            for one in given.elts if isinstance(given, (ast.List, ast.Tuple)) else ():
                names += [name] if (name := _keras_name(one, script)) else []
    validated = keyword(fit, "validation_data") is not None or keyword(fit, "validation_split") is not None
    return (*(f"val_{name}" for name in names if validated), *names)


def _keras_name(node: ast.expr, script: Script) -> str:
    literal = script.literal(node)
    if isinstance(literal, str):
        return _KERAS.get(literal, literal)
    if not isinstance(node, ast.Call):
        return ""
    given = script.literal(keyword(node, "name"))
    if isinstance(given, str):
        return given
    last = call_name(node).rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", last).lower()
