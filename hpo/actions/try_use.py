"""Checks of what a short training made use of: parameters, constants, checkpoints, the GPU, its seed."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hpo.actions.try_finding import Finding, error, ok, warning
from hpo.actions.try_trial import Tried, gpu_here
from hpo.analysis.axes import varies
from hpo.analysis.formatting import number, rounded_percent
from hpo.analysis.notices import UNUSED_GPU, without_trial
from hpo.analysis.reproduction import is_measured
from hpo.machine.resources import visible_gpus
from hpo.objective.command_line import placeholders
from hpo.objective.sources import sources_of
from hpo.spec.epochs import NAMES
from hpo.spec.models import StudySpec
from hpo.text import count, label, listing

GIB = 2**30


def parameters(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look for searched parameters of the trial that it has not read."""
    if not _trained(tried):
        return
    if not tried.end.observed.get("alone", True):
        yield ok("parameters", "which of them it reads is not seen: it starts processes, which may read them")
        return
    searched = {parameter.name for parameter in spec.space.walk() if varies(parameter)}
    unread = [name for name in tried.end.observed.get("unread", ()) if name in searched]
    if spec.objective is None:
        todo = "put {" + listing(unread[:1]) + "} into `command`, or take it out of search_space"
        done = "is in no placeholder of the command, and the program reads no $HPO_PARAMS"
    else:
        todo = "read it with trial.params[...], or take it out of search_space"
        done = "was not read" if tried.end.state == "COMPLETE" else f"was not read in {_epochs(tried)}"
    for name in unread:
        yield warning("parameters", f"{name} is searched and {done}: its effect would be chance", todo)
    if not unread:
        yield ok("parameters", f"all {len(tried.job.params)} are used" if searched else "none is searched")


def constants(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look for constants that are not read."""
    if not _trained(tried) or not spec.constants or not tried.end.observed.get("alone", True):
        return
    unread = [*map(str, _unread_constants(spec, tried))]
    for name in unread:
        way = f"{{constants.{name}}} in `command`" if spec.objective is None else f"trial.constants['{name}']"
        extra = ", and the training has its own number of epochs" if name in NAMES else ""
        if spec.objective is None:
            done = "is in no placeholder of the command"
        else:
            done = "was not read" if tried.end.state == "COMPLETE" else f"was not read in {_epochs(tried)}"
        yield warning("constants", f"{name} {done}{extra}", f"read it with {way}, or take it out")
    if not unread:
        yield ok("constants", f"all {len(spec.constants)} are read")


def _unread_constants(spec: StudySpec, tried: Tried) -> list[object]:
    if spec.objective is not None:
        return [*tried.end.observed.get("unread_constants", ())]
    ref = spec.objective_ref()
    if sources_of(ref).may_read:
        return []
    parts = [entry for part in ref.command for entry in ((part,) if isinstance(part, str) else part)]
    placed = {name.split(".")[1] for part in parts for name in placeholders(part) if name.startswith("constants.")}
    return [name for name in spec.constants if label(name) not in placed]


def checkpoints(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look at whether an interrupted trial could go on."""
    if not tried.reports or tried.end.state == "FAIL":
        return
    used = tried.end.observed.get("used", ())
    saves, restores = tried.saved or "save" in used, "restore" in used
    if spec.objective is None:
        said = "it saves a checkpoint" if saves else f"it saved none in {_epochs(tried)}"
        yield ok("checkpoints", f"{said}; if it restores one is not seen of a command")
    elif saves and not restores:
        yield warning(
            "checkpoints",
            "it saves and never asks for what was saved: an interrupted trial begins anew all the same",
            "call trial.restore() before the first epoch, and go on from what it returns unless that is None",
        )
    elif saves:
        yield ok("checkpoints", "it saves and restores: an interrupted trial goes on")
    elif restores:
        yield ok("checkpoints", f"it restores, and saved nothing in {_epochs(tried)}")
    else:
        yield ok("checkpoints", "it saves none: an interrupted trial begins anew (trial.save, trial.restore)")


def gpu(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look at whether a GPU is asked for and used."""
    here = visible_gpus()
    asked = spec.engine.gpu
    if not asked:
        if here:
            yield warning(
                "gpu",
                f"this machine has {count(len(here), 'GPU')}, and engine.gpu is 0: trials see none",
                "--set engine.gpu=1, or auto; leave it if the training is to be on the CPU",
            )
        return
    if not gpu_here(spec.engine):
        yield warning(
            "gpu",
            f"engine.gpu is {_shown(asked)}, and no GPU is visible here: it was tried on the CPU",
            "try it on a machine of the run, or --set engine.gpu=0",
        )
        return
    held = max(tried.end.peak_gpu_bytes, 0)
    if spec.objective is None:
        yield ok("gpu", f"it was given {spec.engine.gpu_text.replace(' each', '')}; what a command holds is not seen")
    elif held or tried.usage.gpu_memory:
        yield ok("gpu", f"torch held {held / GIB:.2f} GiB of it ({rounded_percent(tried.usage.gpu_memory)})")
    elif unused := [kind for kind in UNUSED_GPU if kind in tried.notices]:
        yield warning("gpu", f"it {without_trial(unused[0], tried.notices[unused[0]])}")
    elif tried.end.state != "FAIL":
        yield warning(
            "gpu",
            f"engine.gpu is {_shown(asked)}, and torch held nothing of it",
            "move model and data there (.to('cuda')), or --set engine.gpu=0; other libraries are not seen",
        )


def seed(spec: StudySpec, first: Tried, second: Tried) -> Iterator[Finding]:
    """Look at whether two trainings with the same seed report the same numbers."""
    own = [metric.name for metric in spec.metrics]
    one, other = first.series(), second.series()
    names = [name for name in one if name in other and (name in own or not is_measured(name))]
    if first.end.state == "FAIL" or second.end.state == "FAIL" or not names:
        yield error("seed", "two trainings could not be compared, for one reported nothing or failed")
        return
    for name in sorted(names, key=lambda each: each not in own):
        for epoch, (a, b) in enumerate(zip(one[name], other[name], strict=False), 1):
            if a != b and not (math.isnan(a) and math.isnan(b)):
                todo = (
                    "hpo seeds random, numpy and torch; look for an own generator without trial.seed, for sets and "
                    "folders in any order, for CUDA kernels that are not deterministic"
                )
                if spec.objective is None:
                    todo = "hand {seed} to the program, and seed all generators with it"
                said = f"two trainings with seed {first.job.seed} differ: {name} of epoch {epoch} is {number(a, 6)}"
                yield warning("seed", f"{said} and {number(b, 6)}", todo)
                return
    yield ok(
        "seed", f"two trainings with seed {first.job.seed} report the same numbers ({count(len(names), 'metric')})"
    )


def _trained(tried: Tried) -> bool:
    """Return True if it came so far that what it has not read is left aside."""
    return tried.end.state == "COMPLETE" or (tried.end.state == "PRUNED" and bool(tried.reports))


def _shown(gpus: float | str) -> str:
    return gpus if isinstance(gpus, str) else f"{gpus:g}"


def _epochs(tried: Tried) -> str:
    return f"the first {count(len(tried.steps), 'epoch')}"
