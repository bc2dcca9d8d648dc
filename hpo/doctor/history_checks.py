"""What is wrong with the histories of trials: torn and garbled files, and steps that Optuna has and the file lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from optuna.trial import FrozenTrial

from hpo import layout
from hpo.analysis.formatting import count, numbers
from hpo.doctor.context import Case, Check
from hpo.doctor.finding import Finding
from hpo.doctor.mlflow_checks import steps_in_mlflow
from hpo.doctor.quarantine import keep_damaged
from hpo.errors import HpoError
from hpo.machine.files import write_atomically
from hpo.storage import history
from hpo.storage.history import Step
from hpo.storage.trial_attributes import JOB, OUTCOME, requeued


def garbled(case: Case) -> Iterator[Finding]:
    """Lines that are no rows. Of a trial that runs, the last one may be being written."""
    for trial in case.trials:
        path = case.folder(trial.number) / layout.HISTORY
        if not path.is_file() or (case.driver is not None and not trial.state.is_finished()):
            continue
        content = path.read_bytes()
        lines = content.splitlines(keepends=True)
        bad = [number for number, line in enumerate(lines, start=1) if not _is_row(line)]
        torn = bool(lines) and not lines[-1].endswith(b"\n")
        if not bad and not torn:
            continue
        if bad == [len(lines)] and torn:
            check, said = "history-torn", "the last row is torn, as by a kill or a power cut"
        elif bad:
            check, said = "history-garbled", f"{_lines(bad)} of {len(lines)} no rows"
        else:
            check, said = "history-torn", "the last row lacks its line end"
        yield Finding(
            check, case.name, trial.number, f"{path}: {said}", "certain",
            f"keep the whole rows, and a copy of the file as {path.name}.damaged", partial(_keep_rows, path),
        )  # fmt: skip


def missing_steps(case: Case) -> Iterator[Finding]:
    """Finished trials whose history lacks steps. A row is written before Optuna hears of the step, so a file that has
    fewer was lost or cut. (Several metrics leave no steps in Optuna: then only a whole file can be missed.)"""
    tracked = _Tracked(case)
    for trial in case.trials:
        if not trial.state.is_finished() or JOB not in trial.user_attrs or OUTCOME not in trial.user_attrs:
            continue
        path = case.folder(trial.number) / layout.HISTORY
        there = path.is_file()
        # An attempt may have been lost between its start and its file's.
        if not there and not trial.intermediate_values and requeued(trial.user_attrs):
            continue
        missing = set(trial.intermediate_values) - {step.step for step in history.read(path)}
        if missing or not there:
            yield _restoration(case, trial, path, missing, tracked.of(trial.number))


def _restoration(
    case: Case, trial: FrozenTrial, path: Path, missing: set[int], tracked: Sequence[Step] | None
) -> Finding:
    """`tracked`: the steps that MLflow has; None: it cannot be read."""
    what = f"lacks {count(len(missing), 'step')} that Optuna has" if path.is_file() else "is gone"
    name = case.spec.metrics[0].name
    remains = missing - {step.step for step in tracked or ()}
    sources = []
    if tracked:
        sources.append(f"the {count(len(tracked), 'step')} that MLflow has, with all metrics")
    if remains:
        sources.append(
            f"what Optuna has of {count(len(remains), 'step')}: {name} alone, the times spread evenly over the trial"
        )
    found = Finding(
        "history-missing", case.name, trial.number, f"{path} {what}", "certain",
        f"write {' and '.join(sources)}", partial(_restore, trial, path, name, tracked or ()),
    )  # fmt: skip
    if tracked is None:
        remedy = "write what MLflow has of it, with all metrics; MLflow cannot be read now, so look again when it can"
        return replace(found, remedy=remedy, mend=None)
    if sources:
        return found
    if len(case.spec.metrics) == 1:
        remedy = "make an empty one: neither Optuna nor MLflow has heard of a step"
        return replace(found, sure="likely", remedy=remedy)
    remedy = "bring it back from a backup: neither Optuna nor MLflow has its steps (the final values are whole)"
    return replace(found, remedy=remedy, mend=None)


class _Tracked:
    """The histories of a study's trials as MLflow has them."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._away = False

    def of(self, number: int) -> Sequence[Step] | None:
        """Nothing where MLflow has none; None where it cannot be read: then it is not asked again."""
        if not self._away:
            try:
                return steps_in_mlflow(self._case, number) or ()
            except HpoError:
                self._away = True
        return None


def _restore(trial: FrozenTrial, path: Path, name: str, tracked: Sequence[Step]) -> None:
    """Whole rows that are there stay; what MLflow has comes before what Optuna has."""
    steps = dict(_from_optuna(trial, name))
    steps |= {step.step: step for step in tracked}
    steps |= {step.step: step for step in history.read(path)}
    if path.is_file():
        keep_damaged(path)
    history.write(path, [steps[number] for number in sorted(steps)])


def _from_optuna(trial: FrozenTrial, name: str) -> Iterator[tuple[int, Step]]:
    job = trial.user_attrs[JOB]
    started, finished = job["started"], trial.user_attrs[OUTCOME]["finished"]
    values = sorted(trial.intermediate_values.items())
    for place, (number, value) in enumerate(values, start=1):
        time = started + (finished - started) * place / len(values)
        yield number, Step(number, time, job["attempt"], {name: value})


def _keep_rows(path: Path) -> None:
    """Leaves every whole row, of a step reported twice both."""
    rows = [line for line in path.read_bytes().splitlines() if _is_row(line)]
    keep_damaged(path)
    write_atomically(path, b"".join(row + b"\n" for row in rows))


def _is_row(line: bytes) -> bool:
    """As `history.read` takes it."""
    try:
        row = json.loads(line)
        for value in row["metrics"].values():
            float(value)
        return isinstance(row["step"], int) and isinstance(row["time"], (int, float)) and "attempt" in row
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _lines(bad: Sequence[int]) -> str:
    return f"line {bad[0]} is" if len(bad) == 1 else f"lines {numbers(bad)} are"


CHECKS: tuple[Check, ...] = (garbled, missing_steps)
