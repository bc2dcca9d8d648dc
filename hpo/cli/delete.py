"""`hpo delete`: move a study to the trash, and empty the trash."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo import layout
from hpo.cli.common import find_study, follow_up, runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import echo, say
from hpo.errors import HpoError, NotDeleted, StudyNotFound
from hpo.text import count

if TYPE_CHECKING:
    from hpo.actions.deletion import Deletion, TrashEntry


@click.command(
    epilog="""\b
Examples:
  hpo delete quickstart             says what goes and what stays, and asks
  hpo delete quickstart --yes       does not ask, for scripts
  hpo restore quickstart            brings it back
  hpo delete --purge                lists the trash and empties it, for good
  hpo delete quickstart --purge     deletes it for good, from the trash too

\b
Killed at any moment, it has left the study whole, or what is in the trash;
the same command again finishes it.
"""
)
@click.argument("study", required=False, shell_complete=study_names)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="Remove for good: the study, or without STUDY all that is in the trash.")
@runs_option
def delete(study: str | None, yes: bool, purge: bool, runs: Path) -> None:
    """Delete a study: its trials, its files, its report.

    It goes to the trash, the folder .trash of the runs folder, from which `hpo restore` brings it back.
    Its runs in MLflow go to MLflow's trash, which `mlflow gc` empties. Only what carries the study's key
    is deleted: of a link the link alone goes, and of a copied folder nothing that is the original's. A
    study that is being driven, or that is another user's, is refused. STUDY is a name in the runs folder
    or a YAML.
    """
    from hpo.actions.deletion import refuse_foreign, refuse_other_user, trash_of
    from hpo.storage.saved_study import unfinished_deletions

    if study is None:
        if not purge:
            raise click.UsageError("Missing argument 'STUDY'.")
        _empty(runs, trash_of(runs), yes)
        return
    there = runs / study
    if "/" not in study and os.path.lexists(there):
        refuse_other_user(there, f"study '{study}'", "delete")
    try:
        name = find_study(runs, study)
    except StudyNotFound:
        entries = trash_of(runs, study) if purge else []
        left = unfinished_deletions(runs, study)
        if not entries and not left:
            raise
        _finish(runs, study, left)
        if entries:
            _empty(runs, entries, yes)
        return
    refuse_foreign(runs, name)
    _delete(runs, name, yes, purge)


def _delete(runs: Path, name: str, yes: bool, purge: bool) -> None:
    from hpo.actions.deletion import move_to_trash, plan_deletion, trash_of
    from hpo.actions.deletion import purge as remove
    from hpo.storage.driver_lock import driver_lock

    # Held to the end, so that no driver can start on a half-deleted study.
    with driver_lock(layout.study_directory(runs, name)):
        deletion = plan_deletion(runs, name)
        _ask(deletion, yes, purge)
        entry, tracked = move_to_trash(deletion)
    if purge:
        for one in trash_of(runs, name):
            if one.path == entry:
                remove(runs, one)
        say(f"deleted {deletion.what} for good{tracked}")
        return
    say(f"deleted {deletion.what}{tracked}")
    restore = follow_up(f"restore {shlex.quote(name)}", runs)
    say(f"it is in {entry}; `{restore}` brings it back, `{follow_up('delete --purge', runs)}` removes it for good")


def _ask(deletion: Deletion, yes: bool, purge: bool) -> None:
    """Say what goes and what stays, and ask."""
    where = "for good" if purge else "(to the trash)"
    listed = [f"delete {where}:", *_indented(deletion.goes)]
    if deletion.stays:
        listed += ["what stays:", *_indented(deletion.stays)]
    if yes:
        for line in _indented(deletion.stays):
            echo(f"stays:{line}", err=True)
        return
    _confirm(f"Delete {deletion.what}", "\n".join(listed))


def _empty(runs: Path, entries: Sequence[TrashEntry], yes: bool) -> None:
    """Remove entries of the trash, each that can be removed."""
    from hpo.actions.deletion import purge

    if not entries:
        echo(f"the trash is empty: there is nothing in {layout.trash_directory(runs)}", err=True)
        return
    if not yes:
        listed = "\n".join(["remove for good:", *_indented(map(str, entries))])
        _confirm(
            f"Remove {count(len(entries), 'entry' if len(entries) == 1 else 'entrie')} of the trash for good", listed
        )
    failed = []
    for entry in entries:
        try:
            purge(runs, entry)
        except HpoError as error:
            failed.append(str(error))
        else:
            say(f"removed {entry}")
    if failed:
        raise NotDeleted("\n".join(failed))


def _finish(runs: Path, name: str, left: Sequence[Path]) -> None:
    from hpo.actions.deletion import finish

    for entry in left:
        tracked = finish(runs, entry)
        say(f"finished the deletion of study '{name}', which was cut short{tracked}; it is in {entry}")


def _confirm(question: str, listed: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        would = f"this would {question[0].lower()}{question[1:]}"
        raise HpoError(f"{listed}\n{would}; without a terminal to ask on, that needs --yes")
    echo(listed)
    if not click.confirm(f"{question}?"):
        raise HpoError("nothing was deleted")


def _indented(sentences: Sequence[str] | Iterator[str]) -> list[str]:
    return [f"  {sentence}" for sentence in sentences]
