"""Policies that `run.py` compares: hpo's defaults, and what one would take in their place.

A policy makes the sampler and the pruner of a problem, with a seed. A peer whose package is not installed is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import optuna
from problems import Problem, spec_of
from tried import POLICIES as TRIED

from hpo.search.halving import HalvingPruner
from hpo.search.kernel_sampler import KernelSampler
from hpo.search.samplers import make_pruner, make_sampler

_Sampler, _Pruner = optuna.samplers.BaseSampler, optuna.pruners.BasePruner
Policy = Callable[[Problem, int], tuple[_Sampler, _Pruner]]


def _epochs(problem: Problem) -> int:
    return int(problem.curves.shape[2])


def _default(problem: Problem, seed: int) -> tuple[_Sampler, _Pruner]:
    """What a study gets that names neither sampler nor pruner."""
    spec = spec_of(problem.space, seed)
    return make_sampler(spec, 0), make_pruner(spec)


def _without_checkpoints(problem: Problem, seed: int) -> tuple[_Sampler, _Pruner]:
    """The same of a training that saves none: the pruner stops what is behind."""
    return make_sampler(spec_of(problem.space, seed), 0), HalvingPruner(promotion=False)


def _before(problem: Problem, seed: int) -> tuple[_Sampler, _Pruner]:
    """hpo's default until November 2026."""
    return KernelSampler(problem.space, seed=seed), _quarters()


def _quarters() -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=4)


def _random(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)  # as Optuna has it


def _cmaes(problem: Problem, seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, consider_pruned_trials=True, warn_independent_sampling=False)


def _hyperband(epochs: int) -> optuna.pruners.BasePruner:
    return optuna.pruners.HyperbandPruner(1, epochs, 3)


# They try no configuration of a finite space twice, as a study that names no sampler: others propose what they like.
EACH_ONCE = {"default", "default without checkpoints", *TRIED}
POLICIES: dict[str, Policy] = {
    "default": _default,
    "default without checkpoints": _without_checkpoints,
    "default before": _before,
    "random": lambda problem, seed: (_random(problem, seed), optuna.pruners.NopPruner()),
    "Optuna's default": lambda problem, seed: (_tpe(problem, seed), optuna.pruners.MedianPruner()),
    "Hyperband": lambda problem, seed: (_tpe(problem, seed), _hyperband(_epochs(problem))),
    "TPE + halving": lambda problem, seed: (_tpe(problem, seed), _quarters()),
    "random + halving": lambda problem, seed: (_random(problem, seed), _quarters()),
    "random + the default's pruner": lambda problem, seed: (_random(problem, seed), HalvingPruner()),
    "random + the default's without checkpoints": lambda problem, seed: (
        _random(problem, seed),
        HalvingPruner(promotion=False),
    ),
    **TRIED,
}
if find_spec("ray"):
    from ray_asha import RayAsha

    POLICIES["Ray's ASHA"] = lambda problem, seed: (_random(problem, seed), RayAsha(_epochs(problem)))
if find_spec("cmaes"):
    POLICIES["CMA-ES + halving"] = lambda problem, seed: (_cmaes(problem, seed), _quarters())
if find_spec("syne_tune"):
    from syne_tune_scheduler import SCHEDULERS, SyneTune

    logging.getLogger("syne_tune").setLevel(logging.ERROR)

    def _syne_tune(name: str, problem: Problem, seed: int) -> tuple[_Sampler, _Pruner]:
        scheduler = SyneTune(name, problem.space, _epochs(problem), seed)
        return scheduler.sampler, scheduler.pruner

    POLICIES |= {f"Syne Tune's {name}": partial(_syne_tune, name) for name in SCHEDULERS}
if find_spec("smac"):
    from smac_scheduler import Smac

    def _smac(problem: Problem, seed: int) -> tuple[_Sampler, _Pruner]:
        scheduler = Smac(problem.space, _epochs(problem), seed, problem.scale[2])
        return scheduler.sampler, scheduler.pruner

    POLICIES["SMAC3's multi-fidelity"] = _smac
