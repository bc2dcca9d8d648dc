from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from hpo import layout
from hpo.analysis.records import read_study, records_of
from hpo.errors import StudyNotFound
from hpo.spec.models import StudySpec
from hpo.storage import history
from hpo.storage.history import HistoryWriter, Step

SPACE = {
    "x": {"low": 0.0, "high": 1.0},
    "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
}


@pytest.fixture
def spec(make_spec: Callable[..., StudySpec]) -> StudySpec:
    return make_spec(search_space=SPACE, group_by="loss", constants={"epochs": 3})


def test_records_of_every_state(spec: StudySpec, tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    job = {"seed": 1, "attempt": 1, "retry_of": None, "source": "enqueue", "started": 100.0}
    for number in range(4):
        study.enqueue_trial({"x": 0.25 * number, "loss": "focal", "loss.focal.gamma": 2.0})
    trials = [study.ask() for _ in range(4)]
    for trial in trials:
        trial.set_user_attr("hpo:job", {**job, "params": spec.space.suggest(trial)})
    writer = HistoryWriter(layout.trial_directory(tmp_path, 1) / layout.HISTORY)
    for step in range(2):
        writer.append(Step(step, 1.0, 1, {"score": 0.1 * step}))
    writer.close()
    done = {"cause": "", "reason": "", "metrics": {"score": 0.5, "other": 7.0}, "seconds": 2.5, "gpu_seconds": 1.25}
    trials[0].set_user_attr("hpo:outcome", done)
    study.tell(trials[0], 0.5)
    trials[1].report(0.9, 0)
    pruned = {"cause": "pruner", "reason": "behind", "metrics": {}, "seconds": 1.0, "gpu_seconds": 0.0}
    trials[1].set_user_attr("hpo:outcome", pruned)
    study.tell(trials[1], state=optuna.trial.TrialState.PRUNED)
    lost = {"cause": "lost", "reason": "killed", "metrics": {}, "seconds": 1.0, "gpu_seconds": 0.0, "requeued": True}
    trials[2].set_user_attr("hpo:outcome", lost)
    study.tell(trials[2], state=optuna.trial.TrialState.FAIL)
    trials[3].set_user_attr("hpo:outcome", done)  # noted, but the driver died before the trial was told

    record = records_of(study, spec, tmp_path)
    complete, stopped, again, running = record.trials
    assert complete.params == {"x": 0.0, "loss": "focal", "gamma": 2.0}
    assert complete.optuna_params["loss.focal.gamma"] == 2.0
    assert complete.values == {"score": 0.5, "other": 7.0}
    assert (complete.seconds, complete.gpu_seconds, complete.started, complete.source) == (2.5, 1.25, 100.0, "enqueue")
    assert (stopped.state, stopped.values, stopped.cause, stopped.reason) == ("PRUNED", {}, "pruner", "behind")
    assert (stopped.steps, stopped.last("score"), stopped.last("unknown")) == (2, 0.1, None)
    assert again.requeued
    assert not again.finished
    assert (running.state, running.cause, running.values, running.seconds) == ("RUNNING", "", {}, None)
    assert [trial.number for trial in record.finished] == [0, 1]
    assert record.spec == spec
    assert records_of(study, spec, tmp_path, histories=False).trials[1].history == stopped.history


def test_a_trial_added_by_another_program_is_read_too(spec: StudySpec, tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    distributions = {
        "x": optuna.distributions.FloatDistribution(0.0, 1.0),
        "loss": optuna.distributions.CategoricalDistribution(("bce", "focal")),
    }
    study.add_trial(
        optuna.trial.create_trial(params={"x": 0.5, "loss": "bce"}, distributions=distributions, value=0.75)
    )
    (trial,) = records_of(study, spec, tmp_path).trials
    assert (trial.params, trial.values) == ({"x": 0.5, "loss": "bce"}, {"score": 0.75})
    assert trial.source == "other"


def test_the_password_of_the_storage_is_not_in_the_record(make_spec: Callable[..., StudySpec], tmp_path: Path) -> None:
    spec = make_spec(storage="postgresql://me:secret@host/db")
    record = records_of(optuna.create_study(direction="maximize"), spec, tmp_path)
    assert record.storage == "postgresql://me@host/db"


def test_a_study_that_is_not_there(runs: Path) -> None:
    with pytest.raises(StudyNotFound, match="no study 'ghost'"):
        read_study(runs, "ghost")


def test_histories_are_read_when_they_are_asked_for(
    spec: StudySpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100,000 trials a command that shows twenty reads twenty files."""
    study = optuna.create_study(direction="maximize")
    for number in range(5):
        study.add_trial(optuna.trial.create_trial(value=0.5))
        writer = HistoryWriter(layout.trial_directory(tmp_path, number) / layout.HISTORY)
        writer.append(Step(1, 1.0, 1, {"score": 0.1 * number}))
        writer.close()
    read: list[str | Path] = []
    rows = history.rows
    monkeypatch.setattr(history, "rows", lambda path, owners=None: read.append(path) or rows(path, owners))
    record = records_of(study, spec, tmp_path, histories=False)
    assert read == []
    assert [record.trials[k].last("score") for k in (3, 3)] == [pytest.approx(0.3)] * 2
    assert read == [layout.history_file(tmp_path, 3)]
    records_of(study, spec, tmp_path)
    assert len(read) == 6


def test_trials_share_the_distributions_that_a_storage_makes_anew_for_each(spec: StudySpec, tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    for high in (1.0, 1.0, 2.0):
        distributions = {"x": optuna.distributions.FloatDistribution(0.0, high)}
        study.add_trial(optuna.trial.create_trial(params={"x": 0.5}, distributions=distributions, value=0.5))
    first, second, edited = (trial.distributions for trial in records_of(study, spec, tmp_path).trials)
    assert first is second
    assert edited == {"x": optuna.distributions.FloatDistribution(0.0, 2.0)}
