"""Opening of a study for a driver, in each storage: it goes on, unless another search was made under its name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from servers import PostgreSQL

from hpo.errors import StudyChanged
from hpo.objective.sources import sources_of
from hpo.oracle.open_study import open_study
from hpo.oracle.oracle import Oracle
from hpo.oracle.supersede import supersede
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec
from hpo.storage.open import close_storage, open_storage
from hpo.storage.source_versions import Change, changes_of
from hpo.storage.study_copy import read_export
from hpo.storage.trial_attributes import IDENTITY
from hpo.trackers.base import Tracker
from hpo.trial import Outcome

SPACE = {
    "aug": {"choices": {True: {"strength": {"low": 0.0, "high": 1.0}}, False: {}}},
    "batch": {"choices": {16: {"lr": {"low": 0.1, "high": 1.0}}, None: {}, 0.5: {}}},
}
NAN, INFINITY = float("nan"), float("inf")
CONSTANTS = {"weights": {0: 1.0, 1: NAN, None: INFINITY}, "deep": [{1: {True: [NAN]}}], "n": 10**30}


@pytest.fixture(params=["journal", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgresql":
        server = PostgreSQL(tmp_path)
        yield server.url("study")
        server.close()
    else:
        yield {"journal": f"journal:{tmp_path}/journal.log", "sqlite": f"sqlite:///{tmp_path}/study.db"}[request.param]


def opened(spec: StudySpec, url: str) -> int:
    """Open the study as one driver does, finish a trial, and return how many there are."""
    storage = open_storage(url)
    try:
        study = open_study(spec, storage)
        trial = study.ask()
        spec.space.suggest(trial)
        study.tell(trial, 0.5)
        return len(study.get_trials(deepcopy=False))
    finally:
        close_storage(storage)


def test_keys_that_are_no_text_go_on(make_spec: Callable[..., StudySpec], url: str) -> None:
    spec = make_spec(search_space=SPACE, constants=CONSTANTS)
    assert [opened(spec, url) for _ in range(3)] == [1, 2, 3]
    changed = make_spec(search_space=SPACE, constants={**CONSTANTS, "n": 1})
    with pytest.raises(StudyChanged, match=r"what was searched has changed since:\n  constants\.n was 10+, is 1\n"):
        opened(changed, url)


def test_a_study_of_an_earlier_version_goes_on_and_its_keys_are_kept_from_then_on(
    make_spec: Callable[..., StudySpec], url: str
) -> None:
    spec = make_spec(search_space=SPACE, constants=CONSTANTS)
    storage = open_storage(url)
    study = optuna.create_study(study_name=spec.name, storage=storage, direction="maximize")
    study.set_user_attr(IDENTITY, json.loads(json.dumps(spec.identity())))
    study.tell(study.ask(), 0.5)
    close_storage(storage)
    opened(spec, url)
    as_text = make_spec(search_space=SPACE, constants={**CONSTANTS, "weights": {"0": 1.0, 1: NAN, None: INFINITY}})
    with pytest.raises(StudyChanged, match=r"constants\.weights was \[0, 1, null\], is \['0', 1, null\]"):
        opened(as_text, url)
    opened(spec, url)


def test_a_study_that_hpo_did_not_make_is_refused(make_spec: Callable[..., StudySpec], url: str) -> None:
    spec = make_spec(search_space=SPACE)
    storage = open_storage(url)
    optuna.create_study(study_name=spec.name, storage=storage, direction="maximize").add_trial(
        optuna.trial.create_trial(value=0.5)
    )
    close_storage(storage)
    with pytest.raises(StudyChanged, match="that hpo did not make"):
        opened(spec, url)


# --- the objective's files

SCRIPT = "def train(trial):\n    return {'score': trial.params['x']}\n"


def project(folder: Path, text: str = SCRIPT, **keys: Any) -> StudySpec:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(text)
    keys = {"search_space": {"x": {"low": 0, "high": 99}}, "constants": {}} | keys
    study = {
        "name": "same",
        "objective": "train.py:train",
        "metrics": [{"name": "score", "direction": "maximize"}],
        "budget": {"trials": 9},
        "mlflow": False,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study | keys))
    return load_spec(path)


def trained(spec: StudySpec, url: str, strict: bool = False, state: str = "COMPLETE") -> list[str]:
    """Open the study as a driver does, run a trial, and return what was said."""
    storage = open_storage(url)
    said: list[str] = []
    try:
        study = open_study(spec, storage, said.append, strict)
        oracle = Oracle(spec, study, spec.root / "runs" / spec.name)
        job = oracle.ask()
        assert job is not None
        ended = {"metrics": {"score": 0.5}} if state == "COMPLETE" else {"cause": "exception", "reason": "a bug"}
        oracle.tell(Outcome(job.number, state, **ended))
        oracle.close()
    finally:
        close_storage(storage)
    return said


def test_another_file_under_the_same_name_is_refused_and_a_moved_project_goes_on(tmp_path: Path, url: str) -> None:
    one = project(tmp_path / "one")
    assert trained(one, url) == []
    two = project(tmp_path / "two", SCRIPT.replace("trial.params['x']", "100"))
    files = f"the objective was {tmp_path}/one/train.py, is {tmp_path}/two/train.py"
    with pytest.raises(StudyChanged, match=f"(?s){re.escape(files)}.*--new-name same-2"):
        trained(two, url)
    three = project(tmp_path / "three")
    moved = f"the objective has moved from {tmp_path}/one/train.py to {tmp_path}/three/train.py; its files are the same"
    assert trained(three, url, strict=True) == [moved]
    assert trained(one, url) == trained(three, url) == []
    assert trained(project(tmp_path / "one", f"{SCRIPT}# edited\n"), url) != []


def test_an_edited_file_is_said_and_refused_with_strict(tmp_path: Path, url: str) -> None:
    spec = project(tmp_path / "one")
    assert [trained(spec, url) for _ in range(4)] == [[]] * 4
    project(tmp_path / "one", f"{SCRIPT}# edited\n")
    with pytest.raises(StudyChanged, match=r"train\.py has changed since trial 3\. .*leave out --strict"):
        trained(spec, url, strict=True)
    [said] = trained(spec, url)
    assert said.startswith("train.py has changed since trial 3.")
    assert trained(spec, url, strict=True) == []
    storage = open_storage(url)
    study = optuna.load_study(study_name="same", storage=storage)
    changes = changes_of(study.get_trials(), study.user_attrs)
    close_storage(storage)
    assert changes == [Change(4, 3, ("train.py",))]


def test_a_trial_that_ran_with_files_edited_meanwhile_has_their_mark(tmp_path: Path, url: str) -> None:
    spec = project(tmp_path / "one")
    storage = open_storage(url)
    said: list[str] = []
    tracker = Tracker()
    tracker.message = said.append  # type: ignore[method-assign]
    oracle = Oracle(spec, open_study(spec, storage), tmp_path / "runs" / "same", tracker)
    for edited in (False, True, True):
        job = oracle.ask()
        assert job is not None
        if edited:
            (tmp_path / "one" / "train.py").write_text(f"{SCRIPT}# edited\n")
        seen = {"sources": sources_of(spec.objective_ref()).data()}
        oracle.tell(Outcome(job.number, "COMPLETE", {"score": 0.5}, observed=seen))
    study = optuna.load_study(study_name="same", storage=storage)
    assert changes_of(study.get_trials(), study.user_attrs) == [Change(1, 0, ("train.py",))]
    assert [text for text in said if "edited meanwhile" in text] == [
        "trial 1 ran with files of the objective that differ from those at the start of this run: they were edited "
        "meanwhile (said of the first such trial; the report names the files)"
    ]
    close_storage(storage)


@pytest.mark.parametrize(
    "change",
    [
        {"search_space": {"x": {"choices": ["a", "b"]}}},
        {"constants": {"data": "right"}},
        {"metrics": [{"name": "loss", "direction": "minimize"}]},
        {"metrics": [{"name": "a", "direction": "minimize"}, {"name": "b", "direction": "minimize"}]},
    ],
)
def test_a_study_without_a_complete_trial_accepts_any_change_and_keeps_its_trials(
    tmp_path: Path, url: str, change: dict[str, Any]
) -> None:
    first = project(tmp_path / "one")
    for _ in range(2):
        trained(first, url, state="FAIL")
    second = project(tmp_path / "one", SCRIPT, **change)
    storage = open_storage(url)
    directory = tmp_path / "one" / "runs" / "same"
    [said] = list(supersede(second, storage, directory))
    assert "none of its 2 trials has completed: it begins anew" in said
    study = open_study(second, storage)
    assert study.get_trials() == []
    assert [direction.name.lower() for direction in study.directions] == [m.direction for m in second.metrics]
    [kept] = (directory / "lost+found").glob("study-*")
    old = optuna.load_study(study_name="same", storage=read_export(kept / "optuna.log"))
    assert [trial.state.name for trial in old.trials] == ["FAIL", "FAIL"]
    assert sorted(path.name for path in (kept / "trials").iterdir()) == ["0", "1"]
    assert list(supersede(second, storage, directory)) == []
    close_storage(storage)


def test_a_study_with_a_complete_trial_is_not_moved_aside(tmp_path: Path, url: str) -> None:
    trained(project(tmp_path / "one"), url, state="FAIL")
    trained(project(tmp_path / "one"), url)
    changed = project(tmp_path / "one", constants={"data": "other"})
    storage = open_storage(url)
    assert list(supersede(changed, storage, tmp_path / "one" / "runs" / "same")) == []
    with pytest.raises(StudyChanged):
        open_study(changed, storage)
    close_storage(storage)
