"""Tensors: scaled as said, split by patient, the same from files and from the generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from objectives.abr.data import Dataset, as_tensors, load, load_held_out
from objectives.abr.generator import generate
from objectives.abr.records import CLASSES, Records
from tests.objectives.abr.records import arrays_of, some, write


def two_records(clean: bool = True) -> Records:
    rows = generate(100, 0).of(np.arange(2))
    waveforms = np.tile(np.array([0.0, 2.0], np.float32), (2, 100))  # mean 1, standard deviation 1
    waveforms[1] = 10 * waveforms[1] - 4  # mean 6, standard deviation 10
    values = vars(rows) | {"waveforms": waveforms, "clean": np.full((2, 200), 26, np.float32) if clean else None}
    return Records(**values | {"statics": np.array([[1, 2, 3, 4], [3, 2, 1, 8]], np.float32)})


def test_each_waveform_is_scaled_by_itself_and_its_clean_one_by_the_same_numbers() -> None:
    tensors = as_tensors(two_records(), np.array([1.0, 2, 1, 4]), np.array([2.0, 1, 2, 1]))
    assert tensors.signal.shape == tensors.target.shape == (2, 1, 200)
    assert tensors.signal[0, 0, :4].tolist() == tensors.signal[1, 0, :4].tolist() == [-1, 1, -1, 1]
    assert tensors.target[:, 0, 0].tolist() == [25, 2]  # (26 - 1) / 1 and (26 - 6) / 10
    assert tensors.statics.tolist() == [[0, 0, 1, 0], [1, 0, 0, 4]]


def test_without_clean_the_waveform_itself_is_to_be_given() -> None:
    tensors = as_tensors(two_records(clean=False), np.zeros(4), np.ones(4))
    assert torch.equal(tensors.signal, tensors.target)


@pytest.fixture(scope="module")
def made() -> Dataset:
    return load(records=400, seed=1)


def test_generated_records(made: Dataset) -> None:
    assert made.test is not None
    parts = [made.train, made.val, made.test]
    assert len(made.train.signal) + len(made.val.signal) == 400
    assert len(made.val.signal) == pytest.approx(100, abs=12)
    for part in parts:
        assert set(part.label.tolist()) == set(range(5))
        assert torch.allclose(part.signal.mean(-1), torch.tensor(0.0), atol=1e-5)
        assert torch.allclose(part.signal.std(-1, correction=0), torch.tensor(1.0), atol=1e-5)
    assert torch.allclose(made.train.statics.mean(0), torch.tensor(0.0), atol=1e-5)
    assert torch.allclose(made.train.statics.std(0, correction=0), torch.tensor(1.0), atol=1e-5)
    assert made.val.statics.mean(0).abs().max() > 1e-3  # by the training statistics, not their own
    waves = {tuple(one.tolist()) for part in parts for one in part.signal[:, 0, :20]}
    assert len(waves) == sum(len(part.signal) for part in parts)


def test_files_give_what_the_generator_gave(tmp_path: Path, made: Dataset) -> None:
    write(tmp_path / "records.npz", arrays_of(generate(400, 1)))
    read = load(tmp_path, seed=1)
    assert read.test is None
    for name in ("train", "val"):
        for one, other in zip(getattr(read, name), getattr(made, name), strict=True):
            torch.testing.assert_close(one, other)
    assert read.summary.startswith(f"{tmp_path}: train 30")
    assert "no clean" not in read.summary


def test_no_patient_is_in_two_splits(tmp_path: Path) -> None:
    """Found again by the waveforms."""
    records = generate(400, 2)
    write(tmp_path / "records.npz", arrays_of(records))
    dataset = load(tmp_path, test_fraction=0.25, val_fraction=0.25, seed=5)
    scaled = as_tensors(records, dataset.mean, dataset.std)
    patient_of = {one.numpy().tobytes(): patient for one, patient in zip(scaled.signal, records.patient, strict=True)}
    assert dataset.test is not None
    parts = [{patient_of[one.numpy().tobytes()] for one in part.signal} for part in (dataset.train, dataset.val,
                                                                                     dataset.test)]  # fmt: skip
    assert sum(map(len, parts)) == 100
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def given(**changed: Any) -> dict[str, Any]:
    """Each patient in a split, all classes in each: of the 100 patients every third."""
    records = generate(400, 3)
    split = np.full(400, "train", dtype="U10")
    for code in range(len(CLASSES)):
        patients = np.unique(records.patient[records.label == code])
        for name, some_of in (("validation", patients[::4]), ("test", patients[1::4])):
            split[np.isin(records.patient, some_of)] = name
    return arrays_of(records) | {"split": split} | changed


def test_a_column_of_splits_wins(tmp_path: Path) -> None:
    arrays = given()
    write(tmp_path / "records.csv", arrays)
    dataset = load(tmp_path, val_fraction=0.5, test_fraction=0.1)
    assert len(dataset.val.signal) == (arrays["split"] == "validation").sum()
    assert dataset.test is not None
    assert len(dataset.test.signal) == (arrays["split"] == "test").sum()
    # A held-out folder of the same kind: its test split; without a column all of it.
    held_out = load_held_out(tmp_path, (), dataset.mean, dataset.std)
    torch.testing.assert_close(held_out.statics, dataset.test.statics)
    write(tmp_path / "later" / "records.npz", arrays_of(generate(100, 9)))
    assert len(load_held_out(tmp_path / "later", (), dataset.mean, dataset.std).signal) == 100
    write(tmp_path / "only" / "train_records.npz", some())
    with pytest.raises(ValueError, match=r"only has records to train or validate on only; expected test_records"):
        load_held_out(tmp_path / "only", (), dataset.mean, dataset.std)
    write(tmp_path / "silent" / "records.npz", some(peak_exists=np.zeros(120, bool)))
    with pytest.raises(ValueError, match=r"silent: none of the 120 records has a wave V; expected some"):
        load_held_out(tmp_path / "silent", (), dataset.mean, dataset.std)


def test_a_patient_in_two_splits(tmp_path: Path) -> None:
    arrays = given()
    arrays["split"][np.flatnonzero(arrays["patient"] == "p00007")[0]] = "val"
    write(tmp_path / "records.npz", arrays)
    with pytest.raises(ValueError, match=r"^.*: patient p00007 is in \w+ and in \w+; expected each in one split"):
        load(tmp_path)


def test_a_patient_in_files_of_two_splits(tmp_path: Path) -> None:
    records = generate(400, 0)
    write(tmp_path / "records.npz", arrays_of(records.of(np.arange(398))))
    write(tmp_path / "test_records.npz", arrays_of(records.of(np.arange(398, 400))))
    with pytest.raises(ValueError, match=r"patient p00099 is in train and in test"):
        load(tmp_path)


def test_a_class_may_be_absent_from_validation_but_not_from_training(tmp_path: Path) -> None:
    arrays = given()
    held_out = arrays["split"] != "train"
    absent = held_out & (arrays["label"] == "TOTAL")
    write(tmp_path / "val" / "records.npz", arrays | {"label": np.where(absent, "NORMAL", arrays["label"])})
    assert "TOTAL" not in load(tmp_path / "val").summary.split("; ")[1]
    absent = ~held_out & (arrays["label"] == "TOTAL")
    write(tmp_path / "train" / "records.npz", arrays | {"label": np.where(absent, "NORMAL", arrays["label"])})
    with pytest.raises(ValueError, match=r"val records have class TOTAL, and those that train none of it; expected"):
        load(tmp_path / "train")


def test_some_of_the_classes(tmp_path: Path) -> None:
    write(tmp_path / "records.npz", some(400))
    found = load(tmp_path, classes=("NORMAL", "SNIK"))
    assert set(found.train.label.tolist()) == {0, 2}
    assert "records of other classes left out" in found.summary
    with pytest.raises(ValueError, match=r"data.classes has 'NORMEL'; expected some of .* Did you mean 'NORMAL'\?"):
        load(tmp_path, classes=("NORMEL", "SNIK"))
    with pytest.raises(ValueError, match=r"expected at least two of"):
        load(tmp_path, classes=("SNIK",))
    two = some(400)
    two["label"] = np.where(two["label"] == "NORMAL", "NORMAL", "SNIK")
    write(tmp_path / "two" / "records.npz", two)
    assert set(load(tmp_path / "two").train.label.tolist()) == {0, 2}
    with pytest.raises(ValueError, match=r"has no record of TOTAL, which data.classes names; it has NORMAL, SNIK"):
        load(tmp_path / "two", classes=("NORMAL", "TOTAL"))


def test_statics_that_a_file_does_not_have_are_zero(tmp_path: Path) -> None:
    arrays = some(400)
    write(tmp_path / "less" / "records.npz", {name: one for name, one in arrays.items() if name != "noise"})
    write(tmp_path / "all" / "records.npz", arrays)
    less, whole = load(tmp_path / "less"), load(tmp_path / "all")
    assert not less.train.statics[:, 3].any()
    assert less.train.statics[:, :3].std() > 0.5
    assert "records.npz has no noise, which the network is not told" in less.summary
    # What one of the two knows, the other does not disturb.
    assert not load_held_out(tmp_path / "all", (), less.mean, less.std).statics[:, 3].any()
    assert not load_held_out(tmp_path / "less", (), whole.mean, whole.std).statics[:, 3].any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"split": np.array(["train"] * 399 + ["tset"])}, r"sample 400 is in split 'tset'; expected train, val"),
        ({"split": None, "peak_exists": np.zeros(400, bool)}, r", train: none of the \d+ records has a wave V"),
    ],
)
def test_other_mistakes(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    arrays = {name: array for name, array in given(**changed).items() if array is not None}
    write(tmp_path / "records.npz", arrays)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_a_fraction_out_of_its_range() -> None:
    for name in ("val_fraction", "test_fraction"):
        with pytest.raises(ValueError, match=f"{name} is 1.5; expected a number from 0 to below 1"):
            load(records=120, **{name: 1.5})


def test_a_static_that_is_the_same_for_all(tmp_path: Path) -> None:
    write(tmp_path / "records.npz", some(400, rate=np.full(400, 21.1)))
    dataset = load(tmp_path)
    assert not dataset.train.statics[:, 2].any()
    assert not dataset.val.statics[:, 2].any()


def test_the_summary_names_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "records.npz", some(400, clean=None, ward=np.zeros(3)))
    summary = load(tmp_path).summary
    assert summary.endswith("; no clean, so that the recorded waveform is reconstructed; records.npz: ward not used")
