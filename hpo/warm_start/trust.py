"""The running judgement on a warm start: whether what earlier studies found misleads this one."""

from __future__ import annotations

import math
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo.spec import algorithms
from hpo.spec.models import StudySpec, WarmStartSpec
from hpo.storage.trial_attributes import WARM
from hpo.warm_start.candidates import Candidate

# The step under which final values are compared, of objectives that report nothing on the way.
FINAL = sys.maxsize
# Reports that are spared the pruner, at least.
GUARD = 4
# History is judged where so many of its configurations and so many of the sampler's have come.
FEWEST_WARM, FEWEST_OWN = 2, 3
# It misleads if its trials fall behind so far that chance alone would do it at most so often.
CHANCE = 0.05


def guard_of(spec: StudySpec) -> int:
    """For how many reports the pruner does not end a warm trial: as `warm_start.guard` says, else 4, or until it is
    past the pruner's `min_resource`, counted from 0 or from 1."""
    given = (spec.warm_start or WarmStartSpec()).guard
    if given is not None:
        return given
    first = algorithms.with_defaults(spec.pruner.name, spec.pruner.options).get("min_resource")
    return max(GUARD, first + 1) if isinstance(first, int) else GUARD


# --- while a study runs


class WarmStart:
    """Hands out the candidates, every other time it is asked, guards their first steps against the pruner, and stops
    both when the history turns out to mislead: when at least two of its trials came to a step that at least three of
    the sampler's came to as well, its best is worse there than their median, and were they all alike, that so many of
    the sampler's are better than any of its would happen in at most one of twenty studies. Judged are its trials'
    first reports, which nothing was pruned before, and those from the `guard`th on: between them the sampler's are
    the survivors of a first rung, and good configurations may be slow starters.

    guard: for so many of a trial's reports the pruner's answer is not listened to. maximize: of the first metric.
    `trusted`, and if not, `why`; `misled`: numbers of the trials that showed it, all of them worse than that median,
    which need not go on. (The first ones on a rung of successive halving pass it, however bad they are.)"""

    def __init__(self, candidates: Sequence[Candidate], guard: int, maximize: bool) -> None:
        self.trusted = True
        self.why = ""
        self.misled: frozenset[int] = frozenset()
        self._candidates = tuple(candidates)
        self._waiting = list(enumerate(self._candidates))
        self._guard = guard
        self._sign = 1.0 if maximize else -1.0
        # Of each step the values by trial: of warm ones those that are judged, and of the sampler's own all.
        self._warm: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._own: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._reports: Counter[int] = Counter()
        self._started = 0
        self._own_turn = False

    def resume(self, origins: Iterable[Mapping[str, Any]], trusted: bool = True, why: str = "") -> None:
        """What earlier runs of the study did: where its trials came from, whether history is believed, else why not."""
        used = {(origin["from"], origin.get("number")) for origin in origins if is_warm(origin)}
        open_ = [(index, one) for index, one in self._waiting if (one.study, one.number) not in used]
        # Other candidates than those of the first run, of a study that grew since, do not make it more of them.
        self._waiting = open_[: max(0, len(self._candidates) - len(used))]
        self._started = len(used)
        self.trusted, self.why = trusted, why

    def next(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The next configuration and its origin; None: it is the sampler's turn."""
        self._own_turn = not self._own_turn
        if not self._own_turn or not self.trusted or not self._waiting:
            return None
        index, one = self._waiting.pop(0)
        self._started += 1
        origin = {"source": WARM, "from": one.study, "number": one.number, "value": one.value, "index": index}
        return dict(one.params), origin

    def guards(self, origin: Mapping[str, Any], reports: int) -> bool:
        """Whether a trial that has reported `reports` steps goes on whatever the pruner says."""
        return self.trusted and is_warm(origin) and reports <= self._guard

    def seen(self, number: int, origin: Mapping[str, Any], step: int, value: float) -> str:
        """Take note of the first metric of trial `number` at `step` (FINAL: of a finished one). Returns the sentence
        that says why history is no longer trusted, once, when this value shows it."""
        if not self._candidates or not self.trusted:
            return ""
        self._reports[number] += 1
        if not is_warm(origin):
            self._own[step][number] = value
        elif step == FINAL or self._reports[number] == 1 or self._reports[number] >= self._guard:
            self._warm[step][number] = value
        why = self._verdict(step)
        if not why:
            return ""
        self.trusted, self.why, self.misled = False, why, frozenset(self._warm[step])
        return why

    def forget(self, number: int) -> None:
        """An attempt that is tried again reports its steps again."""
        self._reports.pop(number, None)
        for values in (*self._warm.values(), *self._own.values()):
            values.pop(number, None)

    def facts(self) -> dict[str, Any]:
        """What is kept in the study's attributes."""
        return {
            "studies": list(dict.fromkeys(one.study for one in self._candidates)),
            "offered": len(self._candidates),
            "started": self._started,
            "trusted": self.trusted,
            "why": self.why,
        }

    def _verdict(self, step: int) -> str:
        warm = [self._sign * value for value in self._warm[step].values()]
        own = [self._sign * value for value in self._own[step].values()]
        if len(warm) < FEWEST_WARM or len(own) < FEWEST_OWN or max(warm) >= statistics.median(own):
            return ""
        # C(own, ahead) / C(own + warm, ahead): the `ahead` best of all are the sampler's, if every order is as likely.
        ahead = sum(value > max(warm) for value in own)
        if math.comb(len(own), ahead) > CHANCE * math.comb(len(own) + len(warm), ahead):
            return ""
        best, middle = self._sign * max(warm), self._sign * statistics.median(own)
        where = "at the end" if step == FINAL else f"at step {step}"
        return (
            f"the earlier studies mislead: {where} the best of {len(warm)} trials from them has {best:.4g}, the median "
            f"of {len(own)} of the sampler's own {middle:.4g}; no more are taken from there"
        )


def is_warm(origin: Mapping[str, Any]) -> bool:
    """Whether a trial came from an earlier study; a further attempt at such a trial did too."""
    return "from" in origin


def inherited_origin(origin: Mapping[str, Any]) -> dict[str, Any]:
    """What a further attempt's origin keeps of the first one's."""
    return {key: origin[key] for key in ("from", "number", "value", "index") if is_warm(origin) and key in origin}
