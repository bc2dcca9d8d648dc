"""Trials that go out and come in again are the same: through Optuna's storages and through CSV files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hpo.analysis.records import StudyRecord, TrialRecord, read_study
from hpo.spec.load import load_spec
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage
from hpo.storage.ownership import key_of
from hpo.transfer.bring_in import bring_in
from hpo.transfer.export_optuna import write_optuna
from hpo.transfer.export_tables import write_csv, write_parquet
from hpo.transfer.fit import fit, study_names
from hpo.transfer.optuna_source import read_optuna
from hpo.transfer.source import COMPLETE, FAIL, PRUNED, Row, Source, SourceTrial
from hpo.transfer.table_source import Reading, read_csv

YAML = """\
name: NAME
objective: train.py:train
metrics: [{name: val_auc, direction: maximize}]
search_space:
  lr: {low: 1.0e-5, high: 1.0, log: true}
  layers: {low: 1, high: 4}
  act: {choices: [relu, "-tanh", "=1", null, true, "7", '{x}']}
  weights: {simplex: [dice, bce, focal]}
  loss:
    choices:
      bce: {}
      focal: {gamma: {low: 0.0, high: 5.0, step: 0.1}}
  fixed: 3
budget: {trials: 2}
mlflow: false
"""
VALUES = st.floats(-1e6, 1e6, allow_nan=False)
ANY_VALUES = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf])
TIMES = st.none() | st.floats(1e9, 2e9).map(lambda seconds: round(seconds, 3))


@st.composite
def source_trials(draw: st.DrawFn, number: int) -> SourceTrial:
    params: dict[str, Any] = {
        "lr": draw(st.floats(1e-5, 1.0)),
        "layers": draw(st.integers(1, 4)),
        "act": draw(st.sampled_from(["relu", "-tanh", "=1", None, True, "7", "{x}"])),
        "weights.0": draw(st.floats(0, 1)),
        "weights.1": draw(st.floats(0, 1)),
        "loss": draw(st.sampled_from(["bce", "focal"])),
    }
    if params["loss"] == "focal":
        params["gamma"] = draw(st.integers(0, 50)) / 10
    state = draw(st.sampled_from([COMPLETE, PRUNED, FAIL]))
    steps = draw(st.lists(st.integers(0, 1000), unique=True, max_size=4))
    names = st.sampled_from(["val_auc", "train loss", "=x"])
    timed = draw(st.booleans())
    rows = tuple(
        Row(
            step,
            draw(st.dictionaries(names, ANY_VALUES, min_size=1)),
            draw(st.floats(1e9, 2e9).map(lambda t: round(t, 3))) if timed else None,
        )
        for step in sorted(steps)
    )
    started = draw(TIMES)
    finished = None if started is None else round(started + draw(st.floats(0, 1e5)), 3)
    metrics = {"val_auc": draw(VALUES), "extra": draw(VALUES)} if state == COMPLETE else {}
    return SourceTrial(
        key=("made", str(number)),
        name=f"trial {number}",
        state=state,
        params=params,
        metrics=metrics,
        rows=rows,
        reason="" if state == COMPLETE else draw(st.sampled_from(["", 'it, was "bad"', "=boom", "ünïcode"])),
        started=started,
        finished=finished,
        seed=draw(st.none() | st.integers(0, 2**31)),
    )


SOURCES = st.integers(1, 5).flatmap(lambda n: st.tuples(*(source_trials(k) for k in range(n))))


def seen(trial: TrialRecord) -> Any:
    """Everything about a trial that is to survive."""
    history = [
        (step.step, sorted((name, repr(value)) for name, value in step.metrics.items()), _time(trial, step.time))
        for step in trial.history
    ]
    return {
        "state": trial.state,
        "params": {name: (value, type(value)) for name, value in trial.params.items()},
        "optuna": {name: (value, type(value)) for name, value in trial.optuna_params.items()},
        "values": dict(trial.values),
        "reason": trial.reason,
        "started": trial.started,
        "seconds": trial.seconds,
        "seed": trial.seed,
        "history": history,
    }


def _time(trial: TrialRecord, time: float) -> float | None:
    return None if trial.imported is not None and not trial.imported.timed else time


def make(folder: Path, name: str, source: Source) -> StudyRecord:
    path = folder / f"{name}.yaml"
    path.write_text(YAML.replace("NAME", name))
    spec = load_spec(path, locate=False)
    found = fit(source, spec, study_names(source, spec, {}), [])
    assert not found.misfits, [str(one) for one in found.misfits]
    bring_in(source, found.fitted, spec, folder / "runs", lambda _: None)
    return read_study(folder / "runs", name)


# Shrinking would take minutes: each example is three studies.
@settings(max_examples=8, phases=(Phase.explicit, Phase.generate))
@given(trials=SOURCES)
def test_what_goes_out_and_comes_in_again_is_the_same(tmp_path_factory: pytest.TempPathFactory, trials):
    folder = tmp_path_factory.mktemp("trip")
    first = make(folder, "first", Source("optuna", "memory", "made", trials, ("val_auc",), ("maximize",)))
    stored = load_study(folder / "runs", "first")[1]
    before = [seen(trial) for trial in first.trials]
    write_optuna(first, stored, f"sqlite:///{folder / 'plain.db'}", "plain")
    assert [
        seen(one) for one in make(folder, "second", read_optuna(str(folder / "plain.db"), "plain")).trials
    ] == before
    write_csv(first, folder / "out", key_of(stored))
    third = make(folder, "third", read_csv(folder / "out", Reading()))
    for trial, one in zip(third.trials, first.trials, strict=True):
        assert without_weights(seen(trial)) == without_weights(seen(one))
        for weight, value in one.params["weights"].items():  # they lose at most a digit on their way
            assert trial.params["weights"][weight] == pytest.approx(value, abs=1e-12)


def without_weights(trial: dict[str, Any]) -> dict[str, Any]:
    params = {name: value for name, value in trial["params"].items() if name != "weights"}
    return trial | {"params": params, "optuna": {}}


@pytest.fixture
def study(tmp_path: Path) -> StudyRecord:
    rows = (Row(1, {"val_auc": 0.5, "train loss": math.nan}), Row(2, {"val_auc": 0.6}))
    params = {"lr": 0.1, "layers": 2, "act": "relu", "weights.0": 0.5, "weights.1": 0.5, "loss": "bce"}
    made = [
        SourceTrial(("made", "0"), "trial 0", COMPLETE, params, {"val_auc": 0.6}, rows, started=1e9, finished=1e9 + 60),
        SourceTrial(("made", "1"), "trial 1", PRUNED, params | {"act": True}, {}, rows[:1], reason="slow"),
    ]
    return make(tmp_path, "first", Source("optuna", "memory", "made", tuple(made), ("val_auc",), ("maximize",)))


def test_a_plain_study_is_read_by_optuna_alone(tmp_path: Path, study: StudyRecord):
    stored = load_study(tmp_path / "runs", "first")[1]
    url = f"sqlite:///{tmp_path / 'plain.db'}"
    assert write_optuna(study, stored, url, "plain") == (2, 0)
    assert write_optuna(study, stored, url, "plain") == (0, 2)
    plain = optuna.load_study(study_name="plain", storage=url)
    first, second = plain.trials
    assert plain.best_trial.number == 0
    assert (first.state.name, first.values, first.intermediate_values) == ("COMPLETE", [0.6], {1: 0.5, 2: 0.6})
    assert first.duration.total_seconds() == 60
    assert second.state.name == "PRUNED"
    assert second.user_attrs["hpo:exported"]["reason"] == "slow"
    assert first.distributions["lr"] == optuna.distributions.FloatDistribution(1e-5, 1.0, log=True)
    assert not any(name.startswith("hpo:") and name != "hpo:exported" for name in first.user_attrs)
    # A sampler and a new trial work on it.
    assert plain.ask(plain.trials[0].distributions).number == 2


def test_another_study_of_the_name_is_left_alone(tmp_path: Path, study: StudyRecord):
    from hpo.errors import TransferError

    stored = load_study(tmp_path / "runs", "first")[1]
    url = f"journal:{tmp_path / 'other.log'}"
    optuna.create_study(storage=open_storage(url), study_name="plain")
    with pytest.raises(TransferError, match=r"is no export of study 'first'; --name OTHER"):
        write_optuna(study, stored, url, "plain")


def test_parquet_has_the_same_rows(tmp_path: Path, study: StudyRecord):
    import pandas as pd

    trials, histories = (pd.read_parquet(path) for path in write_parquet(study, tmp_path / "out"))
    assert list(trials["state"]) == ["COMPLETE", "PRUNED"]
    assert list(trials["params_act"]) == ["relu", "True"]
    assert trials["values_val_auc"][0] == 0.6
    assert len(histories) == 5
    assert math.isnan(histories["value"][1])
    assert histories["time"].isna().all()


def test_trials_of_the_study_itself_are_refused(tmp_path: Path, study: StudyRecord):
    from hpo.errors import TransferError

    stored = load_study(tmp_path / "runs", "first")[1]
    write_csv(study, tmp_path / "out", key_of(stored))
    with pytest.raises(TransferError, match="these are the trials of study 'first' itself"):
        make(tmp_path, "first", read_csv(tmp_path / "out", Reading()))
