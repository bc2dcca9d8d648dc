"""`hpo doctor`: find what is wrong with studies, and fix it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo import layout
from hpo.cli.common import emit, find_study, follow_up, json_option, runs_option
from hpo.cli.complete import study_names
from hpo.cli.output import echo, status_line
from hpo.doctor.finding import NOT_LOOKED_AT, NOTES
from hpo.errors import StudyNotFound

if TYPE_CHECKING:
    from hpo.doctor.finding import CheckedFinding

# Of one kind in one study; --json lists all.
_MOST = 8


@click.command(
    epilog="""\b
Examples:
  hpo doctor                        look at every study of ./runs; nothing is changed
  hpo doctor quickstart             at one
  hpo doctor --fix                  fix what can be fixed, and look again
  hpo doctor --json | jq -r '.findings[] | select(.fixable | not) | .said'

\b
Exit code: 0 nothing is wrong, or all of it was fixed; 1 something is left.
What this user may not look at is named, and counts as nothing wrong.
"""
)
@click.argument("studies", nargs=-1, metavar="[STUDY]...", shell_complete=study_names)
@click.option("--fix", is_flag=True, help="Fix what can be fixed. No finished result is deleted.")
@runs_option
@json_option
def doctor(studies: tuple[str, ...], fix: bool, runs: Path, as_json: bool) -> int:
    """Say what is wrong with studies, and fix it.

    Compares Optuna, the history files, MLflow, checkpoints and processes of this host with each other,
    and looks for torn files, full disks and clocks that are apart. Says of each finding what was seen,
    how sure it is, and what --fix does about it. What --fix takes away it moves to the study's
    lost+found folder, or keeps as FILE.damaged. Without --fix no file is made or changed, which the
    comparison of the clocks needs. A study that is being driven is examined, not fixed.
    STUDY is a name in the runs folder or a YAML; by default all studies.
    """
    from hpo.doctor.examine import examine
    from hpo.doctor.spec_checks import folders

    known = folders(runs)
    if not known and not (runs / layout.JOURNAL).exists():
        raise StudyNotFound(f"there is no study in {runs}; --runs DIR or $HPO_RUNS names another folder")
    names = [name if name in known else find_study(runs, name) for name in dict.fromkeys(studies)]
    examined: list[str] = []
    checked = examine(runs, names, fix, lambda name: _show_progress(examined, name, len(names or known)))
    _clear_progress()
    left = [one for one in checked if one.is_wrong]
    notes = [one for one in checked if one.finding.check in NOTES]
    if as_json:
        emit(
            {
                "runs": runs,
                "studies": names or known,
                "findings": [_document(one) for one in checked],
                "found": len(checked) - len(notes),
                "mended": len(checked) - len(notes) - len(left),
                "left": len(left),
            }
        )
    else:
        wrong = [one for one in checked if one not in notes]
        unseen = any(one.finding.check == NOT_LOOKED_AT for one in notes)
        said = _summary(wrong, len(names or known), fix, studies, runs)
        echo("\n".join([*_text(checked), said + (", as far as could be seen" if unseen else "")]))
    return 1 if left else 0


def _document(one: CheckedFinding) -> dict[str, Any]:
    """Return a finding as --json prints it, with the words that scripts know."""
    finding = {field.name: getattr(one.finding, field.name) for field in fields(one.finding) if field.name != "fix"}
    fate = "mended" if one.result == "fixed" else one.result
    return {**finding, "fixable": one.finding.fix is not None, "fate": fate, "why": one.why}


def _text(checked: Sequence[CheckedFinding]) -> Iterator[str]:
    for study in dict.fromkeys(one.finding.study for one in checked):
        yield f"study {study}" if study else "machine and storages"
        own = sorted((one for one in checked if one.finding.study == study), key=_rank)
        for _, kind in groupby(own, _rank):
            yield from _kind(list(kind))
        yield ""


def _rank(one: CheckedFinding) -> tuple[bool, str]:
    """Sort what is left to the end, where it is read first."""
    return one.is_wrong, one.finding.check


def _kind(kind: Sequence[CheckedFinding]) -> Iterator[str]:
    """Yield the lines of findings of one kind and result."""
    shown = kind if len(kind) <= _MOST + 1 else kind[:_MOST]
    for one in shown:
        finding = one.finding
        yield f"  {finding.check} ({finding.sure}): {finding.said}"
        if one.result == "fixed":
            yield f"    done: {finding.remedy}"
        elif one.result == "failed":
            yield f"    not fixed: {one.why}"
        elif finding.fix is not None:
            yield f"    --fix would {finding.remedy}"
        elif finding.check not in NOTES:
            yield f"    to do: {finding.remedy}"
    if len(shown) < len(kind):
        yield f"  ... and {len(kind) - len(shown)} more of {kind[0].finding.check} (--json lists all)"


def _summary(checked: Sequence[CheckedFinding], studies: int, fix: bool, given: Iterable[str], runs: Path) -> str:
    looked = f"looked at {'1 study' if studies == 1 else f'{studies} studies'}"
    if not checked:
        return f"{looked}: nothing is wrong"
    things = "1 thing is" if len(checked) == 1 else f"{len(checked)} things are"
    if not fix:
        fixable = sum(one.finding.fix is not None for one in checked)
        if not fixable:
            return f"{looked}: {things} wrong, which --fix cannot fix"
        command = follow_up(shlex.join(["doctor", *given, "--fix"]), runs)
        fixes = str(fixable) if fixable < len(checked) else "it" if fixable == 1 else "all of it"
        return f"{looked}: {things} wrong; `{command}` fixes {fixes}"
    left = sum(one.result != "fixed" for one in checked)
    was = "1 thing was" if len(checked) == 1 else f"{len(checked)} things were"
    return f"{looked}: {was} wrong, {len(checked) - left} fixed, {left} left"


def _show_progress(examined: list[str], name: str, studies: int) -> None:
    examined.append(name)
    if sys.stderr.isatty() and studies > 1:
        status_line(f"{len(examined)}/{studies} {name}")


def _clear_progress() -> None:
    if sys.stderr.isatty():
        status_line("")
