"""Comparisons of what a run left behind, source by source: each returns one sentence for each difference.

Optuna is compared with what the kind says is right, and every other source with Optuna and with the rows of the history
files, which are read here without hpo.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostile.kind import NAME, PARTS, Kind, Number, Right, agrees, same
from hpo import layout
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.trackers.mlflow import place, records, sync

if TYPE_CHECKING:
    from mlflow.entities import Run
    from optuna.trial import FrozenTrial

TRACEBACK = "Traceback (most recent call last)"
# Bytes of what a small study leaves, unless its kind says otherwise.
MOST = {"driver.log": 20_000, "report.md": 200_000, "report.json": 500_000, "study.yaml": 20_000}
MOST_PRINTED = 20_000
# A reason is cut at about 300 characters; what led to it is said besides.
LONGEST_REASON = 500
# What a terminal obeys, and no line of text needs.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e]")
_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}

Steps = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class Left:
    """What the runs of a kind left in a runs folder."""

    kind: Kind
    runs: Path

    @property
    def folder(self) -> Path:
        """The study's."""
        return layout.study_directory(self.runs, NAME)

    @cached_property
    def trials(self) -> list[FrozenTrial]:
        """Optuna's."""
        return list(load_study(self.runs, NAME)[1].get_trials(deepcopy=False))

    @property
    def counted(self) -> list[FrozenTrial]:
        """Those that were not tried again."""
        return [trial for trial in self.trials if not _outcome(trial).get("requeued")]

    def steps(self, number: int) -> Steps:
        """The rows of a trial's history file, those of one step made one: a later value of a name counts."""
        merged: dict[int, dict[str, float]] = {}
        for step, metrics in _rows(self.folder / "trials" / str(number) / layout.HISTORY):
            merged.setdefault(step, {}).update(metrics)
        return dict(sorted(merged.items()))


# --- Optuna


def in_optuna(left: Left, count: int) -> Iterator[str]:
    """States, numbers, parameters, values, constraints and noted outcomes, as the kind says."""
    if len(left.counted) != count:
        yield f"Optuna has {len(left.counted)} trials that count rather than {count}"
    if len(left.trials) - len(left.counted) != left.kind.requeued:
        yield f"Optuna has {len(left.trials) - len(left.counted)} attempts that were queued again rather than " + (
            f"{left.kind.requeued}: {[_outcome(trial).get('reason') for trial in left.trials]}"
        )
    if _drawn_x(left.kind):
        drawn = sorted(trial.params.get("x", -1.0) for trial in left.counted)
        if drawn != [number / PARTS for number in range(count)]:
            yield f"Optuna has the parameters x = {drawn}"
    for trial in left.counted:
        who, outcome = f"trial {trial.number}", _outcome(trial)
        if not trial.state.is_finished():
            yield f"{who} is {trial.state.name} after the end"
            continue
        yield from _against(_closest(left, trial), left, trial)
        trained = trial.user_attrs.get("hpo:job", {}).get("params")
        if _drawn_x(left.kind) and trained != trial.params:
            yield f"{who} was trained with {trained} rather than {trial.params}"
        if trial.state.name == "COMPLETE":
            final = outcome.get("metrics", {})
            wanted = [final.get(metric) for metric in _metrics_of(left.kind)]
            if list(trial.values or ()) != wanted:
                yield f"{who} has the values {trial.values} in Optuna, but {wanted} was noted"


def _position(left: Left, trial: FrozenTrial) -> int:
    """The trial that it is an attempt at: one that is queued again gets another number."""
    return round(PARTS * trial.params.get("x", 0.0)) if _drawn_x(left.kind) else trial.number


def _closest(left: Left, trial: FrozenTrial) -> Right:
    """Of all that is right of a trial, what differs least from it."""
    right = left.kind.right(_position(left, trial))
    choices = (right, *right.others)
    return min(choices, key=lambda choice: len(list(_against(choice, left, trial))))


def _against(right: Right, left: Left, trial: FrozenTrial) -> Iterator[str]:
    who, outcome = f"trial {trial.number}", _outcome(trial)
    names = {**trial.params, "number": _position(left, trial), "params": trial.user_attrs["hpo:job"]["params"]}
    reason = str(outcome.get("reason", ""))
    stated = (trial.state.name, outcome.get("cause", ""))
    if stated != (right.state, right.cause):
        yield f"{who} is {_state(*stated)} rather than {_state(right.state, right.cause)} (reason: {_cut(reason)})"
    yield from (
        f"{who} has the reason {_cut(reason)}, without {pattern!r}"
        for pattern in right.reason
        if not _search(pattern, reason)
    )
    if stated[0] != "COMPLETE" and not reason:
        yield f"{who} has no reason"
    if len(reason) > LONGEST_REASON:
        yield f"{who} has a reason of {len(reason):,} characters"
    if found := _CONTROL.search(reason) or _surrogate(reason):
        yield f"{who} has {found.group()!r} in its reason"
    constraints = sorted(name for name, value in trial.constraints.items() if value > 0)
    if constraints != sorted(right.constraints):
        yield f"{who} has the constraints {constraints} rather than {sorted(right.constraints)}"
    if right.metrics is not None:
        final = outcome.get("metrics", {})
        yield from _numbers(f"{who} returned", right.metrics, final, names)
    if right.history is not None:
        steps = left.steps(trial.number)
        if steps.keys() != right.history.keys():
            yield f"{who} has the steps {_cut(list(steps))} in its history rather than {_cut(list(right.history))}"
        yield from _few(
            sentence
            for step in sorted(steps.keys() & right.history.keys())
            for sentence in _numbers(f"{who}, step {step}:", right.history[step], steps[step], {**names, "step": step})
        )
    folder = left.folder / "trials" / str(trial.number)
    for name, pattern in right.files.items():
        text = (folder / name).read_text(errors="replace") if (folder / name).is_file() else None
        if text is None:
            yield f"{who} has no {name}"
        elif not _search(pattern, text):
            yield f"{who} has {_cut(text)} in {name}, without {pattern!r}"


def _numbers(
    who: str, right: Mapping[str, Number], found: Mapping[str, float], names: Mapping[str, Any]
) -> Iterator[str]:
    if right.keys() != found.keys():
        yield f"{who} {_cut(sorted(found))} rather than {_cut(sorted(right))}"
    for name in sorted(right.keys() & found.keys()):
        if not agrees(right[name], found[name], names):
            yield f"{who} {name} = {found[name]!r} rather than {right[name]}"


# --- histories


def in_histories(left: Left) -> Iterator[str]:
    """What hpo reads of the histories, and what Optuna has of each first metric, against the rows."""
    first = next(iter(_metrics_of(left.kind)))
    for trial in left.trials:
        steps = left.steps(trial.number)
        path = layout.trial_directory(left.folder, trial.number) / layout.HISTORY
        read = {step.step: step.metrics for step in history.read(path)}
        yield from _same_steps(f"trial {trial.number}: hpo reads", read, steps)
        reported: dict[int, float] = {}
        for step, metrics in _rows(path):
            if math.isfinite(metrics.get(first, math.nan)):
                reported.setdefault(step, metrics[first])
        if trial.intermediate_values != reported and left.kind.usual.history is not None:
            values = _cut(trial.intermediate_values)
            yield f"trial {trial.number}: Optuna has the steps {values}, the history {_cut(reported)}"


def _same_steps(who: str, found: Steps, right: Steps) -> Iterator[str]:
    if list(found) != list(right):
        yield f"{who} the steps {_cut(list(found))} rather than {_cut(list(right))}"
    yield from _few(
        sentence
        for step in sorted(found.keys() & right.keys())
        for sentence in _numbers(f"{who} at step {step}", right[step], found[step], {})
    )


# --- MLflow


def in_mlflow(left: Left) -> Iterator[str]:
    """Each trial has one closed run with its state, its parameters, every value of every step, and its results."""
    from hpo.trackers.mlflow.client import client_of

    if not left.kind.mlflow:
        return
    spec, study = load_study(left.runs, NAME)
    yield from (f"MLflow has {words}, says hpo" for words in sync.check(left.runs, spec, study, driven=False))
    known = place.read_place(left.folder)
    if known is None or place.is_missing_file(known.tracking_uri):
        yield f"MLflow has no runs: {known}"
        return
    client = client_of(known.tracking_uri)
    experiment = client.get_experiment_by_name(known.experiment)
    found = [] if experiment is None else client.search_runs([experiment.experiment_id], max_results=1000)
    by_trial: dict[str, list[Run]] = {}
    for run in found:
        by_trial.setdefault(run.data.tags.get("hpo.trial", ""), []).append(run)
    numbers = sorted(number for number in by_trial if number)
    if numbers != sorted(str(trial.number) for trial in left.trials):
        yield f"MLflow has runs of the trials {numbers}"
    for trial in left.trials:
        who, runs = f"MLflow, trial {trial.number}:", by_trial.get(str(trial.number), [])
        if len(runs) != 1:
            yield f"{who} {len(runs)} runs"
            continue
        run = runs[0]
        status = "KILLED" if _outcome(trial).get("requeued") else _STATUS.get(trial.state.name, "")
        if run.info.status != status:
            yield f"{who} {run.info.status} rather than {status}"
        params = {name: str(value) for name, value in trial.params.items()}
        logged = {name: value for name, value in run.data.params.items() if not name.startswith("constants.")}
        if _drawn_x(left.kind) and logged != params:
            yield f"{who} the parameters {logged} rather than {params}"
        there: dict[int, dict[str, float]] = {}
        for name in run.data.metrics:
            for point in client.get_metric_history(run.info.run_id, name):
                there.setdefault(point.step, {})[name] = point.value
        yield from _points(who, trial, left.steps(trial.number), there)


def _points(who: str, trial: FrozenTrial, steps: Steps, there: Mapping[int, dict[str, float]]) -> Iterator[str]:
    wanted = {
        step: {records.name_of(name): _in_store(value) for name, value in metrics.items()}
        for step, metrics in steps.items()
    }
    reported = {name for metrics in wanted.values() for name in metrics}
    added = {step: {name: value for name, value in row.items() if name not in reported} for step, row in there.items()}
    kept = {step: {name: value for name, value in row.items() if name in reported} for step, row in there.items()}
    yield from _same_steps(who, dict(sorted((step, row) for step, row in kept.items() if row)), wanted)
    final = {}
    if trial.state.name == "COMPLETE":
        final = {records.name_of(f"final/{name}"): value for name, value in _outcome(trial)["metrics"].items()}
    results = {name: value for row in added.values() for name, value in row.items() if name not in records.ADDED}
    yield from _numbers(
        f"{who} results", {name: value for name, value in final.items() if name not in reported}, results, {}
    )


def _in_store(value: float) -> float:
    """MLflow keeps an infinity as the largest number."""
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


# --- the report


def in_report(left: Left) -> Iterator[str]:
    """Counts, states, causes, parameters and values as in Optuna, and no file larger than a small study's."""
    for name in ("report.html", "report.md", "report.json"):
        if not (left.folder / name).is_file():
            yield f"there is no {name}"
            return
    report = json.loads((left.folder / "report.json").read_text(encoding="utf-8"))
    states = [trial.state.name for trial in left.counted]
    counts = {state.lower(): states.count(state) for state in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")}
    if report["counts"] != counts:
        yield f"report.json counts {report['counts']} rather than {counts}"
    text = (left.folder / "report.md").read_text(encoding="utf-8")
    sentence = f"{counts['complete']} complete, {counts['pruned']} pruned and {counts['fail']} failed"
    if sentence not in text:
        yield f"report.md does not say {sentence!r}"
    if found := _CONTROL.search(text):
        yield f"report.md has {found.group()!r}"
    rows = {row["number"]: row for row in report["trials"]}
    if list(rows) != [trial.number for trial in left.trials]:
        yield f"report.json has the trials {list(rows)}"
    for trial in left.trials:
        row, outcome = rows.get(trial.number, {}), _outcome(trial)
        complete = trial.state.name == "COMPLETE"
        right = {
            "state": trial.state.name,
            "requeued": bool(outcome.get("requeued")),
            "values": outcome.get("metrics", {}) if complete else {},
            "cause": outcome.get("cause", ""),
            "reason": outcome.get("reason", ""),
            "epochs": len(left.steps(trial.number)),
        }
        if _drawn_x(left.kind):
            right["params"] = trial.params
        for key, value in right.items():
            if row.get(key) != value:
                yield f"report.json, trial {trial.number}: {key} is {_cut(row.get(key))} rather than {_cut(value)}"


# --- what was said, and what is left


def in_output(left: Left, printed: str) -> Iterator[str]:
    """What the command printed and what its logs hold: what the kind wants said, no traceback, nothing endless."""
    yield from (f"it did not say {pattern!r}" for pattern in left.kind.says if not _search(pattern, printed))
    yield from (f"it said {pattern!r}" for pattern in left.kind.never_says if _search(pattern, printed))
    if len(printed) > MOST_PRINTED:
        yield f"it printed {len(printed):,} characters"
    logs = {name: left.folder / name for name in (layout.DRIVER_LOG, layout.MLFLOW_LOG)}
    texts = {"the command's output": printed} | {
        name: path.read_text(encoding="utf-8", errors="surrogateescape")
        for name, path in logs.items()
        if path.is_file()
    }
    for name, text in texts.items():
        if TRACEBACK in text:
            yield f"a traceback in {name}: {_end_of_traceback(text)}"
        if found := _CONTROL.search(text) or _surrogate(text):
            yield f"{found.group()!r} in {name}"
    for name, most in (MOST | dict(left.kind.most)).items():
        path = left.folder / name
        if path.is_file() and path.stat().st_size > most:
            yield f"{name} has {path.stat().st_size:,} bytes"


def in_folders(temporary: Path, trained: Path, count: int) -> Iterator[str]:
    """Nothing of hpo in the temporary folder; each trial trained once, where its objective keeps a list of that."""
    yield from (f"{path.name} is left in the temporary folder" for path in sorted(temporary.rglob("hpo-*")))
    if trained.exists() and (lines := trained.read_text().split()) != [str(number) for number in range(count)]:
        yield f"the trials were trained in this order: {', '.join(lines)}"


# --- helpers


def _rows(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield row["step"], {name: float(value) for name, value in row["metrics"].items()}


def _outcome(trial: FrozenTrial) -> Mapping[str, Any]:
    noted: Mapping[str, Any] = trial.user_attrs.get("hpo:outcome", {})
    return noted


def _metrics_of(kind: Kind) -> Sequence[str]:
    return [metric["name"] for metric in kind.study.get("metrics", [{"name": "val_loss"}])]


def _drawn_x(kind: Kind) -> bool:
    return "search_space" not in kind.study


def _state(state: str, cause: str) -> str:
    return f"{state} ({cause})" if cause else state


def _end_of_traceback(text: str) -> str:
    """Its last line, which is the first that is not indented."""
    lines = text[text.index(TRACEBACK) :].splitlines()[1:]
    return next((_cut(line) for line in lines if not line.startswith(" ")), "")


def _search(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(pattern, text, re.IGNORECASE)


def _surrogate(text: str) -> re.Match[str] | None:
    return re.search("[\ud800-\udfff]", text)


def _few(sentences: Iterable[str]) -> Iterator[str]:
    """Leave out most of what is said of many steps alike."""
    found = list(sentences)
    yield from found[:2]
    if len(found) > 2:
        yield f"... and {len(found) - 2} more like this"


def _cut(value: object, limit: int = 200) -> str:
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text):,} characters)"


def all_of(*found: Iterable[str]) -> list[str]:
    """All differences in one list; one sentence once."""
    return list(dict.fromkeys(sentence for one in found for sentence in one))


__all__ = ["Left", "all_of", "in_folders", "in_histories", "in_mlflow", "in_optuna", "in_output", "in_report", "same"]
