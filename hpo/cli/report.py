"""`hpo report`: write a study's report again, of as much as has finished."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from hpo.cli.common import (
    emit,
    find_study,
    json_option,
    output_option,
    page_options,
    present_report,
    runs_option,
    study_argument,
    write_where_allowed,
)
from hpo.cli.output import say_document


@click.command(
    epilog="""\b
Examples:
  hpo report                        of the study last driven
  hpo report quickstart --open      and show it in the browser
  hpo report --lang zh-TW           in Traditional Chinese, beside the English one
  hpo report --images               report.md with its figures
  hpo report quickstart --runs /home/ann/runs -o .
                                    of another user's study
  hpo report --json | jq -r .html
"""
)
@study_argument
@output_option("Write it to this folder; that of the study otherwise.")
@page_options
@runs_option
@json_option
def report(
    study: str | None,
    output: Path | None,
    lang: str | None,
    images: str | None,
    show: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Write the report of a study again.

    It goes into the study's folder: report.html, report.md and, for programs, report.json. The study may still be
    running, and may be another user's: -o DIR writes it to a folder of your own. STUDY is a name in the runs folder
    or a YAML; by default the study last driven.
    """
    from hpo.reports.write import write_report
    from hpo.translation.catalogue import chosen, language

    code = chosen(lang)
    name = find_study(runs, study)
    with language(code):
        written = write_where_allowed(lambda: write_report(runs, name, images, output), output, needed=True)
    assert written is not None
    if as_json:
        emit({"study": name, "language": code, **asdict(written)}, say_document)
    present_report(written, show, quiet=as_json)
