"""Differences between studies, or trials, in what was decided about them and in the data that they used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo import layout
from hpo.analysis.formatting import label
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.machine.files import read_json
from hpo.spec.models import StudySpec
from hpo.spec.wording import algorithm_text

# Keys of study.yaml that say where and how a study ran, not what it did.
NOT_COMPARED = ("name", "root", "engine", "storage", "mlflow", "checkpoints", "constants", "search_space")

# --- configuration


@dataclass(frozen=True)
class Difference:
    """A key whose value is not the same on all sides; an em dash where it is absent."""

    key: str
    values: tuple[str, ...]


def differences(configurations: Sequence[Mapping[str, str]]) -> tuple[Difference, ...]:
    """Return the keys in which configurations differ, in the order in which they first appear."""
    keys = dict.fromkeys(key for configuration in configurations for key in configuration)
    rows = ((key, tuple(own.get(key, "—") for own in configurations)) for key in keys)
    return tuple(Difference(key, values) for key, values in rows if len(set(values)) > 1)


def configuration_of(study: StudyRecord, trial: TrialRecord | None = None) -> dict[str, str]:
    """Return what was decided about a study, or about one trial of it, as texts by key.

    Nested keys are joined by points. The parameters of a trial stand first; a study has its search space instead.
    """
    found: dict[str, str] = {}
    if trial is not None:
        found |= _labels(trial.params)
    spec = study.spec
    if spec is None:
        return found
    if trial is None:
        found |= _search_space(spec)
    found |= _labels(spec.constants)
    found["sampler"] = " or ".join(map(algorithm_text, spec.samplers))
    found["pruner"] = algorithm_text(spec.pruner)
    rest = {key: value for key, value in spec.data().items() if key not in (*NOT_COMPARED, "sampler", "pruner")}
    return found | _labels(rest)


def _search_space(spec: StudySpec) -> dict[str, str]:
    return {f"search_space.{parameter.full_name}": parameter.distribution for parameter in spec.space.walk()}


def _labels(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return values as texts; `{"a": {"b": 1}}` has the key `a.b`."""
    found: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            found |= _labels(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = label(value)
    return found


# --- data


@dataclass(frozen=True)
class SplitData:
    """The data of one split, as far as they are known.

    Attributes:
        split: `train` or `val`.
        samples: How many samples each side has; None where that is unknown.
        same: Whether all sides have the same fingerprint; None where a side recorded none.
        unit: What a sample is, such as `patches`, where all sides recorded the same; empty otherwise.
    """

    split: str
    samples: tuple[int | None, ...]
    same: bool | None
    unit: str = ""


def split_data(sides: Sequence[tuple[StudyRecord, Sequence[TrialRecord]]]) -> tuple[SplitData, ...]:
    """Compare the data of each split, of the given trials of each study."""
    recorded = [[data_of(study, trial) for trial in trials] for study, trials in sides]
    splits = []
    for split in ("train", "val"):
        fingerprints = [{str(one.get(split, {}).get("sha256", "")) for one in own} for own in recorded]
        known = all(own and "" not in own for own in fingerprints)
        same = len(set().union(*fingerprints)) == 1 if known else None
        samples = tuple(_samples(split, own, trials) for own, (_, trials) in zip(recorded, sides, strict=True))
        units = {str(one.get(split, {}).get("unit") or "") for own in recorded for one in own}
        splits.append(SplitData(split, samples, same, units.pop() if len(units) == 1 else ""))
    return tuple(splits)


def data_of(study: StudyRecord, trial: TrialRecord) -> dict[str, dict[str, Any]]:
    """Return what data.json of a trial says of each split; nothing where it is not there or not of that form."""
    try:
        data = read_json(layout.trial_directory(study.directory, trial.number) / layout.DATA)
    except (OSError, ValueError):
        return {}
    splits = data.items() if isinstance(data, dict) else ()
    return {str(split): one for split, one in splits if isinstance(one, dict)}


def _samples(split: str, recorded: Sequence[Mapping[str, Any]], trials: Sequence[TrialRecord]) -> int | None:
    """Return how many samples were recorded, else reported by an epoch; None where the trials differ."""
    found = {one.get(split, {}).get("samples") for one in recorded} - {None}
    found = found or {trial.last(f"{split}_samples") for trial in trials} - {None}
    value = found.pop() if len(found) == 1 else None
    return int(value) if isinstance(value, (int, float)) else None
