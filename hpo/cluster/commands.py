"""Commands of a queue, called so that none of them keeps the user waiting."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from hpo.errors import HpoError

SECONDS_TO_ASK = 2.0
# A busy queue may take its time over a submission.
SECONDS_TO_SUBMIT = 60.0


def asked(command: Sequence[str]) -> str:
    """What a command prints; nothing if it is not here, fails or takes more than 2 s."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS_TO_ASK, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def submitted(command: Sequence[str], cwd: Path) -> str:
    """What the command that submits a job prints. Raises HpoError with what it says if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS_TO_SUBMIT, check=False, cwd=cwd
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
