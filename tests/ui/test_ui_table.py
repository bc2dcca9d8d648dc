"""The table of trials: what a URL asks for, and what is shown for it."""

from __future__ import annotations

from reading import study, trial

from hpo.ui.table import PAGE, Query, query_of, rows_of, table_page

TRIALS = [
    trial(0, {"architecture": "unet", "learning_rate": 1e-3, "batch_size": 8}, 0.5, seconds=3.0),
    trial(1, {"architecture": "resnet", "learning_rate": 1e-4, "batch_size": 16}, 0.9, seconds=2.0),
    trial(2, {"architecture": "unet", "learning_rate": 5e-3, "batch_size": 8}, state="FAIL", cause="exception",
          reason="ValueError: the labels are <b>all</b> zero"),
    trial(3, {"architecture": "unet", "learning_rate": 2e-4, "batch_size": 16}, 0.7, seconds=1.0),
]  # fmt: skip


def numbers(**asked: str) -> list[int]:
    return [row.trial.number for row in table_page(study(TRIALS), query_of(asked)).rows]


def test_it_is_sorted_by_the_first_metric_the_best_first():
    assert numbers() == [1, 3, 0, 2]
    assert numbers(order="reverse") == [0, 3, 1, 2], "what lacks it stays last"
    assert numbers(sort="learning_rate") == [1, 3, 0, 2]
    assert numbers(sort="seconds") == [3, 1, 0, 2]
    assert numbers(sort="trial", order="reverse") == [3, 2, 1, 0]
    assert numbers(sort="group") == [1, 0, 2, 3]


def test_a_filter_keeps_the_rows_with_all_words():
    assert numbers(state="FAIL") == [2]
    assert numbers(group="unet") == [3, 0, 2]
    assert numbers(q="unet 16") == [3]
    assert numbers(q="LABELS <b>") == [2]
    assert numbers(q="exception") == [2]
    assert numbers(q="nowhere") == []


def test_what_makes_no_sense_asks_for_nothing():
    for page in ("", "0", "-1", "x", "1.5", "²", "9" * 30):
        assert query_of({"page": page}).page == 1
    assert query_of({"state": "GOOD"}).state == ""
    assert numbers(sort="nothing", page="17") == [1, 3, 0, 2]
    assert numbers(group="vgg") == []


def test_a_page_holds_so_many_rows():
    many = study([trial(k, {"architecture": "unet"}, float(k)) for k in range(2 * PAGE + 1)])
    last = table_page(many, query_of({"page": "3"}))
    assert (last.pages, last.found, [row.trial.number for row in last.rows]) == (3, 101, [0])
    beyond = table_page(many, query_of({"page": "4"}))
    assert beyond.query.page == 3


def test_a_second_click_on_a_head_turns_the_order_round():
    query = Query(sort="score", page=4).sorted_by("seconds")
    assert query.as_values() == {"sort": "seconds"}
    assert query.sorted_by("seconds").as_values() == {"sort": "seconds", "order": "reverse"}
    assert query.sorted_by("seconds").sorted_by("seconds").as_values() == {"sort": "seconds"}
    assert query_of(query.as_values()) == query


def test_chosen_trials_stay_in_their_order():
    table = rows_of(study(TRIALS), [3, 0, 99])
    assert [row.trial.number for row in table.rows] == [3, 0]
    assert not any(column.key for column in table.columns)


def test_a_study_without_trials_has_an_empty_table():
    table = table_page(study(), Query())
    assert (table.found, table.pages, table.rows) == (0, 1, ())
