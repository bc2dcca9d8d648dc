"""Location of the MLflow runs of a study, and the key by which they are known to be its own.

`runs/<study>/mlflow.json` holds a random key that every run of the study carries as the tag `hpo.key`. It is written
before anything is made in MLflow. So a run which a kill left half made is found again, and a study that was deleted and
made anew is another one.

A store in the runs folder is noted by its path in there, so that a runs folder which was moved or copied has its own. A
store elsewhere is that of the original: a copy gets a key of its own when it is written there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.machine.files import plain_opener, read_json, write_atomically
from hpo.machine.sqlite_uri import resolved, sqlite_path, sqlite_uri
from hpo.spec.models import MlflowSpec, StudySpec
from hpo.storage.ownership import copied_from, place_of
from hpo.text import redact

ENVIRONMENT = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Place:
    """Location of a study's runs.

    Attributes:
        key: The key of the study, in any store.
        tracking_uri: The store where its runs were written last, without a password; empty if they never were.
        experiment: The experiment there.
    """

    key: str
    tracking_uri: str = ""
    experiment: str = ""


def tracking_uri(spec: StudySpec, runs: Path, recorded: str = "") -> str:
    """Return the store to write to.

    It is that of study.yaml, else of $MLFLOW_TRACKING_URI, else the `recorded` one, else a SQLite file in the runs
    folder. Paths are absolute.
    """
    given = (spec.mlflow or MlflowSpec()).tracking_uri or os.environ.get(ENVIRONMENT) or recorded
    uri = given or sqlite_uri(runs / layout.MLFLOW_STORE)
    return uri if sqlite_path(uri) is None else resolved(uri, Path.cwd())


def written_uri(spec: StudySpec, runs: Path, known: Place) -> str:
    """Return the store that holds the runs now, with the password if study.yaml or the environment has it."""
    today = tracking_uri(spec, runs, known.tracking_uri)
    return today if redact(today) == known.tracking_uri else known.tracking_uri


def is_server(uri: str) -> bool:
    """Return True if the store is an MLflow server."""
    return uri.startswith(("http://", "https://"))


def is_missing_file(uri: str) -> bool:
    """Return True if the store is a SQLite file that is not there."""
    file = sqlite_path(uri)
    return file is not None and not file.exists()


def experiment_name(spec: StudySpec) -> str:
    """Return the experiment that study.yaml names, else the name of the study."""
    return (spec.mlflow or MlflowSpec()).experiment or spec.name


def artifact_folder(uri: str, runs: Path) -> Path:
    """Return where a store that is no server keeps artifacts: beside a SQLite file, else in the runs folder."""
    file = sqlite_path(uri)
    return (runs if file is None else file.parent) / layout.MLFLOW_ARTIFACTS


def read_place(study: Path, runs: Path | None = None) -> Place | None:
    """Read the note in a study's folder; None if the study was never tracked or the note is damaged.

    Args:
        study: The folder.
        runs: The runs folder; None: the folder around it.
    """
    written = _read(study)
    try:
        uri = _here(written.get("tracking_uri", ""), runs or study.parent, study.name, written["key"])
        place = Place(written["key"], uri, written.get("experiment", ""))
    except (KeyError, TypeError, AttributeError):
        return None
    return place if all(isinstance(text, str) for text in asdict(place).values()) else None


def keep_place(study: Path, uri: str, experiment: str) -> Place:
    """Note where the study's runs are about to be written, under the key that it has or now gets."""
    known = read_place(study)
    own = known is not None and not copied_runs(study, uri)
    place = Place(known.key if known and own else new_key(), redact(uri), experiment)
    if place != known or _read(study).get("folder") != os.path.realpath(study):
        write_place(study, place)
    return place


def copied_runs(study: Path, uri: str, runs: Path | None = None) -> str:
    """Return the folder of which a study's folder is a copy, if its key in the store is that of the original there.

    A store in the runs folder was copied with it.
    """
    if _is_inside(uri, runs or study.parent):
        return ""
    written = _read(study)
    return copied_from(written, study, lambda there: there.get("key") == written.get("key"), layout.MLFLOW)


def studies_with(runs: Path, key: str, name: str) -> list[str]:
    """Return the studies of a runs folder that have a key, without the one called `name`."""
    known = {other: read_place(runs / other) for other in layout.studies_in(runs) if other != name}
    return [other for other, noted in known.items() if noted is not None and noted.key == key]


def new_key() -> str:
    """Return a new random key."""
    return uuid.uuid4().hex


def write_place(study: Path, place: Place) -> None:
    """Write the note of where a study's runs are."""
    uri = place.tracking_uri
    if _is_inside(uri, study.parent):
        file = sqlite_path(uri)
        assert file is not None
        uri = sqlite_uri(file.relative_to(study.parent))
    write_atomically(study / layout.MLFLOW, json.dumps(asdict(place) | {"tracking_uri": uri} | place_of(study)))


def _read(study: Path) -> dict[str, Any]:
    try:
        written = read_json(study / layout.MLFLOW)
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def _is_inside(uri: str, runs: Path) -> bool:
    file = sqlite_path(uri)
    return file is not None and file.is_relative_to(runs)


def _here(uri: str, runs: Path, study: str, key: str) -> str:
    """Return the store that a note names, with its path made absolute."""
    file = sqlite_path(uri)
    if file is None:
        return uri
    if not file.is_absolute():
        return resolved(uri, runs)
    # Earlier versions of hpo noted the default store by its whole path, which a moved or copied folder does not have.
    own, before = runs / layout.MLFLOW_STORE, file.parent
    default = file.name == own.name and file != own
    if default and (not file.exists() or _read(before / study).get("key") == key):
        return sqlite_uri(own)
    return uri


@contextlib.contextmanager
def writer_lock(study: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock for writing the runs of a study.

    The kernel drops it when its holder dies.

    Args:
        study: The study's folder.
        wait: Called again and again as long as another process holds the lock; it may raise.
    """
    with open(study / layout.MLFLOW_LOCK, "a", opener=plain_opener) as file:
        while True:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait()
        yield


def sync_command(runs: Path, name: str) -> str:
    """Return the command that makes the runs equal to the study, as it has to be typed here."""
    return layout.follow_up(f"mlflow {shlex.quote(name)} --sync", runs)
