"""How honest a confirmed winner is, on simulated studies whose true means and noise of the seeds are known.

    python benchmarks/confirm.py
    python benchmarks/confirm.py --repetitions 2000

A search tries 30 configurations once each. The best of them, and the first one as the reference, are then trained again
as `hpo confirm` does it, with the same functions. Printed for each setting: how often the true best of those confirmed
was declared the winner or tied with it (aim: at least 95 %), how often the winner's 95 % interval holds its true mean
(aim: 93 to 97 %), how far the search's own best value is from the truth, and how far the confirmed one is, in standard
deviations of the noise (above 0: too good), and the trainings that racing took, of those of the full design (aim: at
most 70 % where gaps are large, 4 standard deviations and more).

True means: one configuration is the best, the others are worse by a gap, two gaps, and so on; those beyond the top are
worse still. The noise is normal unless a row says otherwise; part of its variance may belong to the seed, which does
the same to all configurations.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.statistics.racing import common_skewness, interval, race

TRIED = 30


@dataclass(frozen=True)
class Setting:
    """A simulated study: the gap between configurations in standard deviations, how many race, and the noise."""

    gap: float
    top: int
    seeds: int
    noise: str = "normal"
    common: float = 0.0  # the part of the variance that belongs to the seed


SETTINGS = (
    *(Setting(gap, top, 5) for gap in (0, 0.25, 0.5, 1, 2, 4, 8) for top in (2, 5, 10)),
    *(Setting(gap, 5, seeds) for gap in (0.5, 1, 4) for seeds in (3, 10, 20)),
    *(Setting(gap, 5, 5, common=0.7) for gap in (0.25, 1, 4)),
    *(Setting(gap, 5, 5, "unequal") for gap in (0.5, 1, 4)),
    *(Setting(gap, 5, 5, "best scatters most") for gap in (0.25, 0.5, 1, 2, 4)),
    *(Setting(gap, 5, 5, "tails (t, 4 df)") for gap in (0.5, 4)),
    *(Setting(gap, 5, 5, "skewed (lognormal)") for gap in (0.5, 4)),
)
# Noise that was looked at only after the rule of the interval was chosen on the settings above.
LATER = tuple(
    Setting(gap, top, seeds, noise)
    for noise in ("exponential", "minus exponential", "uniform", "one in ten 4 off")
    for gap, top, seeds in ((0.5, 5, 5), (4, 5, 5), (1, 3, 8))
)


def draw(rng: np.random.Generator, setting: Setting, means: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return costs, (configurations, seeds)."""
    shape = (len(means), n)
    if setting.noise.startswith("tails"):
        own = rng.standard_t(4, shape) / math.sqrt(2)
    elif setting.noise.startswith("skewed"):
        s = 0.5
        variance = (math.exp(s * s) - 1) * math.exp(s * s)
        own = (rng.lognormal(0, s, shape) - math.exp(s * s / 2)) / math.sqrt(variance)
    elif setting.noise.endswith("exponential"):
        own = (rng.exponential(1, shape) - 1) * (-1 if setting.noise.startswith("minus") else 1)
    elif setting.noise == "uniform":
        own = rng.uniform(-math.sqrt(3), math.sqrt(3), shape)
    elif setting.noise.startswith("one in ten"):
        own = (rng.normal(0, 1, shape) + 4 * (rng.random(shape) < 0.1) - 0.4) / math.sqrt(1 + 16 * 0.09)
    else:
        own = rng.normal(0, 1, shape)
    scale = np.ones(len(means))
    if setting.noise == "unequal":  # the worse, the less steady
        scale = np.linspace(0.5, 2, len(means))
    elif setting.noise == "best scatters most":
        scale[means.argmin()] = 3
    shared = rng.normal(0, 1, (1, n))
    return means[:, None] + math.sqrt(1 - setting.common) * scale[:, None] * own + math.sqrt(setting.common) * shared


@dataclass
class Tally:
    """Counts and sums over repetitions."""

    n: int = 0
    right: int = 0
    covered: int = 0
    naive: float = 0.0
    confirmed: float = 0.0
    trained: int = 0
    full: int = 0


def repetition(rng: np.random.Generator, setting: Setting, tally: Tally) -> None:
    """Simulate one search and its confirmation."""
    # As many good configurations as race; the rest of the search is out of reach. Their order is that of chance.
    ranks = np.concatenate([np.arange(setting.top), setting.top + 2.0 * np.arange(TRIED - setting.top)])
    means = rng.permutation(ranks) * setting.gap
    searched = draw(rng, setting, means, 1)[:, 0]
    best_first = np.argsort(searched)
    reference = 0
    chosen = [reference, *(int(i) for i in best_first[: setting.top] if i != reference)]
    truth = means[chosen]

    costs = draw(rng, setting, truth, setting.seeds)
    known: list[dict[int, float]] = [{} for _ in chosen]
    while due := (standing := race(known, setting.seeds)).due:
        for i, seed in due:
            known[i][seed] = float(costs[i, seed])
    winner = standing.winner
    assert winner is not None
    fresh = draw(rng, setting, truth[[winner]], setting.seeds)[0]
    trained = [list(one.values()) for one in known] + [fresh.tolist()]
    between = interval(fresh.tolist(), common_skewness(trained))
    assert between is not None

    again = 1 + (0 in standing.left and winner != 0)
    tally.n += 1
    tally.right += bool(truth[list(standing.left)].min() == truth.min())
    tally.covered += between[0] <= truth[winner] <= between[1]
    tally.naive += means[best_first[0]] - searched[best_first[0]]
    tally.confirmed += truth[winner] - float(fresh.mean())
    tally.trained += sum(map(len, known)) + again * setting.seeds
    tally.full += len(chosen) * setting.seeds + (1 + (winner != 0)) * setting.seeds


def row(setting: Setting, tally: Tally) -> str:
    noise = setting.noise + (f", {setting.common:.0%} of it the seed's" if setting.common else "")
    n = tally.n
    return (
        f"| {setting.gap:g} | {setting.top} | {setting.seeds} | {noise} | {tally.right / n:.1%} "
        f"| {tally.covered / n:.1%} | {tally.naive / n:+.2f} | {tally.confirmed / n:+.2f} "
        f"| {tally.trained / tally.full:.0%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(
        "| gap (SD) | top | seeds | noise | best, or tied | interval holds | search's best too good by | confirmed too "
        "good by | trainings of the full design |\n|---|---|---|---|---|---|---|---|---|"
    )
    everything = Tally()
    for number, setting in enumerate(SETTINGS + LATER):
        rng, tally = np.random.default_rng([arguments.seed, number]), Tally()
        for _ in range(arguments.repetitions):
            repetition(rng, setting, tally)
        print(row(setting, tally), flush=True)
        if setting.noise == "normal":
            everything.n, everything.right = everything.n + tally.n, everything.right + tally.right
            everything.covered += tally.covered
    print(
        f"\nnormal noise, all settings: best, or tied {everything.right / everything.n:.2%}, interval holds "
        f"{everything.covered / everything.n:.2%} (n = {everything.n})"
    )


if __name__ == "__main__":
    main()
