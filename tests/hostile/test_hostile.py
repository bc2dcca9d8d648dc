"""Each kind of hostile objective on each engine that it concerns: `hpo run` as a user runs it, then all records.

How to add a kind: CONTRIBUTING.md. Every difference is listed at once.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile.command import hpo, remains
from hostile.compare import Left, all_of, in_folders, in_histories, in_mlflow, in_optuna, in_output, in_report
from hostile.kind import NAME, Kind, read_kinds
from hpo import layout

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning")


def cases() -> list[object]:
    """Each kind on each of its engines. The fast ones run in `make test`, on the local engine alone."""
    found = []
    for kind in read_kinds():
        for engine in kind.engines:
            marks = [] if kind.fast and engine == "local" else [pytest.mark.slow]
            found.append(pytest.param(kind, engine, id=f"{kind.name}-{engine}", marks=marks))
    return found


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for $TMPDIR that is the test's own. Its path is short: sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("kind", "engine"), cases())
def test_a_hostile_objective_hurts_nothing(
    kind: Kind, engine: str, tmp_path: Path, temporary: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "study"
    study = kind.copy(folder, engine)
    runs = folder / kind.runs
    if kind.mlflow and kind.runs == "runs" and kind.exit == (0,):
        runs.mkdir()
        shutil.copyfile(request.getfixturevalue("empty_store"), runs / layout.MLFLOW_STORE)
    commands = [["run", study.name, *(["--runs", kind.runs] if kind.runs != "runs" else [])]]
    if kind.own_study:
        commands[0] += ["--set", f"engine.name={engine}"]
    if kind.again is not None:
        commands.append([*commands[0], "--trials", str(kind.again)])
    tmpdir = temporary / kind.tmpdir
    tmpdir.mkdir(parents=True, exist_ok=True)
    printed, differences = "", []
    for command in commands:
        code, said = hpo(command, folder, tmpdir, runs)
        printed += said
        if code not in kind.exit:
            differences.append(f"`hpo {' '.join(command)}` ended with {code} rather than {kind.exit}")
    left = Left(kind, runs)
    differences += all_of(in_output(left, printed))
    if code != 2:
        count = kind.trials(study)
        sources = (in_optuna(left, count), in_histories(left), in_mlflow(left), in_report(left))
        differences += all_of(*map(_readable, sources), in_folders(temporary, folder / "trained.txt", count))
    differences += remains(runs)
    if differences:
        listed = "\n".join(f"- {difference}" for difference in differences)
        said = printed[-2000:].encode("ascii", "backslashreplace").decode()
        pytest.fail(f"{kind.name} on {engine}:\n{listed}\n--- the command's output\n{said}", pytrace=False)


def _readable(source: Iterator[str]) -> Iterator[str]:
    """The differences of a source; that it cannot be read is one too."""
    try:
        yield from source
    except Exception as error:  # whatever a damaged source leads to
        yield f"{source.__name__} ends in {type(error).__name__}: {ascii(str(error))[:300]}"


def test_the_name_of_the_study_is_the_one_that_is_read() -> None:
    assert {kind.study.get("name", NAME) for kind in read_kinds()} == {NAME}


def test_every_engine_has_a_kind() -> None:
    assert {engine for kind in read_kinds() for engine in kind.engines} == {"local", "ray", "inline"}
