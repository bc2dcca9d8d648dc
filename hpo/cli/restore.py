"""`hpo restore`: bring studies back from the trash or from a backup."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import echo, say
from hpo.errors import HpoError
from hpo.text import count


@click.command(
    epilog="""\b
Examples:
  hpo restore quickstart                    undoes the latest `hpo delete quickstart`
  hpo restore                               lists what is in the trash
  hpo restore --from runs.tar               all studies of a backup
  hpo restore quickstart --from runs.tar --runs /data/runs
  hpo restore --from runs.tar --storage journal
                                            the database that they were in is gone

\b
A study that is there already is never replaced. Exit code: 0 all is
restored; 1 a study could not be (it says which and why).
"""
)
@click.argument("studies", nargs=-1, metavar="[STUDY]...", shell_complete=study_names)
@click.option("--from", "source", type=click.Path(path_type=Path), metavar="FILE", help="What `hpo backup` wrote.")
@click.option(
    "--storage", metavar="URL", help="Another storage for what is restored; journal: that of the runs folder."
)
@runs_option
def restore(studies: tuple[str, ...], source: Path | None, storage: str | None, runs: Path) -> int:
    """Bring studies back from the trash or from a backup.

    From the trash a study comes back as it was, and is in the trash no more. From a backup it is
    copied, into this runs folder or any other: a trial that ran when the backup was made goes back in
    the queue, and `hpo run` goes on from there. STUDY is the name of a study, or of an entry of the
    trash.
    """
    from hpo.actions.restore import JOURNAL, Restored, restore_backup, restore_from_trash
    from hpo.spec.normalize import storage_given

    def tell(text: str) -> None:
        echo(text, err=True)

    if source is not None:
        given = storage if storage in (None, JOURNAL) else storage_given(storage, "--storage")
        restored, failed = restore_backup(runs, source, list(dict.fromkeys(studies)), given, tell)
    elif storage is not None:
        raise click.UsageError("--storage is for a backup, and needs --from FILE.")
    elif not studies:
        _list_trash(runs)
        return 0
    else:
        restored, failed = [], []
        for study in dict.fromkeys(studies):
            try:
                restored.append(restore_from_trash(runs, study, tell))
            except HpoError as error:
                failed.append(str(error))
    for one in restored:
        assert isinstance(one, Restored)
        say(f"restored study '{one.study}' ({count(one.trials, 'trial')}) in {one.directory}")
    for sentence in failed:
        echo(f"hpo: {sentence}", err=True)
    return 1 if failed else 0


def _list_trash(runs: Path) -> None:
    from hpo.actions.deletion import trash_of

    entries = trash_of(runs)
    if not entries:
        echo(f"the trash is empty: there is nothing in {layout.trash_directory(runs)}", err=True)
    for entry in entries:
        echo(str(entry))
