"""`hpo export`: a study's trials and histories for other programs, and its tables and figures for a paper."""

from __future__ import annotations

from pathlib import Path

import click

from hpo.cli.common import find_study, runs_option, study_argument
from hpo.cli.output import echo, say
from hpo.text import count, listing, redact

WIDTHS = {"single": 3.5, "double": 7.2}  # inches
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(
    epilog="""\b
Examples:
  hpo export quickstart --csv out/              trials.csv, histories.csv, study.yaml
  hpo export quickstart --parquet out/
  hpo export quickstart --optuna sqlite:///plain.db
  hpo export quickstart --latex paper/          tables, methods paragraph, figures as PDF and SVG
  hpo export quickstart --latex paper/ --width double

\b
`hpo import csv out/` and `hpo import optuna plain.db` bring such trials into a study again.
"""
)
@study_argument
@click.option("--csv", "csv", type=_FOLDER, metavar="DIR", help="Write trials and histories as CSV.")
@click.option("--parquet", type=_FOLDER, metavar="DIR", help="Write trials and histories as Parquet.")
@click.option(
    "--optuna", "url", metavar="URL", help="Write a study of Optuna's into a storage, such as sqlite:///x.db."
)
@click.option("--name", metavar="NAME", help="Name of the study there.  [default: that of the study]")
@click.option("--latex", type=_FOLDER, metavar="DIR", help="Write tables, a methods paragraph and figures for a paper.")
@click.option(
    "--width",
    type=click.Choice(tuple(WIDTHS)),
    help="Of figures: one column, 3.5 in, or both, 7.2 in.  [default: as fits]",
)
@click.option("--no-figures", is_flag=True, help="Write no figures: they need kaleido and a Chromium.")
@runs_option
def export(
    study: str | None,
    csv: Path | None,
    parquet: Path | None,
    url: str | None,
    name: str | None,
    latex: Path | None,
    width: str | None,
    no_figures: bool,
    runs: Path,
) -> int:
    """Export a study: CSV, Parquet, Optuna, LaTeX.

    STUDY is a name in the runs folder or a YAML; by default the study last driven. Nothing of the study is changed, and
    it may be running: what has ended by then is exported.
    """
    if not any((csv, parquet, url, latex)):
        raise click.UsageError("nothing to export was named; expected --csv, --parquet, --optuna or --latex")
    if name and not url:
        raise click.UsageError("--name is the name of a study in a storage; it goes with --optuna URL")
    if (width or no_figures) and not latex:
        raise click.UsageError("--width and --no-figures are about the figures of --latex DIR")
    from hpo.analysis.records import records_of
    from hpo.layout import study_directory
    from hpo.storage.load_study import load_study

    found = find_study(runs, study)
    spec, stored = load_study(runs, found)
    record = records_of(stored, spec, study_directory(runs, found))
    files: list[Path] = []
    if csv is not None:
        from hpo.storage.ownership import key_of
        from hpo.transfer.export_tables import write_csv

        files += write_csv(record, csv, key_of(stored))
    if parquet is not None:
        from hpo.transfer.export_tables import write_parquet

        files += write_parquet(record, parquet)
    if files:
        say("\n".join(map(str, files)))
    if url is not None:
        from hpo.transfer.export_optuna import write_optuna

        there = name or record.name
        new, known = write_optuna(record, stored, url, there, lambda text: echo(text, err=True))
        before = f"; {known} were there already" if known else ""
        say(f"study '{there}' in {redact(url)} has {count(new, 'new trial')}{before}")
    if latex is None:
        return 0
    from hpo.transfer.paper import write_paper

    paper = write_paper(record, stored, latex, WIDTHS[width] if width else None, not no_figures)
    say("\n".join(map(str, (file for file in paper.files if file.suffix != ".svg"))))
    if paper.small:
        echo(f"their letters are small in that width, --width double may be better: {listing(paper.small)}", err=True)
    if paper.not_drawn:
        echo(
            f"hpo: the figures were not drawn: {paper.not_drawn}; all else is written (--no-figures asks for that)",
            err=True,
        )
        return 1
    return 0
