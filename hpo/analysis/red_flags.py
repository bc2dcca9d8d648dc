"""Count which red flags were raised, how often and when, and how many epochs their stops have saved."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from hpo.analysis.cache import cached_per_study
from hpo.analysis.failures import rules_of
from hpo.analysis.groups import groups_of
from hpo.analysis.records import STOP, RaisedFlag, StudyRecord, TrialRecord


@dataclass(frozen=True)
class FlaggedTrial:
    """A trial and a flag that it raised."""

    trial: TrialRecord
    flag: RaisedFlag


@dataclass(frozen=True)
class FlagCount:
    """One red flag of a study.

    Attributes:
        name: Name of the flag.
        stopped: The trials it ended.
        warned: Those in which it was raised and that went on.
        epochs: The first, the median and the last epoch in which it was raised, as the objective counts them; None if
            it never was.
        saved: Epochs that the trials it stopped did not train (see `epochs_saved`); None if nobody can say.
    """

    name: str
    stopped: tuple[FlaggedTrial, ...]
    warned: tuple[FlaggedTrial, ...]
    epochs: tuple[int, float, int] | None
    saved: float | None

    @property
    def raised(self) -> tuple[FlaggedTrial, ...]:
        """All trials that raised it."""
        return (*self.stopped, *self.warned)


@cached_per_study
def flag_counts(study: StudyRecord) -> tuple[FlagCount, ...]:
    """Return every flag that was raised, and every rule of study.yaml.

    Trials that were tried again do not count. What stopped most trials comes first, then what warned most.
    """
    stopped: dict[str, list[FlaggedTrial]] = {name: [] for name in rules_of(study)}
    warned: dict[str, list[FlaggedTrial]] = {name: [] for name in stopped}
    for trial in study.trials:
        if trial.requeued:
            continue
        for flag in trial.flags:
            ended = flag.action == STOP and flag.name == trial.flag
            for found in (stopped, warned):
                found.setdefault(flag.name, [])
            (stopped if ended else warned)[flag.name].append(FlaggedTrial(trial, flag))
    planned = planned_epochs(study) if any(stopped.values()) else {}  # which needs all histories
    made = [_count(name, tuple(stopped[name]), tuple(warned[name]), planned) for name in stopped]
    return tuple(sorted(made, key=lambda one: (-len(one.stopped), -len(one.warned))))


def _count(
    name: str, stopped: tuple[FlaggedTrial, ...], warned: tuple[FlaggedTrial, ...], planned: dict[int, float]
) -> FlagCount:
    steps = [one.flag.step for one in (*stopped, *warned)]
    epochs = (min(steps), statistics.median(steps), max(steps)) if steps else None
    return FlagCount(name, stopped, warned, epochs, epochs_saved([one.trial for one in stopped], planned))


def epochs_saved(stopped: list[TrialRecord], planned: dict[int, float]) -> float | None:
    """Return the epochs that the stopped trials would have trained, less those they did, summed.

    A trial that trained longer than planned counts 0.

    Args:
        stopped: Trials that a flag stopped.
        planned: Epochs that each trial would have trained, by trial number.

    Returns:
        None if not one trial has a plan.
    """
    saved = [max(0.0, planned[trial.number] - trial.steps) for trial in stopped if trial.number in planned]
    return sum(saved) if saved else None


def planned_epochs(study: StudyRecord) -> dict[int, float]:
    """Return how many epochs each finished trial would have trained, had nothing ended it, by trial number.

    It is the median of the COMPLETE trials of its group or, without any, of the study. A trial without either is left
    out.
    """
    of_study = _median_length(study.finished)
    planned: dict[int, float] = {}
    for group in groups_of(study):
        usual = _median_length(group.trials) or of_study
        if usual is not None:
            planned |= {trial.number: usual for trial in group.trials}
    return planned


def _median_length(trials: tuple[TrialRecord, ...]) -> float | None:
    lengths = [trial.steps for trial in trials if trial.state == "COMPLETE" and trial.steps]
    return statistics.median(lengths) if lengths else None
