"""How often the chosen test of the groups finds a difference where there is none, and one that is there.

    python benchmarks/group_test.py
    python benchmarks/group_test.py --seeds 2000

Groups of final values are drawn: normal, with unequal variances, with two modes (0.05 and 0.95), with long tails; of
equal and unequal sizes. Printed for each: how often the F test, Welch's, that of Kruskal and Wallis and the chosen one
find a difference at 0.05 where there is none, and how often the chosen one finds one group that is better. The
thresholds (`modes.CLEAR`, `pairwise.SUSPECT`) were chosen on the seeds below 1000."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f_oneway

from hpo.analysis.statistics.group_test import GroupTest, group_test
from hpo.analysis.statistics.pairwise import levene
from hpo.analysis.statistics.power import ALPHA

Draw = Callable[[np.random.Generator, int, int], NDArray[np.float64]]

SIZES = {
    "3 of 5": (5, 5, 5),
    "3 of 12": (12, 12, 12),
    "4, 8, 20": (4, 8, 20),
    "2 of 10": (10, 10),
    "6 of 20": (20,) * 6,
}


def normal(rng: np.random.Generator, group: int, n: int) -> NDArray[np.float64]:
    return rng.normal(0.5, 0.1, n)


def unequal(rng: np.random.Generator, group: int, n: int) -> NDArray[np.float64]:
    """The smallest group scatters most, which the F test takes for differences."""
    return rng.normal(0.5, (0.3, 0.1, 0.03)[group % 3], n)


def modes(rng: np.random.Generator, group: int, n: int) -> NDArray[np.float64]:
    return np.where(rng.random(n) < 0.5, 0.05, 0.95) + rng.normal(0, 0.03, n)


def tails(rng: np.random.Generator, group: int, n: int) -> NDArray[np.float64]:
    return 0.9 - 0.05 * rng.lognormal(0, 1, n)


# What a group that is better gains: an amount, or with two modes a chance of the upper one.
KINDS: dict[str, tuple[Draw, float]] = {
    "normal": (normal, 0.12),
    "unequal variances": (unequal, 0.12),
    "two modes": (modes, 0.9),
    "long tails": (tails, 0.05),
}


def tested(samples: list[NDArray[np.float64]]) -> GroupTest:
    residuals = np.concatenate([sample - sample.mean() for sample in samples])
    return group_test(samples, samples, residuals, levene(samples), float(f_oneway(*samples).pvalue))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1_000_000)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'values':20}{'groups':10}{'F':>8}{'Welch':>8}{'ranks':>8}{'chosen':>8}{'power':>8}   chosen was")
    for kind, (draw, gain) in KINDS.items():
        for name, sizes in SIZES.items():
            null, there = [], []
            for seed in range(given.first, given.first + given.seeds):
                rng = np.random.default_rng(seed)
                samples = [draw(rng, group, n) for group, n in enumerate(sizes)]
                null.append(tested(samples))
                if kind == "two modes":
                    samples[-1] = np.where(rng.random(sizes[-1]) < gain, 0.95, samples[-1])
                else:
                    samples[-1] = samples[-1] + gain
                there.append(tested(samples))
            shares = [
                np.mean([one.f_p < ALPHA for one in null]),
                np.mean([one.welch is not None and one.welch.p < ALPHA for one in null]),
                np.mean([one.kruskal.p < ALPHA for one in null]),
                np.mean([one.p < ALPHA for one in null]),
                np.mean([one.p < ALPHA for one in there]),
            ]
            chosen = {test: np.mean([one.holds == test for one in null]) for test in ("F", "Welch", "Kruskal-Wallis")}
            said = ", ".join(f"{test} {share:.0%}" for test, share in chosen.items() if share)
            print(f"{kind:20}{name:10}" + "".join(f"{share:8.1%}" for share in shares) + f"   {said}", flush=True)


if __name__ == "__main__":
    main()
