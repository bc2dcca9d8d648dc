from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial
from servers import PostgreSQL
from waiting import wait_until

from hpo.actions import grow
from hpo.cli.main import main
from hpo.storage.load_study import load_study
from hpo.storage.trial_attributes import JOB, OUTCOME

from .conftest import Hpo, Said, environment

OLD = {
    "x": {"low": 0.0, "high": 1.0},
    "lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "arch": {"choices": ["a", "b"]},
    "weights": {"simplex": ["bce", "dice"]},
    "depth": 3,
    "loss": {"choices": {"bce": {}, "focal": {"gamma": {"low": 0.0, "high": 5.0}}}},
}
NEW = OLD | {
    "lr": {"low": 1e-5, "high": 1e-1, "log": True},
    "arch": {"choices": ["c", "b", "a"]},
    "weights": {"simplex": ["bce", "l1", "dice"]},
    "depth": {"choices": [2, 3]},
    "dropout": {"low": 0.0, "high": 0.5, "was": 0.0},
    "loss": {"choices": {"focal": {"gamma": {"low": 0.0, "high": 9.0}, "smooth": {"low": 0.0, "high": 1.0, "was": 0.5}},
                         "bce": {}, "dice": {"power": {"low": 1, "high": 2}}}},
}  # fmt: skip
WAITS = {"enqueue": [{"x": 0.9, "arch": "b"}, {"x": 0.125}], "group_by": "arch", "engine": "inline"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    found = PostgreSQL(tmp_path_factory.mktemp("postgresql"))
    yield found
    found.close()


@pytest.fixture(params=["journal", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "postgresql"))])
def storage(request: pytest.FixtureRequest, runs: Path) -> str | None:
    if request.param == "postgresql":
        return str(request.getfixturevalue("server").url(f"hpo{abs(hash(runs))}"))
    return {"journal": None, "sqlite": f"sqlite:///{runs}/optuna.db"}[request.param]


@pytest.fixture
def searched(hpo: Hpo, study_yaml: Callable[..., Path], storage: str | None) -> Callable[..., Path]:
    """Writes the study.yaml with another search space, of a study that has run with the old one."""
    keys = {**WAITS, "storage": storage, "sampler": "tpe"}
    assert hpo("run", study_yaml(**keys, search_space=OLD, budget={"trials": 8}), "-q").code == 0
    return lambda space, **more: study_yaml(**(keys | {"search_space": space, "budget": {"trials": 12}} | more))


def trials_of(runs: Path, name: str = "toy") -> list[FrozenTrial]:
    return load_study(runs, name)[1].get_trials()


def kept(trial: FrozenTrial) -> Any:
    """All of a trial but its parameters."""
    job = {key: value for key, value in trial.user_attrs.get(JOB, {}).items() if key != "params"}
    attributes = {**trial.user_attrs, JOB: job}
    return (
        trial._trial_id, trial.number, trial.state, trial.values, trial.datetime_start, trial.datetime_complete,
        trial.intermediate_values, attributes, trial.system_attrs,
    )  # fmt: skip


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.glob("trials/**/*")) if path.is_file()}


def test_a_study_grows_and_goes_on(hpo: Hpo, searched, runs: Path):
    before, files_before = trials_of(runs), files(runs / "toy")
    rows_before = json.loads(hpo("trials", "toy", "--json").out)
    path = searched(NEW)
    assert "`hpo grow` takes the trials along into a wider space" in hpo("run", path).err
    said = hpo("grow", path)
    assert said.code == 2
    assert "needs --yes" in said.err
    assert [kept(one) for one in trials_of(runs)] == [kept(one) for one in before]
    said = hpo("grow", path, "--yes")
    assert said.code == 0, said.err
    assert said.err == ""
    for sentence in (
        "study 'toy', 8 trials:",
        "  lr: widened from (1e-4 to 0.01, log) to (1e-5 to 0.1, log)\n",
        "  arch: choice c added\n",
        "  weights: weight l1 added, 0 in all trials so far\n",
        "  depth: was always 3, is 2 | 3\n",
        "  dropout: added, 0.0 to 0.5; 8 trials so far had 0.0\n",
        "  loss: choice dice added\n",
        "  loss.focal.gamma: widened from (0.0 to 5.0) to (0.0 to 9.0)\n",
        "  loss.dice.power: added, 1 to 2 where loss = dice\n",
        "study 'toy' has grown: its 8 trials stay what they were",
    ):
        assert sentence in said.out

    spec, study = load_study(runs, "toy")
    after = study.get_trials()
    assert spec.space.data() == {**NEW, "dropout": {"low": 0.0, "high": 0.5}} | {
        "loss": {"choices": {"focal": {"gamma": {"low": 0.0, "high": 9.0}, "smooth": {"low": 0.0, "high": 1.0}},
                             "bce": {}, "dice": {"power": {"low": 1, "high": 2}}}}}  # fmt: skip
    assert [kept(one) for one in after] == [kept(one) for one in before]
    assert files(runs / "toy") == files_before
    distributions = spec.space.distributions()
    for old, new in zip(before, after, strict=True):
        assert new.distributions == {name: distributions[name] for name in new.params}
        assert spec.space.cell_of(new.params) is not None
        assert new.params | {"loss.focal.smooth": 0.5} == {
            **{name: value for name, value in old.params.items() if name != "weights.0"},
            "depth": 3, "dropout": 0.0, "weights.0": new.params["weights.0"], "weights.1": 0.0,
            "loss.focal.smooth": 0.5,
        }  # fmt: skip
        seen = dict(spec.space.resolve(new.params))
        assert new.user_attrs[JOB]["params"] == seen
        weights = old.user_attrs[JOB]["params"]["weights"]
        assert seen["weights"] == pytest.approx({**weights, "l1": 0.0})
    assert hpo("grow", path, "--yes").out.startswith("nothing to grow: study 'toy' has this search space")
    assert hpo("doctor").code == 0
    rows = json.loads(hpo("trials", "toy", "--json").out)
    assert [row["values_score"] for row in rows] == [row["values_score"] for row in rows_before]
    assert {row["params_dropout"] for row in rows} == {0}
    assert "dropout: 0.0" in hpo("best", "toy").out
    assert hpo("report", "toy").code == 0
    said = hpo("run", path)
    assert said.code == 0, said.err
    assert "12 of 12 trials finished: 12 complete" in said.out
    assert len([one for one in trials_of(runs) if one.user_attrs[OUTCOME]["state"] == "COMPLETE"]) == 12
    assert hpo("doctor").code == 0


@pytest.mark.parametrize("storage", ["journal"], indirect=True)
def test_the_sampler_learns_from_the_trials_before(hpo: Hpo, searched, runs: Path):
    assert hpo("grow", searched(NEW), "--yes", "--no-backup").code == 0
    assert not (runs / ".backups").exists()
    spec, study = load_study(runs, "toy")
    space = optuna.search_space.intersection_search_space(study.get_trials())
    assert space == {name: one for name, one in spec.space.distributions().items() if not name.startswith("loss.")}


@pytest.mark.parametrize("storage", ["journal"], indirect=True)
def test_what_cannot_be_is_said_all_at_once_and_nothing_changes(hpo: Hpo, searched, runs: Path):
    before = trials_of(runs)
    space = OLD | {"x": {"low": 0.0, "high": 0.5}, "new": {"low": 1, "high": 3}}
    del space["lr"]
    path = searched(space, enqueue=[], constants={"epochs": 9}, metrics=[{"name": "score", "direction": "minimize"}])
    said = hpo("grow", path, "--yes")
    assert said.code == 2
    outside = [one.number for one in before if one.params["x"] > 0.5]
    assert (
        f"x: {len(outside)} of 8 trials lie outside of 0.0 to 0.5 ({outside[0]} with {before[outside[0]].params['x']}"
        in said.err
    )
    assert "new: it is new, and 8 trials had none; say what their objective did: `--was new=VALUE`" in said.err
    assert "lr: it is gone, and 8 trials had it (1e-4 to 0.01, log)" in said.err
    assert "constants.epochs was not there, is 9: the trials were trained with the old ones" in said.err
    assert "metrics.0.direction was maximize, is minimize: the trials were measured by the old ones" in said.err
    assert [(kept(a), a.params) for a in trials_of(runs)] == [(kept(b), b.params) for b in before]
    for was, sentence in (
        ("nwe=1", "--was nwe: study.yaml has no such parameter; new are new. Did you mean 'new'?"),
        ("x=1", "--was x: it is not new, and each trial has its own value of it"),
        ("new=7", "--was new: 7 is out of range; expected 1 to 3"),
        ("new", "'new' names no value; expected NAME=VALUE"),
        ("new={", "--was new"),
    ):
        said = hpo("grow", path, "--yes", "--was", was)
        assert said.code == 2
        assert sentence in said.err


@pytest.mark.parametrize("storage", ["journal"], indirect=True)
def test_a_narrower_range_that_holds_all_trials(hpo: Hpo, searched, runs: Path):
    highest = max(one.params["x"] for one in trials_of(runs))
    said = hpo("grow", searched(OLD | {"x": {"low": 0.0, "high": highest}}), "--yes")
    assert "x: narrowed from (0.0 to 1.0) to (0.0 to " in said.out
    assert ", where all trials so far lie" in said.out
    assert said.code == 0
    assert hpo("doctor").code == 0


@pytest.mark.parametrize("storage", ["journal"], indirect=True)
def test_the_backup_brings_the_study_back_as_it_was(hpo: Hpo, searched, runs: Path, tmp_path: Path):
    before = trials_of(runs)
    path = searched(NEW)
    assert hpo("grow", path, "--yes").code == 0
    (saved,) = (runs / ".backups").iterdir()
    assert hpo("delete", "toy", "--yes").code == 0
    said = hpo("restore", "toy", "--from", saved)
    assert said.code == 0, said.err
    assert [one.params for one in trials_of(runs)] == [one.params for one in before]
    assert hpo("grow", path, "--yes").code == 0
    assert hpo("run", path, "-q").code == 0


def test_trials_that_wait_or_died_grow_too(hpo: Hpo, study_yaml, storage, runs: Path, tmp_path: Path):
    """A driver dies with a trial that runs; what it leaves grows, and goes on as what it was."""
    gates = tmp_path / "gates"
    keys = {"storage": storage, "constants": {"gates": str(gates)}, "budget": {"trials": 3}}
    space = {"x": {"low": 0.0, "high": 1.0}, "w": {"simplex": ["a", "b"]}}
    path = study_yaml("slow", **keys, search_space=space, enqueue=[{"x": 0.25}, {"x": 0.5}, {"x": 0.75}])
    driver = subprocess.Popen(
        [sys.executable, "-P", "-m", "hpo", "run", str(path)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: list(runs.glob("toy/trials/0/trained.txt")))
    wider = {"x": {"low": 0.0, "high": 2.0}, "w": {"simplex": ["a", "b", "c"]}, "new": {"low": 0, "high": 3, "was": 2}}
    path = study_yaml("slow", **keys, search_space=wider, enqueue=[{"x": 0.25}, {"x": 0.5}, {"x": 0.75}])
    said = hpo("grow", path, "--yes")
    assert said.code == 3
    assert "While study 'toy' runs, it cannot grow; `hpo stop toy` ends it" in said.err
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_until(lambda: hpo("grow", path, "--yes").code == 0, every=0.5)
    gates.mkdir()
    for number in range(9):
        (gates / str(number)).touch()
    assert hpo("run", path, "-q").code == 0
    trials = trials_of(runs)
    assert [one.state.name for one in trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert sorted(one.params["x"] for one in trials[1:]) == [0.25, 0.5, 0.75]
    again = next(one for one in trials[1:] if one.params["x"] == 0.25)
    assert (again.params["new"], again.params["w.1"]) == (2, trials[0].params["w.1"])
    assert hpo("doctor").code == 0


def test_other_studies_of_the_storage_stay_as_they_are(hpo: Hpo, searched, study_yaml, storage, runs: Path):
    other = study_yaml(name="other", storage=storage, engine="inline")
    assert hpo("run", other, "-q").code == 0
    before = [(kept(one), one.params, one.distributions) for one in trials_of(runs, "other")]
    assert hpo("grow", searched(NEW), "--yes").code == 0
    assert [(kept(one), one.params, one.distributions) for one in trials_of(runs, "other")] == before
    assert hpo("run", study_yaml(name="other", storage=storage, engine="inline"), "--trials", 6, "-q").code == 0
    assert hpo("doctor").code == 0


def test_no_study_none_to_grow_and_one_that_is_no_search(hpo: Hpo, study_yaml, runs: Path):
    path = study_yaml(engine="inline")
    said = hpo("grow", path, "--yes")
    assert (said.code, "holds none; `hpo run study.yaml` makes the first" in said.err) == (2, True)
    hpo("run", path, "-q")
    assert hpo("grow", path).out.startswith("nothing to grow: ")
    assert "no study 'tyo'" in hpo("grow", study_yaml(name="tyo")).err
    path = study_yaml(engine="inline")
    assert hpo("confirm", "toy", "--top", 1, "--seeds", 2, "-q").code == 0
    race, wider = runs / "toy.confirm" / "study.yaml", ("--set", "search_space.x.high=2.0")
    assert "study 'toy.confirm' is a confirmation" in hpo("grow", race, "--yes", *wider).err
    said = hpo("grow", path, "--yes", *wider)
    assert said.code == 0
    assert "study 'toy.confirm' is of the space before; `hpo delete toy.confirm`" in said.err
    assert "`hpo run " in said.out
    assert " --set search_space.x.high=2.0` goes on" in said.out
    assert "`hpo delete toy.confirm` makes room for a new confirmation" in hpo("confirm", "toy", "--top", 3).err


def test_the_doctor_removes_what_a_kill_has_left(hpo: Hpo, study_yaml, runs: Path):
    hpo("run", study_yaml(engine="inline"), "-q")
    (runs / ".backups").mkdir()
    for path in (runs / "journal.log.0123abcd.4194305.partial", runs / ".backups" / "toy-1.tar.4194305.partial"):
        path.touch()
    assert hpo("doctor").out.count("was never finished: its writer died") == 2
    assert hpo("doctor", "--fix").code == 0
    assert hpo("doctor").code == 0
    assert not list(runs.glob("**/*.partial"))


def test_it_asks_on_a_terminal(study_yaml, hpo: Hpo, runs: Path):
    hpo("run", study_yaml(engine="inline"), "-q")
    path = study_yaml(search_space={"x": {"low": 0.0, "high": 2.0}})
    for answer, code in ((b"n\n", 2), (b"y\n", 0)):
        leader, follower = pty.openpty()
        command = [sys.executable, "-P", "-m", "hpo", "grow", str(path)]
        process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment())
        os.close(follower)
        os.write(leader, answer)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 65536)
            except OSError:
                break
        assert process.wait(timeout=120) == code, shown
        os.close(leader)
        assert b"x: widened from (0.0 to 1.0) to (0.0 to 2.0)" in shown
    assert trials_of(runs)[0].distributions["x"].high == 2.0


def test_a_damaged_journal_is_refused_and_stays(hpo: Hpo, study_yaml, runs: Path):
    hpo("run", study_yaml(engine="inline"), "-q")
    lines = (runs / "journal.log").read_bytes().splitlines(keepends=True)
    lines[5] = b"{broken\n"
    (runs / "journal.log").write_bytes(b"".join(lines))
    said = hpo("grow", study_yaml(search_space={"x": {"low": 0.0, "high": 2.0}}), "--yes")
    assert said.code == 1
    assert "journal.log:6: this record of the journal is damaged" in said.err
    assert (runs / "journal.log").read_bytes() == b"".join(lines)


# --- kills


def _killed_at(step: int, arguments: list[str], *, from_start: bool = False) -> int:
    """Run a command in a process of its own that is killed before its n-th change of a file or a database.

    They are counted from the moment on at which the trials are written, or from the start.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        left = [step if from_start else -1]
        rewrite = grow._rewrite

        def begin(grown: grow.Grown) -> None:
            left[0] = step
            rewrite(grown)

        if not from_start:
            grow._rewrite = begin

        def statement(_connection: object, _cursor: object, text: str, *_: object) -> None:
            if text.startswith(("INSERT", "UPDATE", "DELETE")):
                count()

        def count(*_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        def hook(event: str, given: tuple[Any, ...]) -> None:
            changes = event in ("os.rename", "os.remove", "os.mkdir", "os.truncate", "os.chmod", "os.rmdir")
            if changes or (event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)):
                count()

        sys.addaudithook(hook)
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", statement)
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", count)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        os._exit(main(arguments))
    finally:
        os._exit(99)


@pytest.mark.slow
def test_killed_at_any_step_it_is_as_it_was_or_as_it_is_to_be(hpo: Hpo, searched, runs: Path, storage, tmp_path: Path):
    if storage is not None and storage.startswith("postgresql"):
        pytest.skip("its data cannot be copied back after each kill; test_killed_in_a_database_server does it")
    path = searched(NEW)
    pristine = tmp_path / "pristine"
    shutil.copytree(runs, pristine)
    old = [(kept(one), one.params) for one in trials_of(runs)]
    assert hpo("grow", path, "--yes").code == 0
    new = [(kept(one), one.params) for one in trials_of(runs)]
    assert old != new
    seen, step = [], 0
    for early in (1, 9):  # in the backup, or before
        shutil.rmtree(runs)
        shutil.copytree(pristine, runs)
        assert _killed_at(early, ["grow", str(path), "--yes", "--runs", str(runs)], from_start=True) == -signal.SIGKILL
        assert [(kept(one), one.params) for one in trials_of(runs)] == old
    while True:
        step += 1 if storage is None else 2  # one statement a trial: every other one will do
        shutil.rmtree(runs)
        shutil.copytree(pristine, runs)
        code = _killed_at(step, ["grow", str(path), "--yes", "--no-backup", "--runs", str(runs)])
        now = [(kept(one), one.params) for one in trials_of(runs)]
        assert now in (old, new), step
        seen.append(now == new)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if step % 4 and not seen[-1]:
            continue  # as the kill before
        assert hpo("status", "toy").code == 0
        assert hpo("grow", path, "--yes", "--no-backup").code == 0
        assert [(kept(one), one.params) for one in trials_of(runs)] == new
        assert load_study(runs, "toy")[0].space.data()["depth"] == {"choices": [2, 3]}
    assert seen == sorted(seen), "once new, always new"
    assert seen.count(False) > 3
    assert seen.count(True) > 1, "a kill after the step that counts is among them"
    assert hpo("doctor").code == 0


@pytest.mark.slow
def test_killed_in_a_database_server(hpo: Hpo, study_yaml, server: PostgreSQL, runs: Path):
    keys = {**WAITS, "storage": str(server.url("kills")), "search_space": OLD, "budget": {"trials": 6}}
    assert hpo("run", study_yaml(**keys), "-q").code == 0
    old = [(kept(one), one.params) for one in trials_of(runs)]
    path, step = study_yaml(**(keys | {"search_space": NEW})), 0
    while (code := _killed_at(step := step + 1, ["grow", str(path), "--yes", "--no-backup", "--runs", str(runs)])) != 0:
        assert code == -signal.SIGKILL
        now = [(kept(one), one.params) for one in trials_of(runs)]
        if now != old:
            break
    new = [(kept(one), one.params) for one in trials_of(runs)]
    assert all("dropout" in params for _, params in new)
    assert [one for one, _ in new] == [one for one, _ in old]
    assert hpo("grow", path, "--yes").code == 0
    assert hpo("doctor").code == 0


@pytest.mark.slow
def test_runs_in_mlflow_get_the_new_parameters(study_yaml, runs: Path, default_store: Path):
    space = {"x": {"low": 0.0, "high": 1.0}, "w": {"simplex": ["a", "b"]}}

    def hpo(*arguments: object) -> Said:  # MLflow warns of itself, which is an error in this process
        command = [sys.executable, "-P", "-m", "hpo", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=False)
        return Said(ended.returncode, ended.stdout, ended.stderr)

    assert hpo("run", study_yaml(mlflow=True, search_space=space), "-q").code == 0
    wider = {"x": {"low": 0.0, "high": 2.0}, "w": {"simplex": ["a", "b", "c"]}, "new": {"low": 0, "high": 3, "was": 2}}
    path = study_yaml(mlflow=True, search_space=wider)
    said = hpo("grow", path, "--yes")
    assert (said.code, said.err) == (0, "")
    assert hpo("doctor").code == 0
    again = hpo("mlflow", "toy", "--sync")
    assert again.code == 0, again.err
    assert "nothing" in again.out or "equal" in again.out, again.out
