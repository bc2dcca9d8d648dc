"""`hpo completion`: print the script by which a shell completes `hpo`."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from hpo.cli.output import echo_document

VARIABLE = "_HPO_COMPLETE"
# Where the script goes, by shell.
_PLACES = {
    "bash": 'In ~/.bashrc:  eval "$(hpo completion bash)"',
    "zsh": 'In ~/.zshrc, behind `autoload -Uz compinit && compinit`:  eval "$(hpo completion zsh)"',
    "fish": "hpo completion fish > ~/.config/fish/completions/hpo.fish",
}


@click.command(
    epilog="""\b
Examples:
  hpo completion bash
  echo 'eval "$(hpo completion bash)"' >> ~/.bashrc
  echo 'eval "$(hpo completion zsh)"' >> ~/.zshrc       behind compinit
  hpo completion fish > ~/.config/fish/completions/hpo.fish
  eval "$(hpo completion)"                              in this shell alone

\b
Then TAB completes commands, options, studies, trials and files:
  hpo status <TAB>
  hpo diagnose quickstart/<TAB>
  hpo --runs /data/runs kill <TAB>
""",
)
@click.argument("shell", type=click.Choice(tuple(_PLACES)), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the script by which bash, zsh or fish complete hpo.

    Without SHELL it is the script of $SHELL.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in _PLACES:
        given = f"$SHELL is '{shell}'" if shell else "$SHELL is not set"
        raise click.UsageError(f"{given}; expected one of {', '.join(_PLACES)}, such as `hpo completion bash`")
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"this click knows no completion for {shell}")
    script = found(context.find_root().command, {}, "hpo", VARIABLE).source().strip("\n")
    first, _, rest = script.partition("\n")
    note = f"# Completion of hpo for {shell}. {_PLACES[shell]}"
    # zsh wants `#compdef` in the first line of a file.
    echo_document(f"{first}\n{note}\n{rest}" if first.startswith("#") else f"{note}\n{script}")
