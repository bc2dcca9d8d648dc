"""A study from a sweep of Weights & Biases: its method, metric, parameters and early stopping."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpo.errors import ScaffoldError, SpecError
from hpo.scaffold.choose_metric import direction_of
from hpo.scaffold.draft import Draft, Entry, MetricEntry, key_name, refused, study_name
from hpo.scaffold.from_script import Scaffold, add_settings, command_line, finish, script_study_name
from hpo.scaffold.own_modules import own_modules
from hpo.scaffold.python_source import Change, Script, call_name, keyword
from hpo.scaffold.read_hydra import read_hydra
from hpo.scaffold.read_metrics import Found, read_metrics
from hpo.space.other_tools import declaration
from hpo.spec.yaml_document import read_yaml

_GOALS = {"maximize": "maximize", "minimize": "minimize", "max": "maximize", "min": "minimize"}
_METHODS = {"grid": "grid", "random": "random"}


def is_sweep(path: Path) -> bool:
    """Return True if a YAML looks like a sweep.

    Raises:
        ScaffoldError: it cannot be read, or is no YAML.
    """
    data = _load(path)
    return isinstance(data.get("parameters"), Mapping) and "search_space" not in data


def from_wandb(path: Path) -> Scaffold:
    """Return a study that searches what a sweep does, and trains its program as a command.

    Raises:
        ScaffoldError: the sweep cannot be read, or has no parameters.
    """
    data = _load(path)
    program = data.get("program")
    program = program if isinstance(program, str) else ""
    script = _program(path, program)
    name = data.get("name") if isinstance(data.get("name"), str) else ""
    stem = path.stem if path.stem.lower() not in ("sweep", "config", "wandb") else ""
    named = script_study_name(path.parent / program) if program else path.absolute().parent.name
    draft = Draft(study_name(str(name) or stem or named))
    draft.title = (f"The sweep of {path.name}.",)
    names: dict[str, str] = {}
    _parameters(draft, data["parameters"], names)
    if not draft.parameters:
        raise ScaffoldError(f"{path}: parameters: none of them has values or a range; expected some that are searched")
    _metric(draft, data.get("metric"))
    _method(draft, data)
    modules = [] if script is None else own_modules(script)
    found = Found() if script is None else read_metrics(script, modules)
    changes: list[Change] = []
    given = _reads_config(script, modules) if script is not None else None
    if given is not None and script is not None:
        draft.command = ["python", _text(program)]
        changes = [_config_change(script, given)]
        for key, wanted in names.items():
            if key != wanted:
                draft.decide.append(f"the sweep's {wanted} is called {key} here, and so in wandb.config")
    else:
        draft.command = _command(data.get("command"), _text(program) or "train.py", names, draft)
        _texts_for_truth(draft)
    if script is None:
        if program:
            draft.notes.append(f"{path.parent / program} is not there, so its metrics could not be looked for")
        if not draft.metrics:
            draft.metrics = [MetricEntry("val_loss", "minimize", "the sweep names no metric: which one is it?")]
        add_settings(draft, [], Found("reports"))
        return Scaffold(draft)
    if found.kind and draft.metrics and draft.metrics[0].name not in found.names:
        draft.decide.append(
            f"{program} reports {', '.join(found.names)}, and the sweep's metric is {draft.metrics[0].name}; one name "
            "for both is needed"
        )
    return finish(script, modules, draft, found, {script: changes}, [])


def _load(path: Path) -> dict[Any, Any]:
    try:
        document = read_yaml(path)
    except SpecError as error:
        raise ScaffoldError(str(error)) from error
    if document.problems:
        raise ScaffoldError("\n".join(str(problem) for problem in document.problems))
    if not isinstance(document.data, dict):
        raise ScaffoldError(f"{path} holds no sweep; expected its keys: method, metric, parameters")
    return document.data


def _program(path: Path, program: str) -> Script | None:
    file = path.parent / program
    return Script(file) if program.endswith(".py") and file.is_file() else None


def _parameters(draft: Draft, parameters: Mapping[Any, Any], names: dict[str, str]) -> None:
    """Add the parameters of a sweep; `names` gets the sweep's names by those of the study."""
    for wanted, written in _flat(parameters, ""):
        key = key_name(wanted, names)
        names[key] = wanted
        declared = declaration(_known_words(written))
        said = written.get("distribution", "")
        why_not = refused(declared) if isinstance(declared, Mapping) else ""
        if why_not:
            draft.decide.append(f"give the sweep's {wanted} a range, for as it is {why_not}")
            del names[key]
        elif isinstance(declared, Mapping):
            choices = declared.get("choices")
            if choices is not None and len(choices) == 1:
                draft.constants.append(Entry(key, choices[0]))
            else:
                draft.parameters.append(Entry(key, _tidy(declared), str(said)))
        elif declared is not None or "value" in written:
            value = written.get("value", declared)
            draft.constants.append(Entry(key, value))
        elif (around := _normal(written)) is not None:
            draft.parameters.append(
                Entry(key, around, "", f"the sweep draws it from {said}; two standard deviations to either side")
            )
        else:
            draft.decide.append(f"the sweep's {wanted} ({said or 'no range'}) is not known here; give it a range")
            del names[key]


def _flat(parameters: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    for name, written in parameters.items():
        if not isinstance(written, Mapping):
            yield f"{prefix}{name}", {"value": written}
        elif isinstance(written.get("parameters"), Mapping):
            yield from _flat(written["parameters"], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", written


def _known_words(written: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a declaration without what has no place here, and its inverse distributions by their plain names."""
    kept = {key: value for key, value in written.items() if key not in ("probabilities", "mu", "sigma")}
    kind = str(kept.get("distribution", ""))
    if kind in ("categorical", "categorical_w_probabilities", "constant"):
        kept.pop("distribution")
    elif kind.startswith("inv_log"):
        kept["distribution"] = kind.removeprefix("inv_")
    if isinstance(values := kept.get("values"), list) and any(isinstance(value, Mapping) for value in values):
        return {}
    return kept


def _tidy(declared: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(declared)
    if isinstance(found.get("choices"), list):
        found["choices"] = list(dict.fromkeys(_hashable(value) for value in found["choices"]))
        found["choices"] = [list(value) if isinstance(value, tuple) else value for value in found["choices"]]
    return found


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _normal(written: Mapping[Any, Any]) -> dict[str, Any] | None:
    kind, mu, sigma = str(written.get("distribution", "")), written.get("mu", 0.0), written.get("sigma", 1.0)
    if "normal" not in kind or not all(isinstance(one, (int, float)) for one in (mu, sigma)) or sigma <= 0:
        return None
    low, high = float(mu - 2 * sigma), float(mu + 2 * sigma)
    if "log" in kind:
        if abs(low) > 300 or abs(high) > 300:
            return None
        return {"low": float(f"{math.exp(low):.3g}"), "high": float(f"{math.exp(high):.3g}"), "log": True}
    return {"low": low, "high": high}


def _metric(draft: Draft, metric: Any) -> None:
    if isinstance(metric, str):
        metric = {"name": metric}
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        return
    name = metric["name"]
    goal = _GOALS.get(str(metric.get("goal", "")), "")
    guessed = (
        "" if goal else "W&B minimises where no goal is given; is that meant?" * (direction_of(name) != "minimize")
    )
    draft.metrics = [MetricEntry(name, goal or "minimize", guessed)]


def _method(draft: Draft, data: Mapping[Any, Any]) -> None:
    method = str(data.get("method", ""))
    if method in _METHODS:
        draft.settings.append(Entry("sampler", _METHODS[method], f"method: {method}"))
    elif method:
        draft.notes.append(f"method {method}: the default sampler takes its place")
    cells = method == "grid" and all("choices" in entry.declared for entry in draft.parameters)
    if method == "grid" and not cells:
        draft.settings = []
        draft.decide.append("the sampler grid takes choices alone, and there are ranges; the default sampler is taken")
    stopping = data.get("early_terminate")
    if isinstance(stopping, Mapping):
        options: dict[str, Any] = {"name": "hyperband"}
        eta = stopping.get("eta", 3)
        least = stopping.get("min_iter")
        most, brackets = stopping.get("max_iter"), stopping.get("s", 2)
        if least is None and all(isinstance(one, int) and 0 < one < 10**6 for one in (most, brackets, eta)):
            least = max(1, round(most / float(eta) ** min(brackets, 50)))
        if isinstance(least, int) and least > 0:
            options["min_resource"] = least
        if isinstance(eta, int) and eta > 1:
            options["reduction_factor"] = eta
        draft.settings.append(Entry("pruner", options, "early_terminate"))
    elif data.get("method"):
        draft.settings.append(
            Entry("pruner", "none", "the sweep has no early_terminate; halving, the default, saves time")
        )
    cap = data.get("run_cap")
    if isinstance(cap, int) and not isinstance(cap, bool) and cap > 0:
        draft.settings.append(Entry("budget", {"trials": cap}, "run_cap"))
    elif not cells:
        draft.settings.append(Entry("budget", {"trials": 40}, "", "the sweep has no run_cap: how many trials?"))
    else:
        draft.settings.append(Entry("budget", {}, "the grid says when it ends"))


def _command(written: Any, program: str, names: Mapping[str, str], draft: Draft) -> list[str | list[str]]:
    """Return the command of a sweep: W&B's own is `python PROGRAM --name=value ...`."""
    parts = written if isinstance(written, list) else ["${env}", "${interpreter}", "${program}", "${args}"]
    constants = {entry.name: entry.declared for entry in draft.constants}
    places = {key: f"{{constants.{key}}}" if key in constants else f"{{{key}}}" for key in names}
    found: list[str | list[str]] = []
    for part in map(str, parts):
        if part in ("${env}", "/usr/bin/env"):
            continue
        if part == "${interpreter}":
            found.append("python")
        elif part == "${program}":
            found.append(program)
        elif part in ("${args}", "${args_no_boolean_flags}"):
            found += [f"--{_text(names[key])}={place}" for key, place in places.items()]
        elif part == "${args_no_hyphens}":
            found += [f"{_text(names[key])}={place}" for key, place in places.items()]
        elif part.startswith("${args_json"):
            draft.decide.append(
                f"the sweep's command has {part}, which is not known here; give the parameters as arguments"
            )
        elif part.startswith("${envvar:"):
            draft.decide.append(
                f"the sweep's command has {part}; the environment is the same in each trial: write it out"
            )
        else:
            found.append(_text(part))
    return found or ["python", program]


def _text(word: str) -> str:
    """Return a word of a command whose braces are text."""
    return re.sub(r"[{}]", lambda brace: brace[0] * 2, word)


def _texts_for_truth(draft: Draft) -> None:
    """Write true and false as W&B puts them into a command line."""
    for entries in (draft.parameters, draft.constants):
        for index, entry in enumerate(entries):
            choices = entry.declared.get("choices") if isinstance(entry.declared, Mapping) else None
            if choices and any(isinstance(choice, bool) for choice in choices):
                texts = [str(choice) if isinstance(choice, bool) else choice for choice in choices]
                entries[index] = Entry(entry.name, {**entry.declared, "choices": texts}, "as W&B writes them")
            elif isinstance(entry.declared, bool):
                entries[index] = Entry(entry.name, str(entry.declared), "as W&B writes it")


def _reads_config(script: Script, modules: Sequence[Script]) -> ast.Call | None:
    """Return the call of `wandb.init` of a script that has no command line: it reads wandb.config."""
    if command_line(script, modules).settings or read_hydra(script) is not None:
        return None
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and call_name(node) == "wandb.init":
            return node
    return None


def _config_change(script: Script, call: ast.Call) -> Change:
    """Return the change that gives wandb.config the trial's values."""
    values = "**hpo.current_trial().constants, **hpo.current_trial().params"
    given = keyword(call, "config")
    if given is not None:
        return Change(script.start(given), script.end(given), f"{{**({script.source(given)}), {values}}}")
    end = script.end(call) - 1
    inside = script.text[script.start(call) : end].rstrip()
    comma = "" if inside.endswith(("(", ",")) else ", "
    return Change(end, end, f"{comma}config={{{values}}}")
