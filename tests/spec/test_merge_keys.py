"""Merge keys, anchors and aliases of YAML: what they give, and where messages find it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.errors import SpecError
from hpo.spec.load import load_spec
from hpo.spec.yaml_document import Document, dump, load_text

STUDY = """\
name: demo
objective: objective.py:train
metrics: [{name: loss, direction: minimize}]
x-parts:
  unit: &unit {low: 0.0, high: 1.0}
search_space:
  x: {<<: *unit}
  y:
    <<: *unit
    high: 0.5
  loss:
    choices:
      a: &a {gamma: {<<: *unit, log: false}}
      b: {<<: *a, alpha: *unit}
constants: &constants {epochs: 4}
budget: {trials: 3}
"""


def read(text: str) -> Document:
    return load_text(text, "study.yaml")


def said(text: str) -> list[str]:
    return [str(problem) for problem in read(text).problems]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "objective.py").write_text("def train(trial):\n    return {}\n")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def test_a_mapping_takes_up_another_one_and_its_own_keys_win() -> None:
    document = read("a: &a {x: 1, y: {p: 1}}\nb:\n  <<: *a\n  y: 3\nc:\n  z: 0\n  <<: *a\n  x: 9\n")
    assert document.problems == []
    assert document.data["b"] == {"x": 1, "y": 3}
    assert document.data["c"] == {"x": 9, "y": {"p": 1}, "z": 0}
    assert ("b", "y", "p") not in document.places, "of what it does not take up nothing is left"


def test_of_several_the_first_one_wins_and_what_they_take_up_comes_along() -> None:
    document = read("a: &a {x: 1}\nb: &b {<<: *a, x: 2, y: 2}\nc: {<<: [*a, *b]}\nd: {<<: [*b, *a]}\ne: {<<: {x: 5}}\n")
    assert document.problems == []
    assert [document.data[key] for key in "cde"] == [{"x": 1, "y": 2}, {"x": 2, "y": 2}, {"x": 5}]


def test_each_key_has_the_line_on_which_it_stands() -> None:
    document = read("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n")
    lines = {path[1]: place.line for path, place in document.places.items() if path[:1] == ("b",) and len(path) == 2}
    assert lines == {"x": 2, "y": 6}


def test_nothing_is_shared_by_what_was_taken_up() -> None:
    data = read("a: &a {x: {p: 1}}\nb: {<<: *a}\nc: *a\n").data
    data["b"]["x"]["p"] = 2
    assert data["a"] == data["c"] == {"x": {"p": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: {<<: 3}",
            "study.yaml:1: a: << does not stand before a mapping; expected <<: *name, or <<: [*one, *other]",
        ),
        ("a: {<<: }", "study.yaml:1: a: << does not stand before a mapping"),
        ("l: &l [1]\na: {<<: *l}", "study.yaml:1: a: << does not stand before a mapping"),
        ("b: &b {}\na: {<<: [*b, [*b]]}", "study.yaml:2: a: << does not stand before a mapping"),
        ("a: &a {<<: *a}", "study.yaml:1: a: this alias (*) stands for a value that contains it"),
        (
            "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a",
            "study.yaml:4: b: << is given twice, first on line 3; write one, with a list: <<: [*one, *other]",
        ),
    ],
)
def test_what_cannot_be_merged_is_refused_with_its_line(text: str, message: str) -> None:
    assert [each for each in said(text) if each.startswith(message)], said(text)
    assert "<<" not in str(read(text).data)


def test_a_quoted_one_is_a_key_and_is_written_so() -> None:
    assert read("{'<<': 1, \"a\": <<}").data == {"<<": 1, "a": "<<"}
    assert load_text(dump({"<<": 1, "a": ["<<"]}), "x").data == {"<<": 1, "a": ["<<"]}


def test_merge_keys_that_multiply_values_are_refused() -> None:
    text = "a0: &a0 {x: 1}\n" + "".join(
        f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 10)}]}}\n" for k in range(1, 8)
    )
    with pytest.raises(SpecError, match=r"aliases \(&, \*\) multiply them"):
        read(text)


def test_a_study_and_a_family_are_written_with_them(folder: Path) -> None:
    spec = load_spec(folder / "study.yaml")
    assert spec.space.data() == {
        "x": {"low": 0.0, "high": 1.0},
        "y": {"low": 0.0, "high": 0.5},
        "loss": {
            "choices": {
                "a": {"gamma": {"low": 0.0, "high": 1.0}},
                "b": {"gamma": {"low": 0.0, "high": 1.0}, "alpha": {"low": 0.0, "high": 1.0}},
            }
        },
    }
    (folder / "family.yaml").write_text("lr: &lr {low: 0.1, high: 0.2}\nlr2:\n  <<: *lr\n  high: 0.01\n")
    (folder / "study.yaml").write_text(STUDY.replace("search_space:\n", "search_space:\n  include: family.yaml\n"))
    with pytest.raises(SpecError, match=r"family\.yaml:1: search_space\.lr2\.low: low is 0\.1, high is 0\.01"):
        load_spec(folder / "study.yaml")
    spec = load_spec(folder / "study.yaml", ["search_space.lr2.high=0.5", "search_space.y.high=0.25"])
    assert {p.name: p.high for p in spec.space.parameters[:4]} == {"lr": 0.2, "lr2": 0.5, "x": 1.0, "y": 0.25}


def test_an_unknown_key_that_holds_parts_hints_at_where_they_may_stand(folder: Path) -> None:
    (folder / "study.yaml").write_text(STUDY.replace("x-parts", "parts"))
    with pytest.raises(SpecError, match="may stand below a key such as x-parts"):
        load_spec(folder / "study.yaml")
