"""Confirmation at the end of a run, as study.yaml says it: how much of it the budget pays for, and what does not go."""

from __future__ import annotations

from collections.abc import Iterator

from hpo.errors import KeyPath
from hpo.spec.models import ConfirmSpec, StudySpec
from hpo.spec.population import is_population
from hpo.spec.racing import is_race
from hpo.text import count

LEAST = ConfirmSpec(top=1, seeds=2)


def fitted(trainings: float, groups: int, per_group: bool = False) -> ConfirmSpec:
    """Return the confirmation that a number of trainings pays for.

    The default one if it fits, else fewer configurations down to 2, then fewer seeds down to 3, then one configuration
    beside the reference.

    Args:
        trainings: at most.
        groups: number of values of `group_by`.
        per_group: a race in each of them.
    """
    usual = ConfirmSpec()
    wanted = [(top, seeds) for seeds in range(usual.seeds, 2, -1) for top in range(usual.top, 1, -1)]
    wanted += [(1, seeds) for seeds in range(usual.seeds, 2, -1)]
    designs = (ConfirmSpec(top=top, seeds=seeds, per_group=per_group) for top, seeds in wanted)
    fit = (one for one in designs if one.most(groups) <= trainings)
    return next(fit, LEAST.model_copy(update={"per_group": per_group}))


def confirm_problems(spec: StudySpec) -> Iterator[tuple[KeyPath, str]]:
    """Yield what in a study.yaml does not go with a confirmation at the end, with the key.

    Args:
        spec: a study that has `confirm` or `budget.confirm`.
    """
    key: KeyPath = ("confirm",) if spec.confirm is not None else ("budget", "confirm")
    if is_population(spec):
        yield (
            key,
            "does not go with sampler pbt, whose members are schedules that cannot be trained again; leave it out",
        )
        return
    if is_race(spec):
        yield key, "does not go with sampler racing, which is a confirmation itself; leave it out"
        return
    if spec.confirm is not None and spec.confirm.per_group and spec.group_by is None:
        yield ("confirm", "per_group"), "is true, and the study has no group_by"
        return
    if spec.budget.by is not None and not spec.budget.divides:
        said = "takes a share of the budget, and a moment (budget.by) has none; expected trials, hours or gpu_hours too"
        yield key, said
        return
    trials, share = spec.budget.trials, spec.confirm_budget.trials
    if trials is None or share is None:
        return
    design = spec.confirm or LEAST
    most = design.most(len(spec.groups))
    if spec.budget.confirm is not None and share < most:
        least = (
            f"confirm with top {design.top} and seeds {design.seeds}" if spec.confirm else "the smallest confirmation"
        )
        needed = (
            f"; expected at least {100 * most / trials:.0f}%"
            if most < trials
            else "; expected more trials, or none of it: --set budget.confirm=null"
        )
        yield (
            ("budget", "confirm"),
            f"leaves {count(share, 'training')} of {count(trials, 'trial')}, and {least} takes up to {most}{needed}",
        )
    elif most >= trials:
        yield (
            key,
            f"takes up to {most} trainings, the whole budget of {trials}; expected fewer, more budget.trials, or none "
            "of it: --set confirm=null",
        )
