"""Checks of the states and weights that trials keep on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import Finding
from hpo.errors import CheckpointRefused
from hpo.machine.checkpoint import check_checkpoint
from hpo.oracle.checkpoint_retention import CheckpointRetention
from hpo.search.pbt import checkpoints_needed
from hpo.storage.lost_and_found import free_name
from hpo.storage.trial_attributes import ORIGIN, lost_attempts
from hpo.text import count


def broken_checkpoints(context: StudyContext) -> Iterator[Finding]:
    """Find states that a trial in the queue is to go on from, and cannot.

    They are not unpickled: that may run anything.
    """
    if context.driver is not None:
        return
    trials = list(context.trials)
    for trial in trials:
        if trial.state != TrialState.WAITING:
            continue
        path = next((path for path in _states(context, trial, trials) if path.exists()), None)
        if path is not None and (wrong := _what_is_wrong(path)):
            yield Finding(
                "checkpoint-broken", context.name, trial.number,
                f"{wrong}; trial {trial.number} is to go on from it", "certain",
                f"set it aside as {path.name}.damaged; the trial then starts afresh", partial(_set_aside, path),
            )  # fmt: skip


def broken_weights(context: StudyContext) -> Iterator[Finding]:
    """Find weights that torch cannot open: its files are zip archives.

    A file that is no archive at all is in an objective's own format.
    """
    for trial in context.trials:
        path = context.folder(trial.number) / layout.WEIGHTS
        if trial.state.is_finished() and path.is_file() and _is_broken_archive(path):
            yield Finding(
                "weights-broken", context.name, trial.number, f"{path} is cut off: torch cannot open it", "certain",
                f"set it aside as {path.name}.damaged; `hpo best {context.name}` makes a study that trains it again",
                partial(_set_aside, path),
            )  # fmt: skip


def surplus(context: StudyContext) -> Iterator[Finding]:
    """Find files that `checkpoints:` of study.yaml does not keep, and that a driver which died did not remove."""
    if context.driver is not None:
        return
    files = _surplus(context)
    if files:
        yield Finding(
            "checkpoints-surplus", context.name, None,
            f"{count(len(files), 'file')} of checkpoints and weights ({surplus_bytes(context) / 1e9:.3g} GB) are "
            "beyond what `checkpoints:` in study.yaml keeps",
            "certain", "remove them, as `hpo run` does", partial(_remove, files),
        )  # fmt: skip


def surplus_bytes(context: StudyContext) -> int:
    """Return the bytes of these files."""
    return sum(path.stat().st_size for path in _surplus(context))


def _surplus(context: StudyContext) -> list[Path]:
    needed = checkpoints_needed(context.spec, context.trials)
    return CheckpointRetention(context.spec, context.directory, context.trials, needed=lambda: needed).surplus()


def _states(context: StudyContext, trial: FrozenTrial, trials: list[FrozenTrial]) -> Iterator[Path]:
    """Yield where the state of a trial that waits may be.

    It is its own (if its driver died as it took over), or that of an earlier attempt.
    """
    yield context.folder(trial.number) / layout.CHECKPOINT
    for number in lost_attempts(trial.user_attrs.get(ORIGIN, {}), trials):
        yield context.folder(number) / layout.CHECKPOINT


def _what_is_wrong(path: Path) -> str:
    """Return why a state cannot be restored, or an empty text if it is whole."""
    try:
        check_checkpoint(path)
    except CheckpointRefused as refused:
        return str(refused)
    return ""


def _is_broken_archive(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    if start and not start.startswith(b"PK"):
        return False
    try:
        with zipfile.ZipFile(path):
            return False
    except zipfile.BadZipFile:
        return True


def _set_aside(path: Path) -> None:
    if path.exists():
        path.rename(free_name(path.with_name(f"{path.name}.damaged")))


def _remove(files: Sequence[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)


CHECKS: tuple[Check, ...] = (broken_checkpoints, broken_weights, surplus)
