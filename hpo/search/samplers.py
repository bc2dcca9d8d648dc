"""Sampler and pruner of a study, built from its spec, and warnings if they do not fit the study."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import Problem, SpecError
from hpo.spec import algorithms
from hpo.spec.algorithms import BOUNDED, PRUNERS, SAMPLERS
from hpo.spec.auto_sampler import AUTO
from hpo.spec.epochs import most_epochs
from hpo.spec.sampler_limits import refused_ranges
from hpo.storage import trial_attributes
from hpo.text import count, listing, show

if TYPE_CHECKING:
    import optuna

    from hpo.spec.models import Component, StudySpec

__all__ = ["PRUNERS", "SAMPLERS", "make_pruner", "make_sampler", "unwatched", "warnings_for"]

# These read COMPLETE trials only (seen in Optuna 5.0), so a pruned trial teaches them nothing.
_COMPLETE_ONLY = {"gp", "nsga2"}
# A float over more powers of ten than these is meant to be drawn by its logarithm.
MOST_DECADES = 2.0
_IGNORE_CONSTRAINTS = {"random", "qmc", "cmaes"}
# Beyond so many trials it matters that some samplers and pruners go through all of them whenever they are asked.
MANY_TRIALS = 2000
_LINEAR_PRUNERS = {"median", "percentile", "successive_halving", "hyperband"}


def mixed_seed(seed: int, finished: int) -> int:
    """Return `seed` for a new study, and another seed for each number of finished trials.

    So a resumed study does not draw its first configurations again.
    """
    if finished == 0:
        return seed
    return int.from_bytes(hashlib.blake2b(f"{seed}/{finished}".encode(), digest_size=4).digest(), "big")


def make_sampler(
    spec: StudySpec, finished: int, say: Callable[[str], None] = lambda sentence: None
) -> optuna.samplers.BaseSampler:
    """Return the sampler of a study.

    Args:
        spec: the study.
        finished: number of its trials in the storage.
        say: gets a sentence when `sampler: auto` goes on with another sampler.

    Raises:
        SpecError: the sampler cannot be built, or would fail on a range of the space.
    """
    names = [component.name for component in spec.samplers]
    refused = (found for name in names for found in refused_ranges(name, len(spec.metrics), spec.space))
    problems = [Problem(str(spec.source), None, "search_space", message) for _, message in refused]
    if problems:  # of a study.yaml they were said when it was read
        raise SpecError(problems)
    samplers = [_sampler(component, spec, finished) for component in spec.samplers]
    if len(samplers) == 1:
        return samplers[0]
    from hpo.search.auto_sampler import AutoSampler

    gp, kernel = samplers
    return AutoSampler(spec.space, gp, kernel, partial(note_sampler, say=say))


def note_sampler(study: optuna.Study, name: str, why: str, say: Callable[[str], None]) -> None:
    """Note in the study which sampler proposes from now on.

    Args:
        study: the study.
        name: the sampler's.
        why: the reason; empty if the user names the sampler.
        say: gets a sentence if there is a reason, and others have proposed before, but not this one.
    """
    before = study.user_attrs.get(trial_attributes.SAMPLERS) or []
    if name not in before:
        study.set_user_attr(trial_attributes.SAMPLERS, [*before, name])
        if before and why:
            say(f"sampler auto: from here on {name}, {before[-1]} before: {why}")


def _sampler(component: Component, spec: StudySpec, finished: int) -> optuna.samplers.BaseSampler:
    import optuna

    name, options = component.name, dict(component.options)
    seed = mixed_seed(spec.seed, finished)
    if name == "qmc":
        # The seed decides the sequence, and the position in it is kept in the storage: so the seed must stay.
        options |= {"seed": spec.seed, "independent_sampler": optuna.samplers.RandomSampler(seed=seed)}
    elif name in SAMPLERS or _takes_seed(name, spec.root):
        options["seed"] = seed
    if name == "gp":
        # It warns at its import of a package that makes no difference to be noticed here.
        logging.getLogger("optuna._gp.batched_lbfgsb").setLevel(logging.ERROR)
    if name == "kernel":
        options |= {"space": spec.space, "group_by": spec.group_by}
    sampler: optuna.samplers.BaseSampler = _build("sampler", spec, name, options)
    if name in BOUNDED and options.get("history") is not None:
        from hpo.search.bounded_history import BoundedHistory

        return BoundedHistory(sampler, options["history"])
    return sampler


def make_pruner(spec: StudySpec) -> optuna.pruners.BasePruner:
    """Return the pruner of a study; Optuna's NopPruner for `none`.

    Raises:
        SpecError: the pruner cannot be built.
    """
    pruner: optuna.pruners.BasePruner = _build("pruner", spec, spec.pruner.name, dict(spec.pruner.options))
    return pruner


def warnings_for(spec: StudySpec) -> list[str]:
    """Return sentences about sampler, pruner, space and budget that run, but do not fit together."""
    found = [*_sampler_and_space(spec), *_sampler_and_budget(spec), *_groups_and_budget(spec), *unwatched(spec)]
    found += [*_ranges_without_log(spec), *_pruner_and_epochs(spec), *_many_trials(spec)]
    sampler, pruner = spec.samplers[-1].name, spec.pruner.name
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
    sampler, found = spec.samplers[-1].name, []
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
    sampler, trials, found = spec.samplers[0].name, spec.search_budget.trials, []
    if sampler == "grid":
        cells = spec.space.grid_size()
        if cells is not None and trials is not None and trials < cells:
            found.append(
                f"the grid has {count(cells, 'cell')}, the budget ends after {trials} ({100 * trials / cells:.2g}%)"
            )
    if trials is None:
        return found
    size = spec.space.grid_size()
    if spec.sampler.name not in (AUTO, "grid") and size is not None and size < trials:
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


def _ranges_without_log(spec: StudySpec) -> list[str]:
    """Return the ranges of which nearly all draws are in the last of several decades."""
    found = []
    for one in spec.space.walk():
        if one.kind != "float" or one.log or one.step is not None or one.low <= 0:
            continue
        decades, last = math.log10(one.high / one.low), one.high / 10
        if decades > MOST_DECADES:
            above = (one.high - last) / (one.high - one.low)
            found.append(
                f"{one.full_name} goes over {decades:.2g} decades, from {show(one.low)} to {show(one.high)}, without "
                f"log: {above:.0%} of its values are above {last:.3g}; log: true gives each decade the same"
            )
    return found


def _pruner_and_epochs(spec: StudySpec) -> list[str]:
    """Return a sentence if the pruner first decides after the last epoch."""
    first, epochs = first_decision(spec.pruner), most_epochs(spec)
    if first is None or epochs is None or first <= epochs:
        return []
    return [
        f"pruner {spec.pruner.name} first decides at step {first}, and a trial has {count(epochs, 'epoch')}: it never "
        "prunes"
    ]


def _many_trials(spec: StudySpec) -> list[str]:
    """Return what takes longer with each trial, in a study of many."""
    found, sampler = [], spec.samplers[-1]
    if (spec.planned_trials() or 0) <= MANY_TRIALS:
        return []
    if sampler.name in BOUNDED and sampler.options.get("history") is None:
        found.append(
            f"sampler {sampler.name} goes through all trials at each ask, so that each takes longer than the one "
            "before; sampler kernel does not, and with the option history: 1000 this one sees so many of them"
        )
    if spec.pruner.name in _LINEAR_PRUNERS:
        found.append(
            f"pruner {spec.pruner.name} goes through all trials at reports, so that they take longer with each; pruner "
            "halving looks at the latest alone"
        )
    return found


def first_decision(pruner: Component) -> int | None:
    """Return the step at which a pruner first decides; None if that is not known beforehand."""
    options = pruner.options
    if pruner.name in ("halving", "hyperband"):
        return _option(pruner, "min_resource", 1)
    if pruner.name == "successive_halving" and options.get("min_resource", "auto") != "auto":
        factor, rate = _option(pruner, "reduction_factor", 4), _option(pruner, "min_early_stopping_rate", 0)
        return _option(pruner, "min_resource", 1) * int(factor**rate)
    if pruner.name in ("median", "percentile", "threshold"):
        return _option(pruner, "n_warmup_steps", 0)
    return None


def unwatched(spec: StudySpec) -> list[str]:
    """Return a warning if no red flag looks for a loss that is NaN."""
    if any(flag.rule == "non_finite" or "finite(" in flag.when for flag in spec.red_flags):
        return []
    return ["red_flags leaves out non_finite: a trial whose loss is NaN or infinite trains on to its end"]


def _option(component: Component, name: str, default: int) -> int:
    value = component.options.get(name, default)
    return value if isinstance(value, int) else default


def _takes_seed(name: str, root: Path) -> bool:
    try:
        cls = algorithms.find_class("sampler", name, root)
    except ValueError:
        return False
    return "seed" in inspect.signature(cls).parameters


def _build(role: algorithms.Role, spec: StudySpec, name: str, options: dict[str, Any]) -> Any:
    # Of a class in a module of the user's, nothing but its place was checked before.
    own = ":" in name or ":" in str(options.get("wrapped_pruner"))
    written = (spec.sampler if role == "sampler" else spec.pruner).options
    if own and (found := algorithms.option_problems(role, name, written, spec.root, importing=True)):
        raise SpecError([Problem(str(spec.source), None, f"{role}.{key}", message) for key, message in found])
    try:
        return algorithms.build(role, name, options, spec.root)
    except (ValueError, TypeError, ImportError) as error:
        raise SpecError([Problem(str(spec.source), None, role, f"'{name}': {error}")]) from error
