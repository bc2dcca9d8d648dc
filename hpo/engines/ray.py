"""A Ray cluster through Ray Tune: Tune places processes and notices when they die; the Oracle decides.

There are two adapters: a Searcher that asks the Oracle and tells it, and a TrialScheduler that reports to it. Tune
restores nothing, retries nothing and stops nothing by itself, and it writes only into a folder that is thrown away.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray
from ray import tune
from ray._private import ray_constants, services
from ray.exceptions import RayError
from ray.job_config import JobConfig

from hpo.engines.gpu_sharing import Sharing
from hpo.engines.ray_tune import (
    EndTune,
    OracleScheduler,
    OracleSearcher,
    Stopped,
    TuneBridge,
    resources_of_nodes,
    room,
)
from hpo.engines.ray_worker import Place, WorkerTrainable
from hpo.errors import EngineError, ResourceError
from hpo.machine.environment import environment_variables
from hpo.machine.temporary import scratch_folder
from hpo.objective.locate import PACKAGE_FOLDER
from hpo.oracle.oracle import Oracle
from hpo.text import one_line

# Times that Tune may end in an error without a trial that ends in between.
_MOST_FAILURES = 3
# Trials that may wait for a place at once, which is also the number of places that a growing cluster is asked for.
_MOST_PENDING = 16
# Seconds between two questions whether a paused study goes on.
_POLL_SECONDS = 0.2
# Minimum size of Ray's object store; we put nothing in it.
_STORE_BYTES = 80 * 2**20
# Ray's variable for the folder of its sessions, and most bytes of its path: 107 for a Unix socket, less the rest of
# `/hpo-12345678/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store` and a few.
_RAY_TMPDIR = "RAY_TMPDIR"
_LONGEST_FOLDER = 20
_SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is the runner's
    # Tune's own files are thrown away: none of them while trials run.
    "TUNE_GLOBAL_CHECKPOINT_S": "31536000",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1e9",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "1e9",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",  # a study is its owner's business
}


class _PackageOnly(JobConfig):
    """A job whose processes put only the folder of hpo first on sys.path.

    The working folder stays out: a user's hpo.py or queue.py may lie there. Ray adds that folder unless the job says
    that it has one packed.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


class RayEngine:
    """Engine on a Ray cluster, or on a Ray that it starts on this machine.

    Args:
        place: what each trial needs.
        workers: trials at a time; None: as many as the cluster holds.
        sharing: how much of a GPU a trial gets.
        say: gets sentences for the user.
        holds: resources of the Ray to start here (CPU, GPU and others); None: Ray runs already, at `address`.
        address: `auto` or HOST:PORT of the cluster's head.
        runtime_env: Ray's description of what the nodes need to run the objective.
    """

    def __init__(
        self,
        place: Place,
        workers: int | None,
        sharing: Sharing,
        say: Callable[[str], None],
        holds: Mapping[str, float] | None = None,
        address: str | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        self._place = place
        self._workers = workers
        self._sharing = sharing
        self._say = say
        self._holds = holds
        self._address = address
        self._runtime_env = dict(runtime_env or {})
        self._halted = False

    def halt(self) -> None:
        """End the running trials in the next turn of Tune's loop."""
        self._halted = True

    def run(self, oracle: Oracle) -> None:
        """Run trials until no more jobs come and nothing runs.

        Raises:
            ResourceError: Ray cannot be started or reached, or no node is large enough for a trial.
            EngineError: Ray Tune fails again and again.
        """
        cluster = local_ray(self._holds, self._runtime_env) if self._holds else self._remote_ray()
        own = not ray.is_initialized()
        settings = environment_variables(
            _SETTINGS | {"TUNE_MAX_PENDING_TRIALS_PG": str(self._workers or _MOST_PENDING)}
        )
        with settings, _quiet(), _own_signals(), cluster, scratch_folder(_LONGEST_FOLDER) as folder:
            self._check_room()
            failures = 0
            while True:
                bridge = TuneBridge(oracle, self._place, self._workers, self._sharing, lambda: self._halted, own)
                trouble = self._drive(bridge, str(folder))
                while not (trouble or oracle.no_more_jobs or bridge.stopping) and oracle.control.paused:
                    time.sleep(_POLL_SECONDS)
                if bridge.stopping or (oracle.no_more_jobs and not trouble):
                    return
                if not trouble:  # the study was paused, and goes on
                    continue
                failures = 0 if bridge.ended_attempts else failures + 1
                if failures == _MOST_FAILURES:
                    raise EngineError(
                        f"Ray Tune failed {failures} times in a row without finishing a trial ({trouble}). What was "
                        "finished is kept; run the same command again, or with --set engine=local on this machine"
                    )
                self._say(f"Ray Tune failed and is started again; its trials go back in the queue ({trouble})")

    def _drive(self, bridge: TuneBridge, folder: str) -> str:
        """Run Ray Tune until there is nothing more to do. Return what went wrong with it, or an empty text."""
        trouble = ""
        try:
            tune.run(
                WorkerTrainable,
                name="hpo",
                search_alg=OracleSearcher(bridge),
                scheduler=OracleScheduler(bridge),
                stop=Stopped(bridge),
                num_samples=-1,
                reuse_actors=True,
                max_failures=0,
                raise_on_failed_trial=False,
                callbacks=[],
                verbose=0,
                storage_path=folder,
            )
        except Exception as error:  # Tune wraps any error inside it into text
            trouble = one_line(error) or type(error).__name__
        except EndTune:
            if not bridge.stopping:
                bridge.failure = EngineError(
                    "the Ray that was started here is gone: its processes were ended from outside. What was finished "
                    "is kept; run the same command again"
                )
        left = bridge.close()
        if bridge.failure is not None:
            raise bridge.failure
        return trouble or ("it ended while trials were running" if left else "")

    @contextlib.contextmanager
    def _remote_ray(self) -> Iterator[None]:
        with _own_signals():
            try:
                _check_reachable(self._address or "auto")
                ray.init(address=self._address, **_options(self._runtime_env))
            except (OSError, ValueError, RuntimeError, RayError) as error:
                raise ResourceError(
                    f"the Ray cluster at {self._address} cannot be reached: {one_line(error)}. Expected auto on a "
                    "machine of the cluster, HOST:PORT of its head (`ray start --head` prints it), or no "
                    "engine.address to start Ray here"
                ) from error
        try:
            yield
        finally:
            ray.shutdown()

    def _check_room(self) -> None:
        bundle = self._place.bundle()
        if room(bundle):
            return
        nodes = resources_of_nodes()
        most = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in bundle}
        has = ", ".join(f"{name} {amount:g}" for name, amount in most.items())
        needs = ", ".join(f"{name} {amount:g}" for name, amount in bundle.items())
        said = f"a trial needs {needs} on one node, and the most that a node of the cluster has is {has}"
        if self._workers is None:
            raise ResourceError(f"{said}; lower engine.cpu, engine.gpu or engine.resources")
        # With the number of workers given, a cluster that grows is asked for them.
        self._say(f"{said}; waiting for a node that holds it (Ctrl-C stops)")


@contextlib.contextmanager
def local_ray(holds: Mapping[str, float], runtime_env: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Run Ray on this machine alone, unless this process has one already.

    Args:
        holds: its resources: CPU, GPU and others.
        runtime_env: Ray's description of what the objective needs.

    Raises:
        ResourceError: Ray does not start.
    """
    if ray.is_initialized():
        yield
        return
    with _session_folder():
        with _own_signals(), _isolated_start():
            try:
                ray.init(
                    address="local",  # not a cluster that this machine may be part of
                    num_cpus=int(holds["CPU"]),
                    num_gpus=int(holds["GPU"]),
                    resources={name: amount for name, amount in holds.items() if name not in ("CPU", "GPU")},
                    include_dashboard=False,
                    object_store_memory=_STORE_BYTES,
                    **_options(runtime_env),
                )
            except (OSError, ValueError, RuntimeError, RayError) as error:
                raise ResourceError(
                    f"Ray cannot start: {one_line(error)}; --set engine=local does without it"
                ) from error
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _session_folder() -> Iterator[None]:
    """Give the Ray that is started here a folder that is removed with it, unless the user has chosen one.

    Ray would use $TMPDIR, however long it is, also where it does not exist, and remove nothing.
    """
    if _RAY_TMPDIR in os.environ:
        yield
        return
    with scratch_folder(_LONGEST_FOLDER) as folder, environment_variables({_RAY_TMPDIR: str(folder)}):
        yield


def _check_reachable(address: str) -> None:
    """Raise OSError if nothing listens there. Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _options(runtime_env: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options of ray.init that do not depend on where Ray runs."""
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "namespace": "hpo",
        "job_config": _PackageOnly(_py_driver_sys_path=[PACKAGE_FOLDER]),
    }
    return options | ({"runtime_env": dict(runtime_env)} if runtime_env else {})


@contextlib.contextmanager
def _isolated_start() -> Iterator[None]:
    """Have Ray start on loopback, and in process groups of its own.

    Ray listens on every address of the machine unless its clusters are switched off. It has a variable for that, which
    its processes read, and a constant, which this process has read if Ray was imported before. A signal that a queue
    or `kill` sends to our whole process group would end Ray while trials still save their state; so Ray's processes get
    groups of their own. They die with this process all the same. If Ray itself dies, its client waits for it, by
    default a minute, and then ends this process.
    """
    earlier = ray_constants.ENABLE_RAY_CLUSTER, services.ConsolePopen
    ray_constants.ENABLE_RAY_CLUSTER = False
    services.ConsolePopen = functools.partial(services.ConsolePopen, process_group=0)  # type: ignore
    settings = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
    try:
        with environment_variables(settings):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, services.ConsolePopen = earlier  # type: ignore


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Ray's loggers."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.train")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Restore the signal handlers that Ray and Tune replace by their own."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    earlier = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
