"""Time, memory and cost that a short training makes known, by the estimate of `hpo plan`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hpo.actions.cost_plan import CostPlan, plan_costs
from hpo.actions.probe import Probe
from hpo.actions.try_finding import Finding, error, ok, warning
from hpo.actions.try_trial import Tried
from hpo.analysis.forecast import Timing, epochs_of, group_of, timing
from hpo.analysis.formatting import duration
from hpo.machine.memory import machine_memory
from hpo.spec.models import StudySpec
from hpo.text import count

GIB = 2**30


def plan_of(spec: StudySpec, tried: Tried, runs: Path) -> CostPlan:
    """Return what the study costs, as far as one training tells."""
    measured = timing_of(spec, tried)
    group = group_of(spec, tried.job.params)
    found = Probe(
        timings=() if measured is None else (measured,),
        usage={group: tried.usage},
        out_of_memory={},
        failures={} if measured else {group: "two epochs are needed, and a parameter or constant called `epochs`"},
        unprobed=0,
        seconds=tried.end.seconds,
        saves=tried.saved,
    )
    return plan_costs(spec, runs, found)


def timing_of(spec: StudySpec, tried: Tried) -> Timing | None:
    """Return what a training takes; None if that cannot be told from this one."""
    epochs = epochs_of(spec, tried.job.params)
    whole = tried.end.state == "COMPLETE"
    if tried.end.state == "FAIL" or not (whole or (tried.ended_by_us and epochs)):
        return None
    group, reports = group_of(spec, tried.job.params), tried.times()
    found = timing(group, tried.end.seconds, reports, epochs, not spec.starts_each_trial, whole)
    return None if found is None else found._replace(share=None)


def times(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Say how long an epoch and a whole training take."""
    measured, epochs = timing_of(spec, tried), epochs_of(spec, tried.job.params)
    if measured is None:
        if tried.end.state != "FAIL" and tried.reports and epochs is None:
            yield warning(
                "time",
                "how many epochs a training has is not known, so that its cost cannot be told",
                "call the constant or parameter `epochs`",
            )
        return
    if epochs is None:
        yield ok("time", f"a whole training took {duration(tried.end.seconds)}")
        return
    whole = measured.setup + epochs * measured.epoch
    said = f"{duration(measured.epoch)} an epoch, after {duration(measured.setup)} of start"
    yield ok("time", f"{said}; {count(epochs, 'epoch')} take about {duration(whole)}")
    for name, limit in (("trial_timeout", spec.engine.trial_timeout), ("report_timeout", spec.engine.report_timeout)):
        takes = whole if name == "trial_timeout" else measured.epoch
        if limit is not None and takes > limit:
            what = "a whole training" if name == "trial_timeout" else "an epoch"
            yield error("time", f"{what} takes about {duration(takes)}, and engine.{name} is {limit:g} s", "raise it")


def memory(tried: Tried, plan: CostPlan) -> Iterator[Finding]:
    """Say if as many trials as run at once fit into the machine's memory."""
    held, here, workers = tried.usage.host_bytes, machine_memory(), plan.workers or 1
    if not held or not here:
        return
    said = f"{held / GIB:.2f} GiB a trial, {count(workers, 'trial')} at once, {here / GIB:.1f} GiB here"
    if workers * held > here:
        yield error("memory", said, f"--set engine.workers={max(1, here // held)} fits")
    else:
        yield ok("memory", said)
