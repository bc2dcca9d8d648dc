"""The page on clusters, followed word by word: with a real SLURM, PostgreSQL and MLflow server of this machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from documentation.blocks import ROOT, Block, blocks_of
from documentation.walk import Walk, environment
from servers import MlflowServer, PostgreSQL
from slurm_cluster import SlurmCluster, missing

from hpo.cluster.job_request import JobOptions
from hpo.spec.yaml_document import load_text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing()), reason=f"no SLURM on this machine: {', '.join(missing())} not found"),
]
PAGE = ROOT / "docs" / "guides" / "cluster.md"
# Two nodes of one machine have one CPU each, and need two addresses.
SITE = {
    "cpus: 2": "cpus: 1",
    "module load cuda/12.4": "export HPO_NODE_ADDRESS=127.0.0.$((1 + ${SLURMD_NODENAME#n}))",
}


@pytest.fixture(scope="module")
def slurm() -> Iterator[SlurmCluster]:
    with contextlib.closing(SlurmCluster()) as cluster:
        yield cluster


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What stands in the page for the lab's servers, and what they are here."""
    mlflow = MlflowServer(tmp_path)
    with contextlib.closing(PostgreSQL(tmp_path)) as database, contextlib.ExitStack() as stack:
        mlflow.start()
        stack.callback(mlflow.kill)
        mlflow.wait()
        with psycopg.connect(database.url("postgres"), autocommit=True) as connection:
            connection.execute("create role ann superuser login")
            connection.execute("create database hpo owner ann")
        yield {"db.example.org": f"127.0.0.1:{database.port}", "http://mlflow.example.org:5000": mlflow.url}


def here(block: Block, servers: dict[str, str]) -> Block:
    text = block.text
    for there, place in servers.items():
        text = text.replace(there, place)
    return replace(block, text=text)


def is_site(block: Block) -> bool:
    data = load_text(block.text, block.place).data
    return block.kind == "yaml" and isinstance(data, dict) and set(data) <= set(JobOptions.model_fields)


def test_the_page_leads_to_a_report(
    slurm: SlurmCluster, servers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    walk = Walk(tmp_path / "page")
    walk.folder.mkdir()
    for block in (here(block, servers) for block in blocks_of(PAGE)):
        walk.shell(block.setup, block)
        if is_site(block):
            site = Path(environment(walk.folder)["XDG_CONFIG_HOME"]) / "hpo" / "site.yaml"
            site.parent.mkdir(parents=True)
            site.write_text(here(block, SITE).text)
        elif block.file:
            walk.write(block)
        elif block.kind == "console" and not block.not_run:
            for command in block.commands:
                walk.shell(command, block)
                if command.startswith("hpo submit"):
                    slurm.wait_until(lambda: not slurm.states(), 600, f"the job of `{command}` ends")
    said = dict(walk.printed)
    assert servers["http://mlflow.example.org:5000"] in said["hpo mlflow ear-sounds"]
    assert "4 of 4 trials" in said["hpo status ear-sounds"]
    walk.shell("hpo status ear-sounds --json", blocks_of(PAGE)[0])
    status = json.loads(walk.printed[-1][1])
    assert (status["finished"], status["failed"]) == (8, 0)
    assert (walk.folder / "runs" / "ear-sounds" / "report.html").exists()
    with psycopg.connect(f"postgresql://ann@{servers['db.example.org']}/hpo") as connection:
        assert connection.execute("select count(*) from trials").fetchone() == (8,)
    assert "val_pauc" in (walk.folder / "winner.yaml").read_text()
