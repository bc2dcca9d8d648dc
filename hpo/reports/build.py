"""Writes report.md and report.html of a study."""

from __future__ import annotations

import os
from pathlib import Path

from hpo import layout
from hpo.analysis.records import StudyRecord, read_study
from hpo.errors import ReportError
from hpo.reports import html, markdown
from hpo.reports.report import report_of

MARKDOWN, HTML = layout.REPORTS


def write_report(runs: Path, name: str) -> tuple[Path, Path]:
    """Writes the report of a study and returns the paths (report.md, report.html) in `runs/<name>/`.

    Raises StudyNotFound, or ReportError when it cannot be written."""
    return write(read_study(runs, name))


def write(study: StudyRecord) -> tuple[Path, Path]:
    report = report_of(study)
    pages = {MARKDOWN: markdown.render(report), HTML: html.render(report)}
    paths = []
    for name, text in pages.items():
        path = study.directory / name
        try:
            study.directory.mkdir(parents=True, exist_ok=True)
            # Whoever has the old report open never sees half of the new one.
            partial = path.with_name(f"{name}.{os.getpid()}.partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise ReportError(f"the report {path} cannot be written: {error.strerror or error}") from error
        paths.append(path)
    return paths[0], paths[1]
