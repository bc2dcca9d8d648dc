"""A population that was trained with the toy `segmented`: its checkpoints compared with what the storage says."""

from __future__ import annotations

from pathlib import Path

from hpo import layout
from hpo.machine.checkpoint import read_checkpoint
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import JOB, ORIGIN, SEGMENT, requeued


def check_lineages(runs: Path, members: int, generations: int, interval: int, name: str = "toy") -> None:
    """Each segment is there once and COMPLETE, and the state of its checkpoint is the list of steps and rates that its
    lineage in the storage says: no step lost, doubled, or trained with other parameters. For runs that keep all."""
    _, study = load_study(runs, name)
    trials = study.trials
    counted = [trial for trial in trials if not requeued(trial.user_attrs)]
    assert {trial.state.name for trial in counted} == {"COMPLETE"}
    places = [trial.user_attrs[ORIGIN][SEGMENT] for trial in counted]
    expected = [(member, generation + 1) for member in range(members) for generation in range(generations)]
    assert sorted((place["member"], place["generation"]) for place in places) == expected
    states = {}
    for trial in counted:  # a parent comes before those that go on from it
        place = trial.user_attrs[ORIGIN][SEGMENT]
        before = states[place["parent"]] if place["parent"] is not None else []
        steps = range(place["start"] + 1, place["start"] + interval + 1)
        states[trial.number] = before + [(step, trial.params["rate"]) for step in steps]
        folder = layout.trial_directory(runs / name, trial.number)
        assert read_checkpoint(folder / layout.CHECKPOINT, "") == states[trial.number]
        rows = history.read(folder / layout.HISTORY)
        assert [row.step for row in rows] == [step for step, _ in states[trial.number]]
        assert sorted(trial.intermediate_values) == [row.step for row in rows]
        assert trial.value == -sum((rate - 0.5) ** 2 for _, rate in states[trial.number])
        parent = None if place["parent"] is None else trials[place["parent"]]
        assert parent is None or parent.user_attrs[JOB]["seed"] == trial.user_attrs[JOB]["seed"]
