"""Count why trials were pruned or failed, by cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpo import trial as causes
from hpo.analysis.records import WARN, StudyRecord, TrialRecord
from hpo.translation.catalogue import mark, tr

if TYPE_CHECKING:
    from hpo.red_flags.definitions import RedFlag

UNKNOWN = ""

# What a cause is called, and what it means.
_WORDS = {
    causes.PRUNER: (mark("pruner"), mark("the pruner stopped it: behind other trials at the same step")),
    causes.RED_FLAG: (mark("red flag"), mark("a rule of red_flags stopped it")),
    causes.OUT_OF_MEMORY: (mark("out of memory"), mark("it ran out of memory")),
    causes.OBJECTIVE: (mark("objective"), mark("the objective itself gave up")),
    causes.EXCEPTION: (mark("exception"), mark("the objective raised an error")),
    causes.INVALID: (
        mark("invalid"),
        mark("it returned what is no valid result (a missing metric, NaN, infinity)"),
    ),
    causes.TIMEOUT: (mark("timeout"), mark("it took longer than allowed")),
    causes.LOST: (mark("lost"), mark("its worker died")),
    causes.KILLED: (mark("killed"), mark("somebody ended it by hand")),
    causes.INTERRUPTED: (mark("interrupted"), mark("the study was stopped while it ran")),
    causes.PROMOTED: (mark("promoted"), mark("it waited at a rung, and went on as another trial")),
    causes.PREEMPTED: (mark("preempted"), mark("its node was taken away or died")),
    UNKNOWN: (
        mark("unknown"),
        mark("no reason was recorded (ended by another program, such as optuna-dashboard)"),
    ),
}


@dataclass(frozen=True)
class Cause:
    """All trials that ended in one state for one cause, in the order tried.

    Attributes:
        state: PRUNED or FAIL.
        cause: One of the causes of `hpo.trial`, or UNKNOWN.
        trials: At least one.
        flag: The red flag that ended them, if one did.
        rule: What study.yaml says of that flag, if it still does.
    """

    state: str
    cause: str
    trials: tuple[TrialRecord, ...]
    flag: str = ""
    rule: RedFlag | None = None

    @property
    def name(self) -> str:
        """Name of the cause, in the current language."""
        name = tr(_WORDS[self.cause][0]) if self.cause in _WORDS else self.cause
        return tr("{cause}: {flag}", cause=name, flag=self.flag) if self.flag else name

    @property
    def meaning(self) -> str:
        """Explanation of the cause, in the current language."""
        meaning = tr(_WORDS[self.cause][1]) if self.cause in _WORDS else self.cause
        if self.rule is not None:
            meaning = tr("{meaning}: {rule}", meaning=meaning, rule=self.rule.meaning)
        return tr("{meaning}; tried again, not counted", meaning=meaning) if self.requeued else meaning

    @property
    def requeued(self) -> bool:
        """Return True if the trials were tried again under another number."""
        return self.trials[0].requeued


def causes_of(study: StudyRecord) -> tuple[Cause, ...]:
    """Return the causes for which trials ended; one that was promoted goes on.

    Failures come first, then prunings, each red flag for itself, then attempts that were tried again. Among these the
    most frequent come first.
    """
    found: dict[tuple[str, str, str, bool], list[TrialRecord]] = {}
    for trial in study.trials:
        if trial.state in ("FAIL", "PRUNED") and trial.cause != causes.PROMOTED:
            found.setdefault((trial.state, trial.cause, trial.flag, trial.requeued), []).append(trial)
    rules = rules_of(study)
    counted = [
        Cause(state, cause, tuple(trials), flag, rules.get(flag)) for (state, cause, flag, _), trials in found.items()
    ]
    return tuple(sorted(counted, key=lambda c: (c.requeued, c.state != "FAIL", -len(c.trials), c.cause, c.flag)))


def ended_by(trial: TrialRecord) -> str:
    """Return why a trial ended early, in a word or two, in English."""
    cause = f"red flag {trial.flag}" if trial.flag else trial.cause.replace("_", " ")
    return f"{cause}, tried again" if trial.requeued and trial.cause != causes.PROMOTED else cause


def warnings_of(study: StudyRecord) -> dict[str, int]:
    """Return in how many trials each red flag only warned, running ones included, the most frequent first."""
    counted = Counter(
        flag.name
        for trial in study.trials
        if trial.flags and not trial.requeued
        for flag in trial.flags
        if flag.action == WARN
    )
    return dict(counted.most_common())


def rules_of(study: StudyRecord) -> dict[str, RedFlag]:
    """Return the red flags of study.yaml as it ran last, by name."""
    return {} if study.spec is None else {rule.name: rule for rule in study.spec.red_flags}
