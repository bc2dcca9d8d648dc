"""Words for parts of a study, the same in every command and tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hpo.spec.models import Budget, Component, Metric, StudySpec
from hpo.text import show


def algorithm_text(component: Component) -> str:
    """Return a sampler or a pruner with its options: `tpe (multivariate true, n_startup_trials 20)`."""
    options = ", ".join(f"{name} {_option(value)}" for name, value in component.options.items())
    return f"{component.name} ({options})" if options else component.name


def sampler_text(spec: StudySpec, used: Sequence[str] = (), *, reason: bool = False) -> str:
    """Return the sampler of a study with its options, and what `auto` stands for: `auto: grid`.

    Args:
        spec: the study.
        used: names of samplers that have proposed trials, if that is known.
        reason: also why `auto` stands for that.
    """
    if (choice := spec.auto_choice) is None:
        return algorithm_text(spec.sampler)
    if reason:
        return f"auto: {choice.names[0]}, for {choice.reason}"
    return f"auto: {', '.join(used) or ' or '.join(choice.names)}"


def budget_text(budget: Budget) -> str:
    """Return the limits of a budget: `30 trials or 2 hours`, or `every cell of the grid once` if there are none."""
    limits = ((budget.trials, "trial"), (budget.hours, "hour"), (budget.gpu_hours, "GPU hour"))
    confirm = "" if budget.confirm is None else f", {100 * budget.confirm:.3g} % of it to confirm"
    given = [f"{limit:.12g} {unit}{'' if limit == 1 else 's'}" for limit, unit in limits if limit is not None]
    given += [] if budget.by is None else [f"until {moment_text(budget.by)}"]
    return (" or ".join(given) or "every cell of the grid once") + confirm


def moment_text(moment: datetime) -> str:
    """Return a moment in local time: `2026-12-01 09:00`."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def confirm_text(spec: StudySpec) -> str:
    """Return what the confirmation at the end of a run takes: `top 5, 5 seeds, with 40 trials or 2 hours set aside`."""
    design = "as many configurations and seeds as it pays for"
    if spec.confirm is not None:
        group = f" of each {spec.group_by}" if spec.confirm.per_group else ""
        design = f"top {spec.confirm.top}{group}, {spec.confirm.seeds} seeds"
    return f"{design}, with {budget_text(spec.confirm_budget)} set aside"


def metric_text(metric: Metric) -> str:
    """Return a metric with its direction and goal: `maximize val_ap (goal 0.6)`."""
    goal = "" if metric.goal is None else f" (goal {metric.goal:g})"
    return f"{metric.direction} {metric.name}{goal}"


def _option(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_option(part)}" for name, part in value.items())
    return ", ".join(map(_option, value)) if isinstance(value, (list, tuple)) else show(value)
