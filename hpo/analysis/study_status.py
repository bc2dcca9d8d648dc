"""Counts of a recorded study, as `hpo status` and `hpo list` show them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hpo.analysis.failures import warnings_of
from hpo.analysis.pareto import pareto_front
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.red_flags.monitor import names_in_rule, unreported_names
from hpo.spec.models import StudySpec
from hpo.text import count
from hpo.trial import PROMOTED

MOST_ASKED = 2000  # trials, whose histories are read


@dataclass(frozen=True)
class StudyStatus:
    """Counts of a recorded study.

    Attributes:
        budget: Trials of the budget, or None without a limit of trials.
        complete: Finished trials that completed.
        pruned: Finished trials that were pruned.
        failed: Finished trials that failed.
        requeued: Attempts that were tried again.
        running: Trials that run now, or were left running by a driver that died.
        waiting: Number of queued trials.
        at_rung: Pruned trials that wait at a rung, and may go on.
        best: The best trial by the first metric, or None.
        front: The Pareto front; with one metric the best trial alone.
        causes: How many trials each cause ended; each red flag is a cause of its own.
        warnings: On how many trials each red flag only warned.
        imported: Finished trials that were trained elsewhere; no other number counts them.
    """

    budget: int | None
    complete: int
    pruned: int
    failed: int
    requeued: int
    running: tuple[TrialRecord, ...]
    waiting: int
    at_rung: int
    best: TrialRecord | None
    front: tuple[TrialRecord, ...]
    causes: dict[str, int]
    warnings: dict[str, int]
    imported: int = 0

    @property
    def finished(self) -> int:
        """Number of finished trials."""
        return self.complete + self.pruned + self.failed

    @property
    def total(self) -> str:
        """Number of finished trials as `12 of 48 trials`, or `12 trials` without a budget of trials."""
        return (
            count(self.finished, "trial")
            if self.budget is None
            else f"{self.finished} of {count(self.budget, 'trial')}"
        )


def silent_flags(record: StudyRecord, spec: StudySpec) -> list[str]:
    """Return a sentence for each red flag that names something no trial of the study had, of a large one of a part."""
    if not any(names_in_rule(flag) for flag in spec.red_flags):
        return []
    known = {*spec.constants, *(parameter.name for parameter in spec.space.walk())}
    part, said = part_of(record)
    reported: dict[str, None] = {}
    silent: list[str] = []
    for trial in part.trials:
        if new := [name for name in trial.reported if name not in reported]:
            reported |= dict.fromkeys(new)
            silent = unreported_names(spec.red_flags, reported, known)
            if not silent:  # as of the first trial, mostly
                return []
    return [f"{sentence}{said}" for sentence in silent]


def part_of(record: StudyRecord) -> tuple[StudyRecord, str]:
    """Return MOST_ASKED trials of a study, evenly spaced, for what needs their histories, and a remark that says so."""
    every = -(-len(record.trials) // MOST_ASKED) or 1
    if every == 1:
        return record, ""
    part = replace(record, trials=record.trials[::every])
    return part, f" ({len(part.trials)} of {count(len(record.trials), 'trial')} were looked at)"


def study_status(record: StudyRecord, spec: StudySpec) -> StudyStatus:
    """Return the counts of a recorded study."""
    best = best_of(record.complete(record.metrics[0]), record.metrics[0])
    one = () if best is None else (best,)
    states = Counter(trial.state for trial in record.trained)
    ended = (one for one in record.trials if one.cause != PROMOTED and one.imported is None)
    early = (one for one in ended if one.state in ("PRUNED", "FAIL"))
    causes = Counter(map(_cause, early))
    return StudyStatus(
        budget=spec.planned_trials(),
        complete=states["COMPLETE"],
        pruned=states["PRUNED"],
        failed=states["FAIL"],
        requeued=sum(trial.requeued for trial in record.trials),
        running=record.in_state("RUNNING"),
        waiting=len(record.in_state("WAITING")),
        at_rung=sum(trial.waits for trial in record.trials),
        best=best,
        front=pareto_front(record) if len(record.metrics) > 1 else one,
        causes=dict(causes.most_common()),
        warnings=warnings_of(record),
        imported=len(record.imported),
    )


def _cause(trial: TrialRecord) -> str:
    return f"red flag {trial.flag}" if trial.flag else trial.cause or "unknown"
