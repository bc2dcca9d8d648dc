"""The history file: what is written is read, whatever a kill left of the last line."""

import math
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.storage.history import HistoryWriter, Step, read


def write(path, *steps):
    writer = HistoryWriter(path)
    for step in steps:
        writer.append(step)
    writer.close()


def test_non_finite_values_are_kept_as_json(tmp_path):
    path = tmp_path / "history.jsonl"
    write(path, Step(0, 1.5, 1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.1}))
    assert path.read_text() == '{"step":0,"time":1.5,"attempt":1,"metrics":{"a":"nan","b":"inf","c":"-inf","d":0.1}}\n'
    (step,) = read(path)
    assert math.isnan(step.metrics["a"])
    assert (step.metrics["b"], step.metrics["c"], step.metrics["d"]) == (math.inf, -math.inf, 0.1)


def test_a_step_reported_again_counts_once_and_later_wins(tmp_path):
    path = tmp_path / "history.jsonl"
    write(path, Step(0, 1.0, 1, {"a": 1.0}), Step(1, 2.0, 1, {"a": 2.0}), Step(1, 5.0, 2, {"a": 3.0}))
    assert read(path) == [Step(0, 1.0, 1, {"a": 1.0}), Step(1, 5.0, 2, {"a": 3.0})]


def test_no_file_no_steps(tmp_path):
    assert read(tmp_path / "none.jsonl") == []


@given(cut=st.integers(1, 60))
def test_a_torn_last_line_costs_only_itself(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("h") / "history.jsonl"
    write(path, *(Step(k, float(k), 1, {"loss": 0.5}) for k in range(3)))
    path.write_bytes(path.read_bytes()[:-cut])
    kept = read(path)
    assert [step.step for step in kept] == list(range(len(kept)))
    assert len(kept) >= 1
    # A resumed trial writes on a line of its own.
    write(path, Step(9, 9.0, 2, {"loss": 0.25}))
    assert read(path) == [*kept, Step(9, 9.0, 2, {"loss": 0.25})]


@pytest.mark.parametrize("loss", ["removed", "folder removed", "folder renamed", "replaced"])
def test_a_history_that_the_objective_takes_away_is_written_again(tmp_path, loss):
    path = tmp_path / "trial" / "history.jsonl"
    writer = HistoryWriter(path)
    steps = [Step(k, float(k), 1, {"loss": 0.5}) for k in range(3)]
    writer.append(steps[0])
    if loss == "removed":
        path.unlink()
    elif loss == "replaced":
        path.unlink()
        path.write_text("")
    elif loss == "folder removed":
        shutil.rmtree(path.parent)
    else:
        path.parent.rename(tmp_path / "elsewhere")
    writer.append(steps[1])
    shutil.rmtree(path.parent)
    writer.append(steps[2])
    shutil.rmtree(path.parent)
    writer.close()
    writer.close()
    assert read(path) == steps


def test_a_history_whose_place_is_taken_says_which_file(tmp_path):
    path = tmp_path / "trial" / "history.jsonl"
    writer = HistoryWriter(path)
    shutil.rmtree(path.parent)
    path.parent.write_text("a file")
    with pytest.raises(FileExistsError) as raised:
        writer.append(Step(0, 0.0, 1, {"loss": 0.5}))
    assert Path(raised.value.filename).is_relative_to(path.parent)
    with pytest.raises(FileExistsError):
        writer.close()
