"""A study for a paper: tables and a paragraph in LaTeX, figures as wide as its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpo.analysis.records import StudyRecord
from hpo.errors import ReportError
from hpo.machine.files import write_atomically
from hpo.reports.blocks import charts_of
from hpo.reports.csv import file_name
from hpo.reports.study_report import study_report
from hpo.transfer import latex
from hpo.transfer.folder import prepared
from hpo.transfer.methods import methods
from hpo.translation.catalogue import ENGLISH, language

FORMATS = ("pdf", "svg")


@dataclass(frozen=True)
class Paper:
    """Files of a study for a paper.

    Attributes:
        files: Their paths.
        figures: Number of the figures.
        not_drawn: Why there are no figures; empty if there are, or if none were wanted.
        small: Figures whose letters are smaller than is easy to read.
    """

    files: tuple[Path, ...]
    figures: int
    not_drawn: str
    small: tuple[str, ...]


@dataclass(frozen=True)
class _Drawn:
    stem: str
    title: str
    inches: float
    small: bool


def write_paper(
    study: StudyRecord, stored: optuna.Study, folder: Path, width: float | None = None, figures: bool = True
) -> Paper:
    """Write `best.tex`, `anova.tex`, `methods.tex`, `methods.md`, figures as PDF and SVG, and `paper.tex` with all.

    Args:
        study: The study.
        stored: The same, as its storage has it.
        folder: Made if it is not there.
        width: Of all figures in inches; None: one column where a figure is readable in it, else both.
        figures: Draw them.

    Raises:
        TransferError: A file cannot be written.
    """
    with language(ENGLISH), prepared(folder):
        made = latex.tables(study)
        sentences = methods(study, stored)
        texts = {f"{table.stem}.tex": table.text() for table in made}
        texts["methods.tex"] = "% Every number is one that the study holds.\n" + "\n".join(
            map(latex.escaped, sentences)
        ) + "\n"  # fmt: skip
        texts["methods.md"] = " ".join(sentences) + "\n"
        drawn, not_drawn = _figures(study, folder, width) if figures else ((), "")
        shown = [(f"figures/{one.stem}.pdf", one.inches, one.title) for one in drawn]
        texts["paper.tex"] = latex.document(["methods", *(table.stem for table in made)], shown)
        for name, text in texts.items():
            write_atomically(folder / name, text)
    images = [folder / "figures" / f"{one.stem}.{suffix}" for one in drawn for suffix in FORMATS]
    files = (*(folder / name for name in texts), *images)
    return Paper(files, len(drawn), not_drawn, tuple(one.stem for one in drawn if one.small))


def _figures(study: StudyRecord, folder: Path, width: float | None) -> tuple[Sequence[_Drawn], str]:
    """Draw the figures of the report, and throw away those of an earlier export. Return them, or why there are none."""
    from hpo.reports import figures
    from hpo.reports.figures.images import READABLE, paper_size, write_images

    place = folder / "figures"
    place.mkdir(exist_ok=True)
    for suffix in FORMATS:
        for old in place.glob(f"[0-9][0-9]-*.{suffix}"):
            old.unlink()
    made, paths, sizes, drawn = [], list[Path](), [], []
    for k, (row, chart) in enumerate(charts_of(study_report(study)), start=1):
        stem = re.sub(r"[^a-z0-9]+", "-", file_name(row, chart.title)).strip("-") or "figure"
        figure = figures.figure(chart.data)
        size = paper_size(figure, width)
        title = f"{row}: {chart.title}" if row else chart.title
        drawn.append(_Drawn(f"{k:02}-{stem}", title, round(size.inches, 2), size.scale < READABLE))
        for suffix in FORMATS:
            made.append(figure)
            paths.append(place / f"{k:02}-{stem}.{suffix}")
            sizes.append(size)
    try:
        write_images(made, paths, sizes)
    except ReportError as error:
        return (), str(error).removesuffix(" Without --images a report needs no browser")
    return drawn, ""
