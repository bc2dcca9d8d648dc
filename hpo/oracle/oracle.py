"""The Oracle: ask / report / tell over one Optuna study; its sole owner and writer.

Everything it must know after a kill is in the storage and the history files; what it holds in memory
is rebuilt from them. A study's directory, a clock and what keeps histories are passed in: a replay passes its own.

The order of writes makes every moment a safe one to die at: a retry is queued before the lost attempt
is failed, and an outcome is noted before the trial is told, so that `hpo.oracle.recovery` can finish either."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from hpo import layout
from hpo.oracle.checkpoint_retention import CheckpointRetention, inherit
from hpo.oracle.progress import Tally
from hpo.oracle.queue import Queue
from hpo.oracle.recovery import count_attempt, end, lost_attempts, note_of, recover, seed_of
from hpo.red_flags.monitor import Raised, RedFlagMonitor, raised_from
from hpo.search.pruning import pruning_for
from hpo.spec.models import Budget, StudySpec
from hpo.storage import history
from hpo.storage.budget import Span, exhausted, span_of
from hpo.storage.history import Step
from hpo.storage.trial_attributes import ENDED_OUTSIDE, ENQUEUE, FALLBACK, FLAGS, JOB, ORIGIN, SAMPLER
from hpo.trackers.base import Progress, Tracker
from hpo.trial import (
    EXCEPTION,
    EXTERNAL_CAUSES,
    INTERRUPTED,
    INVALID,
    KILLED,
    LOST,
    PRUNER,
    RED_FLAG,
    Job,
    Outcome,
    Stop,
    Usage,
)
from hpo.warm_start.trust import FINAL, WarmStart

# How often the storage is asked whether somebody else has ended a running trial.
_LOOK_SECONDS = 2.0


@dataclass
class _Running:
    trial: optuna.Trial
    job: Job
    origin: Mapping[str, Any]
    started: float
    history: history.Writer
    watch: RedFlagMonitor
    steps: set[int] = field(default_factory=set)


class Oracle:
    """`done` is why no further trial will start (empty while more may); `stopped` is the same when
    it is not the budget but a mishap.

    What steers a run (`interrupt`, `pause`, `resume`, `kill`, `extend`) may be called by any thread, and by signal
    handlers; all else by the thread that runs the engine."""

    def __init__(
        self,
        spec: StudySpec,
        study: optuna.Study,
        directory: Path,
        tracker: Tracker | None = None,
        clock: Callable[[], float] = time.time,
        open_history: Callable[[Path], history.Writer] = history.HistoryWriter,
        warm: WarmStart | None = None,
    ) -> None:
        self.spec = spec
        self.done = ""
        self.stopped = ""
        self._study = study
        self._directory = directory
        self._tracker = tracker or Tracker()
        self._clock = clock
        self._open_history = open_history
        self._objective = spec.objective_ref()
        self._names = tuple(metric.name for metric in spec.metrics)
        self._maximize = spec.metrics[0].direction == "maximize"
        self._running: dict[int, _Running] = {}
        self._interrupting = ""
        self._paused = self._pausing = self._extended = False
        self._doomed: dict[int, str] = {}
        self._look = time.monotonic() + _LOOK_SECONDS
        self._planned = spec.planned_trials()
        self._warned: set[str] = set()  # the red flags that this run has spoken of
        self._warm = warm or WarmStart((), 0, self._maximize)
        self._queue = Queue(spec, study, self._warm)
        recover(spec, study, directory, self._queue, clock, self._tracker.message)
        # From here on, counted in memory.
        trials = study.get_trials(deepcopy=False)
        self._tally = Tally(spec, trials)
        self._spans = [span for trial in trials if (span := span_of(trial.user_attrs))]
        self._pruning = pruning_for(spec, study, directory)
        self._retention = CheckpointRetention(spec, directory, trials, self._tracker.message)
        self._retention.tidy()
        self._queue.open(trials, directory)

    # --- the three questions an engine asks

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Job | None:
        """The next job, or None: nothing now. `fixed` queues a configuration that has some parameters
        (by the objective's names) at given values, behind those that wait already."""
        if self._extended:
            self._extended = False  # before the budget is looked at, which may grow again just then
            self._tracker.study_extended(self.spec, self.progress)
        if self._interrupting or self._finished() or self._paused:
            return None
        if fixed is not None:
            self._queue.put(self.spec.space.to_optuna(fixed), {"source": ENQUEUE})
        elif not self._queue.waiting and not self._queue.refill(self._fallback_due()):
            self.done = "every cell of the grid was tried"
            return None
        trial = self._study.ask()
        origin: dict[str, Any] = {"source": SAMPLER, "attempt": 1, **trial.user_attrs.get(ORIGIN, {})}
        if ORIGIN in trial.user_attrs:
            self._queue.taken()
        params = self.spec.space.suggest(trial)
        directory = layout.trial_directory(self._directory, trial.number)
        seed = origin.get("seed", seed_of(self.spec.seed, trial.number))
        started = self._clock()
        earlier = self._resume(origin, directory)
        job = Job(
            trial.number, params, seed, self._objective, self.spec.constants, directory, self._names, origin["attempt"]
        )
        note = {
            "seed": seed,
            "attempt": origin["attempt"],
            "retry_of": origin.get("retry_of"),
            "source": origin["source"],
            "started": started,
            "params": params,
        }
        trial.set_user_attr(JOB, note)
        lost = self._study.get_trials(deepcopy=False)[origin["retry_of"]].user_attrs if earlier else {}
        watch = monitor_of(self.spec, job, started, earlier, lost)
        running = _Running(trial, job, origin, started, self._open_history(directory / layout.HISTORY), watch)
        self._running[trial.number] = running
        for step in earlier:
            if self._to_optuna(running, step.step, step.metrics):
                self._compare(running, step.step, step.metrics[self._names[0]])
        self._keep_flags(running, watch.replay((step.step, step.metrics) for step in earlier))
        self._tally.running(len(self._running))
        self._tracker.trial_started(job)
        return job

    def report(self, number: int, step: int, metrics: Mapping[str, float], usage: Usage | None = None) -> Stop | None:
        """Keep the metrics of a step; None to go on, or the Stop that ends the trial."""
        running = self._running[number]
        running.history.append(Step(step, self._clock(), running.job.attempt, metrics))
        self._tracker.reported(number, step, metrics)
        if self._interrupting:
            return Stop(self._interrupting, interrupted=True)
        if self._pausing and number not in self._doomed:
            return Stop("the study was paused at once", interrupted=True)
        try:
            new = self._to_optuna(running, step, metrics)
            if new:
                self._compare(running, step, metrics[self._names[0]])
            self._keep_flags(running, running.watch.see(step, metrics, self._clock(), usage or Usage()))
            if (reason := self.doomed().get(number)) is not None:
                return Stop(reason)
            if running.watch.stopping is not None:
                return Stop(running.watch.stopping.reason)
            if not new:
                return None
            # Asked of a guarded trial too: successive halving writes down its rungs when it is asked.
            stop = self._pruning.should_prune(running.trial)
            if stop and not self._warm.guards(running.origin, len(running.steps)):
                return Stop(f"the pruner {self.spec.pruner.name} stopped it at step {step}")
            if number in self._warm.disproved_trials:
                return Stop(f"the earlier study '{running.origin['from']}', whose configuration it tries, misleads")
        except UpdateFinishedTrialError:
            return Stop(self._doomed.setdefault(number, ENDED_OUTSIDE))
        return None

    def tell(self, outcome: Outcome, gpu: float | None = None) -> None:
        """End a running trial; `gpu`: how much of GPUs it held (None: as study.yaml says). An attempt that was
        lost is queued again: always if it was not the trial's doing, else as often as `engine.retries` says."""
        running = self._running.pop(outcome.number)
        running.history.close()
        outcome = self._checked(outcome, running)
        flag = running.watch.stopping if outcome.cause == PRUNER else None
        if flag is not None:  # a worker only knows that it was told to stop
            outcome = replace(outcome, cause=RED_FLAG, reason=flag.reason)
        finished = self._clock()
        again = self._again(running, outcome)
        if outcome.error:
            error = layout.trial_directory(self._directory, outcome.number) / layout.ERROR
            error.write_text(outcome.error, encoding="utf-8")
        if again:
            spent = count_attempt(running.origin, outcome.cause)
            self._queue.put_again(outcome.number, running.job.seed, running.origin, spent, running.trial.params)
            self._warm.forget(outcome.number)
        note = note_of(outcome, finished, again, self.spec.engine.gpus if gpu is None else gpu)
        if flag is not None:
            note["flag"] = flag.name
        try:
            end(self._study, running.trial, note, self._names)
        except UpdateFinishedTrialError:
            outcome, again = _ended(outcome, KILLED, ENDED_OUTSIDE), False
        self._pruning.finished(running.trial, outcome)
        self._spans.append(Span(running.started, finished, note["gpu_seconds"]))
        self._tally.add(outcome, again)
        self._tally.running(len(self._running))
        if outcome.state == "COMPLETE":
            self._compare(running, FINAL, outcome.metrics[self._names[0]])
        self._retention.told(running.job, outcome, again, self._running)
        self._tracker.trial_finished(running.job, outcome, self.progress)
        if again:
            self._tracker.message(f"trial {outcome.number} goes back in the queue: {outcome.reason}")

    # --- what an engine obeys besides

    @property
    def over(self) -> bool:
        """Of an Oracle that has just had no job: whether none will come. If not, the study is paused, and an engine
        that runs nothing waits a moment and asks again."""
        return bool(self._interrupting or self.done or self.stopped)

    def doomed(self) -> Mapping[int, str]:
        """The running trials that are to be ended now, each with the reason, to be told as KILLED. To be asked in
        every turn of an engine: the storage is asked at most every two seconds who was ended there."""
        now = time.monotonic()
        if self._running and now >= self._look:
            self._look = now + _LOOK_SECONDS
            alive = {trial.number for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
            for number in self._running.keys() - alive:
                self._doomed.setdefault(number, ENDED_OUTSIDE)
        return {number: reason for number, reason in tuple(self._doomed.items()) if number in self._running}

    # --- what steers it

    def interrupt(self, reason: str) -> None:
        """Start nothing more, and end running trials at their next report; they are queued again."""
        self._interrupting = reason

    def pause(self, now: bool = False) -> None:
        """Start nothing more until `resume`. Running trials go to their end; with `now` they end at their next report
        and are queued again."""
        self._paused, self._pausing = True, now or self._pausing

    def resume(self) -> None:
        self._paused = self._pausing = False

    def kill(self, number: int, reason: str) -> bool:
        """End a running trial: it fails, counts, and is not tried again. False if it does not run (any more)."""
        if number not in self._running:
            return False
        self._doomed.setdefault(number, reason)
        return True

    def extend(self, budget: Budget) -> None:
        """From now on this is the study's budget."""
        self.spec = self.spec.model_copy(update={"budget": budget})
        self._planned = self.spec.planned_trials()
        self._extended = True

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def running(self) -> tuple[int, ...]:
        """The numbers of the trials that run, ascending."""
        return tuple(sorted(self._running))

    @property
    def extended(self) -> bool:
        """Whether the budget has grown since the last `ask`, so that there may be more to run."""
        return self._extended and not (self._interrupting or self.stopped)

    # --- what the runner asks

    def close(self) -> None:
        """Close the files of trials that were never told; they are recovered by the next Oracle."""
        for running in self._running.values():
            running.history.close()

    @property
    def interrupted(self) -> bool:
        return bool(self._interrupting)

    @property
    def progress(self) -> Progress:
        return replace(self._tally.progress, budget=self._planned)

    # --- the queue

    def _finished(self) -> bool:
        progress = self.progress
        running = [Span(r.started, self._clock(), self._gpu_seconds(r)) for r in self._running.values()]
        limits = self.spec.budget
        self.done = exhausted(limits, progress.finished + progress.running, [*self._spans, *running])
        # What a person has ended says nothing of the others.
        failed = progress.failed - self._tally.killed
        if failed >= limits.failures and progress.failed == progress.finished:
            self.stopped = f"the first {failed} trials all failed (budget.failures = {limits.failures})"
        return bool(self.done or self.stopped)

    def _gpu_seconds(self, running: _Running) -> float:
        return (self._clock() - running.started) * self.spec.engine.gpus

    def _fallback_due(self) -> bool:
        """While something was wrong with trials, and none has yet passed the red flags."""
        if self._tally.passed or not self._tally.ill:
            return False
        return not any(running.origin["source"] == FALLBACK for running in self._running.values())

    # --- earlier studies

    def _compare(self, running: _Running, step: int, value: float) -> None:
        why = self._warm.seen(running.job.number, running.origin, step, value)
        if why:
            self._queue.keep_warm()
            self._tracker.message(why)

    # --- one trial

    def _to_optuna(self, running: _Running, step: int, metrics: Mapping[str, float]) -> bool:
        """Give Optuna the first metric of a new step; False if there is nothing to decide on.
        Optuna ignores a second report of a step, and NaN would poison its comparisons."""
        value = metrics.get(self._names[0])
        if value is None or not math.isfinite(value) or step in running.steps:
            return False
        running.steps.add(step)
        self._pruning.report(running.trial, value, step)
        return True

    def _keep_flags(self, running: _Running, raised: list[Raised]) -> None:
        if not raised and (not running.watch.raised or FLAGS in running.trial.user_attrs):
            return
        running.trial.set_user_attr(FLAGS, [flag.data() for flag in running.watch.raised])
        for flag in raised:
            if not flag.stops and flag.name not in self._warned:
                self._warned.add(flag.name)
                said = f"trial {running.job.number} goes on with a warning: {flag.reason}"
                self._tracker.message(f"{said} (said of the first such trial; `hpo status` counts them)")

    def _resume(self, origin: Mapping[str, Any], directory: Path) -> list[Step]:
        """A retry takes over the lost attempt's checkpoint, files and history, if it has saved one."""
        if origin.get("retry_of") is None:
            return []
        attempts = lost_attempts(origin, self._study.get_trials(deepcopy=False))
        inherit((layout.trial_directory(self._directory, number) for number in attempts), directory)
        return history.read(directory / layout.HISTORY)

    def _checked(self, outcome: Outcome, running: _Running) -> Outcome:
        """The outcome as it counts."""
        killed = self._doomed.pop(outcome.number, None)
        if outcome.state == "COMPLETE":
            missing = [name for name in self._names if name not in outcome.metrics]
            reason = f"the objective returned no metric '{missing[0]}'" if missing else ""
            return _ended(outcome, INVALID, reason) if missing else outcome
        if killed is not None:
            return _ended(outcome, KILLED, killed)
        if outcome.cause in (LOST, EXCEPTION) and self._interrupting:
            # A queue sends the signal that ends a job to each of its processes: to trials and commands too.
            outcome = _ended(outcome, INTERRUPTED, f"{outcome.reason}, while the study was being stopped")
        if self._again(running, outcome):
            # Before it is queued again: was it ended from outside since somebody last looked?
            there = self._study._storage.get_trial(running.trial._trial_id)
            return _ended(outcome, KILLED, ENDED_OUTSIDE) if there.state.is_finished() else outcome
        return outcome

    def _again(self, running: _Running, outcome: Outcome) -> bool:
        """Whether the configuration is tried again after this attempt."""
        spent = running.origin.get("spent", {}).get(outcome.cause, 0)
        return outcome.cause in EXTERNAL_CAUSES or spent < self.spec.engine.retries.of(outcome.cause)


def _ended(outcome: Outcome, cause: str, reason: str) -> Outcome:
    """The attempt as one that failed for this cause."""
    return replace(outcome, state="FAIL", metrics={}, cause=cause, reason=reason)


def monitor_of(
    spec: StudySpec, job: Job, started: float, earlier: Sequence[Step], lost: Mapping[str, Any]
) -> RedFlagMonitor:
    """Over a trial that begins at `started`, with what its earlier attempts reported, and what they raised, by the
    attributes of the last of them, `lost`. Their time counts from their first report on."""
    times: dict[int, list[float]] = {}
    for step in earlier:
        times.setdefault(step.attempt, []).append(step.time)
    seconds = sum(max(each) - min(each) for each in times.values())
    first = spec.metrics[0]
    watch = RedFlagMonitor(
        spec.red_flags, job.params, spec.constants, first.name, first.direction == "maximize", started, seconds
    )
    watch.raised += map(raised_from, lost.get(FLAGS, ()))
    return watch
