"""`hpo predict`: what kept weights say of new files."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.analysis.formatting import configuration, rounded_percent
from hpo.cli.common import find_study, labelled, runs_option, study_argument, trial_argument
from hpo.cli.output import echo
from hpo.text import count


@click.command(
    epilog="""\b
Examples:
  hpo predict mitochondria --data /data/new --out masks.tif
  hpo predict glaucoma 12 --data /data/new --out scores.csv    trial 12 instead of the winner
  hpo predict glaucoma --ensemble --data /data/new --out scores.csv
  hpo predict abr --data records.csv --out answers.csv --overwrite

\b
The files need no labels. The objective's module has a function
predict(trial, split, folder); the built-in tasks have one
(docs/guides/ensemble.md). Weights are kept of the best trials
(checkpoints.keep_best).
Exit code: 0 written, 1 nothing is kept of the trial or FILE is there already,
2 there is no such study, trial or function, or it failed.
"""
)
@study_argument
@trial_argument
@click.option(
    "--data", required=True, type=click.Path(exists=True, path_type=Path), metavar="DIR", help="The new files."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A .tif for masks, a .csv for all else.",
)
@click.option("--ensemble", is_flag=True, help="Average the trials of the last `hpo ensemble`.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@runs_option
def predict(
    study: str | None, trial: int | None, data: Path, out: Path, ensemble: bool, overwrite: bool, runs: Path
) -> None:
    """Write what the kept weights of the winner say of new files.

    With N the weights of trial N are asked. STUDY is a name in the runs folder or a YAML; by default the study last
    driven.
    """
    from hpo.actions.predict import predict as write

    if ensemble and trial is not None:
        raise click.UsageError(f"--ensemble asks several trials; leave out {trial}, or --ensemble")
    name = find_study(runs, study)
    found = write(runs, name, layout.absolute(data), layout.absolute(out), trial, ensemble, overwrite)
    shares = [
        f"trial {one.number} ({configuration(one.params)})" + (f", {rounded_percent(weight)}" if ensemble else "")
        for one, weight in found.trials
    ]
    pairs = [("study", name), ("weights", shares[0]), *(("", share) for share in shares[1:])]
    echo(
        labelled([*pairs, ("data", str(data)), ("written", f"{found.out}: {count(found.items, 'item')}, {found.what}")])
    )
