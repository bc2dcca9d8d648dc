"""Trainings that others wrote down: CSV and JSON-lines files, of Keras, of Lightning, of anyone; and of MLflow's runs.

Keras, `CSVLogger` (keras/src/callbacks/csv_logger.py): a row an epoch, `epoch` from 0, the names of training metrics as
they are, those of validation with `val_`; NA where an epoch has no value.
Lightning, `CSVLogger` (lightning/fabric/loggers/csv_logs.py): `metrics.csv` with `epoch`, `step` and a column a metric,
in which a row has only what was logged at its step; a metric logged of both has the columns `X_step` and `X_epoch`.
hpo: `history.jsonl` (see `hpo.storage.history`), with the arrays beside it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpo import layout
from hpo.analysis.formatting import count
from hpo.analysis.training.training_log import TrainingLog, read_arrays
from hpo.errors import LogError
from hpo.storage import history
from hpo.storage.history import Step
from hpo.text import listing, nearest

# What writers put where there is no value.
_NOTHING = {"", "na", "n/a", "none", "null", "-"}
_EPOCH = ("epoch", "epochs", "ep")
_RATES = ("lr", "learning_rate")
_SPLITS = {
    "train": "train_", "training": "train_", "tr": "train_",
    "val": "val_", "valid": "val_", "validation": "val_", "dev": "val_", "eval": "val_",
}  # fmt: skip


@dataclass(frozen=True)
class ReadLog:
    """`recognised`: what it was taken for, a sentence in English; `remarks`: what was left out or changed."""

    log: TrainingLog
    recognised: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """place: where it stands, such as `line 12`. cells: column -> text or number as it was written."""

    place: str
    cells: Mapping[str, Any]


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> ReadLog:
    """`columns`: name (`epoch`, `train_loss`, ...) -> the column of the file that has it; then only those are read.

    Raises LogError, which says where and what was expected."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise LogError(f"{path} is no text file in UTF-8; expected a CSV or JSON-lines file") from error
    if not text.strip():
        raise LogError(f"{path} is empty; expected a CSV file with a header, or JSON lines")
    if text.lstrip()[0] in "{[":
        rows = _json_rows(path, text)
        if not columns and all({"step", "metrics"} <= row.cells.keys() for row in rows):
            return _own(path)
    else:
        rows = _csv_rows(path, text)
    if not rows:
        raise LogError(f"{path} has a header and no row; expected one a training epoch")
    return read_table(rows, str(path), _short(path), columns)


def _short(path: Path) -> str:
    """The file and its folder: many logs have one name."""
    return "/".join(path.absolute().parts[-2:])


def _own(path: Path) -> ReadLog:
    """history.jsonl, as hpo reads it."""
    steps = tuple(history.read(path))
    if not steps:
        raise LogError(f'{path} has no whole line of a history; expected {{"step": 1, "metrics": {{...}}, ...}}')
    log = TrainingLog(
        name=_short(path),
        history=steps,
        steps=read_arrays(path.parent / layout.STEPS, "epoch"),
        epochs=read_arrays(path.parent / layout.EPOCHS, "epoch"),
    )
    return ReadLog(log, "a history of hpo")


def _csv_rows(path: Path, text: str) -> list[Row]:
    header = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise LogError(f"{path}, line {reader.line_num}: {error}; expected a CSV file with a header") from error
    if not lines:
        raise LogError(f"{path} has no header; expected such as epoch,train_loss,val_loss")
    names = [name.strip() for name in lines[0][1]]
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise LogError(f"{path} has the column '{min(twice)}' twice; expected each once")
    rows = []
    for number, cells in lines[1:]:
        stripped = [cell.strip() for cell in cells]
        if stripped == names:
            continue  # the header again, where a file was appended to
        if len(cells) > len(names):
            raise LogError(f"{path}, line {number}: {len(cells)} cells, where the header has {len(names)} columns")
        rows.append(Row(f"line {number}", dict(zip(names, stripped, strict=False))))
    return rows


def _json_rows(path: Path, text: str) -> list[Row]:
    if text.lstrip().startswith("["):
        try:
            items = [(f"item {k}", item) for k, item in enumerate(json.loads(text), start=1)]
        except ValueError as error:
            raise LogError(f"{path} is no JSON: {error}") from error
    else:
        items = []
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        for number, line in lines:
            try:
                items.append((f"line {number}", json.loads(line)))
            except ValueError as error:
                if number == lines[-1][0] and items:
                    break  # torn: its writer was stopped, or still writes
                raise LogError(f"{path}, line {number} is no JSON: {error}; expected an object a line") from error
    for place, item in items:
        if not isinstance(item, dict):
            raise LogError(f'{path}, {place} is no object; expected such as {{"epoch": 1, "train_loss": 0.5}}')
    return [Row(place, item if {"step", "metrics"} <= item.keys() else _flat(item)) for place, item in items]


def _flat(item: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"val": {"loss": 1}}` as `val/loss`."""
    found: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = value
    return found


# --- a table as a training


def read_table(rows: Sequence[Row], source: str, name: str, columns: Mapping[str, str] | None = None) -> ReadLog:
    """`source` is what errors call it."""
    there = list(dict.fromkeys(column for row in rows for column in row.cells if column))
    for target, column in (columns or {}).items():
        if column not in there:
            raise LogError(
                f"{source} has no column '{column}', which --columns gives as {target}.{nearest(column, there)} "
                f"It has {listing(there)}."
            )
    wanted = set((columns or {}).values())
    read = [column for column in there if column in wanted] if columns else there
    numbers, left_out = _numbers(rows, read, source, wanted)
    if columns:
        names, kind = {column: target for target, column in columns.items()}, "a table, with its columns as given"
    else:
        names, kind = _recognised(there, numbers, source)
    table = {names[column]: values for column, values in numbers.items() if column in names}
    if not any(metric not in ("epoch", "step") for metric in table):
        raise LogError(f"{source} has no column with a metric; {_how(there)}")
    remarks = [f"left out, as not all of it is numbers: {listing(left_out)}"] if left_out else []
    if "step" in table and "epoch" in table:
        log, more = _by_steps(name, table)
    else:
        log, more = _by_rows(name, table)
    return ReadLog(log, kind, (*remarks, *more))


def _how(there: Sequence[str]) -> str:
    return (
        f"it has {listing(there) or 'none at all'}. Expected such as epoch, train_loss and val_loss; "
        "--columns epoch=...,train_loss=...,val_loss=... says which columns those are"
    )


Column = list[float | None]


def _numbers(
    rows: Sequence[Row], there: Sequence[str], source: str, wanted: set[str]
) -> tuple[dict[str, Column], list[str]]:
    """Columns of numbers, and the names of the others; raises LogError for one of `wanted`, the epoch and losses."""
    found: dict[str, Column] = {}
    left_out = []
    for column in there:
        try:
            values = [_number(row.cells.get(column)) for row in rows]
        except ValueError:
            if column in wanted or column.lower() in _EPOCH or "loss" in column.lower():
                row = next(row for row in rows if not _is_number(row.cells.get(column)))
                raise LogError(
                    f"{source}, {row.place}, column '{column}': {str(row.cells[column])[:60]!r} is no number"
                ) from None
            left_out.append(column)
            continue
        if any(value is not None for value in values):
            found[column] = values
        elif column in wanted:
            raise LogError(f"{source}: the column '{column}' is empty; expected a number a row")
    return found, left_out


def _number(cell: Any) -> float | None:
    """Raises ValueError for what is neither a number nor nothing."""
    if cell is None or (isinstance(cell, str) and cell.lower() in _NOTHING):
        return None
    if isinstance(cell, (bool, int, float)):
        return float(cell)
    if isinstance(cell, str):
        return float(cell)
    raise ValueError


def _is_number(cell: Any) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _recognised(there: Sequence[str], numbers: Mapping[str, Column], source: str) -> tuple[dict[str, str], str]:
    """Column -> metric, and what the file was taken for."""
    names = {column: _named(column) for column in numbers}
    epoch = next((column for column, name in names.items() if name == "epoch"), None)
    metrics = [name for name in names.values() if name not in ("epoch", "step")]
    if not any("loss" in name for name in metrics) and not any(name.startswith(("train_", "val_")) for name in metrics):
        raise LogError(f"{source} is no log of a training that is known here: {_how(there)}")
    lightning = epoch is not None and "step" in names.values()
    paired = {name for name in metrics if f"val_{name}" in metrics}
    keras = epoch is not None and not lightning and "train_loss" not in metrics and ("loss" in metrics or bool(paired))
    for column, name in names.items():
        bare = re.sub(r"_(step|epoch)$", "", name) if lightning else name
        of_training = f"val_{bare}" in metrics or bare == "loss" or (keras and bool(paired))
        if of_training and not name.startswith(("train_", "val_", "test_")) and name not in ("epoch", "step", *_RATES):
            names[column] = f"train_{name}"
    for column, name in names.items():
        if name in _RATES:
            names[column] = "learning_rate"
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    if twice:
        both = listing(column for column, name in names.items() if name in twice)
        raise LogError(f"{source}: the columns {both} mean the same; --columns says which is which")
    if lightning:
        return names, "a log of Lightning's CSVLogger: the rows of an epoch are put together"
    return names, "a log of Keras's CSVLogger" if keras else "a table with a row an epoch"


def _named(column: str) -> str:
    """`Training Loss`, `train/loss` and `loss_train` as `train_loss`."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower()) if word]
    if not words:
        return column
    if len(words) == 1 and words[0] in _EPOCH:
        return "epoch"
    if len(words) > 1 and words[0] in _SPLITS:
        return _SPLITS[words[0]] + "_".join(words[1:])
    if len(words) > 1 and words[-1] in _SPLITS:
        return _SPLITS[words[-1]] + "_".join(words[:-1])
    return "_".join(words)


def _by_rows(name: str, table: Mapping[str, Column]) -> tuple[TrainingLog, list[str]]:
    """A row an epoch; without epochs they are counted from 1."""
    remarks = []
    metrics = {metric: values for metric, values in table.items() if metric not in ("epoch", "step")}
    length = len(next(iter(table.values())))
    index = table.get("epoch") or table.get("step")
    if index is None:
        remarks.append("there is no column of epochs: the rows are counted from 1")
        index = [float(k) for k in range(1, length + 1)]
    steps: dict[int, dict[str, float]] = {}
    again = without = 0
    for row, epoch in enumerate(index):
        if epoch is None or not math.isfinite(epoch):
            without += 1
            continue
        values = {metric: column[row] for metric, column in metrics.items()}
        known = {metric: value for metric, value in values.items() if value is not None}
        again += int(epoch) in steps and bool(known.keys() & steps[int(epoch)].keys())
        steps.setdefault(int(epoch), {}).update(known)
    if without:
        remarks.append(f"left out, as they have no epoch: {count(without, 'row')}")
    if again:
        twice = count(again, "epoch")
        remarks.append(f"written down again later, as after a resumption: {twice}; the later rows count")
    return TrainingLog(name, _history(steps)), remarks


def _by_steps(name: str, table: Mapping[str, Column]) -> tuple[TrainingLog, list[str]]:
    """Sparse rows of training steps: those of an epoch are put together."""
    epochs = _filled(table["epoch"])
    metrics = {metric: values for metric, values in table.items() if metric not in ("epoch", "step")}
    bare = {metric: re.sub(r"_(step|epoch)$", "", metric) for metric in metrics}
    steps: dict[int, dict[str, float]] = {}
    each: dict[str, Column] = {}
    averaged = []
    for metric, values in metrics.items():
        target = bare[metric]
        by_epoch: dict[int, list[float]] = {}
        for epoch, value in zip(epochs, values, strict=True):
            if epoch is not None and value is not None:
                by_epoch.setdefault(math.ceil(epoch), []).append(value)
        several = metric.endswith("_step") or any(len(found) > 1 for found in by_epoch.values())
        if several:
            each[target] = values
        if metric.endswith("_step") and f"{target}_epoch" in metrics:
            continue
        if several and target != "learning_rate":
            averaged.append(target)
        for epoch, found in by_epoch.items():
            steps.setdefault(epoch, {})[target] = found[-1] if target == "learning_rate" else sum(found) / len(found)
    remarks = []
    if averaged:
        remarks.append(f"an epoch's value is the mean over its logged steps: {listing(averaged)}")
    return TrainingLog(name, _history(steps), steps=_arrays(epochs, each)), remarks


def _filled(epochs: Column) -> Column:
    """A row without an epoch belongs to that of the next row that has one, or at the end of the last."""
    found = list(epochs)
    after: float | None = next((value for value in reversed(epochs) if value is not None), None)
    for k in range(len(found) - 1, -1, -1):
        after = found[k] = after if found[k] is None else found[k]
    return found


def _arrays(epochs: Column, each: Mapping[str, Column]) -> dict[str, Any]:
    """As in steps.npz, of the rows that have any value of a split; what a row lacks is NaN."""
    arrays: dict[str, Any] = {}
    for prefix, index in (("train_", "epoch"), ("val_", "val_epoch")):
        own = {metric: values for metric, values in each.items() if metric.startswith(prefix)}
        written = [any(values[k] is not None for values in own.values()) for k in range(len(epochs))]
        kept = [k for k, epoch in enumerate(epochs) if epoch is not None and written[k]]
        if not kept:
            continue
        arrays[index] = np.array([math.ceil(epochs[k] or 0) for k in kept], dtype=np.int64)
        for metric, values in own.items():
            stored = metric.removeprefix("train_")
            arrays[stored] = np.array([math.nan if values[k] is None else values[k] for k in kept], dtype=np.float64)
    return arrays if "epoch" in arrays else {}


def _history(steps: Mapping[int, Mapping[str, float]]) -> tuple[Step, ...]:
    return tuple(Step(epoch, 0.0, 1, steps[epoch]) for epoch in sorted(steps) if steps[epoch])


# --- MLflow


def log_of_run(
    name: str,
    metrics: Mapping[str, Iterable[tuple[int, float]]],
    params: Mapping[str, str],
    status: str,
    source: str,
    columns: Mapping[str, str] | None = None,
) -> ReadLog:
    """`metrics`: (step, value) of each, as MLflow has them: steps are epochs, unless a metric `epoch` says which epoch
    each step is of, as Lightning's loggers do. Raises LogError."""
    # Of hpo and of MLflow itself, about the run and not about an epoch.
    kept = {m: list(points) for m, points in metrics.items() if not m.startswith(("final/", "best/", "system/"))}
    own = {m for m, points in kept.items() if m in ("seconds", "peak_gpu_mib") and len(points) == 1}
    cells: dict[int, dict[str, float]] = {}
    for metric, points in kept.items():
        if metric not in own:
            for step, value in points:
                cells.setdefault(step, {})[metric] = value
    if not cells:
        raise LogError(f"{source} has no metrics by step; expected such as train_loss and val_loss")
    by_epoch = "epoch" in kept
    rows = [
        Row(f"step {step}", values | {"step": step} if by_epoch or columns else values | {"epoch": step})
        for step, values in sorted(cells.items())
    ]
    found = read_table(rows, source, name, columns)
    states = {"FINISHED": "COMPLETE", "KILLED": "PRUNED", "FAILED": "FAIL", "RUNNING": "RUNNING"}
    log = replace(found.log, params={key: _value(text) for key, text in params.items()}, state=states.get(status, ""))
    how = "its steps put together by its metric epoch" if by_epoch else "each step an epoch"
    return ReadLog(log, f"a run of MLflow, {how}", found.remarks)


def _value(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if re.fullmatch(r"-?\d+", text) else number
