"""Recovery after a kill: trials that a dead driver left running are finished as was noted, or queued again.

Only the holder of the driver's lock may do this, since the trials of a living driver are RUNNING too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.oracle.queue import Queue
from hpo.spec.models import StudySpec
from hpo.storage.histories import Histories
from hpo.storage.history import Step
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME, configuration_of, waits
from hpo.trial import INTERRUPTED, OUT_OF_MEMORY, PROMOTED, RED_FLAG, Outcome


def recover(
    spec: StudySpec,
    study: optuna.Study,
    directory: Path,
    queue: Queue,
    clock: Callable[[], float],
    say: Callable[[str], None],
) -> None:
    """End every RUNNING trial of the study, but those that wait at a rung with a checkpoint.

    An attempt without an outcome is queued again and fails; it does not count.

    Args:
        spec: the study.
        study: its Optuna study.
        directory: the study's folder.
        queue: takes the further attempts.
        clock: seconds since the epoch.
        say: gets sentences for the user.
    """
    trials = study.get_trials(deepcopy=False)
    histories = Histories(directory, trials)
    tried_again = {trial.user_attrs.get(ORIGIN, {}).get("retry_of") for trial in trials}
    for frozen in trials:
        if frozen.state != TrialState.RUNNING:
            continue
        note = frozen.user_attrs.get(OUTCOME)
        if note is None:
            if frozen.number not in tried_again:
                requeue(spec, queue, frozen)
                say(f"trial {frozen.number} was running when its driver died; it goes back in the queue")
            note = _lost_note(spec, histories.read(frozen), frozen, clock())
        elif waits(frozen) and frozen.number in tried_again:  # it died when it had queued the attempt that goes on
            note = {**note, "state": "FAIL", "cause": PROMOTED, "requeued": True}
        elif can_wait(frozen, directory):
            continue
        finish_trial(study, optuna.Trial(study, frozen._trial_id), note, [metric.name for metric in spec.metrics])


def can_wait(trial: FrozenTrial, directory: Path) -> bool:
    """Return True if a trial waits at a rung with its checkpoint, in a study whose folder is `directory`."""
    return waits(trial) and layout.has_checkpoint(directory, trial.number)


def requeue(spec: StudySpec, queue: Queue, frozen: FrozenTrial) -> None:
    """Queue a further attempt at a trial whose driver died. The lost attempt does not count as a retry."""
    origin = frozen.user_attrs.get(ORIGIN, {})
    job = frozen.user_attrs.get(JOB, {})
    seed = job.get("seed", origin.get("seed", seed_of(spec, frozen.number)))
    # Killed while it was being asked: what was fixed is kept, the rest will be sampled.
    params = configuration_of(frozen)
    queue.requeue(frozen.number, seed, origin, origin.get("spent", {}), params)


def finish_trial(study: optuna.Study, trial: optuna.Trial, note: Mapping[str, Any], names: Sequence[str]) -> None:
    """Note an outcome, and tell Optuna the end of a running trial.

    Args:
        study: the trial's study.
        trial: a running trial.
        note: see `outcome_note`.
        names: those of the study's metrics.
    """
    trial.set_user_attr(OUTCOME, note)
    # Optuna takes a trial without constraints as feasible. A constraint of 0 on COMPLETE trials would have GPSampler
    # model a constraint that never varies, and refuse a study some of whose trials were told without it.
    constraint = OUT_OF_MEMORY if note["cause"] == OUT_OF_MEMORY else ""
    if note["cause"] == RED_FLAG:
        constraint = f"{RED_FLAG}_{note['flag']}"
    if constraint and constraint not in trial.constraints:
        trial.set_constraint(constraint, 1.0)
    if note["state"] == "COMPLETE":
        study.tell(trial, [note["metrics"][name] for name in names])
    else:
        study.tell(trial, state=TrialState[note["state"]])


def outcome_note(outcome: Outcome, finished: float, requeued: bool, gpu: float) -> dict[str, Any]:
    """Return what is kept of an outcome in the trial's attributes.

    Args:
        outcome: how the attempt ended.
        finished: seconds since the epoch.
        requeued: it was queued again, so that this attempt does not count.
        gpu: the share of GPUs that it held.
    """
    note: dict[str, Any] = {
        "state": outcome.state,
        "cause": outcome.cause,
        "metrics": dict(outcome.metrics),
        "finished": finished,
        "seconds": round(outcome.seconds, 3),
        "gpu_seconds": round(outcome.seconds * gpu, 3),
        "requeued": requeued,
    }
    more = {"reason": outcome.reason, "flag": outcome.flag, "peak_gpu_bytes": outcome.peak_gpu_bytes}
    return note | {name: value for name, value in more.items() if value}


def count_attempt(origin: Mapping[str, Any], cause: str) -> dict[str, int]:
    """Return the number of retries of a configuration by cause, one more for `cause` than its `origin` says."""
    retries: dict[str, int] = dict(origin.get("spent", {}))
    retries[cause] = retries.get(cause, 0) + 1
    return retries


def seed_of(spec: StudySpec, number: int) -> int:
    """Return a trial's own seed: one of `trial_seeds`, else one below 2^31 made of the study's seed and the number.

    Every attempt at a trial has the same seed. Of the seeds that are made no two are equal: NumPy's SeedSequence mixes
    the two numbers.
    """
    if number < len(spec.trial_seeds):
        return spec.trial_seeds[number]
    return int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0] >> 1)


def _lost_note(spec: StudySpec, steps: Sequence[Step], frozen: FrozenTrial, now: float) -> dict[str, Any]:
    """Return the note of a trial whose driver died."""
    started = frozen.user_attrs.get(JOB, {}).get("started", now)
    # It ended with its last report: the time until this restart was not spent on it.
    finished = max([started, *(step.time for step in steps)])
    reason = "its driver died"
    lost = Outcome(frozen.number, "FAIL", cause=INTERRUPTED, reason=reason, seconds=finished - started)
    return outcome_note(lost, finished, requeued=True, gpu=spec.engine.gpus)
