from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpo.analysis.density import density, edges, edges_over
from hpo.analysis.summary_statistics import Range


def test_points_are_counted_in_their_cells() -> None:
    points = [(0.0, 0.0), (0.5, 0.5), (1.0, 0.2), (2.0, 1.0), (2.1, 0.5), (0.5, -0.1)]
    found = density(points, (0.0, 1.0, 2.0), (0.0, 0.5, 1.0))
    # An edge belongs to the cell above it, the last one to the last cell, and two points are in no cell.
    assert found.counts == ((1, 1), (1, 1))
    assert found.cells == (
        (0.0, 1.0, 0.0, 0.5, 1),
        (1.0, 2.0, 0.0, 0.5, 1),
        (0.0, 1.0, 0.5, 1.0, 1),
        (1.0, 2.0, 0.5, 1.0, 1),
    )


def test_without_points_all_cells_are_empty() -> None:
    assert density([], (0.0, 1.0), (0.0, 1.0)).cells == ()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=50))
def test_no_point_within_the_edges_is_lost(points: list[tuple[float, float]]) -> None:
    found = density(points, edges(0.0, 1.0, 7), edges(0.0, 1.0, 3))
    assert sum(count for *_, count in found.cells) == len(points)


def test_edges_over_a_range_leave_room_and_need_numbers() -> None:
    assert edges_over(Range(0.0, 1.0), 2, 0.5) == (-0.5, 0.5, 1.5)
    assert edges_over(Range(), 2) == ()
    assert edges_over(Range(-1e308, 1e308), 2) == (-1e308, 0.0, 1e308)
    assert sum(n for *_, n in density([(0.0, -1e308), (0.0, 1e308)], (0.0, 1.0), (-1e308, 0.0, 1e308)).cells) == 2
