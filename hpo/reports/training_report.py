"""From one training to its report: the verdict and what to do, the curves, the losses, and what the recorded arrays say
of its reweighting."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.analysis.formatting import configuration
from hpo.analysis.training.diagnosis import Diagnosis, diagnose
from hpo.analysis.training.training_log import TrainingLog
from hpo.reports.blocks import Report, Section
from hpo.reports.sections.focal import focal_blocks
from hpo.reports.sections.ghm import ghm_blocks
from hpo.reports.sections.training import sections
from hpo.reports.sections.verdict_text import reason, recommendation
from hpo.reports.study_json import heading
from hpo.reports.write import Written, write_pages
from hpo.translation.catalogue import ENGLISH, language, tr, trn


def write_diagnosis(found: Diagnosis, folder: Path, images: str | None = None) -> Written:
    """diagnosis.html, .md and .json, in the current language, as `write_pages` does. Raises ReportError."""
    return write_pages(report_of(found), diagnosis_data(found), folder, layout.DIAGNOSIS, images)


def diagnosis_report(log: TrainingLog) -> Report:
    """In the current language."""
    return report_of(diagnose(log))


def report_of(found: Diagnosis) -> Report:
    log = found.log
    title = tr("Diagnosis of {training}", training=log.name)
    subtitle = trn("{n} epoch was written down.", "{n} epochs were written down.", found.epochs)
    if log.params:
        subtitle = tr("Trained with {configuration}.", configuration=configuration(log.params))
    parts = list(sections(found))
    if blocks := ghm_blocks(log):
        parts.append(Section(tr("Gradient harmonizing (GHM)"), "ghm", blocks))
    if blocks := focal_blocks(log):
        parts.append(Section(tr("Focal loss"), "focal", blocks))
    return Report(title, subtitle, tuple(parts))


def diagnosis_data(found: Diagnosis) -> dict[str, Any]:
    """What it says, for programs: names are those of the dataclasses, numbers are not rounded, texts are English."""
    own = {field.name: getattr(found, field.name) for field in fields(found) if field.name not in ("log", "advice")}
    with language(ENGLISH):
        judged = vars(found.judgement) | {"reason": reason(found.judgement)}
        evidence = type(found.judgement.evidence).__name__ if found.judgement.evidence is not None else None
        advice = [vars(one) | {"text": recommendation(one)} for one in found.advice]
        words = found.risk.word if found.risk is not None else None
    return heading("diagnosis") | {
        "training": found.log.name,
        "state": found.log.state,
        "params": found.log.params,
        **own,
        "judgement": judged | {"evidence_kind": evidence},
        "risk_word": words,
        "advice": advice,
    }
