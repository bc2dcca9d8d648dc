"""Trials of a study of Optuna's, in any storage that Optuna opens."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.errors import HpoError, StorageError, TransferError
from hpo.machine.sqlite_uri import resolved, sqlite_path, sqlite_uri
from hpo.storage.journal import JOURNAL_SCHEME
from hpo.storage.open import close_storage, open_storage, storage_file
from hpo.storage.trial_attributes import JOB, KEY, OUTCOME, imported_from, outcome_of, requeued
from hpo.text import first_line, listing, nearest, redact
from hpo.transfer.source import COMPLETE, Examples, Source, SourceTrial, finite, moment, rows_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# The attribute that `hpo export --optuna` gives a study and each trial: what Optuna has no place for.
EXPORTED = "hpo:exported"
_LEFT_OUT = {"RUNNING": "still ran there", "WAITING": "had not started there"}


def read_optuna(url: str, name: str | None) -> Source:
    """Return the finished trials of a study.

    Args:
        url: The storage: `sqlite:///FILE`, `journal:FILE`, another URL of SQLAlchemy, or the path of such a file.
        name: The study; None if the storage has but one.

    Raises:
        TransferError: There is no such storage or study.
        StorageError: The storage cannot be opened.
    """
    import optuna

    place = storage_place(url)
    storage = open_storage(place, readonly=True)
    try:
        study = optuna.load_study(study_name=_chosen(storage, name, place), storage=storage)
        return _source(study, redact(place))
    except HpoError:
        raise
    except Exception as error:  # of a damaged record, each storage and each database driver raises its own classes
        why = f"a record of it is damaged ({first_line(error)})" if isinstance(error, ValueError) else first_line(error)
        raise StorageError(f"the storage {redact(place)} cannot be read: {why}") from error
    finally:
        close_storage(storage)


def storage_place(url: str, must_exist: bool = True) -> str:
    """Return a storage's URL with the path of its file made absolute; a bare path is that of a SQLite file or journal.

    Raises:
        TransferError: It is a file that is not there, or no storage.
    """
    if url.startswith(JOURNAL_SCHEME):
        url = f"{JOURNAL_SCHEME}{layout.absolute(Path(url.removeprefix(JOURNAL_SCHEME)).expanduser())}"
    elif sqlite_path(url) is not None:
        url = resolved(url, Path.cwd())
    elif "://" not in url:
        path = layout.absolute(Path(url).expanduser())
        url = sqlite_uri(path) if _is_sqlite(path) else f"{JOURNAL_SCHEME}{path}"
    file = storage_file(url)
    if must_exist and file is not None and not file.is_file():
        what = "is a folder" if file.is_dir() else "is not there"
        raise TransferError(
            f"the storage {file} {what}; expected a file of Optuna's, such as sqlite:///study.db or a journal"
        )
    return url


def _is_sqlite(path: Path) -> bool:
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(15) == b"SQLite format 3"
    except OSError:
        return False


def _chosen(storage: optuna.storages.BaseStorage, name: str | None, place: str) -> str:
    known = sorted(frozen.study_name for frozen in storage.get_all_studies())
    if name is None and len(known) == 1:
        return known[0]
    if name in known:
        return str(name)
    if not known:
        raise TransferError(f"the storage {redact(place)} holds no study of Optuna's")
    there = f"it holds {listing(repr(one) for one in known)}"
    if name is None:
        raise TransferError(f"the storage {redact(place)} holds {len(known)} studies; name one of them: {there}")
    raise TransferError(f"there is no study '{name}' in {redact(place)}; {there}.{nearest(name, known)}")


def _source(study: optuna.Study, place: str) -> Source:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of metrics are experimental in Optuna
        named = study.metric_names
    many = len(study.directions)
    metrics = tuple(named or (["value"] if many == 1 else [f"value_{k}" for k in range(many)]))
    left_out = Examples()
    trials, distributions = [], dict[str, Any]()
    for frozen in study.get_trials(deepcopy=False):
        if frozen.state.name in _LEFT_OUT:
            left_out.add(_LEFT_OUT[frozen.state.name], f"trial {frozen.number}")
        elif requeued(frozen.user_attrs):
            left_out.add("were lost and tried again there", f"trial {frozen.number}")
        else:
            trials.append(_trial(frozen, study.study_name, metrics))
            for name, distribution in frozen.distributions.items():
                known = distributions.get(name)
                distributions[name] = distribution if known is None else _wider(known, distribution)
    exported = study.user_attrs.get(EXPORTED)
    exported = exported if isinstance(exported, dict) else {}
    return Source(
        kind="optuna",
        place=place,
        name=study.study_name,
        trials=tuple(trials),
        metrics=metrics,
        directions=tuple(direction.name.lower() for direction in study.directions),
        distributions=distributions,
        notes=left_out.sentences("trial"),
        study_yaml=str(exported.get("study_yaml", "")),
        study_key=str(exported.get("study_key") or study.user_attrs.get(KEY, "")),
    )


def _wider(one: Any, other: Any) -> Any:
    """Return a distribution that spans both, of a study whose ranges were changed while it ran."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one == other or type(one) is not type(other):
        return one
    if isinstance(one, CategoricalDistribution):
        return CategoricalDistribution(tuple(dict.fromkeys((*one.choices, *other.choices))))
    low, high = min(one.low, other.low), max(one.high, other.high)
    log = one.log and other.log
    if isinstance(one, IntDistribution):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _trial(frozen: FrozenTrial, study: str, metrics: tuple[str, ...]) -> SourceTrial:
    noted = frozen.user_attrs.get(EXPORTED)
    more: Mapping[str, Any] = noted if isinstance(noted, dict) else _of_hpo(frozen)
    values = frozen.values if frozen.state.name == COMPLETE else None
    finals = {**finite(more.get("metrics") or {}), **dict(zip(metrics, values or (), strict=False))}
    begun = frozen.datetime_start.timestamp() if frozen.datetime_start else None
    ended = frozen.datetime_complete.timestamp() if frozen.datetime_complete else None
    points = [(step, metrics[0], value, None) for step, value in frozen.intermediate_values.items()]
    started, finished = more.get("started", begun), more.get("finished", ended)
    return SourceTrial(
        key=("optuna", study, str(frozen.number), str(frozen.datetime_start)),
        name=f"trial {frozen.number}",
        state=frozen.state.name,
        params=dict(frozen.params),
        metrics=finals,
        rows=rows_of([*points, *_history(more.get("history"))]),
        reason=str(more.get("reason") or ""),
        cause=str(more.get("cause") or ""),
        started=moment(started),
        finished=moment(finished),
        seed=seed if type(seed := more.get("seed")) is int else None,
    )


def _of_hpo(frozen: FrozenTrial) -> dict[str, Any]:
    """Return the same of a trial in a storage that hpo itself writes."""
    job = frozen.user_attrs.get(JOB)
    if not isinstance(job, dict) or not isinstance(frozen.user_attrs.get(OUTCOME, {}), dict):
        return {}
    outcome = outcome_of(frozen)
    known = {name: outcome[name] for name in ("metrics", "cause", "reason") if name in outcome}
    started, seconds = job.get("started"), outcome.get("seconds")
    if elsewhere := imported_from(frozen.user_attrs):  # its times may not have been known to hpo either
        started = elsewhere.get("started")
    ended = None if started is None or seconds is None else started + seconds
    return known | {"seed": job.get("seed"), "started": started, "finished": ended}


def _history(noted: Any) -> Iterator[tuple[int, str, float, float | None]]:
    """Yield the points of an exported history, `{"val_loss": [[step, value, time], ...]}`, without damaged ones."""
    for name, points in noted.items() if isinstance(noted, dict) else ():
        for point in points if isinstance(points, list) else ():
            try:
                step, value, time = point
                value, time = float(value), None if time is None else float(time)
            except (TypeError, ValueError):
                continue
            if type(step) is int and not (time is not None and math.isnan(time)):
                yield step, name, value, time
