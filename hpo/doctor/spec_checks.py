"""A study's folder whose study.yaml is gone or cannot be read, and a study of the storage whose folder is gone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage

from hpo import layout
from hpo.doctor.finding import Finding, Sure
from hpo.doctor.quarantine import keep_damaged
from hpo.errors import HpoError, SpecError
from hpo.machine.files import write_atomically
from hpo.spec.load import identity_difference, load_spec
from hpo.spec.models import StudySpec
from hpo.storage import trial_attributes
from hpo.trackers.mlflow.files import KeptSpec, kept_spec
from hpo.trackers.mlflow.place import read_place, write_place


def folders(runs: Path) -> list[str]:
    """What looks like a study's folder, also without a study.yaml: the one last driven first, those without last."""
    known = layout.studies_in(runs)
    there = runs.iterdir() if runs.is_dir() else ()
    signs = {path.name for path in there if (path / layout.MLFLOW).exists() or any(path.glob("trials/*"))}
    return [*known, *sorted(signs - set(known))]


def read_spec(runs: Path, name: str) -> StudySpec | Finding:
    """The study's study.yaml, or why it cannot be read."""
    path = layout.study_directory(runs, name) / layout.SPEC
    if not path.exists():
        said = f"{path} is gone"
    else:
        try:
            return load_spec(path, locate=False)
        except SpecError as error:
            first = str(error.problems[0]).partition(";")[0]
            more = len(error.problems) - 1
            said = f"study.yaml cannot be read: {first}" + (f" (and {more} more)" if more else "")
    otherwise = "bring it back, or `hpo run` the YAML that the study was started with: it writes this file anew"
    return _restoration("spec-unreadable", "certain", runs, name, said, otherwise, None)


def without_folder(runs: Path, storage: BaseStorage, where: str) -> Iterator[Finding]:
    """Studies that hpo made in a storage which lies in the runs folder, and that have no folder there."""
    for study in optuna.get_all_study_summaries(storage, include_best_trial=False):
        identity = study.user_attrs.get(trial_attributes.IDENTITY)
        directory = layout.study_directory(runs, study.study_name)
        if identity is None or directory.exists():
            continue
        otherwise = "bring it back from a backup, or give the study up with `optuna delete-study`"
        said = f"{where} has a study '{study.study_name}', whose folder {directory} is gone"
        yield _restoration("folder-missing", "likely", runs, study.study_name, said, otherwise, identity)


def _restoration(check: str, sure: Sure, runs: Path, name: str, said: str, otherwise: str, identity: Any) -> Finding:
    try:
        kept = kept_spec(runs, name)
    except HpoError as error:
        return Finding(check, name, None, said, sure, f"{otherwise} ({error})")
    if kept is None or not _fits(kept.text, name, identity):
        return Finding(check, name, None, said, sure, otherwise)
    mend = partial(_restore, layout.study_directory(runs, name), kept)
    return Finding(check, name, None, said, sure, "write it as MLflow has it, from the study's last run", mend)


def _fits(text: str, name: str, identity: Any) -> bool:
    """Whether it can be read, and is of this study."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / layout.SPEC
        path.write_text(text, encoding="utf-8")
        try:
            spec = load_spec(path, locate=False)
        except SpecError:
            return False
    return spec.name == name and (identity is None or not identity_difference(identity, spec.identity()))


def _restore(directory: Path, kept: KeptSpec) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / layout.SPEC
    if path.exists():
        keep_damaged(path)
    write_atomically(path, kept.text)
    if read_place(directory) is None:
        write_place(directory, kept.place)
