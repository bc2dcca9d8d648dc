"""Writes a report as files: a page, Markdown, JSON and, if wanted, images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.analysis.records import StudyRecord, read_study
from hpo.errors import ReportError
from hpo.machine.access import reason, require_write
from hpo.machine.files import replacement
from hpo.reports import html, markdown
from hpo.reports.blocks import Report, charts_of, linked_to
from hpo.reports.csv import file_name
from hpo.reports.study_json import study_data
from hpo.reports.study_report import study_report
from hpo.reports.to_json import document
from hpo.translation.catalogue import ENGLISH, file_stem, language


@dataclass(frozen=True)
class WrittenReport:
    """Paths of the files of a report."""

    html: Path
    markdown: Path
    json: Path
    images: tuple[Path, ...] = ()


def write_report(runs: Path, name: str, images: str | None = None, folder: Path | None = None) -> WrittenReport:
    """Write the report of a study into `folder`, else `runs/<name>/`, in the current language; see `write_pages`.

    Raises:
        StudyNotFound: If the runs folder has no such study.
        ReportError: If a file cannot be written.
    """
    return write_study_report(read_study(runs, name), images, folder)


def write_study_report(study: StudyRecord, images: str | None = None, folder: Path | None = None) -> WrittenReport:
    """Write the report of a study into `folder`, else into its own, in the current language; see `write_pages`.

    Raises:
        ReportError: If a file cannot be written.
    """
    with language(ENGLISH):  # programs read one language
        data = study_data(study)
    report = study_report(study)
    if folder is not None:
        report = linked_to(study.directory, report, layout.REPORTS)
    return write_pages(report, data, folder or study.directory, layout.REPORT, images)


def write_pages(
    report: Report, data: Mapping[str, Any], folder: Path, stem: str, images: str | None = None
) -> WrittenReport:
    """Write `<stem>.html`, `<stem>.md` and `<stem>.json` into `folder`.

    Page and Markdown are in the current language; in Traditional Chinese their names have `.zh-TW` before the suffix.

    Args:
        report: The report in the current language.
        data: Content of the JSON file.
        folder: Made if it does not exist.
        stem: Name of the files without a suffix.
        images: A suffix of `hpo.reports.figures.images.FORMATS`: the Markdown then shows the figures, which lie in
            `<stem>-images/`. None for no images.

    Raises:
        AccessDenied: If this user may not write there.
        ReportError: If a file cannot be written.
    """
    name = file_stem(stem)
    require_write(folder, f"the report cannot be written to {folder}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = _draw(report, folder / f"{name}-images", images) if images else ()
        shown = [path.relative_to(folder).as_posix() for path in drawn]
        return WrittenReport(
            _write(folder / f"{name}.html", [html.render(report)]),
            _write(folder / f"{name}.md", [markdown.render(report, shown)]),
            _write(folder / f"{stem}.json", document(data)),
            drawn,
        )
    except OSError as error:
        path = error.filename or folder
        raise ReportError(f"the report {path} cannot be written: {reason(error)}") from error


def _write(path: Path, pieces: Iterable[str]) -> Path:
    # Whoever has the old report open never sees half of the new one.
    with replacement(path) as file:
        file.writelines(piece.encode() for piece in pieces)
    return path


def _draw(report: Report, folder: Path, suffix: str) -> tuple[Path, ...]:
    """Draw an image for each chart, in the order of the report, and throw away those of an earlier report."""
    from hpo.reports import figures
    from hpo.reports.figures.images import write_images

    folder.mkdir(exist_ok=True)
    for old in folder.glob("[0-9][0-9]*.*"):
        old.unlink()
    found = list(charts_of(report))
    # Their paths are links in the Markdown, which not every viewer finds in other letters.
    names = [re.sub(r"[^a-z0-9]+", "-", file_name(row, chart.title)).strip("-") for row, chart in found]
    paths = tuple(folder / f"{f'{k:02}-{name}'.strip('-')}.{suffix}" for k, name in enumerate(names, start=1))
    write_images([figures.figure(chart.data) for _, chart in found], paths)
    return paths
