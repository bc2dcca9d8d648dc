"""Section on what the trials showed that is no error and hardly meant, and on changes of the objective."""

from __future__ import annotations

from hpo.analysis.notices import change_sentence, notices_of, unread_parameters, unread_sentence
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Section, Text
from hpo.translation.catalogue import tr


def notices_section(study: StudyRecord) -> Section | None:
    """Return a sentence for each change of the objective's files and each notice; None without any."""
    found = [*map(change_sentence, study.changes), *map(str, notices_of(study))]
    if not found:
        return None
    return Section(tr("Warnings"), "warnings", [Text(said) for said in found])


def unread_texts(study: StudyRecord) -> list[Text]:
    """Return a sentence for each searched parameter that no complete trial has read."""
    return [Text(unread_sentence(name)) for name in unread_parameters(study)]
