"""Reading asks for no right to write and changes nothing; what needs the right says whose the study is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from other_user import UID, Called, as_other_user, as_root
from snapshots import snapshot
from waiting import wait_until

import hpo as library
from hpo import layout
from hpo.cli.main import main
from hpo.runner import run
from hpo.spec.load import load_spec

from .conftest import Hpo, environment

TOYS = Path(__file__).parents[1] / "toys.py"
STUDY = {
    "objective": f"{TOYS}:smooth",
    "metrics": [{"name": "score", "direction": "maximize"}],
    "search_space": {"x": {"low": 0.0, "high": 1.0}},
    "budget": {"trials": 3},
    "sampler": "kernel",
    "pruner": "none",
    "engine": {"name": "inline"},
    "mlflow": False,
}
READING = (
    "list",
    "list --json",
    "status toy",
    "status toy --json",
    "best toy",
    "best toy --json",
    "report toy -o {home}",
    "diagnose toy -o {home}",
    "diagnose toy/1 --json -o {home}",
    "compare toy lite -o {home}",
    "compare toy/0 toy/1 -o {home}",
    "logs toy",
    "logs toy --trial 0",
    "replay toy --seeds 1",
    "export-knowledge -o {home}/knowledge.json",
    "doctor",
    "doctor toy --json",
    "check {home}/warm.yaml",
)
WRITING = (
    "run {runs}/{name}/study.yaml",
    "stop {name}",
    "pause {name}",
    "resume {name}",
    "kill {name} 0",
    "extend {name} --trials +1",
    "delete {name} --yes",
    "doctor {name} --fix",
    "doctor --fix",
    "mlflow {name} --sync",
    "report {name}",
    "run {runs}/{name}/study.yaml --new-name mine",
    "import-knowledge {home}/knowledge.json",
)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="hpo-users-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home(place: Path) -> Path:
    folder = place / "home"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, UID, UID)
    return folder


@pytest.fixture(scope="module")
def made(place: Path, home: Path) -> Path:
    """A runs folder with a study in the journal, `toy`, and one in SQLite, `lite`."""
    runs = place / "made"
    for name, storage in (("toy", None), ("lite", f"sqlite:///{place}/runs/lite.db")):
        data = {"name": name, **STUDY, **({} if storage is None else {"storage": storage})}
        (place / "study.yaml").write_text(yaml.safe_dump(data))
        # SQLite's path is the one that the tests use.
        (place / "runs").mkdir(exist_ok=True)
        run(load_spec(place / "study.yaml"), runs)
    shutil.move(place / "runs" / "lite.db", runs)
    warm = {**STUDY, "name": "warm", "warm_start": str(place / "runs" / "toy")}
    (home / "warm.yaml").write_text(yaml.safe_dump(warm))
    return runs


@pytest.fixture
def runs(place: Path, made: Path) -> Path:
    folder = place / "runs"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder, symlinks=True)
    return folder


@pytest.fixture
def other(home: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    """Calls `hpo` as another user."""
    return lambda *args: as_other_user(home, lambda: main([*map(str, args), "--runs", str(runs)]))


def words(command: str, **names: object) -> list[str]:
    return [word.format(**names) for word in command.split()]


@contextlib.contextmanager
def opened(file: Path) -> Iterator[None]:
    """Another process has the SQLite file open, as a driver."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('create table t (a)'); c.commit(); "
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
        holder.kill()


def leave_open(file: Path) -> None:
    """Leave a SQLite file as a killed driver does, with a -wal, and without the -shm as a copy."""
    with opened(file):
        pass
    assert file.with_name("lite.db-wal").stat().st_size > 0


@pytest.mark.parametrize("command", READING)
def test_reading_changes_nothing_and_needs_no_rights(
    command: str, hpo: Hpo, runs: Path, home: Path, other: Callable[..., Called]
) -> None:
    before = snapshot(runs)
    given = words(command, home=home)
    said = hpo(*given, "--runs", runs)
    assert said.code == 0, said.err
    assert snapshot(runs) == before
    if os.geteuid() == 0:
        for path in home.iterdir():
            os.chown(path, UID, UID)
        theirs = other(*given)
        assert theirs.code == 0, theirs.err
        assert snapshot(runs) == before
        if not command.startswith(("doctor", "diagnose")):  # what may not be seen is named; it has a time
            lines = theirs.out.splitlines(keepends=True)  # `check` warns that this user cannot run it there
            assert "".join(line for line in lines if "`hpo run` cannot run it in" not in line) == said.out


@pytest.mark.parametrize("state", ["open", "killed", "copied", "rollback"])
@pytest.mark.parametrize("command", ["status lite", "list", "doctor lite"])
def test_a_sqlite_file_in_any_state_is_read_as_it_is(
    command: str, state: str, hpo: Hpo, runs: Path, other: Callable[..., Called]
) -> None:
    expected = hpo("status", "lite", "--runs", runs).out
    file = runs / "lite.db"
    with contextlib.ExitStack() as stack:
        if state == "open":
            stack.enter_context(opened(file))
        elif state == "rollback":
            with contextlib.closing(sqlite3.connect(file)) as connection:
                connection.execute("pragma journal_mode=delete")
        else:
            leave_open(file)
            if state == "copied":
                file.with_name("lite.db-shm").unlink()
        before = snapshot(runs)
        assert hpo(*command.split(), "--runs", runs).code == 0
        assert hpo("status", "lite", "--runs", runs).out == expected
        assert snapshot(runs) == before
        if os.geteuid() == 0:
            said = other(*command.split())
            assert (said.code, said.err) == (0, "")
            assert snapshot(runs) == before


@as_root
@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("name", ["toy", "lite"])
def test_what_has_to_write_names_the_owner(
    command: str, name: str, hpo: Hpo, runs: Path, home: Path, other: Callable[..., Called]
) -> None:
    hpo("export-knowledge", "-o", home / "knowledge.json", "--runs", runs)
    before = snapshot(runs)
    said = other(*words(command, name=name, runs=runs, home=home))
    assert said.code == 1, said.err
    assert "Traceback" not in said.err
    assert "belongs to root (mode 755), and you are nobody" in said.err
    if command.startswith("report"):
        assert said.err.endswith("; -o DIR writes it to a folder of your own\n")
    assert snapshot(runs) == before


@as_root
def test_what_can_be_said_without_a_file_is_said(hpo: Hpo, runs: Path, other: Callable[..., Called]) -> None:
    assert hpo("diagnose", "toy", "--runs", runs).code == 0
    assert hpo("compare", "toy", "lite", "--runs", runs).code == 0
    for command, first in (("diagnose toy", "toy/2: "), ("compare toy lite", "score")):
        said = other(*command.split())
        assert said.code == 0
        assert first in said.out
        assert "-o DIR writes it to a folder of your own" in said.err
        assert other(*command.split(), "--open").code == 1


@as_root
def test_a_history_that_may_not_be_read_hides_only_what_needs_it(
    hpo: Hpo, runs: Path, other: Callable[..., Called], tmp_path: Path
) -> None:
    hidden = runs / "toy/trials/1/history.jsonl"
    hidden.chmod(0o600)
    why = f"{hidden} belongs to root (mode 600), and you are nobody"
    said = other("list")
    rows = {line.split()[0]: line.split()[1] for line in said.out.splitlines()[1:]}
    assert (said.code, rows) == (0, {"lite": "3/3", "toy": "3/3"})
    for command in ("status", "best"):
        assert other(command, "toy").code == 0
    assert why in other("doctor").out
    for command in ("trials toy", "report toy"):
        said = other(*command.split())
        assert (said.code, why in said.err) == (1, True), command


@as_root
@pytest.mark.parametrize("hidden", ["toy", "toy/study.yaml", "journal.log"])
def test_a_study_that_may_not_be_read_is_named_and_hides_no_other(
    hidden: str, hpo: Hpo, runs: Path, other: Callable[..., Called]
) -> None:
    for command in ("list", "doctor", "status lite", "status toy"):
        assert hpo(*command.split(), "--runs", runs).code == 0
    (runs / hidden).chmod(0o700 if (runs / hidden).is_dir() else 0o600)
    why = f"{runs / hidden} belongs to root (mode {(runs / hidden).stat().st_mode & 0o777:o}), and you are nobody"
    said = other("list")
    assert said.code == 0, said.err
    rows = {line.split()[0]: line.split()[1] for line in said.out.splitlines()[1:]}
    assert rows == {"lite": "3/3", "toy": "?"}
    assert "hpo: toy: " in said.err
    assert why in said.err
    said = other("doctor")
    assert (said.code, said.err) == (0, "")
    assert why in said.out
    assert said.out.endswith(", as far as could be seen\n")
    assert other("status", "lite").code == 0
    said = other("status", "toy")
    assert said.code != 0
    assert why in said.err
    assert "Traceback" not in said.err


def test_a_runs_folder_that_is_mounted_for_reading_only(hpo: Hpo, runs: Path, home: Path) -> None:
    mounted = subprocess.run(["mount", "-o", "bind,ro", runs, runs], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        for command in READING:
            said = hpo(*words(command, home=home), "--runs", runs)
            assert said.code == 0, said.err
        for command in WRITING:
            said = hpo(*words(command, name="lite", runs=runs, home=home), "--runs", runs)
            assert said.code == 1, said.err
            assert "it is on a file system that is mounted for reading only" in said.err
    finally:
        subprocess.run(["umount", runs], check=True)


@as_root
def test_a_study_is_read_and_reported_from_python(runs: Path, home: Path) -> None:
    own = home / "report"

    def call() -> int:
        study = library.load_study("lite", runs)
        assert len(study.trials()) == 3
        with pytest.raises(library.HpoError, match="belongs to root"):
            study.report()
        return 0 if study.report(directory=own).html.exists() else 1

    own.mkdir()
    library.load_study("lite", runs).report(directory=own)  # imports all
    shutil.rmtree(own)
    assert as_other_user(home, call) == Called(0, "", "")


def test_links_of_a_report_elsewhere_lead_to_the_study(hpo: Hpo, runs: Path, home: Path) -> None:
    assert hpo("report", "toy", "--runs", runs, "-o", home / "elsewhere").code == 0
    page = (home / "elsewhere" / "report.html").read_text()
    assert f'href="{(runs / "toy").as_uri()}/' in page
    assert 'href="report.md"' in page
    assert (runs / "toy" / layout.REPORTS[0]).as_uri() not in page


@pytest.fixture
def tracked(place: Path, hpo: Hpo, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runs folder with a study that is in the default MLflow store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = Path(tempfile.mkdtemp(dir=place))  # MLflow keeps files open by their paths
    folder.chmod(0o755)
    shutil.copyfile(empty_store, folder / layout.MLFLOW_STORE)
    (place / "tracked.yaml").write_text(yaml.safe_dump({**STUDY, "name": "toy"}))
    run(load_spec(place / "tracked.yaml"), folder)
    assert hpo("mlflow", "toy", "--sync", "--runs", folder).code == 0
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own
@pytest.mark.parametrize("state", ["closed", "left open"])
def test_runs_in_mlflow_are_read_without_a_change(tracked: Path, state: str, hpo: Hpo, home: Path) -> None:
    store = tracked / layout.MLFLOW_STORE
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("pragma journal_mode=wal")
        (run_id,) = connection.execute("select run_uuid from runs where name = 'trial 0'").fetchone()
        if state == "left open":
            connection.execute("update runs set user_id = 'x' where 0")
            connection.commit()
            for end in ("-wal", "-shm"):
                shutil.copy(f"{store}{end}", f"{store}{end}.kept")
    if state == "left open":
        for end in ("-wal", "-shm"):
            os.rename(f"{store}{end}.kept", f"{store}{end}")
    before = snapshot(tracked)
    # What the toy reports is no training that can be diagnosed, which is known once the run was read.
    for command, code in (("doctor", 0), (f"diagnose mlflow:{run_id}", 2)):
        given = [*command.split(), "--runs", str(tracked)]
        said = hpo(*given)
        assert said.code == code, said
        assert snapshot(tracked) == before
        if os.geteuid() == 0:
            theirs = as_other_user(home, lambda given=given: main(given))
            assert theirs.code == code, theirs
            assert "MLflow at" not in theirs.out
            assert snapshot(tracked) == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_pages_of_a_store_that_may_not_be_written_show_a_copy(tracked: Path, tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-o", "bind,ro", tracked, tracked], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        command = [sys.executable, "-m", "hpo", "mlflow", "toy", "--port", "0", "--runs", str(tracked)]
        own = environment(TMPDIR=str(tmp_path))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=own) as server:
            assert server.stdout is not None
            lines = [server.stdout.readline() for _ in range(4)]
            assert lines[3].startswith("You may not write this store"), lines
            root = lines[0].partition("/#")[0]

            def answers() -> bool:
                assert server.poll() is None
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{root}/health", timeout=5):
                    return True
                return False

            wait_until(answers, every=0.2)
            body = json.dumps({"experiment_ids": ["1"]}).encode()
            headers = {"Content-Type": "application/json", "Origin": root}
            request = urllib.request.Request(f"{root}/ajax-api/2.0/mlflow/runs/search", data=body, headers=headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert len(json.load(answer)["runs"]) == 4
            server.terminate()
            server.communicate(timeout=120)
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tracked], check=True)
