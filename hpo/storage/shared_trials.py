"""Folders of trials that other machines see too: `<engine.checkpoint_dir>/<study>-<mark>/trials`, by a link.

The folder around them carries the study's key and the place of the study's folder. A link whose target does not was
made by hand, or came with a copy of the study's folder: what it points to is somebody else's.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from hpo import layout
from hpo.storage.lost_and_found import free_name
from hpo.storage.ownership import original_of, read_key, write_key


def share_trials(study: Path, shared: Path) -> None:
    """Put the folder of a study's trials below `shared`, and a link to it in the study's folder.

    Nothing is done if a link is there already.

    Args:
        study: the study's folder.
        shared: a folder that every node sees.

    Raises:
        FileExistsError: the study has trials here already.
        OSError: the folder or the link cannot be made.
    """
    trials = layout.trials_directory(study)
    if trials.is_symlink():
        return
    if trials.exists():
        raise FileExistsError(trials)
    around = shared / _name(study)
    # A deleted study of this name keeps its own until the trash is emptied.
    if read_key(around):
        around = free_name(around)
    (around / "trials").mkdir(parents=True, exist_ok=True)
    trials.symlink_to(around / "trials", target_is_directory=True)


def mark_shared(study: Path, key: str) -> None:
    """Write the study's key into what `share_trials` made, and the place of the study's folder if that was moved."""
    trials = layout.trials_directory(study)
    if not trials.is_symlink():
        return
    around = Path(os.readlink(trials)).parent
    if not around.is_dir() or original_of(around, study):
        return
    if read_key(around) == key or (not read_key(around) and around.name.startswith(_name(study))):
        write_key(around, key, study)


def link_target(study: Path) -> Path | None:
    """Return what the link `trials` of a study's folder points to; None if it is no link."""
    trials = layout.trials_directory(study)
    return Path(os.path.realpath(trials)) if trials.is_symlink() else None


def own_shared(study: Path) -> Path | None:
    """Return the folder around a study's shared trials, if it was made for this study; else None."""
    target, key = link_target(study), read_key(study)
    if target is None or not key or read_key(target.parent) != key or original_of(target.parent, study):
        return None
    return target.parent


def original_of_trials(study: Path) -> str:
    """Return whose trials the link of a copied folder points to; empty if they are its own."""
    target = link_target(study)
    return "" if target is None else original_of(target.parent, study)


def _name(study: Path) -> str:
    """Return the name of the folder around the trials; the mark tells studies of one name in two runs folders apart."""
    return f"{study.name}-{hashlib.sha256(os.fsencode(os.path.realpath(study))).hexdigest()[:8]}"
