"""The running judgement on a warm start: whether what earlier studies found misleads this one."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo.spec import algorithms
from hpo.spec.models import StudySpec, WarmStartSpec
from hpo.storage.trial_attributes import WARM
from hpo.text import count
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
    """Return for how many reports the pruner does not end a trial from an earlier study that cannot wait at a rung.

    It is `warm_start.guard` if given. Otherwise it is 4, or until the trial is past the pruner's `min_resource`,
    counted from 0 or from 1.
    """
    given = (spec.warm_start or WarmStartSpec()).guard
    if given is not None:
        return given
    first = algorithms.with_defaults(spec.pruner.name, spec.pruner.options).get("min_resource")
    return max(GUARD, first + 1) if isinstance(first, int) else GUARD


# --- while a study runs


class WarmStart:
    """Candidates of earlier studies, handed out while they help.

    A candidate is given every other time, and its first steps are guarded against the pruner. Both stop when the
    earlier studies turn out to mislead. That is when at least two of their trials came to a step that at least three
    of the sampler's trials came to as well, the best of theirs is worse there than the median of the sampler's, and,
    if all were alike, so many of the sampler's would be better than any of theirs in at most one of twenty studies.
    Their trials are judged by their first report, before which nothing was pruned, and by those from the `guard`th on.
    Between them the sampler's trials are the survivors of a first rung, and good configurations may be slow starters.

    Attributes:
        trusted: False when the earlier studies mislead.
        why: Reason, if they do.
        disproved_trials: Numbers of the trials that showed it. All are worse than that median and need not go on.
    """

    def __init__(self, candidates: Sequence[Candidate], guard: int, maximize: bool) -> None:
        self.trusted = True
        self.why = ""
        self.disproved_trials: frozenset[int] = frozenset()
        self._candidates = tuple(candidates)
        self._waiting = list(enumerate(self._candidates))
        self._guard = guard
        self._sign = 1.0 if maximize else -1.0
        # Of each step the values by trial, higher is better: of warm ones those that are judged, and of the sampler's
        # own all.
        self._warm: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._own: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._own_ranked: defaultdict[int, list[float]] = defaultdict(list)  # ascending
        self._reports: Counter[int] = Counter()
        self._started = 0
        self._own_turn = False

    def resume(self, origins: Iterable[Mapping[str, Any]], trusted: bool = True, why: str = "") -> None:
        """Take over what earlier runs of the study did: the origins of its trials, and whether history is trusted."""
        used = {(origin["from"], origin.get("number")) for origin in origins if from_earlier_study(origin)}
        open_ = [(index, one) for index, one in self._waiting if (one.study, one.number) not in used]
        # Other candidates than those of the first run, of a study that grew since, do not make it more of them.
        self._waiting = open_[: max(0, len(self._candidates) - len(used))]
        self._started = len(used)
        self.trusted, self.why = trusted, why

    def next(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the next configuration and its origin; None: it is the sampler's turn."""
        self._own_turn = not self._own_turn
        if not self._own_turn or not self.trusted or not self._waiting:
            return None
        index, one = self._waiting.pop(0)
        self._started += 1
        origin = {"source": WARM, "from": one.study, "number": one.number, "value": one.value, "index": index}
        return dict(one.params), origin

    def guards(self, origin: Mapping[str, Any], reports: int) -> bool:
        """Return True if a trial with this number of reports is not stopped, whatever the pruner says."""
        return self.trusted and from_earlier_study(origin) and reports <= self._guard

    def observe(self, number: int, origin: Mapping[str, Any], step: int, value: float) -> str:
        """Note the first metric of trial `number` at `step` (FINAL: of a finished trial).

        Returns:
            The sentence that says why history is no longer trusted, if this value shows it; otherwise an empty text.
        """
        if not self._candidates or not self.trusted:
            return ""
        self._reports[number] += 1
        value *= self._sign
        if not from_earlier_study(origin):
            self._drop_own(step, number)
            self._own[step][number] = value
            insort(self._own_ranked[step], value)
        elif step == FINAL or self._reports[number] == 1 or self._reports[number] >= self._guard:
            self._warm[step][number] = value
        why = self._verdict(step)
        if not why:
            return ""
        self.trusted, self.why, self.disproved_trials = False, why, frozenset(self._warm[step])
        return why

    def forget(self, number: int) -> None:
        """Forget the values of a trial whose next attempt reports its steps again."""
        self._reports.pop(number, None)
        for values in self._warm.values():
            values.pop(number, None)
        for step in self._own:
            self._drop_own(step, number)

    def facts(self) -> dict[str, Any]:
        """Return what is kept in the study's attributes."""
        return {
            "studies": list(dict.fromkeys(one.study for one in self._candidates)),
            "offered": len(self._candidates),
            "started": self._started,
            "trusted": self.trusted,
            "why": self.why,
        }

    def _drop_own(self, step: int, number: int) -> None:
        if (value := self._own[step].pop(number, None)) is not None:
            ranked = self._own_ranked[step]
            del ranked[bisect_left(ranked, value)]

    def _verdict(self, step: int) -> str:
        warm, own = self._warm[step].values(), self._own_ranked[step]
        if len(warm) < FEWEST_WARM or len(own) < FEWEST_OWN:
            return ""
        best, middle = max(warm), (own[(len(own) - 1) // 2] + own[len(own) // 2]) / 2
        if best >= middle:
            return ""
        # C(own, ahead) / C(own + warm, ahead): the `ahead` best of all are the sampler's, if every order is as likely.
        # The numbers of combinations of a thousand trials are too large for a float, and their ratio is this product.
        ahead = len(own) - bisect_right(own, best)
        others = range(1, len(warm) + 1)
        if math.prod((len(own) - ahead + one) / (len(own) + one) for one in others) > CHANCE:
            return ""
        best, middle = self._sign * best, self._sign * middle
        where = "at the end" if step == FINAL else f"at step {step}"
        return (
            f"the earlier studies mislead: {where} the best of {count(len(warm), 'trial')} from them has {best:.4g}, "
            f"the median of {len(own)} of the sampler's own {middle:.4g}; no more are taken from there"
        )


def from_earlier_study(origin: Mapping[str, Any]) -> bool:
    """Return True if a trial, or the first attempt at it, came from an earlier study."""
    return "from" in origin


def inherited_origin(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the origin that a further attempt inherits from the first one."""
    return {
        key: origin[key] for key in ("from", "number", "value", "index") if from_earlier_study(origin) and key in origin
    }
