"""Read trainings that others wrote down: CSV and JSON-lines files of Keras, of Lightning, of anyone, and MLflow runs.

Keras, `CSVLogger` (keras/src/callbacks/csv_logger.py): a row an epoch, `epoch` from 0, the names of training metrics as
they are, those of validation with `val_`; NA where an epoch has no value.
Lightning, `CSVLogger` (lightning/fabric/loggers/csv_logs.py): `metrics.csv` with `epoch`, `step` and a column a metric,
in which a row has only what was logged at its step; a metric logged of both has the columns `X_step` and `X_epoch`.
hpo: `history.jsonl` (see `hpo.storage.history`), with the arrays beside it.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.analysis.training.log_columns import EPOCH, INDEX, expected_columns, recognise, without_step_or_epoch
from hpo.analysis.training.training_log import TrainingLog, read_arrays
from hpo.errors import LogError
from hpo.machine.access import reason
from hpo.machine.files import parse_json, read_plain
from hpo.storage import history
from hpo.storage.history import Step
from hpo.text import count, listing, nearest, printable
from hpo.translation.catalogue import mark, tr

if TYPE_CHECKING:
    import pandas as pd

# Spellings of a cell without a value.
_NOTHING = {"", "na", "n/a", "none", "null", "-"}
_DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)$")
_MOST_BYTES = 2**26  # as a table, a text takes many times its size
_DEEPEST = 20
_LARGEST_EPOCH = 2**53  # beyond it a double has no whole numbers of its own


@dataclass(frozen=True)
class ReadLog:
    """A training, and what its source was taken for.

    Attributes:
        log: The training.
        recognised: What the source was taken for, in the current language.
        remarks: What was left out or changed, a sentence each.
    """

    log: TrainingLog
    recognised: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row of a table. `place`: where it stands, such as `line 12`; `cells`: by column, as they were written."""

    place: str
    cells: Mapping[str, Any]


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> ReadLog:
    """Read a log file.

    Args:
        path: A CSV file (separated by commas, semicolons or tabs), JSON lines, a JSON array, or hpo's history.jsonl.
        columns: Name (`epoch`, `train_loss`, ...) -> the column of the file that has it; then only those are read.

    Raises:
        LogError: The file cannot be read as a training. It says where, and what was expected.
    """
    text = text_of(path)
    remarks: tuple[str, ...] = ()
    if text.lstrip()[0] in "{[":
        items = list(_json_items(path, text))
        if items and not columns and all({"step", "metrics"} <= item.keys() for _, item in items):
            return _own_history(path)
        rows = [Row(place, dict(_flattened(path, place, item))) for place, item in items]
    else:
        rows, remarks = csv_rows(path, text)
    if not rows:
        raise LogError(f"{path} has no row; expected one a training epoch, below a header or as JSON")
    found = read_table(rows, str(path), _short(path), columns)
    return replace(found, remarks=(*remarks, *found.remarks))


def _short(path: Path) -> str:
    """Return the file and its folder, since many logs have one name."""
    return "/".join(path.absolute().parts[-2:])


def text_of(path: Path) -> str:
    """Return the text of a file, with one kind of line ends.

    Raises:
        LogError: It cannot be read, is no text, or is empty.
    """
    try:
        text = read_plain(path, _MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise LogError(f"{path} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise LogError(f"{path} is no text file in UTF-8; expected a CSV or JSON-lines file") from error
    if not text.strip():
        raise LogError(f"{path} is empty; expected a CSV file with a header, or JSON lines")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _own_history(path: Path) -> ReadLog:
    """Read history.jsonl, as hpo does."""
    steps = tuple(history.read(path))
    if not steps:
        raise LogError(f'{path} has no whole line of a history; expected {{"step": 1, "metrics": {{...}}, ...}}')
    log = TrainingLog(
        name=_short(path),
        history=steps,
        steps=read_arrays(path.parent / layout.STEPS, "epoch"),
        epochs=read_arrays(path.parent / layout.EPOCHS, "epoch"),
    )
    return ReadLog(log, tr("a history of hpo"))


# --- rows


def csv_rows(path: Path, text: str) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows of a CSV file's text, and remarks.

    The standard library splits the text, not pandas: pandas tells no line numbers, takes a row that is too long for
    one with an index, and renames a column that is there twice.
    """
    header = text.lstrip().splitlines()[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise LogError(f"{path}, line {reader.line_num}: {error}; expected a CSV file with a header") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise LogError(f"{path} has no header; expected such as epoch,train_loss,val_loss")
    names = lines[0][1]
    if twice := {name for name, times in Counter(names).items() if name and times > 1}:
        raise LogError(f"{path} has the column '{min(twice)}' twice; expected each once")
    rows = []
    commas = False
    for number, cells in lines[1:]:
        if cells == names:
            continue  # the header again, where a file was appended to
        if len(cells) > len(names):
            raise LogError(f"{path}, line {number}: {len(cells)} cells, where the header has {len(names)} columns")
        if delimiter != ",":
            written, cells = (
                cells,
                [_DECIMAL_COMMA.sub(r"\1.\2", c) if _DECIMAL_COMMA.fullmatch(c) else c for c in cells],
            )
            commas |= cells != written
        rows.append(Row(f"line {number}", dict(zip(names, cells, strict=False))))
    return rows, ("decimal commas are read as decimal points",) if commas else ()


def _json_items(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of JSON lines or of a JSON array, each with its place."""
    for place, item in _json_values(path, text):
        if not isinstance(item, dict):
            raise LogError(f'{path}, {place} is no object; expected such as {{"epoch": 1, "train_loss": 0.5}}')
        yield place, item


def _json_values(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    if text.lstrip().startswith("["):
        try:
            items = parse_json(text)
        except ValueError as error:
            raise LogError(f"{path} is no JSON: {error}") from error
        yield from ((f"item {k}", item) for k, item in enumerate(items, start=1))
        return
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    for k, (number, line) in enumerate(lines):
        try:
            yield f"line {number}", parse_json(line)
        except ValueError as error:
            if 0 < k == len(lines) - 1:
                return  # torn: its writer was stopped, or still writes
            raise LogError(f"{path}, line {number} is no JSON: {error}; expected an object a line") from error


def _flattened(
    path: Path, place: str, item: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield `{"val": {"loss": 1}}` as `val/loss`."""
    if len(above) > _DEEPEST:
        raise LogError(f"{path}, {place}: more than {_DEEPEST} objects stand in each other; expected metrics")
    for name, value in item.items():
        names = (*above, printable(name))
        if isinstance(value, Mapping):
            yield from _flattened(path, place, value, names)
        else:
            yield "/".join(names), value


# --- a table as a training


def read_table(rows: Sequence[Row], source: str, name: str, columns: Mapping[str, str] | None = None) -> ReadLog:
    """Read rows as a training.

    Args:
        rows: At least one.
        source: What errors call the table.
        name: What the training is called.
        columns: As of `read_log`.

    Raises:
        LogError: The table is no training, or not known as one.
    """
    there = list(dict.fromkeys(column for row in rows for column in row.cells if column))
    for target, column in (columns or {}).items():
        if column not in there:
            raise LogError(
                f"{source} has no column '{column}', which --columns gives as {target}.{nearest(column, there)} "
                f"It has {listing(there)}."
            )
    wanted = set((columns or {}).values())
    read = [column for column in there if column in wanted] if columns else there
    cells, left_out = _numbers(rows, read, source, wanted)
    valued = set(cells["column"])
    present = [column for column in read if column in valued]
    if columns:
        names, kind = {column: target for target, column in columns.items()}, mark("a table, with its columns as given")
    else:
        names, kind = recognise(there, present, source)
    metrics = [names[column] for column in present]
    if set(metrics) <= set(INDEX):
        raise LogError(f"{source} has no column with a metric; {expected_columns(there)}")
    cells = cells.assign(metric=cells["column"].map(names))
    remarks = [f"left out, as not all of it is numbers: {listing(left_out)}"] if left_out else []
    log, more = (_by_steps if set(INDEX) <= set(metrics) else _by_rows)(name, cells, len(rows))
    if not log.history:
        raise LogError(f"{source} has no row with an epoch that can be one; expected whole numbers")
    return ReadLog(log, tr(kind), (*remarks, *more))


def _numbers(
    rows: Sequence[Row], read: Sequence[str], source: str, wanted: Collection[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the cells that have a value, and the columns that are left out for not being all numbers.

    The frame has the columns `row`, `column` and `value`, a line a cell, column by column. A cell without a value is
    not in it, so that NaN is a value that was written down.
    """
    import pandas as pd

    written: dict[str, list[tuple[int, Any]]] = {column: [] for column in read}
    for k, row in enumerate(rows):
        for column, cell in row.cells.items():
            if column in written and cell is not None and str(cell).lower() not in _NOTHING:
                written[column].append((k, cell))
    cells: list[tuple[int, str, float]] = []
    left_out = []
    for column, known in written.items():
        values = [(k, column, value) for k, cell in known if (value := _number(cell)) is not None]
        if len(values) == len(known):
            cells += values
            if column in wanted and not known:
                raise LogError(f"{source}: the column '{column}' is empty; expected a number a row")
        elif column in wanted or column.lower() in EPOCH or "loss" in column.lower():
            k, cell = next((k, cell) for k, cell in known if _number(cell) is None)
            raise LogError(f"{source}, {rows[k].place}, column '{column}': {str(cell)[:60]!r} is no number")
        else:
            left_out.append(column)
    return pd.DataFrame(cells, columns=["row", "column", "value"]), left_out


def _number(cell: Any) -> float | None:
    """Return a cell as a number; None if it is none, or beyond what a double holds."""
    if not isinstance(cell, (bool, int, float, str)):
        return None
    try:
        return float(cell)
    except (ValueError, OverflowError):
        return None


# --- rows as epochs


def _index_of(cells: pd.DataFrame, name: str, rows: int) -> pd.Series:
    """Return the index `name` of every row: NaN where it has none, infinite where it cannot be that of an epoch."""
    found = cells[cells["metric"] == name].set_index("row")["value"]
    usable = found.abs() < _LARGEST_EPOCH
    return found.where(usable, math.inf).reindex(range(rows))


def _with_epochs(cells: pd.DataFrame, epochs: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Return the cells of metrics with the epoch of their row, without rows that have none, and a remark on those."""
    usable = epochs.abs() < _LARGEST_EPOCH
    known = cells[~cells["metric"].isin(INDEX) & cells["row"].map(usable)]
    without = int((~usable).sum())
    remarks = [f"left out, as they have no epoch: {count(without, 'row')}"] if without else []
    return known.assign(epoch=known["row"].map(epochs)), remarks


def _by_rows(name: str, cells: pd.DataFrame, rows: int) -> tuple[TrainingLog, list[str]]:
    """Take each row for an epoch; without a column of epochs they are counted from 1."""
    import pandas as pd

    remarks = []
    index = next((one for one in INDEX if (cells["metric"] == one).any()), None)
    if index is None:
        remarks.append("there is no column of epochs: the rows are counted from 1")
        epochs = pd.Series(range(1, rows + 1), dtype=float)
    else:
        epochs = _index_of(cells, index, rows)
    known, more = _with_epochs(cells, epochs)
    known = known.assign(epoch=known["epoch"].astype("int64")).sort_values(["epoch", "row"], kind="stable")
    remarks += more
    if again := known[known.duplicated(["epoch", "metric"])]["row"].nunique():
        twice = count(again, "epoch")
        remarks.append(f"written down again later, as after a resumption: {twice}; the later rows count")
    # The order of the cells is that of the columns again.
    last = known.drop_duplicates(["epoch", "metric"], keep="last").sort_index()
    return TrainingLog(name, _history(zip(last["epoch"], last["metric"], last["value"], strict=True))), remarks


def _by_steps(name: str, cells: pd.DataFrame, rows: int) -> tuple[TrainingLog, list[str]]:
    """Put the sparse rows of each epoch together.

    A row without an epoch belongs to that of the next row that has one, or at the end to that of the last.
    """
    known, remarks = _with_epochs(cells, _index_of(cells, "epoch", rows).bfill().ffill())
    known = known.assign(epoch=known["epoch"].map(math.ceil))
    metrics = set(known["metric"])
    by_epoch: list[tuple[int, str, float]] = []
    by_step: dict[str, pd.DataFrame] = {}
    averaged = []
    for metric, own in known.groupby("metric", sort=False):
        target = without_step_or_epoch(metric)
        several = metric.endswith("_step") or own["epoch"].duplicated().any()
        if several:
            by_step[target] = own
        if metric.endswith("_step") and f"{target}_epoch" in metrics:
            continue
        values = own.groupby("epoch")["value"]
        # A learning rate has no mean: what counts is the last of an epoch.
        found = values.last(skipna=False) if target == "learning_rate" else values.mean(skipna=False)
        if several and target != "learning_rate":
            averaged.append(target)
        by_epoch += ((epoch, target, value) for epoch, value in found.items())
    if averaged:
        remarks.append(f"an epoch's value is the mean over its logged steps: {listing(averaged)}")
    return TrainingLog(name, _history(by_epoch), steps=_arrays(by_step)), remarks


def _arrays(by_step: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return arrays as those of steps.npz, of the rows that have a value of a split; what a row lacks is NaN."""
    import pandas as pd

    arrays: dict[str, Any] = {}
    for prefix, index in (("train_", "epoch"), ("val_", "val_epoch")):
        own = {metric.removeprefix("train_"): cells for metric, cells in by_step.items() if metric.startswith(prefix)}
        if own:
            table = pd.concat({stored: cells.set_index("row")["value"] for stored, cells in own.items()}, axis=1)
            table = table.sort_index()
            epochs = pd.concat([cells.set_index("row")["epoch"] for cells in own.values()])
            arrays[index] = epochs[~epochs.index.duplicated()].loc[table.index].to_numpy("int64")
            arrays |= {stored: table[stored].to_numpy("float64") for stored in own}
    return arrays if "epoch" in arrays else {}


def _history(values: Iterable[tuple[int, str, float]]) -> tuple[Step, ...]:
    """Return (epoch, metric, value) as steps, ascending."""
    steps: dict[int, dict[str, float]] = {}
    for epoch, metric, value in values:
        steps.setdefault(int(epoch), {})[metric] = float(value)
    return tuple(Step(epoch, 0.0, 1, steps[epoch]) for epoch in sorted(steps))


# --- MLflow


def log_of_run(
    name: str,
    metrics: Mapping[str, Iterable[tuple[int, float]]],
    params: Mapping[str, str],
    status: str,
    source: str,
    columns: Mapping[str, str] | None = None,
) -> ReadLog:
    """Read a run of MLflow.

    Args:
        name: What the training is called.
        metrics: (step, value) of each metric, as MLflow has them. Steps are epochs, unless a metric `epoch` says which
            epoch each step is of, as Lightning's loggers do.
        params: What it was trained with, as texts.
        status: MLflow's, such as FINISHED.
        source: What errors call the run.
        columns: As of `read_log`.

    Raises:
        LogError: The run has no metrics by step, or none of a training.
    """
    # These are about the run and not about an epoch: of hpo (final/, best/) and of MLflow itself (system/).
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
    if by_epoch:
        return ReadLog(log, tr("a run of MLflow, its steps put together by its metric epoch"), found.remarks)
    return ReadLog(log, tr("a run of MLflow, each step an epoch"), found.remarks)


def _value(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if re.fullmatch(r"-?\d+", text) else number
