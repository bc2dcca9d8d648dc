"""What a report says and draws of gradient harmonizing and of the focal loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading import epochs, study, trial

from hpo import layout
from hpo.analysis.records import StudyRecord, TrialRecord
from hpo.analysis.training.training_log import TrainingLog
from hpo.reports import figures, html, markdown
from hpo.reports.blocks import Block, Chart, Facts, Report, Row, Section, Table, Text
from hpo.reports.charts import EpochMap, LinePanels, StackedShares
from hpo.reports.sections.focal import focal_blocks, focal_section
from hpo.reports.sections.ghm import evenly_spaced, ghm_blocks, ghm_section, merge_bins

UNET = {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}
RESNET = {**UNET, "architecture": "resnet"}
SHARES = np.array([[50.0, 50], [80, 20], [95, 5], [98, 2]])
GHM = {
    "epoch": np.arange(1, 5),
    "train_ghm_shares": SHARES,
    "train_ghm_weights": 50 / SHARES,
    "train_ghm_alpha": np.full(4, 0.75),
}
HISTORY = epochs(
    first=1,
    val_accuracy=[0.5, 0.6, 0.7, 0.65],
    train_original=[2.0, 1.0, 0.5, 0.4],
    train_reweighted=[2.0, 1.5, 1.0, 0.44],
    train_ghm_inert=[0.0, 0.0, 1.0, 1.0],
)


def focal_arrays() -> dict[str, np.ndarray]:
    count, ce, loss = np.zeros((3, 2, 2, 10))
    for epoch in range(2):
        count[epoch, 0, 0], count[epoch, 0, 9], count[epoch, 1, 3] = 8, 1, 1
        ce[epoch, 0, 0], ce[epoch, 0, 9], ce[epoch, 1, 3] = 2, 6, 2
        loss[epoch, 0, 0], loss[epoch, 0, 9], loss[epoch, 1, 3] = 0.3, 3.6, 0.2
    sums = {"train_focal_count": count, "train_focal_ce": ce, "train_focal_loss": loss}
    settings = {"train_focal_gamma": np.full(2, 2.0), "train_focal_alpha": np.full(2, 0.25)}
    return {"epoch": np.arange(1, 3)} | sums | settings


def texts(blocks: list[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Text))


def charts(blocks: list[Block]) -> list[Chart]:
    rows = [block.charts if isinstance(block, Row) else (block,) for block in blocks]
    return [one for row in rows for one in row if isinstance(one, Chart)]


def drawn(data: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    figure = json.loads(figures.to_json(figures.figure(data)), parse_constant=pytest.fail)
    return figure["data"], figure["layout"]


def with_arrays(folder: Path, arrays: dict[int, dict[str, np.ndarray]], trials: list[TrialRecord]) -> StudyRecord:
    for number, own in arrays.items():
        path = layout.trial_directory(folder, number)
        path.mkdir(parents=True)
        np.savez(path / layout.EPOCHS, **own)
    return study(trials, directory=folder)


# --- gradient harmonizing


def test_an_inert_mechanism_is_called_out_with_its_numbers() -> None:
    blocks = ghm_blocks(TrainingLog("hand-made/0", HISTORY, UNET, epochs=GHM))
    said = texts(blocks)
    assert "inert from epoch 3 on (2 of 4 epochs): more than 90 %" in said
    assert "In the last epoch 98 % are in bin 1 of 2 (0 to 0.5)." in said
    assert "learned already" in said
    assert "the reweighted training loss is 1.1 times the original one" in said


def test_other_verdicts() -> None:
    def said(shares: list[list[float]], **more: np.ndarray) -> str:
        arrays = {"epoch": np.arange(len(shares)), "train_ghm_shares": np.array(shares)} | more
        return texts(ghm_blocks(TrainingLog("hand-made/0", (), epochs=arrays)))

    assert "not inert: no epoch had more than 90 % in one bin" in said([[90, 10], [50, 50]])
    assert "In 1 of 2 epochs more than 90 %" in said([[91, 9], [50, 50]])
    assert "far from learned" in said([[0, 100]])
    assert "too coarse" in said([[0, 100, 0]])
    assert "All recorded weights are 1" in said([[50, 50]], train_ghm_weights=np.ones((1, 2)))


def test_the_blocks_of_one_training_have_tables_and_every_figure() -> None:
    blocks = ghm_blocks(TrainingLog("hand-made/0", HISTORY, UNET, epochs=GHM))
    facts = next(block for block in blocks if isinstance(block, Facts))
    assert dict(facts.items)["alpha"] == "0.75"
    changes = next(block for block in blocks if isinstance(block, Table))
    assert changes.columns[2] == "best epoch (3)"
    assert changes.rows[0] == ("val_accuracy", "0.5", "0.7", "0.65", "+0.1500")
    assert changes.rows[1] == ("train_original", "2", "0.5", "0.4", "-80.0%")
    panels, histograms, shares, weights = (chart.data for chart in charts(blocks))
    assert isinstance(panels, LinePanels)
    assert [panel.title for panel in panels.panels] == ["accuracy", "training loss", "reweighted / original"]

    bars, look = drawn(histograms)
    assert [trace["y"] for trace in bars] == [[50, 50], [95, 5], [98, 2]]
    assert bars[0]["x"] == [0.25, 0.75]
    assert [look[f"yaxis{end}"]["title"]["text"] for end in ("", "2", "3")] == ["epoch 1", "epoch 3", "epoch 4"]
    assert figures.rows(histograms).rows[3] == (3, 0.5, 1.0, 5.0)  # type: ignore[union-attr]

    (map_of_shares,), _ = drawn(shares)
    assert map_of_shares["z"] == [pytest.approx(np.log10(row)) for row in ([50, 80, 95, 98], [50, 20, 5, 2])]
    (map_of_weights,), _ = drawn(weights)
    assert map_of_weights["z"][1] == pytest.approx(np.log10([1, 2.5, 10, 25]))
    assert map_of_weights["colorbar"]["ticktext"] == ["1", "2", "5", "10", "20"]
    assert figures.rows(weights).rows[5] == (2, 0.5, 1.0, 2.5)  # type: ignore[union-attr]

    lines, look = drawn(panels)
    assert [trace["name"] for trace in lines] == ["validation", "original", "reweighted", "train"]
    assert lines[3]["y"] == pytest.approx([1, 1.5, 2, 1.1])
    assert look["shapes"][0]["x0"] == 3


def test_an_empty_bin_is_blank_and_long_trainings_are_thinned() -> None:
    n = 300
    shares = np.tile([[100.0, 0.0] + [0.0] * 98], (n, 1))
    arrays = {"epoch": np.arange(n), "train_ghm_shares": shares, "train_ghm_weights": np.ones((n, 100))}
    row = next(block for block in ghm_blocks(TrainingLog("long/0", (), epochs=arrays)) if isinstance(block, Row))
    assert "Of 300 recorded epochs 120 are drawn" in row.caption
    assert "2 of the loss in one" in row.caption
    percent, weight = (chart.data for chart in row.charts)
    assert isinstance(weight, EpochMap)
    assert (len(weight.epochs), len(weight.values)) == (120, 50)
    assert (percent.values[0][0], percent.values[1][0]) == (100, None)
    assert (weight.values[0][0], weight.values[1][0]) == (1, None)
    drawn(weight)


def test_thinning_and_merging_by_hand() -> None:
    assert evenly_spaced(5, 9) == [0, 1, 2, 3, 4]
    assert evenly_spaced(9, 3) == [0, 4, 8]
    weights, shares = np.full((1, 100), np.nan), np.zeros((1, 100))
    weights[0, :2], shares[0, :2] = (2.0, 5.0), (75.0, 25.0)
    assert merge_bins(weights, shares, mean=True)[0, 0] == pytest.approx(2.75)
    assert np.isnan(merge_bins(weights, shares, mean=True)[0, 1])
    assert merge_bins(shares, shares, mean=False)[0, 0] == 100


def test_a_study_shows_the_best_trial_of_each_group_that_recorded_arrays(tmp_path: Path) -> None:
    plain = {"train_ghm_weights": np.ones((4, 2))}
    trials = [
        trial(0, UNET, 0.9),  # the best, without arrays
        trial(1, UNET, 0.8, history=HISTORY),  # the next weights nothing
        trial(2, UNET, 0.7, history=HISTORY),
        trial(3, RESNET, 0.6, history=epochs(val_accuracy=[0.5], train_ghm_inert=[0.0])),
        trial(4, RESNET, state="PRUNED", history=HISTORY, cause="pruner"),
    ]
    record = with_arrays(tmp_path, {1: GHM | plain, 2: GHM, 4: GHM}, trials)
    section = ghm_section(record)
    assert section is not None
    said = texts(list(section.blocks))
    assert "unet, trial 2: The reweighting is inert" in said
    assert "resnet, trial" not in said  # its only arrays are of a pruned trial
    counted = next(block for block in section.blocks if isinstance(block, Table))
    assert counted.rows == (("unet", "2", "2", "100%"), ("resnet", "2", "1", "50%"))
    report = Report("x", "y", (section,))
    assert "Gradient harmonizing" in html.render(report)
    assert "| val_accuracy" in markdown.render(report)


def test_nothing_is_said_where_nothing_was_recorded(tmp_path: Path) -> None:
    record = with_arrays(tmp_path, {0: {"epoch": np.arange(2), "other": np.ones((2, 3))}}, [trial(0, UNET, 0.9)])
    assert ghm_section(record) is None
    assert focal_section(record) is None
    assert ghm_blocks(TrainingLog("x", HISTORY)) == []
    assert focal_blocks(TrainingLog("x", HISTORY)) == []


# --- the focal loss


def test_the_focal_loss_in_numbers() -> None:
    blocks = focal_blocks(TrainingLog("hand-made/0", (), UNET, epochs=focal_arrays()))
    said = texts(blocks)
    assert "Gamma 2, alpha 0.25. In epoch 2 of training, hard samples were 10 % of all" in said
    assert "they would make 60 % of the cross-entropy and make 87.8 % of the focal loss" in said
    # Of gamma alone 0.4, 4.8 and 0.8 of 6.
    assert "moves +20.0 points of the loss onto hard samples: it leaves 1 % of the cross-entropy at a p_t of" in said
    assert "make 20 % of the cross-entropy, 13.3 % with gamma alone, and make 4.9 % of the focal loss" in said
    assert "The mean focal loss is 0.41, the mean cross-entropy 1." in said

    by_band, by_class, panels = (chart.data for chart in charts(blocks))
    assert isinstance(by_band, StackedShares)
    assert by_band.bars == ("samples", "cross-entropy", "focal loss, alpha left out", "focal loss")
    assert by_band.parts[1] == pytest.approx((0.2, 0.2, 0.6))
    assert [sum(parts) for parts in (*by_band.parts, *by_class.parts)] == pytest.approx([1.0] * 8)
    bars, _ = drawn(by_class)
    assert bars[1]["x"][:2] == pytest.approx([10, 20])
    assert bars[0]["text"][0] == "90%"
    assert figures.rows(by_class).rows[3][:2] == ("cross-entropy", "positives")  # type: ignore[union-attr]
    lines, _ = drawn(panels)
    assert lines[1]["y"] == pytest.approx([60, 60])


def test_a_gamma_of_nothing_moves_nothing() -> None:
    arrays = focal_arrays()
    arrays |= {"train_focal_loss": arrays["train_focal_ce"], "train_focal_gamma": np.zeros(2)}
    arrays["train_focal_alpha"] = np.full(2, np.nan)
    said = texts(focal_blocks(TrainingLog("hand-made/0", (), epochs=arrays)))
    assert "Gamma 0, no alpha." in said
    assert "A gamma of 0 turns down no sample." in said
    little = texts(focal_blocks(TrainingLog("x", (), epochs=arrays | {"train_focal_gamma": np.full(2, 0.01)})))
    assert "moves +0.0 points of the loss onto hard samples: next to nothing" in little


def test_the_focal_section_of_a_study(tmp_path: Path) -> None:
    trials = [trial(0, UNET, 0.9), trial(1, RESNET, 0.8)]
    section = focal_section(with_arrays(tmp_path, {1: focal_arrays()}, trials))
    assert isinstance(section, Section)
    assert "resnet, trial 1: Gamma 2, alpha 0.25." in texts(list(section.blocks))
    assert "cross-entropy" in html.render(Report("x", "y", (section,)))
