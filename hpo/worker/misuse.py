"""Sentences for errors of an objective that takes its trial for another tool's."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from hpo.objective.load import missing_package
from hpo.text import listing, nearest
from hpo.trial import Trial

# What other tools' trials have, and hpo's way to the same.
_PARAMS = "study.yaml's search_space says what is drawn; read it as trial.params['name']"
_METRIC = "report it as a metric, trial.report(step, name=value), or write a file into trial.directory"
_INSTEAD = {
    "should_prune": "leave it out: trial.report ends the trial by itself when it is to stop",
    "should_stop": "leave it out: trial.report ends the trial by itself when it is to stop",
    "set_user_attr": _METRIC,
    "set_system_attr": _METRIC,
    "log": _METRIC,
    "config": "read trial.params['name'], and trial.constants['name'] for what is fixed",
    "hyperparameters": "read trial.params['name']",
    "get": "read trial.params.get('name')",
    "user_attrs": "read trial.constants['name']",
    "distributions": "study.yaml's search_space has them",
    "study": "a trial knows nothing of others; what is fixed stands in trial.constants",
    "suggest": _PARAMS,
    "trial_id": "read trial.number",
    "id": "read trial.number",
    "path": "read trial.directory",
    "dir": "read trial.directory",
    "checkpoint": "call trial.save(state), and trial.restore() for what was saved",
}
_MAPPINGS = {"mappingproxy", "Params"}


def advice(error: BaseException) -> str:
    """Return what to write instead, as `; sentence`, for an error that the use of a trial has raised; else nothing."""
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    if isinstance(error, AttributeError):
        said = _of_attribute(error.obj, str(error.name))
    elif isinstance(error, TypeError):
        said = _of_type(str(error))
    elif isinstance(error, KeyError) and error.args:
        said = _of_key(error)
    else:
        said = ""
    return f"; {said}" if said else ""


def _of_attribute(owner: object, name: str) -> str:
    if isinstance(owner, Trial):
        if name.startswith("suggest_"):
            return _PARAMS
        if name in _INSTEAD:
            return _INSTEAD[name]
        if name in owner.params:
            return f"read trial.params[{name!r}]"
        return f"read trial.constants[{name!r}]" if name in owner.constants else ""
    if isinstance(owner, Mapping) and not isinstance(owner, dict):
        if name in owner:
            return f"read it with [{name!r}] in place of .{name}"
        if name in ("update", "pop", "setdefault", "clear", "popitem"):
            return "it is read-only; change a copy of it, dict(...)"
        return nearest(name, owner).strip()
    return ""


def _of_type(message: str) -> str:
    if "'Trial' object is not subscriptable" in message:
        return "read trial.params['name'], and trial.constants['name'] for what is fixed"
    if "'Trial' object does not support item assignment" in message:
        return _METRIC
    if any(f"'{kind}' object does not support item" in message for kind in _MAPPINGS):
        return "it is read-only; change a copy of it, dict(...)"
    return ""


def _of_key(error: KeyError) -> str:
    """Return what names there are, if the line that raised the error reads parameters or constants by one."""
    name = error.args[0]
    for (frame, _), line in zip(
        traceback.walk_tb(error.__traceback__), traceback.extract_tb(error.__traceback__), strict=True
    ):
        for trial in (value for value in frame.f_locals.values() if isinstance(value, Trial)):
            for here, there in (("params", "constants"), ("constants", "params")):
                if f"{here}[" not in (line.line or ""):
                    continue
                names = getattr(trial, here)
                if name in getattr(trial, there):
                    return f"it stands in trial.{there}"
                if name not in names:
                    return f"trial.{here} has {listing(names) or 'nothing'}.{nearest(name, names)}"
    return ""
