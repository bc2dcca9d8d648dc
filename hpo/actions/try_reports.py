"""Checks of what a short training reported and returned: steps, names of metrics, their values."""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpo.actions.try_finding import Finding, error, ok, warning
from hpo.actions.try_trial import Tried
from hpo.analysis.formatting import number
from hpo.analysis.notices import RETURNED_OUTSIDE, STEP_BACK, STEP_CONSTANT, without_trial
from hpo.curves.metric_names import is_loss, without_split
from hpo.errors import ObjectiveError
from hpo.objective.locate import file_of
from hpo.red_flags.monitor import unreported_names
from hpo.spec.epochs import NAMES
from hpo.spec.models import StudySpec
from hpo.text import count, listing, nearest

# A first step beyond this is no epoch, nor the index of one.
_FIRST = 1


def steps(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look at the steps: are there any, do they grow by one, do they begin at 0 or 1."""
    found = tried.steps
    if not found:
        if tried.end.state == "COMPLETE":
            example = f"trial.report(epoch, {spec.metrics[0].name}=value)"
            if spec.objective is None:
                example = f'print(json.dumps({{"epoch": epoch, "{spec.metrics[0].name}": value}}))'
            yield warning(
                "steps",
                "it reported nothing while it trained: no curves, nothing can be pruned, and no red flag is raised",
                f"after each epoch: {example}",
            )
        return
    for kind in (STEP_CONSTANT, STEP_BACK):
        if kind in tried.notices:
            yield error("steps", without_trial(kind, tried.notices[kind]))
            return
    if found[0] > _FIRST:
        yield warning(
            "steps",
            f"the first step is {found[0]}, and pruners and red flags take steps for epochs",
            "count epochs from 0 or 1; batches or samples are no steps",
        )
        return
    twice = Counter((step, name) for _, step, metrics in tried.reports for name in metrics)
    if again := [(step, name, times) for (step, name), times in twice.items() if times > 1]:
        step, name, times = again[0]
        yield warning(
            "steps",
            f"step {step} was reported {times} times with {name}, and counts once",
            "give report() the number of the epoch, once an epoch",
        )
        return
    yield ok("steps", f"reported {listing(found, 6)}")


def names(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look for the metrics that the study and its red flags name."""
    reported = tried.series()
    if not reported:
        return
    fine = True
    needed = [metric.name for metric in spec.metrics]
    completed = tried.end.metrics if tried.end.state == "COMPLETE" else {}
    for index, name in enumerate(needed):
        if name in reported:
            continue
        fine = False
        hint = nearest(name, reported).strip()
        said = f"'{name}' is a metric of the study and was not reported, but {listing(reported, 8)}"
        if index == 0 and spec.pruner.name != "none":
            does = f"the pruner {spec.pruner.name} goes by it and cannot stop any trial"
            yield error("metrics", f"{said}: {does}", hint or f"report '{name}', or change `metrics` in study.yaml")
        elif name not in completed:
            yield warning("metrics", said, hint or f"report '{name}' too, for its curve")
    known = [*(parameter.name for parameter in spec.space.walk()), *map(str, tried.job.constants)]
    for text in unreported_names(spec.red_flags, reported, known):
        fine = False
        yield warning("red flags", text.rstrip("."), "a rule over a name that never comes is never raised")
    if fine:
        others = [name for name in reported if name not in needed]
        more = f" and {count(len(others), 'other')}" if others else ""
        yield ok("metrics", f"reported {listing(needed)}{more}")


def values(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look at the values: are they finite, and does anything change."""
    reported = tried.series()
    if not reported:
        return
    needed = [metric.name for metric in spec.metrics]
    bad = {name: one for name, one in reported.items() if not all(map(math.isfinite, one))}
    fine = not bad
    for name, one in bad.items():
        first = next(value for value in one if not math.isfinite(value))
        said = f"{name} is {first} in the first {count(len(one), 'epoch')}"
        if name in needed:
            yield error("values", said, "a trial must end with finite metrics; look at learning rate and data")
        elif is_loss(name):
            yield warning("values", said, "look at learning rate and data")
    changing = {_split(name) for name, one in reported.items() if len(set(one)) > 1}
    still = [
        name
        for name, one in reported.items()
        if len(one) > 1 and name not in bad and len(set(one)) == 1 and (name in needed or is_loss(name))
    ]
    # A score may stand still as long as an untrained network finds nothing. A loss does not.
    suspect = [name for name in still if is_loss(name) or _split(name) not in changing]
    for name in suspect:
        fine = False
        what = "is it computed from the model of this epoch, and does the optimizer step?"
        yield warning("values", f"{name} did not change: {number(reported[name][0])} in every epoch", what)
    if fine:
        yield ok("values", f"all finite: {_first_and_last(needed, reported)}")


def _split(name: str) -> str:
    """Return the split that a metric's name says: `val_` of val_loss."""
    return name.removesuffix(without_split(name))


def _first_and_last(needed: Sequence[str], reported: dict[str, list[float]]) -> str:
    shown = [name for name in needed if name in reported] or [*reported][:1]
    return ", ".join(f"{name} {', '.join(number(value) for value in reported[name][:4])}" for name in shown)


def returned(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look at what the objective returns, or will return as far as its code says so."""
    names_ = [metric.name for metric in spec.metrics]
    if tried.end.state == "COMPLETE":
        if RETURNED_OUTSIDE in tried.notices:
            yield error("returned", without_trial(RETURNED_OUTSIDE, tried.notices[RETURNED_OUTSIDE]))
        else:
            yield ok("returned", ", ".join(f"{name} {number(tried.end.metrics[name])}" for name in names_))
        return
    if not tried.ended_by_us or spec.objective is None:
        return
    for given in returned_keys(spec):
        if missing := [name for name in names_ if name not in given]:
            yield error(
                "returned",
                f"the objective returns {listing(given) or 'an empty dict'}, and no '{missing[0]}' of `metrics`",
                nearest(missing[0], given).strip() or f"return {{'{missing[0]}': value}}",
            )
            return
    searched = {parameter.name for parameter in spec.space.parameters}
    keys = [f"constants.{name}" for name in NAMES if name in spec.constants]
    keys += [f"search_space.{name}" for name in NAMES if name in searched]
    how = f"; --set {keys[0]}={len(tried.steps)} lets it come there" if keys else ""
    yield ok("returned", f"its end was not seen, for it was stopped{how}")


def returned_keys(spec: StudySpec) -> Iterator[tuple[str, ...]]:
    """Yield the keys of each dict that the objective's function returns literally."""
    try:
        tree = ast.parse(Path(file_of(spec.objective_ref())).read_bytes())
    except (ObjectiveError, OSError, ValueError, SyntaxError):
        return
    function = spec.objective_ref().target.rpartition(":")[2]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            for each in _own_nodes(node):
                if isinstance(each, ast.Return) and isinstance(each.value, ast.Dict):
                    keys = [key.value if isinstance(key, ast.Constant) else None for key in each.value.keys]
                    if all(isinstance(key, str) for key in keys):
                        yield tuple(map(str, keys))


def _own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions in it."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(node))
