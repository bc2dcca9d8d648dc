"""`hpo import-knowledge`: keep what studies of another machine found, for warm starts here."""

from __future__ import annotations

from pathlib import Path

import click

from hpo.analysis.formatting import count
from hpo.cli.common import runs_option


@click.command(
    "import-knowledge",
    epilog="""\b
Examples:
  hpo import-knowledge knowledge.json
  hpo import-knowledge knowledge.json --runs /data/runs
  hpo run study.yaml --set warm_start=auto         begins from it, where it fits
  hpo run study.yaml --set warm_start=knowledge.json
                                                   the same, without importing it
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@runs_option
def import_knowledge(file: Path, runs: Path) -> None:
    """Import results of studies run elsewhere.

    FILE is one that `hpo export-knowledge` wrote. It is data alone: nothing in it is run. The same file again changes
    nothing; a later one of the same study takes the place of the earlier."""
    from hpo.warm_start.knowledge_file import read, write

    for entry, fresh in write(runs, read(file)):
        found = count(len(entry.source.trials), "configuration")
        click.echo(f"{entry.source.name}: {found}{'' if fresh else ', which were there already'}")
