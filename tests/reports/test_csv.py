from __future__ import annotations

import csv
import io
import math

from hypothesis import given
from hypothesis import strategies as st

from hpo.reports.blocks import Rows
from hpo.reports.csv import file_name, to_csv


def test_numbers_keep_every_digit_and_what_is_missing_is_empty() -> None:
    rows = Rows(("trial", "val_loss"), ((0, 0.1 + 0.2), (1, None), (2, math.nan), (3, -1.5e-7)))
    assert to_csv(rows) == "trial,val_loss\r\n0,0.30000000000000004\r\n1,\r\n2,\r\n3,-1.5e-07\r\n"


def test_no_text_is_a_formula_to_a_spreadsheet() -> None:
    rows = Rows(("=a",), (("=1+1",), ("-0.5",), ("-",), ("@x",), ("+cmd|' /C calc'!A0",), ('a,"b"',)))
    assert list(csv.reader(io.StringIO(to_csv(rows), newline=""))) == [
        ["'=a"],
        ["'=1+1"],
        ["-0.5"],
        ["-"],
        ["'@x"],
        ["'+cmd|' /C calc'!A0"],
        ['a,"b"'],
    ]


@given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False, allow_infinity=False)), max_size=5))
def test_what_is_written_is_read_again(rows: list[tuple[str, float]]) -> None:
    read = list(csv.reader(io.StringIO(to_csv(Rows(("text", "number"), rows)), newline="")))[1:]
    assert [(text.removeprefix("'"), float(number)) for text, number in read] == [
        (text.removeprefix("'"), number) for text, number in rows
    ]


@given(st.lists(st.text(), max_size=4))
def test_file_names_are_safe_everywhere(parts: list[str]) -> None:
    name = file_name(*parts)
    assert 0 < len(name) <= 80
    assert not set(name) & set("/\\:*?\"<>|'. \n\t\0")


def test_file_names_read_well() -> None:
    assert file_name("mito unet", "val_jaccard: unet") == "mito-unet-val-jaccard-unet"
    assert file_name("架構", "学习") == "架構-学习"
    assert file_name("", "::") == "figure"
