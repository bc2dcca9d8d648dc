"""Studies that a part drives with `hpo run`, as a user does, and what they left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hpo import layout
from hpo.machine import mps
from hpo.storage.histories import Histories
from hpo.storage.history import Step
from hpo.storage.load_study import load_study

OBJECTIVES = Path(__file__).with_name("objectives.py")
# How `hpo run` is started where NVIDIA MPS must not be used, though it is there.
_WITHOUT_MPS = "import hpo.machine.mps as mps; mps.PROGRAM = 'no-mps'; from hpo.cli.main import main; main()"
NAME = "measured"


@dataclass(frozen=True)
class Study:
    """A study in a folder of its own.

    Attributes:
        folder: Its folder.
        keys: Those of its study.yaml that differ from the defaults of the benchmark.
        mps: NVIDIA MPS is used if it is there.
    """

    folder: Path
    keys: Mapping[str, Any]
    mps: bool = True

    @property
    def runs(self) -> Path:
        """The runs folder."""
        return self.folder / "runs"

    @property
    def log(self) -> Path:
        """What `hpo run` printed."""
        return self.folder / "hpo.log"

    @contextlib.contextmanager
    def driven(self, dry: bool) -> Iterator[subprocess.Popen[bytes]]:
        """Run the study; whatever still runs at the end is ended, the daemon of MPS too.

        Args:
            dry: There is no GPU: trials are placed as if there were one, and train on the CPU.
        """
        self.folder.mkdir(parents=True)
        path = self.folder / "study.yaml"
        defaults = {"name": NAME, "sampler": "random", "pruner": "none", "mlflow": False, "red_flags": [], "seed": 1}
        path.write_text(yaml.safe_dump({**defaults, "warm_start": False, **self.keys}, sort_keys=False))
        program = ["-m", "hpo"] if self.mps else ["-c", _WITHOUT_MPS]
        command = [sys.executable, "-P", *program, "run", str(path), "--runs", str(self.runs)]
        environment = dict(os.environ)
        if dry:
            environment["CUDA_VISIBLE_DEVICES"] = "0"
        if not self.mps:  # nor a daemon that runs already
            environment[mps.PIPES] = str(self.folder / "no-mps")
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield process
        finally:
            if not interrupted(process) and self.mps:
                # Takes over a daemon that a killed driver has left, and ends it.
                with mps.mps(layout.study_directory(self.runs, NAME) / layout.MPS):
                    pass

    def trials(self) -> list[Any]:
        """Return Optuna's trials."""
        return list(load_study(self.runs, NAME)[1].trials)

    def rows(self) -> dict[int, list[Step]]:
        """Return the rows of the history of each trial."""
        trials = self.trials()
        histories = Histories(layout.study_directory(self.runs, NAME), trials)
        return {trial.number: histories.rows(trial) for trial in trials if histories.path(trial).exists()}

    def said(self, words: str) -> list[str]:
        """Return the lines of `hpo run` with these words."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if words in line]


def interrupted(process: subprocess.Popen[bytes], patience: float = 4.0) -> bool:
    """End `hpo run` at once, as two signals do. Return False if it had to be killed."""
    for _ in range(2):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
        return True
    process.kill()
    process.wait()
    return False
