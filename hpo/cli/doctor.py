"""`hpo doctor`: what is wrong with studies, and mending it."""

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
from hpo.analysis.formatting import count
from hpo.cli.common import emit, find_study, follow_up, json_option, runs_option
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
  hpo doctor --fix                  mend what can be mended, and look again
  hpo doctor --json | jq -r '.findings[] | select(.fixable | not) | .said'

\b
Exit code: 0 nothing is wrong, or all of it was mended; 1 something is left.
"""
)
@click.argument("studies", nargs=-1, metavar="[STUDY]...")
@click.option("--fix", is_flag=True, help="Mend what can be mended. No finished result is deleted.")
@runs_option
@json_option
def doctor(studies: tuple[str, ...], fix: bool, runs: Path, as_json: bool) -> int:
    """Say what is wrong with studies, and mend it.

    Compares Optuna, the history files, MLflow, checkpoints and processes of this host with each other,
    and looks for torn files, full disks and clocks that are apart. Says of each finding what was seen,
    how sure it is, and what --fix does about it. What --fix takes away it moves to the study's
    lost+found folder, or keeps as FILE.damaged. A study that is being driven is looked at, not mended.
    STUDY is a name in the runs folder or a YAML; by default all studies."""
    from hpo.doctor.examine import visit
    from hpo.doctor.spec_checks import folders

    known = folders(runs)
    if not known and not (runs / layout.JOURNAL).exists():
        raise StudyNotFound(f"there is no study in {runs}; --runs DIR or $HPO_RUNS names another folder")
    names = [name if name in known else find_study(runs, name) for name in dict.fromkeys(studies)]
    looked: list[str] = []
    treated = visit(runs, names, fix, lambda name: _looking(looked, name, len(names or known)))
    _looking_is_over()
    left = [one for one in treated if one.fate != "mended"]
    if as_json:
        emit(
            {
                "runs": runs,
                "studies": names or known,
                "findings": [_document(one) for one in treated],
                "found": len(treated),
                "mended": len(treated) - len(left),
                "left": len(left),
            }
        )
    else:
        click.echo("\n".join([*_text(treated, fix), _summary(treated, len(names or known), fix, studies, runs)]))
    return 1 if left else 0


def _document(one: CheckedFinding) -> dict[str, Any]:
    finding = {field.name: getattr(one.finding, field.name) for field in fields(one.finding) if field.name != "mend"}
    return {**finding, "fixable": one.finding.mend is not None, "fate": one.fate, "why": one.why}


def _text(treated: Sequence[CheckedFinding], fix: bool) -> Iterator[str]:
    for study in dict.fromkeys(one.finding.study for one in treated):
        yield f"study {study}" if study else "machine and storages"
        own = sorted((one for one in treated if one.finding.study == study), key=_rank)
        for _, kind in groupby(own, _rank):
            yield from _kind(list(kind), fix)
        yield ""


def _rank(one: CheckedFinding) -> tuple[bool, str]:
    """What is left comes last: it is read first."""
    return one.fate != "mended", one.finding.check


def _kind(kind: Sequence[CheckedFinding], fix: bool) -> Iterator[str]:
    """Findings of one kind and fate."""
    shown = kind if len(kind) <= _MOST + 1 else kind[:_MOST]
    for one in shown:
        finding = one.finding
        yield f"  {finding.check} ({finding.sure}): {finding.said}"
        if one.fate == "mended":
            yield f"    done: {finding.remedy}"
        elif one.fate == "failed":
            yield f"    not mended: {one.why}"
        elif finding.mend is not None:
            yield f"    --fix would {finding.remedy}"
        else:
            yield f"    to do: {finding.remedy}"
    if len(shown) < len(kind):
        yield f"  ... and {len(kind) - len(shown)} more of {kind[0].finding.check} (--json lists all)"


def _summary(treated: Sequence[CheckedFinding], studies: int, fix: bool, given: Iterable[str], runs: Path) -> str:
    looked = f"looked at {count(studies, 'study') if studies == 1 else f'{studies} studies'}"
    if not treated:
        return f"{looked}: nothing is wrong"
    things = "1 thing is" if len(treated) == 1 else f"{len(treated)} things are"
    if not fix:
        fixable = sum(one.finding.mend is not None for one in treated)
        if not fixable:
            return f"{looked}: {things} wrong, which --fix cannot mend"
        command = follow_up(shlex.join(["doctor", *given, "--fix"]), runs)
        mends = str(fixable) if fixable < len(treated) else "it" if fixable == 1 else "all of it"
        return f"{looked}: {things} wrong; `{command}` mends {mends}"
    left = sum(one.fate != "mended" for one in treated)
    was = "1 thing was" if len(treated) == 1 else f"{len(treated)} things were"
    return f"{looked}: {was} wrong, {len(treated) - left} mended, {left} left"


def _looking(looked: list[str], name: str, studies: int) -> None:
    looked.append(name)
    if sys.stderr.isatty() and studies > 1:
        click.echo(f"\r\033[K{len(looked)}/{studies} {name}", err=True, nl=False)


def _looking_is_over() -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
