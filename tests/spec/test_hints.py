"""Hints of `hpo check` about scalars that YAML 1.1 reads otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.spec.hints import hints
from hpo.spec.load import load_with_hints
from hpo.spec.yaml_document import load_text


def said(text: str) -> list[str]:
    return hints(load_text(text, "s.yaml"))


@pytest.mark.parametrize(
    ("written", "here", "there"),
    [
        ("no", "the text 'no'", "false"),
        ("Yes", "the text 'Yes'", "true"),
        ("ON", "the text 'ON'", "true"),
        ("off", "the text 'off'", "false"),
        ("y", "the text 'y'", "true"),
        ("N", "the text 'N'", "false"),
        ("1_000", "the text '1_000'", "1000"),
        ("1_0.5", "the text '1_0.5'", "10.5"),
        ("012", "12", "10"),
        ("0b11", "the text '0b11'", "3"),
        ("1:30", "the text '1:30'", "90"),
        ("[yes, no]", "the text 'yes', the text 'no'", "true, false"),
    ],
)
def test_a_constant_that_yaml_1_1_reads_otherwise_is_told(written: str, here: str, there: str) -> None:
    [hint] = said(f"name: x\nconstants:\n  a: {written}\n")
    assert hint.startswith(f"s.yaml:3: constants.a: is {here} here, for hpo reads YAML 1.2. YAML 1.1 has {there};")


@pytest.mark.parametrize(
    "written",
    [
        "'no'",
        '"on"',
        "nope",
        "1e-4",
        "2020-01-01",
        "12",
        "0",
        "-1.5",
        "true",
        "null",
        "nO",
        "0o17",
        "08",
        "a:1",
        ".5",
        "{on: 1}",
    ],
)
def test_what_both_read_alike_or_what_is_quoted_is_not(written: str) -> None:
    assert said(f"constants: {{a: {written}}}") == []


def test_choices_are_told_together_unless_other_text_shows_what_is_meant() -> None:
    text = """\
search_space:
  a: {choices: [on, off]}
  b: {choices: {yes: {c: {choices: [no, 3]}}, no: }}
  country: {choices: [no, se, dk]}
  strength: {choices: {off: {}, weak: {}}}
  quoted: {choices: ["on", 'off']}
  fixed: off
"""
    found = said(text)
    assert [hint.partition(": is")[0] for hint in found] == [
        "s.yaml:2: search_space.a.choices",
        "s.yaml:3: search_space.b.choices",
        "s.yaml:3: search_space.b.choices.yes.c.choices",
        "s.yaml:7: search_space.fixed",
    ]
    assert "write true, false if that is meant" in found[1]


def test_families_merges_and_the_options_of_the_shell_count(tmp_path: Path) -> None:
    (tmp_path / "objective.py").write_text("def train(trial):\n    return {}\n")
    (tmp_path / "family.yaml").write_text("flag: {choices: [on, off]}\nother: {choices: [on, off]}\n")
    (tmp_path / "study.yaml").write_text(
        "name: demo\nobjective: objective.py:train\nmetrics: [{name: loss, direction: minimize}]\n"
        "x-base: &base {augment: no, quoted: 'no'}\nconstants: {<<: *base, text: x}\nbudget: {trials: 3}\n"
        "search_space: {include: family.yaml, other: {choices: [a, b]}}\n"
    )
    _, found = load_with_hints(tmp_path / "study.yaml", ["constants.text=yes", "constants.more=[off]"])
    *found, new = found
    assert new == "--set constants.more: there was no constant 'more', this is a new one"
    assert [hint.partition(": is")[0].removeprefix(f"{tmp_path}/") for hint in found] == [
        "study.yaml:4: constants.augment",
        "--set constants.text: constants.text",
        "--set constants.more: constants.more",
        "family.yaml:1: search_space.flag.choices",
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("loguniform(1e-4, 1e-1)", "{low: 1e-4, high: 1e-1, log: true}"),
        ("uniform(0, 0.5)", "{low: 0, high: 0.5}"),
        ("tune.loguniform(1e-5,1e-2)", "{low: 1e-5, high: 1e-2, log: true}"),
        ("log_uniform_values(0.1, 1)", "{low: 0.1, high: 1, log: true}"),
        ("randint(1, 10)", "{low: 1, high: 10}"),
        ("'[1e-4, 1e-1]'", "{low: 1e-4, high: 1e-1, log: true}"),
        ("0.1..0.9", "{low: 0.1, high: 0.9}"),
        ("1 to 8", "{low: 1, high: 8}"),
        ("(0.5, 1.0)", "{low: 0.5, high: 1.0}"),
    ],
)
def test_text_that_means_a_distribution_is_told(text: str, written: str) -> None:
    quoted = text if text[0] == "'" else f"'{text}'"
    [hint] = said(f"search_space:\n  a: {{choices: {{sgd: {{lr: {quoted}}}}}}}\n")
    assert hint.startswith("s.yaml:2: search_space.a.choices.sgd.lr: is the text ")
    assert hint.endswith(f", the same in every trial; to search it, write {written}")


@pytest.mark.parametrize(
    "text", ["adam", "resnet50", "2020-01-01", "relu(x)", "1.5.2", "he_normal", "a, b", "s3://x/1,2"]
)
def test_other_text_is_no_distribution(text: str) -> None:
    assert said(f"search_space:\n  a: '{text}'\nconstants:\n  b: '{text}'\n  init: normal(0, 0.02)\n") == []


def test_a_constant_may_be_meant_as_a_distribution_too() -> None:
    [hint] = said("constants:\n  lr: loguniform(1e-4, 1e-1)\n")
    assert hint.endswith("write {low: 1e-4, high: 1e-1, log: true} below search_space")
