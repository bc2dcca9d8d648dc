"""`hpo backup` and `hpo restore`: exact books, also of a study that runs meanwhile, from and to any storage."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from books import TPE, TRIALS, check_books, finish, start
from servers import PostgreSQL
from waiting import wait_until

from hpo import layout
from hpo.storage.load_study import load_study
from hpo.storage.study_copy import begins_as

from .conftest import Hpo

STORAGES = {"journal": None, "sqlite": "sqlite:///study.db", "in the runs folder": "sqlite:///runs/study.db"}


def check_same(runs: Path, other: Path, name: str = "toy") -> None:
    one, two = load_study(runs, name)[1], load_study(other, name)[1]
    assert one.user_attrs == two.user_attrs
    system = [study._storage.get_study_system_attrs(study._study_id) for study in (one, two)]
    assert system[0] == system[1]
    assert len(one.trials) == len(two.trials)
    assert begins_as(one.trials, two.trials)
    times = [[(trial.datetime_start, trial.datetime_complete) for trial in study.trials] for study in (one, two)]
    assert times[0] == times[1]


@pytest.mark.parametrize(
    "target", ["runs.tar.gz", *(pytest.param(name, marks=pytest.mark.slow) for name in ("runs.tar", "folder"))]
)
def test_all_studies_come_back_in_another_place(hpo: Hpo, finished, runs: Path, tmp_path: Path, target):
    hpo("run", finished, "--new-name", "other", "--trials", 1, "-q")
    exported = hpo("export-knowledge").out
    (tmp_path / "knowledge.json").write_text(exported)
    hpo("import-knowledge", tmp_path / "knowledge.json")
    said = hpo("backup", "--to", target)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-1] == f"{target}: `hpo restore --from {target}` brings them back"
    other = tmp_path / "new"
    said = hpo("restore", "--from", target, "--runs", other)
    assert (said.code, said.err) == (0, "")
    for name in ("toy", "other"):
        check_same(runs, other, name)
        for path in (runs / name / "trials").rglob("*"):
            copied = other / path.relative_to(runs)
            assert path.is_dir() or copied.read_bytes() == path.read_bytes()
    known = [path.name for path in (runs / "knowledge").iterdir()]
    assert sorted(path.name for path in (other / "knowledge").iterdir()) == sorted(known)
    assert hpo("doctor", "--runs", other).out == "looked at 2 studies: nothing is wrong\n"
    assert not (other / ".trash").exists()
    # The copy is a study of its own: it goes on, and goes, without the original.
    assert hpo("run", other / "toy/study.yaml", "--runs", other, "--trials", 6, "-q").code == 0
    assert hpo("delete", "toy", "--runs", other, "--yes").code == 0
    assert len(load_study(runs, "toy")[1].trials) == 4
    assert hpo("doctor").code == 0


def test_single_studies_are_saved_and_restored_beside_others(hpo: Hpo, finished, runs: Path):
    hpo("run", finished, "--new-name", "other", "--trials", 1, "-q")
    assert hpo("backup", "toy", "--to", "one.tar").code == 0
    refused = hpo("restore", "--from", "one.tar")
    assert refused.code == 1
    assert f"study 'toy' is not restored: {runs / 'toy'} is there." in refused.err
    hpo("delete", "toy", "--yes", "--purge")
    assert hpo("restore", "othre", "--from", "one.tar").err == ("hpo: one.tar has no study 'othre'; it holds toy.\n")
    assert hpo("restore", "toy", "--from", "one.tar").code == 0
    assert len(load_study(runs, "toy")[1].trials) == 4
    assert len(load_study(runs, "other")[1].trials) == 1
    assert hpo("doctor").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("storage", [pytest.param(url, id=name) for name, url in STORAGES.items()])
def test_a_study_in_the_middle_of_a_run_is_saved_whole(hpo: Hpo, study_yaml, runs: Path, tmp_path: Path, storage):
    """Its driver is never stopped; what is restored is without a fault, and goes on to the same total."""
    path = study_yaml("slow", engine={"workers": 2}, budget={"trials": TRIALS}, storage=storage, **TPE)
    driver = start(path, runs)
    try:
        for number in range(3):
            wait_until(lambda wanted=number: (runs / f"toy/trials/{3 * wanted}").is_dir())
            assert hpo("backup", "--to", f"{number}.tar").code == 0
        assert driver.wait(600) == 0
    finally:
        driver.kill()
        driver.communicate()
    check_books(runs, TRIALS)
    for number in range(3):
        other = tmp_path / f"restored-{number}"
        options = ["--storage", "journal"] if storage == STORAGES["sqlite"] else []
        said = hpo("restore", "--from", f"{number}.tar", "--runs", other, *options)
        assert (said.code, said.err) == (0, "")
        looked = hpo("doctor", "--runs", other)
        assert looked.out == "looked at 1 study: nothing is wrong\n"
        finish(other / "toy/study.yaml", other)
        check_books(other, TRIALS)
        assert hpo("doctor", "--runs", other).code == 0


def test_a_storage_that_has_such_a_study_is_not_written(hpo: Hpo, study_yaml, runs: Path, tmp_path: Path):
    hpo("run", study_yaml(storage="sqlite:///study.db"), "-q")
    assert hpo("backup", "--to", "b.tar").code == 0
    said = hpo("restore", "--from", "b.tar", "--runs", tmp_path / "other")
    assert said.code == 1
    assert f"the storage sqlite:///{tmp_path}/study.db has a study of this name." in said.err
    assert "or name another one with --storage URL" in said.err
    assert not (tmp_path / "other/toy").exists()
    said = hpo("restore", "--from", "b.tar", "--runs", tmp_path / "other", "--storage", "sqlite:///new.db")
    assert (said.code, said.err) == (0, "")
    assert load_study(tmp_path / "other", "toy")[0].storage == f"sqlite:///{tmp_path}/new.db"
    check_same(runs, tmp_path / "other")
    misspelt = hpo("restore", "--from", "b.tar", "--runs", "third", "--storage", "sqlit:///x")
    assert misspelt.code == 2
    assert "hpo: --storage: 'sqlit:///x' has the unknown scheme 'sqlit'" in misspelt.err
    assert "Did you mean 'sqlite'" in misspelt.err


@pytest.mark.slow
def test_a_study_moves_from_postgresql_to_a_journal_and_back(hpo: Hpo, study_yaml, runs: Path, tmp_path: Path):
    folder = tmp_path / "postgresql"
    folder.mkdir()
    server = PostgreSQL(folder)
    try:
        hpo("run", study_yaml("raising", storage=server.url("one"), budget={"trials": 6}), "-q")
        assert hpo("backup", "--to", "b.tar").code == 0
        here, there = tmp_path / "here", tmp_path / "there"
        assert hpo("restore", "--from", "b.tar", "--runs", here, "--storage", "journal").code == 0
        check_same(runs, here)
        assert hpo("backup", "--to", "c.tar", "--runs", here).code == 0
        assert hpo("restore", "--from", "c.tar", "--runs", there, "--storage", server.url("two")).code == 0
        check_same(runs, there)
        assert hpo("doctor", "--runs", there).code == 0
        assert hpo("delete", "toy", "--yes").code == 0
        check_same(here, there)
    finally:
        server.close()


def test_links_are_saved_as_what_they_lead_to(hpo: Hpo, finished, runs: Path, tmp_path: Path):
    """Trials on another disk, and weights there; folders that are not the study's are not."""
    disk = tmp_path / "disk"
    shutil.move(runs / "toy/trials", disk)
    (runs / "toy/trials").symlink_to(disk)
    (tmp_path / "weights").write_text("weights")
    (disk / "0/weights.pt").symlink_to(tmp_path / "weights")
    (runs / "toy/home").symlink_to(tmp_path)
    os.mkfifo(runs / "toy/fifo")
    said = hpo("backup", "--to", "b.tar")
    assert said.code == 0
    assert said.err == "study 'toy': left out 2 links to folders, or what is no plain file\n"
    assert hpo("restore", "--from", "b.tar", "--runs", "other").code == 0
    assert (tmp_path / "other/toy/trials/0/weights.pt").read_text() == "weights"
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_symlink()]


def test_a_backup_is_not_overwritten_and_not_put_into_what_it_saves(hpo: Hpo, finished, runs: Path):
    (runs / "b.tar").write_text("precious")
    said = hpo("backup", "--to", runs / "b.tar")
    assert said.code == 1
    assert f"{runs / 'b.tar'} is there already; name another place, such as b-20" in said.err
    assert (runs / "b.tar").read_text() == "precious"
    assert "is in the folder of study 'toy'" in hpo("backup", "--to", runs / "toy/b").err
    assert hpo("backup", "toi", "--to", "b.tar").code == 2
    assert hpo("backup", "--to", "b.tar", "--runs", "none").code == 2


def test_a_study_that_cannot_be_read_does_not_keep_the_others_from_being_saved(hpo: Hpo, finished, study_yaml, runs):
    hpo("run", study_yaml(name="lost", storage="sqlite:///lost.db"), "-q")
    Path("lost.db").unlink()
    said = hpo("backup", "--to", "b.tar")
    assert said.code == 1
    assert "hpo: study 'lost' was left out: its storage " in said.err
    assert hpo("restore", "--from", "b.tar", "--runs", "other").code == 0
    assert (Path("other") / "toy").is_dir()


@pytest.mark.parametrize("content", [b"", b"no backup", b"\x1f\x8b torn"])
def test_what_is_no_backup_is_a_sentence(hpo: Hpo, tmp_path: Path, content):
    (tmp_path / "b.tar").write_bytes(content)
    said = hpo("restore", "--from", "b.tar")
    assert said.code == 1
    assert "expected what `hpo backup --to FILE` wrote" in said.err
    assert hpo("restore", "--from", "nowhere.tar").err == (
        "hpo: there is no nowhere.tar; expected what `hpo backup --to FILE` wrote\n"
    )


def test_a_torn_backup_restores_no_half_study(hpo: Hpo, finished, tmp_path: Path):
    hpo("backup", "--to", "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "b.tar") as tar:
        offset = tar.getmember("toy/folder/trials/2/history.jsonl").offset
    (tmp_path / "torn.tar").write_bytes(whole[: offset + 600])
    said = hpo("restore", "--from", "torn.tar", "--runs", "other")
    assert said.code == 1
    assert "torn.tar" in said.err
    assert not (tmp_path / "other/toy").exists()
    assert hpo("restore", "--from", "b.tar", "--runs", "other").code == 0


def test_a_backup_does_not_write_outside_of_the_study(hpo: Hpo, finished, tmp_path: Path):
    """A file that came from elsewhere may hold any names."""
    hpo("backup", "--to", "b.tar")
    with tarfile.open("b.tar") as whole, tarfile.open("evil.tar", "w") as evil:
        for member in whole:
            evil.addfile(member, whole.extractfile(member))
        for name in ("toy/folder/../../../../escaped", "toy/../../escaped", "knowledge/../../escaped"):
            evil.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("toy/folder/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        evil.addfile(link)
    said = hpo("restore", "--from", "evil.tar", "--runs", "runs/below/other")
    assert said.code == 1
    assert not list(tmp_path.rglob("escaped"))
    assert not (tmp_path / "runs/below/other/toy").exists()


@pytest.mark.slow
def test_runs_in_mlflow_are_written_again(hpo_process: Hpo, hpo: Hpo, finished, default_store_of, tmp_path: Path):
    default_store_of(tmp_path / "runs")
    assert hpo_process("mlflow", "toy", "--sync").code == 0
    assert hpo("backup", "--to", "b.tar").code == 0
    default_store_of(tmp_path / "other")
    said = hpo_process("restore", "--from", "b.tar", "--runs", "other")
    assert (said.code, said.err) == (0, "")
    assert hpo_process("doctor", "--runs", "other").out == "looked at 1 study: nothing is wrong\n"


@pytest.fixture
def default_store_of(empty_store: Path):
    def make(runs: Path) -> None:
        runs.mkdir(exist_ok=True)
        shutil.copyfile(empty_store, runs / layout.MLFLOW_STORE)

    return make
