"""Epochs that the pruner of a study is expected to leave trials: recorded, replayed, or by its rungs alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hpo.actions.replay import Policy, Recorded, recorded_of, saves_checkpoints
from hpo.actions.replay import replay as replay_once
from hpo.analysis.forecast import SAMPLES, epochs_of, shares_of, timings_of
from hpo.analysis.records import StudyRecord
from hpo.engines.replay import Recording
from hpo.errors import HpoError
from hpo.spec.epochs import epochs_in, most_epochs
from hpo.spec.models import StudySpec
from hpo.spec.wording import algorithm_text
from hpo.storage.history import Step
from hpo.text import count
from hpo.trial import Outcome

REPLAYS = 3
# Trials and reports of the curves that are made up where nothing was recorded.
MOST_TRIALS, MOST_REPORTS = 60, 12_000
# Of a pruner under which trials wait: what is said by whether they save checkpoints.
_CHECKPOINTS = {
    True: " and that wait with their checkpoints",
    False: " and that save no checkpoint",
    None: " and that save no checkpoint (that is not known; with checkpoints it saves more)",
}


@dataclass(frozen=True)
class Saving:
    """Epochs that trials train.

    Attributes:
        shares: Parts of their epochs, of trials that are alike to those to come.
        words: How that is known.
    """

    shares: tuple[float, ...]
    words: str

    @property
    def saved(self) -> float:
        """The part of all epochs that is not trained."""
        return 1 - sum(self.shares) / len(self.shares)


def saving_of(spec: StudySpec, history: StudyRecord | None, workers: int, saves: bool | None = None) -> Saving:
    """Return what the pruner of a study leaves.

    Args:
        spec: The study.
        history: Past trials of the same space; None without any.
        workers: Trials at once.
        saves: Whether trials save checkpoints, so that they can wait at a rung; None: what past trials show.
    """
    pruner = algorithm_text(spec.pruner)
    if history is not None and history.spec is not None and history.finished:
        past = history.spec
        as_long = epochs_in(past.constants) == epochs_in(spec.constants)
        same = as_long and (past.pruner, past.red_flags) == (spec.pruner, spec.red_flags)
        shares = shares_of(timings_of(history, spec, workers))
        trials = f"{count(len(shares), 'trial')} of study '{history.name}'"
        if same and shares:
            return Saving(tuple(shares), f"as in {trials}")
        if past.pruner.name == "none" and as_long:
            try:
                return _replayed(spec, history, workers)
            except HpoError:  # too few of them ran to their end
                pass
    if spec.pruner.name == "none":
        return Saving((1.0,), "no pruner, and red flags are not counted")
    if ":" in spec.pruner.name or most_epochs(spec) is None:
        why = "an objective without a number of epochs" if ":" not in spec.pruner.name else "a pruner of your own"
        return Saving((1.0,), f"what {pruner} saves is not known ({why}) and not counted")
    if saves is None and history is not None:
        saves = saves_checkpoints(history)
    return _made_up(spec, workers, saves)


def _replayed(spec: StudySpec, history: StudyRecord, workers: int) -> Saving:
    recorded = recorded_of(history)
    epochs = {trial.number: epochs_of(spec, trial.params) or trial.steps for trial in history.finished}
    shares = [
        min(1.0, steps / epochs[number])
        for seed in range(REPLAYS)
        for number, steps in replay_once(recorded, Policy("", spec, True), workers, seed).trained.items()
    ]
    trials = f"{count(len(recorded.recordings), 'trial')} of study '{history.name}'"
    return Saving(tuple(shares), f"by a replay of {trials}")


def _made_up(spec: StudySpec, workers: int, saves: bool | None) -> Saving:
    """Return the shares of trials whose order never changes: the pruner's rungs alone decide.

    What is not known of checkpoints costs more than it may: trials that wait train fewer epochs than those that pass.
    """
    rng = random.Random(spec.seed)
    drawn = [spec.space.sample(rng) for _ in range(SAMPLES)][:MOST_TRIALS]
    lengths = [epochs_of(spec, spec.space.resolve(params)) or 1 for params in drawn]
    n = max(10, min(spec.planned_trials() or MOST_TRIALS, len(drawn), MOST_REPORTS // max(lengths)))
    recordings = []
    for number, (params, length) in enumerate(zip(drawn[:n], lengths, strict=False)):
        value = rng.random()
        metrics = {metric.name: value for metric in spec.metrics}
        steps = tuple(Step(step, float(step), 1, metrics) for step in range(1, length + 1))
        outcome = Outcome(number, "COMPLETE", metrics=metrics, seconds=float(length))
        recordings.append(Recording(params, steps, outcome))
    recorded = Recorded(tuple(recordings), len(recordings), 0, 0, sum(lengths[:n]), workers, 0, 0.0, bool(saves))
    # Of fewer trials than are planned, as small a part runs to its end for the sake of its group.
    least = round(spec.min_complete * n / max(n, spec.planned_trials() or n))
    policy = Policy("", spec.model_copy(update={"red_flags": (), "min_complete": least}), True)
    trained = replay_once(recorded, policy, workers, spec.seed).trained
    shares = tuple(trained.get(number, 0) / lengths[number] for number in range(n))
    waits = _CHECKPOINTS[saves] if policy.has_trials_wait else ""
    return Saving(shares, f"by its rungs alone, for trials whose order never changes{waits}; red flags are not counted")
