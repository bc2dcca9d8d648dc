"""Commands of PBS Professional and OpenPBS: qsub and qstat. A job of a study waits for the one before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hpo.cluster.commands import run_query, run_submission

COMMAND = "qsub"

# Jobs that are finished or moved to another server are no longer here.
_STATES = {
    "Q": "PENDING",
    "W": "PENDING",
    "T": "PENDING",
    "H": "HELD",
    "R": "RUNNING",
    "E": "EXITING",
    "S": "SUSPENDED",
    "U": "SUSPENDED",
}


def submit(script: Path, cwd: Path, after: str | None = None) -> str:
    """Submit a script, to start after the end of the job `after`; return the job's id. Raises HpoError."""
    depends = ["-W", f"depend=afterany:{after}"] if after else []
    return run_submission([COMMAND, *depends, str(script)], cwd).splitlines()[-1].strip()


def states(ids: Sequence[str]) -> dict[str, str]:
    """Return the states of the jobs that wait or run, by id: PENDING, RUNNING, HELD and so on."""
    found: dict[str, str] = {}
    wanted = {job.partition(".")[0]: job for job in ids}
    for text in re.split(r"^Job Id: *", run_query(["qstat", "-f", *ids]), flags=re.MULTILINE)[1:]:
        state = re.search(r"^\s*job_state = (\w)", text, re.MULTILINE)
        job = wanted.get(text.split()[0].partition(".")[0])
        if job is not None and state is not None and state[1] in _STATES:
            found[job] = _STATES[state[1]]
    return found
