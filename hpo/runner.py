"""run(spec): build the Oracle, the engine and the trackers; drive; report; close."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import optuna

from hpo import layout
from hpo.control.requests import Pause, effective, read_steering, record
from hpo.control.server import ControlServer
from hpo.engines.base import Engine
from hpo.engines.gpu_packing import LEVELS, Packer
from hpo.engines.gpu_sharing import Measured, Sharing
from hpo.engines.worker_process import Limits
from hpo.errors import ResourceError, StorageError, StudyChanged, StudyPaused
from hpo.machine.environment import variables
from hpo.machine.mps import mps
from hpo.machine.resources import Slot, slots, visible_gpus
from hpo.oracle.oracle import Oracle
from hpo.reports.dashboard import DashboardTracker
from hpo.search.samplers import make_pruner, make_sampler
from hpo.spec.load import identity_difference
from hpo.spec.models import EngineSpec, StudySpec
from hpo.storage import trial_attributes
from hpo.storage.driver_lock import driver_lock
from hpo.storage.open import close_storage, open_storage, stop_waiting, storage_url
from hpo.text import first_line, redact
from hpo.trackers.base import Progress, Tracker, Trackers
from hpo.translation.catalogue import chosen, language
from hpo.warm_start.sources import warm_start_of


@dataclass(frozen=True)
class RunResult:
    """`done`: the budget is spent. `stopped`: why the study ended before that, or empty. `stopped_by`: who ended it
    with `hpo stop`, or empty. `paused`: it was interrupted while it was paused. `reports`: the report files.
    `storage`: its URL, without a password."""

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


def run(spec: StudySpec, runs: Path, trackers: Sequence[Tracker] = ()) -> RunResult:
    """Start or resume a study and drive it until its budget is spent or it is interrupted.

    SIGINT or SIGTERM once: running trials end at their next report and are queued again; twice:
    they end at once and are queued again. Running the same spec again resumes. Meanwhile `hpo pause` and others steer
    it (hpo.control.requests); a budget that was extended so is larger than the spec's, and a study that was
    paused waits.
    The report is in the language of $HPO_LANG. Raises StudyLocked, StudyPaused (in a queue), StudyChanged,
    StorageError, ResourceError, LanguageError, ControlError; no finished trial is lost."""
    code = chosen()
    directory = layout.study_directory(runs, spec.name)
    url = storage_url(spec, runs)
    shown = Trackers(trackers)
    # First, so that what it says while it closes is still shown.
    tracker = Trackers([*_mlflow(spec, runs, url, shown), *trackers])
    with (
        driver_lock(directory, tracker.message),
        _storage_errors(url),
        contextlib.closing(ControlServer(directory, tracker.message)) as helm,
    ):
        steering = read_steering(directory)
        _refuse_to_wait(spec, runs, steering.paused)
        spec = effective(spec, steering)
        _share_trials(spec, directory)
        engine = make_engine(spec, directory, tracker.message)
        storage = open_storage(url, tracker.message)
        try:
            study = _open_study(spec, storage)
            record(spec, directory)
            with language(code):
                dashboard = DashboardTracker(study, spec, directory, tracker.message)
            warm = warm_start_of(spec, study, storage, runs, tracker.message)
            oracle = Oracle(spec, study, directory, Trackers([tracker, dashboard]), warm=warm)
            if steering.paused is not None:
                oracle.pause()
            tracker.study_started(oracle.progress)
            if steering.paused is not None:
                tracker.message(
                    f"study '{spec.name}' is paused {steering.paused}: nothing starts until "
                    f"`{_command('resume', spec, runs)}`"
                )
            if spec.engine.gpu == 0 and (gpus := visible_gpus()):
                tracker.message(
                    f"engine.gpu is 0: trials see none of this machine's {len(gpus)} GPU(s) (--set engine.gpu=1)"
                )
            with (
                contextlib.closing(oracle),
                _signals(oracle, engine, storage, tracker),
                helm.serving(oracle),
                _mps(spec, directory, tracker.message),
                contextlib.closing(dashboard),
            ):
                engine.run(oracle)
                while not helm.should_finish():
                    engine.run(oracle)
            from hpo.reports.end_of_run import close_study  # plotly and more, which a start need not wait for

            with language(code):
                reports = close_study(oracle.spec, study, directory, tracker.message)
        finally:
            tracker.close()
            close_storage(storage)
    return RunResult(
        study=spec.name,
        directory=directory,
        progress=oracle.progress,
        done=bool(oracle.done) and not oracle.interrupted,
        interrupted=oracle.interrupted,
        stopped=oracle.stopped,
        reports=reports,
        storage=redact(url),
        stopped_by=helm.stopped_by,
        paused=oracle.interrupted and oracle.paused,
    )


def _refuse_to_wait(spec: StudySpec, runs: Path, paused: Pause | None) -> None:
    """A job of a queue must not wait while others could have its machines."""
    if paused is not None and any(name in os.environ for name in ("SLURM_JOB_ID", "PBS_JOBID")):
        raise StudyPaused(
            f"study '{spec.name}' is paused {paused}, and a job of a queue does not wait; "
            f"`{_command('resume', spec, runs)}`, and submit it again"
        )


def _command(command: str, spec: StudySpec, runs: Path) -> str:
    return layout.follow_up(f"{command} {shlex.quote(spec.name)}", runs)


def _mlflow(spec: StudySpec, runs: Path, url: str, shown: Tracker) -> Iterator[Tracker]:
    if spec.mlflow is not None:
        from hpo.trackers.mlflow.tracker import MlflowTracker

        yield MlflowTracker(spec, runs, url, shown.message)


def make_engine(spec: StudySpec, directory: Path, say: Callable[[str], None]) -> Engine:
    """The engine that study.yaml names. Raises ResourceError if the machine is too small for it."""
    engine = spec.engine
    limits = Limits(engine.trial_timeout, engine.report_timeout)
    logs = layout.workers_directory(directory)
    # What the machine here holds does not count for a cluster.
    shares = [] if engine.address else _slots(engine)
    if engine.name == "inline":
        from hpo.engines.inline import InlineEngine
        from hpo.worker.execute import Share

        return InlineEngine(Share(shares[0].cpu, shares[0].gpu_share))
    if engine.name == "local":
        from hpo.engines.local import LocalEngine

        return LocalEngine(shares, logs, limits, _sharing(spec, say))
    from hpo.engines.ray import RayEngine
    from hpo.engines.ray_worker import Place

    cpu = shares[0].cpu if shares else engine.cpu or 1
    place = Place(cpu, engine.gpus, engine.resources, limits, os.getcwd(), logs)
    holds = {name: amount * len(shares) for name, amount in engine.resources.items()}
    holds |= {"CPU": cpu * len(shares), "GPU": len(visible_gpus()) if engine.gpu else 0}
    return RayEngine(
        place, engine.workers, _sharing(spec, say), say, holds if shares else None, engine.address, engine.runtime_env
    )


def _slots(engine: EngineSpec) -> list[Slot]:
    if engine.gpu != "auto":
        return slots(engine.workers, engine.cpu, engine.gpu)
    if not visible_gpus():
        raise ResourceError("engine.gpu is auto, but no GPU is visible here; --set engine.gpu=0 trains on the CPU")
    return slots(engine.workers, engine.cpu, 1 / max(LEVELS))


def _sharing(spec: StudySpec, say: Callable[[str], None]) -> Sharing:
    if spec.engine.gpu != "auto":
        return Sharing()
    structural = [parameter.name for parameter in spec.space.walk() if parameter.structural]
    return Measured(Packer([*structural, *([spec.group_by] if spec.group_by else [])]), say)


def _share_trials(spec: StudySpec, directory: Path) -> None:
    shared = spec.engine.checkpoint_dir
    if shared is None:
        return
    try:
        layout.share_trials(directory, shared)
    except FileExistsError:
        raise ResourceError(
            f"engine.checkpoint_dir is {shared}, but the trials of study '{spec.name}' are in "
            f"{layout.trials_directory(directory)} already; leave it out, or start a study of its own with --new-name"
        ) from None
    except OSError as error:
        raise ResourceError(f"engine.checkpoint_dir is {shared}, which cannot be used: {error.strerror}") from None


@contextlib.contextmanager
def _mps(spec: StudySpec, directory: Path, say: Callable[[str], None]) -> Iterator[None]:
    """NVIDIA MPS for the workers started meanwhile, where trials share this machine's GPUs."""
    gpu = spec.engine.gpu
    if spec.engine.address or (gpu != "auto" and not 0 < gpu < 1):
        yield
        return
    with mps(directory / layout.MPS, say) as settings, variables(settings):
        yield


def _open_study(spec: StudySpec, storage: optuna.storages.BaseStorage) -> optuna.Study:
    study = optuna.create_study(
        study_name=spec.name,
        storage=storage,
        directions=[metric.direction for metric in spec.metrics],
        load_if_exists=True,
    )
    trials = study.get_trials(deepcopy=False)
    _refuse_changes(spec, study, bool(trials))
    study.sampler = make_sampler(spec, len(trials))
    study.pruner = make_pruner(spec)
    return study


def _refuse_changes(spec: StudySpec, study: optuna.Study, has_trials: bool) -> None:
    identity = spec.identity()
    recorded = study.user_attrs.get(trial_attributes.IDENTITY)
    if recorded == identity:
        return
    if has_trials:
        if recorded is None:
            raise StudyChanged(
                f"the storage already holds a study '{spec.name}' that hpo did not make; choose another name with "
                f"--new-name, for example --new-name {spec.name}-2"
            )
        changes = "\n  ".join(identity_difference(recorded, identity))
        raise StudyChanged(
            f"{spec.source}: study '{spec.name}' has trials, and what was searched has changed since:\n  {changes}\n"
            "Trials of two different searches cannot be compared. Undo the change, or start a study of its own with "
            f"--new-name {spec.name}-2. (Budget, workers, engine, sampler and pruner may change.)"
        )
    study.set_user_attr(trial_attributes.IDENTITY, identity)
    with warnings.catch_warnings():
        # Experimental in Optuna since 3.2; optuna-dashboard shows the names.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([metric.name for metric in spec.metrics])


@contextlib.contextmanager
def _storage_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (optuna.exceptions.StorageInternalError, OSError) as error:
        raise StorageError(
            f"writing the study failed: {first_line(error)} (storage {redact(url)}). What was finished is kept; run the same "
            "command again when the disk or the database is back"
        ) from error


@contextlib.contextmanager
def _signals(oracle: Oracle, engine: Engine, storage: optuna.storages.BaseStorage, tracker: Tracker) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        if oracle.interrupted:
            engine.halt()
            stop_waiting(storage)
            return
        oracle.interrupt("the study is being stopped")
        tracker.message(
            "stopping: running trials end at their next report and go back in the queue (again to stop at once)"
        )

    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
