"""The Oracle: ask, report and tell over one Optuna study, whose sole owner and writer it is.

Everything that must survive a kill is in the storage and in the history files; what the Oracle holds in memory is
rebuilt from them. The study's directory, the clock and the files of trials are passed in, so that a replay can pass its
own.

The order of writes makes every moment a safe one to die at. A retry is queued before the lost attempt is failed, and
an outcome is noted before the trial is told, so that `hpo.oracle.recovery` can finish either.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.objective.sources import Sources, sources_of
from hpo.oracle.budget_count import BudgetCount
from hpo.oracle.checkpoint_retention import CheckpointRetention
from hpo.oracle.continuation import Continuation, began_anew, checkpoints_to_continue, trained_nothing
from hpo.oracle.min_complete import MinComplete
from hpo.oracle.notices import Notices, TrialWatch
from hpo.oracle.promotions import Promotions, WaitingTrial
from hpo.oracle.queue import Queue, searched
from hpo.oracle.recovery import count_attempt, finish_trial, outcome_note, recover, seed_of
from hpo.oracle.run_control import RunControl
from hpo.oracle.running_trial import Attempt, RunningTrial, monitor_of
from hpo.oracle.trial_files import TrialFiles, fork
from hpo.red_flags.monitor import Raised
from hpo.search.pbt import checkpoints_needed
from hpo.search.pruning import pruning_for
from hpo.search.study_view import view_of
from hpo.spec.models import StudySpec
from hpo.spec.population import is_population, population_of
from hpo.spec.racing import constants_of, is_race
from hpo.storage import history
from hpo.storage.budget import run_clock
from hpo.storage.faults import LARGEST_KEPT_STEP, concerns_trial_alone, is_step_beyond_storage
from hpo.storage.histories import Histories, mark_in_storage
from hpo.storage.history import Step, mark_of
from hpo.storage.lost_and_found import set_aside
from hpo.storage.ownership import key_of
from hpo.storage.provenance import CODE, ENVIRONMENT, keep
from hpo.storage.segments import SegmentWriter
from hpo.storage.source_versions import record_version
from hpo.storage.trial_attributes import (
    ENDED_OUTSIDE,
    ENQUEUE,
    FALLBACK,
    FLAGS,
    JOB,
    ORIGIN,
    OUTCOME,
    SAMPLER,
    SEGMENT,
    WAITS,
    continued_from,
    lost_attempts,
    requeued,
    started_of,
)
from hpo.text import listing, one_line, show
from hpo.trackers.base import Tracker
from hpo.trial import (
    EXCEPTION,
    EXTERNAL_CAUSES,
    INTERRUPTED,
    INVALID,
    KILLED,
    LOST,
    PROMOTED,
    PRUNER,
    RED_FLAG,
    Job,
    Outcome,
    Stop,
    Usage,
)
from hpo.warm_start.trust import FINAL, WarmStart


class Oracle:
    """Decide what is tried next, what goes on and what is tried again.

    Everything here belongs to the thread that runs the engine; see `RunControl` for what other threads may call.

    Attributes:
        control: what people ask of the run.
        budget: what the study has spent.
        notices: what the trials of this run show.

    Args:
        spec: the study.
        study: its Optuna study.
        directory: its folder.
        tracker: gets everything that happens.
        clock: seconds since the epoch; None: `run_clock`.
        files: those of the trials; None: on disk, in `directory`.
        warm: what earlier studies have to offer.
        code: the mark of the record of git commit and data files (`hpo.storage.provenance`); empty without one.
    """

    def __init__(
        self,
        spec: StudySpec,
        study: optuna.Study,
        directory: Path,
        tracker: Tracker | None = None,
        clock: Callable[[], float] | None = None,
        files: TrialFiles | None = None,
        warm: WarmStart | None = None,
        code: str = "",
    ) -> None:
        self._study = study = view_of(study)
        # For the sampler and the pruner: a trial that went on from another one was trained longer than the others.
        self._searched = view_of(study, lambda trial: not continued_from(trial.user_attrs))
        self._only_continued = False
        self._directory = directory
        self._tracker = tracker or Tracker()
        self._clock = clock = clock or run_clock()
        self._run = secrets.token_hex(4)  # tells the times of this run from those of others, see `Span`
        self._files = files or TrialFiles()
        self._key = key_of(study)
        self._names = tuple(metric.name for metric in spec.metrics)
        self._running: dict[int, RunningTrial] = {}
        self._said: set[object] = set()  # what this run says only once
        self._environment: tuple[dict[str, Any], str] = {}, ""  # that of the last trial, and the mark of its record
        self.notices = Notices(spec, lambda text: self._tracker.message(text))
        sources = sources_of(spec.objective_ref())
        record_version(study, sources)
        self._marks = {name: mark for name, mark in (("sources", sources.mark), (CODE, code)) if mark}
        self._queue = Queue(spec, study, warm or WarmStart((), 0, spec.metrics[0].direction == "maximize"))
        recover(spec, study, directory, self._queue, clock, self._tracker.message)
        # From here on, trials are counted in memory.
        trials = study.get_trials(deepcopy=False)
        self.control = RunControl(spec, study, self._running)
        self.budget = BudgetCount(self.control, trials, clock)
        self._pruning = pruning_for(spec, study, directory)
        own = searched(trials)
        self._promotions = Promotions(spec, self._searched, own, self._files)
        self._min_complete = MinComplete(spec, self.budget, own)
        self._retention = CheckpointRetention(spec, directory, trials, self._tracker.message, self._checkpoints_needed)
        self._retention.prune()
        ended = (one for one in trials if one.state.is_finished() and not requeued(one.user_attrs))
        # MLflow's writer, which may be behind, uploads the files of trials: with it they stay where they are.
        self._segments = (
            SegmentWriter(directory, ((one.number, started_of(one)) for one in ended)) if spec.mlflow is None else None
        )
        self._queue.load(trials, directory)
        for waiting in self._promotions.resume(own, self._job):
            self._stop_for_good(waiting)

    @property
    def spec(self) -> StudySpec:
        """The study as it runs now: its budget may have been extended."""
        return self.control.spec

    @property
    def no_more_jobs(self) -> bool:
        """True if no further job will come, asked after `ask` had none; False if the study is paused."""
        if self.budget.done and len(self._promotions) and (self._running or self.control.paused):
            return self.control.interrupted  # what a running trial reports decides who goes on
        return self.control.interrupted or bool(self.budget.done or self.budget.stopped)

    def end(self) -> None:
        """End the trials that wait at a rung, for the end of a run: they are pruned. If the study goes on they wait."""
        if self._only_continued or not (self.budget.done or self.budget.stopped):
            return
        for waiting in self._promotions.rest():
            self._stop_for_good(waiting)

    def close(self) -> None:
        """Close the files of trials that were never told; the next Oracle recovers these trials."""
        for running in self._running.values():
            running.history.close()

    # --- the three questions of an engine

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Job | None:
        """Return the next job, or None if there is none now.

        Args:
            fixed: queue a configuration with these values, by the objective's names, behind those that wait already.
        """
        # Before the budget is looked at, since it may grow once more in this very moment.
        if self.control.take_extension():
            self._tracker.study_extended(self.spec, self.budget.progress)
        spent = not self._only_continued and not self._promote() and self.budget.spent()
        if self.control.interrupted or self.control.paused or (spent and not self._promote(last=True)):
            return None
        if (continued := self._queue.next_continued()) is not None:
            self._study._storage.set_trial_state_values(continued._trial_id, TrialState.RUNNING)
            return self._start(optuna.Trial(self._searched, continued._trial_id))
        if self._only_continued:
            self.budget.done = self.budget.done or "the trial was continued"
            return None
        if fixed is not None:
            self._queue.enqueue(self.spec.space.to_optuna(fixed), {"source": ENQUEUE})
        elif not self._queue.waiting and not self._refill() and not self._promote(last=True):
            return None
        return self._start(self._searched.ask())

    def continue_trial(self, continuation: Continuation) -> FrozenTrial | None:
        """Train a continuation and nothing else. Queue it, and make room for it, unless it is there already.

        Returns:
            The trial that is this continuation already, which has completed or was interrupted; None: it is new.
        """
        self._only_continued = True
        known = continuation.among(self._study.get_trials(deepcopy=False))
        if known is None:
            self._queue.enqueue(continuation.params, continuation.origin)
            budget = self.spec.budget
            if budget.trials is not None:
                self.control.extend(budget.model_copy(update={"trials": budget.trials + 1}))
        return known

    def retry_failed(self) -> int:
        """Queue the configurations of failed trials once more, and make room for them. Return their number."""
        count = self._queue.retry_failed(self._study.get_trials(deepcopy=False))
        budget, needed = self.spec.budget, self.budget.progress.finished + self._queue.waiting
        if count and budget.trials is not None and budget.trials < needed:
            self.control.extend(budget.model_copy(update={"trials": needed}))
        return count

    def report(self, number: int, step: int, metrics: Mapping[str, float], usage: Usage | None = None) -> Stop | None:
        """Keep the metrics of a step. Return None to go on, or the Stop that ends the trial."""
        running = self._running.get(number)
        if running is None:
            return Stop(f"trial {number} is not running")
        try:
            row = Step(step, self._clock(), running.job.attempt, metrics)
            self._say(running.keep("history", lambda: running.history.append(row)))
            self._tracker.reported(number, step, metrics)
            running.watch.add(step, metrics)
            # Asked again, a pruner might change its mind about a trial that goes on all the same.
            stop = running.stop or self._answer(running, step, metrics, usage or Usage())
        except Exception as error:
            if not concerns_trial_alone(error, running.job.directory):
                raise
            running.fault = f"its report of step {step} cannot be kept: {type(error).__name__}: {one_line(error)}"
            stop = Stop(running.fault)
        if stop is not None and not stop.interrupted:  # a pause may be over before the next report
            running.stop = stop
        return stop

    def tell(self, outcome: Outcome, gpu: float | None = None) -> None:
        """End a running trial.

        A lost attempt is queued again: always if the configuration is not to blame, else as often as
        `engine.retries` says.

        Args:
            outcome: how the engine saw it end.
            gpu: the share of GPUs that it held; None: as study.yaml says.
        """
        running = self._running.pop(outcome.number, None)
        if running is None:
            return
        self._say(running.keep("history", running.history.close))
        outcome = self._counted_as(outcome, running)
        flag = running.monitor.stopping if outcome.cause == PRUNER else None
        if flag is not None:  # a worker only knows that it was told to stop
            outcome = replace(outcome, cause=RED_FLAG, reason=flag.reason, flag=flag.name)
        finished = self._clock()
        again = self._retried(outcome, running)
        self._say(running.keep("traceback", lambda: running.write_error(outcome.error)))
        if again:
            self._requeue(outcome, running)
        gpu = self.spec.engine.gpus if gpu is None else gpu
        note = outcome_note(outcome, finished, again, gpu)
        if outcome.state == "COMPLETE" and running.segment_end is not None:
            note["segment_end"] = running.segment_end
        note |= self._observed(outcome, running)
        waiting = running.waits and outcome.cause == PRUNER
        try:
            if waiting:  # noted as it ends if it does not go on
                note[WAITS] = True
                running.trial.set_user_attr(OUTCOME, note)
            else:
                finish_trial(self._searched, running.trial, note, self._names)
        except UpdateFinishedTrialError:
            outcome, again, waiting = _failed(outcome, KILLED, ENDED_OUTSIDE), False, False
        except Exception as error:
            if not concerns_trial_alone(error, running.job.directory):
                raise
            outcome = _failed(
                outcome, INVALID, f"its outcome cannot be kept: {type(error).__name__}: {one_line(error)}"
            )
            note, waiting = outcome_note(outcome, finished, again, gpu), False
            finish_trial(self._study, running.trial, note, self._names)
        if not running.continued:
            self._pruning.finished(running.trial, outcome)
        self.budget.on_trial_finished(outcome, again, finished, note["gpu_seconds"])
        self._min_complete.on_trial_finished(outcome, again)
        if outcome.state == "COMPLETE" and not running.continued:
            self._judge_warm_start(running, FINAL, outcome.metrics[self._names[0]])
        if outcome.state == "FAIL":
            self._promotions.failed(outcome.number)
        if not waiting:
            self._files_of_ended(running, outcome, again)
        elif over := self._promotions.wait(WaitingTrial(running.trial, running.job, running.origin, outcome, note)):
            self._stop_for_good(over)
        self._tracker.trial_finished(running.job, outcome, self.budget.progress)
        if again:
            self._tracker.message(f"trial {outcome.number} goes back in the queue: {outcome.reason}")

    def _files_of_ended(self, attempt: Attempt, outcome: Outcome, again: bool) -> None:
        """Remove checkpoints that nobody needs now, and put the history of a trial where those of many are."""
        self._retention.on_trial_finished(attempt.job, outcome, again, self._running)
        if not again and self._segments is not None:
            self._segments.on_trial_finished(outcome.number, started_of(self._stored(attempt)))

    # --- trials that wait at a rung

    def _promote(self, last: bool = False) -> bool:
        """Queue a further attempt at the trial that waits and is to go on, if there is one and the budget has room.

        Args:
            last: there is nothing else to try. What still runs may change who is the best, unless all may go on.
        """
        rest = last and self.spec.uses_rest
        if self.control.interrupted or self.control.paused or self._queue.waiting:
            return False
        if last and self._running and not rest:
            return False
        waiting = self._promotions.next(last, rest)
        if waiting is None or self.budget.spent(instead=1):
            return False
        self._promotions.take(waiting.outcome.number)
        if self._stored(waiting).state.is_finished():  # somebody has ended it
            return False
        outcome = _failed(waiting.outcome, PROMOTED, "it goes on: it is among the best that came to its rung by now")
        self._requeue(outcome, waiting)
        note = {**waiting.note, "state": "FAIL", "cause": PROMOTED, "reason": outcome.reason, "requeued": True}
        finish_trial(self._searched, waiting.trial, note, self._names)
        self.budget.on_trial_promoted()
        self._min_complete.on_trial_promoted(waiting.trial.params)
        self._files_of_ended(waiting, outcome, again=True)
        self._tracker.trial_promoted(waiting.outcome, self.budget.progress)
        return True

    def _stop_for_good(self, waiting: WaitingTrial) -> None:
        """End a trial that does not go on, as was noted."""
        with contextlib.suppress(UpdateFinishedTrialError):  # somebody has ended it
            finish_trial(self._searched, waiting.trial, waiting.note, self._names)
        self._files_of_ended(waiting, waiting.outcome, again=False)

    # --- the start of a trial

    def _refill(self) -> bool:
        """Queue the next configuration, if it is not for the sampler to choose. Return False if there is none."""
        if is_population(self.spec):
            end = "every member of the population was trained to its end"
            return self._refilled(self._queue.refill_population(), end)
        if is_race(self.spec):
            return self._refilled(self._queue.refill_race(), "the race is decided")
        if not self._queue.refill(self._fallback_due(), self._short_groups()):
            self._end_with_the_space()
            return False
        return True

    def _refilled(self, refilled: bool, end: str) -> bool:
        """Return `refilled`, and note the end of a study in which what runs decides what comes next."""
        if not refilled and not self._running:
            self.budget.done = end
        return refilled

    def _end_with_the_space(self) -> None:
        """Note and say that no configuration is left."""
        self.budget.done = f"each of the {self.spec.space.grid_size()} configurations was tried once"
        failed = self.budget.progress.failed
        again = f"; {failed} failed, which `hpo run --retry-failed` tries again" if failed else ""
        rest = self.spec.uses_rest and len(self._promotions)
        end = "what waits goes on while there is time" if rest else "the study ends"
        self._say_once(Queue, f"{self.budget.done}: {end}{again}")

    def _short_groups(self) -> list[Any]:
        """Return the groups that the next trial may be of, for they are short of complete ones; empty: all."""
        groups = self._min_complete.wanted()
        if groups:
            which = f"{self.spec.group_by} {listing(sorted(map(show, groups)))}"
            self._say_once(
                MinComplete,
                f"fewer than {self.spec.min_complete} trials of {which} have completed: from here on trials go there, "
                "and the pruner lets them run to their end (min_complete)",
            )
        return groups

    def _fallback_due(self) -> bool:
        """One fallback runs at a time."""
        return self.budget.fallback_due and not any(
            running.origin["source"] == FALLBACK for running in self._running.values()
        )

    def _start(self, trial: optuna.Trial) -> Job:
        origin: dict[str, Any] = {"source": SAMPLER, "attempt": 1, **trial.user_attrs.get(ORIGIN, {})}
        if ORIGIN in trial.user_attrs and not continued_from(trial.user_attrs):
            self._queue.on_trial_started()
        params = self.spec.space.suggest(trial)
        job = self._job(trial.number, params, origin)
        started = self._clock()
        # Before its folder is made, which is its own from here on.
        trial.set_user_attr(JOB, _job_note(job, origin, started, self._run, self._marks))
        self._clear(job)
        owner, start = mark_of(job.number, started), origin.get(SEGMENT, {}).get("start", 0)
        earlier, lost = self._take_over(origin, job.directory)
        if not self._files.has_checkpoint(job.directory):
            earlier, lost = self._fork(origin, job, owner) or (earlier, lost)
        writer = self._files.open_history(job.directory, owner)
        monitor = monitor_of(self.spec, job, started, [row for row in earlier if row.step > start], lost)
        running = RunningTrial(trial, job, origin, writer, monitor, TrialWatch(self.spec, job))
        self._running[job.number] = running
        for step in history.merge(earlier):
            self._observe(running, step.step, step.metrics)
        self._save_flags(running, running.monitor.observe_earlier((step.step, step.metrics) for step in earlier))
        self.budget.on_trial_started(job.number, started)
        if not running.continued:
            self._min_complete.on_trial_started(job.number, trial.params, origin)
        self._tracker.trial_started(job)
        return job

    def _job(self, number: int, params: Mapping[str, Any], origin: Mapping[str, Any]) -> Job:
        seed = origin.get("seed", seed_of(self.spec, number))
        return Job(
            number,
            params,
            seed,
            self.spec.objective_ref(),
            {**constants_of(self.spec, seed), **continued_from({ORIGIN: origin}).get("constants", {})},
            layout.trial_directory(self._directory, number),
            self._names,
            origin["attempt"],
            f"{self._key}:{seed}",
            self.spec.space.lists,
        )

    def _clear(self, job: Job) -> None:
        """Set aside what lies in the folder of a trial that starts: another trial has left it.

        So it is after an older copy of the storage was restored.
        """
        if not os.path.lexists(job.directory):
            return
        where = set_aside(self._directory, job.directory, f"trials/{job.number}")
        self._tracker.message(
            f"{job.directory} was there before trial {job.number} had started, left by another trial; it is {where} now"
        )

    def _take_over(self, origin: Mapping[str, Any], directory: Path) -> tuple[list[Step], Mapping[str, Any]]:
        """Take over the checkpoint, files and history of a lost attempt, if it has saved a checkpoint.

        Return the rows of its history, and its attributes.
        """
        if origin.get("retry_of") is None:
            return [], {}
        trials = self._study.get_trials(deepcopy=False)
        histories = Histories(self._directory, trials)
        attempts = [trials[number] for number in lost_attempts(origin, trials)]
        own = [one for one in attempts if not histories.foreign(one)]
        for one in (one for one in attempts if one not in own):
            self._tracker.message(
                f"{histories.path(one).parent} holds files of another trial; trial {one.number} is not resumed from it"
            )
        try:
            earlier = self._files.inherit((histories.path(one).parent for one in own), directory)
        except OSError as error:
            if not concerns_trial_alone(error, layout.trials_directory(self._directory)):
                raise
            what = f"what attempt {origin['retry_of']} left cannot be taken over: {one_line(error)}"
            self._tracker.message(f"{what}; the trial starts afresh")
            return [], {}
        return earlier, trials[origin["retry_of"]].user_attrs if earlier else {}

    def _fork(self, origin: Mapping[str, Any], job: Job, owner: str) -> tuple[list[Step], Mapping[str, Any]] | None:
        """Copy the files and the history of the trial that a segment goes on from, if there is one.

        Return the rows of the history, and the attributes of that trial.
        """
        place = origin.get(SEGMENT, {})
        if place.get("parent") is None:
            return None
        trials = self._study.get_trials(deepcopy=False)
        parent, histories = trials[place["parent"]], Histories(self._directory, trials)
        try:
            fork(histories.path(parent).parent, job.directory)
        except OSError as error:
            if not concerns_trial_alone(error, layout.trials_directory(self._directory)):
                raise
            self._tracker.message(
                f"the checkpoint of trial {parent.number} cannot be copied, from which trial {job.number} is to go on: "
                f"{one_line(error)}"
            )
            return None
        rows = [row for row in histories.rows(parent) if row.step <= place["start"]]
        history.write(job.directory / layout.HISTORY, [replace(row, owner=owner) for row in rows])
        return rows, parent.user_attrs

    # --- a report

    def _answer(self, running: RunningTrial, step: int, metrics: Mapping[str, float], usage: Usage) -> Stop | None:
        number = running.job.number
        if (interruption := self.control.interruption(number)) is not None:
            return interruption
        try:
            reason = self._stop_reason(running, step, metrics, usage)
        except UpdateFinishedTrialError:
            reason = self.control.on_ended_outside(number)
        return Stop(reason) if reason else None

    def _stop_reason(self, running: RunningTrial, step: int, metrics: Mapping[str, float], usage: Usage) -> str:
        """Return why the trial is to end with this report, or an empty string."""
        number = running.job.number
        new = self._observe(running, step, metrics)
        self._save_flags(running, running.monitor.observe(step, metrics, self._clock(), usage))
        if (reason := self.control.trials_to_kill().get(number)) is not None:
            return reason
        if running.monitor.stopping is not None:
            return running.monitor.stopping.reason
        if reason := self._segment_stop(running, step, metrics):
            return reason
        if not new:
            return ""
        # The pruner is also asked about a guarded trial: successive halving writes down its rungs when it is asked. One
        # that can wait needs no guard, for it may go on.
        warm = self._queue.warm
        to_wait = self._promotions.has_wait(running, step)
        behind = self._pruning.should_prune(running.trial) if to_wait is None else to_wait
        guarded = to_wait is None and warm.guards(running.origin, len(running.steps))
        if behind and not guarded and not self._min_complete.spares(number):
            running.waits = bool(to_wait)
            return f"the pruner {self.spec.pruner.name} stopped it at step {step}"
        if number in warm.disproved_trials:
            return f"the earlier study '{running.origin['from']}', whose configuration it tries, misleads"
        return ""

    def _segment_stop(self, running: RunningTrial, step: int, metrics: Mapping[str, float]) -> str:
        """Return why a segment of a member's training is to end with this report, or an empty string."""
        place = running.segment
        if running.continued:
            return "" if step >= place["start"] else self._restored(running, step)
        if step < place.get("start", 0):
            parent, start = place["parent"], place["start"]
            running.fault = (
                f"it was to go on from step {start}, with the checkpoint of trial {parent}, and reports step {step}: "
                "sampler pbt needs an objective that goes on from what it restores (trial.save before trial.report, "
                f"at least every {population_of(self.spec).interval} steps, and trial.restore)"
            )
            if start in running.steps:  # the checkpoint was there
                self._no_population(running, running.fault)
            return running.fault
        until = place.get("until")
        if until is None or step < until or self._names[0] not in metrics:
            return ""
        running.segment_end = step
        return f"its segment ends at step {step}"

    def _restored(self, running: RunningTrial, step: int) -> str:
        """Take in that a continuation begins before the parent's last step; return why it fails, or an empty string.

        Its checkpoint is older than that step, or it restores nothing and begins anew. The rows of the parent from
        `step` on are not of this training: they are left out.
        """
        place, path = running.segment, running.job.directory / layout.HISTORY
        rows = history.rows(path)
        kept = [row for row in rows[:-1] if row.step < step]
        if not kept:
            running.fault = began_anew(place["start"], place["parent"], step)
            return running.fault
        running.history.close()
        history.write(path, [*kept, rows[-1]])
        running.history = self._files.open_history(path.parent, mark_in_storage(self._stored(running)))
        same = next((row.metrics == rows[-1].metrics for row in rows[:-1] if row.step == step), False)
        split = step if same else max(row.step for row in kept)
        running.origin = {**running.origin, SEGMENT: {**place, "start": split}}
        running.trial.set_user_attr(ORIGIN, running.origin)
        return ""

    def _last_step(self, running: RunningTrial) -> int:
        return max((row.step for row in history.rows(running.job.directory / layout.HISTORY)), default=0)

    def _stored(self, attempt: Attempt) -> FrozenTrial:
        return self._study._storage.get_trial(attempt.trial._trial_id)

    def _checkpoints_needed(self) -> set[int]:
        """Return the numbers of the trials whose checkpoints others may still go on from."""
        unfinished = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        members = self._study.get_trials(deepcopy=False) if is_population(self.spec) else []
        return checkpoints_needed(self.spec, members) | checkpoints_to_continue(unfinished) | self._promotions.numbers

    def _no_population(self, running: RunningTrial, why: str) -> None:
        """Stop the study: its objective cannot be trained in segments."""
        self.budget.stopped = self.budget.stopped or f"trial {running.job.number} cannot be gone on from: {why}"

    def _observe(self, running: RunningTrial, step: int, metrics: Mapping[str, float]) -> bool:
        """Give Optuna and the warm start the first metric of a step. Return False if there is nothing to decide on.

        Optuna ignores a second report of a step, and NaN would spoil its comparisons.
        """
        value = metrics.get(self._names[0])
        if value is None or not math.isfinite(value) or step in running.steps:
            return False
        running.steps.add(step)
        if running.continued:
            return False
        self._promotions.reported(running, step, value)
        try:
            self._pruning.report(running.trial, value, step)
        except StorageInternalError as error:
            if not is_step_beyond_storage(error, step):
                raise
            self._note_large_step(running.job.number, step)
            return False
        self._judge_warm_start(running, step, value)
        return True

    def _note_large_step(self, number: int, step: int) -> None:
        self._say_once(
            LARGEST_KEPT_STEP,
            f"step {step} of trial {number} is beyond {LARGEST_KEPT_STEP}, the largest that this storage keeps: "
            "the history has its metrics, and the pruner is not asked about such steps (said of the first one)",
        )

    def _judge_warm_start(self, running: RunningTrial, step: int, value: float) -> None:
        why = self._queue.warm.observe(running.job.number, running.origin, step, value)
        if why:
            self._queue.save_warm_start()
            self._tracker.message(why)

    def _save_flags(self, running: RunningTrial, raised: list[Raised]) -> None:
        if not raised and (not running.monitor.raised or FLAGS in running.trial.user_attrs):
            return
        running.trial.set_user_attr(FLAGS, [flag.data() for flag in running.monitor.raised])
        for flag in raised:
            if not flag.stops:
                warning = f"trial {running.job.number} goes on with a warning: {flag.reason}"
                self._say_once(flag.name, f"{warning} (said of the first such trial; `hpo status` counts them)")

    # --- the end of a trial

    def _counted_as(self, outcome: Outcome, running: RunningTrial) -> Outcome:
        """Return the outcome as it counts, which may differ from what the engine saw."""
        kill_reason = self.control.take_kill(outcome.number)
        if running.fault:
            return _failed(outcome, INVALID, running.fault)
        if running.segment_end is not None and outcome.cause == PRUNER:
            return self._segment_outcome(outcome, running, running.segment_end)
        if outcome.state == "COMPLETE":
            if (place := running.continued) and self._last_step(running) <= place["start"]:
                return _failed(outcome, INVALID, trained_nothing(place["start"], running.job.constants))
            missing = [name for name in self._names if name not in outcome.metrics]
            reason = f"the objective returned no metric '{missing[0]}'" if missing else ""
            return _failed(outcome, INVALID, reason) if missing else outcome
        if kill_reason is not None:
            return _failed(outcome, KILLED, kill_reason)
        if outcome.cause in (LOST, EXCEPTION) and self.control.interrupted:
            # A queue sends the signal that ends a job to each of its processes: to trials and commands too.
            outcome = _failed(outcome, INTERRUPTED, f"{outcome.reason}, while the study was being stopped")
        if self._retried(outcome, running):
            # Before it is queued again: has somebody ended it in the storage since the last check?
            return _failed(outcome, KILLED, ENDED_OUTSIDE) if self._stored(running).state.is_finished() else outcome
        return outcome

    def _segment_outcome(self, outcome: Outcome, running: RunningTrial, step: int) -> Outcome:
        """Return a segment that was ended at `step` as COMPLETE, with the metrics of that step."""
        if not self._files.has_checkpoint(running.job.directory):
            reason = (
                f"its segment ended at step {step}, and it had saved no checkpoint: sampler pbt needs an objective "
                f"that saves (trial.save before trial.report, at least every {population_of(self.spec).interval} "
                "steps) and restores (trial.restore)"
            )
            self._no_population(running, reason)
            return _failed(outcome, INVALID, reason)
        rows = history.read(running.job.directory / layout.HISTORY)
        metrics = next((row.metrics for row in rows if row.step == step), {})
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        if self._names[0] not in finite:
            value = metrics.get(self._names[0])
            return _failed(outcome, INVALID, f"metric '{self._names[0]}' is {value} at step {step}, its segment's end")
        return replace(outcome, state="COMPLETE", cause="", reason="", error="", metrics=finite)

    def _observed(self, outcome: Outcome, running: RunningTrial) -> dict[str, Any]:
        """Return what is noted of a trial beside its outcome, and say what of it is new."""
        found = running.watch.ended(outcome, None if running.segment_end is not None else running.stop)
        self.notices.trial_ended(outcome.number, found)
        note: dict[str, Any] = {"notices": found} if found else {}
        seen = outcome.observed
        if outcome.state == "COMPLETE" and "unread" in seen:
            self.notices.parameters_read(running.job, seen["unread"])
            note |= {"unread": list(seen["unread"])} if seen["unread"] else {}
        sources = Sources(**seen["sources"]) if "sources" in seen else Sources("", {})
        if sources.mark and sources.mark != self._marks.get("sources"):
            record_version(self._study, sources)
            note["sources"] = sources.mark
            self._say_once(
                Sources,
                f"trial {outcome.number} ran with files of the objective that differ from those at the start of "
                "this run: they were edited meanwhile (said of the first such trial; the report names the files)",
            )
        if "environment" in seen:
            if seen["environment"] != self._environment[0]:  # the same of nearly all trials
                self._environment = seen["environment"], keep(self._directory, seen["environment"])
            note |= {ENVIRONMENT: self._environment[1]} if self._environment[1] else {}
        return note

    def _say_once(self, what: object, sentence: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._tracker.message(sentence)

    def _say(self, sentence: str) -> None:
        if sentence:
            self._tracker.message(sentence)

    def _requeue(self, outcome: Outcome, attempt: Attempt) -> None:
        retries = count_attempt(attempt.origin, outcome.cause)
        self._queue.requeue(outcome.number, attempt.job.seed, attempt.origin, retries, attempt.trial.params)
        self._queue.warm.forget(outcome.number)

    def _retried(self, outcome: Outcome, running: RunningTrial) -> bool:
        retries = running.origin.get("spent", {}).get(outcome.cause, 0)
        return outcome.cause in EXTERNAL_CAUSES or retries < self.spec.engine.retries.for_cause(outcome.cause)


def _failed(outcome: Outcome, cause: str, reason: str) -> Outcome:
    """Return the attempt as one that failed for this cause."""
    return replace(outcome, state="FAIL", metrics={}, cause=cause, reason=reason, flag="")


def _job_note(
    job: Job, origin: Mapping[str, Any], started: float, run: str, marks: Mapping[str, str]
) -> dict[str, Any]:
    """Return what is kept of a job in the trial's attributes."""
    return {
        "seed": job.seed,
        "attempt": origin["attempt"],
        "retry_of": origin.get("retry_of"),
        "source": origin["source"],
        "started": started,
        "run": run,
        "params": job.params,
        **marks,
    }
