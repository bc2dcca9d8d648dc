"""Checks of the trials of a study, as its storage has them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo.analysis.notices import change_sentence
from hpo.doctor.context import Check, StudyContext
from hpo.doctor.finding import OBJECTIVE_CHANGED, Finding
from hpo.oracle.queue import Queue
from hpo.oracle.recovery import can_wait, count_attempt, finish_trial, outcome_note, recover, requeue
from hpo.storage.contradiction import contradiction
from hpo.storage.source_versions import changes_of
from hpo.storage.trial_attributes import JOB, ORIGIN, OUTCOME, requeued
from hpo.trial import EXTERNAL_CAUSES, INTERRUPTED, Outcome
from hpo.warm_start.trust import WarmStart


def left_running(context: StudyContext) -> Iterator[Finding]:
    """Find trials that are RUNNING while nobody drives the study. They repel the sampler from where they are."""
    if context.driver is not None:
        return
    for trial in context.trials:
        if trial.state != TrialState.RUNNING or can_wait(trial, context.directory):
            continue
        note = trial.user_attrs.get(OUTCOME)
        if note is None:
            yield Finding(
                "left-running", context.name, trial.number,
                f"trial {trial.number} is RUNNING in Optuna, and nobody drives the study: its driver died",
                "certain", "end this attempt as lost and put its configuration back in the queue",
                partial(_recover, context),
            )  # fmt: skip
        else:
            yield Finding(
                "half-ended", context.name, trial.number,
                f"trial {trial.number} ended as {note['state']}, and is RUNNING in Optuna: its driver died before it "
                "could say so",
                "certain", f"end it as {note['state']} there too", partial(_recover, context),
            )  # fmt: skip


def not_tried_again(context: StudyContext) -> Iterator[Finding]:
    """Find attempts that were to be tried again, and of which no further attempt exists: they count nowhere."""
    retries = _retries(context)
    for trial in context.trials:
        if trial.state.is_finished() and _goes_on(trial) and not retries.get(trial.number):
            yield Finding(
                "not-tried-again", context.name, trial.number,
                f"trial {trial.number} was lost and noted to be tried again, and no further attempt at it exists",
                "certain", "put its configuration back in the queue", partial(_try_again, context, trial),
            )  # fmt: skip


def waits_twice(context: StudyContext) -> Iterator[Finding]:
    """Find further attempts at a trial beyond the one that it is to have."""
    for number, attempts in _retries(context).items():
        # The one that got furthest stays; of those that wait, the first.
        staying = min(attempts, key=lambda trial: (trial.state == TrialState.WAITING, trial.number))
        for trial in attempts:
            if trial is not staying and trial.state == TrialState.WAITING:
                yield Finding(
                    "waits-twice", context.name, trial.number,
                    f"trial {trial.number} waits to try trial {number} again, and trial {staying.number} already does",
                    "certain", f"withdraw trial {trial.number}: it is noted as an attempt that does not count",
                    partial(_withdraw, context, trial, staying.number),
                )  # fmt: skip


def odd_numbers(context: StudyContext) -> Iterator[Finding]:
    """Find trials whose number is not their place: Optuna counts them from 0, without a gap."""
    for place, trial in enumerate(context.trials):
        if trial.number != place:
            yield Finding(
                "number-odd", context.name, trial.number,
                f"trial {trial.number} stands where trial {place} belongs: its number was damaged in the storage, so "
                "that its history and its further attempts are not found", "certain",
                "bring the storage back from a backup",
            )  # fmt: skip
            return


def contradictions(context: StudyContext) -> Iterator[Finding]:
    """Find COMPLETE trials about which the storage contradicts itself."""
    names = [metric.name for metric in context.spec.metrics]
    for trial in context.trials:
        if said := contradiction(trial, context.spec.space, names):
            yield Finding(
                "trial-contradicts", context.name, trial.number,
                f"trial {trial.number}: {said}: a record of the storage was damaged", "certain",
                "bring the storage back from a backup; until then the trial is taken as failed, in reports and for "
                f"`hpo best {context.name}`",
            )  # fmt: skip


def lost_ends(context: StudyContext) -> Iterator[Finding]:
    """Find trials that hpo ran, and whose note of their end is gone. One that somebody failed by hand has none."""
    for trial in context.trials:
        ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if ended and JOB in trial.user_attrs and OUTCOME not in trial.user_attrs:
            yield Finding(
                "end-lost", context.name, trial.number,
                f"trial {trial.number} is {trial.state.name} in Optuna, and what hpo noted at its end is gone: its "
                "other metrics, its cause and its run time", "certain",
                "bring the storage back from a backup; the values of the study's own metrics are whole",
            )  # fmt: skip


def odd_times(context: StudyContext) -> Iterator[Finding]:
    """Find trials with impossible times, which clocks that are apart or were set back leave."""
    now = time.time()
    for trial in context.trials:
        job, note = trial.user_attrs.get(JOB), trial.user_attrs.get(OUTCOME)
        if not job or not note:
            continue
        if (lead := job["started"] - note["finished"]) > SLACK:
            said = f"trial {trial.number} finished {lead:.0f} s before it started"
        elif (lead := note["finished"] - now) > SLACK:
            said = f"trial {trial.number} finished {lead:.0f} s in the future of this host's clock"
        else:
            continue
        yield Finding(
            "odd-times", context.name, trial.number, f"{said}: the clocks of hosts are apart, or one was set",
            "likely", "set the hosts' clocks by NTP; what is noted stays, and times in the report may be odd",
        )  # fmt: skip


# Seconds by which clocks may be apart.
SLACK = 2.0


def _retries(context: StudyContext) -> dict[int, list[FrozenTrial]]:
    """Return the further attempts at each trial, without those that were withdrawn."""
    found: dict[int, list[FrozenTrial]] = {}
    for trial in context.trials:
        number = trial.user_attrs.get(ORIGIN, {}).get("retry_of")
        if number is not None and not _withdrawn(trial.user_attrs):
            found.setdefault(number, []).append(trial)
    return found


def _withdrawn(attributes: Mapping[str, Any]) -> bool:
    return "withdrawn_for" in attributes.get(OUTCOME, {})


def _goes_on(trial: FrozenTrial) -> bool:
    return requeued(trial.user_attrs) and not _withdrawn(trial.user_attrs)


def _queue(context: StudyContext) -> Queue:
    return Queue(context.spec, context.study, WarmStart((), 0, context.spec.metrics[0].direction == "maximize"))


def _recover(context: StudyContext) -> None:
    recover(context.spec, context.study, context.directory, _queue(context), time.time, lambda _: None)


def _try_again(context: StudyContext, trial: FrozenTrial) -> None:
    cause = trial.user_attrs[OUTCOME]["cause"]
    if cause in EXTERNAL_CAUSES:
        requeue(context.spec, _queue(context), trial)
        return
    origin = trial.user_attrs.get(ORIGIN, {})
    spent = count_attempt(origin, cause)
    _queue(context).requeue(trial.number, trial.user_attrs[JOB]["seed"], origin, spent, trial.params)


def _withdraw(context: StudyContext, trial: FrozenTrial, staying: int) -> None:
    # As a trial that started and was lost at once: Optuna has no word for one that never was.
    if not context.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
        return
    reason = f"trial {staying} tries the same again"
    now = time.time()
    note = outcome_note(Outcome(trial.number, "FAIL", cause=INTERRUPTED, reason=reason), now, requeued=True, gpu=0.0)
    names = [metric.name for metric in context.spec.metrics]
    finish_trial(context.study, optuna.Trial(context.study, trial._trial_id), note | {"withdrawn_for": staying}, names)


def objective_changed(context: StudyContext) -> Iterator[Finding]:
    """Find trials before which the objective's files were edited: they may not be comparable with those before."""
    for change in changes_of(context.trials, context.study.user_attrs):
        said = change_sentence(change).rstrip(".")
        remedy = "run it under another name (--new-name) if that changed the results"
        yield Finding(OBJECTIVE_CHANGED, context.name, change.number, said, "certain", remedy)


CHECKS: tuple[Check, ...] = (
    left_running,
    not_tried_again,
    waits_twice,
    odd_numbers,
    contradictions,
    lost_ends,
    odd_times,
    objective_changed,
)
