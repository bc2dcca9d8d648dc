"""Plain data of studies made in Python."""

from __future__ import annotations

import datetime
import enum
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo.spec.plain_data import plain_data
from hpo.spec.yaml_document import dump, load_text


class Size(enum.IntEnum):
    SMALL = 3


def test_it_is_what_a_file_gives_back() -> None:
    data = {"a": (1, (2.5, None)), 0: {True: "x", None: -0.0}, "n": np.float32(0.5), "i": np.int64(7), "e": Size.SMALL}
    plain = plain_data(data)
    assert plain == {"a": [1, [2.5, None]], 0: {True: "x", None: -0.0}, "n": 0.5, "i": 7, "e": 3}
    assert [type(plain[key]) for key in "nie"] == [float, int, int]
    assert repr(load_text(dump(plain), "x").data) == repr(plain)
    assert math.isnan(plain_data([np.nan])[0])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"day": datetime.date(2020, 1, 1)},
            "day: datetime.date(2020, 1, 1) (date) is not plain data; expected numbers",
        ),
        ({"a": [{"root": Path("data")}]}, "a.0.root: PosixPath('data') (PosixPath) is not plain data"),
        ({"a": {(1, 2): 3}}, "a: (1, 2) (tuple) is not plain data"),
        ({"a": {1, 2}}, "(set) is not plain data"),
        ({"a": b"x"}, "(bytes) is not plain data"),
        ({"a": "\ud800"}, "a: cannot be written to a file"),
        ({"a": 10**5000}, "a: cannot be written to a file"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_with_its_place(data: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        plain_data(data)
