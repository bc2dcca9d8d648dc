"""What a retried trial takes over from the attempts that were lost, and which trials' states stay on disk."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.spec.models import StudySpec
from hpo.storage import trial_attributes
from hpo.trial import Job, Outcome

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


@dataclass(frozen=True)
class _StoredTrial:
    """A finished trial that may have files. scores: of the study's metrics, the larger the better; none if it did
    not complete. size: of its files, in bytes."""

    number: int
    state: str
    group: str
    scores: tuple[float, ...]
    size: int


class CheckpointRetention:
    """Which trials keep their checkpoints and weights, by `spec.checkpoints`: the best `keep_best` COMPLETE trials of
    each value of `group_by`, with several metrics those that no other of their group beats in all of them.

    The files of the others, and of pruned trials, are surplus: a network's checkpoint is three to four times its
    size, and a study has a hundred. A failed trial keeps what it has. Where all of them, those of running trials
    included, take more than `max_gb`, more is surplus: first what did not complete, then the worst of each group;
    never what an unfinished trial will go on from, nor the best trial. `say` gets sentences for the user."""

    def __init__(
        self, spec: StudySpec, directory: Path, trials: Iterable[FrozenTrial], say: Callable[[str], object] = str
    ) -> None:
        self._rule = spec.checkpoints
        self._group_by = spec.group_by or ""
        self._directory = directory
        self._say = say
        self._said = False
        self._names = [metric.name for metric in spec.metrics]
        self._signs = [1 if metric.direction == "maximize" else -1 for metric in spec.metrics]
        self._held: dict[int, _StoredTrial] = {}
        self._unfinished: set[int] = set()
        for trial in trials:
            if not trial.state.is_finished() or trial_attributes.requeued(trial.user_attrs):
                self._unfinished.add(trial.number)
                continue
            params = trial.user_attrs.get(trial_attributes.JOB, {}).get("params", {})
            values = trial.values if trial.state == TrialState.COMPLETE else None
            self._hold(trial.number, trial.state.name, params, values)

    def told(self, job: Job, outcome: Outcome, again: bool, running: Iterable[int]) -> None:
        """A trial has ended; `again`: a further attempt goes on from its files. `running`: the other ones."""
        if again:
            self._unfinished.add(job.number)
            return
        values = [outcome.metrics[name] for name in self._names] if outcome.state == "COMPLETE" else None
        self._hold(job.number, outcome.state, job.params, values)
        self.tidy(running)

    def tidy(self, running: Iterable[int] = ()) -> None:
        """Removes what is surplus; of earlier runs too: one may have died between a tell and this."""
        for number in self._surplus(running):
            del self._held[number]
            for path in self._files(number):
                # A file that is gone or cannot be removed costs space, not the study.
                with contextlib.suppress(OSError):
                    path.unlink()

    def surplus(self) -> list[Path]:
        """The files that `tidy` would remove."""
        return [path for number in self._surplus(()) for path in self._files(number) if path.exists()]

    def _hold(self, number: int, state: str, params: Mapping[str, Any], values: Sequence[float] | None) -> None:
        group = json.dumps(params.get(self._group_by), sort_keys=True)
        scores = tuple(s * v for s, v in zip(self._signs, values, strict=True)) if values else ()
        size = 0 if self._rule.max_gb is None else self._size(number)
        self._held[number] = _StoredTrial(number, state, group, scores, size)

    def _surplus(self, running: Iterable[int]) -> list[int]:
        if self._rule.keep_best is None and self._rule.max_gb is None:
            return []
        complete = [held for held in self._held.values() if held.scores]
        places = self._places(complete)
        most = self._rule.keep_best
        dropped = []
        if most is not None:
            behind = [held.number for held in complete if places[held.number] >= most]
            dropped = [*(held.number for held in self._held.values() if held.state == "PRUNED"), *behind]
        if self._rule.max_gb is None:
            return dropped
        # From the one that is missed least.
        rest = sorted(
            (held for number, held in self._held.items() if number not in set(dropped) and held.size),
            key=lambda held: (bool(held.scores), -places.get(held.number, 0), held.scores, -held.number),
        )
        bytes_over = sum(map(self._size, {*self._unfinished, *running})) + sum(held.size for held in rest)
        bytes_over -= int(self._rule.max_gb * 1e9)
        best = max(complete, key=lambda held: (held.scores, -held.number), default=None)
        for held in rest:
            if bytes_over <= 0:
                return dropped
            if held is not best:
                dropped.append(held.number)
                bytes_over -= held.size
        if bytes_over > 0 and not self._said:
            self._said = True
            self._say(
                f"checkpoints take {bytes_over / 1e9:.3g} GB more than checkpoints.max_gb = {self._rule.max_gb:g}: "
                "those of the best trial and of unfinished ones are kept all the same"
            )
        return dropped

    def _places(self, complete: Iterable[_StoredTrial]) -> dict[int, int]:
        """0 for the best of each group, of equals the first one tried, 1 for the next; with several metrics 0 for
        those that none of their group beats in all of them, and beyond every `keep_best` for the others."""
        groups: dict[str, list[_StoredTrial]] = {}
        for held in complete:
            groups.setdefault(held.group, []).append(held)
        places: dict[int, int] = {}
        for group in groups.values():
            if len(self._signs) == 1:
                ranked = sorted(group, key=lambda held: (-held.scores[0], held.number))
                places |= {held.number: place for place, held in enumerate(ranked)}
            else:
                places |= {one.number: _BEATEN if any(_beats(other, one) for other in group) else 0 for one in group}
        return places

    def _files(self, number: int) -> list[Path]:
        folder = layout.trial_directory(self._directory, number)
        return [folder / layout.CHECKPOINT, folder / layout.WEIGHTS]

    def _size(self, number: int) -> int:
        size = 0
        for path in self._files(number):
            with contextlib.suppress(OSError):
                size += path.stat().st_size
        return size


_BEATEN = 2**31


def _beats(one: _StoredTrial, other: _StoredTrial) -> bool:
    return one.scores != other.scores and all(a >= b for a, b in zip(one.scores, other.scores, strict=True))
