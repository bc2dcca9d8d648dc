"""Section that says where the files of the study are."""

from __future__ import annotations

from hpo import layout
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Cell, Facts, Link, Section
from hpo.translation.catalogue import file_stem, tr


def files_section(study: StudyRecord) -> Section:
    """Return the paths of the study's files, as links where they are below its folder."""
    report = file_stem(layout.REPORT)
    items: list[tuple[str, Cell]] = [(tr("This study's folder"), str(study.directory))]
    known = (
        (tr("The study as it ran"), layout.SPEC),
        (tr("A folder for each trial"), "trials"),
        (tr("What workers printed outside of trials"), "workers"),
    )
    items += [(name, Link(path, path)) for name, path in known if (study.directory / path).exists()]
    items += [
        (
            tr("In a trial's folder"),
            tr(
                "{history}: every metric of every step; {output}: what it printed; {error}: the traceback if it "
                "failed; {weights}: the weights, of the best trials, if the objective keeps them",
                history=layout.HISTORY,
                output=layout.OUTPUT,
                error=layout.ERROR,
                weights=layout.WEIGHTS,
            ),
        ),
        *(((tr("The trials' results"), study.storage),) if study.storage else ()),
        (tr("This report"), Link(f"{report}.html", f"{report}.html")),
        (tr("This report as text"), Link(f"{report}.md", f"{report}.md")),
        (tr("Its numbers, for programs"), Link(f"{layout.REPORT}.json", f"{layout.REPORT}.json")),
    ]
    return Section(tr("Where the files are"), "files", [Facts(tuple(items))])
