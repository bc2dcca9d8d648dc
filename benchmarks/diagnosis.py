"""How often the diagnosis of generated trainings is right: a confusion table.

    python benchmarks/diagnosis.py [--sets 10]

A set is 200 trainings of 12 to 200 epochs, of each kind in turn, with losses on scales from 1e-4 to 1e4. The rules were
tuned on the seeds below 100; those from 1000 on were not looked at. Both tables are printed, apart. What each kind
means here is what the generator of its name does. `contradicted` counts the trainings of which an advice names an epoch
to keep or to stop at, after which the metric still rose, without naming the metric's own best; or says that nothing was
learned where the metric improved."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hpo.analysis.training.diagnosis import diagnose
from hpo.analysis.training.series import direction_of
from hpo.analysis.training.training_log import TrainingLog
from hpo.analysis.training.verdict import VERDICTS
from hpo.curves.shape import noise_of
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
        scale = 1.0 if kind.startswith("ghm") else 10 ** rng.uniform(-4, 4)
        if kind in OF_LOSSES and kind != "diverged" and rng.random() < 0.1:
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
    ability = 1 - np.maximum(
        train, train[min(int(since * (n - 1)) + 1, n - 1)]
    )  # what is learned later does not carry over
    return _pair(rng, train, val, _little(rng), ability * (1 - 0.1 * later))


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


def _ghm(rng: np.random.Generator, n: int, progress: Values, train: Values) -> Curves:
    """A loss whose weights are scaled to a mean of 1, so that it hardly moves; half of them with the original beside.

    Args:
        progress: (n,) of validation, 0 to 1.
        train: (n,) the original loss of training, 1 to 0.
    """
    drift = rng.uniform(-0.03, 0.03)
    t = np.arange(n) / (n - 1)
    found = {
        "train_loss": 0.97 + drift * t + 0.002 * rng.standard_normal(n),
        "val_loss": 0.95 + rng.uniform(-0.03, 0.04) * t + 0.003 * rng.standard_normal(n),
    }
    samples = int(10 ** rng.uniform(2.5, 4))
    top, bottom = rng.uniform(0.8, 0.95), rng.uniform(0.5, 0.65)
    name = str(rng.choice(["pair_accuracy", "auc", "accuracy"]))
    found[f"val_{name}"] = rng.binomial(samples, bottom + (top - bottom) * progress) / samples
    found[f"train_{name}"] = rng.binomial(samples, bottom + (top - bottom) * (1 - train)) / samples
    if rng.random() < 0.5:
        floor = rng.uniform(1, 5)
        found["train_original"] = floor + 4 * train + 0.05 * rng.standard_normal(n)
        found["val_original"] = floor + 4 * (1 - progress) + 0.1 * rng.standard_normal(n)
    return found


def ghm_healthy(rng: np.random.Generator, n: int) -> Curves:
    """A loss that hardly moves by construction, or rises a little, while the network learns."""
    fall = _fall(rng, n, 0.2, 0.6)
    return _ghm(rng, n, 1 - fall, fall)


def ghm_overfitting(rng: np.random.Generator, n: int) -> Curves:
    """The same, and a quarter to a half of what the metric had gained is lost again."""
    fall = _fall(rng, n, 0.08, 0.2)
    t = np.arange(n) / (n - 1)
    later = np.clip((t - 0.4) / 0.6, 0, None)
    return _ghm(rng, n, (1 - fall) * (1 - rng.uniform(0.3, 0.6) * later), fall)


def constant(rng: np.random.Generator, n: int) -> Curves:
    """A metric at the value of a constant answer in all epochs, though the losses fall; often others beside it."""
    fall = _fall(rng, n, 0.2, 0.6)
    found = {name: values for name, values in _pair(rng, fall, fall, _little(rng), fall).items() if "loss" in name}
    share = rng.uniform(0.02, 0.3)
    form = rng.integers(5)
    if form == 0:  # everything is foreground
        found |= {"val_jaccard": np.full(n, share), "train_jaccard": share * (1 + 0.02 * rng.standard_normal(n))}
    elif form == 1:  # of batches
        found |= {"val_dice": share * (1 + 1e-4 * rng.standard_normal(n))}
    elif form == 2:  # the majority
        found |= {"val_accuracy": np.full(n, 1 - share), "val_macro_f1": np.full(n, (1 - share) / (2 - share))}
    elif form == 3:  # scores without order
        found |= {
            "val_auc": 0.5 + 0.005 * np.clip(rng.standard_normal(n), -3, 3),
            "val_accuracy": np.full(n, 1 - share),
        }
    else:  # the mean, whatever is asked
        found |= {"val_mae": np.full(n, rng.uniform(0.1, 10))}
    return found


def ranks(rng: np.random.Generator, n: int) -> Curves:
    """A ranking that is good or becomes better, of which nothing passes the threshold."""
    fall = _fall(rng, n, 0.2, 0.6)
    found = {name: values for name, values in _pair(rng, fall, fall, _little(rng), fall).items() if "loss" in name}
    bottom = rng.uniform(0.5, 0.75)
    top = bottom + rng.uniform(0.12, 0.24)
    share = rng.uniform(0.01, 0.1)
    found["val_auc"] = np.clip(
        bottom + (top - bottom) * (1 - fall) + rng.uniform(0.002, 0.01) * rng.standard_normal(n), 0, 1
    )
    found["val_recall"] = np.zeros(n)
    if rng.random() < 0.5:
        found |= {"val_precision": np.zeros(n), "val_accuracy": np.full(n, 1 - share)}
    if rng.random() < 0.3:
        found["val_average_precision"] = share + (0.8 - share) * (1 - fall) + 0.01 * rng.standard_normal(n)
        del found["val_auc"]
    return found


def late(rng: np.random.Generator, n: int) -> Curves:
    """Nothing is found in the first 30 to 50 % of the epochs, then the network learns."""
    n = max(n, 20)
    until = int(rng.uniform(0.3, 0.5) * n)
    progress = np.concatenate([np.zeros(until), 1 - np.exp(-np.arange(1, n - until + 1) / (rng.uniform(0.1, 0.2) * n))])
    samples = int(10 ** rng.uniform(2, 4))
    found = {
        name: values
        for name, values in _pair(rng, 1 - progress, 1 - progress, _little(rng), progress).items()
        if "loss" in name
    }
    form = rng.integers(3)
    if form == 0:
        found["val_recall"] = rng.binomial(samples, 0.85 * progress) / samples
    elif form == 1:
        found["val_auc"] = 0.5 + 0.4 * progress + 0.01 * rng.standard_normal(n)
    else:
        found["val_f1"] = rng.binomial(samples, 0.85 * progress) / samples
        found["val_accuracy"] = rng.binomial(samples, 0.9 + 0.08 * progress) / samples
    return found


def unmoved(rng: np.random.Generator, n: int) -> Curves:
    """A loss that falls by a fifth or more, and a metric that does not move but for its noise."""
    fall = _fall(rng, n, 0.15, 0.5)
    floor = rng.uniform(0.2, 2)
    level, size = rng.uniform(0.03, 0.6), rng.uniform(0.02, 0.3)
    train, val = floor + fall, floor + rng.uniform(0.8, 1.1) * fall
    found = {"train_loss": train + _noise(rng, n, _little(rng) / 2, train)}
    name = str(rng.choice(["jaccard", "accuracy", "f1", "dice"]))
    found[f"val_{name}"] = np.clip(level * (1 + size * rng.standard_normal(n)), 0, 1)
    if rng.random() < 0.5:
        found[f"train_{name}"] = np.clip(level * (1 + size * rng.standard_normal(n)), 0, 1)
    found["val_loss"] = val + _noise(rng, n, _little(rng), val)
    return found


def solved(rng: np.random.Generator, n: int) -> Curves:
    """Learned in the first epochs: a metric at its ceiling from then on, while the losses fall a little further."""
    fall = _fall(rng, n, 0.2, 0.5)
    found = {name: values for name, values in _pair(rng, fall, fall, _little(rng), fall).items() if "loss" in name}
    top = rng.uniform(0.95, 0.995)
    samples = int(10 ** rng.uniform(2, 4))
    name = str(rng.choice(["accuracy", "f1", "dice"]))
    found[f"val_{name}"] = rng.binomial(samples, top, n) / samples
    found[f"val_{name}"][0] = rng.uniform(0.6, 0.95)
    found[f"train_{name}"] = np.clip(top - 0.2 * fall**2, 0, 1)
    if rng.random() < 0.3:
        found = {name: 100 * values if "loss" not in name else values for name, values in found.items()}
    return found


def errors(rng: np.random.Generator, n: int) -> Curves:
    """A network of a regression that learns: errors, of which less is better."""
    fall = _fall(rng, n, 0.2, 0.6)
    found = {name: values for name, values in _pair(rng, fall, fall, _little(rng), fall).items() if "loss" in name}
    unit, floor = 10 ** rng.uniform(-2, 2), rng.uniform(0.1, 0.5)
    found["val_mae"] = unit * (floor + fall + 0.02 * rng.standard_normal(n))
    return found


OF_LOSSES: dict[str, Callable[[np.random.Generator, int], Curves]] = {
    "healthy": healthy,
    "overfitting": overfitting,
    "plateau": plateau,
    "diverged": diverged,
    "collapsed": collapsed,
    "noisy": noisy,
}
OF_METRICS: dict[str, Callable[[np.random.Generator, int], Curves]] = {
    "ghm_healthy": ghm_healthy,
    "ghm_overfitting": ghm_overfitting,
    "constant": constant,
    "ranks": ranks,
    "late": late,
    "unmoved": unmoved,
    "solved": solved,
    "errors": errors,
}
KINDS = OF_LOSSES | OF_METRICS
# The verdicts that are right; of `late` one of the advices must be of that name besides.
RIGHT = {
    "ghm_healthy": ("healthy",),
    "ghm_overfitting": ("overfitting",),
    "constant": ("collapsed",),
    "ranks": ("threshold",),
    "late": ("healthy",),
    "unmoved": ("metric",),
    "solved": ("healthy", "plateau"),
    "errors": ("healthy",),
}
WELL = ("healthy", "ghm_healthy", "late", "solved", "errors")


def is_right(kind: str, verdict: str) -> bool:
    return verdict in RIGHT.get(kind, (kind,))


def confusion(seeds: range) -> Counter[tuple[str, str]]:
    """(what it is, the verdict) -> how many; the verdict `late` is a late start that was not found."""
    found: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        for kind, log in generated(seed):
            one = diagnose(log)
            verdict = one.judgement.verdict
            if kind == "late" and all(advice.code != "late" for advice in one.advice):
                verdict = f"not late, {verdict}"
            found[kind, verdict] += 1
    return found


def contradictions(seeds: range) -> list[str]:
    """The names of trainings whose advice contradicts the best epoch of their metric."""
    return [log.name for seed in seeds for _, log in generated(seed) if contradicted(log)]


def contradicted(log: TrainingLog) -> bool:
    """True if an advice gives up what the metric still gained, or calls nothing what it gained."""
    found = diagnose(log)
    points = log.series(found.metric)
    sign = -1 if found.metric and direction_of(log, found.metric) == "maximize" else 1
    values = [sign * value for _, value in points if np.isfinite(value)]
    if "loss" in found.metric or len(values) < 8 or len(values) < len(points):
        return False
    noise = max(noise_of(values), 1e-12)
    for advice in found.advice:
        numbers = advice.numbers
        if advice.code in ("not_learned", "higher_rate") and np.mean(values[:3]) - np.mean(values[-3:]) > 5 * noise:
            return True
        if advice.code not in ("stop_at", "stands", "keep_either") or found.best_epoch in numbers.values():
            continue
        if found.best_epoch is not None and found.best_epoch <= int(numbers["epoch"]):
            continue
        then = [sign * value for epoch, value in points if abs(epoch - int(numbers["epoch"])) <= 1]
        after = [sign * value for epoch, value in points if epoch > int(numbers["epoch"])]
        best = min((float(np.mean(after[k : k + 3])) for k in range(len(after) - 2)), default=np.inf)
        named = any(other.numbers.get("best_epoch") == found.best_epoch for other in found.advice)
        if np.mean(then) - best > 5 * noise and not named:
            return True
    return False


def show(first: int, sets: int) -> None:
    """Print the table of some sets."""
    table = confusion(range(first, first + sets))
    verdicts = [*VERDICTS, *sorted({verdict for _, verdict in table} - set(VERDICTS))]
    print(f"{'is':<16}" + "".join(f"{verdict:>12}" for verdict in verdicts) + f"{'right':>9}")
    for kind in KINDS:
        row = [table[kind, verdict] for verdict in verdicts]
        right = sum(n for n, verdict in zip(row, verdicts, strict=True) if is_right(kind, verdict))
        print(f"{kind:<16}" + "".join(f"{n:>12}" for n in row) + f"{right / sum(row):>9.1%}")
    right = sum(n for (kind, verdict), n in table.items() if is_right(kind, verdict))
    fine = sum(n for (kind, _), n in table.items() if kind in WELL)
    sick = sum(n for (kind, verdict), n in table.items() if kind in WELL and verdict in SICK)
    print(f"right: {right / table.total():.1%} of {table.total()}; healthy called sick: {sick / fine:.1%} of {fine}")
    wrong = contradictions(range(first, first + sets))
    print(f"contradicted: {len(wrong)} of {table.total()}{': ' if wrong else ''}{', '.join(wrong[:5])}")


SICK = ("overfitting", "diverged", "collapsed", "threshold", "metric", "noisy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=10)
    given = parser.parse_args()
    for title, first in (("tuned on", 0), ("not looked at", 1000)):
        print(f"seeds {first} to {first + given.sets - 1}, {title}:")
        show(first, given.sets)


if __name__ == "__main__":
    main()
