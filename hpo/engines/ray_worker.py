"""The actor in which Ray Tune runs trials, on whatever node: it keeps a worker process as the local engine does,
and passes on what that says. A trial that takes its process down does not take the actor with it."""

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

JOB, PLACE, SAID, WHERE = "job", "place", "said", "where"


@dataclass(frozen=True)
class Place:
    """What a trial needs and where its worker works. gpu: a share of a GPU, or whole ones. resources: more of Ray's.
    folder: the driver's working directory, also the worker's where it exists. logs: for what a worker prints between
    trials."""

    cpu: int
    gpu: float
    resources: dict[str, float]
    limits: Limits
    folder: str
    logs: Path

    def bundle(self) -> dict[str, float]:
        """In Ray's terms, all on one node."""
        return {"CPU": self.cpu, **({"GPU": self.gpu} if self.gpu else {}), **self.resources}


class WorkerTrainable(Trainable):
    """Each `train` waits for what the trial says next: a Report, the answer to which is the next `train`, or its
    Outcome, with which the Tune trial is done."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        return PlacementGroupFactory([config[PLACE].bundle()])

    def setup(self, config: dict[str, Any]) -> None:
        self._worker: WorkerProcess | None = None
        self._refused: Outcome | None = None
        self._reported = False
        self._stop: Stop | None = None
        self._gpus = sorted(str(gpu) for gpu in ray.get_gpu_ids())
        self._where = f"{ray.get_runtime_context().get_node_id()}/{','.join(self._gpus)}"
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self.config = {}  # or Tune would send the job back with every report
        job: Job = config[JOB]
        place: Place = config[PLACE]
        self._reported = False
        self._refused = _blind(job)
        if self._refused is not None:
            return
        if self._worker is not None and self._worker.spent:
            self._worker.kill()
            self._worker = None
        if self._worker is None:
            place.logs.mkdir(parents=True, exist_ok=True)
            log = place.logs / f"{socket.gethostname()}-{os.getpid()}.log"
            folder = Path(place.folder) if os.path.isdir(place.folder) else None
            self._worker = WorkerProcess(place.cpu, self._gpus, log, place.limits, folder=folder)
        self._worker.start(job, place.gpu)

    def answer(self, stop: Stop) -> None:
        """Sent before the next `train` where the answer to the last report is not to go on."""
        self._stop = stop

    def step(self) -> dict[str, Any]:
        if self._refused is not None:
            said: Report | Outcome = self._refused
        else:
            assert self._worker is not None
            if self._reported:
                self._worker.answer(self._stop)
            self._stop = None
            said = self._worker.next()
        self._reported = isinstance(said, Report)
        return {SAID: said, WHERE: self._where, "done": not self._reported}

    def cleanup(self) -> None:
        if self._worker is not None:
            self._worker.leave()
            self._worker.kill()


def _blind(job: Job) -> Outcome | None:
    """The fate of a job on a node that does not see the study's folder."""
    trials = job.directory.parent
    if trials.is_dir():
        return None
    reason = (
        f"node {socket.gethostname()} does not see {trials}, where trials keep their checkpoints; set "
        "engine.checkpoint_dir to a folder that every node of the cluster sees"
    )
    return Outcome(job.number, "FAIL", cause=LOST, reason=reason)
