"""Sentences on an evaluation, the same in a terminal and in a report."""

from __future__ import annotations

from hpo.analysis.evaluation_records import COUNTS_ALONE, MANY_RANKS, SAME_DATA, Evaluation, Score
from hpo.analysis.formatting import number
from hpo.analysis.statistics.bootstrap import FEW_UNITS, FEWEST_UNITS, REPLICATES
from hpo.translation.catalogue import mark, sentences, tr, whole

PLACES = 3  # significant digits of an interval
# Words of the built-in tasks for their items and groups; those of other objectives stay as they are.
KNOWN = (
    *(mark("items"), mark("groups"), mark("patients"), mark("photographs")),
    *(mark("slices"), mark("pixels"), mark("clips"), mark("records")),
)


def value_text(score: Score) -> str:
    """Return the value of a score."""
    return "—" if score.value is None else number(score.value)


def interval_text(score: Score) -> str:
    """Return the interval of a score as `0.81 to 0.93`; empty without one."""
    if score.low is None or score.high is None:
        return ""
    return tr("{low} to {high}", low=number(score.low, PLACES), high=number(score.high, PLACES))


def with_interval(score: Score) -> str:
    """Return a score as `0.87 (0.81 to 0.93)`."""
    span = interval_text(score)
    return f"{value_text(score)} ({span})" if span else value_text(score)


def sample_text(evaluation: Evaluation) -> str:
    """Return `1,200 photographs of 310 patients`."""
    n = whole(round(evaluation.n or 0))
    items = word(evaluation.items)
    if evaluation.groups is None:
        return tr("{n} {items}", n=n, items=items)
    groups = whole(evaluation.groups)
    return tr("{n} {items} of {m} {groups}", n=n, items=items, m=groups, groups=word(evaluation.grouped_by))


def word(text: str) -> str:
    """Return a word for items or groups in the language of the report."""
    return tr(text) if text in KNOWN else text


def has_intervals(evaluation: Evaluation) -> bool:
    """Return True if any score has an interval."""
    return any(score.low is not None for score in evaluation.scores.values())


def interval_sentence(evaluation: Evaluation) -> str:
    """Return what was drawn for the intervals; empty without any."""
    if not has_intervals(evaluation):
        return ""
    what = word(evaluation.grouped_by or evaluation.items)
    return tr("Intervals: bootstrap of {what}, {replicates} times, 95 %.", what=what, replicates=whole(REPLICATES))


def threshold_texts(evaluation: Evaluation) -> list[str]:
    """Return the sentence on the threshold for a specificity, if one was asked for."""
    found = evaluation.threshold
    if found is None:
        return []
    wanted, threshold = f"{found.wanted:g}", number(found.threshold)
    specificity, sensitivity = with_interval(found.specificity), with_interval(found.sensitivity)
    if found.chosen_on == SAME_DATA:
        text = tr(
            "Above {threshold}, specificity is {specificity} and sensitivity {sensitivity}. The threshold was chosen "
            "for a specificity of {wanted} on these data too, so both are optimistic.",
            threshold=threshold,
            specificity=specificity,
            sensitivity=sensitivity,
            wanted=wanted,
        )
        return [sentences([text, tr("Why: {reason}.", reason=found.why) if found.why else ""])]
    there = [value_text(Score(value)) for value in found.there]
    return [
        tr(
            "Above {threshold}, specificity is {specificity} and sensitivity {sensitivity}. The threshold was chosen "
            "for a specificity of {wanted} on the validation split (there {spec} and {sens}) and judged on these data.",
            threshold=threshold,
            specificity=specificity,
            sensitivity=sensitivity,
            wanted=wanted,
            spec=there[0],
            sens=there[1],
        )
    ]


def calibration_sentence(evaluation: Evaluation) -> str:
    """Return how far probabilities are from what happens; empty where there are none."""
    found = evaluation.calibration
    if found is None:
        return ""
    bins = [(n, score, rate) for n, score, rate in found.bins if n and score is not None and rate is not None]
    items = sum(n for n, _, _ in bins)
    offset = sum(n * (score - rate) for n, score, rate in bins) / items
    values = {"ece": number(found.ece, PLACES), "brier": number(found.brier, PLACES)}
    off = number(abs(offset), PLACES)
    if abs(offset) < 0.01:
        return tr("Scores are off by {ece} on average (ECE); Brier score {brier}.", **values)
    if offset > 0:
        return tr("Scores are {off} too high on average (ECE {ece}, Brier score {brier}).", off=off, **values)
    return tr("Scores are {off} too low on average (ECE {ece}, Brier score {brier}).", off=off, **values)


def notes_of(evaluation: Evaluation) -> list[str]:
    """Return sentences on what the numbers do not show."""
    if evaluation.n is None:
        return [tr("The objective gave no predictions, so there are no intervals.")]
    what, units = word(evaluation.grouped_by or evaluation.items), round(evaluation.units or 0)
    notes = []
    if COUNTS_ALONE in evaluation.notes:
        notes.append(tr("There are no intervals: counts without groups cannot be drawn one by one."))
    elif units < FEWEST_UNITS:
        notes.append(tr("There are no intervals: they need at least two {what}.", what=what))
    elif units < FEW_UNITS and has_intervals(evaluation):
        notes.append(tr("Only {n} {what}: the intervals are rough, and too narrow.", n=units, what=what))
    if MANY_RANKS in evaluation.notes:
        notes.append(tr("An order of so many {what} gets no intervals.", what=word(evaluation.items)))
    return notes
