"""Records as tensors on the CPU, split by patient: the user's own files, or made-up records without any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objectives.abr.files import read
from objectives.abr.generator import generate
from objectives.abr.records import CLASSES, Records
from objectives.fingerprint import Fingerprint, fingerprint
from objectives.splits import SPLITS, TEST_SEED_OFFSET, assign, check_classes
from objectives.wording import meant


@dataclass(frozen=True)
class Tensors:
    """Records as tensors, a row each.

    Attributes:
        signal: (n, 1, 200), of mean 0 and standard deviation 1 each.
        target: (n, 1, 200), what denoising is to give, scaled as its signal; the signal itself where there is no
            better.
        statics: (n, 4), standardised.
        label: (n,) int64.
        exists: (n,) bool.
        latency: (n,), ms.
        amplitude: (n,), uV.
        threshold: (n,), dB.
        patient: (n,) names, no tensor.
    """

    signal: Tensor
    statics: Tensor
    target: Tensor
    label: Tensor
    exists: Tensor
    latency: Tensor
    amplitude: Tensor
    threshold: Tensor
    patient: NDArray[np.str_]

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, name) for name in FIELDS)


FIELDS = tuple(name for name in Tensors.__dataclass_fields__ if name != "patient")  # the tensors, in this order


@dataclass(frozen=True)
class Dataset:
    """The splits of a study's data.

    Attributes:
        train: The records that train.
        val: The records that validate.
        test: The records of the test, if there are any.
        mean: (4,), of the training records' statics.
        std: (4,), likewise.
        summary: What there is and what was left out, one line.
        fingerprints: Of "train" and "val".
    """

    train: Tensors
    val: Tensors
    test: Tensors | None
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    summary: str
    fingerprints: dict[str, Fingerprint]


@lru_cache(maxsize=2)  # once a worker process, not once a trial
def load(
    root: Path | None = None,
    columns: tuple[tuple[str, str | None], ...] = (),
    val_fraction: float = 0.25,
    test_fraction: float = 0.0,
    seed: int = 0,
    records: int = 6000,
    classes: tuple[str, ...] | None = None,
) -> Dataset:
    """Return the splits of the user's files, or of made-up records.

    All records of a patient are in one split. What the files do not split is split by `seed`, each class with the same
    share. Without `root`, a test is made of other patients.

    Args:
        root: The file or the folder (`objectives.abr.files`); None: records are made up.
        columns: As there, its items.
        val_fraction: The part of the records that validates.
        test_fraction: The part of the records for a test; of made-up records 0 means as many as validate.
        seed: Of the split and of made-up records.
        records: How many are made up to train and validate on.
        classes: Records of other classes are left out; None: all that the files have are taken.

    Raises:
        ValueError: An argument is out of its range, files are wrong in any way, a patient is in two splits, a split has
            a class that is not trained, or a split has no wave V.
    """
    if classes is not None:
        _check_named(classes)
    if root is None:
        if not 0 <= test_fraction < 1:  # of files `assign` says so
            raise ValueError(f"test_fraction is {test_fraction!r}; expected a number from 0 to below 1")
        source, where, note = generate(records, seed), "generated records", ""
    else:
        source, note = read(root, dict(columns))
        where = str(root)
    source, left_out = _of_classes(source, classes, where)
    fraction = 0.0 if root is None else test_fraction
    splits = assign(
        len(source.label), val_fraction, fraction, seed, labels=source.label, groups=source.patient,
        given=source.split, where=where,
    )  # fmt: skip
    there = np.unique(source.label)
    if root is None:
        check_classes(np.array(CLASSES)[source.label], splits, [CLASSES[code] for code in there], where)
    else:
        _check_trained(source.label, splits, where)
    parts = {split: source.of(splits == split) for split in SPLITS if (splits == split).any()}
    if root is None:
        count = round(records * test_fraction) if test_fraction else len(parts["val"].label)
        parts["test"], _ = _of_classes(generate(max(count, 100), seed + TEST_SEED_OFFSET), classes, where)
    for split, part in parts.items():
        _check_peaks(part, f"{where}, {split}")
    statics = parts["train"].statics.astype(np.float64)
    unknown = np.isnan(statics).any(axis=0)
    mean, std = np.where(unknown, 0.0, statics.mean(0)), statics.std(0)
    # A static that is the same for all says nothing, and becomes 0. So does one that was not known in training.
    std = np.where(unknown, np.inf, np.where(std > 0, std, 1.0))
    tensors = {split: as_tensors(part, mean, std) for split, part in parts.items()}
    described = "; ".join(_described(split, part) for split, part in parts.items())
    denoising = "" if source.clean is not None else "; no clean, so that the recorded waveform is reconstructed"
    return Dataset(
        tensors["train"], tensors["val"], tensors.get("test"), mean, std,
        f"{where}: {described}{left_out}{denoising}{'; ' if note else ''}{note}",
        {split: _fingerprint(parts[split]) for split in ("train", "val")},
    )  # fmt: skip


def load_held_out(
    root: Path,
    columns: tuple[tuple[str, str | None], ...],
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    classes: Sequence[str] | None = None,
) -> Tensors:
    """Return held-out records, standardised by `mean` and `std`: of the split test, or all if there are no splits.

    Raises:
        ValueError: Files that are wrong in any way, and for records to train and validate on only.
    """
    source, _ = read(root, dict(columns))
    if source.split is not None:
        chosen = np.char.lower(source.split) == "test"
        if not chosen.any():
            raise ValueError(
                f"{root} has records to train or validate on only; expected test_records, records whose split is test, "
                "or records of no split: what was trained on is not held out"
            )
        source = source.of(chosen)
    if classes is not None:
        source = source.of(np.isin(np.array(CLASSES)[source.label], list(classes)))
    _check_peaks(source, str(root))
    return as_tensors(source, mean, std)


def as_tensors(records: Records, mean: NDArray[np.float64], std: NDArray[np.float64]) -> Tensors:
    """Return records as tensors.

    Each waveform is scaled to mean 0 and standard deviation 1, and its clean one by the same two numbers. The factor is
    lost with that: of the waveform's size the network sees only what the residual noise in `statics` says, against
    which it can hold the noise that it sees.

    Args:
        records: The records.
        mean: (4,), subtracted from the statics.
        std: (4,), by which they are then divided.
    """
    signal, centre, scale = scaled_waveforms(records.waveforms)
    target = signal if records.clean is None else (records.clean - centre) / scale

    def tensor(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    return Tensors(
        signal=tensor(signal)[:, None],
        statics=tensor(np.nan_to_num((records.statics - mean) / std)),  # what is not known is the mean
        target=tensor(target)[:, None],
        label=torch.from_numpy(records.label),
        exists=torch.from_numpy(records.exists),
        latency=tensor(records.latency),
        amplitude=tensor(records.amplitude),
        threshold=tensor(records.threshold),
        patient=records.patient,
    )


def scaled_waveforms(
    waveforms: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return waveforms, (n, 200), scaled to mean 0 and standard deviation 1 each, and those means and deviations."""
    values = waveforms.astype(np.float64)
    centre, scale = values.mean(axis=1, keepdims=True), values.std(axis=1, keepdims=True)
    return (values - centre) / scale, centre, scale


def _fingerprint(part: Records) -> Fingerprint:
    """Return the fingerprint of what is learnt and measured; the patient's name is neither."""
    held = (values for name, values in vars(part).items() if name not in ("patient", "split"))
    return fingerprint(len(part.label), (values for values in held if values is not None))


def _check_peaks(records: Records, where: str) -> None:
    if not records.exists.any():
        raise ValueError(
            f"{where}: none of the {len(records.exists)} records has a wave V; expected some with peak_exists 1, to "
            "measure latency and amplitude on"
        )


def _check_named(classes: Sequence[str]) -> None:
    for name in classes:
        if name not in CLASSES:
            expected = f"expected some of {', '.join(CLASSES)}.{meant(str(name).upper(), CLASSES)}"
            raise ValueError(f"data.classes has {name!r}; {expected}")
    if len(set(classes)) < 2:
        raise ValueError(f"data.classes is {list(classes)}; expected at least two of {', '.join(CLASSES)}")


def _of_classes(source: Records, classes: Sequence[str] | None, where: str) -> tuple[Records, str]:
    """Return the records of some classes, and a note on those left out."""
    if classes is None:
        return source, ""
    named = np.array(CLASSES)[source.label]
    chosen = np.isin(named, list(classes))
    if lacking := [name for name in classes if not (named == name).any()]:
        held = ", ".join(np.unique(named))
        raise ValueError(f"{where} has no record of {', '.join(lacking)}, which data.classes names; it has {held}")
    others = int((~chosen).sum())
    return source.of(chosen), f"; {others:,} records of other classes left out" if others else ""


def _check_trained(label: NDArray[np.int64], splits: NDArray[np.str_], where: str) -> None:
    """Raise ValueError for a class that is measured and not trained, and for splits of one class."""
    trained = set(label[splits == "train"].tolist())
    for split in SPLITS:
        inside = set(label[splits == split].tolist())
        if unknown := sorted(inside - trained):
            names = ", ".join(CLASSES[code] for code in unknown)
            raise ValueError(
                f"{where}: the {split} records have class {names}, and those that train none of it; expected some "
                "there too, or data.classes without it"
            )
        if len(inside) == 1 and split != "test":
            raise ValueError(
                f"{where}: all {split} records are of class {CLASSES[inside.pop()]}; expected two classes at least"
            )


def _described(split: str, part: Records) -> str:
    counts = np.bincount(part.label, minlength=len(CLASSES))
    classes = ", ".join(f"{name} {count:,}" for name, count in zip(CLASSES, counts, strict=True) if count)
    counted = f"{len(part.label):,} records of {len(np.unique(part.patient)):,} patients"
    return f"{split} {counted} ({classes}), {part.exists.mean():.0%} with a wave V"
