"""Comparison of a trial with a second training of it: what is equal, and which recorded thing has changed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scipy import stats

from hpo.analysis.ranking import repeats
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.summary_statistics import deviation
from hpo.spec.models import Metric
from hpo.trial import EXCEPTION, INVALID, OBJECTIVE, OUT_OF_MEMORY

# Causes of an end that the objective brings about, and that a second training is to meet by itself.
ENDS_BY_ITSELF = frozenset({EXCEPTION, INVALID, OBJECTIVE, OUT_OF_MEMORY})
# Two-sided: a second training outside of it would come once in twenty by the seed alone.
_LEVEL = 0.975
# Times and memory differ from run to run. A metric of the study is never taken for one.
_MEASURED = re.compile(
    r"(?:^|_)(?:seconds?|minutes|hours|time|elapsed|duration|ms|fps|mib|mb|gib|gb|bytes|memory)(?:_|$)"
)
_RATE = re.compile(r"_per_(?:second|s|minute)$")


@dataclass(frozen=True)
class Facts:
    """Records of a training, as far as its numbers may depend on it. What is not known is empty or None.

    Attributes:
        seed: The trial's own.
        environment: `packages`, `python`, `platform`, `processor`, `device` and `threads`.
        commit: That of git.
        sources: Hashes of the objective's files by their paths.
        splits: What the objective wrote to data.json.
        data: Marks of the data files that study.yaml names.
        diff: What git says was changed since the commit, without passwords.
        diff_bytes: The size of that, also where it was too large to be kept.
    """

    seed: int | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    diff: str = ""
    diff_bytes: int = 0


@dataclass(frozen=True)
class Changed:
    """A recorded thing that differs between two trainings; before or after is empty where it was not there.

    Attributes:
        kind: seed, package, python, platform, processor, device, threads, source, commit, data or "data file".
        name: The package, file or split; empty for the others.
        before: Its value when the trial was trained first.
        after: Its value now.
    """

    kind: str
    name: str
    before: str
    after: str

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}".rstrip()
        if not self.before or not self.after:
            return f"{what} is new: {self.after}" if self.after else f"{what} is gone (was {self.before})"
        if self.kind in ("source", "data file"):
            return f"{what} has other content"
        return f"{what} is {self.after}, was {self.before}"


def changes(before: Facts, after: Facts) -> list[Changed]:
    """Return what differs, the likeliest causes first. What only one side has recorded is not known to differ."""
    found = [*_one("seed", before.seed, after.seed)]
    found += _each("data", _splits(before), _splits(after))
    found += _each("data file", before.data, after.data)
    found += _each("source", before.sources, after.sources)
    for name in ("device", "threads", "processor", "python", "platform"):
        found += _one(name, before.environment.get(name), after.environment.get(name))
    found += _each("package", _mapping(before.environment, "packages"), _mapping(after.environment, "packages"))
    return [*found, *_one("commit", before.commit, after.commit)]


def unknown(facts: Facts) -> list[str]:
    """Return what was not recorded of a training, in words."""
    known = {
        "the seed": facts.seed is not None,
        "packages": bool(facts.environment.get("packages")),
        "device and threads": bool(facts.environment),
        "the objective's files": bool(facts.sources),
        "the git commit": bool(facts.commit),
        "the data": bool(facts.splits or facts.data),
    }
    return [what for what, is_known in known.items() if not is_known]


# --- what the two trainings gave


@dataclass(frozen=True)
class Noise:
    """Difference of a final value from the recorded one, measured by the spread over seeds.

    Attributes:
        metric: The metric.
        before: The recorded value.
        after: That of the second training.
        n: Number of trainings of the same configuration with different seeds; 0 or 1: the spread is not known.
        deviation: Their standard deviation; None if it is not known.
    """

    metric: str
    before: float
    after: float
    n: int
    deviation: float | None

    @property
    def z(self) -> float | None:
        """The difference over its standard deviation: sqrt(2) times that of one training. None if that is not known."""
        if self.deviation is None or not math.isfinite(self.deviation):
            return None
        difference = self.after - self.before
        return difference / (math.sqrt(2) * self.deviation) if self.deviation else math.copysign(math.inf, difference)

    @property
    def within(self) -> bool:
        """True if the difference is no larger than that of two seeds may be, by Student's t with n - 1 degrees."""
        return self.z is not None and abs(self.z) <= stats.t.ppf(_LEVEL, self.n - 1)


@dataclass(frozen=True)
class Divergence:
    """The first step at which a metric differs, and its values; a value that is missing is None."""

    metric: str
    step: int | None
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Comparison:
    """Comparison of the numbers of two trainings.

    Attributes:
        steps: Number of steps that were compared.
        equal: Names that are equal bit for bit wherever they were reported or returned.
        first: The first difference of each of the study's metrics that differs, the earliest first.
        others: The same of other metrics.
        measured: Names that were left out as times and memory.
        noise: For each of the study's metrics that both trainings returned, the difference and the spread of seeds.
        ended: Sentence on how the ends differ; empty if both ended alike.
    """

    steps: int
    equal: tuple[str, ...]
    first: tuple[Divergence, ...]
    others: tuple[Divergence, ...]
    measured: tuple[str, ...]
    noise: tuple[Noise, ...]
    ended: str

    @property
    def verdict(self) -> str:
        """The verdict on the study's metrics: `equal`, `within noise`, `noise unknown` or `differs`."""
        if not self.first and not self.ended:
            return "equal"
        if self.ended or not self.noise:
            return "differs"
        differing = [one for one in self.noise if one.before != one.after]
        if any(one.z is None for one in differing):
            return "noise unknown"
        return "within noise" if all(one.within for one in differing) else "differs"


def is_measured(name: str) -> bool:
    """Return True if a metric's name says that it is a time or memory, which differ from run to run."""
    return bool(_MEASURED.search(name) or _RATE.search(name))


def compare(study: StudyRecord, trial: TrialRecord, again: TrialRecord) -> Comparison:
    """Compare a trial with a second training of it.

    A trial that did not complete is compared up to its last step: the second training is ended there.

    Args:
        study: The trial's study, with the repeats from which the spread over seeds is known.
        trial: The trial.
        again: The second training.
    """
    own = [metric.name for metric in study.metrics]
    names = list(dict.fromkeys([*own, *_names(trial), *_names(again)]))
    measured = tuple(name for name in names if name not in own and is_measured(name))
    found = {name: _first_difference(name, trial, again) for name in names if name not in measured}
    differing = [one for one in found.values() if one is not None]
    differing.sort(key=lambda one: math.inf if one.step is None else one.step)
    return Comparison(
        steps=trial.steps,
        equal=tuple(name for name, one in found.items() if one is None and name in {*_names(trial), *_names(again)}),
        first=tuple(one for one in differing if one.metric in own),
        others=tuple(one for one in differing if one.metric not in own),
        measured=measured,
        noise=tuple(_noise(study, trial, again)),
        ended=_ends(trial, again),
    )


def _names(trial: TrialRecord) -> dict[str, None]:
    return dict.fromkeys([*trial.reported, *trial.values])


def _first_difference(name: str, trial: TrialRecord, again: TrialRecord) -> Divergence | None:
    before, after = dict(trial.series(name)), dict(again.series(name))
    last = max((step.step for step in trial.history), default=-1)
    complete = trial.state == "COMPLETE"
    steps = sorted({*before, *(step for step in after if complete or step <= last)})
    for step in steps:
        if not _same(before.get(step), after.get(step)):
            return Divergence(name, step, before.get(step), after.get(step))
    if complete and again.state == "COMPLETE" and not _same(trial.values.get(name), again.values.get(name)):
        return Divergence(name, None, trial.values.get(name), again.values.get(name))
    return None


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def _noise(study: StudyRecord, trial: TrialRecord, again: TrialRecord) -> Iterator[Noise]:
    if not trial.state == again.state == "COMPLETE":
        return
    for metric in study.metrics:
        by_seed = {one.seed: one.values[metric.name] for one in _seeds(study, trial, metric)}
        values = trial.values[metric.name], again.values[metric.name]
        yield Noise(metric.name, *values, len(by_seed), deviation(list(by_seed.values())))


def _seeds(study: StudyRecord, trial: TrialRecord, metric: Metric) -> Iterable[TrialRecord]:
    return (one for one in repeats(study, trial, metric) if one.seed is not None)


def _ends(trial: TrialRecord, again: TrialRecord) -> str:
    """Return how the ends differ. A trial that was stopped is now stopped at the same step, for whatever reason."""
    if trial.state == "COMPLETE":
        return "" if again.state == "COMPLETE" else f"it was COMPLETE, and is {again.state} now: {again.reason}"
    if again.state == "FAIL" and (trial.state != "FAIL" or trial.reason != again.reason):
        return f"it ended because {trial.reason}; now it fails: {again.reason}"
    if trial.cause in ENDS_BY_ITSELF and (again.state, again.cause) != (trial.state, trial.cause):
        return f"it ended because {trial.reason}, and does not now"
    return ""


# --- recorded things


def _one(kind: str, before: Any, after: Any) -> list[Changed]:
    known = before not in (None, "") and after not in (None, "")
    return [Changed(kind, "", str(before), str(after))] if known and before != after else []


def _each(kind: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Changed]:
    if not before or not after:
        return []
    names = dict.fromkeys([*before, *after])
    pairs = ((name, before.get(name, ""), after.get(name, "")) for name in names)
    return [Changed(kind, name, old, new) for name, old, new in pairs if old != new]


def _splits(facts: Facts) -> dict[str, str]:
    """Return a text of each split: its fingerprint, shortened, and its number of samples."""
    return {
        f"of split {name}": f"{str(split['sha256'])[:12]} ({split.get('samples', '?')} samples)"
        for name, split in facts.splits.items()
        if split.get("sha256")
    }


def _mapping(environment: Mapping[str, Any], key: str) -> Mapping[str, str]:
    found = environment.get(key)
    return found if isinstance(found, Mapping) else {}
