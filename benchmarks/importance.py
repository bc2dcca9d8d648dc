"""From how many complete trials on an importance of parameters can be believed, on functions that are known.

    python benchmarks/importance.py
    python benchmarks/importance.py --methods fANOVA --seeds 5 --trials 10 20 50   (slow)

Every function has four parameters and noise. Each method ranks them from n random trials; what it gives for 2,000
trials is what it would say if it knew. Printed for each n, over functions and seeds: how often the first parameter is
the right one, the rank agreement (Spearman), and the sample standard deviation (N - 1) of a share over seeds. A least
number is chosen on the first functions and judged on the others."""

from __future__ import annotations

import argparse
import math
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from scipy.stats import spearmanr

SPACE: dict[str, BaseDistribution] = {
    "architecture": CategoricalDistribution(("a", "b", "c")),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "batch_size": CategoricalDistribution((8, 16, 32)),
    "dropout": FloatDistribution(0.0, 0.5),
}
LARGE = 2000
Params = Mapping[str, Any]


def rate(params: Params) -> float:
    """Place of the learning rate in its range, 0 to 1."""
    return (math.log10(params["learning_rate"]) + 4) / 3


def level(params: Params) -> int:
    return "abc".index(params["architecture"])


def batch(params: Params) -> int:
    return (8, 16, 32).index(params["batch_size"])


# name: (function, standard deviation of the noise)
CHOSEN_ON: dict[str, tuple[Callable[[Params], float], float]] = {
    "linear": (lambda p: rate(p) + 0.5 * level(p) / 2 + 0.2 * p["dropout"], 0.05),
    "peak": (lambda p: math.exp(-(((rate(p) - 0.4) / 0.25) ** 2)) + 0.15 * level(p) + 0.05 * batch(p), 0.05),
    "architecture": (lambda p: 0.4 * (level(p) == 2) + 0.2 * rate(p) - 0.1 * p["dropout"], 0.05),
}
JUDGED_ON: dict[str, tuple[Callable[[Params], float], float]] = {
    "two modes": (lambda p: 0.05 + 0.9 / (1 + math.exp(30 * (rate(p) - 0.6 - 0.1 * level(p)))), 0.02),
    "interaction": (lambda p: 0.6 - abs(rate(p) - 0.3 - 0.2 * level(p)) + 0.1 * batch(p) - 0.2 * p["dropout"], 0.05),
    "dropout": (lambda p: -((p["dropout"] - 0.2) ** 2) * 4 + 0.1 * rate(p) - 0.1 * level(p), 0.05),
}


def drawn(function: Callable[[Params], float], noise: float, n: int, seed: int) -> optuna.Study:
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize")
    trials = []
    for _ in range(n):
        params = {name: _value(distribution, rng) for name, distribution in SPACE.items()}
        value = function(params) + rng.normal(0, noise)
        trials.append(optuna.trial.create_trial(params=params, distributions=SPACE, value=value))
    study.add_trials(trials)
    return study


def _value(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    if distribution.log:
        return float(10 ** rng.uniform(math.log10(distribution.low), math.log10(distribution.high)))
    return float(rng.uniform(distribution.low, distribution.high))


def ped_anova(study: optuna.Study) -> dict[str, float]:
    return optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def ped_anova_quarter(study: optuna.Study) -> dict[str, float]:
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def fanova(study: optuna.Study) -> dict[str, float]:
    return optuna.importance.get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=64, seed=0))


METHODS = {"PED-ANOVA": ped_anova, "PED-ANOVA-quarter": ped_anova_quarter, "fANOVA": fanova}


def shares(method: Callable[[optuna.Study], dict[str, float]], study: optuna.Study) -> list[float]:
    found = method(study)
    total = sum(found.values()) or 1.0
    return [found.get(name, 0.0) / total for name in SPACE]


def measured(
    functions: Mapping[str, tuple[Callable[[Params], float], float]],
    method: Callable[[optuna.Study], dict[str, float]],
    n: int,
    seeds: Sequence[int],
) -> tuple[float, float, float]:
    """How often the first is right, mean rank agreement, mean standard deviation of a share."""
    right, agreement, deviations = [], [], []
    for function, noise in functions.values():
        truth = shares(method, drawn(function, noise, LARGE, 10**6))
        found = [shares(method, drawn(function, noise, n, seed)) for seed in seeds]
        right += [int(np.argmax(one)) == int(np.argmax(truth)) for one in found]
        agreement += [0.0 if len(set(one)) == 1 else float(spearmanr(one, truth).statistic) for one in found]
        deviations += [statistics.stdev(column) for column in zip(*found, strict=True)]
    return statistics.mean(right), statistics.mean(agreement), statistics.mean(deviations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["PED-ANOVA", "PED-ANOVA-quarter"])
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 15, 20, 30, 50, 80, 120, 200])
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    for title, functions, first in (("chosen on", CHOSEN_ON, 0), ("judged on", JUDGED_ON, 1000)):
        print(f"\n{title}: {', '.join(functions)}; seeds {first} to {first + given.seeds - 1}")
        print(f"{'method':18}{'n':>6}{'first right':>13}{'agreement':>11}{'sd of a share':>15}")
        for name in given.methods:
            method = METHODS[name]
            for n in given.trials:
                right, agreement, deviation = measured(functions, method, n, range(first, first + given.seeds))
                print(f"{name:18}{n:6}{right:13.0%}{agreement:11.2f}{deviation:15.3f}", flush=True)


if __name__ == "__main__":
    main()
