"""What is right after a round of damage: each function returns a sentence for each fault.

Either the books are exact, or a sentence that doctor or run said names what is lost. What is shown as a result is
right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hostile import known
from hostile.damaged_runs import STUDIES, Round, Said
from hpo import layout

Books = Mapping[str, Mapping[str, Any] | None]
# Of `hpo.cli.main`. Nothing interrupts these commands.
_CODES = {0, 1, 2, 3, 4}
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|most recent call first")
# What Python says of an exception that nobody made a sentence of.
_RAW = re.compile(r"\bcheck \w+ failed: |\b(KeyError|TypeError|AttributeError|IndexError|AssertionError)\b")


def faults(done: Round, before: Books) -> list[str]:
    found = [*in_commands(done), *in_values(done, before)]
    hung = any(one.code is None for one in done.said)  # and the commands after it were not given
    return found if hung else [*found, *in_books(done, before)]


def in_commands(done: Round) -> Iterator[str]:
    tracebacks: dict[str, list[str]] = {}
    for one in done.said:
        if one.code is None:
            yield f"hang: `{one.line}` did not end\n{_innermost(one.err)}"
        elif _TRACEBACK.search(one.out + one.err):
            tracebacks.setdefault(_innermost(one.out + one.err), []).append(f"`{one.line}`")
        elif one.code not in _CODES:
            yield f"exit code: `{one.line}` ended with {one.code}: {one.err[-500:]}"
        elif (raw := _RAW.search(one.out + one.err)) and "records" not in one.command:
            text = one.out + one.err
            yield f"raw error: `{one.line}` said ...{text[max(0, raw.start() - 200) : raw.end() + 300]}"
    yield from (f"traceback: {', '.join(lines)}\n{stack}" for stack, lines in tracebacks.items())
    for log in done.runs.glob(f"*/{layout.DRIVER_LOG}"):
        if log.is_file() and _TRACEBACK.search(log.read_text(errors="replace")):
            yield f"traceback: in {log.name}"
    if done.left:
        yield f"processes: {done.left} are left running"


def _innermost(stack: str) -> str:
    """hpo's last frames of a traceback or of the stacks of a hang, and the error."""
    frames = re.findall(r'File "[^"]*/(hpo/[^"]+)", line (\d+),? in (\w+)', stack)
    if not stack.startswith("Timeout"):
        frames.reverse()
    error = next((line for line in reversed(stack.splitlines()) if re.match(r"[\w.]*(Error|Exception)\b", line)), "")
    return "\n".join([*(f"{name}:{line} {function}" for name, line, function in frames[:6]), error])


# --- values


def in_values(done: Round, before: Books) -> Iterator[str]:
    """Every value that is shown as a result is the one of its parameters."""
    for where, study, trial in _shown(done):
        yield from (f"wrong value: {where} shows of {study} {text}" for text in _wrong(trial, study))
    for one in done.said:
        if one.command[0] == "list" and one.code == 0:
            for row in json.loads(one.out):
                if row.get("best") is not None and not _is_known(row, done, before):
                    yield f"wrong value: `list` shows {row['study']} with a best of {row['best']}"


def _shown(done: Round) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, record in done.records.items():
        for trial in record["trials"] if record else ():
            yield "every reader", name, trial
    for place, one in enumerate(done.said):
        if one.code == 0 and one.command[0] in ("status", "best"):
            document = json.loads(one.out)
            trial = document if one.command[0] == "best" else document.get("best")
            when = "before" if place < len(done.said) / 2 else "after"
            if trial:
                yield f"`{one.command[0]}` {when} the resume", one.command[1], {"state": "COMPLETE", **trial}
    for name in STUDIES:
        report = done.runs / name / "report.json"
        if done.records.get(name) and report.is_file() and report.stat().st_mtime > done.began:
            for trial in json.loads(report.read_text())["trials"]:
                yield "report.json", name, trial


def _wrong(trial: Mapping[str, Any], study: str) -> Iterator[str]:
    params = trial["params"]
    number = trial.get("number", trial.get("trial"))
    if trial["state"] == "COMPLETE":
        if set(params) != {"x", "y"}:
            yield f"trial {number} with the parameters {params}"
            return
        right = known.final(params)
        for name, value in trial["values"].items():
            if name in right and value != right[name]:
                yield f"{name} {value} of trial {number}, whose {params} give {right[name]}"
    for step, metrics in trial.get("history", ()):
        if set(params) != {"x", "y"}:
            break  # a parameter that the storage contradicts is not shown, so that none can be judged by it
        right = known.at(params, step) if step < known.STEPS else {}
        for name, value in metrics.items():
            if value != right.get(name):
                yield f"{name} {value} at step {step} of trial {number}, where {right.get(name)} is right"
                return


def _is_known(row: Mapping[str, Any], done: Round, before: Books) -> bool:
    records = [books.get(row["study"]) for books in (done.records, before)]
    trials = [trial for record in records if record for trial in record["trials"] if trial["state"] == "COMPLETE"]
    return any(known.final(trial["params"])[row["metric"]] == row["best"] for trial in trials)


# --- books


def in_books(done: Round, before: Books) -> Iterator[str]:
    """What is lost is named; what was resumed has its exact budget, each configuration once."""
    for study, number, said in differences(done, before):
        if not _named(done, study, number):
            what = f"trial {number} of {study}" if number is not None else study
            yield f"not named: {what}: {said}"
    for one in done.said:
        if one.command[0] == "run" and one.code == 0:
            name = one.command[1].removesuffix(".yaml")
            record = done.records.get(name)
            if record is not None:
                # Records that queued a configuration may be among those that the doctor named as lost.
                lost = any("journal-damaged" in said.out or "number-odd" in said.out for said in done.said)
                for text in _budget(record, json.loads(one.out)):
                    if not (lost and "more than once" in text):
                        yield f"books: {name}: {text}"
            elif not _named(done, name, None):
                yield f"books: `{one.line}` ended well, and {name} cannot be read"


def differences(done: Round, before: Books) -> Iterator[tuple[str, int | None, str]]:
    """Study, trial (None: all of them) and what differs from what it was."""
    for study, was in before.items():
        assert was
        now = done.records.get(study)
        if now is None:
            yield study, None, "it cannot be read any more"
            continue
        trials = {trial["number"]: trial for trial in now["trials"]}
        for trial in was["trials"]:
            number, after = trial["number"], trials.get(trial["number"])
            if after is None:
                yield study, number, "it is gone"
            elif trial["requeued"] or trial["state"] in ("RUNNING", "WAITING"):
                yield from ((study, number, text) for text in _unlike_queued(trial, after, done.records))
            else:
                for key in ("state", "params", "values", "history"):
                    if trial[key] != after[key]:
                        yield study, number, f"its {key} was {_short(trial[key])} and is {_short(after[key])}"
            if after and trial["history"] and (trial["requeued"] or trial["state"] == "RUNNING"):
                again = next((one for one in now["trials"] if one["retry_of"] == number), None)
                if again and again["values"].get("began") == 0:
                    yield study, number, f"trial {again['number']} did not go on from its state, it began afresh"


def _unlike_queued(trial: Mapping[str, Any], after: Mapping[str, Any], records: Books) -> Iterator[str]:
    if trial["params"] and trial["params"] != after["params"]:
        yield f"it was to be tried with {trial['params']}, and has {after['params']}"
    if after["state"] == "FAIL" and not after["requeued"] and "x is too large" not in after["reason"]:
        yield f"it failed: {after['reason']}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 400 else f"{text[:400]}..."


def _named(done: Round, study: str, number: int | None) -> bool:
    """A sentence of doctor or run names the trial, or the damaged file."""
    said = [one for one in done.said if one.command[0] in ("doctor", "run")]
    text = "\n".join(_sentences(one) for one in said)
    about = [line for line in text.splitlines() if study in line or "journal" in line or "study.db" in line]
    if number is None:
        return bool(about)
    trial = re.compile(rf"\btrials? [\d, and]*\b{number}\b|/trials/{number}\b")
    if any(trial.search(line) for line in text.splitlines()):
        return True
    return any(str(done.runs / one.path) in text for one in done.damages)


def _sentences(one: Said) -> str:
    return one.err if one.command[0] == "run" else one.out + one.err


def _budget(record: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[str]:
    trials = {trial["number"]: trial for trial in record["trials"]}
    finished = [trial for trial in trials.values() if not trial["requeued"]]
    budget = document["progress"]["budget"]
    unfinished = [trial["number"] for trial in finished if trial["state"] not in ("COMPLETE", "PRUNED", "FAIL")]
    if unfinished:
        yield f"trials {unfinished} are {trials[unfinished[0]]['state']} after the run ended well"
    if budget is not None and len(finished) - len(unfinished) < budget:
        yield f"{len(finished) - len(unfinished)} trials are finished of a budget of {budget}"
    if document["progress"]["finished"] != len(finished) - len(unfinished):
        yield f"run counted {document['progress']['finished']} finished trials, readers {len(finished)}"
    origins = [_origin(trial, trials) for trial in finished]
    twice = {number for number in origins if origins.count(number) > 1}
    if twice:
        yield f"the configurations of trials {sorted(twice)} have finished more than once"


def _origin(trial: Mapping[str, Any], trials: Mapping[int, Mapping[str, Any]]) -> int:
    while trial["retry_of"] in trials:
        trial = trials[trial["retry_of"]]
    return int(trial["number"])
