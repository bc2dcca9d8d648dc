"""Made-up records as a user would have them in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from objectives.abr.generator import generate
from objectives.abr.records import CLASSES, STATICS, Records

Arrays = dict[str, NDArray[Any]]


def arrays_of(records: Records) -> Arrays:
    """As in an npz; latency and amplitude are NaN where there is no wave V."""
    arrays: Arrays = {"waveforms": records.waveforms, "patient": records.patient}
    arrays |= {name: records.statics[:, column] for column, name in enumerate(STATICS)}
    arrays |= {
        "label": np.array(CLASSES)[records.label],
        "peak_exists": records.exists,
        "latency_ms": np.where(records.exists, records.latency, np.nan),
        "amplitude_uv": np.where(records.exists, records.amplitude, np.nan),
        "threshold_db": records.threshold,
    }
    return arrays | ({} if records.clean is None else {"clean": records.clean})


def some(records: int = 120, seed: int = 0, **changed: Any) -> Arrays:
    """`changed`: arrays in the place of others or beside them; None takes one away."""
    arrays = arrays_of(generate(records, seed)) | changed
    return {name: np.asarray(array) for name, array in arrays.items() if array is not None}


def frame(arrays: Arrays) -> pandas.DataFrame:
    """The columns of a CSV: a signal has one for each of its samples."""
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        start = {"waveforms": "s", "clean": "clean"}.get(name, name)
        columns |= {f"{start}{k:03d}": array[:, k] for k in range(array.shape[1])} if array.ndim == 2 else {name: array}
    return pandas.DataFrame(columns)


def write(path: Path, arrays: Arrays) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame(arrays).to_csv(path, index=False)
    else:
        np.savez(path, **arrays)
    return path
