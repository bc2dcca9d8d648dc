"""The report of a study: its sections in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable

from hpo.analysis.axes import varies
from hpo.analysis.confirmation import own_race
from hpo.analysis.formatting import goal, listed
from hpo.analysis.lineages import is_population, searched
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Report, Section
from hpo.reports.sections.best import best_section
from hpo.reports.sections.comparison import comparison_section
from hpo.reports.sections.confirmation import confirmation_section
from hpo.reports.sections.continued import continued_section
from hpo.reports.sections.curves import curves_section
from hpo.reports.sections.diagnosis import diagnosis_section
from hpo.reports.sections.effects import effects_section
from hpo.reports.sections.evaluation import evaluation_section
from hpo.reports.sections.failures import failures_section
from hpo.reports.sections.files import files_section
from hpo.reports.sections.focal import focal_section
from hpo.reports.sections.found import found_section
from hpo.reports.sections.ghm import ghm_section
from hpo.reports.sections.heatmaps import heatmap_section
from hpo.reports.sections.history import history_section
from hpo.reports.sections.importance import importance_section
from hpo.reports.sections.notices import notices_section
from hpo.reports.sections.pareto import pareto_section
from hpo.reports.sections.population import population_section
from hpo.reports.sections.red_flags import red_flags_section
from hpo.reports.sections.setup import setup_section
from hpo.reports.sections.significance import significance_section
from hpo.reports.sections.stability import stability_section
from hpo.reports.sections.trials import trials_section
from hpo.reports.sections.warm_start import warm_start_section
from hpo.translation.catalogue import tr

SECTIONS: tuple[Callable[[StudyRecord], Section | None], ...] = (
    found_section,
    confirmation_section,
    best_section,
    population_section,
    continued_section,
    pareto_section,
    evaluation_section,
    setup_section,
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
    trials_section,
    history_section,
    warm_start_section,
    red_flags_section,
    notices_section,
    failures_section,
    files_section,
)
# These compare configurations: trials that were continued are not in them.
OF_THE_SEARCH = (
    comparison_section,
    heatmap_section,
    effects_section,
    significance_section,
    importance_section,
    history_section,
)
# These compare trials as if each were trained alone, from its start. Segments of a population were not.
OF_SEPARATE_TRIALS = (
    comparison_section,
    heatmap_section,
    effects_section,
    significance_section,
    importance_section,
    diagnosis_section,
    stability_section,
)


# And trainings of a race are a few configurations many times; what they show is in the section on it.
NOT_OF_A_RACE = (*OF_SEPARATE_TRIALS, best_section, pareto_section)


def study_report(study: StudyRecord) -> Report:
    """Return the whole report in the current language.

    A section that has nothing to show says why; one that does not apply to the study is left out.
    """
    left_out: tuple[Callable[[StudyRecord], Section | None], ...] = OF_SEPARATE_TRIALS if is_population(study) else ()
    if own_race(study) is not None:
        left_out = NOT_OF_A_RACE
    sections = (make(searched(study) if make in OF_THE_SEARCH else study) for make in SECTIONS if make not in left_out)
    return Report(study.name, _subtitle(study), tuple(section for section in sections if section is not None))


def _subtitle(study: StudyRecord) -> str:
    names = list(dict.fromkeys(p.name for p in study.space.walk() if varies(p) and p.name != study.group_by))
    goals = listed(goal(metric) for metric in study.metrics)
    values = {"goals": goals[0].upper() + goals[1:], "parameters": listed(names), "group": study.group_by}
    if names and study.group_by:
        return tr("{goals} over {parameters}, for each {group}.", **values)
    if names:
        return tr("{goals} over {parameters}.", **values)
    return tr("{goals}, for each {group}.", **values) if study.group_by else tr("{goals}.", **values)
