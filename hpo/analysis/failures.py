"""Why trials were pruned or failed, counted by cause."""

from __future__ import annotations

from dataclasses import dataclass

from hpo import trial as causes
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.language import mark, tr

UNKNOWN = ""

# What a cause is called, and what it means.
_WORDS = {
    causes.PRUNER: (mark("pruner"), mark("the pruner stopped it: behind other trials at the same step")),
    causes.OUT_OF_MEMORY: (mark("out of memory"), mark("it ran out of memory")),
    causes.OBJECTIVE: (mark("objective"), mark("the objective itself gave up")),
    causes.EXCEPTION: (mark("exception"), mark("the objective raised an error")),
    causes.INVALID: (
        mark("invalid"),
        mark("it returned what is no valid result (a missing metric, NaN, infinity)"),
    ),
    causes.TIMEOUT: (mark("timeout"), mark("it took longer than allowed")),
    causes.LOST: (mark("lost"), mark("its worker died")),
    causes.INTERRUPTED: (mark("interrupted"), mark("the study was stopped while it ran")),
    causes.PREEMPTED: (mark("preempted"), mark("its node was taken away or died")),
    UNKNOWN: (
        mark("unknown"),
        mark("no reason was recorded (ended by another program, such as optuna-dashboard)"),
    ),
}


@dataclass(frozen=True)
class Cause:
    """All trials that ended in `state` for one cause, in the order tried."""

    state: str
    cause: str
    trials: tuple[TrialRecord, ...]

    @property
    def name(self) -> str:
        return tr(_WORDS[self.cause][0]) if self.cause in _WORDS else self.cause

    @property
    def meaning(self) -> str:
        meaning = tr(_WORDS[self.cause][1]) if self.cause in _WORDS else self.cause
        return tr("{meaning}; tried again, not counted", meaning=meaning) if self.requeued else meaning

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
