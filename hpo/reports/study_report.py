"""From a study's records to its report: the sections in the order they are read."""

from __future__ import annotations

from collections.abc import Callable

from hpo.analysis.axes import searched
from hpo.analysis.formatting import goal, listed
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Report, Section
from hpo.reports.sections.best import best_configurations
from hpo.reports.sections.comparison import comparison_section
from hpo.reports.sections.curves import curves_section
from hpo.reports.sections.diagnosis import diagnosis_section
from hpo.reports.sections.effects import effects_section
from hpo.reports.sections.failures import failures
from hpo.reports.sections.files import files
from hpo.reports.sections.focal import focal_section
from hpo.reports.sections.ghm import ghm_section
from hpo.reports.sections.heatmaps import heatmap_section
from hpo.reports.sections.history import history_section
from hpo.reports.sections.importance import importance_section
from hpo.reports.sections.pareto import pareto
from hpo.reports.sections.red_flags import red_flags_section
from hpo.reports.sections.significance import significance_section
from hpo.reports.sections.stability import stability_section
from hpo.reports.sections.summary import summary
from hpo.reports.sections.warm_start import warm_start_section
from hpo.translation.catalogue import tr

SECTIONS: tuple[Callable[[StudyRecord], Section | None], ...] = (
    summary,
    best_configurations,
    pareto,
    comparison_section,
    heatmap_section,
    effects_section,
    significance_section,
    importance_section,
    curves_section,
    diagnosis_section,
    stability_section,
    ghm_section,
    focal_section,
    history_section,
    warm_start_section,
    red_flags_section,
    failures,
    files,
)


def report_of(study: StudyRecord) -> Report:
    """The whole report. A section that has nothing to say says why; one that does not apply is None."""
    sections = (make(study) for make in SECTIONS)
    return Report(study.name, _subtitle(study), tuple(section for section in sections if section is not None))


def _subtitle(study: StudyRecord) -> str:
    names = [name for name in searched(study.space) if name != study.group_by]
    goals = listed(goal(metric) for metric in study.metrics)
    values = {"goals": goals[0].upper() + goals[1:], "parameters": listed(names), "group": study.group_by}
    if names and study.group_by:
        return tr("{goals} over {parameters}, for each {group}.", **values)
    if names:
        return tr("{goals} over {parameters}.", **values)
    return tr("{goals}, for each {group}.", **values) if study.group_by else tr("{goals}.", **values)
