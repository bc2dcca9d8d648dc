"""The actor in which Ray Tune runs trials, on whatever node.

It keeps a worker process, as the local engine does, and passes on its messages. A trial that takes its process down
does not take the actor with it.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.tune import PlacementGroupFactory, Trainable

from hpo.engines.worker_process import Limits, WorkerProcess
from hpo.trial import LOST, Job, Outcome, Report, Stop

# Keys of what passes between Tune and the actor.
JOB, PLACE, MESSAGE, LOCATION = "job", "place", "message", "location"


@dataclass(frozen=True)
class Place:
    """Needs of a trial, and the folders of its worker.

    Attributes:
        cpu: threads.
        gpu: a share of a GPU, or a number of whole ones.
        resources: others of Ray's, by name.
        limits: how long a trial may take.
        folder: the driver's working directory. It is the worker's too if the node has it.
        logs: a folder for what workers print between trials.
        fresh_process: each trial gets a process of its own.
    """

    cpu: int
    gpu: float
    resources: dict[str, float]
    limits: Limits
    folder: str
    logs: Path
    fresh_process: bool = False

    def bundle(self) -> dict[str, float]:
        """Return the needs by Ray's names, all on one node."""
        return {"CPU": self.cpu, **({"GPU": self.gpu} if self.gpu else {}), **self.resources}


class WorkerTrainable(Trainable):
    """Actor that runs one trial after the other.

    Each `train` waits for the next message of the trial. That is a Report, and the next `train` is the answer to it; or
    it is the Outcome, with which the Tune trial is done.
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        """Return what Tune has to reserve for a trial."""
        return PlacementGroupFactory([config[PLACE].bundle()])

    def setup(self, config: dict[str, Any]) -> None:
        """Start the first trial."""
        self._worker: WorkerProcess | None = None
        self._refused: Outcome | None = None
        self._reported = False
        self._stop: Stop | None = None
        self._gpus = sorted(str(gpu) for gpu in ray.get_gpu_ids())
        self._location = f"{ray.get_runtime_context().get_node_id()}/{','.join(self._gpus)}"
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial in the same actor."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self.config = {}  # otherwise Tune would send the job back with every report
        job: Job = config[JOB]
        place: Place = config[PLACE]
        self._reported = False
        self._refused = _check_folder(job)
        if self._refused is not None:
            return
        if self._worker is not None and not self._worker.ready():
            self._worker.kill()
            self._worker = None
        if self._worker is None:
            place.logs.mkdir(parents=True, exist_ok=True)
            log = place.logs / f"{socket.gethostname()}-{os.getpid()}.log"
            folder = Path(place.folder) if os.path.isdir(place.folder) else None
            self._worker = WorkerProcess(place.cpu, self._gpus, log, place.limits, place.fresh_process, folder)
        self._worker.start(job, place.gpu)

    def answer(self, stop: Stop) -> None:
        """Keep the answer to the last report, for the next `train`. Without it the trial goes on."""
        self._stop = stop

    def step(self) -> dict[str, Any]:
        """Answer the last report, and return the next message of the trial."""
        if self._refused is not None:
            message: Report | Outcome = self._refused
        else:
            assert self._worker is not None
            if self._reported:
                self._worker.answer(self._stop)
            self._stop = None
            message = self._worker.next_message()
        self._reported = isinstance(message, Report)
        return {MESSAGE: message, LOCATION: self._location, "done": not self._reported}

    def cleanup(self) -> None:
        """End the worker process."""
        if self._worker is not None:
            self._worker.ask_to_exit()
            self._worker.kill()


def _check_folder(job: Job) -> Outcome | None:
    """Return the failure of a job on a node that does not see the study's folder, else None."""
    trials = job.directory.parent
    if trials.is_dir():
        return None
    reason = (
        f"node {socket.gethostname()} does not see {trials}, where trials keep their checkpoints; set "
        "engine.checkpoint_dir to a folder that every node of the cluster sees"
    )
    return Outcome(job.number, "FAIL", cause=LOST, reason=reason)
