"""Paths of all files below `runs/`, spelled in this one place.

runs/journal.log                      the Optuna journal of all studies (default storage)
runs/journal.log.snapshot             a cache: what the first records of the journal come to; can be deleted
runs/mlflow.db, mlartifacts/          the MLflow runs of all studies and their files (default store)
runs/knowledge/<study>-<mark>.json    results of studies run elsewhere (hpo import-knowledge)
runs/.trash/<study>-<time>/           a study that was deleted (hpo delete); hpo restore brings it back
runs/.trash/<study>-<time>/saved.json      what the entry is, and how far the deletion came; as in a backup
runs/.trash/<study>-<time>/optuna.log      its Optuna study, as a journal of its own
runs/.trash/<study>-<time>/folder/         its folder
runs/.backups/<study>-<time>.tar       a study as it was before `hpo grow`
runs/.reproduced/<study>-<N>-<time>/  a runs folder in which trial N was trained again (hpo reproduce)
runs/<study>/study.yaml               the study as it ran (paths absolute, passwords removed)
runs/<study>/identity.json            the random key of the study to which the folder belongs, and the folder's place
runs/<study>/driver.lock              the process that drives it now
runs/<study>/driver.log               messages of its drivers, run after run
runs/<study>/requests/                requests of `hpo stop` and others to the driver, and its answers
runs/<study>/steering.json            state that outlives the driver: paused or not, an extended budget
runs/<study>/confirmed.json           standings of its trials in the confirmation of the study
runs/<study>/jobs/                    scripts and logs of its cluster jobs; jobs.jsonl lists them
runs/<study>/lost+found/              files of other studies, and what `hpo doctor --fix` set aside
runs/<study>/report.html, .md, .json  the report; report.zh-TW.html and .md are in that language
runs/<study>/report-images/           the figures of report.md, if wanted
runs/<study>/mlflow.json              MLflow key, tracking URI and experiment of the study
runs/<study>/mlflow.lock, mlflow.log  lock and log of the process that writes those runs
runs/<study>/ensembles/<time>.json    a result of `hpo ensemble`
runs/<study>/workers/<k>.log          output of a worker outside of trials
runs/<study>/mps/                     logs of NVIDIA MPS
runs/<study>/provenance/<mark>.json   packages, machine, git commit and data files that its trials have in common
runs/<study>/trials/                  a link if engine.checkpoint_dir is set
runs/<study>/trials/histories/<k>.jsonl  the histories of trials 1000 k to 1000 k + 999 that left nothing else
runs/<study>/trials/<N>/history.jsonl every metric of every step
runs/<study>/trials/<N>/output.log    output of the trial
runs/<study>/trials/<N>/error.txt     the traceback of a failed trial
runs/<study>/trials/<N>/crash.txt     Python stacks at a crash or a timeout
runs/<study>/trials/<N>/checkpoint.pkl   last state of Trial.save; of the best and the unfinished trials
runs/<study>/trials/<N>/weights.pt    the best epoch's weights, if the objective keeps them; of the best trials
runs/<study>/trials/<N>/steps.npz     the losses of every step, if the objective keeps them
runs/<study>/trials/<N>/epochs.npz    arrays of every epoch, such as histograms, if the objective keeps them
runs/<study>/trials/<N>/data.json     samples and fingerprint of the data, if the objective keeps them
runs/<study>/trials/<N>/evaluations/<time>.json  a result of `hpo evaluate` on the trial's weights
runs/<study>.confirm/                 the study that confirms another one (hpo confirm)
runs/<A>/comparison-with-<B>.html, .md, .json  report of `hpo compare A B`
runs/<study>/trials/<N>/diagnosis.html, .md, .json  report of `hpo diagnose` on the trial
"""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

JOURNAL = "journal.log"
SNAPSHOT = ".snapshot"  # behind the name of a journal
HISTORY = "history.jsonl"
TRIALS = "trials"  # the folder of a study in which each trial has its own
HISTORIES = "histories"
OUTPUT = "output.log"
ERROR = "error.txt"
CRASH = "crash.txt"
CHECKPOINT = "checkpoint.pkl"
WEIGHTS = "weights.pt"
STEPS = "steps.npz"
EPOCHS = "epochs.npz"
DATA = "data.json"
EVALUATIONS = "evaluations"
ENSEMBLES = "ensembles"
MPS = "mps"
PROVENANCE = "provenance"
SPEC = "study.yaml"
OWNER = "identity.json"
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
TRASH = ".trash"
BACKUPS = ".backups"
REPRODUCED = ".reproduced"
SAVED = "saved.json"
SAVED_STUDY = "optuna.log"
SAVED_FOLDER = "folder"
CONFIRMED = "confirmed.json"
CONFIRM = ".confirm"


def runs_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds all studies: the one given, else $HPO_RUNS, else ./runs."""
    return absolute(given or os.environ.get("HPO_RUNS") or "runs")


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path without `..`: a folder that it only leads through may be removed later.

    Links stay as they are, but for those before a `..`.
    """
    whole = Path(path).absolute()
    if ".." not in whole.parts:
        return whole
    after = len(whole.parts) - whole.parts[::-1].index("..")
    return Path(*whole.parts[:after]).resolve().joinpath(*whole.parts[after:])


def runs_argument(runs: Path) -> str:
    """Return ` --runs DIR` for a command that is typed here; empty if `runs` is the default."""
    with contextlib.suppress(FileNotFoundError):  # the folder that the run was started in may be removed meanwhile
        if runs == runs_folder():
            return ""
    return f" --runs {shlex.quote(str(runs))}"


def follow_up(command: str, runs: Path) -> str:
    """Return `hpo <command>` as it has to be typed here, with --runs unless it is the default."""
    return f"hpo {command}{runs_argument(runs)}"


def how_to_continue(runs: Path, name: str) -> str:
    """Return a sentence on how to continue a study that has no driver."""
    recorded = shlex.quote(str(study_directory(runs, name) / SPEC))
    return f"`{follow_up(f'run {recorded}', runs)}` continues it, and so does `hpo submit`"


def knowledge_directory(runs: Path) -> Path:
    """Return the folder of imported knowledge files."""
    return runs / KNOWLEDGE


def trash_directory(runs: Path) -> Path:
    """Return the folder of deleted studies."""
    return runs / TRASH


def study_directory(runs: Path, study: str) -> Path:
    """Return the folder of a study."""
    return runs / study


def confirmation_name(study: str) -> str:
    """Return the name of the study that confirms another one."""
    return f"{study}{CONFIRM}"


def trials_directory(study: Path) -> Path:
    """Return the folder of a study's trials."""
    return study / TRIALS


def trial_directory(study: Path, number: int) -> Path:
    """Return the folder of one trial."""
    return trials_directory(study) / str(number)


def has_checkpoint(study: Path, number: int) -> bool:
    """Return True if a trial has saved a checkpoint that is still there."""
    return os.path.exists(os.path.join(study, TRIALS, str(number), CHECKPOINT))  # as text: see `history_file`


def history_file(study: Path, number: int) -> str:
    """Return the history of one trial, as text.

    A `Path` interns the parts of its name, which takes time and memory: a hundred thousand are looked at.
    """
    return os.path.join(study, TRIALS, str(number), HISTORY)


def segments_directory(study: Path) -> Path:
    """Return the folder of the segments, each with the histories of many trials."""
    return trials_directory(study) / HISTORIES


def make_trial_directory(directory: Path) -> None:
    """Make the folder of a trial unless it is there.

    Whatever the umask, only its owner may write in it: a state that others could put there is not safe to load.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)


def workers_directory(study: Path) -> Path:
    """Return the folder of the logs of workers, as every node sees it."""
    return trials_place(study) / "workers"


def trials_place(study: Path) -> Path:
    """Return the folder in which the folder of a study's trials really lies, also if it is a link."""
    return Path(os.path.realpath(trials_directory(study))).parent


def closed_folders(runs: Path) -> list[Path]:
    """Return the folders in a runs folder that this user may not look into: what they hold is not known."""
    found = sorted(runs.glob("[!.]*")) if runs.is_dir() else []
    return [path for path in found if path.is_dir() and not os.access(path, os.R_OK | os.X_OK)]


def folders_without_spec(runs: Path) -> list[Path]:
    """Return the folders of trials whose study.yaml is gone."""
    found = sorted(runs.glob("[!.]*")) if runs.is_dir() else []
    closed = set(closed_folders(runs))
    return [
        path for path in found if path not in closed and trials_directory(path).is_dir() and not (path / SPEC).exists()
    ]


def studies_in(runs: Path) -> list[str]:
    """Return the names of the studies in a runs folder, the one last driven first."""
    try:
        names = os.listdir(runs)
    except OSError:
        return []
    found = []
    for name in names:
        with contextlib.suppress(OSError):  # it is none, is closed to this user, or was removed this moment
            if not name.startswith("."):
                found.append((os.stat(os.path.join(runs, name, SPEC)).st_mtime, name))
    return [name for _, name in sorted(found, reverse=True)]
