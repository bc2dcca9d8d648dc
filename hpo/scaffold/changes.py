"""The lines that a script needs so that its metrics reach the study, and its constants come from the trial."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import ScaffoldError
from hpo.scaffold.metric_sites import Site
from hpo.scaffold.python_source import Change, Script, keyword
from hpo.scaffold.read_metrics import Found
from hpo.scaffold.read_trainer import evaluates

_LONGEST = 110


def report_changes(script: Script, found: Found) -> list[Change]:
    """Return the changes that let a script report its metrics; none if it does so already, or has none.

    Args:
        script: the script.
        found: how it tells its metrics.
    """
    if found.kind == "lightning" and isinstance(found.node, ast.ClassDef):
        return _with_import(script, _lightning(script, found.node, found.names))
    if found.kind == "keras" and isinstance(found.node, ast.Call):
        return _with_import(script, _keras(script, found.node))
    if found.kind == "trainer" and isinstance(found.node, ast.Call):
        return _with_import(script, _trainer(script, found.node))
    if found.kind == "prints" and found.site is not None:
        return _with_import(script, _after(script, found.site))
    return []


@dataclass(frozen=True)
class Edit:
    """File that needs lines.

    Attributes:
        script: the file.
        name: its path from the folder of the script that is run.
        text: what it holds with the lines.
    """

    script: Script
    name: str
    text: str

    @property
    def diff(self) -> str:
        """The lines as a unified diff."""
        return self.script.diff(self.text, self.name)


def edit(script: Script, changes: Sequence[Change], run: Path) -> Edit:
    """Return a file with changes made; `run` is the script that imports it, or itself.

    Raises:
        ScaffoldError: the script has a form in which they are no Python; it has to be changed by hand.
    """
    text = script.changed(changes)
    if not _parses(text):
        raise ScaffoldError(f"{script.path} has a form into which the lines do not fit; docs/objectives.md has them")
    return Edit(script, script.path.absolute().relative_to(run.absolute().parent).as_posix(), text)


def import_line(script: Script) -> list[Change]:
    """Return the change that imports hpo; none if the script does."""
    return [] if script.imports_hpo() else [script.insert_lines(script.import_place(), ["import hpo"])]


def _with_import(script: Script, changes: list[Change]) -> list[Change]:
    return [*import_line(script), *changes] if changes else []


def report_line(step: str, metrics: Mapping[str, str]) -> list[str]:
    """Return the lines of the statement that reports metrics, each an expression."""
    if all(name.isidentifier() and name not in ("self", "step") for name in metrics):
        written = [f"{name}={value}" for name, value in metrics.items()]
        line = f"hpo.report({', '.join([step, *written])})"
        return [line] if len(line) <= _LONGEST else ["hpo.report(", *(f"    {one}," for one in (step, *written)), ")"]
    written = [f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in metrics.items()]
    line = f"hpo.report({step}, {{{', '.join(written)}}})"
    return [line] if len(line) <= _LONGEST else [f"hpo.report({step}, {{", *(f"    {one}," for one in written), "})"]


def _after(script: Script, site: Site) -> list[Change]:
    """Return what reports a site's metrics behind the statement that tells them."""
    step = site.step or ("next(hpo_steps)" if site.repeated else "0")
    lines = report_line(step, site.metrics)
    changes = []
    if step == "next(hpo_steps)":
        counter = ["import itertools"] if script.bound_modules.get("itertools") != "itertools" else []
        place = script.import_place()
        after = [] if script.text[place : place + 1] in ("", "\r", "\n") else [""]
        changes.append(script.insert_lines(place, [*counter, "", "hpo_steps = itertools.count(1)", *after]))
    statement = site.statement
    line = script.text[script.start(statement) - statement.col_offset : script.start(statement)]
    rest = script.text[script.end(statement) : script.line_after(statement)].strip()
    if line.strip() or (rest and not rest.startswith("#")):  # other statements stand in its line
        return [*changes, Change(script.end(statement), script.end(statement), "; " + " ".join(map(str.strip, lines)))]
    return [*changes, script.insert_lines(script.line_after(statement), lines, script.indentation(statement))]


def _lightning(script: Script, module: ast.ClassDef, names: Sequence[str]) -> list[Change]:
    """Return a hook of the LightningModule that reports what was logged for validation."""
    of_training = all("train" in name.lower() for name in names)
    hook = "on_train_epoch_end" if of_training else "on_validation_end"
    metrics = {name: f"self.trainer.callback_metrics[{json.dumps(name)}]" for name in names}
    lines = report_line("self.current_epoch", metrics)
    if hook == "on_validation_end":
        lines = ["if not self.trainer.sanity_checking:", *(f"    {line}" for line in lines)]
    body = [one for one in module.body if isinstance(one, ast.FunctionDef)]
    inside = script.indentation(module.body[-1])
    mine = next((one for one in body if one.name == hook), None)
    if mine is not None:
        return [script.insert_lines(script.line_after(mine), lines, script.indentation(mine.body[-1]))]
    step = "\t" if inside.startswith("\t") else "    "
    text = ["", f"def {hook}(self):", *(f"{step}{line.replace('    ', step)}" for line in lines)]
    return [script.insert_lines(script.line_after(module.body[-1]), text, inside)]


def _keras(script: Script, fit: ast.Call) -> list[Change]:
    """Return a callback for `fit` that reports the logs of each epoch."""
    modules = script.bound_modules
    needed: list[Change] = []
    if modules.get("keras") in ("keras", "tensorflow.keras", "tf_keras"):
        place = "keras.callbacks."
    elif tensorflow := next((name for name, module in modules.items() if module == "tensorflow"), ""):
        place = f"{tensorflow}.keras.callbacks."
    else:
        package = "tensorflow.keras" if any(m.startswith("tensorflow.keras") for m in modules.values()) else "keras"
        place = ""
        if "LambdaCallback" not in modules:
            line = f"from {package}.callbacks import LambdaCallback"
            needed = [script.insert_lines(_after_imports_of(script, ("keras", "tensorflow", "tf_keras")), [line])]
    callback = f"{place}LambdaCallback(on_epoch_end=lambda epoch, logs: hpo.report(epoch, logs))"
    return [*needed, *_with_callback(script, fit, callback)]


def _trainer(script: Script, trainer: ast.Call) -> list[Change]:
    """Return a callback for the Trainer that reports what it evaluates."""
    names = {module: name for name, module in script.bound_modules.items()}
    base = names.get("transformers.TrainerCallback") or (
        f"{names['transformers']}.TrainerCallback" if "transformers" in names else ""
    )
    step = "round(state.epoch)" if evaluates(script) == "epoch" else "state.global_step"
    place = max(_after_imports_of(script, ("transformers",)), script.import_place())
    behind = script.text[place:].replace("\r", "")[:2]
    lines = [
        *([] if base else ["from transformers import TrainerCallback"]),
        *("", ""),
        f"class HpoReport({base or 'TrainerCallback'}):",
        "    def on_evaluate(self, args, state, control, metrics, **rest):",
        '        times = ("epoch", "_runtime", "_per_second")',
        f"        hpo.report({step}, {{name: value for name, value in metrics.items() if not name.endswith(times)}})",
        *[""] * (2 - (len(behind) - len(behind.lstrip("\n")))),  # of the two lines, those that are not there
    ]
    return [script.insert_lines(place, lines), *_with_callback(script, trainer, "HpoReport()")]


def _with_callback(script: Script, fit: ast.Call, callback: str) -> list[Change]:
    given = keyword(fit, "callbacks")
    if isinstance(given, ast.List):
        at = script.end(given) - 1
        before = script.text[script.start(given) + 1 : at].strip()
        return [Change(at, at, f"{', ' if before and not before.endswith(',') else ''}{callback}")]
    if given is not None:
        return [Change(script.start(given), script.end(given), f"[*({script.source(given)} or []), {callback}]")]
    argument = f"callbacks=[{callback}]"
    end = script.end(fit) - 1
    written = [*fit.args, *(one.value for one in fit.keywords)]
    if not written:
        return [Change(end, end, argument)]
    last = max(written, key=script.end)
    closing = script.line_start(fit.end_lineno or fit.lineno)
    ways = [Change(script.end(last), script.end(last), f", {argument}"), Change(end, end, f", {argument}")]
    if not script.text[closing:end].strip():  # the bracket stands in a line of its own
        line = f"{script.indentation(last)}{argument},{script.newline}"
        ways = [Change(closing, closing, line), *ways]
    return [next((one for one in ways if _parses(script.changed([one]))), ways[-1])]


def _parses(text: str) -> bool:
    try:
        ast.parse(text.replace("\f", " "))
    except (SyntaxError, ValueError):
        return False
    return True


def _after_imports_of(script: Script, packages: Sequence[str]) -> int:
    """Return where an import can be put in after those of packages: what they need may be set before."""
    found = script.import_place()
    for statement in script.tree.body:
        modules = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
        modules += [statement.module or ""] if isinstance(statement, ast.ImportFrom) else []
        if any(module.partition(".")[0] in packages for module in modules):
            found = max(found, script.line_after(statement))
    return found
