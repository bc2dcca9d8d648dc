"""Files of a study's trials, as the Oracle needs them: histories, checkpoints, and what an attempt takes over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from hpo import layout
from hpo.machine.files import open_plain, replacement
from hpo.storage import history
from hpo.storage.history import Step

# What tells how a lost attempt ended stays in its own folder.
_NOT_INHERITED = {layout.HISTORY, layout.OUTPUT, layout.ERROR, layout.CRASH}
# Nobody but the owner may write a checkpoint, as `hpo.machine.checkpoint` says.
_MODE = 0o644


class TrialFiles:
    """Files on a disk, of which each trial has a folder. A replay has others in their place."""

    def open_history(self, directory: Path, owner: str) -> history.Writer:
        """Open the history of the trial of a folder, to append to it.

        Args:
            directory: the trial's folder.
            owner: the mark of the trial (`hpo.storage.history.mark_of`).
        """
        return history.HistoryWriter(directory / layout.HISTORY, owner)

    def has_checkpoint(self, directory: Path) -> bool:
        """Return True if the trial of a folder has saved a checkpoint."""
        return os.path.exists(directory / layout.CHECKPOINT)

    def inherit(self, attempts: Iterable[Path], directory: Path) -> list[Step]:
        """Move the files of lost attempts into the folder of the next one, the checkpoint last, and copy the history.

        Usually the latest attempt holds all. One that died while it was inheriting holds a part, and the attempt before
        it the rest. Without a checkpoint nothing is taken: the trial starts afresh.

        Args:
            attempts: folders of the lost attempts, the latest first.
            directory: folder of the next attempt.

        Returns:
            The rows of the history that was taken over.
        """
        chain = []
        for attempt in attempts:
            chain.append(attempt)
            if self.has_checkpoint(attempt):
                break
        else:
            return []
        layout.make_trial_directory(directory)
        holder = chain[-1]
        if (holder / layout.HISTORY).exists():
            open_plain(holder / layout.HISTORY).close()  # copying a pipe would raise an error that names no file
            shutil.copyfile(holder / layout.HISTORY, directory / layout.HISTORY)
        for attempt in chain:
            for entry in sorted(attempt.iterdir()) if attempt.is_dir() else ():
                if entry.name not in _NOT_INHERITED | {layout.CHECKPOINT}:
                    entry.rename(directory / entry.name)
        (holder / layout.CHECKPOINT).rename(directory / layout.CHECKPOINT)
        return history.rows(directory / layout.HISTORY)


def fork(parent: Path, directory: Path) -> None:
    """Copy the files of a trial into the folder of another one that goes on from its checkpoint, which comes last.

    Args:
        parent: folder of the trial, which keeps its own.
        directory: folder of the other.

    Raises:
        OSError: there is no checkpoint, or a file cannot be copied.
    """
    with open_plain(parent / layout.CHECKPOINT) as checkpoint:
        layout.make_trial_directory(directory)
        for entry in sorted(parent.iterdir()):
            if entry.name in _NOT_INHERITED | {layout.CHECKPOINT} or entry.is_symlink():
                continue
            if entry.is_dir():
                shutil.copytree(entry, directory / entry.name, symlinks=True, dirs_exist_ok=True)
            elif entry.is_file():
                shutil.copy2(entry, directory / entry.name)
        with replacement(directory / layout.CHECKPOINT, _MODE) as copy:
            shutil.copyfileobj(checkpoint, copy)
