"""Places of a script at which metrics are known: where it prints, logs or keeps them, and how its steps are called."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from hpo.scaffold.choose_metric import direction_of
from hpo.scaffold.draft import MISSING
from hpo.scaffold.printed_values import is_cheap, told_by
from hpo.scaffold.python_source import Script, call_name

# Of what is printed, these are no metrics.
NO_METRICS = {
    *("epoch", "epochs", "step", "steps", "global_step", "iter", "iteration", "batch", "batch_idx", "i", "lr", "bs"),
    *("learning_rate", "time", "elapsed", "seconds", "secs", "sec", "minutes", "duration", "eta", "device", "seed"),
    *("total", "num", "n", "count", "size", "samples", "path", "name", "file", "shape", "args", "config", "params"),
    *("parameters", "fold", "speed", "memory", "best_epoch", "version", "gpu", "train_size", "test_size", "percent"),
    *("batch_size", "weight_decay", "momentum", "progress", "model", "optimizer", "trial", "number", "run", "started"),
}  # fmt: skip
_STEP_NAMES = {"epoch", "epochs", "ep", "epoch_idx", "epoch_i", "epoch_num", "current_epoch", "epoch_number"}
# Conditions under which a script logs: the metrics are there without them.
_LOGS = re.compile(
    r"wandb|mlflow|tensorboard|neptune|comet|clearml|writer|logger|verbose|quiet|silent|%|(?:^|[^a-z])(?:log|print)",
    re.IGNORECASE,
)
# Expressions whose values are text, true or false, several values, or pictures.
_NO_NUMBERS = (ast.JoinedStr, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Starred, ast.Compare, ast.BoolOp, ast.Lambda,
               ast.ListComp, ast.GeneratorExp, ast.Await, ast.Yield, ast.NamedExpr)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Statement that prints or logs metrics.

    Attributes:
        statement: it, or the condition on which it logs; what reports them is put in after it.
        metrics: the metrics by name, each with the expression that has its value.
        step: the expression of the step; empty: there is none.
        batches: it stands in a loop over batches.
        repeated: it stands in a loop.
        again: an expression calls something, so that the report computes it a second time.
    """

    statement: ast.stmt
    metrics: dict[str, str]
    step: str
    batches: bool
    repeated: bool
    again: bool = False


def sites_of(script: Script) -> list[Site]:
    """Return the places at which metrics are told; those of one block beside each other are one."""
    blocks: dict[int, list[tuple[ast.stmt, dict[str, ast.expr], str]]] = {}
    for node in ast.walk(script.tree):
        if not isinstance(node, ast.Call):
            continue
        metrics, step = told_by(node, script)
        metrics = {name: value for name, value in metrics.items() if _is_metric(name, value, script)}
        if metrics:
            statement = script.statement(node)
            if isinstance(statement, ast.Expr):
                blocks.setdefault(id(script.parents[statement]), []).append((statement, metrics, step))
    found = []
    for told in blocks.values():
        told.sort(key=lambda one: script.start(one[0]))
        statement = told[-1][0]
        together: dict[str, ast.expr] = {}
        for _, metrics, _ in told:
            together |= {name: value for name, value in metrics.items() if name not in together}
        # What may be text would end the trial: a report takes numbers alone.
        sure = {name: value for name, value in together.items() if _is_number(name, value, script)}
        together = sure or {name: value for name, value in together.items() if not _calls(value)}
        if not together:
            continue
        step = next((step for _, _, step in told if step), "")
        found.append(_site(script, statement, together, step))
    return found


def assigned_sites(script: Script) -> list[Site]:
    """Return the values that a loop over epochs computes under the names of metrics: `acc1 = validate(...)`."""
    found = []
    for loop in ast.walk(script.tree):
        if not isinstance(loop, ast.For) or _step_variable(loop, script) not in _STEP_NAMES:
            continue
        told: dict[str, ast.expr] = {}
        last: ast.stmt | None = None
        for statement in loop.body:
            if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
                continue
            targets = [one for target in statement.targets for one in ast.walk(target) if isinstance(one, ast.Name)]
            names = {one.id: one for one in targets if direction_of(one.id) and not one.id.startswith("best")}
            if names:
                told |= names
                last = statement
        if last is not None:
            found.append(_site(script, last, told, ""))
    return found


def _site(script: Script, statement: ast.stmt, metrics: dict[str, ast.expr], step: str) -> Site:
    batches = repeated = False
    variable = ""
    for node in script.above(statement):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            variable = variable or next((name for name in given if name in _STEP_NAMES), "")
            repeated = repeated or bool(variable) or _called_in_loop(script, node.name)
            break
        if isinstance(node, ast.While):
            repeated = True
        if isinstance(node, (ast.For, ast.AsyncFor)):
            repeated = True
            if not variable and (counted := _step_variable(node, script)):
                variable = counted
                batches = batches or _is_inner(node, script)
            elif not variable:
                batches = True
    again = any(map(_calls, metrics.values()))
    if not (again or batches):
        statement = _unconditional(script, statement, metrics)
    sources = {name: ast.unparse(value) for name, value in metrics.items()}
    return Site(statement, sources, variable or step, batches, repeated, again)


def _unconditional(script: Script, statement: ast.stmt, metrics: dict[str, ast.expr]) -> ast.stmt:
    """Return the outermost `if wandb:`, `if epoch % 10 == 0:` around a statement; the statement if it is in none.

    Where the condition does not hold nothing is logged, and the metrics are known all the same. One that computes them
    stays around what reports them.
    """
    used = {part.id for value in metrics.values() for part in ast.walk(value) if isinstance(part, ast.Name)}
    while isinstance(guard := script.parents[statement], ast.If) and _LOGS.search(ast.unparse(guard.test)):
        if any(
            isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store) and one.id in used for one in ast.walk(guard)
        ):
            break
        statement = guard
    return statement


def _is_inner(loop: ast.For | ast.AsyncFor, script: Script) -> bool:
    """Return True for a loop whose variable counts batches: within one that counts epochs."""
    named = _step_variable(loop, script) in _STEP_NAMES
    outer = [
        one for one in script.above(loop) if isinstance(one, ast.For) and _step_variable(one, script) in _STEP_NAMES
    ]
    return bool(outer) and not named


def _step_variable(loop: ast.For | ast.AsyncFor, script: Script) -> str:
    """Return the variable that counts the steps of a loop; empty if it counts none."""
    counting = script.source(loop.iter)
    target = loop.target
    if isinstance(target, ast.Tuple) and "enumerate(" in counting and isinstance(target.elts[0], ast.Name):
        target = target.elts[0]
        return target.id if target.id in _STEP_NAMES else ""
    if not isinstance(target, ast.Name):
        return ""
    return target.id if target.id in _STEP_NAMES or "range(" in counting else ""


def _called_in_loop(script: Script, function: str) -> bool:
    return any(function in user.called_in_loops for user in (script, *script.users))


def _is_metric(name: str, value: ast.expr, script: Script) -> bool:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if (
        not plain
        or plain in NO_METRICS
        or plain.rpartition("_")[2] in ("time", "lr", "seconds", "epoch", "epochs", "s")
    ):
        return False
    if isinstance(value, _NO_NUMBERS) or "wandb." in ast.unparse(value):
        return False  # text, or a picture
    literal = script.literal(value)
    return literal is MISSING and not (isinstance(value, ast.Constant))


def _is_number(name: str, value: ast.expr, script: Script) -> bool:
    """Return True if a value is a number by its name, or by the way in which it is written."""
    holder = script.parents.get(value)
    if isinstance(holder, ast.FormattedValue):
        return bool(direction_of(name)) or holder.format_spec is not None
    printed = isinstance(holder, ast.Call) and call_name(holder) in ("print", "tqdm.write", "click.echo")
    return bool(direction_of(name)) or not printed


def _calls(value: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) and not is_cheap(part) for part in ast.walk(value))
