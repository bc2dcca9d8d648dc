"""A study kept up to date is the study as it is read anew, and only what has changed is read."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import hpo
from hpo import layout
from hpo.analysis.records import StudyRecord, read_study
from hpo.control.client import extend
from hpo.errors import HpoError
from hpo.storage.history import HistoryWriter, Step, mark_of
from hpo.storage.open import open_storage, storage_url
from hpo.storage.trial_attributes import JOB
from hpo.ui.live import LiveStudy, SharedStorages


class Clock:
    """A clock that goes on by a minute at each look."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 60
        return self.seconds


def same(record: StudyRecord, expected: StudyRecord) -> None:
    assert [(t.number, t.state, dict(t.params), dict(t.values), list(t.history)) for t in record.trials] == [
        (t.number, t.state, dict(t.params), dict(t.values), list(t.history)) for t in expected.trials
    ]
    assert (record.name, record.storage, record.samplers) == (expected.name, expected.storage, expected.samplers)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_what_others_write_is_seen_and_the_rest_is_not_read_again(study_yaml, runs: Path, tmp_path: Path, kind: str):
    keys = {"storage": f"sqlite:///{tmp_path / 's.db'}"} if kind == "sqlite" else {}
    hpo.run(study_yaml(engine={"name": "inline"}, **keys), runs)
    live = LiveStudy(runs, "toy", SharedStorages(), Clock())
    before = live.now()
    same(before.record, read_study(runs, "toy"))
    assert live.now() == before
    assert live.now().record is before.record, "nothing has changed"

    study = optuna.load_study(study_name="toy", storage=open_storage(storage_url(before.spec, runs)))
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    trial.set_user_attr(JOB, {"started": 1.5, "params": dict(trial.params)})
    started = live.now()
    assert started.version != before.version
    assert started.finished == before.finished, "no trial has ended"
    assert started.record.trials[:4] == before.record.trials
    assert all(a is b for a, b in zip(started.record.trials, before.record.trials, strict=False)), "read once"

    writer = HistoryWriter(runs / "toy" / "trials" / "4" / layout.HISTORY, mark_of(4, 1.5))
    for step in range(3):
        writer.append(Step(step, 2.0 + step, 1, {"score": 0.5}))
        reported = live.now()
        assert reported.record.trials[4].steps == step + 1
        assert reported.version != started.version
        same(reported.record, read_study(runs, "toy"))
        started = reported
    writer.close()

    study.tell(trial, 0.5)
    ended = live.now()
    assert ended.finished != before.finished
    same(ended.record, read_study(runs, "toy"))
    study.enqueue_trial({"x": 0.5})
    same(live.now().record, read_study(runs, "toy"))
    assert live.now().record.trials[5].state == "WAITING"


def test_a_study_that_is_deleted_and_made_again_is_the_new_one(study_yaml, runs: Path):
    path = study_yaml(engine={"name": "inline"})
    hpo.run(path, runs)
    live = LiveStudy(runs, "toy", SharedStorages(), Clock())
    first = live.now()
    storage = open_storage(storage_url(first.spec, runs))
    optuna.delete_study(study_name="toy", storage=storage)
    with pytest.raises(KeyError):
        live.now()
    study = optuna.create_study(study_name="toy", storage=storage, direction="maximize")
    study.add_trial(optuna.create_trial(state=TrialState.FAIL))
    second = live.now()
    assert [trial.state for trial in second.record.trials] == ["FAIL"]
    assert second.finished != first.finished


def test_a_larger_budget_is_seen(study_yaml, runs: Path):
    hpo.run(study_yaml(engine={"name": "inline"}), runs)
    live = LiveStudy(runs, "toy", SharedStorages(), Clock())
    first = live.now()
    extend(runs / "toy", {"trials": "+6"})
    assert live.now().spec.budget.trials == 10
    assert live.now().version != first.version


def test_a_study_yaml_that_is_no_yaml_is_an_error_until_it_is_one_again(study_yaml, runs: Path):
    hpo.run(study_yaml(engine={"name": "inline"}), runs)
    live = LiveStudy(runs, "toy", SharedStorages(), Clock())
    live.now()
    recorded = runs / "toy" / layout.SPEC
    right = recorded.read_text()
    recorded.write_text("name: [toy")
    with pytest.raises(HpoError):
        live.now()
    recorded.write_text(right)
    assert len(live.now().record.trials) == 4
