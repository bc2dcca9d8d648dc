"""Trials per GPU hour, by the share of a GPU that each trial has.

A study of equal trials is driven with `hpo run` for some seconds with each share, and ended. Counted are the epochs
that were reported from the moment when every place had reported one, which leaves out the start of the processes; of
`auto` from the first report on, since its trials that run alone are its price. An epoch is a part of a trial, so few
seconds are enough for many of them, and the pauses between trials count.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts.box import Box
from benchmarks.gpu_parts.studies import Study
from hpo.machine.mps import PROGRAM
from hpo.storage.history import Step

# What is trained, by the name of the row.
WORKLOADS: Mapping[str, Mapping[str, Any]] = {
    "ABR small": {
        "objective": "objectives.abr:train",
        "metrics": [{"name": "val_score", "direction": "maximize"}],
        "constants": {"architecture": "small", "epochs": 12, "data": {"records": 1500}},
    },
    "U-Net 16, patches of 128": {
        "objective": "objectives.mitochondria:train",
        "metrics": [{"name": "val_jaccard", "direction": "maximize"}],
        "constants": {"base_width": 16, "epochs": 12,
                      "data": {"slices": 16, "height": 256, "width": 256, "patch_size": 128}},
    },
}  # fmt: skip
TINY = {"ABR tiny": {**WORKLOADS["ABR small"],
        "constants": {"architecture": "tiny", "epochs": 2, "batch_size": 16, "data": {"records": 180}}}}  # fmt: skip
# Share, and whether NVIDIA MPS may be used; in the order of worth.
SETTINGS: tuple[tuple[Any, bool], ...] = (
    *((1, False), ("auto", True), (0.25, True), (0.5, True), (0.125, True)),
    *((0.25, False), ("auto", False), (0.5, False), (0.125, False)),
)
# Seconds of a run: at most until every place has reported, what is measured from then on, and the usual whole.
START, MEASURED, WHOLE = 25.0, 6.0, 17.0
# A dry run has the patience for a machine that does ten other things at once.
DRY_START = 300.0


def run(box: Box) -> None:
    """Drive the study with share after share."""
    has_mps = shutil.which(PROGRAM) is not None
    if not has_mps:
        box.leave_out("all with NVIDIA MPS", f"{PROGRAM} is not on the PATH")
    settings = [(share, uses) for share, uses in SETTINGS if has_mps or share == 1 or not uses]
    if box.dry:
        settings = [(0.5, False), ("auto", False)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for workload, keys in (TINY if box.dry else WORKLOADS).items():
            for index, (share, uses_mps) in enumerate(settings):
                what = f"{workload}, gpu: {share}, {'with' if uses_mps else 'without'} MPS"
                if box.fits(WHOLE, what):
                    folder = Path(name) / f"{workload.split()[0]}-{index}"
                    box.add(**measured(Study(folder, study_keys(keys, share), uses_mps), workload, share, box))


def study_keys(keys: Mapping[str, Any], share: Any) -> dict[str, Any]:
    """Return the keys of the study."""
    space = {"learning_rate": {"low": 1e-4, "high": 1e-3, "log": True}}
    return {**keys, "search_space": space, "budget": {"trials": 10_000}, "engine": {"gpu": share}}


def measured(study: Study, workload: str, share: Any, box: Box) -> dict[str, Any]:
    """Drive a study for some seconds. Return the row."""
    epochs, places = study.keys["constants"]["epochs"], 1 if share == "auto" else round(1 / share)
    with study.driven(box.dry) as process:
        until = time.monotonic() + min(DRY_START if box.dry else START, box.left() - MEASURED)
        while time.monotonic() < until and process.poll() is None and reporting(study) < places:
            time.sleep(0.2)
        until = time.monotonic() + (DRY_START if box.dry else MEASURED)
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.2)
            if box.dry and (throughput(rows_so_far(study), places) or 0) > 0:
                break
        ended_by_itself = process.poll() is not None
    rows = rows_so_far(study)
    rate = throughput(rows, places)
    return {
        "workload": workload,
        "gpu": share,
        "mps": study.mps,
        "trials_per_gpu_hour": None if rate is None else 3600 * rate / epochs,
        "reported_epochs": sum(len(steps) for steps in rows.values()),
        "said": [line.strip() for line in study.said("GPU")],
        "stopped": study.log.read_text(errors="replace").strip().splitlines()[-1:] if ended_by_itself else None,
    }


def rows_so_far(study: Study) -> dict[int, list[Step]]:
    """Return the rows of each trial; none while the study is being made."""
    try:
        return study.rows()
    except Exception:  # the driver is writing its first files
        return {}


def reporting(study: Study) -> int:
    """Return how many trials have reported."""
    return sum(bool(steps) for steps in rows_so_far(study).values())


def throughput(rows: Mapping[int, Sequence[Step]], places: int) -> float | None:
    """Return reports a second from when the first reports of so many trials are there; None if there are too few.

    The trials that run when the study is ended stop together, so no place is idle before the last report.
    """
    first = sorted(steps[0].time for steps in rows.values() if steps)
    if len(first) < places:
        return None
    times = [row.time for steps in rows.values() for row in steps]
    began, ended = first[places - 1], max(times)
    later = sum(time > began for time in times)
    return later / (ended - began) if later >= 2 and ended > began else None
