"""`hpo delete`: remove a study from its storage and from the runs folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from hpo import layout
from hpo.analysis.formatting import count
from hpo.cli.common import find_study, runs_option, say
from hpo.errors import HpoError, StudyNotFound


@click.command(
    epilog="""\b
Examples:
  hpo delete quickstart             asks before it deletes
  hpo delete quickstart --yes       does not ask, for scripts
"""
)
@click.argument("study")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@runs_option
def delete(study: str, yes: bool, runs: Path) -> None:
    """Delete a study: its trials, its files, its report.

    Nothing of it is kept, checkpoints included; its runs in MLflow go to MLflow's trash, which
    `mlflow gc` empties. A study that is being driven is refused. STUDY is a name in the runs folder
    or a YAML.
    """
    from hpo.storage.driver_lock import driver_lock

    name = find_study(runs, study)
    directory = layout.study_directory(runs, name)
    # Held to the end, so that no driver can start on a half-deleted study.
    with driver_lock(directory):
        trials = _trials(runs, name)
        if not yes:
            what = f"study '{name}' ({count(trials, 'trial')}) and all of {directory}"
            if not (sys.stdin.isatty() and sys.stdout.isatty()):
                raise HpoError(f"this would delete {what}; without a terminal to ask on, that needs --yes")
            if not click.confirm(f"Delete {what}?"):
                raise HpoError("nothing was deleted")
        _delete_from_storage(runs, name)
        tracked = _delete_runs(runs, name)
        folders = layout.trials_directory(directory)
        if folders.is_symlink():  # engine.checkpoint_dir
            shutil.rmtree(folders.resolve().parent, ignore_errors=True)
        shutil.rmtree(directory)
    say(f"deleted study '{name}' ({count(trials, 'trial')}){tracked}")


def _trials(runs: Path, name: str) -> int:
    """Count the trials that its storage has: none if the study was deleted there before."""
    from hpo.storage.load_study import load_study

    try:
        return len(load_study(runs, name)[1].get_trials(deepcopy=False))
    except StudyNotFound:
        return 0


def _delete_from_storage(runs: Path, name: str) -> None:
    import optuna

    from hpo.spec.load import load_spec
    from hpo.storage.open import open_storage, storage_url

    spec = load_spec(layout.study_directory(runs, name) / layout.SPEC, locate=False)
    storage = open_storage(storage_url(spec, runs))
    try:
        optuna.delete_study(study_name=name, storage=storage)
    except KeyError:
        return  # deleted there before, with optuna-dashboard or by a deletion that was cut short


def _delete_runs(runs: Path, name: str) -> str:
    """Return what became of its runs in MLflow. A server that is away does not keep a study from being deleted."""
    from hpo.spec.load import load_spec
    from hpo.trackers.mlflow.sync import discard

    spec = load_spec(layout.study_directory(runs, name) / layout.SPEC, locate=False)
    try:
        thrown = discard(runs, spec)
    except HpoError as error:
        return f"; its runs in MLflow stay: {error}"
    return f"; {count(thrown, 'run')} of it went to MLflow's trash" if thrown else ""
