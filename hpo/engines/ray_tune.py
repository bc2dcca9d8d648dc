"""Adapters between Ray Tune and the Oracle, and the TuneBridge that they share."""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray._private import worker
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError
from ray.tune import Stopper
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from hpo.engines.gpu_sharing import Sharing
from hpo.engines.ray_worker import JOB, LOCATION, MESSAGE, PLACE, Place
from hpo.oracle.oracle import Oracle
from hpo.trial import INTERRUPTED, KILLED, LOST, OUT_OF_MEMORY, PREEMPTED, Job, Outcome, Report, State
from hpo.worker.out_of_memory import is_out_of_memory

# Words in Ray's messages when a node has died. They are texts of its C++ side, which has no classes for them.
_NODE_DIED = ("node has died", "node died", "node was terminated", "node is dead", "draining")
# Seconds that Ray may take to say what became of an actor that it cannot reach.
_ACTOR_STATE_SECONDS = 30.0
# Seconds between two questions what the cluster holds.
_ROOM_CHECK_SECONDS = 1.0


@dataclass
class _Attempt:
    """A job that Tune has.

    asked: when, by the monotonic clock. tune_trial: None until Tune has made it. killed: why, if it was killed.
    """

    job: Job
    share: float
    asked: float
    tune_trial: TuneTrial | None = None
    has_reported: bool = False
    error: BaseException | None = None
    killed: str = ""


class EndTune(BaseException):
    """Raised inside Tune to end it at once.

    After an Exception Tune would first clean up. If Ray has died, or is being ended with us, it would wait a minute for
    that and then end this process. (Queues and `kill` end a whole group of processes.)
    """


class TuneBridge:
    """Bridge between one run of Tune and the Oracle. Every call comes from the thread that runs Tune.

    Attributes:
        failure: the first exception of the Oracle, after which everything ends. Tune would turn it into text.
        ended_attempts: how many attempts Tune has ended.

    Args:
        oracle: the Oracle.
        place: what each trial needs.
        workers: trials at a time; None: as many as the cluster holds.
        sharing: how much of a GPU a trial gets.
        halted: returns True if running trials are to end now.
        own_ray: the engine shuts Ray down after Tune, which ends the processes that Tune started.
    """

    def __init__(
        self,
        oracle: Oracle,
        place: Place,
        workers: int | None,
        sharing: Sharing,
        halted: Callable[[], bool],
        own_ray: bool,
    ) -> None:
        self.failure: Exception | None = None
        self.ended_attempts = 0
        self._oracle = oracle
        self._place = place
        self._workers = workers
        self._sharing = sharing
        self._halted = halted
        self._own_ray = own_ray
        self._attempts: dict[str, _Attempt] = {}
        self._room_checked = float("-inf")
        self._room = 0

    # --- for the Searcher

    def ask(self, tune_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of Tune's next trial; None: none now; FINISHED: no more will come."""
        if self._own_ray and self._oracle.control.interrupted and not self._attempts:
            raise EndTune
        if self.ending:
            return str(Searcher.FINISHED)
        if self._full():
            return None
        job = self._guarded(self._oracle.ask)
        if job is None:
            return None if self._attempts and not self.ending else str(Searcher.FINISHED)
        share = self._sharing.share(job, self._place.gpu)
        # Other nodes do not have the link that leads from the runs folder to a shared folder.
        job = replace(job, directory=job.directory.resolve())
        self._attempts[tune_id] = _Attempt(job, share, time.monotonic())
        return {JOB: job, PLACE: replace(self._place, gpu=share)}

    def tell(self, tune_id: str, outcome: Outcome | None) -> None:
        """Tell the Oracle the end of an attempt. `outcome` is None if Tune lost it."""
        if tune_id in self._attempts:
            self._tell(self._attempts.pop(tune_id), outcome)
            self.ended_attempts += 1

    def _tell(self, attempt: _Attempt, outcome: Outcome | None) -> None:
        if outcome is None:
            state, cause, reason = self._loss(attempt)
            seconds = time.monotonic() - attempt.asked
            outcome = Outcome(attempt.job.number, state, cause=cause, reason=reason, seconds=seconds)
        counted, held = self._sharing.ended(outcome)
        self._guarded(lambda: self._oracle.tell(counted, held))

    # --- for the TrialScheduler

    def on_added(self, trial: TuneTrial) -> None:
        """Note which trial Tune has made of an attempt."""
        self._attempts[trial.trial_id].tune_trial = trial

    def report(self, tune_id: str, report: Report, location: str) -> None:
        """Pass a report on, and the answer back if the trial is to stop.

        Args:
            tune_id: Tune's id of the trial.
            report: the report.
            location: a label of the GPUs that the trial has.
        """
        attempt = self._attempts[tune_id]
        if not attempt.has_reported:
            attempt.has_reported = True
            self._sharing.started(attempt.job, location, attempt.share)
        self._sharing.reported(report)
        stop = self._guarded(lambda: self._oracle.report(report.number, report.step, report.metrics, report.usage))
        actor = attempt.tune_trial and attempt.tune_trial.temporary_state.ray_actor
        if stop is not None and actor:
            # An actor handles its calls in order: this one before the `train` that Tune calls next.
            actor.answer.remote(stop)

    def on_error(self, trial: TuneTrial) -> None:
        """Keep the error of a trial's actor. Tune tells the Searcher next, but not which error it was."""
        attempt = self._attempts.get(trial.trial_id)
        if attempt is not None and trial.pickled_error_file:
            with open(trial.pickled_error_file, "rb") as file:
                error = pickle.load(file)
            expected = self.ending or attempt.killed
            attempt.error = error if expected else _final_error(error, trial.temporary_state.ray_actor)

    def tick(self, stop: Callable[[TuneTrial], None]) -> None:
        """Kill what is to be killed. Tune calls this in every turn of its loop.

        Args:
            stop: Tune's own way to stop a trial, for trials that it has not started.
        """
        if ray_died():
            raise EndTune
        if not self.kill_all_if_ending():
            self._kill(stop)

    def kill_all_if_ending(self) -> bool:
        """Kill all trials if everything is to end at once, and return True then.

        Tune calls this before it would wait for actors that wait for a trial.
        """
        if not self.ending:
            return False
        for attempt in self._attempts.values():
            actor = attempt.tune_trial and attempt.tune_trial.temporary_state.ray_actor
            if actor:
                ray.kill(actor)
        return True

    def _kill(self, stop: Callable[[TuneTrial], None]) -> None:
        to_kill: Mapping[int, str] = self._guarded(self._oracle.control.trials_to_kill) or {}
        for attempt in [attempt for attempt in self._attempts.values() if attempt.job.number in to_kill]:
            if attempt.killed or attempt.tune_trial is None:
                continue
            attempt.killed = to_kill[attempt.job.number]
            if actor := attempt.tune_trial.temporary_state.ray_actor:
                ray.kill(actor)
            else:
                stop(attempt.tune_trial)

    def was_killed(self, tune_id: str) -> bool:
        """Return True if the actor of a trial was killed, whatever Tune has heard of it."""
        attempt = self._attempts.get(tune_id)
        return attempt is not None and bool(attempt.killed)

    # --- for the engine

    @property
    def ending(self) -> bool:
        """True if everything is to end at once."""
        return self.failure is not None or self._halted()

    @property
    def stopping(self) -> bool:
        """True if somebody has stopped the study."""
        return self._halted() or self._oracle.control.interrupted

    def close(self) -> bool:
        """Tell the Oracle the attempts that Tune left when it ended. Return True if there were any."""
        left = bool(self._attempts)
        while self._attempts:
            self._tell(self._attempts.popitem()[1], None)
        return left

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles all it holds into files that nobody reads."""
        return {}

    def _full(self) -> bool:
        if self._workers is not None:
            return len(self._attempts) >= self._workers
        if not self._sharing.fixed:
            # How many fit depends on which come. Ray knows: so one trial always waits for a place.
            return any(a.tune_trial is None or a.tune_trial.status == "PENDING" for a in self._attempts.values())
        if time.monotonic() - self._room_checked > _ROOM_CHECK_SECONDS:
            self._room_checked = time.monotonic()
            self._room = room(self._place.bundle())
        return len(self._attempts) >= self._room

    def _guarded(self, call: Callable[[], Any]) -> Any:
        if self.failure is None:
            try:
                return call()
            except Exception as error:
                self.failure = error
        return None

    def _loss(self, attempt: _Attempt) -> tuple[State, str, str]:
        """Return state, cause and reason of an attempt that ended without an outcome."""
        error = attempt.error
        if attempt.killed:
            return "FAIL", KILLED, attempt.killed
        if self.ending or self.stopping:
            return "FAIL", INTERRUPTED, "the study was stopped at once"
        if error is None or ray_died():
            return "FAIL", PREEMPTED, "Ray ended without it"
        summary = _summary(error)
        if is_out_of_memory(error):
            return "PRUNED", OUT_OF_MEMORY, f"out of memory: {summary}"
        if isinstance(error, ActorUnavailableError | GetTimeoutError):
            return "FAIL", PREEMPTED, f"its node cannot be reached: {summary}"
        if getattr(error, "preempted", False) or any(words in str(error) for words in _NODE_DIED):
            return "FAIL", PREEMPTED, f"its node was lost: {summary}"
        return "FAIL", LOST, f"its Ray actor was lost: {summary}"


class OracleSearcher(Searcher):
    """Searcher that asks the Oracle for configurations, and tells it the outcomes."""

    def __init__(self, bridge: TuneBridge) -> None:
        super().__init__()
        self._bridge = bridge

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of a trial."""
        return self._bridge.ask(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the Oracle the outcome of a trial."""
        message = (result or {}).get(MESSAGE)
        self._bridge.tell(trial_id, message if isinstance(message, Outcome) else None)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: all that must not be lost belongs to the Oracle."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class OracleScheduler(TrialScheduler):
    """Scheduler that passes reports on to the Oracle.

    It never stops a trial itself: a trial that is to stop gets that answer, unwinds, and returns its outcome.
    """

    def __init__(self, bridge: TuneBridge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._bridge = bridge

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Note a new trial of Tune's."""
        self._bridge.on_added(trial)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Pass a report on."""
        self._bridge.report(trial.trial_id, result[MESSAGE], result[LOCATION])
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Note a trial whose actor failed."""
        self._bridge.on_error(trial)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Keep the actor of a killed trial from the next one. Tune calls the Searcher next.

        The trial's last message may come after its actor was killed. Tune would then reuse the dead actor.
        """
        if self._bridge.was_killed(trial.trial_id):
            tune_controller._started_actors.discard(tune_controller._trial_to_actor.get(trial))

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Do nothing: Tune calls the Searcher too."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Choose none; called in every turn of Tune's loop."""
        self._bridge.tick(tune_controller.stop_trial)

    def debug_string(self) -> str:
        """Return Tune's description of the scheduler."""
        return "the Oracle decides"


class Stopped(Stopper):
    """Stopper that ends Tune when everything is to end at once."""

    def __init__(self, bridge: TuneBridge) -> None:
        self._bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Return True if Tune is to end."""
        return self._bridge.kill_all_if_ending()


def ray_died() -> bool:
    """Return True if a Ray that this process started has lost a process that it cannot do without."""
    node = worker._global_node
    return node is not None and any(kind in ("raylet", "gcs_server") for kind, _ in node.dead_processes())


def resources_of_nodes() -> list[dict[str, float]]:
    """Return what each living node of the cluster holds in all, by Ray's names of resources."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def room(bundle: Mapping[str, float]) -> int:
    """Return how many trials with these needs the cluster's nodes hold at once."""
    return sum(
        min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in bundle.items() if amount)
        for node in resources_of_nodes()
    )


def _final_error(error: BaseException, actor: Any) -> BaseException:
    """Return what became of an actor that cannot be reached; Ray knows a moment later."""
    if not isinstance(error, ActorUnavailableError) or not actor:
        return error
    try:
        ray.get(actor.get_current_ip_pid.remote(), timeout=_ACTOR_STATE_SECONDS)
    except RayError as later:
        return later
    # It can be reached again, but Tune has given it up.
    ray.kill(actor)
    return error


def _summary(error: BaseException) -> str:
    """Return what happened, without the lines of a Ray error that describe the actor and give advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    event = [line for line in lines if not re.match(r"(class_name|actor_id|pid|name|namespace|ip): ", line)]
    return (" ".join(event[1:2] or event[:1]) or type(error).__name__).partition(". ")[0].rstrip(".")
