"""An evaluation as it is stored, and the stored ones of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hpo import layout
from hpo.analysis.cache import cached_per_study
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.storage.evaluations import stored_evaluations

FORMAT = 1
SAME_DATA, VALIDATION = "evaluated data", "validation split"  # what a threshold was chosen on
COUNTS_ALONE, MANY_RANKS = "counts without groups", "too many ranks"  # why there are no intervals


@dataclass(frozen=True)
class Score:
    """A score, and the ends of its 95 % interval where there is one."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Confusion:
    """Counts of items: a row a class, a column the class that was predicted.

    Attributes:
        threshold: The score above which an item was called positive; None for predicted classes.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]
    threshold: float | None = None


@dataclass(frozen=True)
class Curves:
    """Curves of a binary score.

    Attributes:
        roc: (false-positive rate, sensitivity).
        precision_recall: (recall, precision).
        prevalence: Share of positives.
    """

    roc: tuple[tuple[float, float], ...]
    precision_recall: tuple[tuple[float, float], ...]
    prevalence: float


@dataclass(frozen=True)
class Threshold:
    """A threshold that was chosen for a specificity.

    Attributes:
        wanted: The specificity that was asked for.
        threshold: What is above it is called positive.
        chosen_on: VALIDATION or SAME_DATA.
        there: Specificity and sensitivity on what it was chosen on.
        specificity: On the evaluated data.
        sensitivity: Likewise.
        why: Why it was not chosen on the validation split.
    """

    wanted: float
    threshold: float
    chosen_on: str
    there: tuple[float | None, float | None]
    specificity: Score
    sensitivity: Score
    why: str = ""


@dataclass(frozen=True)
class Calibration:
    """Reliability of probabilities.

    Attributes:
        bins: (items, mean score, share of positives) of equal bins of 0 to 1; None where a bin is empty.
    """

    bins: tuple[tuple[float, float | None, float | None], ...]
    ece: float
    brier: float


@dataclass(frozen=True)
class Example:
    """Images of one item, as data URIs of PNG files by what they show.

    Attributes:
        kind: "worst" or "best".
    """

    name: str
    kind: str
    score: float
    images: dict[str, str]


@dataclass(frozen=True)
class Evaluation:
    """Scores of a trial's kept weights on held-out data.

    Attributes:
        when: Seconds since the epoch.
        data: The folder; None for the study's own test split.
        n: Number of items.
        items: What an item is.
        groups: Number of groups that were drawn by the bootstrap; None: items were.
        grouped_by: What a group is.
        scores: By name.
        notes: COUNTS_ALONE or MANY_RANKS, or nothing.
    """

    study: str
    trial: int
    params: dict[str, Any]
    when: float
    data: str | None
    weights: str
    seconds: float
    n: float | None
    items: str
    groups: int | None
    grouped_by: str
    scores: dict[str, Score]
    confusion: Confusion | None = None
    curves: Curves | None = None
    threshold: Threshold | None = None
    calibration: Calibration | None = None
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def units(self) -> float | None:
        """Number of units that the bootstrap drew from."""
        return self.groups if self.groups is not None else self.n


_ADAPTER = TypeAdapter(Evaluation)


def to_json(evaluation: Evaluation) -> bytes:
    """Return an evaluation as the JSON that is stored."""
    return _ADAPTER.dump_json(evaluation, indent=1)


@cached_per_study
def evaluations_of(study: StudyRecord) -> tuple[tuple[TrialRecord, tuple[Evaluation, ...]], ...]:
    """Return the trials that were evaluated, each with its evaluations, the oldest first.

    Files of another trial, of another format and damaged ones are passed over.
    """
    found = []
    for trial in study.trials:
        read = stored_evaluations(layout.trial_directory(study.directory, trial.number))
        own = [one for one in map(_parsed, read) if one is not None and _is_of(one, trial)]
        if own:
            found.append((trial, tuple(own)))
    return tuple(found)


def _parsed(data: dict[str, Any]) -> Evaluation | None:
    try:
        return _ADAPTER.validate_python(data) if data.get("format") == FORMAT else None
    except ValidationError:
        return None


def _is_of(evaluation: Evaluation, trial: TrialRecord) -> bool:
    return evaluation.trial == trial.number and evaluation.params == dict(trial.params)
