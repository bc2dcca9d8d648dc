from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import epochs

from hpo.analysis.training.log_files import log_of_run, read_log
from hpo.errors import LogError
from hpo.storage.history import HistoryWriter, Step


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([columns, *rows])
    return path


def test_a_log_of_keras(tmp_path: Path) -> None:
    """As CSVLogger writes it: columns sorted, NA where an epoch was not validated."""
    rows = [[0, 0.5, 1.2, 0.001, "NA", "NA"], [1, 0.7, 0.9, 0.001, 0.6, 1.0]]
    columns = ["epoch", "accuracy", "loss", "learning_rate", "val_accuracy", "val_loss"]
    found = read_log(table(tmp_path / "training.log", columns, rows))
    assert "Keras" in found.recognised
    assert found.log.history == (
        Step(0, 0.0, 1, {"train_accuracy": 0.5, "train_loss": 1.2, "learning_rate": 0.001}),
        Step(
            1,
            0.0,
            1,
            {
                "train_accuracy": 0.7,
                "train_loss": 0.9,
                "learning_rate": 0.001,
                "val_accuracy": 0.6,
                "val_loss": 1.0,
            },
        ),
    )
    assert found.remarks == ()


def test_a_log_of_keras_without_validation_and_appended_to(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", "epoch,loss\n0,3.0\n1,2.0\nepoch,loss\n1,2.5\n2,1.0\n")
    found = read_log(path)
    assert found.log.series("train_loss") == ((0, 3.0), (1, 2.5), (2, 1.0))
    assert found.remarks == ("written down again later, as after a resumption: 1 epoch; the later rows count",)


def test_a_log_of_lightning(tmp_path: Path) -> None:
    """As CSVLogger writes it: rows of steps, of validation, of the epoch; the learning rate without an epoch."""
    columns = ["epoch", "lr-Adam", "step", "train_loss_epoch", "train_loss_step", "val_acc", "val_loss"]
    rows = [
        ["", 0.1, 1, "", "", "", ""],
        [0, "", 1, "", 4.0, "", ""],
        [0, "", 3, "", 2.0, "", ""],
        [0, "", 3, "", "", 0.5, 3.5],
        [0, "", 3, 3.1, "", "", ""],
        [1, "", 5, "", 1.0, "", ""],
        [1, "", 7, "", "", 0.75, 2.5],
        [1, "", 7, 1.5, "", "", ""],
    ]
    found = read_log(table(tmp_path / "metrics.csv", columns, rows))
    assert "Lightning" in found.recognised
    assert found.log.series("train_loss") == ((0, 3.1), (1, 1.5))
    assert found.log.series("val_loss") == ((0, 3.5), (1, 2.5))
    assert found.log.series("val_acc") == ((0, 0.5), (1, 0.75))
    assert set(found.log.steps) == {"epoch", "loss"}
    assert found.log.steps["epoch"].tolist() == [0, 0, 1]
    assert found.log.steps["loss"].tolist() == [4.0, 2.0, 1.0]


def test_lightning_metrics_of_steps_alone_are_averaged_and_that_is_said(tmp_path: Path) -> None:
    rows = [[0, 0, 4.0, ""], [0, 1, 2.0, ""], [0, 1, "", 1.0], [1, 2, 2.0, ""], [1, 3, 1.0, ""], [1, 3, "", 0.5]]
    found = read_log(table(tmp_path / "metrics.csv", ["epoch", "step", "train_loss", "val_loss"], rows))
    assert found.log.series("train_loss") == ((0, 3.0), (1, 1.5))
    assert found.remarks == ("an epoch's value is the mean over its logged steps: train_loss",)
    assert found.log.steps["loss"].tolist() == [4.0, 2.0, 2.0, 1.0]


@pytest.mark.parametrize(
    "columns",
    [
        ("epoch", "train_loss", "val_loss"),
        ("Epoch", "Training Loss", "Validation Loss"),
        ("epochs", "train/loss", "val/loss"),
        ("epoch", "trainLoss", "validLoss"),
        ("epoch", "loss_train", "loss_val"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_plain_table(tmp_path: Path, columns: Sequence[str], delimiter: str) -> None:
    found = read_log(table(tmp_path / "x.txt", columns, [[1, 3.0, 4.0], [2, "nan", "inf"]], delimiter))
    assert found.log.series("val_loss") == ((1, 4.0), (2, math.inf))
    assert math.isnan(found.log.series("train_loss")[1][1])


def test_columns_as_they_were_named(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", ["when", "E", "A", "B"], [["noon", 5, 1.0, 2.0], ["night", 6, 0.5, ""]])
    found = read_log(path, {"epoch": "E", "train_loss": "A", "val_score": "B"})
    assert found.log.history == (
        Step(5, 0.0, 1, {"train_loss": 1.0, "val_score": 2.0}),
        Step(6, 0.0, 1, {"train_loss": 0.5}),
    )
    assert read_log(path, {"train_loss": "A"}).remarks == ("there is no column of epochs: the rows are counted from 1",)


def test_json_lines(tmp_path: Path) -> None:
    lines = [{"epoch": 1, "train": {"loss": 2.0}, "val_loss": None}, {"epoch": 2, "train": {"loss": 1.0}, "note": "x"}]
    text = "\n".join(map(json.dumps, lines)) + '\n{"epoch": 3, "tr'  # its writer was stopped
    found = read_log(written(tmp_path / "log.jsonl", text))
    assert found.log.series("train_loss") == ((1, 2.0), (2, 1.0))
    assert found.remarks == ("left out, as not all of it is numbers: note",)
    assert read_log(written(tmp_path / "log.json", json.dumps(lines))).log.history == found.log.history


def test_our_own_history_with_its_steps(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "history.jsonl")
    steps = epochs(1, train_loss=[2.0, math.nan])
    for step in steps:
        writer.append(step)
    writer.close()
    np.savez(tmp_path / "steps.npz", loss=np.ones(4), epoch=np.array([1, 1, 2, 2]))
    found = read_log(tmp_path / "history.jsonl")
    assert found.recognised == "a history of hpo"
    assert found.log.series("train_loss")[0] == (1, 2.0)
    assert found.log.steps["epoch"].tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("epoch,train_loss\n", "has no row; expected one a training epoch"),
        ("epoch,train_loss\n1,2,3\n", "line 2: 3 cells, where the header has 2 columns"),
        ("epoch,train_loss\none,2\n", "line 2, column 'epoch': 'one' is no number"),
        ("time,speed\n1,2\n", "it has time, speed. Expected such as epoch, train_loss and val_loss"),
        ("epoch,train_loss,train_loss\n1,2,3\n", "has the column 'train_loss' twice"),
        ("epoch,train_loss,Training Loss\n1,2,3\n", "train_loss, Training Loss mean the same"),
        ('{"epoch": 1}\n{broken\n{"epoch": 2}\n', "line 2 is no JSON"),
        ("[1, 2]", "item 1 is no object"),
        ("[1, ", "is no JSON"),
        ('epoch,train_loss\n1,"two\nlines"\n', "line 3, column 'train_loss': 'two\\nlines' is no number"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path / "log.csv", text)
    with pytest.raises(LogError) as error:
        read_log(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_what_is_wrong_with_columns_is_said(tmp_path: Path) -> None:
    path = table(tmp_path / "log.csv", ["epoch", "loss", "note"], [[1, 2, "a"], [2, 1, ""]])
    with pytest.raises(LogError, match=r"no column 'los', which --columns gives as train_loss\. Did you mean 'loss'\?"):
        read_log(path, {"train_loss": "los"})
    with pytest.raises(LogError, match=r"line 2, column 'note': 'a' is no number"):
        read_log(path, {"train_loss": "note"})


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LogError, match="no text file"):
        read_log(tmp_path / "x.csv")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas_where_another_sign_separates_cells(tmp_path: Path, delimiter: str) -> None:
    rows = [[1, "0,5", "1,25e-3"], [2, "0,4", "1"]]
    found = read_log(table(tmp_path / "x.csv", ["epoch", "train_loss", "lr"], rows, delimiter))
    assert found.log.series("train_loss") == ((1, 0.5), (2, 0.4))
    assert found.log.series("learning_rate") == ((1, 0.00125), (2, 1.0))
    assert found.remarks == ("decimal commas are read as decimal points",)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffepoch,train_loss\r\n1,0.5\r\n2,0.4\r\n",
        'epoch,train_loss\n\n"1","0.5"\n,\n2,0.4\n\n',
        '"epoch","train_loss","note"\n1,0.5\n2,0.4,\n',
        '{"epoch": 1, "train": {"loss": 0.5}}\n\n{"epoch": 2, "train": {"loss": 0.4, "parts": {}}}\n',
    ],
    ids=["byte order mark", "blank lines and quotes", "short rows", "nested"],
)
def test_odd_files_are_read(tmp_path: Path, text: str) -> None:
    found = read_log(written(tmp_path / "x.csv", text))
    assert found.log.series("train_loss") == ((1, 0.5), (2, 0.4))
    assert found.remarks == ()


@pytest.mark.parametrize("more", ["", ",step"])
def test_a_row_whose_epoch_is_no_epoch_is_left_out_and_that_is_said(tmp_path: Path, more: str) -> None:
    cell = ",3" if more else ""
    lines = [f"epoch,train_loss{more}", *(f"{epoch},0.5{cell}" for epoch in ("1", "nan", "inf", "1e300"))]
    found = read_log(written(tmp_path / "x.csv", "\n".join(lines)))
    assert found.log.series("train_loss") == ((1, 0.5),)
    assert found.remarks == ("left out, as they have no epoch: 3 rows",)


def test_an_integer_beyond_a_double_is_no_number(tmp_path: Path) -> None:
    digits = "1" + "0" * 400
    path = written(tmp_path / "x.jsonl", f'{{"epoch": 1, "train_loss": {digits}}}\n')
    with pytest.raises(LogError, match=r"line 1, column 'train_loss': '1000.* is no number"):
        read_log(path)
    path = written(tmp_path / "x.jsonl", f'{{"epoch": 1, "train_loss": 1, "seed": {digits}}}\n')
    assert read_log(path).remarks == ("left out, as not all of it is numbers: seed",)


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(LogError):
        read_log(path)


def test_a_run_whose_steps_are_training_steps() -> None:
    """As Lightning's MLFlowLogger writes it, which logs `epoch` beside each value."""
    metrics = {
        "epoch": [(0, 0.0), (1, 0.0), (2, 1.0), (3, 1.0)],
        "train_loss": [(0, 4.0), (1, 2.0), (2, 1.0), (3, 0.5)],
        "val_loss": [(1, 3.0), (3, 1.0)],
        "system/cpu": [(7, 1.0)],
    }
    found = log_of_run("run", metrics, {"lr": "0.01", "name": "x", "layers": "3"}, "FINISHED", "MLflow run 1")
    assert found.log.series("train_loss") == ((0, 3.0), (1, 0.75))
    assert found.log.series("val_loss") == ((0, 3.0), (1, 1.0))
    assert dict(found.log.params) == {"lr": 0.01, "name": "x", "layers": 3}
    assert found.log.state == "COMPLETE"
    with pytest.raises(LogError, match="MLflow run 1 has no metrics by step"):
        log_of_run("run", {"final/val_loss": [(0, 1.0)]}, {}, "FINISHED", "MLflow run 1")


@pytest.mark.parametrize("epoch", ["inf", "-inf", "nan", "1e300"])
@pytest.mark.parametrize("header", ["epoch,train_loss,val_loss", "epoch,step,train_loss,val_loss"])
def test_a_log_none_of_whose_epochs_can_be_one_is_a_sentence(tmp_path, header, epoch):
    path = tmp_path / "log.csv"
    path.write_text(f"{header}\n{epoch},1,2,3\n"[: None if "step" in header else -3] + "\n")
    with pytest.raises(LogError, match="no row with an epoch that can be one"):
        read_log(path)


def test_very_many_columns_take_seconds(tmp_path):
    path = tmp_path / "log.csv"
    names = ",".join(f"val_m{n}" for n in range(20_000))
    path.write_text(f"epoch,train_loss,{names}\n" + "".join(f"{n},1,{'0.5,' * 19_999}0.5\n" for n in range(3)))
    assert len(read_log(path).log.names) == 20_001


def test_very_many_rows_each_with_a_metric_of_its_own_take_seconds(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"epoch": {n}, "train_loss": 1, "val_m{n}": 2}}\n' for n in range(20_000)))
    assert len(read_log(path).log.history) == 20_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ' * 100_000, "is no JSON: it is nested too deeply"),
        ("[" * 100_000, "is no JSON: it is nested too deeply"),
        ('{"a": ' * 50 + "1" + "}" * 50, "more than 20 objects stand in each other"),
        (f'{{"epoch": 1, "train_loss": {"9" * 400}}}', "'train_loss': '9999"),
        (f'{{"epoch": 1, "train_loss": {"9" * 5000}}}', "is no JSON"),
    ],
)
def test_odd_json_is_a_sentence(tmp_path, text, words):
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(LogError) as caught:
        read_log(path)
    assert words in str(caught.value)


def test_lines_may_end_as_on_an_old_mac(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"epoch,train_loss\r1,2\r2,3\r")
    assert [step.step for step in read_log(path).log.history] == [1, 2]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_read(tmp_path, make):
    make(tmp_path / "log.csv")
    with pytest.raises(LogError, match="expected a plain file"):
        read_log(tmp_path / "log.csv")
