"""Calls of a queue's commands, with time limits so that none keeps the user waiting."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from hpo.errors import HpoError

QUERY_TIMEOUT = 2.0
# A busy queue may take its time over a submission.
SUBMIT_TIMEOUT = 60.0


def run_query(command: Sequence[str]) -> str:
    """Return what a command prints; empty if it is not here, fails or takes longer than QUERY_TIMEOUT."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=QUERY_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def run_submission(command: Sequence[str], cwd: Path) -> str:
    """Return what the command that submits a job prints; HpoError with its message if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SUBMIT_TIMEOUT, check=False, cwd=cwd
        )
    except FileNotFoundError:
        raise HpoError(
            f"there is no command {command[0]} here, so nothing was submitted; call hpo submit on a machine that "
            "submits jobs (--dry-run only prints the script)"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HpoError(f"{command[0]} does not answer, so nothing may have been submitted: {error}") from None
    if done.returncode != 0 or not done.stdout.strip():
        said = " ".join((done.stderr or done.stdout).split()) or f"it ended with {done.returncode} and said nothing"
        raise HpoError(f"{command[0]} refused the job: {said}")
    return done.stdout.strip()
