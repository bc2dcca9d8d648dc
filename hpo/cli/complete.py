"""Values that a shell completes: studies, trials, YAML files.

These names come from folders alone: a TAB opens no storage and imports no Optuna.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from hpo import layout

_NAME = re.compile(r"^name:\s*['\"]?([A-Za-z0-9][A-Za-z0-9_.-]*)", re.MULTILINE)
# Of a larger file the name is not looked for.
_MOST_BYTES = 2**20


def study_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the studies of the runs folder that begin so, and files."""
    given = context.params.get("studies") or context.params.get("given") or ()
    names = [name for name in layout.studies_in(_runs(context)) if name.startswith(incomplete) and name not in given]
    return [_files(incomplete), *map(CompletionItem, names)]


def studies_and_trials(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return what `study_names` does, and behind `STUDY/` the numbers of its trials."""
    study, slash, begun = incomplete.rpartition("/")
    runs = _runs(context)
    if slash and study in layout.studies_in(runs):
        numbers = [text for text in _numbers(runs, study) if text.startswith(begun)]
        return [CompletionItem(f"{study}/{text}") for text in numbers]
    return study_names(context, parameter, incomplete)


def trial_numbers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the trials of the study that stands before, the last ones first; without one, of the study last driven."""
    runs = _runs(context)
    study = context.params.get("study") or context.params.get("source")
    names = layout.studies_in(runs)
    if study and study not in names:
        study = _name_in(Path(study))
    elif not study:
        study = next(iter(names), "")
    given = context.params.get(parameter.name or "") or ()
    before = {str(number) for number in given} if isinstance(given, tuple) else set()
    return [
        CompletionItem(text) for text in _numbers(runs, study) if text.startswith(incomplete) and text not in before
    ]


def study_files(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return that files complete the argument, and the studies that come with hpo.

    Where values are given, bash shows no files: so of files that begin so, none is hidden by a name.
    """
    from hpo.spec.includes import built_in_studies

    if os.environ.get("_HPO_COMPLETE", "").startswith("bash") and _begins_a_file(incomplete):
        return [_files(incomplete)]
    places = {written: None for name in built_in_studies() for written in (Path(name).stem, name)}
    # Of the two spellings, the long one only for those who have begun it.
    names = [name for name in places if name.startswith(incomplete) and ("/" not in name or "/" in incomplete)]
    return [_files(incomplete), *map(CompletionItem, names)]


def folders(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return that folders complete the value."""
    return [CompletionItem(incomplete, type="dir")]


def as_a_shell_reads(path: str) -> str:
    """Return a path with its `~` and variables replaced: a line that is not finished has them as they were typed."""
    return os.path.expanduser(os.path.expandvars(path))


def _files(incomplete: str) -> CompletionItem:
    # First: bash forgets what came before it.
    return CompletionItem(incomplete, type="file")


def _begins_a_file(incomplete: str) -> bool:
    folder, _, begun = as_a_shell_reads(incomplete).rpartition("/")
    if incomplete.startswith("/") and not folder:
        folder = "/"
    try:
        with os.scandir(folder or ".") as entries:
            return any(entry.name.startswith(begun) and not entry.name.startswith(".") for entry in entries)
    except OSError:
        return False


def _runs(context: click.Context) -> Path:
    """Return the runs folder that the line names, behind the command or before it."""
    if context.get_parameter_source("runs") is ParameterSource.COMMANDLINE and context.params.get("runs"):
        return Path(context.params["runs"])
    above = context.parent.params.get("runs") if context.parent else None
    return layout.runs_folder(as_a_shell_reads(above) if above else None)


def _numbers(runs: Path, study: str) -> list[str]:
    """Return the numbers of the trials that have a folder, the last one first; none of a study that is not there."""
    if not study:
        return []
    try:
        names = os.listdir(layout.trials_directory(layout.study_directory(runs, study)))
    except OSError:
        return []
    return sorted((name for name in names if name.isascii() and name.isdecimal()), key=int, reverse=True)


def _name_in(path: Path) -> str:
    """Return the name that a study.yaml gives its study, read as text; empty if it is none."""
    try:
        if path.suffix not in (".yaml", ".yml") or path.stat().st_size > _MOST_BYTES:
            return ""
        found = _NAME.search(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""
