"""The study.yaml that MLflow keeps of a study, for a folder that has lost it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hpo import layout
from hpo.errors import HpoError
from hpo.text import redact
from hpo.trackers.mlflow import place


@dataclass(frozen=True)
class KeptSpec:
    """text: of study.yaml as the study's last finished run left it. place: where MLflow has its runs."""

    text: str
    place: place.Place


def kept_spec(runs: Path, name: str) -> KeptSpec | None:
    """Of the study whose key its folder still has, else of the only one of that name in the store that is used here.
    None if there is none or more than one. Raises HpoError if the store cannot be read."""
    known = place.read_place(layout.study_directory(runs, name))
    uri = (known.tracking_uri if known else "") or os.environ.get(place.ENVIRONMENT, "")
    uri = uri or f"sqlite:///{runs / layout.MLFLOW_STORE}"
    # A client would make the file.
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None
    from hpo.trackers.mlflow import records
    from hpo.trackers.mlflow.client import client_of, reason, search

    value, tag = (known.key, records.KEY) if known else (name, "hpo.study")
    try:
        client = client_of(uri)
        experiments = {found.experiment_id: found.name for found in client.search_experiments()}
        found = [
            run
            for run in search(client, list(experiments), value, tag)
            if run.data.tags.get(records.KIND) == records.STUDY_KIND and run.info.lifecycle_stage == "active"
        ]
        if len(found) != 1:
            return None
        (run,) = found
        if layout.SPEC not in {file.path for file in client.list_artifacts(run.info.run_id)}:
            return None
        with tempfile.TemporaryDirectory() as folder:
            text = Path(client.download_artifacts(run.info.run_id, layout.SPEC, folder)).read_text(encoding="utf-8")
    except Exception as error:  # each store raises its own classes
        raise HpoError(f"MLflow at {redact(uri)} cannot be read: {reason(error)}") from error
    where = place.Place(run.data.tags[records.KEY], redact(uri), experiments[run.info.experiment_id])
    return KeptSpec(text, where)
