"""A Ray cluster through Ray Tune: Tune places processes and hears when they die; the Oracle decides.

Two adapters and no more: a Searcher that asks the Oracle and tells it, a TrialScheduler that reports to it. Tune
restores nothing, retries nothing, stops nothing by itself, and writes only into a folder that is thrown away."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import socket
import tempfile
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
from hpo.machine.environment import variables
from hpo.objective.locate import PACKAGE_FOLDER
from hpo.oracle.oracle import Oracle
from hpo.text import one_line

# How many times Tune may end in an error without a trial told in between.
_MOST_FAILURES = 3
# How many trials may wait for their place at once, which is also how many places a growing cluster is asked for.
_MOST_PENDING = 16
# How often a paused study is asked whether it goes on.
_POLL_SECONDS = 0.2
# Of Ray's store of objects, through which no data of ours go; the least that it takes.
_STORE_BYTES = 80 * 2**20
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
    """What Ray's processes put first on sys.path: the folder of hpo, and no working folder, where a user's hpo.py or
    queue.py may be. Ray adds that unless the job says it has one packed."""

    def _runtime_env_has_working_dir(self) -> bool:
        return True


class RayEngine:
    """`place`: what each trial needs. `workers`: trials at a time (None: as many as the cluster holds). `sharing`:
    how much of a GPU a trial gets. `holds`: what a Ray that is started here holds (CPU, GPU and other resources);
    None: it runs already, at `address`. `say` gets sentences for the user."""

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
        self._halted = True

    def run(self, oracle: Oracle) -> None:
        cluster = local_ray(self._holds, self._runtime_env) if self._holds else self._remote_ray()
        own = not ray.is_initialized()
        settings = variables(_SETTINGS | {"TUNE_MAX_PENDING_TRIALS_PG": str(self._workers or _MOST_PENDING)})
        with settings, _quiet(), _own_signals(), cluster, tempfile.TemporaryDirectory(prefix="hpo-") as folder:
            self._check_room()
            failures = 0
            while True:
                conversation = TuneBridge(oracle, self._place, self._workers, self._sharing, lambda: self._halted, own)
                trouble = self._drive(conversation, folder)
                while not (trouble or oracle.over or conversation.stopping) and oracle.paused:
                    time.sleep(_POLL_SECONDS)
                if conversation.stopping or (oracle.over and not trouble):
                    return
                if not trouble:  # it was paused, and goes on
                    continue
                failures = 0 if conversation.told else failures + 1
                if failures == _MOST_FAILURES:
                    raise EngineError(
                        f"Ray Tune failed {failures} times in a row without finishing a trial ({trouble}). What was "
                        "finished is kept; run the same command again, or with --set engine=local on this machine"
                    )
                self._say(f"Ray Tune failed and is started again; its trials go back in the queue ({trouble})")

    def _drive(self, conversation: TuneBridge, folder: str) -> str:
        """Ray Tune until there is nothing more to do. Returns what went wrong with it, or an empty text."""
        trouble = ""
        try:
            tune.run(
                WorkerTrainable,
                name="hpo",
                search_alg=OracleSearcher(conversation),
                scheduler=OracleScheduler(conversation),
                stop=Stopped(conversation),
                num_samples=-1,
                reuse_actors=True,
                max_failures=0,
                raise_on_failed_trial=False,
                callbacks=[],
                verbose=0,
                storage_path=folder,
            )
        except Exception as error:  # of whatever class; Tune wraps what happens inside it into text
            trouble = one_line(error) or type(error).__name__
        except EndTune:
            if not conversation.stopping:
                conversation.failure = EngineError(
                    "the Ray that was started here is gone: its processes were ended from outside. What was finished "
                    "is kept; run the same command again"
                )
        left = conversation.close()
        if conversation.failure is not None:
            raise conversation.failure
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
    """Ray on this machine alone, unless this process has one already. `holds`: CPU, GPU and other resources.

    Raises ResourceError when it does not start."""
    if ray.is_initialized():
        yield
        return
    with _own_signals(), _apart():
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
            raise ResourceError(f"Ray cannot start: {one_line(error)}; --set engine=local does without it") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises OSError where nothing listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _options(runtime_env: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of ray.init, wherever Ray is."""
    options: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.CRITICAL,
        "namespace": "hpo",
        "job_config": _PackageOnly(_py_driver_sys_path=[PACKAGE_FOLDER]),
    }
    return options | ({"runtime_env": dict(runtime_env)} if runtime_env else {})


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """While Ray starts here: on loopback, and out of the way of signals.

    Ray listens on every address of the machine unless its clusters are switched off, for which it has a variable
    (of its processes) and a constant (of this one, if Ray was imported before). What a queue or `kill` sends to our
    whole process group would end Ray while trials save what they have, so its processes get groups of their own; they
    die with this process all the same. If Ray does die, its client waits a minute, and then ends this process."""
    earlier = ray_constants.ENABLE_RAY_CLUSTER, services.ConsolePopen
    ray_constants.ENABLE_RAY_CLUSTER = False
    services.ConsolePopen = functools.partial(services.ConsolePopen, process_group=0)  # type: ignore
    settings = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
    try:
        with variables(settings):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER, services.ConsolePopen = earlier  # type: ignore


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's loggers speak to nobody here."""
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
    """Ray and Tune put their own handlers in place of ours."""
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
