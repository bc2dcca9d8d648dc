"""Why trials were pruned or failed, counted by cause."""

from __future__ import annotations

from dataclasses import dataclass

from hpo import trial as causes
from hpo.analysis.records import StudyRecord, TrialRecord

UNKNOWN = ""

MEANING = {
    causes.PRUNER: "the pruner stopped it: behind other trials at the same step",
    causes.OUT_OF_MEMORY: "it ran out of memory",
    causes.OBJECTIVE: "the objective itself gave up",
    causes.EXCEPTION: "the objective raised an error",
    causes.INVALID: "it returned what is no valid result (a missing metric, NaN, infinity)",
    causes.TIMEOUT: "it took longer than allowed",
    causes.LOST: "its worker died",
    causes.INTERRUPTED: "the study was stopped while it ran",
    UNKNOWN: "no reason was recorded (ended by another program, such as optuna-dashboard)",
}


@dataclass(frozen=True)
class Cause:
    """All trials that ended in `state` for one cause, in the order tried."""

    state: str
    cause: str
    trials: tuple[TrialRecord, ...]

    @property
    def meaning(self) -> str:
        meaning = MEANING.get(self.cause, self.cause)
        return f"{meaning}; tried again, not counted" if self.requeued else meaning

    @property
    def requeued(self) -> bool:
        return self.trials[0].requeued


def causes_of(study: StudyRecord) -> tuple[Cause, ...]:
    """Failures first, then prunings, then attempts that were tried again; the most frequent first."""
    found: dict[tuple[str, str, bool], list[TrialRecord]] = {}
    for trial in study.trials:
        if trial.state in ("FAIL", "PRUNED"):
            found.setdefault((trial.state, trial.cause, trial.requeued), []).append(trial)
    counted = [Cause(state, cause, tuple(trials)) for (state, cause, _), trials in found.items()]
    return tuple(sorted(counted, key=lambda c: (c.requeued, c.state != "FAIL", -len(c.trials), c.cause)))
