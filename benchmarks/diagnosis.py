"""How often the diagnosis of generated trainings is right: a confusion table.

    python benchmarks/diagnosis.py [--sets 10] [--first 1000]

A set is 200 trainings of 12 to 200 epochs, in turn healthy, overfitting, at a plateau, diverged, collapsed and noisy,
with losses on scales from 1e-4 to 1e4. The rules were tuned on the seeds below 100; those from 1000 on were not looked
at. What each kind means here is what the generator of its name does."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import VERDICTS, judge
from hpo.storage.history import Step

Values = NDArray[np.float64]
# What is known of one training, by name.
Curves = dict[str, Values]

PER_SET = 200


def generated(seed: int, count: int = PER_SET) -> Iterator[tuple[str, TrainingLog]]:
    """(what it is, the training): `count` of them."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        kind = list(KINDS)[k % len(KINDS)]
        epochs = round(np.exp(rng.uniform(np.log(12), np.log(200))))
        found = KINDS[kind](rng, epochs)
        scale = 10 ** rng.uniform(-4, 4)
        if kind != "diverged" and rng.random() < 0.1:
            found.pop("train_loss")  # without it, nobody can tell a divergence from overfitting
        losses = {name: values * scale if name.endswith("loss") else values for name, values in found.items()}
        length = max(len(values) for values in losses.values())
        yield (
            kind,
            TrainingLog(
                name=f"{kind} {seed}/{k}",
                history=tuple(
                    Step(epoch + 1, 0.0, 1, {name: float(values[epoch]) for name, values in losses.items()})
                    for epoch in range(length)
                ),
            ),
        )


def _fall(rng: np.random.Generator, n: int, fastest: float, slowest: float) -> Values:
    """(n,) from 1 down to about 0, in one of the forms that losses have; between `fastest` and `slowest` of the epochs
    are what it takes to about 1/e."""
    t = np.arange(n, dtype=float)
    tau = rng.uniform(fastest, slowest) * n
    form = rng.integers(4)
    if form == 0:
        return np.exp(-t / tau)
    if form == 1:  # two speeds, as in a network whose last layer learns first
        share = rng.uniform(0.2, 0.5)
        return share * np.exp(-4 * t / tau) + (1 - share) * np.exp(-t / tau)
    if form == 2:  # late, after a start in which nothing seems to happen
        middle = tau
        return (1 + np.exp(-middle / (0.3 * tau))) / (1 + np.exp((t - middle) / (0.3 * tau)))
    return (1 + t / tau) ** -2.0


def _noise(rng: np.random.Generator, n: int, size: float, values: Values) -> Values:
    """Of standard deviation `size`, or in parts of the values; in some trainings with heavier tails."""
    drawn = rng.standard_normal(n) if rng.random() < 0.7 else rng.standard_t(4, n) / np.sqrt(2)
    return size * drawn if rng.random() < 0.5 else size * drawn * np.abs(values) / max(np.abs(values).mean(), 1e-12)


def _metrics(rng: np.random.Generator, progress: Values) -> Curves:
    """Accuracy and recall of `progress` (0 to 1), of as many samples as a validation set has; in half of trainings."""
    if rng.random() < 0.5:
        return {}
    samples = int(10 ** rng.uniform(2, 4))
    top, bottom = rng.uniform(0.8, 0.99), rng.uniform(0.3, 0.6)
    accuracy = np.clip(bottom + (top - bottom) * progress, 0, 1)
    recall = np.clip(0.1 + 0.8 * progress, 0, 1)
    return {
        "val_accuracy": rng.binomial(samples, accuracy) / samples,
        "val_recall": rng.binomial(max(samples // 10, 10), recall) / max(samples // 10, 10),
    }


def _pair(rng: np.random.Generator, train: Values, val: Values, noise: float, progress: Values) -> Curves:
    """Losses on floors of their own, of which some are 0, with noise: less of it in training."""
    n = len(train)
    floor = rng.choice([0.0, rng.uniform(0.02, 0.5), rng.uniform(0.5, 3)])
    train, val = floor + train, floor + rng.uniform(0, 0.3) + rng.uniform(0.8, 1.1) * val
    found = {"train_loss": train + _noise(rng, n, noise / 2, train), "val_loss": val + _noise(rng, n, noise, val)}
    return found | _metrics(rng, progress)


def _little(rng: np.random.Generator) -> float:
    return float(10 ** rng.uniform(-3, np.log10(0.06)))


def healthy(rng: np.random.Generator, n: int) -> Curves:
    """Falls for at least half of the training, whether it has arrived at the end or not."""
    fall = _fall(rng, n, 0.2, 0.6)
    train = fall * rng.uniform(0.85, 1.0)
    return _pair(rng, train, fall, _little(rng), 1 - fall)


def overfitting(rng: np.random.Generator, n: int) -> Curves:
    """Validation rises from somewhere between a seventh and two thirds of the epochs on, by a quarter to twice of
    what it had gained; training falls on."""
    train = _fall(rng, n, 0.1, 0.3)
    t = np.arange(n) / (n - 1)
    since = rng.uniform(0.15, 0.65)
    later = np.clip((t - since) / (1 - since), 0, None)
    rise = rng.uniform(0.25, 2) * later ** rng.choice([0.7, 1.0, 1.5])
    val = np.where(t < since, train, np.minimum(train, train[int(since * (n - 1))])) + rise
    return _pair(rng, train, val, _little(rng), (1 - train) * (1 - 0.1 * later))


def plateau(rng: np.random.Generator, n: int) -> Curves:
    """Falls in the first fifth at most, and then stands: some near the bottom, some far above it."""
    n = max(n, 16)
    t = np.arange(n, dtype=float)
    height = rng.uniform(0.0, 0.6)
    speed = max(rng.uniform(0.01, 0.05) * n, 0.4)
    fall = height + (1 - height) * np.exp(-t / speed)
    return _pair(rng, fall, fall, _little(rng) * (1 - height), 1 - fall)


def diverged(rng: np.random.Generator, n: int) -> Curves:
    """Explodes, climbs back to where it began or beyond, or ends in values that are not finite."""
    fall = _fall(rng, n, 0.05, 0.3)
    t = np.arange(n) / (n - 1)
    since = rng.uniform(0.0, 0.8)
    later = np.clip((t - since) / (1 - since), 0, None)
    form = rng.integers(4)
    if form == 0:
        values = fall + np.expm1(later * rng.uniform(3, 12))
    elif form == 1:
        values = fall + rng.uniform(1.2, 4) * np.minimum(later * rng.uniform(1, 5), 1)
    elif form == 2:  # swings ever wider
        values = fall + rng.uniform(2, 8) * later * np.abs(np.sin(np.arange(n) * rng.uniform(0.5, 2))) + 2 * later
    else:
        values = fall.copy()
    found = _pair(rng, values, values * rng.uniform(0.9, 1.2), _little(rng), 1 - np.clip(values, 0, 1))
    if form == 3:
        odd = max(1, round((1 - since) * n))
        for name in ("train_loss", "val_loss"):
            if name in found:
                found[name][-odd:] = rng.choice([np.nan, np.inf])
    return found


def collapsed(rng: np.random.Generator, n: int) -> Curves:
    """The network answers one thing: from the start, or from some epoch on, in which the loss jumps back."""
    fall = _fall(rng, n, 0.1, 0.3)
    since = int(rng.uniform(0.0, 0.7) * n) if rng.random() < 0.6 else 0
    height = rng.uniform(0.85, 1.0)
    values = np.where(np.arange(n) < since, fall, height)
    found = _pair(rng, values, values, _little(rng), 1 - values)
    samples = int(10 ** rng.uniform(2, 4))
    before = np.clip(0.2 + 0.7 * (1 - fall), 0, 1)
    recall = np.where(np.arange(n) < since, rng.binomial(samples, before) / samples, 0.0)
    majority = rng.uniform(0.5, 0.97)
    accuracy = np.where(
        np.arange(n) < since, rng.binomial(samples, majority + (1 - majority) * (1 - fall)) / samples, majority
    )
    form = rng.integers(3)
    if form == 0:
        found |= {"val_recall": recall, "val_accuracy": accuracy}
    elif form == 1:
        found = {name: values for name, values in found.items() if "recall" not in name} | {"val_accuracy": accuracy}
    else:
        auc = np.where(np.arange(n) < since, 0.55 + 0.4 * (1 - fall), 0.5) + rng.normal(0, 0.004, n)
        found = {name: values for name, values in found.items() if name.endswith("loss")} | {"val_auc": auc}
    return found


def noisy(rng: np.random.Generator, n: int) -> Curves:
    """The noise from epoch to epoch is a third to all of what is gained."""
    fall = _fall(rng, n, 0.1, 0.5)
    floor = rng.uniform(0.2, 2)
    size = rng.uniform(0.35, 1.0)
    val = np.abs(floor + fall + size * rng.standard_normal(n))
    train = floor + fall + rng.uniform(0.05, 0.5) * size * rng.standard_normal(n)
    return {"train_loss": np.abs(train), "val_loss": val} | _metrics(rng, 1 - fall)


KINDS: dict[str, Callable[[np.random.Generator, int], Curves]] = {
    "healthy": healthy,
    "overfitting": overfitting,
    "plateau": plateau,
    "diverged": diverged,
    "collapsed": collapsed,
    "noisy": noisy,
}


def confusion(seeds: range) -> Counter[tuple[str, str]]:
    """(what it is, the verdict) -> how many."""
    return Counter((kind, judge(log).verdict) for seed in seeds for kind, log in generated(seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    given = parser.parse_args()
    table = confusion(range(given.first, given.first + given.sets))
    print(f"{'is':<12}" + "".join(f"{verdict:>12}" for verdict in VERDICTS) + f"{'right':>9}")
    for kind in KINDS:
        row = [table[kind, verdict] for verdict in VERDICTS]
        print(f"{kind:<12}" + "".join(f"{n:>12}" for n in row) + f"{table[kind, kind] / sum(row):>9.1%}")
    right = sum(n for (kind, verdict), n in table.items() if kind == verdict)
    fine = sum(n for (kind, _), n in table.items() if kind == "healthy")
    sick = sum(n for (kind, verdict), n in table.items() if kind == "healthy" and verdict not in ("healthy", "none"))
    print(f"right: {right / table.total():.1%} of {table.total()}; healthy called sick: {sick / fine:.1%} of {fine}")


if __name__ == "__main__":
    main()
