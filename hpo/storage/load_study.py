"""Loading of a study that has run: its spec and its Optuna study, for reading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.errors import StorageMissing, StudyNotFound
from hpo.machine.access import told_denials
from hpo.storage.open import open_storage, storage_url
from hpo.text import listing, nearest, redact

if TYPE_CHECKING:
    import optuna

    from hpo.spec.models import StudySpec


def load_study(runs: Path, name: str, url: str | None = None) -> tuple[StudySpec, optuna.Study]:
    """Return the spec of a study as it ran, and its Optuna study, for reading.

    Args:
        runs: the folder that holds all studies.
        name: the study's.
        url: that of its storage with the password, which the recorded spec lacks; None: the recorded one.

    Raises:
        StudyNotFound: there is no such study.
        StorageError: its storage cannot be opened.
        AccessDenied: this user may not read it.
    """
    import optuna

    from hpo.spec.load import load_spec

    recorded = layout.study_directory(runs, name) / layout.SPEC
    known = layout.studies_in(runs)
    with told_denials():
        there_is_one = recorded.exists()
    if not there_is_one:
        there = f"it holds {listing(known)}" if known else "it holds none; `hpo run study.yaml` makes the first"
        raise StudyNotFound(f"no study '{name}' in {runs}: {there}.{nearest(name, known)}")
    spec = load_spec(recorded, locate=False)
    try:
        storage = open_storage(url or storage_url(spec, runs), readonly=True)
        return spec, optuna.load_study(study_name=name, storage=storage)
    except (KeyError, StorageMissing):
        raise StudyNotFound(
            f"study '{name}' has a folder in {runs}, but is not in its storage {redact(storage_url(spec, runs))}: it "
            "was deleted there, or the storage was moved"
        ) from None
