"""Folders of another study of the same name, or of another trial of the same number, are nobody's results."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import optuna
import pytest

from hpo import layout
from hpo.analysis.records import read_study
from hpo.doctor.examine import examine
from hpo.errors import StorageError
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage import history
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage, storage_url
from hpo.storage.ownership import key_of, read_key
from hpo.trackers.base import Tracker


class Said(Tracker):
    def __init__(self):
        self.text = []

    def message(self, text):
        self.text.append(text)


@pytest.fixture
def drive(study_yaml, runs):
    """Runs a study of six trials, with other values of x for each seed; returns what was said."""

    def drive(seed, **keys):
        path = study_yaml(
            "resumes_finished",
            **{"engine": "inline", "budget": {"trials": 6}, "seed": seed, "checkpoints": {"keep_best": None}} | keys,
        )
        said = Said()
        run(path, runs, [said])
        return said.text

    return drive


def check_values(runs):
    """Every value is that of its own parameters, in Optuna, in the histories, and in what the report reads."""
    record = read_study(runs, "toy")
    assert {trial.state for trial in record.trials} == {"COMPLETE"}
    for trial in record.trials:
        assert trial.values == {"score": trial.params["x"]}
        assert trial.series("score") == ((0, trial.params["x"]),)
    return record


def test_a_study_that_was_deleted_in_the_dashboard_and_run_again_takes_nothing_over(drive, runs):
    assert not [text for text in drive(1) if "lost+found" in text]
    before = check_values(runs)
    spec = load_spec(runs / "toy" / layout.SPEC, locate=False)
    optuna.delete_study(study_name="toy", storage=open_storage(storage_url(spec, runs)))
    (found,) = examine(runs, (), fix=False)
    assert "is not in its storage" in found.finding.said
    (said,) = [text for text in drive(2) if "lost+found" in text]
    assert "held 6 trials of another study of this name" in said
    after = check_values(runs)
    assert {t.params["x"] for t in after.trials}.isdisjoint(t.params["x"] for t in before.trials)
    kept = list((runs / "toy" / layout.LOST_AND_FOUND).glob("study-*/trials/*"))
    assert len(kept) == 6
    assert examine(runs, (), fix=False) == []


def test_a_study_whose_storage_was_changed_takes_nothing_over(drive, runs):
    drive(1)
    said = drive(2, storage=f"sqlite:///{runs}/other.db")
    assert [text for text in said if "`storage` was changed" in text]
    check_values(runs)


def test_the_trials_of_an_older_journal_that_was_restored_are_run_in_folders_of_their_own(drive, runs):
    drive(1, budget={"trials": 2})
    shutil.copyfile(runs / layout.JOURNAL, runs / "older.log")
    drive(1)
    (runs / "older.log").replace(runs / layout.JOURNAL)
    # Another seed: other values show whose results they are.
    said = drive(7)
    assert [text for text in said if "was there before trial 2 had started" in text]
    check_values(runs)
    assert sorted(path.name for path in (runs / "toy" / layout.LOST_AND_FOUND / "trials").iterdir()) == list("2345")
    assert examine(runs, (), fix=False) == []


def test_a_study_and_its_folder_carry_one_key_and_no_two_studies_share_it(drive, runs):
    drive(1)
    key = key_of(load_study(runs, "toy")[1])
    assert len(key) == 32
    assert read_key(runs / "toy") == key
    drive(1, name="second")
    assert key_of(load_study(runs, "second")[1]) == read_key(runs / "second") != key
    (row,) = history.rows(runs / "toy/trials/0" / layout.HISTORY)
    assert row.owner == history.mark_of(0, load_study(runs, "toy")[1].trials[0].user_attrs["hpo:job"]["started"])


@pytest.mark.parametrize("content", [None, "", "{", '{"key": 7}', "[]", '{"key": "0000"}', "\0" * 50])
def test_a_damaged_key_is_written_again_and_costs_nothing(drive, runs, content):
    drive(1)
    path = runs / "toy" / layout.OWNER
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    (found,) = examine(runs, (), fix=True)
    assert (found.finding.check, found.result) == ("folder-without-key", "fixed")
    check_values(runs)
    path.write_text('{"key": "0000"}')
    assert not [text for text in drive(1, budget={"trials": 8}) if "lost+found" in text]
    assert len(check_values(runs).trials) == 8


def test_a_foreign_folder_is_found_by_the_doctor(drive, runs):
    drive(1)
    drive(2, name="second")
    shutil.rmtree(runs / "toy")
    shutil.copytree(runs / "second", runs / "toy")
    spec = (runs / "toy" / layout.SPEC).read_text().replace("name: second", "name: toy")
    (runs / "toy" / layout.SPEC).write_text(spec)
    found = examine(runs, (), fix=True)
    assert "folder-foreign" in [one.finding.check for one in found]
    assert {one.result for one in found} == {"fixed"}, found
    check_values(runs)
    assert examine(runs, (), fix=False) == []


def test_histories_that_were_swapped_are_shown_for_neither_trial_and_written_again(drive, runs):
    drive(1)
    drive(2, name="second")
    paths = [
        runs / "toy/trials/1/history.jsonl",
        runs / "toy/trials/2/history.jsonl",
        runs / "second/trials/3/history.jsonl",
    ]
    texts = [path.read_text() for path in paths]
    for path, text in zip(paths, texts[1:] + texts[:1], strict=True):
        path.write_text(text)
    record = read_study(runs, "toy")
    assert [trial.number for trial in record.trials if not trial.history] == [1, 2]
    said = [one.finding.said for one in examine(runs, ("toy",), fix=False)]
    assert [text for text in said if "holds rows of trial 2; they are not shown as those of trial 1" in text]
    assert [text for text in said if "holds rows of another study" in text]
    assert {one.result for one in examine(runs, (), fix=True)} == {"fixed"}
    check_values(runs)


def test_a_flipped_digit_in_a_history_leaves_its_row_out(drive, runs):
    drive(1)
    path = runs / "toy/trials/1/history.jsonl"
    text = path.read_text()
    value = json.dumps(read_study(runs, "toy").trials[1].values["score"])
    path.write_text(text.replace(value, ("0.1" if value[2] != "1" else "0.2") + value[3:]))
    assert path.read_text() != text
    assert history.rows(path) == []
    assert next(one.finding.check for one in examine(runs, (), fix=True)) == "history-garbled"
    check_values(runs)


@pytest.mark.parametrize("what", ["value", "noted", "parameter", "intermediate"])
def test_a_flipped_digit_in_the_storage_is_said_and_the_value_is_not_believed(drive, runs, what):
    drive(1)
    path = runs / layout.JOURNAL
    number = max(read_study(runs, "toy").trials, key=lambda trial: trial.values["score"]).number
    op = {"value": 6, "noted": 8, "parameter": 5, "intermediate": 7}[what]
    lines = path.read_text().splitlines()
    place, record = next(
        (place, record)
        for place, record in enumerate(map(json.loads, lines))
        if record["op_code"] == op and record.get("trial_id") == number and (op != 8 or "hpo:outcome" in str(record))
    )
    if what == "value":
        record["values"] = [0.999]
    elif what == "noted":
        record["user_attr"]["hpo:outcome"]["metrics"]["score"] = 0.999
    elif what == "parameter":
        record["param_value_internal"] = 0.999
    else:
        record["intermediate_value"] = 0.999
    lines[place] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n")
    (found,) = examine(runs, (), fix=True)
    assert (found.finding.trial, found.result) == (number, "left")
    assert "0.999" in found.finding.said
    trial = read_study(runs, "toy").trials[number]
    if what == "intermediate":
        assert "at step 0 is 0.999 in Optuna" in found.finding.said
        assert trial.values == {"score": trial.params["x"]}
        return
    assert found.finding.check == "trial-contradicts"
    assert (trial.state, trial.values, trial.cause) == ("FAIL", {}, "invalid")
    assert "cannot be believed" in trial.reason
    said = Said()
    result = run(load_spec(runs / "toy" / layout.SPEC, ["budget.trials=7"]), runs, [said])
    assert result.progress.best_number != number


def test_a_study_of_an_earlier_version_keeps_its_trials(drive, runs):
    """Without a key, in its storage and in its folder, and with histories that name no trial."""
    drive(1, budget={"trials": 3})
    lines = (runs / layout.JOURNAL).read_text().splitlines(keepends=True)
    (runs / layout.JOURNAL).write_text("".join(line for line in lines if "hpo:key" not in line))
    (runs / "toy" / layout.OWNER).unlink()
    for number in range(3):
        path = runs / f"toy/trials/{number}/history.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            del row["owner"], row["crc"]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert examine(runs, (), fix=False) == []
    assert not [text for text in drive(1) if "lost+found" in text]
    check_values(runs)
    assert examine(runs, (), fix=False) == []


def in_sqlite(runs, statement):
    with contextlib.closing(sqlite3.connect(runs / "study.db")) as connection, connection:
        connection.execute(statement)


def test_a_number_that_is_not_a_trials_place_is_found(drive, runs):
    drive(1, storage=f"sqlite:///{runs}/study.db")
    in_sqlite(runs, "update trials set number = 7 where number = 4")
    said = [one.finding.said for one in examine(runs, (), fix=True) if one.finding.check == "number-odd"]
    assert said == [
        "trial 5 stands where trial 4 belongs: its number was damaged in the storage, so that its history and its "
        "further attempts are not found"
    ]


def test_an_end_that_is_no_longer_noted_is_found(drive, runs):
    drive(1, storage=f"sqlite:///{runs}/study.db")
    in_sqlite(runs, "delete from trial_user_attributes where key = 'hpo:outcome' and trial_id = 3")
    (found,) = examine(runs, (), fix=True)
    assert (found.finding.check, found.finding.trial, found.result) == ("end-lost", 2, "left")


def test_an_attribute_that_is_no_json_is_a_sentence(drive, runs):
    drive(1, storage=f"sqlite:///{runs}/study.db")
    in_sqlite(runs, "update study_user_attributes set value_json = '{\"a' where key = 'hpo:identity'")
    found = examine(runs, (), fix=True)
    assert "storage-unreadable" in {one.finding.check for one in found}
    with pytest.raises(StorageError, match=r"a record of the storage .* is damaged"):
        drive(1, storage=f"sqlite:///{runs}/study.db", budget={"trials": 8})
