"""`hpo grow`: give a study a wider search space without losing what was found."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import follow_up, runs_option, set_option, study_file_argument
from hpo.cli.output import echo, say
from hpo.errors import NotGrown
from hpo.text import count


@click.command(
    epilog="""\b
Examples:
  hpo grow study.yaml                       says what it will do, and asks
  hpo grow study.yaml --was dropout=0.0     a new parameter: the old trials had 0.0
  hpo grow study.yaml --yes && hpo run study.yaml
  hpo grow study.yaml --set search_space.learning_rate.high=0.1

\b
Killed at any moment, it has left the study whole, as it was or as it is to
be; the same command again finishes it.
Exit code: 0 it has grown, or nothing has changed; 1 it was not to be, or a
storage cannot be written; 2 it cannot grow so (it says why); 3 the study runs.
"""
)
@study_file_argument
@click.option(
    "--was",
    multiple=True,
    metavar="NAME=VALUE",
    help="What trials did before a parameter was searched (or `was:` in the YAML).",
)
@set_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--no-backup", is_flag=True, help="Save nothing first.")
@runs_option
def grow(study: str, was: tuple[str, ...], overrides: tuple[str, ...], yes: bool, no_backup: bool, runs: Path) -> None:
    """Give a study a wider search space, with all its trials.

    STUDY.yaml is the edited file: a range is wider, a choice or a parameter was added. The trials so far
    stay what they were, with their numbers, times, curves and files, as trials of the new space; then
    `hpo run STUDY.yaml` goes on, and the sampler has learned from them. First the study is saved, as by
    `hpo backup`. Metrics, objective and constants may not change.
    """
    from hpo.actions.grow import grow as carry_out
    from hpo.actions.grow import growing, save_before, write_runs
    from hpo.spec.load import load_spec

    spec = load_spec(study, overrides)
    same = "".join(f" --set {shlex.quote(text)}" for text in overrides)
    go_on = follow_up(f"run {shlex.quote(study)}{same}", runs)
    with growing(spec, runs, was) as grown:
        if not grown.growth.changes:
            carry_out(grown)
            say(f"nothing to grow: study '{spec.name}' has this search space; `{go_on}` goes on")
            return
        listed = [f"  {sentence}" for sentence in grown.growth.changes]
        echo("\n".join([f"study '{spec.name}', {count(grown.trials, 'trial')}:", *listed]))
        _ask(yes)
        if not no_backup:
            saved = save_before(grown, complain)
            restore = follow_up(f"restore {shlex.quote(spec.name)} --from {shlex.quote(str(saved))}", runs)
            delete = follow_up(f"delete {shlex.quote(spec.name)}", runs)
            say(f"saved in {saved}; `{delete}` and `{restore}` bring it back")
        carry_out(grown)
    write_runs(runs, spec.name, complain)
    confirmation = f"{spec.name}{layout.CONFIRM}"
    if confirmation in layout.studies_in(runs):
        delete = follow_up(f"delete {shlex.quote(confirmation)}", runs)
        complain(f"study '{confirmation}' is of the space before; `{delete}`, before you confirm this one again")
    kept = f"its {count(grown.trials, 'trial')} stay what they were"
    say(f"study '{spec.name}' has grown: {kept}, and the sampler learns from them; `{go_on}` goes on")


def complain(sentence: str) -> None:
    """Print a sentence on stderr."""
    echo(sentence, err=True)


def _ask(yes: bool) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NotGrown("nothing was changed; without a terminal to ask on, this needs --yes")
    if not click.confirm("Write all trials in this space?"):
        raise NotGrown("nothing was changed")
