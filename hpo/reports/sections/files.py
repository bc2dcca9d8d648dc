"""Where everything of the study lies."""

from __future__ import annotations

from hpo import layout
from hpo.analysis.records import StudyRecord
from hpo.reports.blocks import Cell, Facts, Link, Section


def files(study: StudyRecord) -> Section:
    items: list[tuple[str, Cell]] = [("This study's folder", str(study.directory))]
    known = (
        ("The study as it ran", layout.SPEC),
        ("A folder for each trial", "trials"),
        ("What workers printed outside of trials", "workers"),
    )
    items += [(name, Link(path, path)) for name, path in known if (study.directory / path).exists()]
    items += [
        (
            "In a trial's folder",
            f"{layout.HISTORY}: every metric of every step; {layout.OUTPUT}: what it printed; "
            f"{layout.ERROR}: the traceback if it failed; {layout.WEIGHTS}: the weights, of the best trials, if the "
            "objective keeps them",
        ),
        *((("The trials' results", study.storage),) if study.storage else ()),
        ("This report", Link("report.html", "report.html")),
        ("This report as text", Link("report.md", "report.md")),
    ]
    return Section("Where the files are", "files", [Facts(tuple(items))])
