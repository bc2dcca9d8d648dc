"""Checks of a command: what it printed that hpo does not understand, and flags that its program does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from hpo.actions.try_finding import Finding, error, ok, warning
from hpo.actions.try_trial import Tried
from hpo.analysis.notices import STEPLESS, without_trial
from hpo.objective.locate import PYTHON
from hpo.objective.sources import MOST_FILES, sources_of
from hpo.spec.models import StudySpec
from hpo.text import cut, listing, nearest, printable_line, redact
from hpo.worker.no_metric import PASSED_OVER

# Lines that show a metric to people: `epoch 3 ... loss 0.12`, `val_acc=0.9`, `Epoch 1/10 - loss: 0.5`.
_FOR_PEOPLE = re.compile(
    r"\b(?:epoch|step|iter\w*)\b\D{0,12}\d.*\d|\b\w*(?:loss|acc|auc|f1|score)\w*\b\s*[:=]?\s*-?\d", re.I
)
# How argparse, click and others refuse a flag.
_UNKNOWN = re.compile(r"(?:unrecognized arguments:|[Nn]o such option:?|unknown (?:flag|option|argument)s?:?)\s*(.+)")
_FLAG = re.compile(r"--[A-Za-z][\w-]*")
# A program declares its flags with one of these.
_DECLARES = re.compile(r"add_argument\(|\.option\(|typer|fire\.Fire|tap\b|simple_parsing|HfArgumentParser")
# A declared flag: `add_argument("--lr"`, `@click.option("--lr"`.
_DECLARED = re.compile(r"[\"'](--[A-Za-z][\w-]*)(?:/--[\w-]+)?[\"']")
_ONLY_LITERAL = re.compile(r"typer|fire\.Fire|tap\b|simple_parsing|HfArgumentParser")
_LONGEST = 100
_JSON = "a line is one JSON object of numbers, as json.dumps writes it"


def output(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look at what a command printed: is anything of it meant as a report, and not read as one."""
    if spec.objective is not None:
        return
    fine = True
    for line in tried.output.splitlines():
        if line.startswith(PASSED_OVER):
            fine = False
            said = line.removesuffix("; this is said once").removeprefix("hpo ")
            todo = "write the epoch as a whole number" if "a step that is" in said else _JSON
            yield warning("output", f"hpo {said}", todo)
    if STEPLESS in tried.notices:
        fine = False
        yield warning("output", f"it {without_trial(STEPLESS, tried.notices[STEPLESS])}")
    likely = next((line for line in _lines(tried.output) if _FOR_PEOPLE.search(line)), "")
    if not tried.reports and likely and fine:
        fine = False
        shown = cut(redact(printable_line(likely)), _LONGEST)
        name = spec.metrics[0].name
        example = json.dumps({"epoch": 1, name: 0.5})
        value = f"{name}=value" if name.isidentifier() else f"{{{json.dumps(name, ensure_ascii=False)}: value}}"
        yield error(
            "output",
            f"`{shown}` looks like a metric, and hpo reads JSON lines alone",
            f"print {example} on stdout as well, or call hpo.report(epoch, {value})",
        )
    if fine and tried.reports:
        yield ok("output", "its JSON lines or hpo.report calls were understood")


def flags(spec: StudySpec, tried: Tried) -> Iterator[Finding]:
    """Look for flags of the command that its program does not know."""
    if spec.objective is not None:
        return
    declared = declared_flags(spec)
    refused = _UNKNOWN.search(tried.output) if tried.end.state == "FAIL" else None
    if refused is not None:
        flag = next(iter(_FLAG.findall(refused[1])), "")
        hint = nearest(flag, declared).strip() if flag else ""
        yield error("flags", f"the program refuses {cut(printable_line(refused[1]), _LONGEST)}", hint)
        return
    if not declared:
        return
    unknown = [flag for flag in _given_flags(spec) if not any(known.startswith(flag) for known in declared)]
    for flag in unknown:
        hint = nearest(flag, declared).strip() or f"it knows {listing(sorted(declared), 8)}"
        yield warning("flags", f"the program's code has no {flag}: it may pass it over (parse_known_args)", hint)
    if not unknown and _given_flags(spec):
        yield ok("flags", f"the program knows {listing(_given_flags(spec), 8)}")


def _given_flags(spec: StudySpec) -> list[str]:
    """Return the flags of a command that its Python program gets."""
    parts = [entry for part in spec.objective_ref().command for entry in ((part,) if isinstance(part, str) else part)]
    found = (re.match(r"--[A-Za-z][\w-]*", part) for part in parts)
    return list(dict.fromkeys(one[0] for one in found if one))


def declared_flags(spec: StudySpec) -> set[str]:
    """Return the flags that a Python program declares with their names; none where its code does not say them all."""
    ref = spec.objective_ref()
    if not ref.command or ref.command[0] not in PYTHON:
        return set()
    texts = []
    for name in list(sources_of(ref).files)[:MOST_FILES]:
        try:
            texts.append(Path(ref.root, name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            return set()
    whole = "\n".join(texts)
    if not _DECLARES.search(whole) or _ONLY_LITERAL.search(whole):
        return set()
    return set(_DECLARED.findall(whole))


def _lines(text: str) -> list[str]:
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]
