"""What a retried trial takes over from the attempts that were lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from hpo import layout

# The evidence of a lost attempt stays where it was.
_STAYS = {layout.HISTORY, layout.OUTPUT, layout.ERROR, layout.CRASH}


def inherit(attempts: Iterable[Path], directory: Path) -> None:
    """Moves the files of the lost attempts (directories, the latest first) into `directory`, the
    checkpoint last, and copies the history.

    Usually the latest attempt holds all; one that died while it was inheriting holds a part, and the
    attempt before it the rest. Without a checkpoint nothing is taken: the trial starts afresh."""
    chain = []
    for attempt in attempts:
        chain.append(attempt)
        if (attempt / layout.CHECKPOINT).exists():
            break
    else:
        return
    directory.mkdir(parents=True, exist_ok=True)
    holder = chain[-1]
    if (holder / layout.HISTORY).exists():
        shutil.copyfile(holder / layout.HISTORY, directory / layout.HISTORY)
    for attempt in chain:
        for entry in sorted(attempt.iterdir()) if attempt.is_dir() else ():
            if entry.name not in _STAYS | {layout.CHECKPOINT}:
                entry.rename(directory / entry.name)
    (holder / layout.CHECKPOINT).rename(directory / layout.CHECKPOINT)
