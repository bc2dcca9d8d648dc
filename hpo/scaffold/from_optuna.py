"""A study from an Optuna script: its `suggest_` calls where they are literal, direction, trials, sampler and pruner.

The script is not changed: a small file beside it calls its objective with a trial that answers with the study's values.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from hpo.errors import ScaffoldError
from hpo.scaffold.changes import edit
from hpo.scaffold.choose_metric import direction_of
from hpo.scaffold.draft import MISSING, Draft, Entry, MetricEntry
from hpo.scaffold.draft_builder import fits
from hpo.scaffold.from_script import Scaffold, engine_entry, script_study_name
from hpo.scaffold.python_source import Change, Script, assignments, call_name, keyword
from hpo.scaffold.read_optuna import objective_of
from hpo.spec.algorithms import known_name

# Pruners that are none without options.
_WITH_OPTIONS = ("patient", "threshold", "percentile")
_ADAPTER = '''"""The objective of {file}, for hpo. Optuna's trial answers with the values of the study's."""

import optuna

import hpo
from {module} import {function}


class _Trial(optuna.trial.FixedTrial):
    def __init__(self, trial):
        super().__init__(dict(trial.params), trial.number)
        self.trial = trial

    def report(self, value, step):
        self.trial.report(step, {metric}=value)  # raises hpo.Pruned where Optuna says should_prune


def train(trial: hpo.Trial):
    try:
        {result} = {function}(_Trial(trial))
    except optuna.TrialPruned as error:
        raise hpo.Pruned(str(error) or "the objective gave up") from error
    return {{{returned}}}
'''


def from_optuna(script: Script) -> tuple[Scaffold, str, str]:
    """Return a study that searches what an Optuna script does, and the name and text of the file that calls it.

    Raises:
        ScaffoldError: it has no literal suggestion, or no function that could be called.
    """
    objective = objective_of(script)
    if not objective.entries:
        unread = "".join(f"\n{sentence}" for sentence in objective.unread)
        raise ScaffoldError(f"{script.path}: none of its suggestions has literal bounds or choices{unread}")
    if not re.fullmatch(r"[A-Za-z_]\w*", script.path.stem):
        raise ScaffoldError(
            f"{script.path} cannot be imported, for its name is no Python name; rename it, such as to "
            f"{re.sub(r'[^0-9A-Za-z_]+', '_', script.path.stem).strip('_') or 'train'}.py"
        )
    draft = Draft(script_study_name(script.path))
    draft.title = (f"What {script.path.name} searches with Optuna.",)
    draft.parameters = objective.entries
    draft.decide += objective.unread
    _metrics(draft, script, objective.function)
    _study(draft, script)
    function = objective.function
    if not isinstance(script.parents.get(function), ast.Module):
        raise ScaffoldError(
            f"{script.path}:{function.lineno}: '{function.name}' stands inside another function or a class; expected "
            "it at the top of the file, where another file can import it"
        )
    positional = [*function.args.posonlyargs, *function.args.args]
    if len(positional) - len(function.args.defaults) > 1:
        draft.decide.append(f"{function.name} takes more than a trial; give the rest in {_adapter_name(script)}")
    draft.objective = f"{_adapter_name(script)}:train"
    change = _guard(script)
    if change is not None:
        draft.notes.append("the study of the script would run at its import; the lines put it below a guard")
    edits = () if change is None else (edit(script, [change], script.path),)
    return Scaffold(draft, script, edits), _adapter_name(script), _adapter(script, function, draft)


def _adapter_name(script: Script) -> str:
    return f"{script.path.stem}_objective.py"


def _adapter(script: Script, function: ast.FunctionDef, draft: Draft) -> str:
    names = [metric.name for metric in draft.metrics]
    results = names if len(names) > 1 else ["value"]
    return _ADAPTER.format(
        file=script.path.name,
        module=script.path.stem,
        function=function.name,
        metric=names[0],
        result=", ".join(results),
        returned=", ".join(f'"{name}": {result}' for name, result in zip(names, results, strict=True)),
    )


def _metrics(draft: Draft, script: Script, function: ast.FunctionDef) -> None:
    create = _call(script, "create_study")
    directions = script.literal(keyword(create, "directions")) if create else MISSING
    direction = script.literal(keyword(create, "direction")) if create else MISSING
    wanted = [str(one) for one in directions] if isinstance(directions, (list, tuple)) else [str(direction)]
    returned = next((one.value for one in reversed(list(ast.walk(function))) if isinstance(one, ast.Return)), None)
    values = list(returned.elts) if isinstance(returned, ast.Tuple) else [returned]
    for index, one in enumerate(wanted):
        value = values[index] if index < len(values) else None
        name = value.id if isinstance(value, ast.Name) else ""
        name = name if name.isidentifier() and name not in ("self", "step", "value") and len(name) > 2 else ""
        name = name or ("value" if len(wanted) == 1 else f"value_{index}")
        chosen = one if one in ("minimize", "maximize") else ""
        decide = "" if chosen else "Optuna minimises where no direction is given; is that meant?"
        decide = "" if direction_of(name) == "minimize" else decide
        draft.metrics.append(MetricEntry(name, chosen or "minimize", decide))


def _study(draft: Draft, script: Script) -> None:
    """Add budget, sampler, pruner and the first trials."""
    optimize = _call(script, "optimize")
    budget: dict[str, Any] = {}
    if optimize is not None:
        node = keyword(optimize, "n_trials") or (optimize.args[1] if len(optimize.args) > 1 else None)
        trials, seconds = script.literal(node), script.literal(keyword(optimize, "timeout"))
        if isinstance(trials, int) and trials > 0:
            budget["trials"] = trials
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and seconds > 0:
            budget["hours"] = float(f"{seconds / 3600:.3g}")
    create = _call(script, "create_study")
    for role in ("sampler", "pruner"):
        given = keyword(create, role) if create is not None else None
        if isinstance(given, ast.Name):
            given = next((value for name, value, _ in assignments(script.tree.body) if name == given.id), given)
        name = known_name(call_name(given).rpartition(".")[2]) if isinstance(given, ast.Call) else ""
        if given is not None and not (isinstance(given, ast.Constant) and given.value is None):
            if name and name not in _WITH_OPTIONS:
                draft.settings.append(Entry(role, name, ast.unparse(given)))
            else:
                draft.decide.append(
                    f"the script's {role} `{ast.unparse(given)}` is not known here; the default is taken"
                )
    names = {entry.name: entry.declared for entry in draft.parameters}
    for entry in draft.parameters:
        choices = entry.declared.get("choices")
        for held in choices.values() if isinstance(choices, dict) else ():
            names |= held
    first = []
    for call in ast.walk(script.tree):
        if isinstance(call, ast.Call) and call_name(call).endswith(".enqueue_trial") and call.args:
            literal = script.literal(call.args[0])
            if isinstance(literal, dict) and all(k in names and fits(names[k], v) for k, v in literal.items()):
                first.append(literal)
    if first:
        draft.settings.append(Entry("enqueue", first, "enqueue_trial"))
    draft.settings.append(Entry("budget", budget or {"trials": 40}, "", "" if budget else "how many?"))
    draft.settings.append(engine_entry([script]))


def _call(script: Script, name: str) -> ast.Call | None:
    return next(
        (
            node
            for node in ast.walk(script.tree)
            if isinstance(node, ast.Call) and call_name(node).rpartition(".")[2] == name
        ),
        None,
    )


def _guard(script: Script) -> Change | None:
    """Return the change that puts what runs the study at the script's import below `if __name__ == "__main__"`."""
    body = script.tree.body
    running = next(
        (
            index
            for index, statement in enumerate(body)
            if not isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.If, ast.AsyncFunctionDef))
            and any(
                isinstance(node, ast.Call) and call_name(node).rpartition(".")[2] in ("optimize", "create_study")
                for node in ast.walk(statement)
            )
        ),
        None,
    )
    if running is None:
        return None
    start = script.line_start(body[running].lineno)
    text = script.text[start:]
    multiline = any(
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.end_lineno != node.lineno
        and node.lineno >= body[running].lineno
        for node in ast.walk(script.tree)
    )
    if multiline or any(isinstance(one, (ast.FunctionDef, ast.ClassDef)) for one in body[running:]):
        raise ScaffoldError(
            f"{script.path}:{body[running].lineno}: the study runs when the script is imported; put it below "
            '`if __name__ == "__main__":` first'
        )
    lines = text.splitlines(keepends=True)
    inside = "".join(f"    {line}" if line.strip() else line for line in lines)
    return Change(start, len(script.text), f'if __name__ == "__main__":{script.newline}{inside}')
