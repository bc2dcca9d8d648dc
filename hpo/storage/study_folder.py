"""Folders in the runs folder that a study of a given name cannot have: another study's, or somebody's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import StudyFolderTaken
from hpo.storage.open import lies_in
from hpo.storage.ownership import original_of
from hpo.storage.saved_study import unfinished_deletions
from hpo.storage.shared_trials import original_of_trials
from hpo.text import redact

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

# What a study's folder has before its study.yaml is written.
_FIRST = {
    layout.LOCK,
    layout.DRIVER_LOG,
    layout.OWNER,
    layout.REQUESTS,
    layout.LOST_AND_FOUND,
    layout.STEERING,
    layout.JOBS,
}
# See `hpo.machine.files.replacement`.
_UNFINISHED = re.compile(r"\.[0-9a-f]{8}\.\d+\.partial$")


def refuse_taken(runs: Path, name: str) -> None:
    """Refuse a folder that is not, and cannot become, the folder of the study of this name.

    Raises:
        StudyFolderTaken: it is another study's, as where the file system does not tell upper from lower case; or it
            holds somebody's files; or it is no folder; or the deletion of such a study has not ended.
    """
    refuse_deleted(runs, name)
    directory = layout.study_directory(runs, name)
    if not directory.exists():
        return
    for other in layout.studies_in(runs):
        if other != name and os.path.samefile(directory, layout.study_directory(runs, other)):
            raise StudyFolderTaken(
                f"the folder of a study '{name}' would be that of study '{other}': {directory} is the same folder (by "
                "a link, or because this file system does not tell upper from lower case). Give it another name, with "
                "--new-name NAME"
            )
    if not directory.is_dir():
        raise StudyFolderTaken(
            f"{directory} is there, and is no folder; give study '{name}' another name, with --new-name NAME"
        )
    if (directory / layout.SPEC).exists() or (directory / layout.OWNER).exists():
        return
    trials = layout.trials_directory(directory)
    # A driver that starts in this moment, or was killed while it did, has left a part of a file.
    names = {_UNFINISHED.sub("", path.name) for path in directory.iterdir()}
    foreign = sorted(names - _FIRST - {layout.SPEC, trials.name})
    foreign = [file for file in foreign if not file.startswith((".clock-", f"{layout.LOCK}."))]
    if foreign and not trials.exists():
        raise StudyFolderTaken(
            f"{directory} is there, and is not the folder of a study: it has {foreign[0]} and no {layout.SPEC}. Give "
            f"study '{name}' another name, with --new-name NAME, or move that folder away"
        )


def refuse_copy(runs: Path, name: str, url: str) -> None:
    """Refuse to drive a copy of a study's folder whose trials or storage are those of the original.

    Raises:
        StudyFolderTaken: with the original, and what to do.
    """
    directory = layout.study_directory(runs, name)
    original = original_of(directory)
    shared = original_of_trials(directory)
    if shared:
        what = f"its trials are in {os.readlink(layout.trials_directory(directory))}, which are those of {shared}"
    elif original.startswith(os.sep) and not lies_in(url, runs):
        what = f"it is a copy of {original}, and both have their trials in the storage {redact(url)}"
    else:
        return
    raise StudyFolderTaken(
        f"{directory} cannot be used to run study '{name}': {what}. Run it there, or start a study of its own with "
        "--new-name NAME; `hpo backup` and `hpo restore` make a copy that can be run"
    )


def refuse_deleted(runs: Path, name: str) -> None:
    """Refuse a study whose deletion was cut short: its trials are in the storage yet, and its files in the trash.

    Raises:
        StudyFolderTaken: with the commands that end it.
    """
    if unfinished_deletions(runs, name):
        delete, restore = (layout.follow_up(f"{verb} {name}", runs) for verb in ("delete", "restore"))
        raise StudyFolderTaken(
            f"the deletion of study '{name}' was cut short: `{delete}` finishes it, `{restore}` brings the study back"
        )


def beside_the_yaml(spec: StudySpec, runs: Path) -> list[str]:
    """Return the sentence about a study that is new in `runs`, while the runs folder beside its YAML has one.

    It is about the default folder, ./runs, alone: one that was named is meant.
    """
    other = spec.source.absolute().parent / "runs"
    chosen = runs != Path("runs").absolute() or bool(os.environ.get("HPO_RUNS"))
    if chosen or other == runs or layout.study_directory(runs, spec.name).exists():
        return []
    if not (layout.study_directory(other, spec.name) / layout.SPEC).is_file():
        return []
    return [
        f"a study '{spec.name}' is in {other} already, and this one is new, in {runs}; to go on with that one, "
        f"{layout.runs_argument(other).strip()}"
    ]
