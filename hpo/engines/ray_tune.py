"""The two adapters between Ray Tune and the Oracle, and what they share: a TuneBridge."""

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
from hpo.engines.ray_worker import JOB, PLACE, SAID, WHERE, Place
from hpo.oracle.oracle import Oracle
from hpo.trial import INTERRUPTED, KILLED, LOST, OUT_OF_MEMORY, PREEMPTED, Job, Outcome, Report, State

# How Ray's messages (texts of its C++ side; there are no classes for it) say that it was not the actor's doing, and
# that the host's memory was full.
_NODE_DIED = ("node has died", "node died", "node was terminated", "node is dead", "draining")
_NO_MEMORY = ("running low on memory", "out of memory", "OutOfMemory")
# How long Ray may take to say what became of an actor that it cannot reach.
_DOUBT_SECONDS = 30.0
# How often the cluster is asked what it holds.
_LOOK_SECONDS = 1.0


@dataclass
class _Attempt:
    job: Job
    share: float
    asked: float
    tune_trial: TuneTrial | None = None  # from when Tune has made it
    heard: bool = False
    error: BaseException | None = None
    killed: str = ""


class EndTune(BaseException):
    """Ends Tune at once. For an Exception it would first tidy up, and if Ray has died, or is being ended with us (as
    `kill` and queues end a whole group of processes), wait a minute for that and then take this process down."""


class TuneBridge:
    """What passes between one run of Tune and the Oracle; every call comes from the thread that runs Tune.

    Tune turns an exception inside it into text: those of the Oracle are kept in `failure`, and nothing more is done.
    `told`: how many attempts have ended. `own_ray`: Ray is left when Tune has ended, which ends what Tune started."""

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
        self.told = 0
        self._oracle = oracle
        self._place = place
        self._workers = workers
        self._sharing = sharing
        self._halted = halted
        self._own_ray = own_ray
        self._attempts: dict[str, _Attempt] = {}
        self._looked = float("-inf")
        self._room = 0

    # --- the Searcher's

    def ask(self, tune_id: str) -> dict[str, Any] | str | None:
        """The configuration of Tune's next trial; None: nothing now; FINISHED: never more."""
        if self._own_ray and self._oracle.interrupted and not self._attempts:
            raise EndTune
        if self.over:
            return str(Searcher.FINISHED)
        if self._full():
            return None
        job = self._guarded(self._oracle.ask)
        if job is None:
            return None if self._attempts and not self.over else str(Searcher.FINISHED)
        share = self._sharing.share(job, self._place.gpu)
        # Not by the link in the runs folder that leads to a shared folder: another node has no such link.
        job = replace(job, directory=job.directory.resolve())
        self._attempts[tune_id] = _Attempt(job, share, time.monotonic())
        return {JOB: job, PLACE: replace(self._place, gpu=share)}

    def tell(self, tune_id: str, outcome: Outcome | None) -> None:
        """The end of an attempt; None: Tune lost it."""
        if tune_id in self._attempts:
            self._tell(self._attempts.pop(tune_id), outcome)
            self.told += 1

    def _tell(self, attempt: _Attempt, outcome: Outcome | None) -> None:
        if outcome is None:
            state, cause, reason = self._fate(attempt)
            seconds = time.monotonic() - attempt.asked
            outcome = Outcome(attempt.job.number, state, cause=cause, reason=reason, seconds=seconds)
        told, held = self._sharing.ended(outcome)
        self._guarded(lambda: self._oracle.tell(told, held))

    # --- the TrialScheduler's

    def added(self, trial: TuneTrial) -> None:
        self._attempts[trial.trial_id].tune_trial = trial

    def report(self, tune_id: str, report: Report, where: str) -> None:
        """Passes a report on, and the answer back if it is to stop."""
        attempt = self._attempts[tune_id]
        if not attempt.heard:
            attempt.heard = True
            self._sharing.started(attempt.job, where, attempt.share)
        self._sharing.reported(report)
        stop = self._guarded(lambda: self._oracle.report(report.number, report.step, report.metrics, report.usage))
        actor = attempt.tune_trial and attempt.tune_trial.temporary_state.ray_actor
        if stop is not None and actor:
            # An actor does what it is asked in order: this, and then the `train` that Tune asks for.
            actor.answer.remote(stop)

    def lost(self, trial: TuneTrial) -> None:
        """Tune has had an error from the actor of a trial, and tells the Searcher next, but not which error."""
        attempt = self._attempts.get(trial.trial_id)
        if attempt is not None and trial.pickled_error_file:
            with open(trial.pickled_error_file, "rb") as file:
                error = pickle.load(file)
            ended = self.over or attempt.killed
            attempt.error = error if ended else _final(error, trial.temporary_state.ray_actor)

    def tick(self, stop: Callable[[TuneTrial], None]) -> None:
        """Called by Tune in every turn of its loop. `stop` is Tune's, for trials that it has not begun."""
        if ray_died():
            raise EndTune
        if not self.end():
            self._kill(stop)

    def end(self) -> bool:
        """Whether all is to end at once. Called by Tune before it would wait for actors that wait for a trial."""
        if not self.over:
            return False
        for attempt in self._attempts.values():
            actor = attempt.tune_trial and attempt.tune_trial.temporary_state.ray_actor
            if actor:
                ray.kill(actor)
        return True

    def _kill(self, stop: Callable[[TuneTrial], None]) -> None:
        doomed: Mapping[int, str] = self._guarded(self._oracle.doomed) or {}
        for attempt in [attempt for attempt in self._attempts.values() if attempt.job.number in doomed]:
            if attempt.killed or attempt.tune_trial is None:
                continue
            attempt.killed = doomed[attempt.job.number]
            if actor := attempt.tune_trial.temporary_state.ray_actor:
                ray.kill(actor)
            else:
                stop(attempt.tune_trial)

    # ---

    @property
    def over(self) -> bool:
        """Whether all is to end at once."""
        return self.failure is not None or self._halted()

    @property
    def stopping(self) -> bool:
        """Whether somebody has stopped the study."""
        return self._halted() or self._oracle.interrupted

    def close(self) -> bool:
        """When Tune has ended: tells the attempts that it left. Returns whether there were any."""
        left = bool(self._attempts)
        while self._attempts:
            self._tell(self._attempts.popitem()[1], None)
        return left

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles all it holds into files that nobody reads."""
        return {}

    def _full(self) -> bool:
        if self._workers is not None:
            return len(self._attempts) >= self._workers
        if not self._sharing.fixed:
            # How many fit depends on which come: Ray knows, and one waits in front of it.
            return any(a.tune_trial is None or a.tune_trial.status == "PENDING" for a in self._attempts.values())
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._room = room(self._place.bundle())
        return len(self._attempts) >= self._room

    def _guarded(self, call: Callable[[], Any]) -> Any:
        if self.failure is None:
            try:
                return call()
            except Exception as error:
                self.failure = error
        return None

    def _fate(self, attempt: _Attempt) -> tuple[State, str, str]:
        error = attempt.error
        if attempt.killed:
            return "FAIL", KILLED, attempt.killed
        if self.over or self.stopping:
            return "FAIL", INTERRUPTED, "the study was stopped at once"
        if error is None or ray_died():
            return "FAIL", PREEMPTED, "Ray ended without it"
        said = _sentence(error)
        if any(words in str(error) for words in _NO_MEMORY):
            return "PRUNED", OUT_OF_MEMORY, f"out of memory: {said}"
        if isinstance(error, ActorUnavailableError | GetTimeoutError):
            return "FAIL", PREEMPTED, f"its node cannot be reached: {said}"
        if getattr(error, "preempted", False) or any(words in str(error) for words in _NODE_DIED):
            return "FAIL", PREEMPTED, f"its node was lost: {said}"
        return "FAIL", LOST, f"its Ray actor was lost: {said}"


class OracleSearcher(Searcher):
    """Asks the Oracle for configurations, and tells it the outcomes."""

    def __init__(self, conversation: TuneBridge) -> None:
        super().__init__()
        self._conversation = conversation

    def suggest(self, trial_id: str) -> Any:
        return self._conversation.ask(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        said = (result or {}).get(SAID)
        self._conversation.tell(trial_id, said if isinstance(said, Outcome) else None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what must not be lost is the Oracle's."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


class OracleScheduler(TrialScheduler):
    """Passes reports on to the Oracle. It never stops a trial itself: one that is to stop is told so, unwinds, and
    says its outcome."""

    def __init__(self, conversation: TuneBridge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._conversation = conversation

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._conversation.added(trial)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        self._conversation.report(trial.trial_id, result[SAID], result[WHERE])
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._conversation.lost(trial)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """The Searcher hears of it."""

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """The Searcher hears of it."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        self._conversation.tick(tune_controller.stop_trial)

    def debug_string(self) -> str:
        return "the Oracle decides"


class Stopped(Stopper):
    """Ends Tune when all is to end at once."""

    def __init__(self, conversation: TuneBridge) -> None:
        self._conversation = conversation

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._conversation.end()


def ray_died() -> bool:
    """Whether a Ray that this process started has lost a process that it cannot do without."""
    node = worker._global_node
    return node is not None and any(kind in ("raylet", "gcs_server") for kind, _ in node.dead_processes())


def resources_of_nodes() -> list[dict[str, float]]:
    """What each living node of the cluster holds in all."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def room(bundle: Mapping[str, float]) -> int:
    """How many trials of these needs the cluster's nodes hold at once."""
    return sum(
        min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in bundle.items() if amount)
        for node in resources_of_nodes()
    )


def _final(error: BaseException, actor: Any) -> BaseException:
    """Of an actor that is out of reach, what became of it; Ray knows a moment later."""
    if not isinstance(error, ActorUnavailableError) or not actor:
        return error
    try:
        ray.get(actor.get_current_ip_pid.remote(), timeout=_DOUBT_SECONDS)
    except RayError as later:
        return later
    # It is there again, but Tune has given it up.
    ray.kill(actor)
    return error


def _sentence(error: BaseException) -> str:
    """What happened, without the lines and sentences of a Ray error that say to whom and what else may be."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not re.match(r"(class_name|actor_id|pid|name|namespace|ip): ", line)]
    return (" ".join(told[1:2] or told[:1]) or type(error).__name__).partition(". ")[0].rstrip(".")
