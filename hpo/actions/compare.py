"""Comparison of studies or trials, as a report in the folder of the first one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo import layout
from hpo.analysis.formatting import listed, with_direction
from hpo.analysis.records import read_study
from hpo.analysis.study_comparison import Side, StudyComparison, common_metrics
from hpo.errors import NotComparable, StudyNotFound
from hpo.reports.comparison_report import comparison_data, comparison_report
from hpo.reports.write import WrittenReport, write_pages


def read_sides(runs: Path, given: Sequence[tuple[str, int | None]]) -> tuple[Side, ...]:
    """Read studies and trials, given as (study, number of a trial or None), as sides of a comparison.

    Raises:
        StudyNotFound: If a study or a trial is not there.
        NotComparable: For fewer than two sides, for one given twice, for studies beside trials, and if no metric is
            common to all.
    """
    names = [study if number is None else f"{study}/{number}" for study, number in given]
    if len(names) < 2:
        raise NotComparable(f"{listed(names)} alone cannot be compared; expected two studies, or two trials")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NotComparable(f"{twice} is given twice; expected each study or trial once")
    if len({number is None for _, number in given}) > 1:
        raise NotComparable(
            f"{listed(names)} are studies and trials; expected either studies or trials, such as {given[0][0]}/0"
        )
    studies = {study: read_study(runs, study) for study, _ in given}
    sides = []
    for name, (study, number) in zip(names, given, strict=True):
        record = studies[study]
        trial = None
        if number is not None:
            trial = next((one for one in record.trials if one.number == number), None)
            if trial is None:
                there = f"it has trials 0 to {len(record.trials) - 1}" if record.trials else "it has no trial yet"
                raise StudyNotFound(f"study '{study}' has no trial {number}; {there}")
        sides.append(Side(name, record, trial))
    if not common_metrics(sides):
        goals = (f"{side.name} has {listed(with_direction(metric) for metric in side.study.metrics)}" for side in sides)
        raise NotComparable(
            f"there is no metric to compare by: {'; '.join(goals)}; expected one of equal name and direction in all"
        )
    return tuple(sides)


def write_comparison(
    runs: Path, sides: Sequence[Side], found: StudyComparison, folder: Path | None = None, images: str | None = None
) -> WrittenReport:
    """Write what was found of these sides into `folder`, else into that of the first study.

    Raises:
        AccessDenied: If this user may not write there.
        ReportError: If a file cannot be written.
    """
    target = folder or layout.study_directory(runs, sides[0].study.name)
    return write_pages(comparison_report(found), comparison_data(found), target, stem_of(sides), images)


def stem_of(sides: Sequence[Side]) -> str:
    """Return `comparison-with-<B>`, for trials `trial-3-comparison-with-<B>-12`."""
    others = "-and-".join(side.name.replace("/", "-") for side in sides[1:])
    first = "" if sides[0].trial is None else f"trial-{sides[0].trial.number}-"
    return f"{first}comparison-with-{others}"
