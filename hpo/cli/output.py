"""Output of all commands: no text that comes from a trial, a file or a storage can steer the terminal.

Texts are written without control characters and without passwords. Colours and cursor movements are made here, or by
rich, whose texts `hpo.cli.live` has made presentable before.
"""

from __future__ import annotations

import re
import sys
from typing import IO

import click

from hpo.text import presentable, printable

# Colours, which change nothing but the look of what follows, and the returns of progress bars.
_HARMLESS = re.compile(r"(\x1b\[[0-9;:]*m|\r)")


def echo(text: str = "", *, err: bool = False, nl: bool = True, file: IO[str] | None = None) -> None:
    """Print a text; control characters become escapes, and passwords are left out.

    Raises:
        OSError: the output is full or gone. What stderr does not take is left out instead.
    """
    try:
        click.echo(presentable(text), file=file, err=err, nl=nl)
    except OSError:
        if not err:
            raise


def say(text: str = "", *, file: IO[str] | None = None) -> None:
    """Print what a command has done. An output that is full or gone takes nothing of that back: stderr gets it then.

    Commands that do nothing but print use `echo`, and fail.
    """
    try:
        echo(text, file=file)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # whoever read it wanted no more
            echo(text, err=True)


def echo_document(text: str, *, nl: bool = True) -> None:
    """Print what is to be taken over as it is, such as YAML; control characters become escapes on a terminal alone."""
    click.echo(printable(text) if sys.stdout.isatty() else text, nl=nl)


def say_document(text: str) -> None:
    """Print what a command has done as a document, as `say` does."""
    try:
        echo_document(text)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            click.echo(text, err=True)


def echo_output(text: str) -> None:
    """Print a piece of what a program printed, on a terminal without its control sequences except for colours."""
    if sys.stdout.isatty():
        parts = _HARMLESS.split(text)
        parts[::2] = map(printable, parts[::2])
        text = "".join(parts)
    click.echo(text, nl=False)


def status_line(text: str) -> None:
    """Replace the present line of stderr, a terminal."""
    click.echo(f"\r\033[K{presentable(text)}", err=True, nl=False)
