"""Records of what the numbers of a trial depend on, kept once for all trials that have it in common.

A record is `provenance/<mark>.json` of the study's folder, and its name is a hash of its content. A trial's JOB has the
mark of the `code` of its run: the git commit with what was changed since, and the data files that study.yaml names. Its
OUTCOME has that of the `environment` in which its worker trained: packages, processor, device and threads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.machine.files import read_json, write_atomically
from hpo.machine.provenance import git_state
from hpo.objective.data_files import data_files
from hpo.storage.trial_attributes import JOB, OUTCOME

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec

CODE, ENVIRONMENT = "code", "environment"


def code_of(spec: StudySpec) -> dict[str, Any]:
    """Return what is recorded of a run: the state of git in the study's folder, and the data files that it names."""
    return {"git": git_state(spec.root), "data": data_files(spec.objective_ref(), spec.constants)}


def keep(directory: Path, record: Mapping[str, Any]) -> str:
    """Write a record into a study's folder unless it is there.

    Returns:
        Its mark; empty if there is nothing in it, or it cannot be kept.
    """
    if not any(record.values()):
        return ""
    text = json.dumps(record, sort_keys=True, indent=1)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = _path(directory, mark)
    try:
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, text)
    except OSError:  # a full disk is met by what cannot be done without
        return ""
    return mark


def recorded(directory: Path, trial: FrozenTrial, kind: str) -> dict[str, Any]:
    """Return a trial's record of a kind, CODE or ENVIRONMENT; empty if there is none, or it is damaged."""
    note = trial.user_attrs.get(JOB if kind == CODE else OUTCOME) or {}
    mark = note.get(kind)
    if not isinstance(mark, str) or not mark.isalnum():
        return {}
    try:
        found = read_json(_path(directory, mark))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _path(directory: Path, mark: str) -> Path:
    return directory / layout.PROVENANCE / f"{mark}.json"
