"""The knowledge file: what is written is read back, and whatever else is given ends in a sentence."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo import layout
from hpo.errors import HpoError
from hpo.space.search_space import SearchSpace
from hpo.spec.models import Metric
from hpo.warm_start import knowledge_file
from hpo.warm_start.candidates import Source
from hpo.warm_start.knowledge_file import DEEPEST, LARGEST, Entry, dump, kept, objective_mark, read, write

VALID = {
    "format": "hpo-knowledge",
    "version": 1,
    "studies": [
        {
            "name": "toy",
            "objective": "train.py:train",
            "metrics": [{"name": "score", "direction": "maximize"}],
            "search_space": {
                "x": {"low": 0.0, "high": 1.0},
                "w": {"simplex": ["a", "b"]},
                "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
            },
            "group_by": None,
            "trials": {"complete": 40, "pruned": 12, "failed": 1},
            "began": 1763733600.0,
            "ended": 1763740800.0,
            "data": {"train": "9f86d0"},
            "best": [
                {"number": 3, "params": {"x": 0.25, "w": {"a": 0.5, "b": 0.5}, "loss": "bce"}, "values": [0.9]},
                {"number": 5, "params": {"x": 1, "loss": "focal", "gamma": 2.0}, "values": [0.8]},
            ],
        }
    ],
}


def save(path, data):
    path.write_text(json.dumps(data))
    return path


def changed(*keys, to):
    """VALID with the value at `keys` replaced, or with `to` None of it removed."""
    data = copy.deepcopy(VALID)
    *above, last = keys
    target = data
    for key in above:
        target = target[key]
    if to is None:
        del target[last]
    else:
        target[last] = to
    return data


def test_what_is_written_is_read_back(tmp_path):
    (entry,) = read(save(tmp_path / "k.json", VALID))
    assert entry.source.name == "toy"
    assert entry.source.metrics == (Metric(name="score", direction="maximize"),)
    assert entry.source.trials[1] == (5, {"x": 1, "loss": "focal", "gamma": 2.0}, (0.8,))
    assert entry.counts == {"complete": 40, "pruned": 12, "failed": 1}
    again = tmp_path / "again.json"
    again.write_text(dump([entry]))
    assert read(again) == [entry]
    assert json.loads(again.read_text()) == VALID


FIRST = ("studies", 0)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "is no knowledge file"),
        ({"format": "other"}, "is no knowledge file"),
        (changed("version", to=2), "version 2 of the format, this hpo reads up to 1; install a newer hpo"),
        (changed("version", to="1"), "version: '1' is no version"),
        (changed("studies", to=None), "studies: is missing; expected a list"),
        (
            changed("studys", to=[]),
            "studys: is not a key of a knowledge file; expected format, version, studies. Did you mean 'stud",
        ),
        (changed(*FIRST, "name", to="../../etc"), "studies.0.name: '../../etc' is not right; expected the name of"),
        (changed(*FIRST, "name", to="a" * 152), "is not right; expected the name of a study: letters, digits"),
        (changed(*FIRST, "metrics", 0, "direction", to="up"), "direction: 'up' is not right; expected minimize or"),
        (changed(*FIRST, "metrics", to=[]), "studies.0.metrics: names no metric"),
        (changed(*FIRST, "search_space", "x", "high", to=-1.0), "0.search_space.x.low: low is 0.0, high is -1.0"),
        (changed(*FIRST, "search_space", to=7), "studies.0.search_space: 7 holds no parameters"),
        (
            changed(*FIRST, "trials", "pruned", to=-1),
            "studies.0.trials.pruned: -1 is not right; expected a whole number from 0",
        ),
        (changed(*FIRST, "began", to="now"), "studies.0.began: 'now' is not a finite number"),
        (changed(*FIRST, "best", 0, "values", to=[]), "studies.0.best.0.values: has 0 numbers; expected 1"),
        (changed(*FIRST, "best", 0, "values", to=[10**400]), "is not a finite number"),
        (changed(*FIRST, "best", 0, "params", "y", to=1), "best.0.params.y: is not a parameter of its search_space."),
        (changed(*FIRST, "best", 0, "params", "x", to=[1]), "best.0.params.x: [1] is not a value"),
        (changed(*FIRST, "best", 0, "params", "x", to=10**20), "is not a finite number"),
        (changed(*FIRST, "best", 0, "params", to=None), "best.0.params: is missing; expected a mapping"),
        (changed(*FIRST, "objective", to="\x1b[2J"), "0.objective: '\\x1b[2J' is not right; expected plain text"),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_the_key(tmp_path, data, said):
    path = save(tmp_path / "k.json", data)
    with pytest.raises(HpoError) as error:
        read(path)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)


def test_files_that_are_no_text_or_not_there(tmp_path):
    path = tmp_path / "k.json"
    with pytest.raises(HpoError, match="cannot be read: No such file"):
        read(path)
    with pytest.raises(HpoError, match="cannot be read: it is a folder"):
        read(tmp_path)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(HpoError, match="is not JSON"):
        read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(HpoError, match=f"more than {DEEPEST} lists and mappings in each other"):
        read(path)
    path.write_text("[" * 80 + "]" * 80)
    with pytest.raises(HpoError, match=f"more than {DEEPEST} lists and mappings in each other"):
        read(path)
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(HpoError, match=f"it has {LARGEST + 1} bytes, expected at most {LARGEST}"):
        read(path)


def accepted_or_refused(path):
    """A list of entries that can be written again, or an HpoError whose text any terminal can show."""
    try:
        entries = read(path)
    except HpoError as error:
        str(error).encode("utf-8")  # raises of a lone surrogate
        return False
    path.write_text(dump(entries))
    assert read(path) == entries
    return True


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@FUZZ
@given(st.binary(max_size=200))
def test_arbitrary_bytes_end_in_a_sentence(tmp_path, data):
    path = tmp_path / "k.json"
    path.write_bytes(data)
    assert not accepted_or_refused(path)


WORDS = ["low", "high", "choices", "simplex", "name", "x", "studies", "best", "params"]
numbers = st.integers() | st.floats() | st.just(10**400)
values = st.none() | st.booleans() | numbers | st.text(max_size=8) | st.just("\ud800")
keys = st.text(max_size=4) | st.sampled_from(WORDS)
trees = st.recursive(
    values, lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3), max_leaves=8
)


@FUZZ
@given(trees)
def test_arbitrary_json_ends_in_a_sentence(tmp_path, data):
    path = tmp_path / "k.json"
    path.write_text(json.dumps(data))
    assert not accepted_or_refused(path)
    path.write_text(json.dumps({"format": "hpo-knowledge", "version": 1, "studies": data}))
    assert accepted_or_refused(path) == (data == [])


def places(data, at=()):
    yield at
    for key, below in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(below, (*at, key))


PLACES = [place for place in places(VALID) if place]


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(PLACES), trees | st.none()), min_size=1, max_size=3))
def test_a_valid_file_with_something_changed_is_read_or_refused(tmp_path, changes):
    data = copy.deepcopy(VALID)
    for place, value in changes:
        target = data
        for key in place[:-1]:
            known = target if isinstance(target, dict) else range(len(target)) if isinstance(target, list) else ()
            target = target[key] if key in known else None
        if isinstance(target, dict) or (isinstance(target, list) and place[-1] in range(len(target))):
            target[place[-1]] = value
    accepted_or_refused(save(tmp_path / "k.json", data))


@FUZZ
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_valid_file_with_bytes_damaged_is_read_or_refused(tmp_path, at, damage):
    path = tmp_path / "k.json"
    text = json.dumps(VALID).encode()
    path.write_bytes(text[: at % len(text)] + damage + text[at % len(text) + len(damage) :])
    accepted_or_refused(path)


# --- in the runs folder


def entry(name="toy", began=1.0, ended=2.0, complete=1, x=0.5):
    space, metrics = SearchSpace.parse({"x": {"low": 0.0, "high": 1.0}}), (Metric(name="score", direction="maximize"),)
    source = Source(name, space, metrics, ((0, {"x": x}, (0.5,)),), tried=complete)
    return Entry(source, "train.py:train", None, {"complete": complete, "pruned": 0, "failed": 0}, began, ended, {})


def test_importing_twice_changes_nothing_and_a_later_export_replaces_the_earlier(tmp_path):
    assert write(tmp_path, [entry()]) == [(entry(), True)]
    (file,) = layout.knowledge_directory(tmp_path).iterdir()
    before = file.read_bytes()
    assert write(tmp_path, [entry()]) == [(entry(), False)]
    assert file.read_bytes() == before
    later = entry(ended=3.0, complete=2, x=0.25)
    assert write(tmp_path, [later]) == [(later, True)]
    assert write(tmp_path, [entry()]) == [(entry(), False)]  # the older one does not come back
    assert kept(tmp_path) == ([later], [])


def test_two_studies_of_one_name_are_two(tmp_path):
    write(tmp_path, [entry(began=1.0), entry(began=5.0)])
    assert len(kept(tmp_path)[0]) == 2


def test_a_file_that_was_damaged_is_passed_over_and_can_be_imported_again(tmp_path):
    write(tmp_path, [entry(), entry("other")])
    damaged = layout.knowledge_directory(tmp_path) / entry().file_name
    damaged.write_text("{")
    entries, complaints = kept(tmp_path)
    assert [one.source.name for one in entries] == ["other"]
    assert len(complaints) == 1
    assert str(damaged) in complaints[0]
    write(tmp_path, [entry()])
    assert kept(tmp_path)[1] == []


def test_no_folder_is_no_knowledge(tmp_path):
    assert kept(tmp_path / "nothing") == ([], [])


@pytest.mark.parametrize(
    ("objective", "mark"),
    [
        ("objectives.glaucoma:train", "objectives.glaucoma:train"),
        ("train.py:train", "train.py:train"),
        ("/home/me/secret/train.py:train", "train.py:train"),
        ("..\\code\\train.py:train", "train.py:train"),
    ],
)
def test_an_objective_is_known_by_what_does_not_depend_on_the_machine(objective, mark):
    assert objective_mark(objective) == mark


def test_a_command_is_known_by_a_digest_without_its_folders():
    here = objective_mark(["/usr/bin/python", "/home/me/train.py", "--lr", "{lr}", ["--token", "secret"]])
    assert here == objective_mark(["python", "train.py", "--lr", "{lr}", ["--token", "secret"]])
    assert here != objective_mark(["python", "train.py", "--lr", "{rate}", ["--token", "secret"]])
    assert "secret" not in here
    assert knowledge_file.objective_mark("train.py:train") != here
