"""SIGKILL of a worker that shares its GPU: the others go on, and the books are exact.

Under NVIDIA MPS a worker that is killed in the middle of a kernel can take other clients of the server along. Their
attempts are lost then, and tried again; how many were is the figure.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts.box import Box
from benchmarks.gpu_parts.memory import wait
from benchmarks.gpu_parts.studies import NAME, OBJECTIVES, Study
from hpo import layout
from hpo.machine.mps import PROGRAM
from hpo.storage.trial_attributes import requeued

TRIALS, PLACES, SECONDS = 8, 4, 30.0


def run(box: Box) -> None:
    """Kill a worker without NVIDIA MPS, and with it."""
    ways = [False, True] if shutil.which(PROGRAM) else [False]
    if len(ways) == 1:
        box.leave_out("with NVIDIA MPS", f"{PROGRAM} is not on the PATH")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for uses_mps in ways:
            if box.fits(SECONDS, f"{'with' if uses_mps else 'without'} NVIDIA MPS"):
                box.add(mps=uses_mps, **killed(Path(name) / str(uses_mps), uses_mps, box))


def killed(folder: Path, uses_mps: bool, box: Box) -> dict[str, Any]:
    """Run a study of trials that share a GPU, and kill the worker of one when all places have reported."""
    trials, places = (3, 2) if box.dry else (TRIALS, PLACES)
    steps = 6 if box.dry else 10
    keys = {
        "objective": f"{OBJECTIVES}:steady",
        "metrics": [{"name": "score", "direction": "maximize"}],
        "search_space": {"x": {"low": 0.0, "high": 1.0}},
        "constants": {"steps": steps, "seconds": 0.05 if box.dry else 0.3},
        "budget": {"trials": trials},
        "engine": {"gpu": 1 / places},
    }
    study = Study(folder, keys, uses_mps)
    victim = None
    with study.driven(box.dry) as process:
        while victim is None and process.poll() is None and box.left() > 0:
            time.sleep(0.05)
            victim = running(study, places)
        if victim is not None:
            os.kill(victim, signal.SIGKILL)
        wait(process, box)
        code = process.poll()
    return {"killed": victim is not None, "exit_code": code, **books(study, trials, steps)}


def running(study: Study, places: int) -> int | None:
    """Return the process of a running trial once so many trials have reported; None before that."""
    noted = [layout.trial_directory(study.runs / NAME, number) / "pid" for number in range(places)]
    if not all(path.exists() and path.stat().st_size > 0 for path in noted):
        return None
    return int(noted[0].read_text())


def books(study: Study, trials: int, steps: int) -> dict[str, Any]:
    """Return what the study left: attempts that were lost, and whether everything is there exactly once."""
    found, rows = study.trials(), study.rows()
    counted = [trial for trial in found if not requeued(trial.user_attrs)]
    lost = [trial for trial in found if requeued(trial.user_attrs)]
    whole = [sorted({row.step for row in rows.get(trial.number, ())}) for trial in counted]
    values = [trial.value == trial.params["x"] for trial in counted if trial.state.name == "COMPLETE"]
    exact = len(counted) == trials == len(values) and all(values)
    exact = exact and all(one == list(range(1, steps + 1)) for one in whole)
    return {"trials": len(counted), "lost": len(lost), "others_lost": max(0, len(lost) - 1), "exact": exact}
