"""Retention: which trials keep their checkpoints and weights on disk."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.spec.domination import dominates
from hpo.spec.models import StudySpec
from hpo.storage import trial_attributes
from hpo.trial import Job, Outcome


@dataclass(frozen=True)
class _StoredTrial:
    """A finished trial that may have files.

    costs: its metrics, lower is better; empty if it did not complete. size: bytes of its files.
    """

    number: int
    state: str
    group: str
    costs: tuple[float, ...]
    size: int


# A rank beyond every `keep_best`.
_DOMINATED = 2**31


class CheckpointRetention:
    """Keep the checkpoints and weights of some trials, as `spec.checkpoints` says, and remove those of the others.

    The best `keep_best` COMPLETE trials of each value of `group_by` keep them; with several metrics, those that no
    other trial of their group dominates. The files of the other COMPLETE trials and of pruned ones are surplus: a
    network's checkpoint is three to four times its size, and a study has a hundred of them. A failed trial keeps its
    files.

    If all files, those of running trials included, take more than `max_gb`, more of them are surplus: first those of
    trials that did not complete, then those of the worst of each group. The files that an unfinished trial will go on
    from, those that a member of a population may go on from, and those of the best trial, always stay.

    Args:
        spec: the study.
        directory: the study's folder.
        trials: those of earlier runs.
        say: gets sentences for the user.
        needed: returns the numbers of trials whose files others may still go on from.
    """

    def __init__(
        self,
        spec: StudySpec,
        directory: Path,
        trials: Iterable[FrozenTrial],
        say: Callable[[str], object] = str,
        needed: Callable[[], Set[int]] = frozenset,
    ) -> None:
        self._rule = spec.checkpoints
        self._group_by = spec.group_by or ""
        self._trials = layout.trials_directory(directory)
        self._say = say
        self._needed = needed
        self._warned = False
        self._metrics = spec.metrics
        self._stored: dict[int, _StoredTrial] = {}
        self._unfinished: set[int] = set()
        for trial in trials:
            if not trial.state.is_finished() or trial_attributes.requeued(trial.user_attrs):
                self._unfinished.add(trial.number)
                continue
            params = trial.user_attrs.get(trial_attributes.JOB, {}).get("params", {})
            values = trial.values if trial.state == TrialState.COMPLETE else []
            self._add(trial.number, trial.state.name, params, values)

    def on_trial_finished(self, job: Job, outcome: Outcome, again: bool, running: Iterable[int]) -> None:
        """Take in a trial that has ended, and remove what has become surplus.

        Args:
            job: the trial.
            outcome: how it ended.
            again: a further attempt goes on from its files.
            running: numbers of the trials that are running now.
        """
        if again:
            self._unfinished.add(job.number)
            return
        complete = outcome.state == "COMPLETE"
        values = [outcome.metrics[metric.name] for metric in self._metrics] if complete else []
        self._add(job.number, outcome.state, job.params, values)
        self.prune(running)

    def prune(self, running: Iterable[int] = ()) -> None:
        """Remove the surplus files, those of earlier runs too.

        An earlier run may have died between the end of a trial and this.
        """
        for number in self._surplus(running):
            del self._stored[number]
            for path in self._files(number):
                # A file that is gone or cannot be removed costs space, not the study.
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def surplus(self) -> list[Path]:
        """Return the files that `prune` would remove."""
        files = (path for number in self._surplus(()) for path in self._files(number))
        return [Path(path) for path in files if os.path.exists(path)]

    def _add(self, number: int, state: str, params: Mapping[str, Any], values: Sequence[float]) -> None:
        group = json.dumps(params.get(self._group_by), sort_keys=True)
        # No values, no costs: the trial did not complete.
        costs = tuple(metric.cost(value) for metric, value in zip(self._metrics, values, strict=False))
        size = 0 if self._rule.max_gb is None else self._size(number)
        if state == "FAIL" and not size:
            return  # it keeps its files, and takes no room
        self._stored[number] = _StoredTrial(number, state, group, costs, size)

    def _surplus(self, running: Iterable[int]) -> list[int]:
        """Return the numbers of the trials whose files are surplus."""
        if self._rule.keep_best is None and self._rule.max_gb is None:
            return []
        ranks = self._ranks()
        dropped = [] if self._rule.keep_best is None else self._beyond(self._rule.keep_best, ranks)
        if self._rule.max_gb is not None:
            dropped += self._over_limit(self._rule.max_gb, ranks, set(dropped), running)
        needed = self._needed()
        return [number for number in dropped if number not in needed]

    def _beyond(self, keep_best: int, ranks: Mapping[int, int]) -> list[int]:
        return [
            trial.number
            for trial in self._stored.values()
            if trial.state == "PRUNED" or ranks.get(trial.number, 0) >= keep_best
        ]

    def _over_limit(
        self, max_gb: float, ranks: Mapping[int, int], dropped: Set[int], running: Iterable[int]
    ) -> list[int]:
        """Return the trials to drop besides `dropped` so that what is left takes at most `max_gb`."""
        left = [trial for trial in self._stored.values() if trial.number not in dropped and trial.size]
        excess = sum(map(self._size, {*self._unfinished, *running})) + sum(trial.size for trial in left)
        excess -= int(max_gb * 1e9)
        complete = (trial for trial in self._stored.values() if trial.costs)
        best = min(complete, key=lambda trial: (trial.costs, trial.number), default=None)
        # The one that is missed least comes first.
        left.sort(
            key=lambda trial: (not trial.costs, ranks.get(trial.number, 0), trial.costs, trial.number), reverse=True
        )
        more: list[int] = []
        for trial in left:
            if excess <= 0:
                return more
            if trial is not best:
                more.append(trial.number)
                excess -= trial.size
        if excess > 0 and not self._warned:
            self._warned = True
            self._say(
                f"checkpoints take {excess / 1e9:.3g} GB more than checkpoints.max_gb = {max_gb:g}: "
                "those of the best trial and of unfinished ones are kept all the same"
            )
        return more

    def _ranks(self) -> dict[int, int]:
        """Return the rank of each COMPLETE trial in its group, from 0 for the best; of equals the first one tried.

        With several metrics it is 0 for those that no other of the group dominates, and beyond every `keep_best` for
        the others.
        """
        groups: dict[str, list[_StoredTrial]] = {}
        for trial in self._stored.values():
            if trial.costs:
                groups.setdefault(trial.group, []).append(trial)
        ranks: dict[int, int] = {}
        for group in groups.values():
            if len(self._metrics) == 1:
                ranked = sorted(group, key=lambda trial: (trial.costs, trial.number))
                ranks |= {trial.number: rank for rank, trial in enumerate(ranked)}
            else:
                for trial in group:
                    dominated = any(dominates(other.costs, trial.costs) for other in group)
                    ranks[trial.number] = _DOMINATED if dominated else 0
        return ranks

    def _files(self, number: int) -> list[str]:
        """Return the paths of a trial's files, as texts: at each start they are asked for of all trials."""
        return [f"{self._trials}/{number}/{name}" for name in (layout.CHECKPOINT, layout.WEIGHTS)]

    def _size(self, number: int) -> int:
        size = 0
        for path in self._files(number):
            with contextlib.suppress(OSError):
                size += os.stat(path).st_size
        return size
