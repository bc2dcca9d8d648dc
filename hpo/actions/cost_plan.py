"""Plan of what a study costs before it is spent, and of what its space wastes: the content of `hpo plan`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna

from hpo import layout
from hpo.actions.probe import Probe, probe
from hpo.actions.pruner_saving import Saving, saving_of
from hpo.actions.replay import at_once
from hpo.analysis.forecast import (
    DRIFT,
    Composition,
    Forecast,
    Limits,
    Model,
    Timing,
    composition_of,
    group_of,
    timings_of,
)
from hpo.analysis.formatting import rounded_percent
from hpo.analysis.records import StudyRecord, read_study
from hpo.engines.factory import places_here
from hpo.errors import HpoError, ResourceError, StudyNotFound
from hpo.machine.memory import machine_memory
from hpo.spec.epochs import NAMES
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.budget import seconds_left
from hpo.text import count, listing
from hpo.trial import OUT_OF_MEMORY
from hpo.warm_start.knowledge_file import objective_mark
from hpo.warm_start.sources import fits

# Timings after which no older study is read.
ENOUGH = 30
# A group eats the hours if it takes more than half of them, and this many times its part of the trials.
EATS, TIMES = 0.5, 1.5
GIB = 2**30


@dataclass(frozen=True)
class GroupCost:
    """Cost of a structural group.

    Attributes:
        group: Its structural parameters.
        measured: Number of trainings that were measured.
        epoch: Seconds an epoch, the median; None: not measured.
        setup: Seconds of a trial beside its epochs.
        trials: The part of the trials that is expected to be of it.
        seconds: The part of the trials' seconds.
        host_bytes: The most memory of the host that a trial held; None: not measured.
        gpu_memory: The most of a GPU's memory, as a part of it; None: not measured.
    """

    group: str
    measured: int
    epoch: float | None
    setup: float
    trials: float
    seconds: float
    host_bytes: int | None = None
    gpu_memory: float | None = None


@dataclass(frozen=True)
class CostPlan:
    """Cost of a study.

    Attributes:
        study: Its name.
        source: Where the times come from, in words; empty if nothing is known.
        unknown: What is not known, and how to learn it, in sentences.
        finished: Its trials that have finished already.
        limits: What is left of its budget.
        workers: Trials at once.
        worker_start: Seconds that a worker takes to start.
        groups: Cost of each structural group.
        saving: What the pruner leaves.
        forecast: The rest of the study; None if it is not known.
        gpus: GPUs that a trial holds.
        by: When the budget ends, in seconds since the epoch; None without such an end.
        planned: When this was planned, in seconds since the epoch.
        weaknesses: What the space or the budget wastes, in sentences.
    """

    study: str
    source: str
    unknown: tuple[str, ...]
    finished: int
    limits: Limits
    workers: int | None
    worker_start: float
    groups: tuple[GroupCost, ...]
    saving: Saving | None
    forecast: Forecast | None
    gpus: float
    by: float | None
    planned: float
    weaknesses: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        found = asdict(self)
        if self.saving is not None:
            found["saving"] = {"saved": self.saving.saved, "words": self.saving.words}
        if self.forecast is not None:
            for name in ("seconds", "trials", "busy"):
                found["forecast"][name] = getattr(self.forecast, name)._asdict()
        return found


def plan_costs(
    spec: StudySpec, runs: Path, probing: bool | Probe, say: Callable[[str], None] = lambda _: None
) -> CostPlan:
    """Return what a study costs, from past trials of the same space, or from a probe.

    Args:
        spec: The study.
        runs: The runs folder.
        probing: Train a probe of each structural group; or a probe that was made. Without it nothing is trained.
        say: Gets sentences while a probe runs.

    Raises:
        ResourceError: The probe has no room on this machine.
        KeyboardInterrupt: The probe was interrupted.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # of the studies in memory
    own = _own(spec, runs)
    workers, unknown = _workers(spec)
    past, other = ([own], []) if own is not None and _timings(own, spec) else _past(spec, runs)
    probed = probing if isinstance(probing, Probe) else probe(spec, runs, workers or 1, say) if probing else None
    now = time.time()
    timings = [*probed.timings] if probed else [one for record in past for one in _timings(record, spec)]
    source = _source(probed, past, len(timings), workers)
    if not timings:
        unknown += [_nothing_known(probed, other)]
    limits = _limits(spec, own, now)
    saving = model = forecast = None
    groups: tuple[GroupCost, ...] = ()
    if timings:
        saving = saving_of(spec, past[0] if past else None, workers or 1, None if probed is None else probed.saves)
        model = Model(timings, _composition(spec, past, own), saving.shares, DRIFT)
        if workers is not None and limits != Limits():
            forecast = model.forecast(limits, workers)
        groups = _groups(model, forecast, probed)
    return CostPlan(
        study=spec.name,
        source=source,
        unknown=tuple(unknown),
        finished=len(own.trained) if own else 0,
        limits=limits,
        workers=workers,
        worker_start=model.worker_start if model else 0.0,
        groups=groups,
        saving=saving,
        forecast=forecast,
        gpus=spec.engine.gpus,
        by=spec.budget.by.timestamp() if spec.budget.by else None,
        planned=now,
        weaknesses=tuple(_weaknesses(spec, groups, forecast, limits, workers, probed, past)),
    )


# --- what is known


def _own(spec: StudySpec, runs: Path) -> StudyRecord | None:
    try:
        return read_study(runs, spec.name)
    except StudyNotFound:
        return None


def _past(spec: StudySpec, runs: Path) -> tuple[list[StudyRecord], list[str]]:
    """Return earlier studies of the same space and constants, the last driven first, and why others do not count."""
    found: list[StudyRecord] = []
    known, other = 0, []
    for name in layout.studies_in(runs):
        if name == spec.name or known >= ENOUGH:
            continue
        try:
            past = load_spec(layout.study_directory(runs, name) / layout.SPEC, locate=False)
            if not fits(spec, objective_mark(past.identity()["objective"]), past.metrics, past.space):
                continue
            if different := _different_constants(spec, past):
                other.append(f"study '{name}' had other constants ({listing(different, 4)})")
                continue
            record = read_study(runs, name)
        except HpoError:  # `hpo list` says what is wrong with it
            continue
        if number := len(_timings(record, spec)):
            known += number
            found.append(record)
    return found, other


def _different_constants(spec: StudySpec, past: StudySpec) -> list[str]:
    names = sorted({*map(str, spec.constants), *map(str, past.constants)} - set(NAMES))
    return [name for name in names if spec.constants.get(name) != past.constants.get(name)]


def _timings(record: StudyRecord, spec: StudySpec) -> list[Timing]:
    return timings_of(record, spec, at_once(record.trained))


def _source(probed: Probe | None, past: Sequence[StudyRecord], timings: int, workers: int | None) -> str:
    if not timings:
        return ""
    if probed is not None:
        left = f"; {count(probed.unprobed, 'rarer group')} left out" if probed.unprobed else ""
        return f"a probe of {count(timings, 'training')}{left}"
    names = listing(f"'{record.name}'" for record in past)
    ran = max(at_once(record.trained) for record in past)
    # What runs beside a trial slows it down.
    beside = "" if ran == workers or timings < 2 else f", which ran {ran} at a time"
    return f"{count(timings, 'trial')} of {'study' if len(past) == 1 else 'studies'} {names}{beside}"


def _nothing_known(probed: Probe | None, other: Sequence[str]) -> str:
    if probed is not None:
        reasons = listing(f"{group}: {reason}" for group, reason in {**probed.failures, **probed.out_of_memory}.items())
        return f"what a trial costs is not known: no training of the probe could be measured ({reasons})"
    why = f" ({listing(other, 3)})" if other else ""
    return (
        f"what a trial costs is not known: there is no past trial of this space{why}. --probe trains two epochs of "
        "each structural group and measures them"
    )


def _workers(spec: StudySpec) -> tuple[int | None, list[str]]:
    """Return the number of trials at once, or None and a sentence that says why it is not known."""
    if spec.engine.name == "inline":
        return 1, []
    if spec.engine.workers is not None:
        return spec.engine.workers, []
    if spec.engine.address:
        why = f"the engine is the cluster at {spec.engine.address}"
    else:
        try:
            places = places_here(spec.engine)
            return len({place.gpus for place in places}) if spec.engine.gpu == "auto" else len(places), []
        except ResourceError as error:
            why = str(error)
    return None, [f"how many trials run at once is not known: {why}. To plan for N: --set engine.workers=N"]


def _composition(spec: StudySpec, past: Sequence[StudyRecord], own: StudyRecord | None) -> Composition:
    """Return the trials to come: what a grid has left, else as earlier trials of the space were proposed."""
    fresh = composition_of(spec)
    counted = past if fresh.cells is None else [own] if own else []
    return fresh.with_trials(group_of(spec, trial.params) for record in counted for trial in record.finished)


def _limits(spec: StudySpec, own: StudyRecord | None, now: float) -> Limits:
    budget = spec.budget
    trials = spec.planned_trials()
    finished = own.trained if own else ()
    spent = sum(trial.gpu_seconds for trial in own.trials) if own else 0.0
    busy = None
    if budget.gpu_hours is not None and spec.engine.gpus:
        busy = max(0.0, 3600 * budget.gpu_hours - spent) / spec.engine.gpus
    seconds = seconds_left(budget, own.spans if own else (), now)
    return Limits(None if trials is None else max(0, trials - len(finished)), seconds, busy)


def _groups(model: Model, forecast: Forecast | None, probed: Probe | None) -> tuple[GroupCost, ...]:
    weights = model.composition.cells or model.composition.weights
    total = sum(weights.values()) or 1
    found = []
    for group in model.groups:
        usage = probed.usage.get(group) if probed else None
        found.append(
            GroupCost(
                group,
                model.measured(group),
                model.epoch_of(group),
                model.setup_of(group),
                weights.get(group, 0) / total,
                forecast.parts[group] if forecast else 0.0,
                usage.host_bytes or None if usage else None,
                usage.gpu_memory or None if usage else None,
            )
        )
    return tuple(found)


# --- what the study wastes


def _weaknesses(
    spec: StudySpec,
    groups: Sequence[GroupCost],
    forecast: Forecast | None,
    limits: Limits,
    workers: int | None,
    probed: Probe | None,
    past: Sequence[StudyRecord],
) -> list[str]:
    """Return sentences about what was measured; `hpo check` has those that can be told without."""
    return [
        *_uncovered_grid(spec, forecast, limits),
        *_hungry_choices(spec, groups),
        *_too_large(spec, groups, workers),
        *_failed(spec, probed, past),
    ]


def _uncovered_grid(spec: StudySpec, forecast: Forecast | None, limits: Limits) -> list[str]:
    left = limits.trials  # of the grid's cells
    if forecast is None or left is None or not spec.tries_each_once or spec.budget.trials is not None:
        return []
    fit = round(forecast.trials.middle)
    if fit >= left:
        return []
    more = "" if left == spec.space.grid_size() else " left"
    return [f"the grid has {count(left, 'cell')}{more}, and about {fit} ({rounded_percent(fit / left)}) fit the budget"]


def _hungry_choices(spec: StudySpec, groups: Sequence[GroupCost]) -> list[str]:
    return [
        f"{one.group} takes {rounded_percent(one.seconds)} of the hours with {rounded_percent(one.trials)} of the "
        "trials; a study of its own would leave the others more trials"
        for one in groups
        if len(groups) > 1 and one.measured and one.seconds > EATS and one.seconds > TIMES * one.trials
    ]


def _too_large(spec: StudySpec, groups: Sequence[GroupCost], workers: int | None) -> list[str]:
    """Return the groups of which so many trials do not fit beside each other into the memory that they share."""
    found, here = [], 0 if spec.engine.address else machine_memory()
    share = 1.0 if spec.engine.gpu == "auto" else min(1.0, spec.engine.gpu or 1.0)
    for one in groups:
        if here and workers and one.host_bytes and workers * one.host_bytes > here:
            found.append(
                f"{one.group}: {count(workers, 'trial')} at a time hold {workers} x {one.host_bytes / GIB:.1f} GiB, "
                f"and this machine has {here / GIB:.1f} GiB; --set engine.workers={max(1, here // one.host_bytes)} fits"
            )
        if one.gpu_memory and one.gpu_memory > share:
            found.append(
                f"{one.group} holds {rounded_percent(one.gpu_memory)} of a GPU's memory, and engine.gpu gives a trial "
                f"{rounded_percent(share)}"
            )
    return found


def _failed(spec: StudySpec, probed: Probe | None, past: Sequence[StudyRecord]) -> list[str]:
    found = []
    if probed is not None:
        found += [f"{group} does not fit: {reason}" for group, reason in probed.out_of_memory.items()]
        found += [f"{group} could not be measured: {reason}" for group, reason in probed.failures.items()]
    of_group: dict[str, list[bool]] = {}
    for record in past:
        for trial in record.finished:
            of_group.setdefault(group_of(spec, trial.params), []).append(trial.cause == OUT_OF_MEMORY)
    return found + [
        f"{group}: {sum(ended)} of {count(len(ended), 'past trial')} ran out of memory"
        for group, ended in of_group.items()
        if any(ended)
    ]
