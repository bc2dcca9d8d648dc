"""Damaged records of a journal that several studies share: each is replaced, and all others stay as they were."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import optuna
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from journal_fuzz import KNOWN, NAMES, repair, studies_of, write
from optuna.trial import TrialState

from hpo import layout
from hpo.doctor.examine import examine
from hpo.doctor.journal_pieces import pieces_of
from hpo.doctor.journal_repair import Repair
from hpo.errors import StorageError
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.storage.driver_lock import driver_lock
from hpo.storage.journal_records import CREATE_TRIAL, parse
from hpo.storage.load_study import load_study
from hpo.storage.open import open_storage


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A journal of three studies, its lines, and what Optuna reads of it."""
    path = tmp_path_factory.mktemp("shared") / "journal.log"
    write(path)
    return path, path.read_bytes().splitlines(keepends=True), studies_of(path)


def concerns(line, studies):
    """The study, and the trial's id or None, of which a record is."""
    record = json.loads(line)
    if "trial_id" in record:
        trial = record["trial_id"]
        return next(name for name in studies if trial in [one._trial_id for one in studies[name][2:]]), trial
    return record.get("study_name") or NAMES[record["study_id"]], None


def is_record(line):
    try:
        parse(line)
    except ValueError:
        return False
    return True


def check_others(before, after, concerned):
    """All studies that no damaged record is of are as before, and of the others all trials are in their places."""
    assert list(after) == list(before)
    names = {name for name, _ in concerned}
    for name in set(before) - names:
        assert after[name] == before[name]
    for name in names:
        ids, its = ([(one._trial_id, one.number) for one in all_of[name][2:]] for all_of in (after, before))
        # Nothing tells of the last trials if they were queued, never started, and nothing came after them.
        assert ids == its[: len(ids)]
        assert all(trial.state == TrialState.WAITING for trial in before[name][2 + len(ids) :])


LINES = st.integers(0, 10**6)
# What takes the place of a line: bytes at places of it, or others altogether.
FLIPS = st.lists(st.tuples(LINES, st.integers(0, 255)), min_size=1, max_size=20)


def flipped(line, flips):
    line = bytearray(line)
    for at, byte in flips:
        line[at % (len(line) - 1)] = byte
    return bytes(line)


@given(at=LINES, flips=FLIPS)
@example(at=0, flips=[(3, 0xFF)])
def test_whatever_bytes_of_a_record_are_flipped_the_other_studies_are_as_before(shared, at, flips):
    path, lines, before = shared
    at %= len(lines) - 1
    damaged = flipped(lines[at], flips)
    # A digit that became another digit cannot be told: Optuna's records have no checksum.
    assume(not all(map(is_record, damaged.removesuffix(b"\n").split(b"\n"))))
    path.write_bytes(b"".join([*lines[:at], damaged, *lines[at + 1 :]]))
    losses = repair(path)
    assert at + 1 in [loss.line for loss in losses.values()]
    check_others(before, studies_of(path), [concerns(lines[at], before)])
    assert repair(path) == {}


@pytest.mark.parametrize("how", ["garbage", "zeros", "first half", "last half", "glued"])
def test_each_record_of_each_kind_can_be_lost(shared, how):
    path, lines, before = shared
    for at, line in enumerate(lines[:-1]):
        damaged = {
            "garbage": b"garbage\n",
            "zeros": bytes(len(line) - 1) + b"\n",
            "first half": line[: len(line) // 2] + b"\n",
            "last half": line[len(line) // 2 :],
            "glued": line[: len(line) // 2],
        }[how]
        path.write_bytes(b"".join([*lines[:at], damaged, *lines[at + 1 :]]))
        assert len(repair(path)) == 1
        check_others(before, studies_of(path), [concerns(line, before)])


@given(ats=st.sets(LINES, min_size=2, max_size=4), halves=st.booleans())
def test_several_records_can_be_lost_if_what_is_left_of_them_tells_their_kinds(shared, ats, halves):
    path, lines, before = shared
    ats = {at % (len(lines) - 1) for at in ats}
    damaged = list(lines)
    for at in ats:
        # Up to the id, and a little less than all of it.
        damaged[at] = damaged[at][: max(110, len(damaged[at]) // 2 if halves else len(damaged[at]) - 5)] + b"\n"
    ats = [at for at in ats if damaged[at] != lines[at]]
    assume(ats)
    path.write_bytes(b"".join(damaged))
    assert len(repair(path)) == len(ats)
    check_others(before, studies_of(path), [concerns(lines[at], before) for at in ats])


def test_zeros_over_several_records_and_their_line_ends(shared):
    path, lines, before = shared
    content = b"".join(lines)
    for at in range(len(lines[0]) + 30, len(content) - 5000, 997):
        path.write_bytes(content[:at] + bytes(700) + content[at + 700 :])
        repair(path)
        first = content[:at].count(b"\n")
        last = content[: at + 700].count(b"\n")
        check_others(before, studies_of(path), [concerns(lines[one], before) for one in range(first, last + 1)])


@pytest.mark.parametrize("times", [1, 3])
def test_a_trial_whose_creation_is_there_twice_is_created_once(shared, times):
    """Optuna would number all later trials one too high."""
    path, lines, before = shared
    doubled = 0
    for at, line in enumerate(lines):
        if json.loads(line)["op_code"] != CREATE_TRIAL or json.loads(line).get("state") is not None:
            continue
        doubled += 1
        path.write_bytes(b"".join([*lines[:at], *[line] * times, *lines[at:]]))
        losses = repair(path).values()
        assert [loss.line for loss in losses] == [at + 2 + k for k in range(times)]
        assert {loss.was for loss in losses} == {"the creation of a trial"}
        assert studies_of(path) == before
        assert repair(path) == {}
    assert doubled > 3


def test_two_trials_that_are_queued_alike_stay_two(tmp_path):
    path = tmp_path / "journal.log"
    storage = open_storage(f"journal:{path}")
    study = optuna.create_study(storage=storage, study_name="queue")
    study.enqueue_trial({"x": 1.0}, skip_if_exists=False)
    study.enqueue_trial({"x": 1.0}, skip_if_exists=False)
    assert len({*path.read_bytes().splitlines()[-2:]}) == 1
    assert repair(path) == {}


def test_the_kind_alone_can_be_wrong_and_nothing_is_lost(shared):
    path, lines, before = shared
    for at in range(0, len(lines), 7):
        line = lines[at]
        for kind in range(12):
            damaged = re.sub(rb'"op_code":\d', b'"op_code":%d' % kind, line)
            if damaged != line and kind != 10:
                path.write_bytes(b"".join([*lines[:at], damaged, *lines[at + 1 :]]))
                (loss,) = repair(path).values()
                assert "nothing is lost" in loss.done or "create study" in loss.done
        assert studies_of(path) == before


def test_a_creation_whose_line_was_deleted_is_put_back(shared):
    """As hpo once advised. Several records that follow name what nothing creates."""
    path, lines, before = shared
    at = next(k for k, line in enumerate(lines) if json.loads(line).get("study_name") == "b")
    path.write_bytes(b"".join([*lines[:at], *lines[at + 1 :]]))
    (loss,) = repair(path).values()
    assert loss.done == "create study b again"
    assert studies_of(path) == before


def test_a_time_that_is_none_is_not_written_again(shared):
    path, lines, before = shared
    at = [k for k, line in enumerate(lines) if json.loads(line)["op_code"] == 4][1]
    damaged = re.sub(rb'"datetime_start":"(....)-..', rb'"datetime_start":"\1-99', lines[at])
    path.write_bytes(b"".join([*lines[:at], damaged, *lines[at + 1 :]]))
    assert len(repair(path)) == 1
    check_others(before, studies_of(path), [concerns(lines[at], before)])
    assert repair(path) == {}


def test_a_journal_of_a_later_optuna_and_notes_of_its_own_are_left_alone(shared):
    path, lines, _ = shared
    path.write_bytes(b"".join([*lines, b'{"op_code":10}\n', lines[-1][:-2] + b',"new":1}\n']))
    assert Repair(list(pieces_of(path)), KNOWN).losses == {}


# --- as the user sees it


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("three") / "runs"


@pytest.fixture
def three(study_yaml, runs, three_runs, tmp_path):
    """A runs folder with the studies toy, other and third in one journal; the YAML of toy."""
    keys = {"engine": {"name": "inline"}, "constants": {"seconds": 0.0}}
    paths = {}
    for name in ("other", "third", "toy"):
        paths[name] = study_yaml("slow", name=name, **keys).rename(tmp_path / f"{name}.yaml")
    if not three_runs.exists():
        for path in paths.values():
            run(load_spec(path), three_runs)
        run(load_spec(paths["other"], ["budget.trials=6"]), three_runs)
    shutil.copytree(three_runs, runs)
    return paths


def trials_of(runs, name):
    return load_study(runs, name)[1].trials


def line_of(journal, kind, study=None, trial=None, nth=0):
    """The index of the n-th record of a kind, of a study or trial by its id."""
    found = [
        at
        for at, line in enumerate(journal.read_bytes().splitlines())
        if (record := json.loads(line))["op_code"] == kind
        and study in (None, record.get("study_id"))
        and trial in (None, record.get("trial_id"))
    ]
    return found[nth]


def spoil(journal, at, content=None):
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[at] = content if content is not None else lines[at][:-20] + b"\xff\xfe" + lines[at][-18:]
    journal.write_bytes(b"".join(lines))


@pytest.mark.slow
def test_the_creation_of_a_trial_is_put_back_and_its_study_goes_on(three, runs):
    journal = runs / layout.JOURNAL
    before = {name: trials_of(runs, name) for name in three}
    at = line_of(journal, 4, study=1, nth=2)
    spoil(journal, at, b'{"op_code":4,"worker_id":"torn\n')
    damaged = journal.read_bytes()
    with pytest.raises(StorageError, match=rf"journal\.log:{at + 1}: this record .* `hpo doctor --fix` replaces it"):
        load_study(runs, "toy")
    (looked,) = examine(runs, (), fix=False)
    assert (looked.finding.check, looked.result) == ("journal-damaged", "left")
    assert looked.finding.said == (f"{journal}:{at + 1}: the creation of a trial is damaged: it is not JSON")
    assert looked.finding.remedy == (
        "create trial 2 of study third again, to which later records belong, and keep the file as it is as "
        "journal.log.damaged"
    )
    assert journal.read_bytes() == damaged
    os.chmod(journal, 0o640)
    (fixed,) = examine(runs, (), fix=True)
    assert fixed.result == "fixed"
    assert examine(runs, (), fix=False) == []
    assert journal.with_name("journal.log.damaged").read_bytes() == damaged
    assert journal.stat().st_mode & 0o777 == 0o640
    for name in three:
        after = trials_of(runs, name)
        assert [(one.number, one.values, one.params, one.user_attrs) for one in after] == [
            (one.number, one.values, one.params, one.user_attrs) for one in before[name]
        ]
        result = run(load_spec(three[name], ["budget.trials=7"]), runs)
        assert result.progress.finished == 7


def test_a_queued_trial_that_nothing_names_becomes_a_failed_one(three, runs):
    study = load_study(runs, "other")[1]
    study.enqueue_trial({"x": 0.5})
    study.enqueue_trial({"x": 0.25})
    journal = runs / layout.JOURNAL
    spoil(journal, line_of(journal, 4, study=0, nth=-2))
    (looked,) = examine(runs, (), fix=True)
    assert looked.result == "fixed"
    assert "put a failed trial in the place of trial 6 of study other" in looked.finding.remedy
    assert examine(runs, (), fix=False) == []
    *_, lost, queued = trials_of(runs, "other")
    assert (lost.state, queued.state) == (TrialState.FAIL, TrialState.WAITING)
    assert "its record in the journal was damaged (line " in lost.user_attrs["hpo:outcome"]["reason"]
    assert queued.system_attrs["fixed_params"] == {"x": 0.25}
    assert run(load_spec(three["other"], ["budget.trials=9"]), runs).done


def test_the_end_of_a_trial_that_is_lost_is_told_again_as_it_was_noted(three, runs):
    journal = runs / layout.JOURNAL
    value = trials_of(runs, "third")[1].value
    trial = trials_of(runs, "third")[1]._trial_id
    spoil(journal, line_of(journal, 6, trial=trial))
    found = examine(runs, (), fix=True)
    assert [(one.finding.check, one.result) for one in found] == [("journal-damaged", "fixed"), ("half-ended", "fixed")]
    assert "the state and values of trial 1 of study third is damaged" in found[0].finding.said
    assert trials_of(runs, "third")[1].value == value


@pytest.mark.parametrize("line", [b"garbage\n", b"\0" * 200 + b"\n"])
def test_a_study_whose_creation_is_lost_gets_its_name_back(three, runs, line):
    journal = runs / layout.JOURNAL
    before = {name: trials_of(runs, name) for name in three}
    spoil(journal, line_of(journal, 0, nth=1), line)
    (fixed,) = examine(runs, (), fix=True)
    assert "create study third again" in fixed.finding.remedy
    assert fixed.result == "fixed"
    for name in three:
        assert trials_of(runs, name) == before[name]


def test_two_damaged_lines_of_two_studies(three, runs):
    journal = runs / layout.JOURNAL
    before = trials_of(runs, "toy")
    spoil(journal, line_of(journal, 4, study=0, nth=3))
    spoil(journal, 0 + line_of_damaged(journal, 5))
    found = examine(runs, (), fix=True)
    assert {one.result for one in found} == {"fixed"}
    assert [one.finding.check for one in found].count("journal-damaged") == 2
    assert trials_of(runs, "toy") == before


def line_of_damaged(journal, nth):
    """The index of the n-th parameter of a trial from the end of the lines that can still be read."""
    lines = journal.read_bytes().splitlines()
    return [at for at, line in enumerate(lines) if b'"op_code":5' in line and b'"study_id":0' not in line][nth]


def test_a_journal_whose_study_is_driven_is_not_touched(three, runs):
    journal = runs / layout.JOURNAL
    spoil(journal, line_of(journal, 5))
    damaged = journal.read_bytes()
    with driver_lock(runs / "third"):
        (one,) = examine(runs, ("toy",), fix=True)
    assert one.result == "left"
    assert "(once the drivers of third have ended: they read the same journal)" in one.finding.remedy
    assert journal.read_bytes() == damaged
    (one,) = examine(runs, ("toy",), fix=True)
    assert one.result == "fixed"


def test_a_half_written_record_to_which_the_next_was_glued_costs_itself_alone(three, runs):
    journal = runs / layout.JOURNAL
    storage = open_storage(f"journal:{journal}")
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"x-1","trial_id":3,"user_attr":{"no')
        file.write(b'{"op_code":2,"worker_id":"x-2","study_id":1,"user_attr":{"note":"kept"}}\n')
        file.write(b'{"op_code":2,"worker_id":"x-2","study_id":1,"user_attr":{"more":"kept"}}\n')
    with pytest.raises(StorageError):
        storage.get_all_studies()
    (fixed,) = examine(runs, (), fix=True)
    assert "a user attribute of trial 3 of study other is damaged" in fixed.finding.said
    assert "put a record in its place that changes nothing" in fixed.finding.remedy
    attributes = load_study(runs, "third")[1].user_attrs
    assert (attributes["note"], attributes["more"]) == ("kept", "kept")
    # A process that had met the damage reads the repaired file.
    assert [study.study_name for study in storage.get_all_studies()] == ["other", "third", "toy"]


DRIVER = """
import sys
from pathlib import Path
from hpo.runner import run
from hpo.spec.load import load_spec
from hpo.trackers.base import Tracker

class Spoil(Tracker):
    def trial_finished(self, job, outcome, progress):
        if job.number == 5:
            with (Path(sys.argv[2]) / "journal.log").open("ab") as file:
                file.write(b'garbage\\n{"op_code":10}\\n')

run(load_spec(sys.argv[1], ["budget.trials=7"]), Path(sys.argv[2]), [Spoil()])
"""


def test_a_driver_that_meets_a_damaged_record_ends_with_a_sentence_and_goes_on_after_the_repair(three, runs):
    driver = subprocess.run(
        [sys.executable, "-c", DRIVER, three["toy"], runs], capture_output=True, text=True, check=False
    )
    assert driver.returncode == 1
    last = driver.stderr.strip().splitlines()[-1]
    assert re.search(r"StorageError: .*journal\.log:\d+: this record of the journal is damaged: it is not JSON", last)
    found = examine(runs, (), fix=True)
    assert {one.result for one in found} == {"fixed"}
    assert [trial.state.name for trial in trials_of(runs, "toy")][:6] == ["COMPLETE"] * 6
    result = run(load_spec(three["toy"], ["budget.trials=7"]), runs)
    assert (result.progress.complete, result.done) == (7, True)


@pytest.mark.slow
def test_no_damage_makes_the_repair_fail_hang_or_take_much_memory():
    seconds = os.environ.get("HPO_FUZZ_SECONDS", "60")
    script = os.path.join(os.path.dirname(__file__), "journal_fuzz.py")
    done = subprocess.run([sys.executable, script, seconds], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tally = json.loads(done.stdout)
    assert tally["repaired"] > 0
    assert tally["settled"] > 0.9 * tally["repaired"]
