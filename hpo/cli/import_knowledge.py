"""`hpo import-knowledge`: results of studies of another machine, for warm starts here."""

from __future__ import annotations

from pathlib import Path

import click

from hpo.cli.common import runs_option
from hpo.cli.output import say
from hpo.text import count


@click.command(
    "import-knowledge",
    epilog="""\b
Examples:
  hpo import-knowledge knowledge.json
  hpo import-knowledge knowledge.json --runs /data/runs
  hpo run study.yaml                               begins from it, where it fits
  hpo run study.yaml --set warm_start=knowledge.json
                                                   the same, without importing it
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@runs_option
def import_knowledge(file: Path, runs: Path) -> None:
    """Import results of studies run elsewhere.

    FILE was written by `hpo export-knowledge`. It is data alone: nothing in it is run. The same file again changes
    nothing, and a later export of the same study replaces the earlier one.
    """
    from hpo.warm_start.knowledge_file import read, write

    for entry, fresh in write(runs, read(file)):
        found = count(len(entry.source.trials), "configuration")
        say(f"{entry.source.name}: {found}{'' if fresh else ', which were there already'}")
