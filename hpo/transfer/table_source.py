"""Trials in a CSV file: a row a trial, or a row a step, of any tool; and the runs table that W&B exports.

What a column is, its name says: `params_lr`, `config/lr` and `config.lr.value` are parameters, as are all columns that
are nothing else; `values_auc` and `summary.auc` are metrics, as are those whose names sound like one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from hpo import layout
from hpo.analysis.training import log_files
from hpo.curves.metric_names import direction_by_name
from hpo.errors import TransferError
from hpo.machine.files import parse_json
from hpo.storage.history import LARGEST_TIME
from hpo.text import cut, listing, nearest, quote
from hpo.transfer.source import COMPLETE, FAIL, PRUNED, Examples, Source, SourceTrial, moment, rows_of

TRIALS, HISTORIES, STUDY = "trials.csv", "histories.csv", "study.yaml"
KEY_COMMENT = "# Exported by hpo. Key of the study: "
# Names of columns, in small letters, by what they hold; the first one that is there counts.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "trial": ("trial", "number", "trial_id", "trial_number", "run_id", "run", "id", "config_id", "name"),
    "step": ("step", "epoch", "iteration", "training_iteration", "global_step"),
    "time": ("time", "timestamp", "_timestamp"),
    "state": ("state", "status"),
    "reason": ("reason", "error"),
    "cause": ("cause",),
    "requeued": ("requeued",),
    "seed": ("seed",),
    "started": ("started", "datetime_start", "start_time", "created"),
    "finished": ("finished", "datetime_complete", "end_time"),
    "seconds": ("seconds", "duration", "runtime", "_runtime"),
}
# Of a table that a tool wrote, which holds no parameter or metric without a prefix.
_OF_FRAMES = ("cause", "reason", "seed", "requeued")
_PARAMS = ("params_", "params.", "param_", "config/", "config.", "hparams/", "hyperparameters/")
_VALUES = ("values_", "summary.", "summary/")
_PASSED_OVER = ("notes", "user", "tags", "sweep", "created", "runtime", "id", "name", "description", "host", "group")
_STATES = {
    **dict.fromkeys(
        ("complete", "completed", "finished", "success", "succeeded", "done", "terminated", "ok"), COMPLETE
    ),
    **dict.fromkeys(("pruned", "stopped", "early_stopped"), PRUNED),
    **dict.fromkeys(("fail", "failed", "error", "crashed", "crash", "killed", "aborted"), FAIL),
    **dict.fromkeys(("running", "pending", "waiting", "queued", "scheduled", "preempting", "preempted", "paused"), ""),
}
_NOTHING = ("", "na", "n/a", "null", "-")
_SPLITS = ("train_", "val_", "valid_", "validation_", "test_", "eval_", "train/", "val/", "valid/", "test/", "eval/")


@dataclass(frozen=True)
class Reading:
    """Reading of a table, as far as the user or a study.yaml says it.

    Attributes:
        params: Columns that are parameters; empty: not said.
        metrics: Columns that are metrics.
        known: Names of the parameters of the study.
        trial: The column that tells trials apart; empty: found by its name.
        step: The column of the steps; empty: found by its name.
        ignored: Columns that are passed over.
    """

    params: Collection[str] = ()
    metrics: Collection[str] = ()
    known: Collection[str] = ()
    trial: str = ""
    step: str = ""
    ignored: Collection[str] = ()


@dataclass(frozen=True)
class _Columns:
    """Columns of a table: those of _NAMES, those of parameters and metrics by name, and the others."""

    of: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, str]
    others: tuple[str, ...]


@dataclass
class _Lines:
    """Rows of one trial."""

    name: str
    rows: list[log_files.Row] = field(default_factory=list)


def read_csv(path: Path, reading: Reading) -> Source:
    """Return the trials of a CSV file, or of a folder that `hpo export --csv` has written.

    Raises:
        TransferError: The file cannot be read as a table of trials; it says where, and what was expected.
        LogError: It is no CSV file.
    """
    folder = path if path.is_dir() else None
    file = path / TRIALS if folder else path
    if not file.is_file():
        expected = (
            f"a folder with {TRIALS}" if folder else "a CSV file, or a folder that `hpo export --csv` has written"
        )
        raise TransferError(f"there is no file {file}; expected {expected}")
    beside = (file.parent / HISTORIES) if file.name == TRIALS else None
    histories = _histories(beside) if beside is not None and beside.is_file() else {}
    source = _read(file, reading, "csv", histories)
    text = _exported_study(file)
    if not text:
        return source
    key = text.partition("\n")[0].removeprefix(KEY_COMMENT)
    return replace(source, name=exported_name(path), study_yaml=text.partition("\n")[2], study_key=key)


def exported_name(path: Path) -> str:
    """Return the name of the study that `hpo export --csv` has written; of another file its name without the suffix."""
    file = path / TRIALS if path.is_dir() else path
    found = re.search(r"(?m)^name: *(\S+) *$", _exported_study(file))
    return found[1] if found else file.absolute().stem


def _exported_study(file: Path) -> str:
    """Return the study.yaml that was exported beside trials; empty if there is none."""
    beside = file.with_name(STUDY)
    if file.name != TRIALS or not beside.is_file():
        return ""
    text = log_files.text_of(beside)
    return text if text.startswith(KEY_COMMENT) else ""


def read_wandb_csv(path: Path, reading: Reading) -> Source:
    """Return the runs of a table that was exported as CSV from a project's page of W&B.

    Raises:
        TransferError: The file is no such table.
        LogError: It is no CSV file.
    """
    if not path.is_file():
        raise TransferError(f"there is no file {path}; expected the runs table of a W&B project, exported as CSV")
    return _read(path, reading, "wandb-csv", {})


def _read(path: Path, reading: Reading, kind: str, histories: Mapping[str, list[log_files.Row]]) -> Source:
    rows, remarks = log_files.csv_rows(path, log_files.text_of(path))
    if not rows:
        raise TransferError(f"{path} has a header and no row; expected a row for each trial")
    names = list(dict.fromkeys(name for row in rows for name in row.cells if name))
    columns = _columns(path, names, reading, kind)
    left_out = Examples()
    trials = []
    for identity, lines in _by_trial(path, rows, columns, kind).items():
        state = _state(path, lines, columns)
        if not state:
            left_out.add("had not ended", lines.name)
            continue
        if str(lines.rows[-1].cells.get(columns.of.get("requeued", ""), "")).lower() == "true":
            left_out.add("were lost and tried again there", lines.name)
            continue
        trials.append(_trial(path, identity, lines, state, columns, histories))
    passed = listing(columns.others)
    others = (f"columns passed over: {passed}; --params says which are parameters",) if passed else ()
    notes = (*remarks, *left_out.sentences("trial"), *others)
    return Source(
        kind, str(layout.absolute(path)), path.stem, tuple(trials), tuple(columns.metrics), typed=False, notes=notes
    )


# --- columns


def _columns(path: Path, names: Sequence[str], reading: Reading, kind: str) -> _Columns:
    for said, column in (("--trial-column", reading.trial), ("--step-column", reading.step)):
        if column and column not in names:
            raise TransferError(
                f"{path} has no column '{column}' ({said}).{nearest(column, names)} It has {listing(names)}"
            )
    for column in reading.params:
        if not any(column in (name, _stripped(name, _PARAMS)) for name in names):
            raise TransferError(
                f"{path} has no column '{column}' (--params).{nearest(column, names)} It has {listing(names)}"
            )
    prefixed = any(name.startswith(_PARAMS) for name in names)
    valued = prefixed and any(name.startswith(_VALUES) or name == "value" for name in names)
    taken = {column for column in (reading.trial, reading.step) if column}
    small = {name.lower(): name for name in reversed(names)}
    of = {role: column for role, column in (("trial", reading.trial), ("step", reading.step)) if column}
    own = {*reading.params, *reading.metrics, *reading.known}
    for role, candidates in _NAMES.items():
        of_steps = role in ("step", "time")
        if role in of or (role in _OF_FRAMES and not prefixed) or (of_steps and kind == "wandb-csv"):
            continue
        found = (small[name] for name in _in_order(role, candidates, kind) if name in small)
        free = next((name for name in found if name not in taken and name not in own), None)
        if free is not None:
            of[role] = free
            taken.add(free)
    if kind == "csv" and "step" not in of:
        of.pop("time", None)
    params, metrics, others = dict[str, str](), dict[str, str](), list[str]()
    for name in names:
        if name in taken or name in reading.ignored:
            continue
        if name.startswith(_PARAMS):
            params[_stripped(name, _PARAMS)] = name
        elif name.startswith(_VALUES):
            metrics[_stripped(name, _VALUES)] = name
        elif name in reading.metrics or (prefixed and name == "value"):
            metrics[name] = name
        elif name in reading.params or name in reading.known:
            params[name] = name
        elif valued or (kind == "wandb-csv" and (name.lower() in _PASSED_OVER or name[0] == "_")):
            continue
        elif _sounds_like_metric(name):
            metrics[name] = name
        elif not prefixed and not reading.params:
            params[name] = name
        else:
            others.append(name)
    if not params:
        raise TransferError(
            f"{path} has no column that is a parameter: it has {listing(names)}. Expected such as learning_rate or "
            "params_learning_rate; --params A,B says which columns are parameters"
        )
    return _Columns(of, params, metrics, tuple(others))


def _in_order(role: str, candidates: Sequence[str], kind: str) -> Sequence[str]:
    """Return the names of a column in the order in which they count: a run of W&B has an ID and a name."""
    return ("id", "name") if kind == "wandb-csv" and role == "trial" else candidates


def _stripped(name: str, prefixes: Iterable[str]) -> str:
    bare = next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)
    return bare.removesuffix(".value")


def _sounds_like_metric(name: str) -> bool:
    small = name.lower()
    return small.startswith(_SPLITS) or bool(direction_by_name(small.replace("/", "_")))


# --- trials


def _by_trial(path: Path, rows: Sequence[log_files.Row], columns: _Columns, kind: str) -> dict[tuple[str, ...], _Lines]:
    """Return the rows of each trial, by what tells it from others."""
    trial, step = columns.of.get("trial"), columns.of.get("step")
    if step is not None and trial is None:
        if len({_plain(row.cells.get(step)) for row in rows}) == len(rows):
            raise TransferError(
                f"{path} has a column '{step}' and none that tells trials apart; expected one such as 'trial' "
                "(--trial-column NAME). One training alone is read by `hpo diagnose`"
            )
        raise TransferError(
            f"{path} has a row a step ('{step}') and no column that tells trials apart; expected one such as 'trial' "
            "(--trial-column NAME)"
        )
    where = () if kind == "wandb-csv" and trial is not None and trial.lower() == "id" else (str(layout.absolute(path)),)
    found: dict[tuple[str, ...], _Lines] = {}
    seen: Counter[str] = Counter()
    for row in rows:
        if trial is None:
            content = sha256(repr(sorted(row.cells.items())).encode()).hexdigest()[:16]
            seen[content] += 1
            identity, name = (*where, content, str(seen[content])), row.place
        else:
            mark = str(row.cells.get(trial, ""))
            if not mark:
                raise TransferError(
                    f"{path}, {row.place}: the column '{trial}' is empty; expected what tells trials apart"
                )
            identity, name = (*where, mark), f"run {mark}" if kind == "wandb-csv" else f"trial {mark}"
        lines = found.setdefault((kind, *identity), _Lines(name))
        if lines.rows and step is None:
            raise TransferError(
                f"{path}, {row.place}: {name} is there before, in {lines.rows[0].place}. Expected a row a trial, or a "
                "column of steps too (--step-column NAME)"
            )
        lines.rows.append(row)
    return found


def _state(path: Path, lines: _Lines, columns: _Columns) -> str:
    column = columns.of.get("state")
    said = [(row.place, str(row.cells.get(column, "")).strip()) for row in lines.rows] if column else []
    said = [(place, word) for place, word in said if word]
    if not said:
        return COMPLETE
    place, word = said[-1]
    known = word.rpartition(".")[2].lower()
    if known not in _STATES:
        raise TransferError(
            f"{path}, {place}: {quote(cut(word, 60))} is no state of a trial; expected complete, pruned or failed, or "
            f"what other tools call it ({listing(_STATES, 30)}).{nearest(known, _STATES)}"
        )
    return _STATES[known]


def _trial(
    path: Path,
    identity: tuple[str, ...],
    lines: _Lines,
    state: str,
    columns: _Columns,
    histories: Mapping[str, list[log_files.Row]],
) -> SourceTrial:
    def last(role: str) -> str:
        column = columns.of.get(role)
        cells = (str(row.cells.get(column, "")).strip() for row in reversed(lines.rows)) if column else iter(())
        return next((cell for cell in cells if cell), "")

    params: dict[str, str] = {}
    for name, column in columns.params.items():
        for row in lines.rows:
            cell = _plain(row.cells.get(column))
            if name not in params or params[name] == cell or not cell:
                params.setdefault(name, cell)
            elif not params[name]:
                params[name] = cell
            else:
                raise TransferError(
                    f"{path}, {row.place}: {name} of {lines.name} is {quote(cell)}, and {quote(params[name])} in "
                    f"{lines.rows[0].place}; expected one value a trial. A metric is named with --metric, and --ignore "
                    f"{name} passes it over"
                )
    own = histories.get(identity[-1], [])
    step = columns.of.get("step")
    points = list(_points(path, lines.rows, step, columns.of.get("time"), columns.metrics)) if step else []
    points += _long_points(own)
    finals: dict[str, float] = {}
    for row in lines.rows:
        for name, column in columns.metrics.items():
            value = _number(row.cells.get(column))
            if value is not None:
                finals[name] = value
    started, seconds = _time(last("started")), _length(last("seconds"))
    finished = _time(last("finished"))
    if finished is None and started is not None and seconds is not None:
        finished = started + seconds
    seed = last("seed")
    return SourceTrial(
        key=identity,
        name=lines.name,
        state=state,
        params={name: cell for name, cell in params.items() if cell},
        metrics=finals,
        rows=rows_of(points),
        reason=_unquoted(last("reason")),
        cause=last("cause"),
        started=moment(started),
        finished=moment(finished),
        seed=int(seed) if seed.isdecimal() and len(seed) <= 10 else None,
    )


def _points(
    path: Path, rows: Sequence[log_files.Row], step: str, time: str | None, metrics: Mapping[str, str]
) -> Iterator[tuple[int, str, float, float | None]]:
    for row in rows:
        written = str(row.cells.get(step, "")).strip()
        if not written:
            continue
        number = _number(written)
        if number is None or not number.is_integer() or not 0 <= number <= 2**53:
            raise TransferError(f"{path}, {row.place}: {quote(written)} is no step; expected a whole number from 0 on")
        when = _time(str(row.cells.get(time, ""))) if time else None
        for name, column in metrics.items():
            value = _number(row.cells.get(column))
            if value is not None:
                yield int(number), name, value, when


def _histories(path: Path) -> dict[str, list[log_files.Row]]:
    """Return the rows of a table of histories by their trials: trial, step, metric, value, time."""
    rows, _ = log_files.csv_rows(path, log_files.text_of(path))
    names = {name for row in rows for name in row.cells}
    if rows and (lacking := {"trial", "step", "metric", "value"} - names):
        raise TransferError(
            f"{path} has no column {listing(sorted(lacking))}; expected trial, step, time, metric, value"
        )
    found: dict[str, list[log_files.Row]] = {}
    for row in rows:
        found.setdefault(str(row.cells.get("trial", "")), []).append(row)
    return found


def _long_points(rows: Iterable[log_files.Row]) -> Iterator[tuple[int, str, float, float | None]]:
    for row in rows:
        step, value = _number(row.cells.get("step")), _number(row.cells.get("value"))
        name = _unquoted(str(row.cells.get("metric", "")))
        if step is not None and value is not None and name and step.is_integer() and 0 <= step <= 2**53:
            yield int(step), name, value, _time(str(row.cells.get("time", "")))


# --- cells


def _plain(cell: object) -> str:
    """Return a cell as text; of `{"value": 0.1}`, as W&B writes some configurations, the value."""
    text = _unquoted(str(cell if cell is not None else "").strip())
    if text.startswith("{"):
        try:
            item = parse_json(text)
        except ValueError:
            return text
        if isinstance(item, dict) and "value" in item:
            return str(item["value"])
    return "" if text.lower() in _NOTHING else text


def _unquoted(text: str) -> str:
    """Return a text without the quote that keeps a spreadsheet from taking it for a formula."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def _number(cell: object) -> float | None:
    text = str(cell if cell is not None else "").strip()
    if text.lower() in _NOTHING or not text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _time(text: str) -> float | None:
    """Return a time in seconds since the epoch, of a number or a date; without a zone it is that of this host."""
    number = _number(text)
    if number is not None:
        if number > LARGEST_TIME:  # milliseconds
            number /= 1000
        return moment(number)
    try:
        return moment(datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def _length(text: str) -> float | None:
    """Return a duration in seconds, of a number or of pandas's `0 days 00:01:02.5`."""
    number = _number(text)
    if number is not None:
        return number if math.isfinite(number) and number >= 0 else None
    days, _, clock = text.rpartition("days")
    try:
        hours, minutes, seconds = clock.strip().split(":")
        length = timedelta(
            days=float(days or 0), hours=float(hours), minutes=float(minutes), seconds=float(seconds)
        ).total_seconds()
    except ValueError:
        return None
    return length if length >= 0 else None
