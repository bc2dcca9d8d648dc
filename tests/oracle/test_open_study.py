"""Opening of a study for a driver, in each storage: it goes on, unless another search was made under its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from servers import PostgreSQL

from hpo.errors import StudyChanged
from hpo.oracle.open_study import open_study
from hpo.spec.models import StudySpec
from hpo.storage.open import close_storage, open_storage
from hpo.storage.trial_attributes import IDENTITY

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
