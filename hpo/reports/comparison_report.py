"""The report of `hpo compare`: its sections in the order in which they are read, and its data."""

from __future__ import annotations

from typing import Any

from hpo.analysis.formatting import listed
from hpo.analysis.study_comparison import StudyComparison
from hpo.reports.blocks import Report
from hpo.reports.sections.study_comparison import (
    best_section,
    budget_section,
    curves_section,
    differences_section,
    overview_section,
    stability_section,
    tests_section,
)
from hpo.reports.study_json import json_header
from hpo.translation.catalogue import tr


def comparison_report(data: StudyComparison) -> Report:
    """Return the comparison as a report in the current language."""
    sections = (
        overview_section(data),
        differences_section(data),
        best_section(data),
        budget_section(data),
        tests_section(data),
        curves_section(data),
        stability_section(data),
    )
    title = tr("{first} against {others}", first=data.sides[0], others=listed(data.sides[1:]))
    if data.whole:
        subtitle = tr("Studies beside each other; the first is what the others are compared with.")
    else:
        subtitle = tr("Trials beside each other; the first is what the others are compared with.")
    return Report(title, subtitle, tuple(section for section in sections if section is not None))


def comparison_data(data: StudyComparison) -> dict[str, Any]:
    """Return what `comparison-with-<B>.json` holds: all but the curves, which are in the trials' histories."""
    own = {name: value for name, value in vars(data).items() if name != "trainings"}
    return json_header("comparison") | own
