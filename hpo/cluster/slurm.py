"""SLURM: sbatch and squeue. Jobs of one study have one name, and `singleton` lets one of them run at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo.cluster.commands import asked, submitted

COMMAND = "sbatch"


def submit(script: Path, cwd: Path, after: str | None = None) -> str:
    """Submits a script and returns the job's id. `after` is in the script. Raises HpoError."""
    # `17;cluster` where there are several clusters
    return submitted([COMMAND, "--parsable", str(script)], cwd).partition(";")[0]


def states(ids: Sequence[str]) -> dict[str, str]:
    """Of the jobs that wait or run: PENDING, RUNNING, COMPLETING and so on."""
    lines = asked(["squeue", "-h", "-j", ",".join(ids), "-o", "%i %T"]).splitlines()
    return {words[0]: words[1] for line in lines if len(words := line.split()) == 2}
