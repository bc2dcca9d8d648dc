"""Checks of the histories of trials: torn and garbled files, and steps that Optuna has and the file lacks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from optuna.trial import FrozenTrial

from hpo import layout
from hpo.analysis.formatting import numbers
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import Finding, Sure
from hpo.machine.files import MOST_BYTES, NotPlainError, open_plain, read_plain, write_atomically
from hpo.storage import history
from hpo.storage.histories import mark_in_storage
from hpo.storage.history import Step
from hpo.storage.lost_and_found import keep_damaged, set_aside
from hpo.storage.trial_attributes import JOB, OUTCOME, requeued
from hpo.text import count, listing


def garbled(context: StudyContext) -> Iterator[Finding]:
    """Find lines that are no rows. Of a trial that runs, the last one may be being written."""
    for trial in context.trials:
        if context.driver is None or trial.state.is_finished():
            yield from _garbled(context, context.folder(trial.number) / layout.HISTORY, trial.number)
    if context.driver is None:  # who may be writing one
        for path in sorted(layout.segments_directory(context.directory).glob("*.jsonl")):
            yield from _garbled(context, path, None)


def _garbled(context: StudyContext, path: Path, trial: int | None) -> Iterator[Finding]:
    lines = _content(path).splitlines(keepends=True)
    bad = [number for number, line in enumerate(lines, start=1) if not _is_row(line)]
    torn = bool(lines) and not lines[-1].endswith(b"\n")
    if bad == [len(lines)] and torn:
        check, said = "history-torn", "the last row is torn, as by a kill or a power cut"
    elif bad:
        check, said = "history-garbled", f"{_lines(bad)} of {len(lines)} no rows"
    elif torn:
        check, said = "history-torn", "the last row lacks its line end"
    else:
        return
    yield Finding(
        check, context.name, trial, f"{path}: {said}", "certain",
        f"keep the whole rows, and a copy of the file as {path.name}.damaged", partial(_keep_rows, path),
    )  # fmt: skip


def foreign(context: StudyContext) -> Iterator[Finding]:
    """Find histories that hold rows of other trials: files that were swapped, or that another study has left."""
    for trial in context.trials:
        others = context.histories.foreign(trial)
        if not others or (context.driver is not None and not trial.state.is_finished()):
            continue
        path = context.histories.path(trial)
        known = {mark_in_storage(one): one.number for one in context.trials}
        whose = listing(sorted({f"trial {known[one]}" if one in known else "another study" for one in others}))
        said = f"{path} holds rows of {whose}; they are not shown as those of trial {trial.number}"
        if context.histories.rows(trial):
            remedy, fix = (
                f"keep its own rows, and a copy of the file as {path.name}.damaged",
                partial(_own, context, trial),
            )
        else:
            below = f"trials/{trial.number}"
            remedy = f"move the trial's folder to {layout.LOST_AND_FOUND}/{below}"
            fix = partial(_move, context, path.parent, below)
        yield Finding("history-foreign", context.name, trial.number, said, "certain", remedy, fix)


def differing_values(context: StudyContext) -> Iterator[Finding]:
    """Find steps of which Optuna and the history say different values. The rows of a history have checksums."""
    name = context.spec.metrics[0].name
    for trial in context.trials:
        if not trial.state.is_finished() or not trial.intermediate_values:
            continue
        reported: dict[int, list[float]] = {}
        for row in context.histories.rows(trial):
            if name in row.metrics:
                reported.setdefault(row.step, []).append(row.metrics[name])
        wrong = [
            step
            for step, value in sorted(trial.intermediate_values.items())
            if step in reported and not any(math.isclose(value, own, rel_tol=1e-12) for own in reported[step])
        ]
        if wrong:
            first = wrong[0]
            yield Finding(
                "history-differs", context.name, trial.number,
                f"trial {trial.number}: {name} at step {first} is {trial.intermediate_values[first]!r} in Optuna and "
                f"{reported[first][-1]!r} in {context.histories.path(trial)}" + (
                    f" (and {count(len(wrong) - 1, 'further step')} differ)" if len(wrong) > 1 else ""),
                "certain", "the history is shown; bring the storage back from a backup, since the pruner takes its "
                "values from there",
            )  # fmt: skip


def missing_steps(context: StudyContext) -> Iterator[Finding]:
    """Find finished trials whose history lacks steps.

    A row is written before Optuna hears of the step, so a file that has fewer was lost or cut. Several metrics leave no
    steps in Optuna: then only a whole file can be missed.
    """
    for trial in context.trials:
        if not trial.state.is_finished() or JOB not in trial.user_attrs or OUTCOME not in trial.user_attrs:
            continue
        path = context.histories.path(trial)
        there = _is_plain(path)
        # An attempt may have been lost between its start and its file's.
        if not there and not trial.intermediate_values and requeued(trial.user_attrs):
            continue
        missing = history.lacking(
            context.histories.rows(trial), trial.intermediate_values, context.spec.metrics[0].name
        )
        if missing or not there:
            yield _restoration(context, trial, path, missing)


def _restoration(context: StudyContext, trial: FrozenTrial, path: Path, missing: set[int]) -> Finding:
    what = f"lacks {count(len(missing), 'step')} that Optuna has"
    if not _is_plain(path):
        what = "is gone" if not os.path.lexists(path) else "is no file of a history"
    name = context.spec.metrics[0].name
    fix: Callable[[], None] | None = partial(_restore, context, trial, name)
    sure: Sure = "certain"
    if missing:
        steps = count(len(missing), "step")
        remedy = f"write what Optuna has of {steps}: {name} alone, the times spread evenly over the trial"
    elif len(context.spec.metrics) == 1:
        sure, remedy = "likely", "make an empty one: Optuna has not heard of a step either"
    else:
        remedy = "bring it back from a backup: Optuna does not have its steps (the final values are whole)"
        fix = None
    return Finding("history-missing", context.name, trial.number, f"{path} {what}", sure, remedy, fix)


def _restore(context: StudyContext, trial: FrozenTrial, name: str) -> None:
    """Write the steps that Optuna has; the values of whole rows that are there stay.

    They go into a file of the trial's own, which counts before its segment.
    """
    path = context.folder(trial.number) / layout.HISTORY
    steps = history.merge([*_from_optuna(trial, name), *context.histories.rows(trial)])
    if _is_plain(path):
        keep_damaged(path)
    elif os.path.lexists(path):
        set_aside(context.directory, path, f"trials/{trial.number}/{path.name}")
    history.write(path, steps)


def _from_optuna(trial: FrozenTrial, name: str) -> Iterator[Step]:
    job = trial.user_attrs[JOB]
    started, finished = job["started"], trial.user_attrs[OUTCOME]["finished"]
    values = sorted(trial.intermediate_values.items())
    for place, (number, value) in enumerate(values, start=1):
        time = started + (finished - started) * place / len(values)
        yield Step(number, time, job["attempt"], {name: value}, mark_in_storage(trial))


def _own(context: StudyContext, trial: FrozenTrial) -> None:
    path, steps = context.histories.path(trial), context.histories.rows(trial)
    keep_damaged(path)
    history.write(path, steps)


def _move(context: StudyContext, folder: Path, below: str) -> None:
    set_aside(context.directory, folder, below)


def _keep_rows(path: Path) -> None:
    """Leave every whole row, of a step reported in pieces all."""
    rows = [line for line in _content(path).splitlines() if _is_row(line)]
    keep_damaged(path)
    write_atomically(path, b"".join(row + b"\n" for row in rows))


def _content(path: Path) -> bytes:
    """Return the content of a history; none of what is no file of one."""
    try:
        return read_plain(path)
    except (FileNotFoundError, NotADirectoryError, NotPlainError):
        return b""


def _is_plain(path: Path) -> bool:
    try:
        open_plain(path, MOST_BYTES).close()
    except (FileNotFoundError, NotADirectoryError, NotPlainError):
        return False
    return True


def _is_row(line: bytes) -> bool:
    """Return True for a line that `history.rows` takes."""
    return history.row_of(line.decode(errors="replace")) is not None


def _lines(bad: Sequence[int]) -> str:
    return f"line {bad[0]} is" if len(bad) == 1 else f"lines {numbers(bad)} are"


CHECKS: tuple[Check, ...] = (garbled, foreign, missing_steps, differing_values)
