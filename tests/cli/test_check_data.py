"""`hpo check --data`: what the data are, or what is wrong with them, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Hpo, Said
from tests.conftest import TOYS

CODE = """
def train(trial):
    return {"score": trial.params["x"]}

def check_data(trial):
    print("reading")
    BODY
"""


@pytest.fixture
def check(hpo: Hpo, study_yaml: Callable[..., Path], tmp_path: Path) -> Callable[..., Said]:
    def run(body: str, *options: object) -> Said:
        (tmp_path / "mine.py").write_text(CODE.replace("BODY", body))
        path = study_yaml("keeps", constants={"data": {"root": "photos"}})
        path.write_text(path.read_text().replace(f"{TOYS}:keeps", "mine.py:train"))
        return hpo("check", path, "--data", *options)

    return run


def test_it_says_what_the_data_are(check: Callable[..., Said]) -> None:
    said = check('return trial.constants["data"]["root"] + ": train 80 images, 3 positive; val 20 images, 1 positive"')
    assert said.code == 0
    assert "data       photos: train 80 images, 3 positive\n           val 20 images" in said.out
    as_json = check('return "train 80; val 20"', "--json")
    assert json.loads(as_json.out)["data"] == ["train 80", "val 20"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            'raise ValueError("photos/labels.csv has no column label")',
            "cannot be used: photos/labels.csv has no column",
        ),
        ("1 / 0", "cannot be used: ZeroDivisionError: division by zero"),
        ("import os; os._exit(3)", "the check of the data ended with exit code 3: reading"),
        ("pass\n\ndel check_data", "has no function 'check_data'"),
    ],
)
def test_what_is_wrong_is_a_sentence(check: Callable[..., Said], body: str, sentence: str) -> None:
    said = check(body)
    assert said.code == 2
    assert sentence in said.err
    assert "Traceback" not in said.err
