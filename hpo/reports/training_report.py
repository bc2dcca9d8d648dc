"""The report of `hpo diagnose` on one training: the verdict and what to do, the curves, the losses, the reweighting."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.analysis.formatting import configuration
from hpo.analysis.training.diagnosis import Diagnosis
from hpo.reports.blocks import Report, Section
from hpo.reports.sections.focal import focal_blocks
from hpo.reports.sections.ghm import ghm_blocks
from hpo.reports.sections.training import diagnosis_sections
from hpo.reports.sections.verdict_text import reason, recommendation
from hpo.reports.study_json import json_header
from hpo.reports.write import WrittenReport, write_pages
from hpo.translation.catalogue import ENGLISH, language, tr, trn


def write_diagnosis(found: Diagnosis, folder: Path, images: str | None = None) -> WrittenReport:
    """Write diagnosis.html, .md and .json into `folder`, in the current language; see `write_pages`.

    Raises:
        ReportError: If a file cannot be written.
    """
    return write_pages(training_report(found), diagnosis_data(found), folder, layout.DIAGNOSIS, images)


def training_report(found: Diagnosis) -> Report:
    """Return the diagnosis as a report in the current language."""
    log = found.log
    title = tr("Diagnosis of {training}", training=log.name)
    subtitle = trn("{n} epoch was written down.", "{n} epochs were written down.", found.epochs)
    if log.params:
        subtitle = tr("Trained with {configuration}.", configuration=configuration(log.params))
    parts = list(diagnosis_sections(found))
    if blocks := ghm_blocks(log):
        parts.append(Section(tr("Gradient harmonizing (GHM)"), "ghm", blocks))
    if blocks := focal_blocks(log):
        parts.append(Section(tr("Focal loss"), "focal", blocks))
    return Report(title, subtitle, tuple(parts))


def diagnosis_data(found: Diagnosis) -> dict[str, Any]:
    """Return what `diagnosis.json` holds, for programs.

    Names are those of the dataclasses. Numbers are not rounded. Texts are English.
    """
    own = {field.name: getattr(found, field.name) for field in fields(found) if field.name not in ("log", "advice")}
    with language(ENGLISH):
        judged = vars(found.judgement) | {"reason": reason(found.judgement)}
        evidence = type(found.judgement.evidence).__name__ if found.judgement.evidence is not None else None
        advice = [vars(one) | {"text": recommendation(one)} for one in found.advice]
        words = found.risk.word if found.risk is not None else None
    return json_header("diagnosis") | {
        "training": found.log.name,
        "state": found.log.state,
        "params": found.log.params,
        **own,
        "judgement": judged | {"evidence_kind": evidence},
        "risk_word": words,
        "advice": advice,
    }
