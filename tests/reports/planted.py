"""Studies of random search with planted truths, and which of the sentences on what was found are false of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from reading import LOSS, SCORE, study, trial

from hpo import trial as causes
from hpo.analysis.records import StudyRecord, TrialRecord, best_of
from hpo.analysis.trends import AWAY_FROM_LOWER, AWAY_FROM_UPPER, INSIDE, LOWER, UPPER
from hpo.reports.blocks import Finding
from hpo.reports.sections.found import BEST, DIFFERENCE, ENDED, OUTLOOK, PARAMETERS, findings
from hpo.space.scale import part_of_range
from hpo.spec.models import Metric

GROUPS = ("unet", "resnet")
LOW, HIGH = 1e-4, 1e-2
AHEAD = 20


@dataclass(frozen=True)
class Truth:
    """What a study was made with.

    Attributes:
        n: Number of trials.
        gap: By how much unet is better than resnet.
        rate: Place of the best learning rate in its range; None: it does not matter. -0.3 is below the range.
        batch: By how much batch size 16 is better than 8.
        noise: Standard deviation of a final value.
        diverged: Share of trials that end far from all others.
        dead: Groups whose trials all run out of memory.
        state: State in which all trials end.
        metrics: The metrics.
    """

    n: int = 60
    gap: float = 0.0
    rate: float | None = None
    batch: float = 0.0
    noise: float = 0.1
    diverged: float = 0.0
    dead: tuple[str, ...] = ()
    state: str = "COMPLETE"
    metrics: tuple[Metric, ...] = field(default=(SCORE,))


KINDS: Mapping[str, Truth] = {
    "no difference": Truth(),
    "a real difference": Truth(gap=0.3),
    "optimum beyond the upper edge": Truth(rate=1.2),
    "optimum at the lower edge of a loss": Truth(rate=-0.1, metrics=(LOSS,)),
    "optimum inside": Truth(rate=0.5, batch=0.2),
    "optimum near an edge, some diverged": Truth(rate=0.8, diverged=0.1),
    "too little budget": Truth(n=8, rate=0.5),
    "long after the best": Truth(n=400, rate=0.5, noise=0.02),
    "all pruned": Truth(n=12, state="PRUNED"),
    "all failed": Truth(n=12, state="FAIL"),
    "one architecture dead": Truth(rate=0.5, dead=("resnet",)),
    "two metrics": Truth(rate=1.2, gap=0.3, metrics=(SCORE, LOSS)),
    "one trial": Truth(n=1),
}


@dataclass(frozen=True)
class Planted:
    """A study, and the first metric of the trials that would have followed."""

    study: StudyRecord
    truth: Truth
    following: tuple[float, ...]


def planted(kind: str, seed: int) -> Planted:
    """Return a study of a kind."""
    truth = KINDS[kind]
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    made = [_trial(truth, number, rng) for number in range(truth.n + AHEAD)]
    metric = truth.metrics[0]
    following = tuple(one.values[metric.name] for one in made[truth.n :] if one.completed(metric))
    return Planted(study(made[: truth.n], metrics=truth.metrics), truth, following)


def _trial(truth: Truth, number: int, rng: np.random.Generator) -> TrialRecord:
    place = float(rng.uniform())
    params: dict[str, Any] = {
        "architecture": GROUPS[rng.integers(2)],
        "learning_rate": LOW * (HIGH / LOW) ** place,
        "batch_size": int(rng.choice([8, 16])),
    }
    cost = rng.normal(scale=truth.noise) + truth.gap * (params["architecture"] == "resnet")
    cost += truth.batch * (params["batch_size"] == 8)
    cost += 0.0 if truth.rate is None else 2 * (place - truth.rate) ** 2
    cost += 50.0 * (rng.uniform() < truth.diverged)
    if params["architecture"] in truth.dead:
        return trial(number, params, state="PRUNED", cause=causes.OUT_OF_MEMORY)
    if truth.state != "COMPLETE":
        cause = causes.PRUNER if truth.state == "PRUNED" else causes.EXCEPTION
        return trial(number, params, state=truth.state, cause=cause)
    values = {metric.name: float(metric.cost(cost)) for metric in truth.metrics}
    return trial(number, params, values=values)


def false_claims(of: Planted) -> list[str]:
    """Return the sentences that are false of a study; the interval of the outlook is judged apart."""
    found = {one.kind: one for one in findings(of.study)}
    checks = {BEST: _best, DIFFERENCE: _difference, PARAMETERS: _parameters, ENDED: _ended, OUTLOOK: _outlook}
    return [found[kind].text for kind, true in checks.items() if kind in found and not true(of, found[kind])]


def _best(of: Planted, said: Finding) -> bool:
    best = best_of(of.study.complete(of.truth.metrics[0]), of.truth.metrics[0])
    return "No trial has completed" in said.text if best is None else f"trial {best.number}" in said.text


def _difference(of: Planted, said: Finding) -> bool:
    if said.text.startswith("Better"):
        return of.truth.gap > 0 and "unet than resnet" in said.text
    return "differ" not in said.text or "beyond noise (" not in said.text or of.truth.gap > 0


def _parameters(of: Planted, said: Finding) -> bool:
    if not said.text.startswith("Matter"):
        return True
    places = {"learning_rate": of.truth.rate, "batch_size": None if not of.truth.batch else 1.0}
    for one in said.data["parameters"] if said.data else ():
        if one.matters and places[one.name] is None:
            return False
        if one.place and one.matters and not _true_place(one.place, places[one.name]):
            return False
        if one.wider is not None and one.name == "learning_rate":
            low, high = (part_of_range(end, LOW, HIGH, True) for end in (one.wider.low, one.wider.high))
            if not (low < 0 or high > 1):
                return False
    return True


def _true_place(place: str, best: float | None) -> bool:
    """Say whether the true optimum lies where a place says."""
    if best is None:
        return False
    return {
        LOWER: best <= 0.1,
        UPPER: best >= 0.9,
        INSIDE: 0.05 < best < 0.95,
        AWAY_FROM_LOWER: best > 0.05,
        AWAY_FROM_UPPER: best < 0.95,
    }[place]


def _ended(of: Planted, said: Finding) -> bool:
    early = [one for one in of.study.finished if one.state != "COMPLETE"]
    if not early:
        return "did not complete" not in said.text
    return f"Of {of.truth.n} finished trials {len(early)} did not complete" in said.text


def _outlook(of: Planted, said: Finding) -> bool:
    """Say whether the best trial and the chance are right, and what is called enough brought little."""
    chance = 100 * AHEAD / (AHEAD + of.truth.n)
    if not any(f"{number}%" in said.text for number in (int(chance), int(chance) + 1)):
        return False
    return not said.text.startswith("The trials were enough") or gain_of(of) <= 0.05 * said.data.distance


def gain_of(of: Planted) -> float:
    """Return by how much the trials that follow improve the best."""
    metric = of.truth.metrics[0]
    costs = [metric.cost(one.values[metric.name]) for one in of.study.complete(metric)]
    return max(0.0, min(costs) - min(map(metric.cost, of.following), default=np.inf))
