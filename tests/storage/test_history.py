"""The history file: what is written is read, whatever a kill left of the last line."""

import math
import os
import shutil
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.storage.history import HistoryWriter, Step, lacking, merge, read, row_of, rows


def write(path, *steps):
    writer = HistoryWriter(path)
    for step in steps:
        writer.append(step)
    writer.close()


def test_non_finite_values_are_kept_as_json(tmp_path):
    path = tmp_path / "history.jsonl"
    write(path, Step(0, 1.5, 1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.1}))
    row = '{"step":0,"time":1.5,"attempt":1,"metrics":{"a":"nan","b":"inf","c":"-inf","d":0.1}'
    assert path.read_text() == f'{row},"crc":"{zlib.crc32(row.encode()):08x}"}}\n'
    (step,) = read(path)
    assert math.isnan(step.metrics["a"])
    assert (step.metrics["b"], step.metrics["c"], step.metrics["d"]) == (math.inf, -math.inf, 0.1)


def row(step=2, time=1, attempt=1, metrics='{"a":1}'):
    return f'{{"step":{step},"time":{time},"attempt":{attempt},"metrics":{metrics}}}'


def link(target):
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize(
    "odd",
    [
        row(step="9" * 400),
        row(step=2**53 + 1),
        row(step=-1),
        row(step="1e400"),
        row(step="true"),
        row(time="NaN"),
        row(time="1e300"),
        row(time="9" * 400),
        row(attempt=-5),
        row(metrics='{"a":[1]}'),
        row(metrics=f'{{"a":{"9" * 400}}}'),
        row(metrics=f'{{"a":{"9" * 5000}}}'),
        row(metrics="[" * 100_000),
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_odd_rows_are_left_out(tmp_path, odd):
    path = tmp_path / "history.jsonl"
    write(path, Step(1, 1.0, 1, {"a": 1.0}))
    with path.open("a") as file:
        file.write(odd + "\n")
    assert read(path) == [Step(1, 1.0, 1, {"a": 1.0})]
    assert row_of(odd) is None


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, link("/dev/zero"), link("history.jsonl")])
def test_what_is_no_file_has_no_rows(tmp_path, make):
    path = tmp_path / "history.jsonl"
    make(path)
    assert rows(path) == []


def test_a_file_that_is_larger_than_any_history_has_no_rows(tmp_path):
    path = tmp_path / "history.jsonl"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert rows(path) == []


def test_a_step_reported_again_counts_once_and_later_wins(tmp_path):
    path = tmp_path / "history.jsonl"
    write(path, Step(0, 1.0, 1, {"a": 1.0}), Step(1, 2.0, 1, {"a": 2.0}), Step(1, 5.0, 2, {"a": 3.0}))
    assert read(path) == [Step(0, 1.0, 1, {"a": 1.0}), Step(1, 5.0, 2, {"a": 3.0})]


def test_a_step_that_was_reported_in_pieces_is_one(tmp_path):
    path = tmp_path / "history.jsonl"
    pieces = [
        Step(1, 1.0, 1, {"train_loss": 1.0}),
        Step(2, 2.0, 1, {"train_loss": 0.5}),
        Step(1, 2.5, 1, {"val_loss": 1.1}),  # validation of the epoch before, by a thread
        Step(2, 3.0, 1, {"val_loss": 0.6, "train_loss": 0.4}),
    ]
    write(path, *pieces)
    assert rows(path) == pieces
    assert read(path) == [
        Step(1, 2.5, 1, {"train_loss": 1.0, "val_loss": 1.1}),
        Step(2, 3.0, 1, {"train_loss": 0.4, "val_loss": 0.6}),
    ]


def test_of_a_name_the_latest_value_counts_whatever_it_is():
    (step,) = merge([Step(0, 1.0, 1, {"a": 0.5, "b": 1.0}), Step(0, 2.0, 1, {"a": math.nan})])
    assert math.isnan(step.metrics["a"])
    assert step.metrics["b"] == 1.0
    assert merge([Step(0, 1.0, 1, {"a": math.nan}), Step(0, 2.0, 1, {"a": 0.5})]) == [Step(0, 2.0, 1, {"a": 0.5})]


def test_a_later_attempt_replaces_what_it_reports_again_and_nothing_else():
    first = [Step(4, 1.0, 1, {"train": 4.0}), Step(4, 2.0, 1, {"val": 4.5}), Step(5, 3.0, 1, {"train": 5.0})]
    # The checkpoint of epoch 4 was made between its two reports: the next attempt validates it once more.
    again = [Step(4, 9.0, 2, {"val": 4.4}), Step(5, 10.0, 2, {"train": 5.1})]
    assert merge(first + again) == [Step(4, 9.0, 2, {"train": 4.0, "val": 4.4}), Step(5, 10.0, 2, {"train": 5.1})]


def test_steps_that_lack_a_metric_are_found():
    steps = [Step(1, 1.0, 1, {"train": 1.0}), Step(1, 1.0, 1, {"val": 1.0}), Step(2, 2.0, 1, {"train": 1.0})]
    assert lacking(steps, [1, 2, 3], "val") == {2, 3}


def test_lines_that_are_no_rows_are_left_out(tmp_path):
    good = '{"step":1,"time":1.0,"attempt":1,"metrics":{"a":1.0}}'
    bad = [
        good.replace('"step":1', '"step":"1"'), good.replace('"step":1', '"step":[1]'),
        good.replace('"step":1', '"step":true'), good.replace('"time":1.0', '"time":"now"'),
        good.replace("1.0}", "1" + "0" * 400 + "}"), good.replace('{"a":1.0}', "[]"), good[:-3], "7", "",
    ]  # fmt: skip
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join([*bad, good]) + "\n")
    assert read(path) == [Step(1, 1.0, 1, {"a": 1.0})]
    assert [row_of(line) for line in bad] == [None] * len(bad)
    assert row_of(good) == Step(1, 1.0, 1, {"a": 1.0})


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
