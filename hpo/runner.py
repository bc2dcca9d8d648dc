"""A run of a study: open it, drive it to the end of its budget, write its report."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import optuna

from hpo import layout
from hpo.control.requests import Pause, effective, extend_steering, read_steering, record, write_steering
from hpo.control.server import ControlServer
from hpo.engines.base import Engine
from hpo.engines.factory import gpu_sharing_service, make_engine
from hpo.errors import Problem, ResourceError, SpecError, StorageError, StudyLocked, StudyPaused
from hpo.machine.access import reason
from hpo.machine.resources import visible_gpus
from hpo.machine.terminal import leave_closed_terminal
from hpo.oracle.continuation import Continuation
from hpo.oracle.open_study import open_study
from hpo.oracle.oracle import Oracle
from hpo.oracle.supersede import supersede
from hpo.reports.dashboard_tracker import DashboardTracker
from hpo.search.samplers import unwatched
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.driver_lock import driver_lock
from hpo.storage.driver_pulse import Driving, driving
from hpo.storage.open import close_storage, open_storage, stop_waiting, storage_url
from hpo.storage.ownership import key_of, set_foreign_aside, write_key
from hpo.storage.provenance import code_of, keep
from hpo.storage.shared_trials import mark_shared, share_trials
from hpo.storage.study_folder import beside_the_yaml, refuse_copy, refuse_deleted, refuse_taken
from hpo.text import count, first_line, redact
from hpo.trackers.base import Progress, Tracker, Trackers
from hpo.trackers.working_folder import WorkingFolder
from hpo.translation.catalogue import chosen, language
from hpo.warm_start.sources import warm_start_of

# SIGHUP comes when a terminal or an ssh session ends.
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class RunResult:
    """The end of a run.

    Attributes:
        study: the study's name.
        directory: its folder.
        progress: where it stands.
        done: its budget is spent.
        interrupted: it was interrupted, by a signal or with `hpo stop`.
        stopped: why it ended before its budget was spent, without an interruption; or empty.
        reports: the files of the report.
        storage: the URL of its storage, without a password.
        stopped_by: who ended it with `hpo stop`, as user@host; or empty.
        paused: it was interrupted while it was paused.
    """

    study: str
    directory: Path
    progress: Progress
    done: bool
    interrupted: bool
    stopped: str
    reports: tuple[Path, ...]
    storage: str
    stopped_by: str = ""
    paused: bool = False

    @property
    def state(self) -> Literal["finished", "interrupted", "stopped"]:
        """The end in one word: budget spent, interrupted (run it again to go on), or stopped (see `stopped`)."""
        if self.done:
            return "finished"
        return "interrupted" if self.interrupted else "stopped"


def run(
    study: StudySpec | str | os.PathLike[str],
    runs: str | os.PathLike[str] | None = None,
    trackers: Sequence[Tracker] = (),
    overrides: Sequence[str] = (),
    *,
    strict: bool = False,
    retry_failed: bool = False,
    continuation: Continuation | None = None,
) -> RunResult:
    """Start or resume a study, and drive it until its budget is spent or it is interrupted.

    One SIGINT, SIGTERM or SIGHUP ends running trials at their next report, a second one ends them at once; they are
    queued again, and the same call resumes. Signals are handled if this is called from the main thread. Meanwhile `hpo
    pause`, `stop`, `kill` and `extend` steer the run: a budget that they have extended counts instead of the spec's,
    and a study that is paused waits. The report is in the language of $HPO_LANG. Nothing is printed; trackers get all
    that happens.

    Args:
        study: a spec, or the path of a study.yaml.
        runs: the folder that holds all studies; None: $HPO_RUNS, or else ./runs.
        trackers: told of every trial and message, in this order.
        overrides: `key=value` texts that replace keys of the study.yaml, as `--set` does; none with a spec.
        strict: refuse to go on if the objective's files have changed since the last trial.
        retry_failed: try the configurations of failed trials once more, before others.
        continuation: train this and nothing else (`hpo.actions.continue_trial`).

    Raises:
        HpoError: the study cannot run or go on (SpecError, StudyLocked, StudyPaused, StudyChanged, StorageError,
            ResourceError, EngineError, LanguageError, ControlError). No finished trial is lost.
    """
    if isinstance(study, StudySpec) and overrides:
        raise SpecError([Problem("hpo.run", None, "overrides", "are for a study.yaml; give them to hpo.load_spec")])
    spec = study if isinstance(study, StudySpec) else load_spec(study, overrides)
    with contextlib.ExitStack() as stack:
        opened = _open(spec, layout.runs_folder(runs), trackers, stack, strict)
        if retry_failed:
            opened.tracker.message(_retried(opened.oracle.retry_failed()))
        if continuation is not None:
            _continue(opened, continuation)
        _drive(opened)
        if opened.driving.lost:
            raise StudyLocked(f"{opened.driving.lost}; it runs this driver's trials again")
        reports = _report(opened)
    return _result(opened, reports)


@dataclass(frozen=True)
class _OpenStudy:
    """A study that this process drives, and all that takes part in it."""

    study: optuna.Study
    storage: optuna.storages.BaseStorage
    url: str
    directory: Path
    oracle: Oracle
    engine: Engine
    server: ControlServer
    tracker: Tracker
    dashboard: DashboardTracker
    language: str
    driving: Driving


# --- first phase: everything that can be refused, before a trial starts


def _open(
    spec: StudySpec, runs: Path, trackers: Sequence[Tracker], stack: contextlib.ExitStack, strict: bool
) -> _OpenStudy:
    """Open a study; `stack` closes what was opened, the last first."""
    code = chosen()
    directory = layout.study_directory(runs, spec.name)
    url = storage_url(spec, runs)
    if spec.storage is not None:  # its file may have come with a runs folder that was moved
        spec = spec.model_copy(update={"storage": url})
    beside = beside_the_yaml(spec, runs)
    # These come first, so that what they say while they close is still shown.
    shown = Trackers(trackers)
    tracker = Trackers([WorkingFolder(directory, shown.message), *_mlflow(spec, runs, url, shown), *trackers])
    refuse_taken(runs, spec.name)
    stack.enter_context(driver_lock(directory, tracker.message))
    refuse_deleted(runs, spec.name)
    refuse_copy(runs, spec.name, url)
    stack.enter_context(_storage_errors(url))
    storage = open_storage(url, tracker.message)
    stack.callback(close_storage, storage)
    for sentence in (*set_foreign_aside(directory, spec.name, storage), *supersede(spec, storage, directory)):
        tracker.message(sentence)
    server = stack.enter_context(contextlib.closing(ControlServer(directory, tracker.message)))
    steering = read_steering(directory)
    _refuse_to_wait(spec, runs, steering.paused)
    spec = effective(spec, steering)
    _share_trials(spec, directory)
    engine = make_engine(spec, directory, tracker.message)
    stack.callback(tracker.close)
    study = open_study(spec, storage, tracker.message, strict)
    own = stack.enter_context(driving(study, directory, tracker.message))
    key = key_of(study)
    write_key(directory, key)
    mark_shared(directory, key)
    record(spec, directory)
    with language(code):
        dashboard = DashboardTracker(study, directory, url, tracker.message)
    warm = warm_start_of(spec, study, storage, runs, tracker.message)
    noted = keep(directory, code_of(spec))
    oracle = Oracle(spec, study, directory, Trackers([tracker, dashboard]), warm=warm, code=noted)
    own.on_lost = oracle.control.interrupt
    if steering.paused is not None:
        oracle.control.pause()
    tracker.study_started(oracle.budget.progress)
    for sentence in _hints(spec, runs, steering.paused, beside):
        tracker.message(sentence)
    return _OpenStudy(study, storage, url, directory, oracle, engine, server, tracker, dashboard, code, own)


def _mlflow(spec: StudySpec, runs: Path, url: str, shown: Tracker) -> Iterator[Tracker]:
    if spec.mlflow is not None:
        from hpo.trackers.mlflow.tracker import MlflowTracker

        yield MlflowTracker(spec, runs, url, shown.message)


@contextlib.contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    """Turn an error of the storage into a sentence."""
    try:
        yield
    except json.JSONDecodeError as error:  # of an attribute, whose text was damaged in a database
        raise StorageError(
            f"a record of the storage {redact(url)} is damaged: {first_line(error)}. `hpo doctor` says more; bring the "
            "storage back from a backup"
        ) from error
    except (optuna.exceptions.StorageInternalError, OSError) as error:
        raise StorageError(
            f"writing the study failed: {first_line(error)} (storage {redact(url)}). What was finished is kept; run "
            "the same command again when the disk or the database is back"
        ) from error


def _refuse_to_wait(spec: StudySpec, runs: Path, paused: Pause | None) -> None:
    """A job of a queue must not wait while others could have its machines."""
    if paused is not None and any(name in os.environ for name in ("SLURM_JOB_ID", "PBS_JOBID")):
        raise StudyPaused(
            f"study '{spec.name}' is paused {paused}, and a job of a queue does not wait; "
            f"`{_command('resume', spec, runs)}`, and submit it again"
        )


def _command(command: str, spec: StudySpec, runs: Path) -> str:
    return layout.follow_up(f"{command} {shlex.quote(spec.name)}", runs)


def _share_trials(spec: StudySpec, directory: Path) -> None:
    """Put the trials' folders where other machines see them, if study.yaml says so."""
    shared = spec.engine.checkpoint_dir
    if shared is None:
        return
    try:
        share_trials(directory, shared)
    except FileExistsError:
        raise ResourceError(
            f"engine.checkpoint_dir is {shared}, but the trials of study '{spec.name}' are in "
            f"{layout.trials_directory(directory)} already; leave it out, or start a study of its own with --new-name"
        ) from None
    except OSError as error:
        raise ResourceError(f"engine.checkpoint_dir is {shared}, which cannot be used: {reason(error)}") from None


def _retried(n: int) -> str:
    if not n:
        return "no failed trial is left to try again"
    return f"tries {count(n, 'configuration')} of failed trials again"


def _continue(opened: _OpenStudy, continuation: Continuation) -> None:
    """Queue a continuation; the room that it needs in the budget is kept, as after `hpo extend`."""
    if opened.oracle.continue_trial(continuation) is None:
        spec, directory = opened.oracle.spec, opened.directory
        write_steering(directory, extend_steering(read_steering(directory), spec.budget))
        record(spec, directory)


def _hints(spec: StudySpec, runs: Path, paused: Pause | None, beside: Sequence[str]) -> Iterator[str]:
    if paused is not None:
        yield f"study '{spec.name}' is paused {paused}: nothing starts until `{_command('resume', spec, runs)}`"
    yield from beside
    if spec.engine.gpu == 0 and (gpus := len(visible_gpus())):
        yield f"engine.gpu is 0: trials do not use this machine's {count(gpus, 'GPU')} (--set engine.gpu=1)"
    yield from unwatched(spec)


# --- second phase: trials run


def _drive(opened: _OpenStudy) -> None:
    """Run trials until the budget is spent or the study is interrupted."""
    oracle, engine, server = opened.oracle, opened.engine, opened.server
    with (
        contextlib.closing(oracle),
        _signals(opened),
        server.serving(oracle.control),
        gpu_sharing_service(oracle.spec, opened.directory, opened.tracker.message),
        contextlib.closing(opened.dashboard),
    ):
        engine.run(oracle)
        # The budget may have been extended while the engine ended.
        while not server.should_finish():
            engine.run(oracle)
        oracle.end()
    for notice in oracle.notices.closing():
        opened.tracker.message(f"warning: {notice}")


@contextlib.contextmanager
def _signals(opened: _OpenStudy) -> Iterator[None]:
    """Interrupt the run at the first SIGINT, SIGTERM or SIGHUP, and end running trials at the second."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can have signal handlers
        return

    def handle(number: int, frame: FrameType | None) -> None:
        leave_closed_terminal()
        control = opened.oracle.control
        if control.interrupted:
            opened.engine.halt()
            stop_waiting(opened.storage)
            return
        control.interrupt("the study is being stopped")
        opened.tracker.message(
            "stopping: running trials end at their next report and go back in the queue (again to stop at once)"
        )

    # `nohup` has SIGHUP ignored, so that the end of a terminal does not end the study.
    numbers = [one for one in _STOPPING if one != signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


# --- third phase: the report


def _report(opened: _OpenStudy) -> tuple[Path, ...]:
    """Write the report. Return its files."""
    from hpo.reports.end_of_run import write_end_of_run  # plotly and more, which a start need not wait for

    with language(opened.language):
        return write_end_of_run(opened.oracle.spec, opened.study, opened.directory, opened.tracker.message)


def _result(opened: _OpenStudy, reports: tuple[Path, ...]) -> RunResult:
    control, budget = opened.oracle.control, opened.oracle.budget
    return RunResult(
        study=opened.oracle.spec.name,
        directory=opened.directory,
        progress=budget.progress,
        done=bool(budget.done) and not control.interrupted,
        interrupted=control.interrupted,
        stopped=budget.stopped,
        reports=reports,
        storage=redact(opened.url),
        stopped_by=opened.server.stopped_by,
        paused=control.interrupted and control.paused,
    )
