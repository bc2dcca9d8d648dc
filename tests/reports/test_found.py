"""What the report says first: true of studies whose truth was planted, in few sentences that lead to their sections."""

from __future__ import annotations

import math
import random
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import cast

import click
import pytest
from planted import KINDS, Planted, false_claims, gain_of, planted
from reading import LOSS, SCORE, spec_of, study, trial

from hpo.analysis.outlook import SPACINGS, outlook
from hpo.analysis.trends import parameter_trends
from hpo.analysis.wider_range import wider
from hpo.cli.main import cli
from hpo.reports import html, markdown
from hpo.reports.blocks import Finding
from hpo.reports.dashboard_note import note_of
from hpo.reports.sections.found import NEXT, OUTLOOK, PARAMETERS, SHORT, findings, short_findings
from hpo.reports.study_json import study_data
from hpo.reports.study_report import study_report
from hpo.reports.to_json import to_plain_data
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Budget
from hpo.translation.catalogue import language

MOST = 7


def sentences_of(found: tuple[Finding, ...]) -> dict[str, str]:
    return {one.kind: f"{one.text} {one.command}".rstrip() for one in found}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_is_true_of_a_planted_truth(kind: str) -> None:
    of = planted(kind, 1)
    said = findings(of.study)
    assert false_claims(of) == []
    assert 0 < len(said) <= MOST
    assert len({one.kind for one in said}) == len(said)
    anchors = {section.anchor for section in study_report(of.study).sections}
    assert {one.section for one in said} <= anchors
    program, name, *options = shlex.split(said[-1].command)
    assert program == "hpo"
    command = cast("click.Group", cli).get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, options)  # raises for what the command does not take


@pytest.mark.slow
def test_how_often_something_false_is_found() -> None:
    """Of 20 studies of each kind: tests at a level of 1 % for the differences and for all parameters together."""
    false: Counter[str] = Counter()
    told: Counter[str] = Counter()
    covered, estimated = 0, 0
    for kind in KINDS:
        for seed in range(20):
            of = planted(kind, 100 + seed)
            for text in false_claims(of):
                false[kind] += 1
                print(f"FALSE {kind} {seed}: {text}")
            said = sentences_of(findings(of.study))
            told[kind] += _says_the_truth(kind, said)
            found = outlook(of.study, of.truth.metrics[0])
            if found.most is not None:
                estimated += 1
                covered += gain_of(of) <= found.most
    print(f"false {dict(false)}; told {dict(told)}; interval {covered} of {estimated}")
    assert false.total() <= 4  # of 260 studies
    assert covered / estimated >= 0.93
    assert all(told[kind] >= 10 for kind in _TRUTHS)


_TRUTHS = {
    "a real difference": "unet than resnet",
    "optimum beyond the upper edge": "learning_rate (best at its upper edge); widen learning_rate to [1e-4, 0.1]",
    "optimum at the lower edge of a loss": "(best at its lower edge); widen learning_rate to [1e-5, 0.01]",
    "optimum inside": "learning_rate (best inside its range",
    "too little budget": "More trials may still help",
    "long after the best": "The trials were enough",
    "one architecture dead": "without a complete trial: resnet",
    "all pruned": "--set pruner=none",
    "all failed": "--retry-failed",
    "one trial": "hpo extend",
}


def _says_the_truth(kind: str, said: dict[str, str]) -> bool:
    return kind in _TRUTHS and any(_TRUTHS[kind] in text for text in said.values())


# --- where parameters are best


def test_a_wider_range_is_named_with_the_key_to_set() -> None:
    of = planted("optimum beyond the upper edge", 3)
    (rate,) = [one for one in parameter_trends(of.study, SCORE) if one.name == "learning_rate"]
    assert (rate.place, rate.wider and rate.wider.high) == ("upper", 0.1)
    last = findings(of.study)[-1]
    assert last.section == "effects"
    assert last.command.endswith("--new-name hand-made-wider --set search_space.learning_rate.high=0.1") or (
        "--set search_space.learning_rate.high=0.1" in last.command
    )


@pytest.mark.parametrize(
    ("declared", "upper", "expected"),
    [
        ({"low": 1e-4, "high": 1e-2, "log": True}, True, (1e-4, 0.1)),
        ({"low": 1e-4, "high": 1e-2, "log": True}, False, (1e-5, 1e-2)),
        ({"low": 1e-3, "high": 4e-3, "log": True}, True, (1e-3, 8e-3)),
        ({"low": 1e-8, "high": 1.0, "log": True}, True, (1e-8, 10.0)),
        ({"low": 0.0, "high": 5.0}, True, (0.0, 7.5)),
        ({"low": 0.0, "high": 5.0}, False, None),
        ({"low": -4.0, "high": 4.0}, False, (-8.0, 4.0)),
        ({"low": 0.1, "high": 0.9}, True, (0.1, 0.95)),
        ({"low": 0.1, "high": 0.9}, False, (0.05, 0.9)),
        ({"low": 0.0, "high": 1.0}, True, None),
        ({"low": 1, "high": 8}, False, None),
        ({"low": 4, "high": 8}, False, (2, 8)),
        ({"low": 2, "high": 10, "step": 2}, True, (2, 14)),
        ({"low": 16, "high": 256, "log": True}, True, (16, 1000)),
        ({"choices": [8, 16, 32]}, True, (8, 64)),
        ({"choices": [8, 16, 32]}, False, (4, 32)),
        ({"choices": [1, 2, 3]}, True, (1, 4)),
        ({"choices": [1, 2, 3]}, False, None),
        ({"choices": [0.0, 0.1, 0.2]}, False, None),
        ({"choices": [0.0, 0.5]}, True, None),
    ],
)
def test_a_range_grows_at_one_end_and_not_beyond_what_its_values_mean(
    declared: dict[str, object], upper: bool, expected: tuple[float, float] | None
) -> None:
    (parameter,) = SearchSpace.parse({"p": declared}).walk()
    found = wider(parameter, upper)
    assert (found and (found.low, found.high)) == expected


def test_many_parameters_and_few_trials_are_not_tested() -> None:
    space = {f"p{k}": {"low": 0.0, "high": 1.0} for k in range(9)}
    trials = [trial(n, {name: (n * (k + 1) % 7) / 7 for k, name in enumerate(space)}, n / 9) for n in range(12)]
    said = sentences_of(findings(study(trials, space=space, group_by=None)))
    assert said[PARAMETERS] == "Which parameters matter is not tested: too few complete trials (n = 12)."


# --- the outlook


def test_the_outlook_by_hand() -> None:
    """The five best of 6 to 1 are 6, 5, 4, 3 and 2, on average 4, which is 3 above the sixth."""
    record = study([trial(k, {}, float(value)) for k, value in enumerate((1, 6, 3, 2, 5, 4))], group_by=None)
    found = outlook(record, SCORE)
    assert (found.best, found.since, found.finished) == (1, 4, 6)
    assert found.chance == pytest.approx(20 / 26)
    assert found.gain == pytest.approx(3 * math.log(26 / 6))
    assert found.most is not None
    assert found.most > 3 * math.log((20 / 6) * 19)  # what it were if the 3 were known and not estimated
    assert not found.little


def test_of_an_adaptive_sampler_the_later_half_says_what_is_to_come() -> None:
    """The same six values, after six that were worse: the sampler has left the region of those."""
    values = (*(-9.0 - k for k in range(6)), 1.0, 6.0, 3.0, 2.0, 5.0, 4.0)
    record = study([trial(k, {}, value) for k, value in enumerate(values)], group_by=None)
    found = outlook(replace(record, noted_samplers=("tpe",)), SCORE)
    assert (found.finished, found.like, found.best, found.chance) == (12, 6, 7, pytest.approx(20 / 26))
    assert found.gain == pytest.approx(3 * math.log(26 / 6))
    assert outlook(replace(record, noted_samplers=("random",)), SCORE).like == 12


def test_pruned_trials_are_trials_too_and_few_complete_ones_say_little() -> None:
    done = [trial(k, {}, float(k)) for k in range(SPACINGS)]
    stopped = [trial(9 + k, {}, state="PRUNED", cause="pruner") for k in range(15)]
    found = outlook(study([*done, *stopped], group_by=None), SCORE)
    assert (found.finished, found.chance, found.gain) == (20, 0.5, None)
    assert "at least 6 needed" in found.why_not


def test_where_everything_was_tried_more_trials_bring_nothing() -> None:
    space = {"p": {"choices": [1, 2]}}
    spec = spec_of(SearchSpace.parse(space), sampler={"name": "grid"}, budget=Budget(trials=9))
    record = study([trial(k, {"p": k}, 0.1 * k, metric="loss") for k in (1, 2)], space=space, group_by=None,
                   metrics=(LOSS,))  # fmt: skip
    said = sentences_of(findings(replace(record, spec=spec)))
    assert said[OUTLOOK] == "More trials would bring nothing new: every configuration of the space was tried."


# --- the next command


def test_the_next_command_follows_from_the_state_of_the_study(tmp_path: Path) -> None:
    params = {"x": 0.5}
    space = {"x": {"low": 0.0, "high": 1.0}}
    made = study([trial(k, params, 0.5 + k % 3) for k in range(30)], space=space, group_by=None,
                 directory=tmp_path / "hand made", name="hand made")  # fmt: skip
    spec = spec_of(made.space, budget=Budget(trials=40))

    def command(record: object) -> list[str]:
        said = findings(record)[-1]  # type: ignore[arg-type]
        assert said.kind == NEXT
        return shlex.split(said.command)[1:3]

    assert command(made) == ["confirm", "hand made"]
    assert command(replace(made, spec=spec)) == ["run", f"{tmp_path}/hand made/study.yaml"]
    assert command(replace(made, trials=made.trials[:9])) == ["extend", "hand made"]
    assert command(replace(made, trials=(*made.trials, trial(99, params, state="RUNNING")))) == ["status", "hand made"]


# --- everywhere the same


@pytest.mark.parametrize("code", ["en", "zh-TW"])
@pytest.mark.parametrize("kind", ["optimum beyond the upper edge", "one architecture dead", "all pruned"])
def test_page_markdown_json_and_note_say_the_same(kind: str, code: str) -> None:
    record = planted(kind, 2).study
    with language(code):
        said = findings(record)
        report = study_report(record)
        page, text, note = html.render(report), markdown.render(report), note_of(record)
    titles = {section.anchor: section.title for section in report.sections}
    assert report.sections[0].anchor == "found"
    for one in said:
        assert f'<a href="#{one.section}">' in page
        assert markdown.escape(one.text) in text
        assert markdown.escape(one.text) in note
        assert f"[{markdown.escape(titles[one.section])}](#" in text
        assert not one.command or f"`{one.command}`" in text
    assert "|" not in text[: text.index(markdown.escape(said[-1].text))]  # no table before
    data = to_plain_data(study_data(record))["found"]
    assert [one["kind"] for one in data] == [one.kind for one in said]
    assert len(short_findings(record)) <= SHORT


def test_the_slug_of_a_title_is_that_of_a_code_host() -> None:
    of = planted("a real difference", 2)
    assert "[Analysis of variance](#analysis-of-variance)" in markdown.render(study_report(of.study))


def test_an_adaptive_sampler_leaves_a_hint() -> None:
    of: Planted = planted("optimum beyond the upper edge", 3)
    said = sentences_of(findings(replace(of.study, noted_samplers=("tpe",))))
    assert said[PARAMETERS].startswith("Seem to matter for score (n = 60; a hint, since tpe chose trials by earlier")
    assert "widen learning_rate to [1e-4, 0.1]" in said[PARAMETERS]


def test_of_two_choices_the_better_one_is_named_though_the_other_had_the_better_rates() -> None:
    """Adam, which is better by 0.5, was mostly tried with rates that cost 1: its mean is the worse one."""
    space = {"optimizer": {"choices": ["adam", "sgd"]}, "rate": {"low": 0.0, "high": 1.0}}
    trials = []
    for k in range(60):
        adam = k % 2 == 0
        rate = (k % 20) / 20 if (k % 10 < 8) != adam else 1 - (k % 20) / 40
        trials.append(trial(k, {"optimizer": "adam" if adam else "sgd", "rate": rate}, 0.5 * adam - rate + k % 7 / 100))
    (found,) = [p for p in parameter_trends(study(trials, space=space, group_by=None), SCORE) if p.name == "optimizer"]
    assert found.matters
    assert found.better == "adam"


def test_choices_of_numbers_and_words_have_no_edge() -> None:
    space = {"size": {"choices": [8, 16, "auto"]}}
    trials = [trial(k, {"size": (8, 16)[k % 2]}, k % 2 + k / 100) for k in range(40)]
    (found,) = parameter_trends(study(trials, space=space, group_by=None), SCORE)
    assert found.matters
    assert (found.lower, found.upper, found.better) == (None, None, "16")


def test_where_most_trials_were_pruned_the_choices_of_the_sampler_make_no_edge() -> None:
    """The best rate is 0.6. Near it are trials with the best dropout; towards the edge it was drawn at random.

    Without the part of dropout, trials at the edge would look better than their neighbours, all of which were pruned.
    """
    space = {"rate": {"low": 0.0, "high": 1.0}, "dropout": {"low": 0.0, "high": 1.0}}
    dice = random.Random(1)
    made = []
    for _ in range(900):
        rate = min(max(dice.gauss(0.6, 0.06), 0.0), 1.0) if dice.random() < 0.5 else dice.random()
        dropout = dice.random() * (0.05 + 2 * abs(rate - 0.6))
        made.append((-((rate - 0.6) ** 2) - 0.2 * dropout + dice.gauss(0, 0.003), rate, dropout))
    passed = sorted(made)[-180:]
    trials = [
        trial(k, {"rate": rate, "dropout": dropout}, score)
        if (score, rate, dropout) in passed
        else trial(k, {"rate": rate, "dropout": dropout}, state="PRUNED", cause="pruner")
        for k, (score, rate, dropout) in enumerate(made)
    ]
    (rate,) = [p for p in parameter_trends(study(trials, space=space, group_by=None), SCORE) if p.name == "rate"]
    assert rate.place in ("", "inside", "not lower", "not upper")
