"""Summary of a study, as its parent run shows it: tags, a note, the best values by the number of finished trials."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from hpo.spec.wording import algorithm_text, budget_text, sampler_text
from hpo.storage.contradiction import contradiction
from hpo.trackers.mlflow.records import (
    KIND,
    NOTE,
    STUDY,
    STUDY_KIND,
    Point,
    counted,
    finished,
    milliseconds,
    name_of,
    run_name,
    tags_of,
)
from hpo.trackers.mlflow.shown import Shown

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from hpo.spec.models import StudySpec

_WORDS = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


class Summary:
    """Numbers of the finished trials of a study, brought up to date as trials finish: each is looked at once.

    Attributes:
        shown: The trials that have a run.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.shown = Shown(spec)
        self._spec = spec
        self._names = [metric.name for metric in spec.metrics]
        self._states = dict.fromkeys(_WORDS, 0)
        self._bests: dict[str, float] = {}
        self._best: FrozenTrial | None = None

    def add(self, trials: Iterable[FrozenTrial]) -> list[Point]:
        """Take in trials that have finished.

        Returns:
            `best/<metric>` after each of them, from the first that completed on, by the number of finished trials.
        """
        points = []
        ended = counted(trials)
        self.shown.add(ended)
        for trial in ended:
            self._states[trial.state.name] += 1
            if trial.state.name == "COMPLETE" and not contradiction(trial, self._spec.space, self._names):
                self._take(trial)
            time, count = milliseconds(finished(trial)), sum(self._states.values())
            points += [Point(name_of(f"best/{name}"), value, time, count) for name, value in self._bests.items()]
        return points

    def _take(self, trial: FrozenTrial) -> None:
        for index, (metric, value) in enumerate(zip(self._spec.metrics, trial.values, strict=False)):
            known = self._bests.get(metric.name)
            if known is None or metric.cost(value) < metric.cost(known):
                self._bests[metric.name] = value
                self._best = trial if index == 0 else self._best

    def tags(self) -> dict[str, str]:
        """Return tags of the study: what may change from run to run."""
        spec = self._spec
        return tags_of(
            {
                KIND: STUDY_KIND,
                STUDY: spec.name,
                "hpo.sampler": sampler_text(spec),
                "hpo.pruner": algorithm_text(spec.pruner),
                "hpo.budget": budget_text(spec.budget),
                "hpo.engine": spec.engine.name,
                "hpo.seed": spec.seed,
                "hpo.group_by": spec.group_by,
                "hpo.runs": self.shown.words(),
                NOTE: self.note(),
            }
        )

    def note(self) -> str:
        """Return a few lines of Markdown that MLflow shows on the study's page."""
        ended, planned = sum(self._states.values()), self._spec.planned_trials()
        total = f"{ended} of {planned}" if planned is not None else f"{ended}"
        total += " trial" if (ended if planned is None else planned) == 1 else " trials"
        counts = "".join(f", {number} {_WORDS[state]}" for state, number in self._states.items() if number)
        lines = [f"{total} finished{counts}."]
        if self._best is not None:
            value, name = self._best.values[0], run_name(self._best, self._spec)
            lines.append(f"Best: `{self._names[0]}` {value:.6g}, {name}.")
        if words := self.shown.words():
            lines.append(f"Runs: {words} (`mlflow: {{trials: best {self.shown.most}}}`).")
        lines.append(
            f"The report is among the artifacts once a run has ended; `hpo report {self._spec.name}` writes it anew."
        )
        return "\n\n".join(lines)


def summary_of(spec: StudySpec, trials: Iterable[FrozenTrial]) -> Summary:
    """Return the summary of a study with these trials, finished or not."""
    summary = Summary(spec)
    summary.add(trials)
    return summary


_OWN_NOTE = re.compile(
    r"\d+(?: of \d+)? trials? finished(?:, \d+ [a-z]+)*\.(?:\n\nBest: [^\n]*)?(?:\n\nRuns: [^\n]*)?"
    r"\n\nThe report is among the artifacts [^\n]*"
)


def is_own_note(text: str) -> bool:
    """Return True if a run's note is one that `Summary.note` wrote, or none; a user may have put another there."""
    return not text.strip() or _OWN_NOTE.fullmatch(text.strip()) is not None
