"""Trials and histories as files that any program reads: CSV and Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpo.analysis.records import StudyRecord
from hpo.analysis.trial_rows import trial_table
from hpo.errors import TransferError
from hpo.machine.files import write_atomically
from hpo.reports.blocks import Rows
from hpo.reports.csv import to_csv
from hpo.transfer.folder import prepared
from hpo.transfer.table_source import HISTORIES, KEY_COMMENT, STUDY, TRIALS

HISTORY_COLUMNS = ("trial", "step", "time", "metric", "value")


def write_csv(record: StudyRecord, folder: Path, key: str = "") -> list[Path]:
    """Write `trials.csv`, a row a trial, `histories.csv`, a row a value, and the study.yaml. Return their paths.

    Args:
        record: The study.
        folder: Made if it is not there.
        key: The study's, by which an import into the study itself is known.

    Raises:
        TransferError: They cannot be written.
    """
    columns, rows = trial_table(record, record.trials)
    histories = [(*row[:4], _text(row[4])) for row in history_rows(record)]
    files = {
        folder / TRIALS: to_csv(Rows(tuple(columns), rows)),
        folder / HISTORIES: to_csv(Rows(HISTORY_COLUMNS, histories)),
    }
    if record.spec is not None:
        files[folder / STUDY] = f"{KEY_COMMENT}{key}\n{record.spec.to_yaml()}"
    with prepared(folder):
        for path, text in files.items():
            write_atomically(path, text)
    return list(files)


def write_parquet(record: StudyRecord, folder: Path) -> list[Path]:
    """Write `trials.parquet` and `histories.parquet`, with the columns of the CSV files. Return their paths.

    A column whose values are of several types, as a parameter with text and numbers as choices, is one of texts.

    Raises:
        TransferError: They cannot be written, or pyarrow is missing.
    """
    if find_spec("pyarrow") is None:
        raise TransferError("Parquet needs pyarrow, which comes with mlflow: pip install pyarrow")
    import pandas as pd

    columns, rows = trial_table(record, record.trials)
    trials = pd.DataFrame(rows, columns=columns)
    for column in trials.columns:
        kinds = {type(value) for value in trials[column] if value is not None and value == value}
        if len(kinds) > 1 and not kinds <= {int, float}:
            trials[column] = [None if value is None or value != value else str(value) for value in trials[column]]
    histories = pd.DataFrame(list(history_rows(record)), columns=list(HISTORY_COLUMNS))
    frames = {folder / "trials.parquet": trials, folder / "histories.parquet": histories}
    with prepared(folder):
        for path, frame in frames.items():
            frame.to_parquet(path, index=False)
    return list(frames)


def history_rows(record: StudyRecord) -> Iterator[tuple[int, int, float | None, str, float]]:
    """Yield trial, step, time (seconds since the epoch; None where it is not known), metric and value."""
    for trial in record.trials:
        timed = trial.imported is None or trial.imported.timed
        for step in trial.history:
            for name, value in step.metrics.items():
                yield trial.number, step.step, step.time if timed else None, name, value


def _text(value: float) -> Any:
    """Return a value as it is written: `nan`, `inf` and `-inf` too, which a CSV file of figures leaves empty."""
    return value if math.isfinite(value) else str(value)
