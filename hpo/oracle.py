"""The Oracle: ask / report / tell over one Optuna study; its sole owner and writer.

Everything it must know after a kill is in the storage and the history files; what it holds in memory
is rebuilt from them. A study's directory, a clock and what keeps histories are passed in: a replay passes its own.

The order of writes makes every moment a safe one to die at: a retry is queued before the lost attempt
is failed, and an outcome is noted before the trial is told, so that `_recover` can finish either."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo import attributes, history, layout
from hpo.attributes import ENQUEUE, FALLBACK, FLAGS, JOB, ORIGIN, OUTCOME, SAMPLER
from hpo.budget import Span, exhausted, span_of
from hpo.checkpoints import Shelf, inherit
from hpo.pruning import pruning_for
from hpo.queueing import Queue
from hpo.rules import Raised, Watch, watch_of
from hpo.spec import StudySpec
from hpo.tally import Tally
from hpo.trackers.base import Progress, Tracker
from hpo.trial import INNOCENT, INTERRUPTED, INVALID, OUT_OF_MEMORY, PRUNER, RED_FLAG, Job, Outcome, Stop, Usage
from hpo.warm_start import FINAL, WarmStart, is_warm


@dataclass
class _Running:
    trial: optuna.Trial
    job: Job
    origin: Mapping[str, Any]
    started: float
    history: history.Writer
    watch: Watch
    steps: set[int] = field(default_factory=set)


class Oracle:
    """`done` is why no further trial will start (empty while more may); `stopped` is the same when
    it is not the budget but a mishap."""

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
        self._warned: set[str] = set()  # the red flags that this run has spoken of
        self._warm = warm or WarmStart((), 0, self._maximize)
        self._queue = Queue(spec, study, self._warm)
        self._recover()
        # From here on, counted in memory.
        trials = study.get_trials(deepcopy=False)
        self._tally = Tally(spec, trials)
        self._spans = [span for trial in trials if (span := span_of(trial.user_attrs))]
        self._pruning = pruning_for(spec, study, directory)
        self._shelf = Shelf(spec, directory, trials)
        self._warm_up(trials)
        self._queue.open(trials)

    # --- the three questions an engine asks

    def ask(self, fixed: Mapping[str, Any] | None = None) -> Job | None:
        """The next job, or None: nothing now. `fixed` queues a configuration that has some parameters
        (by the objective's names) at given values, behind those that wait already."""
        if self._interrupting or self._finished():
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
        seed = origin.get("seed", _seed(self.spec.seed, trial.number))
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
        watch = watch_of(self.spec, job, started, earlier, lost)
        running = _Running(trial, job, origin, started, self._open_history(directory / layout.HISTORY), watch)
        self._running[trial.number] = running
        for step in earlier:
            if self._to_optuna(running, step.step, step.metrics):
                self._compare(running, step.step, step.metrics[self._names[0]])
        self._keep_flags(running, watch.replay((step.step, step.metrics) for step in earlier))
        self._tally.running(len(self._running))
        self._tracker.trial_started(job)
        return job

    def report(
        self, number: int, step: int, metrics: Mapping[str, float], usage: Usage | None = None
    ) -> Stop | None:
        """Keep the metrics of a step; None to go on, or the Stop that ends the trial."""
        running = self._running[number]
        running.history.append(history.Step(step, self._clock(), running.job.attempt, metrics))
        self._tracker.reported(number, step, metrics)
        if self._interrupting:
            return Stop(self._interrupting, interrupted=True)
        try:
            new = self._to_optuna(running, step, metrics)
            if new:
                self._compare(running, step, metrics[self._names[0]])
            self._keep_flags(running, running.watch.see(step, metrics, self._clock(), usage or Usage()))
            if running.watch.stopping is not None:
                return Stop(running.watch.stopping.reason)
            if not new:
                return None
            # Asked of a guarded trial too: successive halving writes down its rungs when it is asked.
            stop = self._pruning.should_prune(running.trial)
            if stop and not self._warm.guards(running.origin, len(running.steps)):
                return Stop(f"the pruner {self.spec.pruner.name} stopped it at step {step}")
            if number in self._warm.misled:
                return Stop(f"the earlier study '{running.origin['from']}', whose configuration it tries, misleads")
        except UpdateFinishedTrialError:
            return Stop("it was ended from outside (optuna-dashboard)")
        return None

    def tell(self, outcome: Outcome, gpu: float | None = None) -> None:
        """End a running trial; `gpu`: how much of GPUs it held (None: as study.yaml says). An attempt that was
        lost is queued again: always if it was not the trial's doing, else as often as `engine.retries` says."""
        running = self._running.pop(outcome.number)
        running.history.close()
        outcome = self._checked(outcome)
        flag = running.watch.stopping if outcome.cause == PRUNER else None
        if flag is not None:  # a worker only knows that it was told to stop
            outcome = replace(outcome, cause=RED_FLAG, reason=flag.reason)
        finished = self._clock()
        again = self._again(running, outcome)
        if outcome.error:
            error = layout.trial_directory(self._directory, outcome.number) / layout.ERROR
            error.write_text(outcome.error, encoding="utf-8")
        if again:
            spent = _spent(running.origin, outcome.cause)
            self._queue.put_again(outcome.number, running.job.seed, running.origin, spent, running.trial.params)
            self._warm.forget(outcome.number)
        note = self._note(outcome, finished, again, self.spec.engine.gpus if gpu is None else gpu)
        if flag is not None:
            note["flag"] = flag.name
        try:
            self._end(running.trial, note)
        except UpdateFinishedTrialError:
            reason = "it was ended from outside (optuna-dashboard)"
            outcome = Outcome(outcome.number, "FAIL", cause=INVALID, reason=reason, seconds=outcome.seconds)
        self._pruning.finished(running.trial, outcome)
        self._spans.append(Span(running.started, finished, note["gpu_seconds"]))
        self._tally.add(outcome, again)
        self._tally.running(len(self._running))
        if outcome.state == "COMPLETE":
            self._compare(running, FINAL, outcome.metrics[self._names[0]])
            self._shelf.completed(outcome.number, running.job.params, [outcome.metrics[name] for name in self._names])
        elif outcome.state == "PRUNED":
            self._shelf.pruned(outcome.number)
        self._tracker.trial_finished(running.job, outcome, self.progress)
        if again:
            self._tracker.message(f"trial {outcome.number} goes back in the queue: {outcome.reason}")

    # --- what the runner asks

    def interrupt(self, reason: str) -> None:
        """Start nothing more, and end running trials at their next report; they are queued again."""
        self._interrupting = reason

    def close(self) -> None:
        """Close the files of trials that were never told; they are recovered by the next Oracle."""
        for running in self._running.values():
            running.history.close()

    @property
    def interrupted(self) -> bool:
        return bool(self._interrupting)

    @property
    def progress(self) -> Progress:
        return self._tally.progress

    # --- the queue

    def _finished(self) -> bool:
        progress = self.progress
        running = [Span(r.started, self._clock(), self._gpu_seconds(r)) for r in self._running.values()]
        limits = self.spec.budget
        self.done = exhausted(limits, progress.finished + progress.running, [*self._spans, *running])
        if progress.failed >= limits.failures and progress.failed == progress.finished:
            self.stopped = f"the first {progress.failed} trials all failed (budget.failures = {limits.failures})"
        return bool(self.done or self.stopped)

    def _gpu_seconds(self, running: _Running) -> float:
        return (self._clock() - running.started) * self.spec.engine.gpus

    def _fallback_due(self) -> bool:
        """While something was wrong with trials, and none has yet passed the red flags."""
        if self._tally.passed or not self._tally.ill:
            return False
        return not any(running.origin["source"] == FALLBACK for running in self._running.values())

    # --- earlier studies

    def _warm_up(self, trials: list[FrozenTrial]) -> None:
        """Tell the warm start how the study's earlier runs went."""
        known = self._study.user_attrs.get(attributes.WARM_START, {})
        origins = {trial.number: trial.user_attrs.get(ORIGIN, {}) for trial in trials}
        self._warm.resume(origins.values(), known.get("trusted", True), known.get("why", ""))
        if not self._warm.facts()["offered"]:
            return
        counted = [trial for trial in trials if not attributes.requeued(trial.user_attrs)]
        for trial in counted if any(map(is_warm, origins.values())) else ():
            steps = history.read(layout.trial_directory(self._directory, trial.number) / layout.HISTORY)
            values = {step.step: step.metrics.get(self._names[0], math.nan) for step in steps}
            if trial.state == TrialState.COMPLETE:
                values[FINAL] = trial.values[0]
            for step, value in values.items():
                if math.isfinite(value):
                    self._warm.seen(trial.number, origins[trial.number], step, value)
        self._queue.keep_warm()

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

    def _resume(self, origin: Mapping[str, Any], directory: Path) -> list[history.Step]:
        """A retry takes over the lost attempt's checkpoint, files and history, if it has saved one."""
        if origin.get("retry_of") is None:
            return []
        lost = (layout.trial_directory(self._directory, number) for number in self._lost_attempts(origin))
        inherit(lost, directory)
        return history.read(directory / layout.HISTORY)

    def _lost_attempts(self, origin: Mapping[str, Any]) -> Iterator[int]:
        """Numbers of the earlier attempts, the latest first."""
        trials = self._study.get_trials(deepcopy=False)
        number = origin.get("retry_of")
        while number is not None:
            yield number
            number = trials[number].user_attrs.get(ORIGIN, {}).get("retry_of")

    def _checked(self, outcome: Outcome) -> Outcome:
        missing = [name for name in self._names if name not in outcome.metrics]
        if outcome.state != "COMPLETE" or not missing:
            return outcome
        return Outcome(outcome.number, "FAIL", cause=INVALID, reason=f"the objective returned no metric '{missing[0]}'")

    def _again(self, running: _Running, outcome: Outcome) -> bool:
        """Whether the configuration is tried again after this attempt."""
        spent = running.origin.get("spent", {}).get(outcome.cause, 0)
        return outcome.cause in INNOCENT or spent < self.spec.engine.retries.of(outcome.cause)

    def _end(self, trial: optuna.Trial, note: Mapping[str, Any]) -> None:
        trial.set_user_attr(OUTCOME, note)
        # Where nothing is said Optuna takes a trial as feasible. Said of a COMPLETE one it would have GPSampler
        # model a constraint that never varies, and refuse a study some of whose trials were told without it.
        constraint = OUT_OF_MEMORY if note["cause"] == OUT_OF_MEMORY else ""
        if note["cause"] == RED_FLAG:
            constraint = f"{RED_FLAG}_{note['flag']}"
        if constraint and constraint not in trial.constraints:
            trial.set_constraint(constraint, 1.0)
        if note["state"] == "COMPLETE":
            self._study.tell(trial, [note["metrics"][name] for name in self._names])
        else:
            self._study.tell(trial, state=TrialState[note["state"]])

    def _note(self, outcome: Outcome, finished: float, requeued: bool, gpu: float) -> dict[str, Any]:
        """What is kept of an outcome in the trial's attributes."""
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

    # --- after a kill

    def _recover(self) -> None:
        """The trials that a dead driver left running: finish those whose outcome was noted, queue
        the others again and fail the lost attempt, which does not count."""
        trials = self._study.get_trials(deepcopy=False)
        requeued = {t.user_attrs.get(ORIGIN, {}).get("retry_of") for t in trials}
        for frozen in trials:
            if frozen.state != TrialState.RUNNING:
                continue
            trial = optuna.Trial(self._study, frozen._trial_id)
            note = frozen.user_attrs.get(OUTCOME)
            if note is None:
                if frozen.number not in requeued:
                    self._requeue(frozen)
                note = self._lost_note(frozen)
            self._end(trial, note)

    def _requeue(self, frozen: FrozenTrial) -> None:
        origin = frozen.user_attrs.get(ORIGIN, {})
        job = frozen.user_attrs.get(JOB, {})
        seed = job.get("seed", origin.get("seed", _seed(self.spec.seed, frozen.number)))
        # Killed while it was being asked: what was fixed is kept, the rest will be sampled.
        params = {**frozen.system_attrs.get("fixed_params", {}), **frozen.params}
        self._queue.put_again(frozen.number, seed, origin, origin.get("spent", {}), params)
        self._tracker.message(f"trial {frozen.number} was running when its driver died; it goes back in the queue")

    def _lost_note(self, frozen: FrozenTrial) -> dict[str, Any]:
        now = self._clock()
        started = frozen.user_attrs.get(JOB, {}).get("started", now)
        steps = history.read(layout.trial_directory(self._directory, frozen.number) / layout.HISTORY)
        # The last sign of life; the time until this restart was nobody's work.
        finished = max([started, *(step.time for step in steps)])
        reason = "its driver died"
        lost = Outcome(frozen.number, "FAIL", cause=INTERRUPTED, reason=reason, seconds=finished - started)
        return self._note(lost, finished, requeued=True, gpu=self.spec.engine.gpus)


def _seed(study_seed: int, number: int) -> int:
    """A trial's own seed, below 2^31: every attempt at it has the same, no two trials share one by
    design (NumPy's SeedSequence mixes the two numbers)."""
    return int(np.random.SeedSequence([study_seed, number]).generate_state(1)[0] >> 1)


def _spent(origin: Mapping[str, Any], cause: str) -> dict[str, int]:
    """How often the configuration was tried again so far, by cause, with this time in it."""
    spent: dict[str, int] = dict(origin.get("spent", {}))
    spent[cause] = spent.get(cause, 0) + 1
    return spent
