"""`hpo` as a user runs it in a folder, and what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from books import processes_of
from waiting import leftover

# A command that has not ended by then hangs: most take seconds.
_ENDLESS = 600.0


def hpo(arguments: list[str], folder: Path, tmpdir: Path, runs: Path) -> tuple[int | str, str]:
    """Run hpo in a folder; return its exit code and what it printed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "HPO_"))}
    variables |= {"TMPDIR": str(tmpdir), "HPO_TEST_RUN": str(runs), "COLUMNS": "120"}
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # -P: as the script `hpo`, it does not look into the current folder.
    driver = subprocess.Popen(
        [sys.executable, "-P", "-m", "hpo", *arguments],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = driver.communicate(timeout=_ENDLESS)
        code: int | str = driver.returncode
    except subprocess.TimeoutExpired:
        os.killpg(driver.pid, signal.SIGKILL)
        said, _ = driver.communicate()
        code = "no exit code: it hung"
    return code, said.decode("utf-8", errors="surrogateescape")


def remains(runs: Path) -> list[str]:
    """What still runs after the command has ended; it is ended."""
    alive = leftover(processes_of(runs))
    for process in alive:
        process.kill()
    psutil.wait_procs(alive)
    return [f"process {process.pid} is left running" for process in alive]
