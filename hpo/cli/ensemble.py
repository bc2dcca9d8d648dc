"""`hpo ensemble`: an average of kept weights, beside the single winner."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.analysis.ensemble_wording import caveats, member_rows, members_text, score_rows, verdict
from hpo.analysis.formatting import configuration, duration
from hpo.cli.common import aligned, emit, find_study, json_option, labelled, runs_option, study_argument
from hpo.cli.output import echo


@click.command(
    epilog="""\b
Examples:
  hpo ensemble mitochondria                   of the five best trials whose weights are kept
  hpo ensemble mitochondria --top 3 --data /data/new
  hpo ensemble glaucoma --without-replacement each trial at most once, all of equal weight
  hpo ensemble --json | jq .held_out          of the study last driven
  hpo predict mitochondria --ensemble --data /data/new --out masks.tif

\b
The objective's module has a function predict(trial, split, folder); the
built-in tasks have one (docs/guides/ensemble.md). Members and weights are
chosen on validation alone (Caruana et al. 2004). The result is kept in
runs/<study>/ensembles and shown in the report.
Exit code: 0 selected, 1 fewer than two trials have kept weights, 2 there is
no such study or function, or it failed.
"""
)
@study_argument
@click.option("--top", type=click.IntRange(min=2), default=5, show_default=True, metavar="K", help="Candidates.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Score on this labelled folder instead of the study's own test split.",
)
@click.option("--without-replacement", "once", is_flag=True, help="Take each trial at most once.")
@runs_option
@json_option
def ensemble(study: str | None, top: int, data: Path | None, once: bool, runs: Path, as_json: bool) -> None:
    """Average the best trials' kept weights, beside the winner.

    STUDY is a name in the runs folder or a YAML; by default the study last driven. The trials and how much each counts
    are chosen on the validation split. The ensemble and the single winner are then scored on held-out data, with the
    95 % interval of their difference.
    """
    from hpo.actions.ensemble import as_json as document
    from hpo.actions.ensemble import ensemble as select

    found = select(runs, find_study(runs, study), top, layout.absolute(data) if data else None, not once)
    ensemble = found.ensemble
    if as_json:
        emit(document(found))
    else:
        where = "the study's test split" if ensemble.held_out and ensemble.held_out.data is None else data
        head = labelled(
            [
                ("study", ensemble.study),
                ("ensemble", members_text(ensemble)),
                *([("held out", str(where))] if ensemble.held_out else []),
                ("time", duration(ensemble.seconds)),
                *([("kept in", str(found.file))] if found.file else []),
            ]
        )
        names = [configuration(trial.params) for trial in found.trials]
        members = zip(member_rows(ensemble), ["configuration", *names], strict=True)
        blocks = [
            head,
            " ".join([verdict(ensemble), *caveats(ensemble)]),
            "\n".join(aligned(score_rows(ensemble), right=range(1, 5))),
            "\n".join(aligned([(*row, name) for row, name in members], right=range(3))),
        ]
        echo("\n\n".join(blocks))
    for note in found.notes:
        echo(f"warning: {note}", err=True)
