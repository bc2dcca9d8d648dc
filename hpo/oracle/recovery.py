"""After a kill: the trials that a dead driver left running are finished as was noted, or queued again.

Whoever does this holds the driver's lock: for a driver that is at work, RUNNING is no sign of death."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.oracle.queue import Queue
from hpo.spec.models import StudySpec
from hpo.storage import history
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME
from hpo.trial import INTERRUPTED, OUT_OF_MEMORY, RED_FLAG, Outcome


def recover(
    spec: StudySpec,
    study: optuna.Study,
    directory: Path,
    queue: Queue,
    clock: Callable[[], float],
    say: Callable[[str], None],
) -> None:
    """Ends every RUNNING trial of the study. An attempt without an outcome is put into `queue` again, fails, and does
    not count. `directory`: the study's folder; `clock`: seconds since the epoch; `say` gets sentences for the user."""
    trials = study.get_trials(deepcopy=False)
    tried_again = {trial.user_attrs.get(ORIGIN, {}).get("retry_of") for trial in trials}
    for frozen in trials:
        if frozen.state != TrialState.RUNNING:
            continue
        note = frozen.user_attrs.get(OUTCOME)
        if note is None:
            if frozen.number not in tried_again:
                put_again(spec, queue, frozen)
                say(f"trial {frozen.number} was running when its driver died; it goes back in the queue")
            note = _lost_note(spec, directory, frozen, clock())
        end(study, optuna.Trial(study, frozen._trial_id), note, [metric.name for metric in spec.metrics])


def put_again(spec: StudySpec, queue: Queue, frozen: FrozenTrial) -> None:
    """Queues a further attempt at a trial whose driver died; the dead one is not held against it."""
    origin = frozen.user_attrs.get(ORIGIN, {})
    job = frozen.user_attrs.get(JOB, {})
    seed = job.get("seed", origin.get("seed", seed_of(spec.seed, frozen.number)))
    # Killed while it was being asked: what was fixed is kept, the rest will be sampled.
    params = {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}
    queue.put_again(frozen.number, seed, origin, origin.get("spent", {}), params)


def end(study: optuna.Study, trial: optuna.Trial, note: Mapping[str, Any], names: Sequence[str]) -> None:
    """Notes an outcome, and tells Optuna the end of a running trial. `names`: of the study's metrics."""
    trial.set_user_attr(OUTCOME, note)
    # Where nothing is said Optuna takes a trial as feasible. Said of a COMPLETE one it would have GPSampler
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


def note_of(outcome: Outcome, finished: float, requeued: bool, gpu: float) -> dict[str, Any]:
    """What is kept of an outcome in the trial's attributes. `gpu`: how much of GPUs it held."""
    return {
        "state": outcome.state,
        "cause": outcome.cause,
        "reason": outcome.reason,
        "metrics": dict(outcome.metrics),
        "finished": finished,
        "seconds": round(outcome.seconds, 3),
        "gpu_seconds": round(outcome.seconds * gpu, 3),
        "peak_gpu_bytes": outcome.peak_gpu_bytes,
        "requeued": requeued,
    }


def lost_attempts(origin: Mapping[str, Any], trials: list[FrozenTrial]) -> Iterator[int]:
    """Numbers of the earlier attempts at a trial of `origin`, the latest first."""
    number = origin.get("retry_of")
    while number is not None:
        yield number
        number = trials[number].user_attrs.get(ORIGIN, {}).get("retry_of")


def count_attempt(origin: Mapping[str, Any], cause: str) -> dict[str, int]:
    """How often the configuration was tried again so far, by cause, with this time in it."""
    spent: dict[str, int] = dict(origin.get("spent", {}))
    spent[cause] = spent.get(cause, 0) + 1
    return spent


def seed_of(study_seed: int, number: int) -> int:
    """A trial's own seed, below 2^31: every attempt at it has the same, no two trials share one by
    design (NumPy's SeedSequence mixes the two numbers)."""
    return int(np.random.SeedSequence([study_seed, number]).generate_state(1)[0] >> 1)


def _lost_note(spec: StudySpec, directory: Path, frozen: FrozenTrial, now: float) -> dict[str, Any]:
    started = frozen.user_attrs.get(JOB, {}).get("started", now)
    steps = history.read(layout.trial_directory(directory, frozen.number) / layout.HISTORY)
    # The last sign of life; the time until this restart was nobody's work.
    finished = max([started, *(step.time for step in steps)])
    reason = "its driver died"
    lost = Outcome(frozen.number, "FAIL", cause=INTERRUPTED, reason=reason, seconds=finished - started)
    return note_of(lost, finished, requeued=True, gpu=spec.engine.gpus)
