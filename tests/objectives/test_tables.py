"""The user's CSV, whatever its columns are called, and every way it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from objectives.tables import read_table

ANY = {"file": None, "label": None, "patient": None, "split": None}


def csv(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_get_their_own_names_and_lines_are_counted(tmp_path: Path) -> None:
    path = csv(tmp_path, "\ufeffname, class ,age,split\n a.png ,RG,61,train\n\nb.png,NRG,,test\n")
    table = read_table(path, {**ANY, "file": "name"}, ["file", "label"], {"label": ["grade", "class"]})
    assert list(table.columns) == ["file", "label", "split"]
    assert table.index.tolist() == [2, 4]
    assert table.to_numpy().tolist() == [["a.png", "RG", "train"], ["b.png", "NRG", "test"]]


def test_texts_stay_texts(tmp_path: Path) -> None:
    table = read_table(csv(tmp_path, "file,label,patient\n001,NA,07\n"), ANY, ["file", "label"])
    assert table.to_numpy().tolist() == [["001", "NA", "07"]]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", {}, r"labels\.csv cannot be read as a CSV \(No columns to parse from file\); expected UTF-8"),
        ("file,label\n", {}, r"labels\.csv has a header and no rows"),
        ("file,label\na,1\nb,2,3,4\n", {}, r"labels\.csv cannot be read as a CSV \(.*line 3.*\)"),
        ("file,rank\na,1\n", {}, r"has no column label or class; it has file, rank\. Expected data\.columns\.label to"),
        ("file,label\na,1\n", {"label": "lable"}, r"lable, which data\.columns names for label; .* 'label'\?"),
        ("file,label\na,1\nb,\n", {}, r"labels\.csv, line 3: the cell of column label is empty; expected a value"),
        ("file,label,split\na,1,\nb,1,\n", {}, r"line 2 and 1 more: the cell of column split is empty"),
        ("file,label\na,1\nb,1\na,0\n", {}, r"labels\.csv, line 4: a stands there already in line 2; expected each"),
    ],
)
def test_what_is_wrong_is_a_sentence(tmp_path: Path, text: str, columns: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(csv(tmp_path, text), {**ANY, **columns}, ["file", "label"], {"label": ["class"]})


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe\x00,1\n")
    with pytest.raises(ValueError, match=r"labels\.csv cannot be read as a CSV"):
        read_table(tmp_path / "labels.csv", ANY, ["file", "label"])


def test_a_missing_file_names_those_that_are_there(tmp_path: Path) -> None:
    csv(tmp_path, "file,label\n")
    with pytest.raises(ValueError, match=r"label\.csv does not exist; .* file, label; .* holds labels\.csv"):
        read_table(tmp_path / "label.csv", ANY, ["file", "label"])


def test_optional_cells_may_be_empty_and_optional_columns_missing(tmp_path: Path) -> None:
    table = read_table(csv(tmp_path, "file,label,patient\na,1,\n"), ANY, ["file", "label"])
    assert table.to_numpy().tolist() == [["a", "1", ""]]
