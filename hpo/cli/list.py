"""`hpo list`: list the studies of a runs folder."""

from __future__ import annotations

import itertools
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo import layout
from hpo.analysis.formatting import number
from hpo.cli.common import aligned, emit, json_option, runs_option
from hpo.cli.output import echo
from hpo.errors import HpoError
from hpo.machine.access import denial, is_denied, why_denied

if TYPE_CHECKING:
    import optuna


_GONE = f"its {layout.SPEC} is gone; `hpo run` the YAML that it was started with, which writes this file anew"


@click.command(
    "list",
    epilog="""\b
Examples:
  hpo list
  hpo list --runs /data/runs
  hpo list --built-in                             the studies that come with hpo
  hpo list --json | jq -r '.[] | select(.driver == null) | .study'
""",
)
@runs_option
@json_option
@click.option("--built-in", is_flag=True, help="List the studies that come with hpo, and their files to copy.")
def list_studies(runs: Path, as_json: bool, built_in: bool) -> None:
    """List the studies of the runs folder.

    The study last driven comes first.
    """
    if built_in:
        _list_built_in(as_json)
        return
    storages: dict[str, optuna.storages.BaseStorage] = {}
    rows = [_row(runs, name, storages) for name in layout.studies_in(runs)]
    rows += [
        {"study": path.name, "directory": path, "driven": None, "driver": None, "error": _GONE}
        for path in layout.folders_without_spec(runs)
    ]
    rows += [
        {"study": path.name, "directory": path, "driven": None, "driver": None, "error": why_denied(path)}
        for path in layout.closed_folders(runs)
    ]
    if as_json:
        emit(rows)
    elif rows:
        head = ("study", "finished", "complete", "pruned", "failed", "best", "trial", "last driven", "driver")
        echo("\n".join(aligned([head, *(_cells(row) for row in rows)], right=(1, 2, 3, 4, 6))))
        for row in rows:
            if row.get("error"):
                echo(f"hpo: {row['study']}: {row['error']}", err=True)
    else:
        echo(f"there is no study in {runs}; `hpo run STUDY.yaml` starts one", err=True)


def _list_built_in(as_json: bool) -> None:
    from hpo.spec.includes import built_in_studies

    studies = built_in_studies()
    if as_json:
        emit([{"study": name, "file": file} for name, file in studies.items()])
        return
    echo("\n".join(aligned((name, _question(file)) for name, file in studies.items())))
    name, file = next(iter(studies.items()))
    echo(f"\n`hpo run {name}` runs one. To change it, copy it: cp {shlex.quote(str(file))} mine.yaml")


def _question(file: Path) -> str:
    """Return the first sentence of the comment that a study begins with."""
    comment = itertools.takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    return re.split(r"(?<=[.?])\s", " ".join(line.lstrip("# ") for line in comment))[0]


def _row(runs: Path, name: str, storages: dict[str, optuna.storages.BaseStorage]) -> dict[str, Any]:
    """Return one study; one that cannot be read has an `error` in place of counts, and hides no other."""
    import optuna

    from hpo.analysis.records import records_of
    from hpo.analysis.study_status import study_status
    from hpo.spec.load import load_spec
    from hpo.storage.driver_lock import driver_of
    from hpo.storage.open import open_storage, storage_url
    from hpo.text import redact

    directory = layout.study_directory(runs, name)
    recorded = directory / layout.SPEC
    row: dict[str, Any] = {
        "study": name, "directory": directory, "driven": recorded.stat().st_mtime, "driver": None,
    }  # fmt: skip
    try:
        row["driver"] = driver_of(directory)
        spec = load_spec(recorded, locate=False)
        url = storage_url(spec, runs)
        # Studies share a journal: it is opened, and read, once for all of them.
        if url not in storages:
            storages[url] = open_storage(url, readonly=True)
        try:
            study = optuna.load_study(study_name=name, storage=storages[url])
        except KeyError:
            return row | {"error": f"it is no longer in its storage {redact(url)}"}
        now = study_status(records_of(study, spec, directory, histories=False), spec)
    except HpoError as error:
        return row | {"error": str(error)}
    except OSError as error:
        if not is_denied(error):
            raise
        return row | {"error": str(denial(error))}
    return row | {
        "storage": redact(url),
        "budget": now.budget,
        "finished": now.finished,
        "complete": now.complete,
        "pruned": now.pruned,
        "failed": now.failed,
        "requeued": now.requeued,
        "metric": spec.metrics[0].name,
        "best": now.best and now.best.values[spec.metrics[0].name],
        "best_trial": now.best and now.best.number,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    driven = "" if row["driven"] is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(row["driven"]))
    driver = f"process {row['driver'].get('pid', '?')}" if row["driver"] else ""
    if "error" in row:
        return (row["study"], "?", "", "", "", "", "", driven, driver)
    finished = f"{row['finished']}" if row["budget"] is None else f"{row['finished']}/{row['budget']}"
    counts = (str(row[key]) for key in ("complete", "pruned", "failed"))
    best = "" if row["best"] is None else f"{row['metric']} {number(row['best'])}"
    trial = "" if row["best_trial"] is None else str(row["best_trial"])
    return (row["study"], finished, *counts, best, trial, driven, driver)
