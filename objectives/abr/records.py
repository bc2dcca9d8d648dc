"""Brainstem records as arrays, and the checks of values that were read from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from objectives.wording import meant

SAMPLES = 200
SAMPLING_RATE = 20_000  # Hz
CLASSES = ("NORMAL", "NEUROPATHY", "SNIK", "TOTAL", "ITIK")
STATICS = ("age", "intensity", "rate", "noise")

SIGNALS = {"waveforms": "s", "clean": "clean"}  # what the columns of a CSV begin with
PEAK = ("latency_ms", "amplitude_uv")
REQUIRED = ("waveforms", "patient", "label", "peak_exists", *PEAK, "threshold_db")
OPTIONAL = (*STATICS, "clean", "split", "sampling_rate")
NAMES = (*REQUIRED, *OPTIONAL)
# What a number may be, and its unit.
RANGES = {
    "age": (0.0, 130.0, "years"),
    "intensity": (0.0, 100.0, "dB"),
    "rate": (0.0, 1000.0, "clicks a second"),
    "noise": (-np.inf, np.inf, "numbers"),
    "latency_ms": (0.0, SAMPLES / SAMPLING_RATE * 1000, "ms after the click"),
    "amplitude_uv": (0.0, 20.0, "microvolts"),
    "threshold_db": (-20.0, 130.0, "dB"),
}
FLAGS = {"1": True, "0": False, "1.0": True, "0.0": False, "true": True, "false": False}


@dataclass(frozen=True)
class Records:
    """Records, a row each.

    Attributes:
        waveforms: (n, 200).
        clean: (n, 200), of the same unit; None where there is none.
        statics: (n, 4), in the order of STATICS; NaN in one that a file does not have.
        patient: (n,) names.
        label: (n,), index into CLASSES.
        exists: (n,), True where there is a wave V.
        latency: (n,), of wave V, ms; 0 where there is none.
        amplitude: (n,), of wave V, uV; 0 where there is none.
        threshold: (n,), dB.
        split: (n,), train, val or test; None where the files say nothing.
    """

    waveforms: NDArray[np.float32]
    clean: NDArray[np.float32] | None
    statics: NDArray[np.float32]
    patient: NDArray[np.str_]
    label: NDArray[np.int64]
    exists: NDArray[np.bool_]
    latency: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    threshold: NDArray[np.float32]
    split: NDArray[np.str_] | None

    def of(self, chosen: NDArray[Any]) -> Records:
        """Return those that an index or a mask chooses."""
        own: dict[str, Any] = vars(self)
        taken: dict[str, Any] = {name: None if values is None else values[chosen] for name, values in own.items()}
        return Records(**taken)


@dataclass(frozen=True)
class Table:
    """A file as it is.

    Attributes:
        at: The file.
        arrays: By the names of NAMES, as many rows each.
        numbers: The numbers of the rows.
        row: What to call a row: "record" in an npz, "line" in a CSV.
        called: The name of each array in the file.
        unused: The other names in the file.
    """

    at: Path
    arrays: Mapping[str, NDArray[Any]]
    numbers: NDArray[np.int64]
    row: str
    called: Mapping[str, str]
    unused: Sequence[str] = ()

    def place(self, index: int) -> str:
        """Return the file and the number of a row, for messages."""
        return f"{self.at}, {self.row} {self.numbers[index]}"


def checked(table: Table) -> Records:
    """Return the arrays of a file as records; raise ValueError for the first thing that is wrong with them."""
    waveforms, statics = checked_inputs(table)
    exists = _flags(table, "peak_exists")
    peak = [np.where(exists, _numbers(table, name, where=exists), 0).astype(np.float32) for name in PEAK]
    return Records(
        waveforms=waveforms,
        clean=_signal(table, "clean") if "clean" in table.arrays else None,
        statics=statics,
        patient=_texts(table, "patient"),
        label=_labels(table),
        exists=exists,
        latency=peak[0],
        amplitude=peak[1],
        threshold=_numbers(table, "threshold_db").astype(np.float32),
        split=_texts(table, "split") if "split" in table.arrays else None,
    )


def checked_inputs(table: Table) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return waveforms, (n, 200), and statics, (n, 4), of a file; raise ValueError for the first that is wrong."""
    if not len(table.numbers):
        raise ValueError(f"{table.at} has no records; expected some")
    _check_sampling_rate(table)
    waveforms = _signal(table, "waveforms")
    if len(flat := np.flatnonzero(np.ptp(waveforms, axis=1) == 0)):
        raise ValueError(
            f"{table.place(flat[0])}: all {SAMPLES} samples are {waveforms[flat[0], 0]:g}{_more(flat)}; expected a "
            "waveform that can be scaled to standard deviation 1. Leave empty recordings out"
        )
    unknown = np.full(len(waveforms), np.nan)
    statics = np.stack([_numbers(table, name) if name in table.arrays else unknown for name in STATICS], axis=1)
    return waveforms, statics.astype(np.float32)


def _check_sampling_rate(table: Table) -> None:
    if "sampling_rate" not in table.arrays:
        return
    rates = _floats(table, "sampling_rate")
    if len(wrong := np.flatnonzero(~(np.abs(rates - SAMPLING_RATE) < 0.5))):
        raise ValueError(
            f"{table.place(wrong[0])}: {table.called['sampling_rate']} is {rates[wrong[0]]:g} Hz{_more(wrong)}; "
            f"expected {SAMPLING_RATE} Hz. Resample the waveforms to {SAMPLES} samples over "
            f"{SAMPLES / SAMPLING_RATE * 1000:g} ms"
        )


def check_samples(path: Path, called: str, array: NDArray[Any]) -> None:
    """Raise ValueError unless an array, (n, samples), has SAMPLES samples."""
    if array.shape[1] != SAMPLES:
        turned = " They look transposed: save array.T" if array.shape[0] == SAMPLES else ""
        raise ValueError(
            f"{path}: {called} has {array.shape[1]} samples a record; expected {SAMPLES}, "
            f"{SAMPLES / SAMPLING_RATE * 1000:g} ms at {SAMPLING_RATE} Hz.{turned}"
        )


def _signal(table: Table, name: str) -> NDArray[np.float32]:
    check_samples(table.at, table.called[name], table.arrays[name])
    signal = _floats(table, name)
    if len(bad := np.flatnonzero(~np.isfinite(signal).all(axis=1))):
        count = int((~np.isfinite(signal[bad[0]])).sum())
        raise ValueError(
            f"{table.place(bad[0])}: {count} samples of {table.called[name]} are NaN or infinite{_more(bad)}; expected "
            "numbers. Leave damaged records out"
        )
    return signal.astype(np.float32)


def _numbers(table: Table, name: str, where: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return numbers, and refuse those out of their range, at least `where`."""
    values = _floats(table, name)
    low, high, unit = RANGES[name]
    asked = np.ones(len(values), bool) if where is None else where
    # Of latency and amplitude 0 is no measure of anything.
    least = values > low if name in PEAK else values >= low
    if len(wrong := np.flatnonzero(asked & ~(np.isfinite(values) & least & (values <= high)))):
        at = wrong[0]
        span = f"{unit} from {low:g} to {high:g}" if np.isfinite(low) else "a number"
        if name in PEAK:
            span = f"{unit}, above {low:g} and up to {high:g}, where peak_exists is 1"
        raise ValueError(f"{table.place(at)}: {table.called[name]} is {values[at]:g}{_more(wrong)}; expected {span}")
    return values


def _floats(table: Table, name: str) -> NDArray[np.float64]:
    """Return the numbers of an array that may be text, as all cells of a CSV are."""
    array = table.arrays[name]
    if array.dtype.kind in "buif":
        return array.astype(np.float64)
    if array.dtype.kind in "US":
        try:
            return array.astype(np.float64)
        except ValueError:
            cells = array.ravel()
            at = next(index for index, cell in enumerate(cells) if not _is_number(cell))
            place = table.place(at // (cells.size // len(array)))
            shown = f"'{cells[at]}'" if cells[at] else "empty"
            raise ValueError(f"{place}: {table.called[name]} is {shown}; expected a number") from None
    raise ValueError(f"{table.at}: {table.called[name]} holds {array.dtype}; expected integers or floats")


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _flags(table: Table, name: str) -> NDArray[np.bool_]:
    cells = _texts(table, name)
    known = [FLAGS.get(cell.lower()) for cell in cells]
    for index, flag in enumerate(known):
        if flag is None:
            raise ValueError(f"{table.place(index)}: {table.called[name]} is '{cells[index]}'; expected 1 or 0")
    return np.array(known, bool)


def _labels(table: Table) -> NDArray[np.int64]:
    cells = _texts(table, "label")
    codes = {name: code for code, name in enumerate(CLASSES)}
    for index, cell in enumerate(cells):
        if cell not in codes:
            raise ValueError(
                f"{table.place(index)}: {table.called['label']} is '{cell}'; expected one of {', '.join(CLASSES)}."
                f"{meant(cell.upper(), CLASSES)}"
            )
    return np.array([codes[cell] for cell in cells], np.int64)


def _texts(table: Table, name: str) -> NDArray[np.str_]:
    array = table.arrays[name]
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    texts = np.char.strip(array.astype(str))
    if len(empty := np.flatnonzero((texts == "") | (texts == "nan"))):
        shown = str(texts[empty[0]]) or "empty"
        raise ValueError(f"{table.place(empty[0])}: {table.called[name]} is {shown}{_more(empty)}; expected a value")
    return texts


def _more(indices: NDArray[Any]) -> str:
    return f" (and {len(indices) - 1} more)" if len(indices) > 1 else ""
