"""Export of what a study found, as knowledge that can be carried to another machine."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.machine.files import read_json
from hpo.space.parameter import Parameter
from hpo.space.search_space import SearchSpace
from hpo.storage import trial_attributes
from hpo.storage.load_study import load_study
from hpo.warm_start.candidates import Source, round_robin
from hpo.warm_start.knowledge_file import Entry, objective_mark
from hpo.warm_start.sources import began_of, source_of

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
# Folders and addresses of this machine, which mean nothing elsewhere and are nobody's business.
_PLACE = re.compile(r"(~|\.{0,2}/|[A-Za-z]:[\\/]|\\\\)|.*://")


def entry_of(runs: Path, name: str, trials: int) -> tuple[Entry, tuple[str, ...]]:
    """Return the best `trials` configurations of a study, those of each value of `group_by` in turn.

    Returns:
        The entry, and the parameters that were left out because their values are paths.

    Raises:
        StudyNotFound: There is no such study.
        StorageError: Its storage cannot be read.
    """
    spec, study = load_study(runs, name)
    everything = [t for t in study.get_trials(deepcopy=False) if not trial_attributes.requeued(t.user_attrs)]
    source = source_of(spec, study)
    best = [trial for _, trial in itertools.islice(round_robin(spec, [source]), trials)]
    places = tuple(p.name for p in spec.space.parameters if _holds_place(p))
    space = SearchSpace(tuple(p for p in spec.space.parameters if p.name not in places))
    known = {parameter.name for parameter in space.walk()}
    kept = tuple((number, {k: v for k, v in params.items() if k in known}, values) for number, params, values in best)
    directory = layout.study_directory(runs, name)
    counts = {key: sum(t.state == state for t in everything) for key, state in _STATES.items()}
    entry = Entry(
        source=Source(name, space, spec.metrics, kept, tried=counts["complete"] + counts["pruned"]),
        objective=objective_mark(spec.identity()["objective"]),
        group_by=spec.group_by if spec.group_by in known else None,
        counts=counts,
        began=began_of(study.get_trials(deepcopy=False)),
        ended=_ended(everything),
        data=_fingerprints(directory, [number for number, _, _ in kept]),
    )
    return entry, places


def _holds_place(parameter: Parameter) -> bool:
    values: list[Any] = [*parameter.choices, parameter.value]
    below = [child for group in parameter.children.values() for child in group]
    return any(isinstance(v, str) and _PLACE.match(v) for v in values) or any(map(_holds_place, below))


def _ended(trials: list[FrozenTrial]) -> float:
    """Return when the last trial ended, in seconds since the epoch; 0 if none did."""
    finished = [trial.user_attrs.get(trial_attributes.OUTCOME, {}).get("finished") for trial in trials]
    return round(max((float(when) for when in finished if when is not None), default=0.0), 3)


def _fingerprints(directory: Path, numbers: list[int]) -> Mapping[str, str]:
    """Return the fingerprints of the data by split, where all trials that recorded them agree."""
    found: dict[str, set[str]] = {}
    for number in numbers:
        try:
            recorded = read_json(layout.trial_directory(directory, number) / layout.DATA)
            for split, one in recorded.items():
                found.setdefault(str(split), set()).add(str(one["sha256"]))
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            continue
    return {split: marks.pop() for split, marks in found.items() if len(marks) == 1}
