"""Where each file of a run lies: the one place that spells a path inside `runs/`.

runs/journal.log                      the Optuna journal of all studies (default storage)
runs/mlflow.db, mlartifacts/          the MLflow runs of all studies and their files (default store)
runs/knowledge/<study>-<mark>.json    what studies of elsewhere found (hpo import-knowledge)
runs/<study>/study.yaml               the study as it ran (paths absolute, passwords removed)
runs/<study>/driver.lock              who is driving it now
runs/<study>/driver.log               what its drivers said, run after run
runs/<study>/requests/                what `hpo stop` and others ask of the driver, and its answers
runs/<study>/steering.json            what must outlive the driver: that it is paused, a budget that was extended
runs/<study>/jobs/                    scripts and logs of its jobs in a queue; jobs.jsonl lists them
runs/<study>/lost+found/              what `hpo doctor --fix` set aside
runs/<study>/report.html, .md, .json  the report; report.zh-TW.html and .md are in that language
runs/<study>/report-images/           the figures of report.md, if wanted
runs/<study>/mlflow.json              by what the study's MLflow runs are known, and where they are
runs/<study>/mlflow.lock, mlflow.log  of the process that writes them
runs/<study>/workers/<k>.log          what a worker printed outside of a trial
runs/<study>/mps/                     logs of NVIDIA MPS
runs/<study>/trials/                  a link, if engine.checkpoint_dir says to where
runs/<study>/trials/<N>/history.jsonl every metric of every step
runs/<study>/trials/<N>/output.log    what the trial printed
runs/<study>/trials/<N>/error.txt     the traceback of a failed trial
runs/<study>/trials/<N>/crash.txt     Python stacks at a crash or a timeout
runs/<study>/trials/<N>/checkpoint.pkl   Trial.save's last state; of the best trials, and of unfinished ones
runs/<study>/trials/<N>/weights.pt    the best epoch's weights, if the objective keeps them; of the best trials
runs/<study>/trials/<N>/steps.npz     the losses of every step, if the objective keeps them
runs/<study>/trials/<N>/epochs.npz    arrays of every epoch, such as histograms, if the objective keeps them
runs/<study>/trials/<N>/data.json     samples and fingerprint of the data, if the objective keeps them
runs/<A>/comparison-with-<B>.html, .md, .json  of `hpo compare A B`
runs/<study>/trials/<N>/diagnosis.html, .md, .json  of the training, of the trials that were diagnosed (hpo diagnose)
"""

from __future__ import annotations

import hashlib
import os
import shlex
from pathlib import Path

JOURNAL = "journal.log"
HISTORY = "history.jsonl"
OUTPUT = "output.log"
ERROR = "error.txt"
CRASH = "crash.txt"
CHECKPOINT = "checkpoint.pkl"
WEIGHTS = "weights.pt"
STEPS = "steps.npz"
EPOCHS = "epochs.npz"
DATA = "data.json"
MPS = "mps"
SPEC = "study.yaml"
LOCK = "driver.lock"
DRIVER_LOG = "driver.log"
REQUESTS = "requests"
STEERING = "steering.json"
JOBS = "jobs"
LOST_AND_FOUND = "lost+found"
REPORT = "report"
REPORTS = ("report.html", "report.md", "report.json", "report.zh-TW.html", "report.zh-TW.md")
DIAGNOSIS = "diagnosis"
DIAGNOSES = ("diagnosis.html", "diagnosis.md", "diagnosis.json", "diagnosis.zh-TW.html", "diagnosis.zh-TW.md")
KNOWLEDGE = "knowledge"
MLFLOW = "mlflow.json"
MLFLOW_LOCK = "mlflow.lock"
MLFLOW_LOG = "mlflow.log"
MLFLOW_STORE = "mlflow.db"
MLFLOW_ARTIFACTS = "mlartifacts"


def runs_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds all studies: the one given, else $HPO_RUNS, else ./runs."""
    return Path(given or os.environ.get("HPO_RUNS") or "runs").absolute()


def runs_argument(runs: Path) -> str:
    """` --runs DIR` as a command has to be given it here; empty where `runs` is the default."""
    return "" if runs == runs_folder() else f" --runs {shlex.quote(str(runs))}"


def follow_up(command: str, runs: Path) -> str:
    """`hpo <command>` as it has to be typed here: with --runs unless it is the default."""
    return f"hpo {command}{runs_argument(runs)}"


def knowledge_directory(runs: Path) -> Path:
    return runs / KNOWLEDGE


def study_directory(runs: Path, study: str) -> Path:
    return runs / study


def trials_directory(study: Path) -> Path:
    return study / "trials"


def trial_directory(study: Path, number: int) -> Path:
    return trials_directory(study) / str(number)


def workers_directory(study: Path) -> Path:
    """Where workers keep their own logs, as every node sees it."""
    return trials_directory(study).resolve().parent / "workers"


def share_trials(study: Path, shared: Path) -> None:
    """Put the trials' folders of a study into one below `shared`, which other machines see too; a link to it takes
    their place. Raises OSError if that cannot be done, FileExistsError if there are trials here already."""
    trials = trials_directory(study)
    if trials.is_symlink():
        return
    # Two runs folders may have studies of one name.
    mark = hashlib.sha256(os.fsencode(study.resolve())).hexdigest()[:8]
    there = shared / f"{study.name}-{mark}" / "trials"
    there.mkdir(parents=True, exist_ok=True)
    trials.symlink_to(there, target_is_directory=True)


def studies_in(runs: Path) -> list[str]:
    """Names of the studies of a runs folder, the one last driven first."""
    found = [path.parent for path in runs.glob(f"*/{SPEC}")] if runs.is_dir() else []
    return [path.name for path in sorted(found, key=lambda p: p.joinpath(SPEC).stat().st_mtime, reverse=True)]
