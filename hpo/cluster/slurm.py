"""Commands of SLURM: sbatch and squeue.

Jobs of one study have one name, and `singleton` lets one of them run at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo.cluster.commands import run_query, run_submission

COMMAND = "sbatch"


def submit(script: Path, cwd: Path, after: str | None = None) -> str:
    """Submit a script and return the job's id; the script itself waits for earlier jobs. Raises HpoError."""
    # `17;cluster` where there are several clusters
    return run_submission([COMMAND, "--parsable", str(script)], cwd).partition(";")[0]


def states(ids: Sequence[str]) -> dict[str, str]:
    """Return the states of the jobs that wait or run, by id: PENDING, RUNNING, COMPLETING and so on."""
    lines = run_query(["squeue", "-h", "-j", ",".join(ids), "-o", "%i %T"]).splitlines()
    return {words[0]: words[1] for line in lines if len(words := line.split()) == 2}
