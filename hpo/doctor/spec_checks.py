"""Checks for a study.yaml that is gone or cannot be read, and for a study of the storage whose folder is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from hpo import layout
from hpo.doctor.finding import Finding, not_looked_at
from hpo.errors import SpecError
from hpo.machine.access import why_denied
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage import trial_attributes


def folders(runs: Path) -> list[str]:
    """Return what looks like a study's folder, the one last driven first, those without a study.yaml last."""
    known = layout.studies_in(runs)
    there = set(runs.glob("[!.]*")) - set(layout.closed_folders(runs)) if runs.is_dir() else ()
    signs = {path.name for path in there if (path / layout.MLFLOW).exists() or any(path.glob("trials/*"))}
    return [*known, *sorted(signs - set(known))]


def read_spec(runs: Path, name: str) -> StudySpec | Finding:
    """Return the study's study.yaml, or why it cannot be read."""
    path = layout.study_directory(runs, name) / layout.SPEC
    if not path.exists():
        said = f"{path} is gone"
    elif not os.access(path, os.R_OK):
        return not_looked_at(name, why_denied(path))
    else:
        try:
            return load_spec(path, locate=False)
        except SpecError as error:
            first = str(error.problems[0]).partition(";")[0]
            more = len(error.problems) - 1
            said = f"study.yaml cannot be read: {first}" + (f" (and {more} more)" if more else "")
    remedy = "bring it back, or `hpo run` the YAML that the study was started with: it writes this file anew"
    return Finding("spec-unreadable", name, None, said, "certain", remedy)


def without_folder(runs: Path, storage: BaseStorage, where: str) -> Iterator[Finding]:
    """Find studies that hpo made in a storage which lies in the runs folder, and that have no folder there."""
    for study in optuna.get_all_study_summaries(storage, include_best_trial=False):
        directory = layout.study_directory(runs, study.study_name)
        if trial_attributes.IDENTITY not in study.user_attrs or directory.exists():
            continue
        said = f"{where} has a study '{study.study_name}', whose folder {directory} is gone"
        remedy = "bring it back from a backup, or give the study up with `optuna delete-study`"
        yield Finding("folder-missing", study.study_name, None, said, "likely", remedy)
