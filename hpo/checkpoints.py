"""What a retried trial takes over from the attempts that were lost, and which trials' states stay on disk."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo import attributes, layout
from hpo.spec import StudySpec

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


class Shelf:
    """The checkpoints and weights that are kept: of the best `spec.keep_checkpoints` COMPLETE trials of each
    value of `group_by`, with several metrics of those that no other of their group beats in all of them.

    The files of the others, and of pruned trials, are removed: a network's checkpoint is three to four times its
    size, and a study has a hundred. A failed trial keeps what it has."""

    def __init__(self, spec: StudySpec, directory: Path, trials: Iterable[FrozenTrial]) -> None:
        self._spec = spec
        self._directory = directory
        self._signs = tuple(1 if metric.direction == "maximize" else -1 for metric in spec.metrics)
        self._kept: dict[str, list[tuple[int, tuple[float, ...]]]] = {}
        # Again for trials of earlier runs: one may have died between a tell and its tidying up.
        for trial in trials:
            params = trial.user_attrs.get(attributes.JOB, {}).get("params", {})
            if trial.state == TrialState.COMPLETE:
                self.completed(trial.number, params, trial.values)
            elif trial.state == TrialState.PRUNED:
                self.pruned(trial.number)

    def completed(self, number: int, params: Mapping[str, Any], values: Iterable[float]) -> None:
        """`params` as the objective sees them; `values` of the study's metrics, in their order."""
        if self._spec.keep_checkpoints is None:
            return
        group = json.dumps(params.get(self._spec.group_by or ""), sort_keys=True)
        scores = tuple(sign * value for sign, value in zip(self._signs, values, strict=True))
        candidates = [*self._kept.get(group, []), (number, scores)]
        self._kept[group] = self._best(candidates, self._spec.keep_checkpoints)
        staying = {kept for kept, _ in self._kept[group]}
        for candidate, _ in candidates:
            if candidate not in staying:
                self._remove(candidate)

    def pruned(self, number: int) -> None:
        if self._spec.keep_checkpoints is not None:
            self._remove(number)

    def _best(
        self, candidates: list[tuple[int, tuple[float, ...]]], most: int
    ) -> list[tuple[int, tuple[float, ...]]]:
        if len(self._signs) == 1:  # of equals, the first one tried
            return sorted(candidates, key=lambda one: (-one[1][0], one[0]))[:most]
        return [
            (number, own)
            for number, own in candidates
            if not any(other != own and all(a >= b for a, b in zip(other, own, strict=True)) for _, other in candidates)
        ]

    def _remove(self, number: int) -> None:
        folder = layout.trial_directory(self._directory, number)
        for name in (layout.CHECKPOINT, layout.WEIGHTS):
            # A file that is gone or cannot be removed costs space, not the study.
            with contextlib.suppress(OSError):
                (folder / name).unlink()
