"""`hpo report`: write a study's report again, of as much as has finished."""

from __future__ import annotations

from pathlib import Path

import click

from hpo.cli.common import emit, find_study, json_option, runs_option, study_argument


@click.command(
    epilog="""\b
Examples:
  hpo report                        of the study last driven
  hpo report quickstart --open      and show it in the browser
  hpo report --json | jq -r .html
"""
)
@study_argument
@click.option("--open", "show", is_flag=True, help="Open report.html in the browser.")
@runs_option
@json_option
def report(study: str | None, show: bool, runs: Path, as_json: bool) -> None:
    """Write the report of a study again.

    A study that is still running may be reported on too. STUDY is a name in the runs folder or a
    YAML; by default the study last driven."""
    from hpo.reports.build import write_report

    name = find_study(runs, study)
    markdown, html = write_report(runs, name)
    if as_json:
        emit({"study": name, "markdown": markdown, "html": html})
    else:
        click.echo(f"{html}\n{markdown}")
    if show and click.launch(str(html)) != 0:
        click.echo(f"no browser could be started here; open {html} yourself", err=True)
