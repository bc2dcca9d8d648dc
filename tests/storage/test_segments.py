"""Histories of many finished trials in one file: read as before, whatever moment a kill comes at."""

from __future__ import annotations

import os
import random

import optuna
import pytest

from hpo import layout
from hpo.storage import segments
from hpo.storage.histories import Histories
from hpo.storage.history import HistoryWriter, Step, mark_of
from hpo.storage.segments import SegmentWriter, segment_of

STARTED = 1763733600.0


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    """Segments of 10 trials; 5 keep their folders, and 4 are put away at a time."""
    monkeypatch.setattr(segments, "TRIALS", 10)
    monkeypatch.setattr(segments, "KEPT", 5)
    monkeypatch.setattr(segments, "BATCH", 4)


def leave(directory, number, steps=3):
    """What a trial leaves that prints and saves nothing."""
    folder = layout.trial_directory(directory, number)
    writer = HistoryWriter(folder / layout.HISTORY, mark_of(number, STARTED + number))
    for step in range(steps):
        writer.append(Step(step, STARTED + number + step, 1, {"score": number + step / 4, "loss": float("nan")}))
    writer.close()
    (folder / layout.OUTPUT).touch()
    return folder


def trials_of(count):
    study = optuna.create_study()
    for number in range(count):
        job = {"hpo:job": {"started": STARTED + number}}
        study.add_trial(optuna.trial.create_trial(value=0.0, user_attrs=job))
    return study.trials


def read(directory, count):
    """The history of each trial, as text: NaN is NaN."""
    trials = trials_of(count)
    histories = Histories(directory, trials)
    return [repr(histories.read(trial)) for trial in trials]


def folders(directory):
    return sorted(int(name) for name in os.listdir(directory / "trials") if name.isdecimal())


def run(directory, numbers, writer=None, **kinds):
    writer = writer or SegmentWriter(directory, [])
    for number in numbers:
        leave(directory, number)
        for path, content in kinds.get(f"n{number}", {}).items():
            (directory / "trials" / str(number) / path).write_text(content)
        writer.on_trial_finished(number, STARTED + number)
    return writer


def test_histories_are_the_same_and_the_files_are_few(tmp_path):
    for number in range(33):
        leave(tmp_path / "plain", number)
    run(tmp_path / "study", range(33))
    assert read(tmp_path / "study", 33) == read(tmp_path / "plain", 33)
    assert folders(tmp_path / "study") == list(range(28, 33))
    files = sorted(os.listdir(layout.segments_directory(tmp_path / "study")))
    assert files == ["0.jsonl", "1.jsonl", "2.jsonl"]
    assert segment_of(tmp_path / "study", 19).read_bytes().count(b"\n") == 30


def test_a_small_study_has_none(tmp_path):
    run(tmp_path, range(8))
    assert folders(tmp_path) == list(range(8))
    assert not layout.segments_directory(tmp_path).exists()


KEPT = {
    "printed": {layout.OUTPUT: "hello\n"},
    "saved a state": {layout.CHECKPOINT: "state"},
    "failed": {layout.ERROR: "Traceback"},
    "its own file": {"mine.txt": ""},
    "another's row": {layout.HISTORY: ""},
    "torn": {layout.HISTORY: '{"step":1,"time":17'},
}


@pytest.mark.parametrize("files", KEPT.values(), ids=KEPT)
def test_a_trial_that_left_more_than_its_history_keeps_its_folder(tmp_path, files):
    if layout.HISTORY in files and not files[layout.HISTORY]:
        files = {layout.HISTORY: (leave(tmp_path / "other", 7) / layout.HISTORY).read_text()}
    run(tmp_path, range(20), n2=files)
    assert folders(tmp_path) == [2, *range(12, 20)]
    for name, content in files.items():
        assert (tmp_path / "trials" / "2" / name).read_text() == content


def test_a_link_in_the_place_of_a_file_or_a_folder_is_left_alone(tmp_path):
    elsewhere = leave(tmp_path / "elsewhere", 3)
    study = tmp_path / "study"
    layout.trials_directory(study).mkdir(parents=True)
    (study / "trials" / "3").symlink_to(elsewhere)
    leave(study, 4)
    history = study / "trials" / "4" / layout.HISTORY
    history.rename(tmp_path / "moved")
    history.symlink_to(tmp_path / "moved")
    writer = SegmentWriter(study, [(3, STARTED + 3), (4, STARTED + 4)])
    run(study, range(5, 20), writer)
    assert {3, 4} < set(folders(study))
    assert (elsewhere / layout.HISTORY).exists()
    assert (tmp_path / "moved").exists()


class Killed(BaseException):
    pass


def end_again(writer, number, times):
    for _ in range(times):
        writer.on_trial_finished(number, STARTED + number)


@pytest.mark.parametrize("moment", range(16))
def test_a_kill_at_any_moment_loses_and_changes_nothing(tmp_path, monkeypatch, moment):
    """Before the nth of the calls that change something in the file system."""
    for number in range(20):
        leave(tmp_path / "plain", number)
    study, left = tmp_path / "study", [moment]
    for number in range(20):
        leave(study, number)

    def killed_before(call):
        def wrapped(*arguments, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*arguments, **options)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(segments, "_append", killed_before(segments._append))
        for name in ("unlink", "rmdir"):
            patch.setattr(os, name, killed_before(getattr(os, name)))
        writer = SegmentWriter(study, [(number, STARTED + number) for number in range(19)])
        with pytest.raises(Killed):
            end_again(writer, 19, times=4)
    assert read(study, 20) == read(tmp_path / "plain", 20)
    run(study, range(20, 30), SegmentWriter(study, [(number, STARTED + number) for number in range(20)]))
    assert read(study, 20) == read(tmp_path / "plain", 20)


def test_a_torn_segment_costs_no_row_that_was_whole_and_the_next_is_behind_it(tmp_path):
    for number in range(30):
        leave(tmp_path / "plain", number)
    study = tmp_path / "study"
    writer = run(study, range(12))
    path = segment_of(study, 0)
    path.write_bytes(path.read_bytes() + b'{"step":1,"time":1763')  # of a trial whose folder is there yet
    run(study, range(12, 30), writer)
    assert read(study, 30) == read(tmp_path / "plain", 30)


def test_rows_of_another_study_of_the_same_numbers_are_not_read(tmp_path):
    run(tmp_path, range(20))
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=0.0, user_attrs={"hpo:job": {"started": STARTED + 99}}))
    assert Histories(tmp_path, study.trials).read(study.trials[0]) == []


def test_a_reader_that_stays_open_sees_what_is_put_away_meanwhile(tmp_path):
    trials, chance = trials_of(60), random.Random(1)
    for number in range(60):
        leave(tmp_path / "plain", number)
    plain, open_one = Histories(tmp_path / "plain", trials), Histories(tmp_path / "study", trials)
    writer = SegmentWriter(tmp_path / "study", [])
    for number in range(60):
        run(tmp_path / "study", [number], writer)
        trial = trials[chance.randrange(number + 1)]
        assert repr(open_one.read(trial)) == repr(plain.read(trial))
        assert open_one.path(trial).exists()
