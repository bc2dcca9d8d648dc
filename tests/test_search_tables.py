"""Recorded tables: each is what its space says, both halves of the split are varied, and a training can be repeated."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import describe_tables as describe
from benchmarks.search.record_tables import configurations_of, kept_rows
from benchmarks.search.tables import FOLDER, NAMES, SETS, load
from benchmarks.search.trainings.training import training


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_what_its_space_says(name: str) -> None:
    table = load(name)
    assert list(table.configurations) == configurations_of(training(name))
    points = [table.space.to_optuna(each) for each in table.configurations]
    # Every active parameter is there, and no other.
    assert [table.space.resolve(point) for point in points] == list(table.configurations)
    cells = {table.space.cell_of(point) for point in points}
    assert None not in cells
    assert len(cells) == len(points)
    if table.finite:
        assert len(points) == table.space.grid_size()
        assert 24 <= len(points) <= 60
    else:
        assert len(points) >= 300


@pytest.mark.parametrize("name", NAMES)
def test_curves_end_where_a_training_diverged_and_not_before(name: str) -> None:
    table = load(name)
    count, repeats, epochs = table.curves.shape
    assert (count, repeats) == (len(table.configurations), 3 if table.finite else 1)
    assert 20 <= epochs == table.epochs <= 50
    assert table.direction in ("minimize", "maximize")
    lost = ~np.isfinite(table.curves)
    assert (np.diff(lost.astype(int), axis=2) >= 0).all()
    assert lost.mean() < 0.4
    assert len(np.unique(table.seeds)) == count * repeats
    assert table.seeds.shape == (count, repeats)
    assert table.epoch_seconds.shape == (count,)
    assert (table.epoch_seconds > 0).all()
    if table.second_metric:
        assert table.second is not None
        assert table.second.shape == table.curves.shape
        assert (np.isfinite(table.second) == ~lost).all()
        assert describe.front_size(table) >= 3
    else:
        assert table.second is None


def test_the_split_is_of_all_tables_and_each_half_is_varied() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.npz"))
    assert len(set(NAMES)) == len(NAMES) >= 12
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 4e6
    judged = tuple(name for name in NAMES if name not in SETS["development"])
    for half in (SETS["development"], judged):
        tables = [load(name) for name in half]
        losses = [describe.losses(table) for table in tables]
        assert len(tables) >= 7
        assert sum(table.finite for table in tables) >= 2
        assert sum(table.second is not None for table in tables) >= 2
        assert max(map(describe.diverged, losses)) > 0.05
        assert max(map(describe.noise, losses)) > 15
        assert max(map(describe.falls_back, losses)) > 0.3
        assert min(describe.early_agreement(loss, 1) for loss in losses) < 0.4


@pytest.mark.parametrize(
    "name",
    [
        "corridor_grid",
        "digits_kernel",
        "documents_lda",
        "friedman_boosting",
        "grid_dyna",
        "maze_q_learning",
        "photo_dictionary",
        "text_svm",
        "wine_softmax",
    ],
)
def test_a_configuration_trained_anew_gives_the_recorded_curve(name: str) -> None:
    table = load(name)
    curves = training(name).record(table.configurations[7], int(table.seeds[7, 0]))
    np.testing.assert_allclose(curves[0], table.curves[7, 0], rtol=1e-3, atol=1e-4)
    if table.second is not None:
        np.testing.assert_allclose(curves[1], table.second[7, 0], rtol=1e-3, atol=1e-4)


def test_a_line_that_a_kill_cut_off_is_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("[0, 0, [[0.5, NaN]]]\n[1, 0, [[0.")
    ((place, ((first, second),)),) = kept_rows(path).items()
    assert (place, first) == ((0, 0), 0.5)
    assert math.isnan(second)
    assert path.read_text() == "[0, 0, [[0.5, NaN]]]\n"


def test_what_is_said_of_curves_by_hand() -> None:
    falling, rising, gone = [4.0, 3.0, 2.0, 1.0], [2.0, 3.0, 4.0, 5.0], [3.0, math.inf, math.inf, math.inf]
    loss = np.array([falling, rising, gone])
    assert describe.gap(loss) == 1.0
    assert describe.diverged(loss) == pytest.approx(1 / 3)
    assert describe.falls_back(loss) == pytest.approx(2 / 3)
    # Of `falling` and `rising`, the better two of three: the last and the first of four epochs.
    assert describe.best_epochs(loss).tolist() == [43.75, 62.5, 81.25]
    assert describe.early_agreement(loss, 4) == pytest.approx(1.0)
    assert describe.early_agreement(loss, 1) == pytest.approx(-0.5)
    zigzag = np.tile([1.0, 2.0], (3, 4)) + np.arange(3.0)[:, None]
    # Second differences of 2 or -2 in the second half: 2 / sqrt(6) of a gap of 1.
    assert describe.noise(zigzag) == pytest.approx(100 * 2 / math.sqrt(6))


def test_the_front_of_a_table_has_no_dominated_configuration() -> None:
    values = np.array([[1.0, 5.0], [2.0, 6.0], [2.0, 4.0], [np.nan, 9.0]], np.float32)
    table = replace(
        load("wine_softmax"),
        direction="minimize",
        second_direction="maximize",
        curves=values[:, :1, None],
        second=values[:, 1:, None],
    )
    assert describe.front_size(table) == 2


def test_the_readme_says_what_the_recordings_hold() -> None:
    readme = (FOLDER.parent / "README.md").read_text()
    for names in SETS.values():
        assert describe.markdown(names) in readme
