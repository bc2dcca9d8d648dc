from __future__ import annotations

import json
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from reading import LOSS, SCORE, study, trial

from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.statistics.pairwise import pairwise
from hpo.reports import figures, markdown
from hpo.reports.blocks import Chart, Explanation, Section, Table, Text
from hpo.reports.p_values import p_text
from hpo.reports.sections.significance import significance_section
from hpo.reports.study_report import study_report

# Each architecture's mean by learning rate: averaged over both, the middle one is best (0.80 against 0.50).
PLANTED = {"unet": {2e-4: 0.90, 2e-3: 0.80, 5e-3: 0.10}, "resnet": {2e-4: 0.10, 2e-3: 0.80, 5e-3: 0.90}}


def planted(repeats: int = 4) -> list[TrialRecord]:
    rng = random.Random(6)
    rows = [(a, rate, mean) for a, means in PLANTED.items() for rate, mean in means.items() for _ in range(repeats)]
    return [
        trial(k, {"architecture": a, "learning_rate": rate, "batch_size": 16}, mean + rng.uniform(-0.02, 0.02))
        for k, (a, rate, mean) in enumerate(rows)
    ]


def section_of(trials: Sequence[TrialRecord], **more: Any) -> Section:
    found = significance_section(study(trials, **more))
    assert found is not None
    return found


def texts(section: Section) -> str:
    return "\n".join(block.text for block in section.blocks if isinstance(block, (Text, Explanation)))


def test_the_report_names_the_best_of_each_architecture_where_the_average_names_neither() -> None:
    text = markdown.render(study_report(study(planted())))
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    best = sections["Best configuration of each architecture"]
    rows = {line.split("|")[1].strip(): line for line in best.splitlines() if line.startswith("| ")}
    assert "learning_rate 2e-4, batch_size 16" in rows["unet"]
    assert "learning_rate 0.005, batch_size 16" in rows["resnet"]
    maps = sections["Learning rate by batch size for each architecture"]
    unet, resnet = maps.split("architecture: ")[1:]
    assert next(line for line in unet.splitlines() if "★" in line).startswith("| 1e-4 to 3.16e-4")
    assert next(line for line in resnet.splitlines() if "★" in line).startswith("| 0.00316 to 0.01")
    analysis = sections["Analysis of variance"]
    differs = "The effect of learning_rate differs between the values of architecture (interaction, p < 0.001)"
    assert differs in analysis


def test_effects_are_a_table_with_the_residual_last() -> None:
    section = section_of(planted())
    table = next(block for block in section.blocks if isinstance(block, Table))
    names = ["architecture", "learning_rate", "architecture by learning_rate", "residual"]
    assert [row[0] for row in table.rows] == names
    assert [row[2] for row in table.rows] == ["1", "2", "2", "18"]
    assert {row[7] for row in table.rows} == {"24"}
    assert "The design is balanced: each of the 6 cells has 4 trials." in texts(section)


def test_what_is_not_shown_says_why() -> None:
    section = section_of(planted(repeats=2)[:8])
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert ("architecture", "not shown (fewer than two of its values have 3 complete trials)") in table.rows


def test_power_is_said_of_what_was_not_found_only() -> None:
    table = next(block for block in section_of(planted()).blocks if isinstance(block, Table))
    by_factor = {row[0]: (row[5], row[8]) for row in table.rows}
    assert by_factor["architecture by learning_rate"] == ("< 0.001", "—")
    assert float(str(by_factor["architecture"][1])) > 0


def test_pruned_trials_and_an_adaptive_sampler_are_warned_of() -> None:
    trials = [*planted(), trial(24, planted()[0].params, state="PRUNED", cause="pruner")]
    spec: Any = SimpleNamespace(samplers=(SimpleNamespace(name="tpe"),))
    found = significance_section(StudyRecord(**{**vars(study(trials)), "spec": spec}))
    assert found is not None
    assert "1 pruned and 0 failed trials have no final value and are not in it." in texts(found)
    assert "The sampler, tpe, chose each trial by what earlier ones gave." in texts(found)


def test_unsound_assumptions_are_said() -> None:
    trials = planted()
    trials[3] = trial(3, trials[3].params, -1e12)
    said = texts(section_of(trials))
    assert "1 trial lies far outside of the others (trial 3)" in said
    assert "For architecture the test by ranks holds (Kruskal-Wallis, H(1) = " in said
    assert "a mean follows a value that lies far outside of its group" in said


def test_pairs_have_a_figure_with_the_line_of_no_difference() -> None:
    section = section_of(planted())
    chart = next(block for block in section.blocks if isinstance(block, Chart))
    assert chart.title == "Pairs of architecture"
    assert chart.table is not None
    assert chart.table.rows[0][0] == "unet less resnet"
    drawn = json.loads(figures.to_json(figures.figure(chart.data)), parse_constant=pytest.fail)
    (trace,) = drawn["data"]
    (pair,) = chart.data.pairs
    assert trace["x"] == [pair.difference]
    assert trace["error_x"]["array"] == [pytest.approx(pair.high - pair.difference)]
    assert trace["marker"]["symbol"] == "diamond-open"  # both architectures are as good on average
    (line,) = drawn["layout"]["shapes"]
    assert line["x0"] == line["x1"] == 0
    found = figures.rows(chart.data)
    assert found is not None
    assert found.rows[0][:5] == ("unet", "resnet", 12, 12, pair.difference)


def test_huge_values_are_drawn() -> None:
    finals = [("unet", 1e308), ("unet", -1e308), ("resnet", 1e308), ("resnet", 5.0)]
    trials = [
        trial(k, {"architecture": a, "learning_rate": 1e-3, "batch_size": 8}, value)
        for k, (a, value) in enumerate(finals)
    ]
    json.loads(figures.to_json(figures.figure(pairwise(study(trials), SCORE))), parse_constant=pytest.fail)


def test_groups_of_one_trial_are_named() -> None:
    trials = planted()
    said = texts(section_of([t for t in trials if t.params["architecture"] == "unet" or t.number == 12]))
    assert "Pairs of architecture: not shown (fewer than two groups have the 3 complete trials" in said
    assert "Not shown in any pair: resnet (n = 1); at least 3 complete trials each are needed." in said


def test_each_metric_has_its_own() -> None:
    trials = [
        trial(t.number, t.params, values={"score": t.values["score"], "loss": -t.values["score"]}) for t in planted()
    ]
    said = texts(section_of(trials, metrics=(SCORE, LOSS)))
    assert "By score:" in said
    assert "By loss:" in said


def test_continuous_parameters_alone_have_no_section() -> None:
    space = {"dropout": {"low": 0.0, "high": 0.5}}
    assert significance_section(study([trial(0, {"dropout": 0.1}, 1.0)], space=space, group_by=None)) is None


def test_no_p_is_zero() -> None:
    assert (p_text(0.0), p_text(0.0004), p_text(0.0006), p_text(0.05)) == ("< 0.001", "< 0.001", "0.001", "0.050")
