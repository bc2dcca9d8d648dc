"""The engine that study.yaml names, and what it needs of this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from hpo import layout
from hpo.engines.base import Engine
from hpo.engines.gpu_packing import LEVELS, Packer
from hpo.engines.gpu_sharing import Measured, Sharing
from hpo.engines.worker_process import Limits
from hpo.errors import ResourceError
from hpo.machine.environment import environment_variables
from hpo.machine.mps import mps
from hpo.machine.resources import Slot, slots, visible_gpus
from hpo.spec.models import EngineSpec, StudySpec


def make_engine(spec: StudySpec, directory: Path, say: Callable[[str], None]) -> Engine:
    """Return the engine of a study.

    Args:
        spec: the study.
        directory: the study's folder.
        say: gets sentences for the user.

    Raises:
        ResourceError: this machine is too small for it.
    """
    engine = spec.engine
    # What this machine holds does not count for a cluster.
    places = [] if engine.address else places_here(engine)
    if engine.name == "inline":
        from hpo.engines.inline import InlineEngine
        from hpo.worker.execute import Share

        return InlineEngine(Share(places[0].cpu, places[0].gpu_share))
    limits = Limits(engine.trial_timeout, engine.report_timeout)
    logs = layout.workers_directory(directory)
    if engine.name == "local":
        from hpo.engines.local import LocalEngine

        return LocalEngine(places, logs, limits, _sharing(spec, say), engine.fresh_process)
    # Ray takes seconds to import.
    from hpo.engines.ray import RayEngine
    from hpo.engines.ray_worker import Place

    cpu = places[0].cpu if places else engine.cpu or 1
    place = Place(cpu, engine.gpus, engine.resources, limits, os.getcwd(), logs, engine.fresh_process)
    holds = {name: amount * len(places) for name, amount in engine.resources.items()}
    holds |= {"CPU": cpu * len(places), "GPU": len(visible_gpus()) if engine.gpu else 0}
    return RayEngine(
        place, engine.workers, _sharing(spec, say), say, holds if places else None, engine.address, engine.runtime_env
    )


@contextlib.contextmanager
def gpu_sharing_service(spec: StudySpec, directory: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Run NVIDIA MPS for the workers that start meanwhile, if trials share the GPUs of this machine.

    Args:
        spec: the study.
        directory: the study's folder, for the logs.
        say: gets sentences for the user.
    """
    gpu = spec.engine.gpu
    if spec.engine.address or (gpu != "auto" and not 0 < gpu < 1):
        yield
        return
    with mps(directory / layout.MPS, say) as settings, environment_variables(settings):
        yield


def places_here(engine: EngineSpec) -> list[Slot]:
    """Return the places for trials on this machine.

    Raises:
        ResourceError: it is too small.
    """
    if engine.gpu != "auto":
        return slots(engine.workers, engine.cpu, engine.gpu)
    if not visible_gpus():
        raise ResourceError("engine.gpu is auto, but no GPU is visible here; --set engine.gpu=0 trains on the CPU")
    return slots(engine.workers, engine.cpu, 1 / max(LEVELS))


def _sharing(spec: StudySpec, say: Callable[[str], None]) -> Sharing:
    if spec.engine.gpu != "auto":
        return Sharing()
    return Measured(Packer(spec.structural), say)
