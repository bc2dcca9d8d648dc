"""Sampler and pruner of a study, built from its spec, and warnings if they do not fit the study."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

from hpo.errors import Problem, SpecError
from hpo.spec import algorithms
from hpo.spec.algorithms import PRUNERS, SAMPLERS
from hpo.spec.sampler_limits import refused_ranges
from hpo.text import count, listing

if TYPE_CHECKING:
    import optuna

    from hpo.spec.models import Component, StudySpec

__all__ = ["PRUNERS", "SAMPLERS", "make_pruner", "make_sampler", "unwatched", "warnings_for"]

# These read COMPLETE trials only (seen in Optuna 5.0), so a pruned trial teaches them nothing.
_COMPLETE_ONLY = {"gp", "nsga2"}
_IGNORE_CONSTRAINTS = {"random", "qmc", "cmaes"}


def mixed_seed(seed: int, finished: int) -> int:
    """Return `seed` for a new study, and another seed for each number of finished trials.

    So a resumed study does not draw its first configurations again.
    """
    if finished == 0:
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed}/{finished}".encode(), digest_size=4).digest(), "big")


def make_sampler(spec: StudySpec, finished: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of a study.

    Args:
        spec: the study.
        finished: number of its trials in the storage.

    Raises:
        SpecError: the sampler cannot be built, or would fail on a range of the space.
    """
    import optuna

    refused = refused_ranges(spec.sampler.name, len(spec.metrics), spec.space)
    problems = [Problem(str(spec.source), None, "search_space", message) for _, message in refused]
    if problems:  # of a study.yaml they were said when it was read
        raise SpecError(problems)
    name, options = spec.sampler.name, dict(spec.sampler.options)
    seed = mixed_seed(spec.seed, finished)
    if name == "qmc":
        # The seed decides the sequence, and the position in it is kept in the storage: so the seed must stay.
        options |= {"seed": spec.seed, "independent_sampler": optuna.samplers.RandomSampler(seed=seed)}
    elif name in SAMPLERS or _takes_seed(spec):
        options["seed"] = seed
    if name == "kernel":
        options |= {"space": spec.space, "group_by": spec.group_by}
    sampler: optuna.samplers.BaseSampler = _build("sampler", spec, options)
    return sampler


def make_pruner(spec: StudySpec) -> optuna.pruners.BasePruner:
    """Return the pruner of a study; Optuna's NopPruner for `none`.

    Raises:
        SpecError: the pruner cannot be built.
    """
    pruner: optuna.pruners.BasePruner = _build("pruner", spec, dict(spec.pruner.options))
    return pruner


def warnings_for(spec: StudySpec) -> list[str]:
    """Return sentences about sampler, pruner, space and budget that run, but do not fit together."""
    found = [*_sampler_and_space(spec), *_sampler_and_budget(spec), *_groups_and_budget(spec), *unwatched(spec)]
    sampler, pruner = spec.sampler.name, spec.pruner.name
    if pruner != "none":
        if sampler in _COMPLETE_ONLY or (sampler == "cmaes" and not spec.sampler.options.get("consider_pruned_trials")):
            found.append(
                f"sampler {sampler} learns from completed trials only: what pruner {pruner} stops teaches it nothing. "
                "Take sampler kernel or tpe, or pruner none"
            )
        if len(spec.metrics) > 1:
            found.append(
                f"with several metrics pruner {pruner} looks at '{spec.metrics[0].name}', the first one, alone"
            )
        if pruner in ("median", "percentile") and spec.budget.trials is not None:
            startup = _option(spec.pruner, "n_startup_trials", 5)
            groups = len(spec.groups) or 1
            if startup * groups >= spec.budget.trials:
                each = f" of each of the {groups} values of {spec.group_by}" if groups > 1 else ""
                never = "hardly ever" if startup < spec.budget.trials else "never"
                waits = f"{count(startup, 'trial')}{each}"
                found.append(f"pruner {pruner} waits for {waits}, the whole budget: it {never} prunes")
    if sampler in _IGNORE_CONSTRAINTS | _COMPLETE_ONLY:
        found.append(f"sampler {sampler} does not avoid regions where trials ran out of memory or met a red flag")
    return found


def _sampler_and_space(spec: StudySpec) -> list[str]:
    sampler, found = spec.sampler.name, []
    searched = [parameter for parameter in spec.space.walk() if parameter.kind != "fixed"]
    conditional = [parameter.full_name for parameter in searched if parameter.condition]
    categorical = [parameter.name for parameter in searched if parameter.kind == "categorical"]
    if sampler == "cmaes":
        if categorical:
            found.append(f"sampler cmaes draws choices at random: {listing(categorical)}")
        if conditional:
            found.append(f"sampler cmaes draws conditional parameters at random: {listing(conditional)}")
        if sum(len(p.optuna_names) for p in searched if p.kind != "categorical" and not p.condition) < 2:
            found.append("sampler cmaes needs two numeric parameters that are always active; with fewer it is random")
    elif sampler in ("gp", "qmc") and conditional:
        found.append(f"sampler {sampler} draws conditional parameters at random: {listing(conditional)}")
    elif sampler == "tpe" and conditional:
        options = algorithms.with_defaults("tpe", spec.sampler.options)
        if options["multivariate"] and not options["group"]:
            found.append(f"sampler tpe without group draws conditional parameters one by one: {listing(conditional)}")
    if sampler == "tpe" and spec.sampler.options.get("constant_liar") is False and spec.engine.workers != 1:
        found.append("sampler tpe without constant_liar gives parallel workers nearly the same configuration")
    return found


def _sampler_and_budget(spec: StudySpec) -> list[str]:
    sampler, trials, found = spec.sampler.name, spec.budget.trials, []
    if sampler == "grid":
        cells = spec.space.grid_size()
        if cells is not None and trials is not None and trials < cells:
            found.append(f"the grid has {count(cells, 'cell')}, the budget ends after {trials}")
    if trials is None:
        return found
    size = spec.space.grid_size()
    if sampler != "grid" and size is not None and size < trials:
        each = "tries each once, then again" if sampler == "kernel" else "repeats some before it has tried all,"
        sizes = f"the space has {count(size, 'configuration')}, the budget {count(trials, 'trial')}"
        found.append(f"{sizes}: sampler {sampler} {each} with other seeds; sampler grid tries each once and ends")
    startup = {"kernel": 16, "tpe": 10, "gp": 10, "cmaes": 1}.get(sampler)
    if startup is not None:
        startup = _option(spec.sampler, "n_startup_trials", startup)
        if startup >= trials:
            found.append(
                f"sampler {sampler} draws its first {count(startup, 'trial')} at random: the whole budget of {trials}"
            )
    if sampler == "nsga2":
        population = _option(spec.sampler, "population_size", 50)
        if population >= trials:
            found.append(f"sampler nsga2 draws a population of {population} at random: the whole budget of {trials}")
    return found


def _groups_and_budget(spec: StudySpec) -> list[str]:
    if spec.group_by is None:
        if "min_complete" in spec.model_fields_set:
            return ["min_complete counts the complete trials of each value of group_by, which is not set"]
        return []
    groups, trials = len(spec.groups), spec.planned_trials()
    needed = groups * spec.min_complete
    if trials is None or needed <= trials:
        return []
    return [
        f"min_complete {spec.min_complete} asks for {needed} complete trials of the {groups} values of "
        f"{spec.group_by}, the budget ends after {trials}: some will have fewer"
    ]


def unwatched(spec: StudySpec) -> list[str]:
    """Return a warning if no red flag looks for a loss that is NaN."""
    if any(flag.rule == "non_finite" or "finite(" in flag.when for flag in spec.red_flags):
        return []
    return ["red_flags leaves out non_finite: a trial whose loss is NaN or infinite trains on to its end"]


def _option(component: Component, name: str, default: int) -> int:
    value = component.options.get(name, default)
    return value if isinstance(value, int) else default


def _takes_seed(spec: StudySpec) -> bool:
    try:
        cls = algorithms.find_class("sampler", spec.sampler.name, spec.root)
    except ValueError:
        return False
    return "seed" in inspect.signature(cls).parameters


def _build(role: algorithms.Role, spec: StudySpec, options: dict[str, Any]) -> Any:
    component = spec.sampler if role == "sampler" else spec.pruner
    # Of a class in a module of the user's, nothing but its place was checked before.
    own = ":" in component.name or ":" in str(component.options.get("wrapped_pruner"))
    check = algorithms.option_problems
    if own and (found := check(role, component.name, component.options, spec.root, importing=True)):
        raise SpecError([Problem(str(spec.source), None, f"{role}.{key}", message) for key, message in found])
    try:
        return algorithms.build(role, component.name, options, spec.root)
    except (ValueError, TypeError, ImportError) as error:
        raise SpecError([Problem(str(spec.source), None, role, f"'{component.name}': {error}")]) from error
