"""Queue of configurations that the sampler does not propose.

They are enqueued ones, lost attempts, fallbacks, configurations of earlier studies and cells of a grid. They wait in
the storage, so that a killed driver loses none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.oracle import racing
from hpo.search.pbt import propose, segments_of
from hpo.search.study_view import Follower
from hpo.space.search_space import Cell
from hpo.spec.models import StudySpec
from hpo.spec.population import is_population
from hpo.spec.racing import is_race
from hpo.storage.histories import Histories
from hpo.storage.trial_attributes import (
    ENQUEUE,
    FALLBACK,
    GRID,
    ORIGIN,
    PBT,
    RACE,
    RACING,
    RETRY,
    SAMPLER,
    SEGMENT,
    WARM_START,
    configuration_of,
    continued_from,
    outcome_of,
    requeued,
)
from hpo.trial import KILLED
from hpo.warm_start.trust import FINAL, WarmStart, from_earlier_study, inherited_origin


class Queue:
    """Queue of a study.

    Attributes:
        waiting: how many configurations wait in the storage, without those that go on from a trial.
        continued: how many of these wait.
        warm: what earlier studies have to offer.
    """

    def __init__(self, spec: StudySpec, study: optuna.Study, warm: WarmStart) -> None:
        self.waiting = self.continued = 0
        self.warm = warm
        self._spec = spec
        self._study = study
        self._fallbacks: list[tuple[int, dict[str, Any]]] = []
        self._cells: Iterator[dict[str, Any]] | None = None  # of a grid
        self._tried: set[Cell | None] = set()  # cells of the grid
        # Of a space in which no configuration is tried twice: how many trials have finished, and their cells.
        self._follower = Follower()
        self._finished = 0
        self._finished_cells: set[Cell | None] = set()

    def load(self, trials: list[FrozenTrial], directory: Path) -> None:
        """Take up what earlier runs have left, and queue what study.yaml enqueues.

        Args:
            trials: those of earlier runs.
            directory: the study's folder.
        """
        self._resume_warm_start(trials, directory)
        left = [trial for trial in trials if trial.state == TrialState.WAITING]
        self.continued = sum(bool(continued_from(trial.user_attrs)) for trial in left)
        self.waiting = len(left) - self.continued
        if self._spec.samplers[0].name == "grid":
            space = self._spec.space
            self._tried = {space.cell_of(configuration_of(trial)) for trial in searched(trials)}
            self._cells = self._cells_left({})
        self._fallbacks = self._fallbacks_left(trials)
        self._enqueue_from_spec(trials)

    def enqueue(self, params: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        """Queue a configuration.

        Args:
            params: values by Optuna's names. The sampler draws those left out.
            origin: where it came from (`trial_attributes.ORIGIN`).
        """
        if self._cells is not None and not continued_from({ORIGIN: origin}):
            if self._spec.space.cell_of(params) is None:  # the rest is not drawn, for that could repeat a cell
                params = next(self._cells_left(params), params)
            self._tried.add(self._spec.space.cell_of(params))
        self._study.enqueue_trial(dict(params), user_attrs={ORIGIN: dict(origin)})
        if continued_from({ORIGIN: origin}):
            self.continued += 1
        else:
            self.waiting += 1

    def requeue(
        self, number: int, seed: int, origin: Mapping[str, Any], retries: Mapping[str, int], params: Mapping[str, Any]
    ) -> None:
        """Queue a further attempt at a trial.

        Args:
            number: the trial's.
            seed: the trial's.
            origin: the trial's.
            retries: how often it was tried again by now, by cause.
            params: the trial's, by Optuna's names.
        """
        attempt = origin.get("attempt", 1) + 1
        again = {"source": RETRY, "retry_of": number, "attempt": attempt, "seed": seed, "spent": dict(retries)}
        self.enqueue(params, again | inherited_origin(origin) | _place(origin))

    def retry_failed(self, trials: Sequence[FrozenTrial]) -> int:
        """Queue the configurations of failed trials once more, each once, from their start. Return their number.

        Left out are those that have since ended otherwise, or wait, trials that somebody killed, and members of a
        population, which others replace.
        """
        states: dict[str, set[TrialState]] = {}
        failed: dict[str, FrozenTrial] = {}
        for trial in trials:
            key = _key(configuration_of(trial) | {RACE: trial.user_attrs.get(ORIGIN, {}).get(RACE)})
            if not requeued(trial.user_attrs):
                states.setdefault(key, set()).add(trial.state)
                own = outcome_of(trial).get("cause") != KILLED and SEGMENT not in trial.user_attrs.get(ORIGIN, {})
                if trial.state == TrialState.FAIL and own and configuration_of(trial):
                    failed.setdefault(key, trial)
        again = [trial for key, trial in failed.items() if states[key] == {TrialState.FAIL}]
        for trial in again:
            before = trial.user_attrs.get(ORIGIN, {})
            seed = {"seed": before["seed"]} if RACE in before else {}  # with which the others of the race were trained
            origin = {"source": RETRY, "failed": trial.number} | seed
            self.enqueue(configuration_of(trial), origin | inherited_origin(before) | _place(before))
        return len(again)

    def next_continued(self) -> FrozenTrial | None:
        """Return the next trial that is to go on from another one; None if there is none."""
        if not self.continued:
            return None
        self.continued -= 1
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return next((trial for trial in waiting if continued_from(trial.user_attrs)), None)

    def on_trial_started(self) -> None:
        """Note that one of the waiting configurations was started."""
        self.waiting = max(0, self.waiting - 1)

    def refill(self, fallback: bool, groups: Iterable[Any] = ()) -> bool:
        """Queue the next fallback, configuration of an earlier study, of a group or grid cell, if one is due.

        Args:
            fallback: a fallback may run.
            groups: values of `group_by`; the configuration is to be of the first of them that has one left.

        Returns:
            False if each configuration was tried, and none is tried twice.
        """
        if fallback and self._fallbacks:
            index, params = self._fallbacks.pop(0)
            self.enqueue(params, {"source": FALLBACK, "index": index})
            return True
        if (offer := self.warm.next()) is not None:
            self.enqueue(*offer)
            self.save_warm_start()
            return True
        for group in groups:
            params = {str(self._spec.group_by): group}
            if self._cells is None and not self._all_tried(params):
                self.enqueue(params, {"source": SAMPLER})
                return True
            if self._cells is not None and (cell := next(self._cells_left(params), None)) is not None:
                self.enqueue(cell, {"source": GRID})
                return True
        if self._cells is None:
            return not self._all_tried({})
        cell = next(self._cells, None)
        if cell is not None:
            self.enqueue(cell, {"source": GRID})
        return cell is not None

    def refill_population(self) -> bool:
        """Queue the next segment of a population. Return False if there is none now, or none any more."""
        proposed = propose(self._spec, segments_of(self._spec, self._study.get_trials(deepcopy=False)))
        if proposed is None:
            return False
        origin: dict[str, Any] = {"source": PBT, SEGMENT: dict(proposed.place)}
        if proposed.seed is not None:
            origin["seed"] = proposed.seed  # that of the checkpoint
        self.enqueue(proposed.params, origin)
        return True

    def refill_race(self) -> bool:
        """Queue the next training of a race. Return False if there is none now, or none any more."""
        proposed = racing.propose(self._spec, self._study.get_trials(deepcopy=False))
        if proposed is None:
            return False
        self.enqueue(proposed.params, {"source": RACING, "seed": proposed.seed, RACE: dict(proposed.place)})
        return True

    def save_warm_start(self) -> None:
        """Write the state of the warm start into the study's attributes."""
        self._study.set_user_attr(WARM_START, self.warm.facts())

    def _resume_warm_start(self, trials: list[FrozenTrial], directory: Path) -> None:
        """Tell the warm start how the study's earlier runs went."""
        known = self._study.user_attrs.get(WARM_START, {})
        origins = {trial.number: trial.user_attrs.get(ORIGIN, {}) for trial in trials}
        self.warm.resume(origins.values(), known.get("trusted", True), known.get("why", ""))
        if not self.warm.facts()["offered"]:
            return
        metric = self._spec.metrics[0].name
        counted = [trial for trial in trials if not requeued(trial.user_attrs)]
        histories = Histories(directory, trials)
        for trial in counted if any(map(from_earlier_study, origins.values())) else ():
            steps = histories.read(trial)
            values = {step.step: step.metrics.get(metric, math.nan) for step in steps}
            if trial.state == TrialState.COMPLETE:
                values[FINAL] = trial.values[0]
            for step, value in values.items():
                if math.isfinite(value):
                    self.warm.observe(trial.number, origins[trial.number], step, value)
        self.save_warm_start()

    def _enqueue_from_spec(self, trials: list[FrozenTrial]) -> None:
        """Queue the YAML's `enqueue` entries that no earlier run queued, and that the grid has not tried."""
        known = {_key(t.system_attrs.get("fixed_params")) for t in trials if _source(t) == ENQUEUE}
        if is_population(self._spec) or is_race(self._spec):
            return  # its first members have these, and a race trains each with many seeds
        for params in self._spec.enqueue:
            fixed = self._spec.space.to_optuna(params)
            done = _key(fixed) in known if self._cells is None else next(self._cells_left(fixed), None) is None
            if not done:
                self.enqueue(fixed, {"source": ENQUEUE})

    def _fallbacks_left(self, trials: Iterable[FrozenTrial]) -> list[tuple[int, dict[str, Any]]]:
        used = {t.user_attrs[ORIGIN].get("index") for t in trials if _source(t) == FALLBACK}
        fallbacks = [(index, self._spec.space.to_optuna(params)) for index, params in enumerate(self._spec.fallbacks)]
        return [fallback for fallback in fallbacks if fallback[0] not in used]

    def _cells_left(self, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The grid's cells with the `fixed` values that no trial has tried, and that do not wait."""
        space = self._spec.space
        return (cell for cell in space.grid(fixed) if space.cell_of(cell) not in self._tried)

    def _all_tried(self, fixed: Mapping[str, Any]) -> bool:
        """Return True if no configuration is to be tried twice, and all with the `fixed` values were tried."""
        space = self._spec.space
        if not self._spec.tries_each_once:
            return False
        finished, unfinished = map(searched, self._follower.read(self._study))
        self._finished += len(finished)
        self._finished_cells.update(space.cell_of(configuration_of(trial)) for trial in finished)
        if self._finished + len(unfinished) < (space.grid_size(fixed) or 0):
            return False
        others = {space.cell_of(configuration_of(trial)) for trial in unfinished}
        cells = map(space.cell_of, space.grid(fixed))
        return all(cell in self._finished_cells or cell in others for cell in cells)


def _place(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the place of a trial in a population or a race, which its further attempts keep."""
    return {key: origin[key] for key in (SEGMENT, RACE) if key in origin}


def searched(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials without those that go on from another one."""
    return [trial for trial in trials if not continued_from(trial.user_attrs)]


def _key(params: Mapping[str, Any] | None) -> str:
    return json.dumps(dict(params or {}), sort_keys=True)


def _source(trial: FrozenTrial) -> str | None:
    source: str | None = trial.user_attrs.get(ORIGIN, {}).get("source")
    return source
