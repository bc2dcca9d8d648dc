"""Files of a user: each layout gives the same records, and each mistake a sentence that names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from objectives.abr.files import read
from objectives.abr.generator import generate
from objectives.abr.records import Records
from tests.objectives.abr.records import Arrays, arrays_of, frame, some, write

MADE = generate(120, 0)


def assert_same(found: Records, expected: Records = MADE) -> None:
    for field in fields(Records):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if field.name == "split" or other is None:
            continue
        assert one.dtype.kind == other.dtype.kind, field.name
        if other.dtype.kind == "f":
            np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=field.name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=field.name)


@pytest.mark.parametrize("name", ["records.npz", "records.csv", "mine.npz", "mine.csv"])
def test_a_file_by_itself(tmp_path: Path, name: str) -> None:
    found, note = read(write(tmp_path / name, arrays_of(MADE)), {})
    assert_same(found)
    assert found.split is None
    assert note == ""


@pytest.mark.parametrize("name", ["records.npz", "records.csv"])
def test_a_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, arrays_of(MADE))
    (tmp_path / "notes.txt").write_text("not records")
    found, _ = read(tmp_path, {})
    assert_same(found)


def test_files_of_splits(tmp_path: Path) -> None:
    parts = {"records.npz": slice(0, 60), "val_records.csv": slice(60, 100), "test_records.npz": slice(100, 120)}
    for name, rows in parts.items():
        write(tmp_path / name, arrays_of(MADE.of(np.arange(120)[rows])))
    found, _ = read(tmp_path, {})
    assert_same(found)
    assert found.split is not None
    assert found.split.tolist() == ["train"] * 60 + ["val"] * 40 + ["test"] * 20


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_other_names_and_what_is_not_used(tmp_path: Path, suffix: str) -> None:
    arrays = arrays_of(MADE)
    names = {"label": "diagnosis", "patient": "id", "latency_ms": "wave V", "waveforms": "v", "split": "fold"}
    renamed = {names.get(name, name): array for name, array in arrays.items()}
    if suffix == ".csv":
        renamed["waveforms"] = renamed.pop("v")
        table = frame(renamed).rename(columns={f"s{k:03d}": f"v{k:03d}" for k in range(200)})
        table["fold"], table["ward"] = ["train"] * 119 + ["test"], "north"
        table.to_csv(tmp_path / "a.csv", index=False)
    else:
        write(tmp_path / "a.npz", renamed | {"fold": np.array(["train"] * 119 + ["test"]), "ward": np.zeros(3)})
    found, note = read(tmp_path / f"a{suffix}", names | {"age": None})
    assert_same(found)
    assert found.split is not None
    assert found.split.tolist() == ["train"] * 119 + ["test"]
    assert note == f"a{suffix}: ward not used"


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_without_clean(tmp_path: Path, suffix: str) -> None:
    found, _ = read(write(tmp_path / f"a{suffix}", some(clean=None)), {})
    assert found.clean is None
    assert_same(replace(found, clean=MADE.clean))


def test_columns_of_samples_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    table = frame(arrays_of(MADE)).rename(columns={f"s{k:03d}": f"s{k}" for k in range(200)})
    table[table.columns[::-1]].to_csv(tmp_path / "a.csv", index=False)
    found, _ = read(tmp_path / "a.csv", {})
    np.testing.assert_allclose(found.waveforms, MADE.waveforms, rtol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"label": np.char.encode(np.array(["NORMAL"] * 120))},
        {"peak_exists": MADE.exists.astype(float)},
        {"peak_exists": np.where(MADE.exists, "True", "false")},
        {"waveforms": (MADE.waveforms * 1e4).astype(np.int16)},
        {"patient": np.arange(120)},
        {"sampling_rate": np.array(20_000)},
        {"sampling_rate": np.full(120, 20_000.0)},
        {"latency_ms": np.where(MADE.exists, MADE.latency, -1)},  # means nothing where there is no wave
    ],
    ids=lambda changed: f"{next(iter(changed))} {next(iter(changed.values())).dtype}",
)
def test_kinds_of_arrays(tmp_path: Path, changed: Arrays) -> None:
    found, _ = read(write(tmp_path / "a.npz", some(**changed)), {})
    np.testing.assert_array_equal(found.exists, MADE.exists)
    np.testing.assert_allclose(found.latency, MADE.latency, rtol=1e-6)


def changed_at(name: str, index: int, value: Any) -> Arrays:
    array = np.array(some()[name])
    if isinstance(value, str):
        array = array.astype(object)
    array[index] = value
    return {name: array.astype(str) if isinstance(value, str) else array}


def samples(row: int, column: int | slice, value: float, name: str = "waveforms") -> Arrays:
    array = np.array(some()[name])
    array[row, column] = value
    return {name: array}


# What is wrong: arrays in the place of good ones (None: one is missing), and what is said for an npz and for a CSV.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "too few samples": ({"waveforms": MADE.waveforms[:, :150]}, r"has 150 samples a record; expected 200, 10 ms at"),
    "too many samples": ({"waveforms": np.zeros((120, 256))}, r"has 256 samples a record; expected 200, 10 ms at"),
    "samples of clean": ({"clean": MADE.waveforms[:, :199]}, r"clean.* has 199 samples a record; expected 200"),
    "sampling rate": ({"sampling_rate": np.full(120, 25_000)},
                      r", (record 1|line 2): sampling_rate is 25000 Hz \(and 119 more\); expected 20000 Hz. Resample"),
    "NaN": (samples(4, slice(3, 5), np.nan), 
            r", (record 5: 2 samples of waveforms are NaN or infinite; expected|line 6: s\.\.\. is empty; expected)"),
    "infinite": (samples(4, 9, np.inf), r", (record 5|line 6): 1 samples of .* are NaN or infinite"),
    "NaN in clean": (samples(1, 9, np.nan, "clean"), 
                     r", (record 2: 1 samples of clean are NaN|line 3: clean... is empty)"),
    "constant": (samples(7, slice(None), 0.25), r", (record 8|line 9): all 200 samples are 0.25; expected a waveform"),
    "silent": (samples(slice(7, 9), slice(None), 0), r", (record 8|line 9): all 200 samples are 0 \(and 1 more\)"),  # type: ignore[arg-type]
    "label": (changed_at("label", 2, "NEUROPATIC"),
              r", (record 3|line 4): label is 'NEUROPATIC'; expected one of NORMAL, .*\. Did you mean 'NEUROPATHY'\?"),
    "label in small letters": (changed_at("label", 2, "snik"), r"label is 'snik'; .* Did you mean 'SNIK'\?"),
    "intensity": (changed_at("intensity", 0, 110), r"(record 1|line 2): intensity is 110; expected dB from 0 to 100"),
    "intensity below": (changed_at("intensity", 0, -5), r"intensity is -5; expected dB from 0 to 100"),
    "age": (changed_at("age", 0, 1969), r"age is 1969; expected years from 0 to 130"),
    "rate": (changed_at("rate", 0, np.nan), 
             r"(line 2: rate is empty; expected a number|rate is nan; expected clicks a second from 0 to 1000)"),
    "noise": (changed_at("noise", 119, np.inf), r"(record 120|line 121): noise is inf; expected a number"),
    "threshold": (changed_at("threshold_db", 0, 999), r"threshold_db is 999; expected dB from -20 to 130"),
    "latency in seconds or samples": (changed_at("latency_ms", int(MADE.exists.argmax()), 110),
                                      r"latency_ms is 110; expected ms after the click, above 0 and up to 10, where"),
    "no latency": (changed_at("latency_ms", int(MADE.exists.argmax()), np.nan), r"latency_ms is nan; expected ms"),
    "amplitude in nV": (changed_at("amplitude_uv", int(MADE.exists.argmax()), 350), r"is 350; expected microvolts,"),
    "peak_exists": (changed_at("peak_exists", 3, "maybe"), r"(record 4|line 5): peak_exists is 'maybe'; expected 1"),
    "patient": (changed_at("patient", 3, ""), 
                r"(record 4: patient is empty; expected a value|line 5: the cell of column patient is empty)"),
    "numbers for patients": ({"patient": np.where(np.arange(120) < 2, np.nan, 7.0)},
                             r", record 1: patient is nan \(and 1 more\); expected a value"),
    "type": ({"age": np.array(["young"] * 120)}, r"(record 1|line 2): age is 'young'; expected a number"),
    "missing": ({"patient": None}, r"has no (array|column) patient"),
    "missing latency": ({"latency_ms": None, "latency": MADE.latency},
                        r"has no (array|column) latency_ms; .*data.columns.latency_ms .* Did you mean 'latency'\?"),
}  # fmt: skip


# Of a CSV, which is slower to write and to read, those whose way through the code is another.
OF_A_CSV = ("too few samples", "samples of clean", "sampling rate", "NaN", "constant", "label", "rate", "no latency",
            "patient", "type", "missing", "missing latency")  # fmt: skip


@pytest.mark.parametrize(("case", "suffix"), [*((c, ".npz") for c in WRONG), *((c, ".csv") for c in OF_A_CSV)])
def test_what_is_wrong_with_records(tmp_path: Path, case: str, suffix: str) -> None:
    changed, message = WRONG[case]
    # Without clean a CSV is read in half the time.
    path = write(tmp_path / f"records{suffix}", some(**({"clean": None} if suffix == ".csv" else {}) | changed))
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, {})
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def truncated(root: Path) -> None:
    path = write(root / "records.npz", some())
    path.write_bytes(path.read_bytes()[:-300])


def damaged(root: Path) -> None:
    """The directory of the archive is whole, a member of it is not."""
    np.savez_compressed(root / "records.npz", **some())
    content = bytearray((root / "records.npz").read_bytes())
    content[2000:4000] = bytes(2000)
    (root / "records.npz").write_bytes(content)


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(content) and None


def npz(**changed: Any) -> Callable[[Path], None]:
    return lambda root: write(root / "records.npz", some(**changed)) and None


def csv(columns: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda root: columns(frame(some())).to_csv(root / "records.csv", index=False)


def several(*names: str) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        for name in names:
            write(root / name, some())

    return apply


def clean_in_one(root: Path) -> None:
    write(root / "train_records.npz", some())
    write(root / "val_records.npz", some(clean=None))


def split_in_a_file_of_a_split(root: Path) -> None:
    several("records.npz")(root)
    write(root / "test_records.npz", some(split=np.array(["test"] * 120)))


def split_beside_files_of_splits(root: Path) -> None:
    write(root / "records.npz", some(split=np.array(["train"] * 120)))
    several("test_records.npz")(root)


WRONG_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty folder": (lambda root: None, r" is empty; expected records.npz or records.csv, or one for each of train,"),
    "no layout": (several("record.npz"), r" holds record.npz; .* Should 'record.npz' be 'records.npz'\?"),
    "validation only": (several("val_records.npz"), r" has val_records only; expected records or train_records to"),
    "both to train on": (several("records.npz", "train_records.csv"), r" has records and train_records; expected one"),
    "both kinds": (several("records.npz", "records.csv"), r"records.npz and .*records.csv are both there; expected"),
    "truncated": (truncated, r"records.npz cannot be read as npz \(.*\); is the file whole\?"),
    "damaged": (damaged, r"records.npz cannot be read as npz \(.*\); is the file whole\?"),
    "no npz": (text("records.npz", "nothing"), r"records.npz cannot be read as npz \(.*\); is the file whole\?"),
    "no bytes": (text("records.npz", ""), r"records.npz cannot be read as npz \(.*\); is the file whole\?"),
    "empty CSV": (text("records.csv", ""), r"records.csv cannot be read as a CSV"),
    "no rows": (csv(lambda table: table[:0]), r"records.csv has a header and no rows"),
    "no records": (npz(**{name: array[:0] for name, array in some().items()}), r"records.npz has no records; expected"),
    "no samples": (csv(lambda table: table[["age", "label"]]), r"records.csv has no columns s000 to s199; it has"),
    "lengths": (npz(age=MADE.statics[:100, 0]), r"records.npz: age has 100 entries and waveforms 120 records;"),
    "transposed": (npz(waveforms=MADE.waveforms.T), 
                   r"waveforms has 120 samples a record; expected 200, .* They look transposed: save array.T"),
    "one waveform": (npz(waveforms=MADE.waveforms[0]), r"waveforms is of shape \(200,\); expected \(records, 200\)"),
    "a table for a column": (npz(age=MADE.statics), r"age is of shape \(120, 4\); expected a value a record"),
    "objects": (npz(label=np.array(["NORMAL"] * 120, dtype=object)), r"label is an array of Python objects; expected"),
    "complex": (npz(waveforms=MADE.waveforms.astype(complex)), r"waveforms holds complex128; expected integers or"),
    "dates": (npz(age=np.zeros(120, "datetime64[D]")), r"age holds datetime64\[D\]; expected integers or floats"),
    "a scalar": (npz(waveforms=np.array(1.0)), r"waveforms is of shape \(\); expected \(records, 200\)"),
    "clean in one file": (clean_in_one, r"val_records.npz has no clean and another file has; expected it in all"),
    "split in a file of a split": (split_in_a_file_of_a_split, r"test_records.npz is named for the split test and"),
    "split beside files of splits": (split_beside_files_of_splits, r"records.npz has a column split and stands beside"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(WRONG_FILES))
def test_what_is_wrong_with_files(tmp_path: Path, case: str) -> None:
    make, message = WRONG_FILES[case]
    make(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, {})
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_path_that_is_not_there_and_one_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "abr").mkdir()
    with pytest.raises(ValueError, match=r"abrs does not exist; expected an npz, a CSV, or .* Did you mean 'abr'\?"):
        read(tmp_path / "abrs", {})
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a.mat is neither an npz nor a CSV"):
        read(tmp_path / "a.mat", {})


@pytest.mark.parametrize(
    ("suffix", "columns", "message"),
    [
        (".npz", {"label": "labels"}, r"has no array labels, which data.columns names for label; .* mean 'label'\?"),
        (".csv", {"label": "labels"}, r"has no column labels, which data.columns names for label; .* mean 'label'\?"),
        (".csv", {"latency_ms": "latencies"}, r"has no column latencies, which .* for latency_ms; it has"),
        (".csv", {"age": "years", "rate": "clicks"}, r"has no column years, .* and no clicks, .* for rate; it has"),
        (".npz", {"age": "years", "rate": "clicks"}, r"has no array years, .* and no clicks, .* for rate; it has"),
        (".csv", {"waveforms": "x"}, r"has no columns x000 to x199; it has s000"),
    ],
)
def test_names_that_are_not_there(tmp_path: Path, suffix: str, columns: dict[str, str], message: str) -> None:
    path = write(tmp_path / f"a{suffix}", some())
    with pytest.raises(ValueError, match=re.escape(str(path)) + " " + message):
        read(path, columns)
