from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from reading import LOSS, SCORE, ended_by, epochs, study, trial

from hpo.analysis.heatmaps import heatmaps
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.reports import markdown
from hpo.reports.blocks import Chart, Facts, Link, Row, Section, Table, Text
from hpo.reports.charts import ColourScale
from hpo.reports.sections.comparison import comparison_section
from hpo.reports.sections.found import findings
from hpo.reports.sections.heatmaps import HeatmapChart, cell_lines
from hpo.reports.sections.shared import MOST_FOLDED, MOST_SHOWN, top_and_rest
from hpo.reports.study_json import study_data
from hpo.reports.study_report import study_report
from hpo.reports.to_json import to_plain_data
from hpo.spec.models import Metric, StudySpec
from hpo.translation.catalogue import language

UNET = {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 8}
RESNET = {"architecture": "resnet", "learning_rate": 2e-3, "batch_size": 16}
TRIALS = (
    trial(0, UNET, 0.80, curve=[0.5, 0.8], seconds=12.5, started=100.0),
    trial(1, UNET, 0.90, curve=[0.6, 0.9], seconds=7.5, started=105.0),
    trial(2, UNET, state="PRUNED", cause="pruner", reason="stopped at step 0", curve=[0.1], seconds=2.0),
    trial(3, RESNET, 0.70, curve=[0.7], seconds=3.0, started=120.0),
    trial(4, RESNET, state="FAIL", cause="exception", reason="ValueError: no positives", seconds=1.0),
)


def sections(trials: Sequence[TrialRecord] = TRIALS, **more: object) -> dict[str, Section]:
    return {section.anchor: section for section in study_report(study(trials, **more)).sections}  # type: ignore[arg-type]


def first(section: Section, kind: type) -> object:
    return next(block for block in section.blocks if isinstance(block, kind))


def test_the_summary_counts_and_names_the_best() -> None:
    made = sections()
    headline, facts = first(made["found"], Facts), first(made["setup"], Facts)
    assert isinstance(headline, Facts)
    assert isinstance(facts, Facts)
    # Trials 0 and 1 overlap: 100 to 112.5; trial 3 runs from 120 to 123.
    assert dict(headline.items) == {
        "best score": "0.900",
        "in trial": "1",
        "finished": "5 trials",
        "wall time": "15.5 s",
    }
    said = dict(facts.items)
    assert said["Trials"] == "3 complete, 1 pruned and 1 failed"
    # Of 0.8, 0.9 and 0.7: the squared distances from 0.8 sum to 0.02, over N - 1 = 2.
    spread = "0.700 to 0.900, mean 0.800, standard deviation 0.100"
    assert said["All final score"] == f"{spread} (n = 3, 60% of 5 finished trials)"
    assert said["Time"] == "15.5 s of wall time, 23.0 s of trials"


def test_the_summary_says_when_on_how_many_samples_and_how(make_spec: Callable[..., StudySpec]) -> None:
    """The hours of the first beginning and the last end, 100 s and 3 h 100 s after 1970 began."""
    trials = [
        trial(0, UNET, 0.8, started=100.0, seconds=60.0, history=epochs(1, train_samples=[12e3], val_samples=[90.0])),
        trial(1, UNET, 0.9, started=7300.0, seconds=3600.0, history=epochs(1, train_samples=[9e3])),
    ]
    report = study_report(replace(study(trials), spec=make_spec(budget={"trials": 1, "gpu_hours": 2})))
    setup = next(section for section in report.sections if section.anchor == "setup")
    said = dict(first(setup, Facts).items)  # type: ignore[attr-defined]
    assert (said["train_samples"], said["val_samples"]) == ("9000 to 12,000", "90")
    began, ended = (datetime.fromtimestamp(second).strftime("%H:%M") for second in (100, 10900))
    trained = said["Trained"]
    assert isinstance(trained, str)
    assert re.fullmatch(rf"\d+ \w+ 19\d\d, {began} to \d+ \w+ 19\d\d, {ended}", trained)
    assert (said["Budget"], said["Sampler"]) == ("1 trial, 2 GPU hours", "random")


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ('{"train": {"samples": 32}, "summary": "drawn: 32 patches of 8 slices"}', "drawn: 32 patches of 8 slices"),
        ('{"train": {"samples": 32}}', None),
        ('{"summary": 3}', None),
        ("[1]", None),
        ("{", None),
    ],
)
def test_what_a_sample_is_stands_beside_the_numbers(noted: str, said: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "1"
    folder.mkdir(parents=True)
    (folder / "data.json").write_text(noted)
    facts = first(sections(directory=tmp_path)["setup"], Facts)
    assert isinstance(facts, Facts)
    assert dict(facts.items).get("Data") == said


def found_in(record: StudyRecord) -> dict[str, str]:
    return {one.kind: one.text for one in findings(record)}


def test_what_was_found_in_what_the_numbers_show(make_spec: Callable[..., StudySpec]) -> None:
    """The p of two groups is that of Student's t test, here by SciPy."""
    more = (UNET, 0.85), (RESNET, 0.71), (RESNET, 0.88)
    trials = [*TRIALS, *(trial(5 + k, params, value, curve=[0.9, value]) for k, (params, value) in enumerate(more))]
    record = replace(study(trials), spec=make_spec(budget={"trials": 12, "hours": 2}))
    said = found_in(record)
    p = scipy.stats.ttest_ind([0.80, 0.90, 0.85], [0.70, 0.71, 0.88]).pvalue
    assert said["best"] == (
        "Best score of each architecture: unet 0.900 (trial 1: learning_rate 2e-4, batch_size 8) and resnet 0.880 "
        "(trial 7: learning_rate 0.002, batch_size 16)."
    )
    assert said["difference"] == (
        f"The difference in mean score cannot be told from noise (Tukey-Kramer, p = {p:.3f}; n: unet 3 and resnet 3)."
    )
    assert said["ended"] == "Of 8 finished trials 2 did not complete (exception 1 and pruner 1)."
    assert said["epochs"] == "Best in their last epoch, so more epochs may help: 1 of 2 best trials (unet)."
    setup = next(section for section in study_report(record).sections if section.anchor == "setup")
    facts = first(setup, Facts)
    assert isinstance(facts, Facts)
    assert dict(facts.items)["Budget used"] == "8 of 12 trials and 15.5 s of 2 hours"


def test_a_difference_beyond_noise_is_named_with_the_better_one_first() -> None:
    finals = {"unet": (0.80, 0.81, 0.82, 0.83), "resnet": (0.60, 0.61, 0.62, 0.63)}
    params = {"unet": UNET, "resnet": RESNET}
    made = [(params[name], value) for name, values in finals.items() for value in values]
    better = "beyond noise (Tukey-Kramer; n: unet 4 and resnet 4)"
    up = found_in(study([trial(k, p, value) for k, (p, value) in enumerate(made)]))
    assert up["difference"] == f"Better in mean score {better}: unet than resnet (p < 0.001)."
    losses = [trial(k, p, value, metric="loss") for k, (p, value) in enumerate(made)]
    down = found_in(study(losses, metrics=(LOSS,)))
    assert down["difference"] == f"Better in mean loss {better}: resnet than unet (p < 0.001)."


def test_a_difference_at_five_percent_is_a_hint() -> None:
    values = (0.80, 0.90, 1.00, 1.10), (0.60, 0.70, 0.80, 0.90)
    trials = [trial(4 * g + k, (UNET, RESNET)[g], value) for g in (0, 1) for k, value in enumerate(values[g])]
    p = scipy.stats.ttest_ind(*values).pvalue  # 0.071
    assert f"cannot be told from noise (Tukey-Kramer, p = {p:.3f}" in found_in(study(trials))["difference"]
    trials = [replace(t, values={"score": t.values["score"] + 0.04 * (t.number < 4)}) for t in trials]
    assert found_in(study(trials))["difference"].endswith("a hint and no proof, since p is not below 0.01.")


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ((), {"best": "No trial has finished yet."}),
        (
            TRIALS[2:3],
            {
                "best": "No trial has completed yet.",
                "ended": "Of 1 finished trial 1 did not complete (pruner 1); without a complete trial: unet (1 trial) "
                "and resnet (not tried).",
            },
        ),
        (
            TRIALS[:1],
            {
                "best": "Best score: 0.800, trial 0 (architecture unet, learning_rate 2e-4, batch_size 8).",
                "difference": "Whether architecture matters beyond noise is not tested: fewer than two groups have the "
                "3 complete trials that are needed.",
                "parameters": "Which parameters matter is not tested: too few complete trials (n = 1).",
                "ended": "Without a complete trial: resnet (not tried).",
                "epochs": "The best trial was best in its last epoch, so more epochs may help.",
                "outlook": "20 more trials, drawn like the last 1, would bring a new best with a probability of 95%; "
                "by how much is not estimated (n = 1 complete trials, at least 6 needed).",
            },
        ),
    ],
)
def test_little_is_found_in_little(trials: Sequence[TrialRecord], said: dict[str, str]) -> None:
    assert {kind: text for kind, text in found_in(study(trials)).items() if kind != "next"} == said


@pytest.mark.parametrize(
    ("metric", "goal", "reached", "said"),
    [
        (SCORE, 0.8, 2, "Goal score ≥ 0.8: reached by 2 trials (unet), first by trial 0."),
        (SCORE, 0.7, 3, "Goal score ≥ 0.7: reached by 3 trials (unet and resnet), first by trial 0."),
        (SCORE, 0.9, 1, "Goal score ≥ 0.9: reached by trial 1 (unet)."),
        (SCORE, 0.95, 0, "Goal score ≥ 0.95: not reached."),
        (Metric(name="score", direction="minimize"), 0.7, 1, "Goal score ≤ 0.7: reached by trial 3 (resnet)."),
    ],
)
def test_a_goal_is_reached_by_somebody_or_not(metric: Metric, goal: float, reached: int, said: str) -> None:
    record = study(TRIALS, metrics=(metric.model_copy(update={"goal": goal}),))
    best = next(section for section in study_report(record).sections if section.anchor == "best")
    assert Text(said) in best.blocks
    short = {0: "not reached", 1: "reached by 1 trial"}.get(reached, f"reached by {reached} trials")
    assert found_in(record)["best"].endswith(f"{goal} {short}.")
    (state,) = to_plain_data(study_data(record))["goals"]
    assert state["metric"]["goal"] == goal
    assert len(state["trials"]) == reached


def test_several_metrics_are_found_by_each() -> None:
    one, two = (trial(k, UNET, values={"score": 0.1 * k, "loss": 1.0 - k}) for k in (1, 2))
    said = found_in(study([one, two], metrics=(SCORE, LOSS)))
    assert said["best"] == "Best score 0.200 (trial 2) and loss -1.00 (trial 2); on the Pareto front: 1 trial."


def test_all_that_the_best_returned_is_beside_each_other(tmp_path: Path) -> None:
    trials = [
        trial(0, UNET, values={"train_dice": 0.9, "val_loss": 0.2, "score": 0.8, "val_auc": 0.95}, seed=77),
        trial(1, RESNET, values={"score": 0.7, "val_auc": 0.5, "n_parameters": 1234567.0}, started=0.0),
    ]
    steps = tmp_path / "trials" / "0"
    steps.mkdir(parents=True)
    np.savez(steps / "steps.npz", epoch=np.repeat([1, 2], 150), loss=np.ones(300))
    finals = [block for block in sections(trials, directory=tmp_path)["best"].blocks if isinstance(block, Table)][1]
    assert finals.columns == ("metric", "unet, trial 0", "resnet, trial 1")
    rows = {str(row[0]): row[1:] for row in finals.rows}
    assert list(rows)[:4] == ["score", "val_auc", "val_loss", "train_dice"]
    assert rows["val_auc"] == ("0.95", "0.5")
    assert rows["train_dice"] == ("0.9", "—")
    assert rows["training steps"] == ("300", "—")
    assert rows["weights and biases"] == ("—", "1,234,567")
    assert rows["seed of the trial"] == ("77", "—")


def test_seed_noise_is_that_of_one_configuration_trained_again() -> None:
    """0.8, 0.9 and 0.85: mean 0.85, squared distances 0.005 over 2, so 0.05."""
    same = [trial(k, UNET, value) for k, value in enumerate((0.8, 0.9, 0.85))]
    other = trial(3, {**UNET, "batch_size": 16}, 0.1)
    texts = [block.text for block in sections([*same, other])["best"].blocks if isinstance(block, Text)]
    assert "The same configuration with other seeds: unet 0.850, standard deviation 0.0500 (n = 3)." in texts


def test_complete_trials_are_listed_the_best_first_and_folded_after_twenty() -> None:
    trials = [trial(k, UNET if k % 2 else RESNET, k / 100) for k in range(30)]
    shown, folded = (block for block in sections(trials)["trials"].blocks if isinstance(block, Table))
    assert [str(row[0]) for row in shown.rows] == [str(k) for k in range(29, 9, -1)]
    assert shown.rows[0][1:3] == ("unet", "0.290")
    assert (len(folded.rows), folded.folded) == (10, "The other complete trials")
    text = markdown.render(study_report(study(trials)))
    assert "10 more: hpo trials hand-made --all" in text
    assert "| 9" not in text.partition("## Complete trials")[2].partition("##")[0]


def test_the_best_configuration_of_each_architecture() -> None:
    table = first(sections()["best"], Table)
    assert isinstance(table, Table)
    assert table.rows == (
        ("unet", "0.900", "1", "learning_rate 2e-4, batch_size 8", "7.5 s", "2 of 2", "—", "2 / 1 / 0"),
        ("resnet", "0.700", "3", "learning_rate 0.002, batch_size 16", "3.0 s", "1 of 1", "—", "1 / 0 / 1"),
    )
    assert "not shown: no validation loss was reported" in table.note


def test_a_group_without_a_complete_trial_says_why_and_what_to_type(make_spec: Callable[..., StudySpec]) -> None:
    pruned = {"state": "PRUNED", "cause": "pruner"}
    trials = [
        trial(0, UNET, 0.8),
        trial(1, RESNET, curve=[0.1] * 7, **pruned),
        trial(2, RESNET, curve=[0.1] * 13, **pruned),
        ended_by(3, RESNET, "at_chance", 8),
        trial(4, RESNET, state="FAIL", cause="exception"),
    ]

    def said(trials: Sequence[TrialRecord], **keys: object) -> list[str]:
        record = replace(study(trials), spec=make_spec(**keys))
        section = next(s for s in study_report(record).sections if s.anchor == "best")
        return [b.text for b in section.blocks if isinstance(b, Text) and b.text.startswith("resnet")]

    ends = (
        "1 trial ended by exception, 2 trials ended by pruner at epochs 6 to 12 and 1 trial ended by red flag: "
        "at_chance at epoch 8"
    )
    more = "To have 3 trials of it run to their end: hpo extend hand-made --trials +3, then hpo run."
    assert said(trials) == [f"resnet has no complete trial: {ends}. {more}"]
    assert said(trials[:1]) == [f"resnet was not tried. {more}"]
    hours = more.replace("--trials +3", "--hours +1")
    assert said(trials[:1], budget={"hours": 1}) == [f"resnet was not tried. {hours}"]
    one = "To have a trial of it run to its end: hpo extend hand-made --trials +1, then hpo run."
    assert said(trials[:1], min_complete=1) == [f"resnet was not tried. {one}"]
    none = "With min_complete: 3 in study.yaml the last trials go there and are not pruned."
    assert said(trials[:1], min_complete=0) == [f"resnet was not tried. {none}"]
    alone = "resnet has no complete trial: 1 trial ended by red flag: at_chance at epoch 8."
    assert said([trials[0], trials[3]]) == [f"{alone} More trials would end like these: see Failures and prunings."]
    assert said([*trials, trial(5, RESNET, 0.5)]) == []


def test_the_best_configuration_has_its_epochs_and_its_stability() -> None:
    history = epochs(1, score=[0.5, 0.9, 0.8], val_loss=[0.50, 0.52, 0.54])
    table = first(sections([trial(0, UNET, 0.9, history=history)])["best"], Table)
    assert isinstance(table, Table)
    # Deviations from the mean 0.52 are 0.02, 0 and 0.02: sqrt(0.0008 / 2) = 0.02.
    assert table.rows[0][5:7] == ("2 of 3", "sd 0.02")


def test_cells_say_the_number_n_and_what_was_pruned() -> None:
    data = heatmaps(study(TRIALS), SCORE)
    assert data is not None
    assert cell_lines(data, data.maps[0], 0, 0) == ("0.850 ★", "n = 2", "1 pruned")
    assert cell_lines(data, data.maps[1], 2, 1) == ("0.700 ★", "n = 1", "1 failed")
    assert cell_lines(data, data.maps[0], 1, 1) == ()


def test_the_star_is_the_best_trial_and_another_best_mean_is_named() -> None:
    other = {**UNET, "batch_size": 16}
    trials = [trial(0, UNET, 0.95), trial(1, UNET, 0.55), trial(2, other, 0.80), trial(3, other, 0.82)]
    data = heatmaps(study(trials), SCORE)
    assert data is not None
    assert (data.maps[0].best, data.maps[0].best_mean) == ((0, 0), (0, 1))
    assert cell_lines(data, data.maps[0], 0, 0)[0].endswith(" ★")
    # Two cells of two trials: sqrt((0.08 + 0.0002) / 2) of noise.
    assert data.noise == pytest.approx(0.2003, abs=1e-4)
    assert data.low is not None
    assert data.high is not None
    # Means differ by 0.06, which is chance: the scale spans four times the noise, or all final values.
    assert (data.low, data.high) == (0.55, 0.95)
    section = sections(trials)["heatmaps"]
    said = [chart.caption for block in section.blocks if isinstance(block, Row) for chart in block.charts]
    assert "The best mean is in another cell: learning_rate 1e-4 to 3.16e-4 and batch_size 16 (n = 2)." in said
    scale = first(section, Row)
    assert isinstance(scale, Row)
    assert "The scale spans 0.4; trials of one cell have a standard deviation of 0.2." in scale.caption


def test_there_is_a_heatmap_for_each_architecture() -> None:
    section = sections()["heatmaps"]
    assert section.title == "Learning rate by batch size for each architecture"
    scale, row = (block for block in section.blocks if isinstance(block, Row))
    assert isinstance(scale.charts[0].data, ColourScale)  # in a row, so that it is as wide as one map
    assert [chart.title for chart in row.charts] == ["architecture: unet", "architecture: resnet"]
    assert all(isinstance(chart.data, HeatmapChart) for chart in row.charts)
    assert row.charts[0].table is not None
    assert row.charts[0].table.rows[0] == ("1e-4 to 3.16e-4", "0.850 ★; n = 2; 1 pruned", "")


def test_failures_and_prunings_have_their_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "4"
    folder.mkdir(parents=True)
    (folder / "error.txt").write_text("Traceback")
    counts, failed, pruned = (b for b in sections(directory=tmp_path)["failures"].blocks if isinstance(b, Table))
    assert [row[:3] for row in counts.rows] == [("failed", "exception", "1"), ("pruned", "pruner", "1")]
    assert failed.rows[0][:2] == (Link("4", "trials/4/error.txt"), "ValueError: no positives")
    assert pruned.rows[0][:3] == ("2", "stopped at step 0", "1")


def test_importance_says_why_it_is_not_shown() -> None:
    text = first(sections()["importance"], Text)
    assert isinstance(text, Text)
    assert text.text == (
        "PED-ANOVA: not shown (n = 3; below 50 complete trials it changes from one draw of trials to the next)."
    )


@pytest.mark.parametrize(("sampler", "adaptive"), [("qmc", False), ("random", False), ("tpe", True)])
def test_only_an_adaptive_sampler_returned_to_what_was_good(
    make_spec: Callable[..., StudySpec], sampler: str, adaptive: bool
) -> None:
    spec = make_spec(sampler={"name": sampler})
    section = comparison_section(replace(study(TRIALS), spec=spec))
    assert section is not None
    said = " ".join(block.text for block in section.blocks if isinstance(block, Text))
    assert ("returned to what was good" in said) == adaptive


def test_long_tables_end_and_say_so() -> None:
    many = [
        trial(k, UNET, state="PRUNED", cause="pruner", reason="behind") for k in range(MOST_SHOWN + MOST_FOLDED + 5)
    ]
    _, _, pruned = (block for block in sections(many)["failures"].blocks if isinstance(block, Table))
    assert len(pruned.rows) == MOST_FOLDED
    assert pruned.note == "5 more are left out here."


def test_several_metrics_have_a_front() -> None:
    trials = [
        trial(0, UNET, values={"score": 0.9, "loss": 3.0}, seconds=1.0),
        trial(1, UNET, values={"score": 0.8, "loss": 2.0}, seconds=1.0),
        trial(2, RESNET, values={"score": 0.7, "loss": 2.5}, seconds=1.0),
    ]
    made = sections(trials, metrics=(SCORE, LOSS))
    table, chart = first(made["pareto"], Table), first(made["pareto"], Chart)
    assert isinstance(table, Table)
    assert isinstance(chart, Chart)
    assert [row[:3] for row in table.rows] == [("0", "0.900", "3.00"), ("1", "0.800", "2.00")]
    assert [(point[0], point[3]) for point in chart.data.points] == [(0, True), (1, True), (2, False)]
    headline = first(made["found"], Facts)
    assert isinstance(headline, Facts)
    assert dict(headline.items)["on the Pareto front"] == "2 trials"


@pytest.mark.parametrize("group_by", ["architecture", None])
def test_one_metric_has_no_front(group_by: str | None) -> None:
    assert "pareto" not in sections(group_by=group_by)


def test_groups_are_compared_with_mean_deviation_and_share() -> None:
    chart = first(sections()["comparison"], Chart)
    assert isinstance(chart, Chart)
    assert chart.table is not None
    assert chart.table.rows == (
        ("unet", "2 of 3", "67%", "0.850", "0.071", "0.850", "0.900", "0.800"),
        ("resnet", "1 of 2", "50%", "0.700", "—", "0.700", "0.700", "0.700"),
    )
    assert "comparison" not in sections(group_by=None)


def test_the_worst_of_a_minimized_metric_is_the_highest() -> None:
    trials = [trial(k, UNET, value, metric="loss") for k, value in enumerate([0.1, 0.4])]
    chart = first(sections(trials, metrics=(LOSS,))["comparison"], Chart)
    assert isinstance(chart, Chart)
    assert chart.table is not None
    assert chart.table.rows[0][6:] == ("0.100", "0.400")
    assert "lower is better" in chart.caption


def test_effects_have_a_panel_and_rows_for_each_group() -> None:
    section = sections()["effects"]
    rows = [block for block in section.blocks if isinstance(block, Row)]
    assert [row.title for row in rows] == [
        "Final score by learning_rate for each architecture",
        "Final score by batch_size for each architecture",
    ]
    assert [chart.title for chart in rows[1].charts] == ["unet", "resnet"]
    assert rows[1].table is not None
    assert rows[1].table.rows == (
        ("unet", "8", "2", "0.850", "0.850", "0.071", "0.900 (trial 1)", "1", "0"),
        ("resnet", "16", "1", "0.700", "0.700", "—", "0.700 (trial 3)", "0", "1"),
    )


def test_a_group_without_a_complete_trial_has_one_sentence_and_no_panel() -> None:
    for others in ([], [trial(1, RESNET, state="PRUNED", cause="pruner")]):
        section = sections([trial(0, UNET, 0.5), *others])["effects"]
        rows = [block for block in section.blocks if isinstance(block, Row)]
        assert [[chart.title for chart in row.charts] for row in rows] == [["unet"], ["unet"]]
        said = [block.text for block in section.blocks if isinstance(block, Text)]
        assert said.count("Without a complete trial, and so without a panel: resnet.") == 1


def test_training_curves_have_first_best_and_last() -> None:
    history = epochs(1, train_loss=[0.9, 0.5, 0.3], val_loss=[1.0, 0.6, 0.8], score=[0.2, 0.7, 0.6])
    trials = [
        trial(0, UNET, 0.7, history=history),
        trial(1, UNET, state="PRUNED", curve=[0.3], cause="pruner"),
    ]
    best, every = (block for block in sections(trials)["curves"].blocks if isinstance(block, Row))
    assert [chart.title for chart in best.charts] == ["unet (trial 0)"]
    assert best.table is not None
    assert best.table.rows == (
        ("unet", "0", "train_loss", "0.900", "0.300 (3)", "0.300"),
        ("unet", "0", "val_loss", "1.000", "0.600 (2)", "0.800"),
        ("unet", "0", "score", "0.200", "0.700 (2)", "0.600"),
    )
    assert every.table is not None
    assert every.table.rows == (("unet", "1", "1", "0", "1 to 3", "0.600", "0.700 (0, 2)"),)


def test_stability_is_read_in_words_for_each_group() -> None:
    steady = [2.0, *[1.0] * 30]
    trials = [
        trial(0, UNET, 0.7, history=epochs(1, val_loss=steady)),
        trial(1, UNET, 0.9, history=epochs(1, val_loss=[0.7 * 0.7**k for k in range(10)])),
        trial(2, RESNET, 0.9, history=epochs(1, val_loss=[0.5])),
    ]
    section = sections(trials)["stability"]
    table, chart = first(section, Table), first(section, Chart)
    assert isinstance(table, Table)
    assert isinstance(chart, Chart)
    assert table.rows == (
        ("unet", "1", "0.223", "10", "—", "no word: still descending"),
        ("resnet", "2", "—", "1", "—", "not shown: 1 reported, at least 2 needed"),
    )
    assert chart.table is not None
    assert chart.table.rows == (
        ("unet", "2", "0.111", "0", "0.223", "1", "0", "0", "0", "1"),
        ("resnet", "0", "—", "—", "—", "0", "0", "0", "0", "0"),
    )
    assert "A spread of 0 is drawn on the left edge. 2 complete trials without a word are not shown." in chart.caption


def test_stability_without_a_word_has_a_table_and_no_chart() -> None:
    section = sections([trial(0, UNET, 0.9, history=epochs(1, val_loss=[0.5, 0.4, 0.3]))])["stability"]
    assert not [block for block in section.blocks if isinstance(block, Chart)]
    assert len([block for block in section.blocks if isinstance(block, Table)]) == 2


def test_stability_without_a_validation_loss_says_so() -> None:
    text = first(sections()["stability"], Text)
    assert isinstance(text, Text)
    assert text.text.startswith("Not shown: no validation loss was reported")


# --- very many trials


def test_only_rows_that_are_shown_are_made() -> None:
    made: list[int] = []

    def cells(one: TrialRecord) -> tuple[str, ...]:
        made.append(one.number)
        return (str(one.number),)

    trials = [trial(k, UNET, 0.5) for k in range(3000)]
    top, rest = top_and_rest(study(trials), ("trial",), trials, cells, frozenset(), "The others")
    assert isinstance(top, Table)
    assert isinstance(rest, Table)
    assert made == list(range(MOST_SHOWN + MOST_FOLDED))
    assert (len(top.rows), len(rest.rows), rest.note) == (MOST_SHOWN, MOST_FOLDED, "2500 more are left out here.")


def test_a_figure_of_very_many_trials_says_for_how_many_its_cells_stand() -> None:
    trials = [
        trial(k, UNET if k % 2 else RESNET, 0.5 + math.sin(k) / 10, curve=[0.1, 0.2])
        if k % 5
        else trial(k, UNET, state="PRUNED", cause="pruner", curve=[0.1])
        for k in range(3000)
    ]
    said = "Cells stand for {} trials: the stronger its colour, the more of them are in it (on a logarithmic scale)."
    made = sections(trials)
    (comparison,) = (block for block in made["comparison"].blocks if isinstance(block, Chart))
    assert comparison.caption.startswith(f"{said.format('2400')} Higher is better.")
    (history,) = (block for block in made["history"].blocks if isinstance(block, Chart))
    assert said.format("2400") in history.caption
    assert "The last values that 600 pruned trials reported are not drawn." in history.caption
    rows = [block for block in made["effects"].blocks if isinstance(block, Row)]
    assert not any("Cells stand" in row.caption for row in rows)  # 1,200 trials a panel have a dot each
    with language("zh-TW"):
        (comparison,) = (block for block in sections(trials)["comparison"].blocks if isinstance(block, Chart))
    assert comparison.caption.startswith("格子代表 2400 個試驗")
