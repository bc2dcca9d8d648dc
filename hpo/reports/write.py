"""Writes a report as files: a page, Markdown, JSON and, if wanted, images."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.analysis.records import StudyRecord, read_study
from hpo.errors import ReportError
from hpo.files import write_atomically
from hpo.reports import html, markdown
from hpo.reports.blocks import Report, charts_of
from hpo.reports.csv import file_name
from hpo.reports.study_json import data_of
from hpo.reports.study_report import report_of
from hpo.reports.to_json import plain
from hpo.translation.catalogue import ENGLISH, file_stem, language


@dataclass(frozen=True)
class Written:
    html: Path
    markdown: Path
    json: Path
    images: tuple[Path, ...] = ()


def write_report(runs: Path, name: str, images: str | None = None) -> Written:
    """Writes the report of a study into `runs/<name>/`. Raises StudyNotFound, ReportError."""
    return write_study(read_study(runs, name), images)


def write_study(study: StudyRecord, images: str | None = None) -> Written:
    """The report of a study in its folder, in the current language. Raises ReportError."""
    with language(ENGLISH):  # programs read one language
        data = data_of(study)
    return write_pages(report_of(study), data, study.directory, layout.REPORT, images)


def write_pages(report: Report, data: Mapping[str, Any], folder: Path, stem: str, images: str | None = None) -> Written:
    """`<stem>.html` and `<stem>.md`, with `.zh-TW` before the suffix in that language, and `<stem>.json` of `data`.

    `images`: a suffix of hpo.reports.figures.images.FORMATS; the Markdown then shows the figures, which lie in
    `<stem>-images/`. Raises ReportError when something cannot be written."""
    name = file_stem(stem)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = _draw(report, folder / f"{name}-images", images) if images else ()
        shown = [path.relative_to(folder).as_posix() for path in drawn]
        text = json.dumps(plain(data), ensure_ascii=False, indent=1, allow_nan=False)
        return Written(
            _write(folder / f"{name}.html", html.render(report)),
            _write(folder / f"{name}.md", markdown.render(report, shown)),
            _write(folder / f"{stem}.json", f"{text}\n"),
            drawn,
        )
    except OSError as error:
        path = error.filename or folder
        raise ReportError(f"the report {path} cannot be written: {error.strerror or error}") from error


def _write(path: Path, text: str) -> Path:
    # Whoever has the old report open never sees half of the new one.
    write_atomically(path, text)
    return path


def _draw(report: Report, folder: Path, suffix: str) -> tuple[Path, ...]:
    """An image a chart, in the order of the report; those of an earlier report are thrown away."""
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
