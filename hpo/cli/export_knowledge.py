"""`hpo export-knowledge`: results of studies in one small file for another machine."""

from __future__ import annotations

from pathlib import Path

import click

from hpo import layout
from hpo.cli.common import find_study, runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import echo, echo_document
from hpo.errors import HpoError, StudyNotFound
from hpo.machine.access import reason
from hpo.text import count


@click.command(
    "export-knowledge",
    epilog="""\b
Examples:
  hpo export-knowledge -o knowledge.json             all studies of the runs folder
  hpo export-knowledge glaucoma abr -o knowledge.json
  hpo export-knowledge glaucoma --trials 5 | ssh gpu 'cat > knowledge.json'

\b
There, `hpo import-knowledge knowledge.json`: studies that it fits begin
from it.
""",
)
@click.argument("studies", nargs=-1, metavar="[STUDY]...", shell_complete=study_names)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File to write.  [default: stdout]",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="Number of configurations of each study, the best first.",
)
@runs_option
def export_knowledge(studies: tuple[str, ...], output: Path | None, trials: int, runs: Path) -> None:
    """Export the results of studies into one small file.

    The file holds their search spaces and best configurations, but no paths, constants or passwords. STUDY is a name in
    the runs folder or a YAML; by default all studies that have a complete trial are exported.
    """
    from hpo.warm_start.export import entry_of
    from hpo.warm_start.knowledge_file import dump

    names = [find_study(runs, study) for study in dict.fromkeys(studies)] or layout.studies_in(runs)
    if not names:
        raise StudyNotFound(f"there is no study in {runs}; --runs DIR or $HPO_RUNS names another folder")
    entries = []
    for name in names:
        try:
            entry, places = entry_of(runs, name, trials)
        except HpoError as error:
            if studies:
                raise
            echo(f"hpo: {name} is left out: {error}", err=True)
            continue
        if places:
            echo(f"hpo: {name}: left out {', '.join(places)}, whose values are paths of this machine", err=True)
        if entry.source.trials:
            entries.append(entry)
        elif studies:
            echo(f"hpo: {name} is left out: no trial of it has completed", err=True)
    if not entries:
        raise HpoError(f"no trial of {', '.join(names)} has completed, so there is nothing to export")
    text = dump(entries)
    if output is None:
        echo_document(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HpoError(f"{output} cannot be written: {reason(error)}") from None
    configurations = sum(len(entry.source.trials) for entry in entries)
    what = f"{count(configurations, 'configuration')} of {', '.join(entry.source.name for entry in entries)}"
    echo(f"{output}: {what}", err=True)
