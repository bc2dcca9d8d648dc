"""Metrics that a script prints or logs, where it does so, and how its steps are called."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpo.curves.metric_names import direction_by_name, is_loss, preference
from hpo.scaffold.draft import MISSING, MetricEntry
from hpo.scaffold.python_source import Script, assignments, call_name, keyword

# Of what is printed, these are no metrics.
_NO_METRICS = {
    *("epoch", "epochs", "step", "steps", "global_step", "iter", "iteration", "batch", "batch_idx", "i", "lr", "bs"),
    *("learning_rate", "time", "elapsed", "seconds", "secs", "sec", "minutes", "duration", "eta", "device", "seed"),
    *("total", "num", "n", "count", "size", "samples", "path", "name", "file", "shape", "args", "config", "params"),
    *("parameters", "fold", "speed", "memory", "best_epoch", "version", "gpu", "train_size", "test_size", "percent"),
    *("batch_size", "weight_decay", "momentum", "progress", "model", "optimizer", "trial", "number", "run", "started"),
}  # fmt: skip
_STEP_NAMES = {"epoch", "epochs", "ep", "epoch_idx", "epoch_i", "epoch_num", "current_epoch", "epoch_number"}
_STEP_KEYS = ("epoch", "step", "global_step", "iteration", "trainer/global_step")
_LOGGING = {"info", "debug", "warning", "critical", "error", "log"}
_METHODS = {"log_metrics", "log_dict", "log_metric", "add_scalar", "add_scalars", "track", "scalar", "write"}
_NAME = re.compile(r"[A-Za-z][\w@./ -]*$")
_PERCENT = re.compile(r"%\(?\w*\)?[-+ #0]*\d*(?:\.\d+)?[diouxXeEfFgGcrs]")
_BRACES = re.compile(r"\{[^{}]*\}")
# Expressions whose values are text, true or false, several values, or pictures.
_NO_NUMBERS = (ast.JoinedStr, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Starred, ast.Compare, ast.BoolOp, ast.Lambda,
               ast.ListComp, ast.GeneratorExp, ast.Await, ast.Yield, ast.NamedExpr)  # fmt: skip
_COSTS = {"loss", "error", "err", "mse", "mae", "rmse", "nll", "perplexity", "ppl", "cost", "fid", "wer", "cer"}
_GAINS = {
    *("acc", "accuracy", "auc", "auroc", "f1", "map", "iou", "dice", "jaccard", "recall", "precision", "score", "r2"),
    *("psnr", "ssim", "bleu", "rouge", "reward", "return", "top1", "top5", "correct"),
}
# What is called for a value that is known.
_CHEAP = {
    *("item", "mean", "sum", "float", "int", "round", "len", "sqrt", "exp", "log", "cpu", "detach", "compute", "max"),
    *("min", "numpy", "avg", "abs"),
}
# Keras calls its metrics as their functions and classes are called in snake case.
_KERAS = {"acc": "accuracy", "auc": "auc", "mse": "mse", "mae": "mae"}


@dataclass(frozen=True)
class Site:
    """Statement that prints or logs metrics.

    Attributes:
        statement: it; what reports them is put in after it.
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


@dataclass(frozen=True)
class Found:
    """Way in which a script tells its metrics.

    Attributes:
        kind: reports (to hpo already, or as JSON lines), lightning, keras, prints, or empty: none was found.
        names: the metrics, in the script's order.
        site: where they are printed; None for the other kinds.
        node: the LightningModule, or the call of Keras's fit.
    """

    kind: str = ""
    names: tuple[str, ...] = ()
    site: Site | None = None
    node: ast.AST | None = None

    @property
    def repeated(self) -> bool:
        """True if metrics are known at each step, so that trials can be pruned."""
        return self.site is None or self.site.repeated


def read_metrics(script: Script) -> Found:
    """Return how a script tells its metrics."""
    if ready := _ready(script):
        return Found("reports", ready)
    for node in ast.walk(script.tree):
        if isinstance(node, ast.ClassDef) and any(call_name(base).endswith("LightningModule") for base in node.bases):
            return Found("lightning", _of_validation(_logged_by(node, script)), node=node)
    if (fit := _keras_fit(script)) is not None:
        return Found("keras", _keras_names(script, fit), node=fit)
    sites = _sites(script)
    if not any(direction_of(name) for site in sites for name in site.metrics):
        sites = _assigned(script) or sites  # a value that is kept, and shown elsewhere or not at all
    if not sites:
        return Found()
    best = min(sites, key=lambda site: (site.batches, _rank(site), -script.start(site.statement)))
    return Found("prints", tuple(best.metrics), best)


def choose_metric(names: Sequence[str]) -> MetricEntry:
    """Return the metric to optimise: one of validation, and one that says most by its name."""

    def rank(name: str) -> tuple[bool, bool, bool, int, bool]:
        words = _words(name)
        trained = bool(words & {"train", "training", "trn"})
        of_validation = bool(words & {"val", "valid", "validation", "dev", "test", "eval", "best"})
        return (
            trained,
            not of_validation,
            not direction_of(name),
            preference("_".join(sorted_words(name))),
            is_loss(name),
        )

    if not names:
        return MetricEntry("val_loss", "minimize")
    name = min(names, key=rank)
    direction = direction_of(name)
    if not direction:
        return MetricEntry(name, "maximize", "is more better? The name does not say")
    return MetricEntry(name, direction)


def direction_of(name: str) -> str:
    """Return the better direction of a metric by its name, however it is spelled; empty if it does not say."""
    plain = "_".join(sorted_words(name))
    words = {word.rstrip("0123456789") for word in plain.split("_")} | set(plain.split("_"))
    if found := direction_by_name(plain):
        return found
    if words & _COSTS:
        return "minimize"
    if words & _GAINS:
        return "maximize"
    return ""


def sorted_words(name: str) -> list[str]:
    """Return the words of a name, that of the split first: `Accuracy (val)` and `val/accuracy` are `val_accuracy`."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word]
    splits = {"valid": "val", "validation": "val", "dev": "val", "training": "train"}
    words = [splits.get(word, word) for word in words]
    return sorted(words, key=lambda word: word not in ("train", "val"))


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))


def _rank(site: Site) -> tuple[bool, bool, bool]:
    entry = choose_metric(list(site.metrics))
    words = _words(entry.name)
    return (
        bool(words & {"train", "training"}),
        not direction_of(entry.name),
        not (words & {"val", "valid", "validation", "test", "dev", "eval"}),
    )


# --- scripts that report already


def _ready(script: Script) -> tuple[str, ...]:
    """Return the metrics that a script reports to hpo, or prints as JSON lines."""
    modules = script.bound_modules()
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
            names += [key for key in keys if key.lower() not in _NO_METRICS]
    return tuple(dict.fromkeys(names))


def _keys(node: ast.expr, script: Script) -> list[str]:
    return list(_dict_entries(node, script))


def _dict_entries(node: ast.expr, script: Script) -> dict[str, ast.expr]:
    """Return the entries of a dict by literal keys: of a display, of dict(...), or of the variable that holds one."""
    if isinstance(node, ast.Dict):
        return {
            key.value: value
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
    if isinstance(node, ast.Call) and call_name(node) == "dict":
        return {one.arg: one.value for one in node.keywords if one.arg}
    if isinstance(node, ast.Name):
        scope = next((one for one in script.above(node) if isinstance(one, ast.FunctionDef)), script.tree)
        for inner in ast.walk(scope):
            for name, value, _ in assignments([inner]) if isinstance(inner, ast.stmt) else ():
                if name == node.id and isinstance(value, (ast.Dict, ast.Call)):
                    held = _dict_entries(value, script)
                    return {key: ast.parse(f"{name}[{key!r}]", mode="eval").body for key in held}
    return {}


# --- Lightning and Keras


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
        module.partition(".")[0] in ("keras", "tensorflow", "tf_keras") for module in script.bound_modules().values()
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


# --- what is printed or logged


def _sites(script: Script) -> list[Site]:
    """Return the places at which metrics are told; those of one block beside each other are one."""
    blocks: dict[int, list[tuple[ast.stmt, dict[str, ast.expr], str]]] = {}
    for node in ast.walk(script.tree):
        if not isinstance(node, ast.Call):
            continue
        metrics, step = _told_by(node, script)
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


def _calls(value: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) and not _is_cheap(part) for part in ast.walk(value))


def _assigned(script: Script) -> list[Site]:
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
    sources = {name: ast.unparse(value) for name, value in metrics.items()}
    return Site(statement, sources, variable or step, batches, repeated, again)


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
    for node in ast.walk(script.tree):
        if isinstance(node, ast.Call) and call_name(node) == function:
            for one in script.above(node):
                if isinstance(one, (ast.For, ast.While)):
                    return True
    return False


def _is_cheap(call: ast.Call) -> bool:
    name = call_name(call).rpartition(".")[2]
    return name in _CHEAP


def _is_metric(name: str, value: ast.expr, script: Script) -> bool:
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if (
        not plain
        or plain in _NO_METRICS
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


def _told_by(call: ast.Call, script: Script) -> tuple[dict[str, ast.expr], str]:
    """Return the metrics that a call prints or logs, and its step."""
    called = call_name(call)
    method = called.rpartition(".")[2]
    if called == "print":
        return _printed(call.args, script), ""
    step = next((ast.unparse(value) for name in ("step", "global_step") if (value := keyword(call, name))), "")
    if method in ("log", "log_metrics", "log_dict") and call.args and (entries := _dict_entries(call.args[0], script)):
        step = step or next((ast.unparse(entries[key]) for key in _STEP_KEYS if key in entries), "")
        step = step or (ast.unparse(call.args[1]) if len(call.args) > 1 else "")
        return {key: value for key, value in entries.items() if key not in _STEP_KEYS}, step
    first = script.literal(call.args[0]) if call.args else MISSING
    if method in _METHODS and isinstance(first, str) and len(call.args) > 1:
        step = step or (ast.unparse(call.args[2]) if len(call.args) > 2 else "")
        return {first: call.args[1]}, step
    if method in _LOGGING and "." in called and call.args:
        arguments = call.args[1:] if method == "log" else call.args
        return _printed(arguments, script), ""
    if called in ("tqdm.write", "click.echo"):
        return _printed(call.args, script), ""
    return {}, ""


def _printed(arguments: Sequence[ast.expr], script: Script) -> dict[str, ast.expr]:
    """Return the values that are printed, by the words before them, else by their own names."""
    pieces: list[str | ast.expr] = []
    if not arguments:
        return {}
    first = arguments[0]
    text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    if isinstance(first, ast.BinOp) and isinstance(first.op, ast.Mod) and isinstance(first.left, ast.Constant):
        values = list(first.right.elts) if isinstance(first.right, ast.Tuple) else [first.right]
        pieces += _interleaved(str(first.left.value), _PERCENT, values)
        arguments = arguments[1:]
    elif text and len(arguments) > 1 and _PERCENT.search(text):  # logging's own way
        pieces += _interleaved(text, _PERCENT, list(arguments[1:]))
        arguments = ()
    for argument in arguments:
        if isinstance(argument, ast.JoinedStr):
            for part in argument.values:
                if isinstance(part, ast.FormattedValue):
                    pieces.append(part.value)
                elif isinstance(part, ast.Constant):
                    pieces.append(str(part.value))
        elif (
            isinstance(argument, ast.Call)
            and isinstance(argument.func, ast.Attribute)
            and argument.func.attr == "format"
            and isinstance(literal := script.literal(argument.func.value), str)
        ):
            named = {one.arg: one.value for one in argument.keywords if one.arg}
            values = [*argument.args, *named.values()]
            pieces += _interleaved(literal, _BRACES, values)
        elif isinstance(argument, ast.Constant):
            pieces.append(f"{argument.value!s} ")
        else:
            pieces += [argument, " "]
    return dict(_labelled(pieces))


def _interleaved(text: str, pattern: re.Pattern[str], values: Sequence[ast.expr]) -> list[str | ast.expr]:
    texts = pattern.split(text)
    found: list[str | ast.expr] = []
    for index, part in enumerate(texts):
        found.append(part)
        if index < len(values) and index < len(texts) - 1:
            found.append(values[index])
    return found


def _labelled(pieces: Sequence[str | ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    before = label = ""
    for piece in pieces:
        if isinstance(piece, str):
            before += piece
            continue
        fraction = before.rstrip().endswith("/")  # of `12/60000` the second is a total
        if not fraction:
            # Of `Accuracy: 12/20 (60%)` the share in brackets has the name, too.
            label = _label(before) or (label if before.strip() == "(" else "")
            if name := label or _own_name(piece):
                yield name, piece
        before = ""


def _label(before: str) -> str:
    """Return the name that a text gives to the value behind it: `| Val Acc: ` is `val_acc`."""
    parts = [part.strip() for part in re.split(r"[|,;()\[\]\n\t:=>]|\s-+\s", before) if part.strip()]
    if not parts:
        return ""
    words = re.sub(r"^[^A-Za-z]+|[^A-Za-z0-9@]+$", "", parts[-1])
    if not _NAME.match(words) or len(words.split()) > 4:
        return ""
    return re.sub(r"[^A-Za-z0-9@]+", "_", words).strip("_").lower()


def _own_name(node: ast.expr) -> str:
    """Return the name of a value that is a variable: `val_loss`, `self.val_loss`, `metrics["val_loss"]`."""
    here = node
    while isinstance(here, ast.Call):
        if isinstance(here.func, ast.Attribute) and _is_cheap(here):
            here = here.func.value
        else:
            return call_name(here).rpartition(".")[2]
    if isinstance(here, ast.Subscript) and isinstance(here.slice, ast.Constant) and isinstance(here.slice.value, str):
        return here.slice.value
    return call_name(here).rpartition(".")[2] if isinstance(here, (ast.Name, ast.Attribute)) else ""
