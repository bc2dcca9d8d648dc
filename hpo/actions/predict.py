"""Answers of kept weights to new files: masks as TIFF, all else as CSV."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from hpo.actions.best import choose
from hpo.actions.ensemble import LONGEST_PATH, NEW, predict_all, predictor
from hpo.actions.kept_weights import KeptWeights, kept_weights
from hpo.analysis.ensemble_records import ensembles_of
from hpo.analysis.ensemble_scores import class_names
from hpo.analysis.member_predictions import NAME, Average
from hpo.analysis.predictions import PREDICTED, SCORE
from hpo.analysis.records import TrialRecord
from hpo.errors import HpoError, ReportError
from hpo.machine.access import reason
from hpo.machine.files import replacement
from hpo.machine.temporary import scratch_folder

TIFF, CSV = (".tif", ".tiff"), (".csv",)
THRESHOLD = 0.5


@dataclass(frozen=True)
class PredictionFile:
    """A file of predictions.

    Attributes:
        trials: The trials whose weights gave them, and the weight of each in the average.
        items: How many items there are.
        what: What the file holds, such as "masks of 768 x 1024 pixels".
        out: The file.
    """

    trials: tuple[tuple[TrialRecord, float], ...]
    items: int
    what: str
    out: Path


def predict(
    runs: Path,
    name: str,
    data: Path,
    out: Path,
    number: int | None = None,
    ensemble: bool = False,
    overwrite: bool = False,
) -> PredictionFile:
    """Write what kept weights say of new files.

    Args:
        runs: The runs folder.
        name: Name of the study.
        data: The folder of the files.
        out: A .tif or .tiff for masks, else a .csv.
        number: The trial; None for the winner.
        ensemble: Take the average of the trials of the last `hpo ensemble` instead.
        overwrite: Replace `out` if it is there.

    Raises:
        StudyNotFound: There is no such study or trial.
        ObjectiveError: There is no function `predict`, or it raises or returns something else.
        HpoError: Nothing is kept of the trial, there is no ensemble, or `out` cannot be what is asked for.
    """
    _check_out(out, overwrite)
    kept = kept_weights(runs, name)
    trials = _members(kept) if ensemble else ((choose(kept.study, number).trial, 1.0, 0.0, 1.0),)
    function = predictor(kept)
    for trial, *_ in trials:
        kept.place(trial)
    with scratch_folder(LONGEST_PATH) as folder:
        found = predict_all(kept, function, [trial for trial, *_ in trials], NEW, data, folder)
        members = [one.with_scale(*scale) for one, (_, _, *scale) in zip(found, trials, strict=True)]
        average = Average(members, [weight for _, weight, *_ in trials])
        score = average.first.columns.get(SCORE)
        masks = score is not None and score.ndim == 3
        if masks != (out.suffix.lower() in TIFF):
            ending = "a file that ends in .tif, since these are masks" if masks else "a file that ends in .csv"
            raise HpoError(f"--out is {out}; expected {ending}")
        try:
            with replacement(out) as file:
                what = _write_masks(average, file, folder / "masks") if masks else _write_table(average, file)
        except OSError as error:
            raise ReportError(f"{out} cannot be written: {reason(error)}") from error
    return PredictionFile(tuple((trial, weight) for trial, weight, *_ in trials), average.first.rows, what, out)


def _check_out(out: Path, overwrite: bool) -> None:
    if out.suffix.lower() not in (*TIFF, *CSV):
        raise HpoError(f"--out is {out}; expected a file that ends in .tif (masks) or .csv (all else)")
    if out.is_dir():
        raise HpoError(f"--out is {out}, which is a folder; expected a file")
    if out.exists() and not overwrite:
        raise HpoError(f"{out} is there already; expected another name, or --overwrite")
    if not out.parent.is_dir():
        raise HpoError(f"there is no folder {out.parent} for {out.name}; make it first")


def _members(kept: KeptWeights) -> tuple[tuple[TrialRecord, float, float, float], ...]:
    """Return the trials of the last ensemble, their weights, and shift and scale of their scores."""
    stored = ensembles_of(kept.study)
    if not stored:
        raise HpoError(f"study '{kept.study.name}' has no ensemble; `hpo ensemble {kept.study.name}` selects one")
    trials = {trial.number: trial for trial in kept.study.trials}
    return tuple((trials[one.trial], one.weight, one.shift, one.scale) for one in stored[-1].taken)


def _write_masks(average: Average, file: IO[bytes], scratch: Path) -> str:
    """Write a page an item, 255 where the probability is above one half and 0 elsewhere; return what it is."""
    from tifffile import TiffWriter

    threshold = float(average.first.about.get("threshold", THRESHOLD))
    shape = average.first.columns[SCORE].shape

    def pages() -> Iterator[NDArray[np.uint8]]:
        for _, (scores,) in average.parts(SCORE):
            for page in scores:
                yield np.where(page > threshold, 255, 0).astype(np.uint8)

    # tifffile needs a name of the file, which one of `replacement` does not have.
    with TiffWriter(scratch, bigtiff=math.prod(shape) > 2**31) as writer:
        writer.write(pages(), shape=shape, dtype=np.uint8, photometric="minisblack", compression="zlib")
    with scratch.open("rb") as written:
        shutil.copyfileobj(written, file)
    return f"masks of {shape[1]} x {shape[2]} pixels, 0 and 255"


def _write_table(average: Average, file: IO[bytes]) -> str:
    """Write a row an item; return what the columns are."""
    columns = average.first.columns
    names = [name for name in (NAME, SCORE) if name in columns]
    names += [name for name in columns if name not in names]
    flat = [name for name in names if columns[name].ndim <= 2]
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text)
    head = [title for name in flat for title in _titles(average, name)]
    classes = class_names(average, columns[SCORE].shape[1]) if SCORE in columns and columns[SCORE].ndim == 2 else None
    writer.writerow([*head, *([PREDICTED] if classes else [])])
    for _, parts in average.parts(*flat):
        for cells in zip(*parts, strict=True):
            row = [value for cell in cells for value in _values(cell)]
            writer.writerow([*row, *([classes[int(np.argmax(cells[flat.index(SCORE)]))]] if classes else [])])
    text.flush()
    text.detach()
    return f"the columns {', '.join([*head, *([PREDICTED] if classes else [])])}"


def _titles(average: Average, name: str) -> Iterator[str]:
    column = average.first.columns[name]
    if column.ndim == 1:
        yield name
    elif name == SCORE:
        yield from (f"{name}_{one}" for one in class_names(average, column.shape[1]))
    else:
        yield from (f"{name}_{index}" for index in range(column.shape[1]))


def _values(cell: np.generic | np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> list[object]:
    """Return a cell as Python's values; numbers with as many digits as they hold."""
    return [f"{value:.8g}" if isinstance(value, float) else value for value in np.atleast_1d(cell).tolist()]
