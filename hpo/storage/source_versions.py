"""Versions of an objective's source files in a study, and which trial ran with which.

Each version is an attribute of the study, named by its mark (`hpo.objective.sources`). A trial's JOB has the mark of
the files as they were when its driver started; its OUTCOME has another one if the worker ran with other files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpo.objective.sources import Sources
from hpo.storage.trial_attributes import JOB, OUTCOME, SOURCES

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Change:
    """A change of the sources between two trials: the first trial that ran with the new ones, and their names.

    Attributes:
        number: the first trial with the new sources; None: none has run with them yet.
        before: the trial before it.
        files: the paths of files that differ.
    """

    number: int | None
    before: int
    files: tuple[str, ...]


def record_version(study: optuna.Study, sources: Sources) -> None:
    """Keep a version, and the place where it was found, if they are not known yet."""
    if not sources.mark:
        return
    places = _version(study.user_attrs, sources.mark)["places"]
    if sources.place not in places:
        version = {"places": [*places, sources.place], "files": dict(sources.files)}
        study.set_user_attr(f"{SOURCES}{sources.mark}", version)


def places_of(trials: Iterable[FrozenTrial], attributes: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return where the objective of a study's trials was found (`Sources.place`), by the marks of its versions."""
    marks = dict.fromkeys(map(version_of, trials))
    return {mark: _version(attributes, mark)["places"] for mark in marks if mark}


def version_of(trial: FrozenTrial) -> str:
    """Return the mark of the sources that a trial ran with; empty if it is not known."""
    attributes = trial.user_attrs
    noted = (attributes.get(OUTCOME) or {}).get("sources") or (attributes.get(JOB) or {}).get("sources")
    return str(noted) if noted else ""


def changes_of(
    trials: Sequence[FrozenTrial], attributes: Mapping[str, Any], now: Sources | None = None
) -> list[Change]:
    """Return the changes of the sources from trial to trial, and since the last trial.

    Args:
        trials: those of a study, in their order.
        attributes: the study's.
        now: the sources as they are now; None or without files: the last trial's.
    """
    found = []
    before: tuple[int, str] | None = None
    for trial in trials:
        if mark := version_of(trial):
            if before is not None and before[1] != mark:
                files = _differing(files_of(attributes, before[1]), files_of(attributes, mark))
                found.append(Change(trial.number, before[0], files))
            before = trial.number, mark
    if now is not None and now.mark and before is not None and before[1] != now.mark:
        found.append(Change(None, before[0], _differing(files_of(attributes, before[1]), now.files)))
    return found


def _version(attributes: Mapping[str, Any], mark: str) -> Mapping[str, Any]:
    """Return the `places` and the `files` of a version; empty ones if it is not there, or damaged."""
    found = attributes.get(f"{SOURCES}{mark}")
    found = found if isinstance(found, dict) else {}
    places, files = found.get("places"), found.get("files")
    return {"places": places if isinstance(places, list) else [], "files": files if isinstance(files, dict) else {}}


def files_of(attributes: Mapping[str, Any], mark: str) -> Mapping[str, str]:
    """Return the hashes of a version's files by their paths; none if it is not known."""
    files: Mapping[str, str] = _version(attributes, mark)["files"]
    return files


def _differing(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name))
