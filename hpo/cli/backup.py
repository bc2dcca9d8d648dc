"""`hpo backup`: save studies, also while they run."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import find_study, runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import echo, say
from hpo.errors import StudyNotFound
from hpo.text import count


@click.command(
    epilog="""\b
Examples:
  hpo backup --to runs-$(date +%F).tar       all studies of ./runs
  hpo backup quickstart --to quickstart.tar.gz
  hpo backup --to /backup/runs-monday        a folder
  hpo restore --from runs-2026-01-31.tar     brings them back, here or elsewhere

\b
Exit code: 0 all is saved; 1 a study could not be (it says which and why).
"""
)
@click.argument("studies", nargs=-1, metavar="[STUDY]...", shell_complete=study_names)
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A new .tar, .tar.gz or folder.",
)
@runs_option
def backup(studies: tuple[str, ...], target: Path, runs: Path) -> int:
    """Save studies, also while they run.

    Of each study: its trials in Optuna, from whichever storage, and its folder with every history,
    checkpoint and report. What a running trial has done is saved as far as it came: once restored,
    it goes back in the queue, as after a kill. Not saved are MLflow's runs, which `hpo restore` writes
    again from the study. STUDY is a name in the runs folder or a YAML; by default all studies, and
    imported knowledge.
    """
    from hpo.actions.backup import backup as save

    names = [find_study(runs, study) for study in dict.fromkeys(studies)] or layout.studies_in(runs)
    if not names:
        raise StudyNotFound(f"there is no study in {runs}; --runs DIR or $HPO_RUNS names another folder")
    saved, failed = save(
        runs, list(dict.fromkeys(names)), layout.absolute(target), not studies, lambda text: echo(text, err=True)
    )
    for one in saved:
        found = "its files alone: its storage does not have it" if one.trials is None else count(one.trials, "trial")
        say(f"saved study '{one.study}' ({found})")
    for sentence in failed:
        echo(f"hpo: {sentence}", err=True)
    say(f"{target}: `hpo restore --from {target}` brings {'it' if len(saved) == 1 else 'them'} back")
    return 1 if failed else 0
