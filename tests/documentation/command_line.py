"""Commands of the pages held against hpo's command line, without being run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from hpo.cli.main import COMMANDS, cli
from hpo.text import nearest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_CONTEXT = click.Context(cli, info_name="hpo")
_ENDS = {"|", "||", "&&", ";", "&"}
# In `hpo COMMAND --help` and the like they stand for what a reader puts there.
_STANDS_FOR = {"COMMAND", "X"}


def words_of(command: str) -> list[list[str]]:
    """Return the simple commands of a shell's line, each as its words, without redirections and comments."""
    reader = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    reader.whitespace_split, reader.commenters = True, "#"
    found: list[list[str]] = [[]]
    words = iter(reader)
    for word in words:
        if word in _ENDS:
            found.append([])
        elif word in (">", ">>", "<"):
            next(words, None)
        else:
            found[-1].append(word)
    return [words for words in found if words]


def fault(words: list[str], *, whole: bool) -> str:
    """Return what is wrong with a call of hpo or make; empty if nothing is.

    Args:
        words: the command, with its arguments.
        whole: it is a call as it is typed; else a mention, in which arguments may be missing.
    """
    words = [word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)] if words[0] != "make" else words
    if not words:
        return ""
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
        return next((f"the Makefile has no target '{one}'" for one in targets if one not in TARGETS), "")
    if words[0] != "hpo":
        return ""
    given = [word for word in words[1:] if word not in ("...", "[...]")]
    if not given or given[0].startswith("-") or given[0] in _STANDS_FOR:
        return ""
    names = given[0].rstrip(",")
    command = cli.get_command(_CONTEXT, names)
    if command is None:
        return f"there is no command 'hpo {names}'.{nearest(names, COMMANDS)}"
    if not whole:
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
        used = [word.split("=")[0].rstrip(",") for word in given[1:] if re.match(r"--?[a-z]", word)]
        unknown = [word for word in used if word not in options]
        return f"'hpo {names}' has no option '{unknown[0]}'.{nearest(unknown[0], options)}" if unknown else ""
    try:
        command.make_parser(click.Context(command, _CONTEXT, info_name=names)).parse_args(list(given[1:]))
    except click.UsageError as error:
        return error.format_message()
    return ""
