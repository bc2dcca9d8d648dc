"""The site file: where it is, what it may say, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo.cluster.job_request import JobRequest
from hpo.cluster.site import site_file, site_request
from hpo.errors import SpecError


@pytest.fixture
def site(tmp_path, monkeypatch):
    def write(text: str) -> Path:
        path = tmp_path / "site.yaml"
        path.write_text(text)
        monkeypatch.setenv("HPO_SITE", str(path))
        return path

    return write


def test_all_that_it_may_say(site):
    site("""\
        queue: pbs
        nodes: 2
        gpus: 4
        cpus: 32
        mem: 128G
        time: 12:00:00
        partition: gpu
        account: lab
        extra: [-m abe]
        setup: |
          module load python/3.11
          . venv/bin/activate
        grace: 120
        requeues: 5
    """)
    assert site_request() == JobRequest(
        queue="pbs",
        nodes=2,
        gpus=4,
        cpus=32,
        mem="128G",
        time=43200,
        partition="gpu",
        account="lab",
        extra=("-m abe",),
        setup=("module load python/3.11", ". venv/bin/activate"),
        grace=120,
        requeues=5,
    )


def test_all_its_mistakes_at_once_each_with_its_line(site):
    path = site("nodes: 2\npartitoin: gpu\ntime: 90\nmem: lots\n")
    with pytest.raises(SpecError) as error:
        site_request()
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"{path}:2: partitoin: is not a key of a site file; expected queue, nodes")
    assert lines[0].endswith("Did you mean 'partition'?")
    assert lines[1].startswith(f"{path}:3: time: 90 is not right; expected a time such as 12:00:00")
    assert lines[2].startswith(f"{path}:4: mem: 'lots' is not right; expected memory of a node")
    assert len(lines) == 3


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_an_empty_one_says_nothing(site, text):
    site(text)
    assert site_request() == JobRequest()


def test_a_list_is_no_site_file(site):
    path = site("- gpu\n")
    with pytest.raises(SpecError, match=f"{path}:1: expected keys, such as partition: gpu"):
        site_request()


def test_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("HPO_SITE", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert site_file() == tmp_path / ".config" / "hpo" / "site.yaml"
    assert site_request() == JobRequest()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert site_file() == tmp_path / "settings" / "hpo" / "site.yaml"
    monkeypatch.setenv("HPO_SITE", str(tmp_path / "gone.yaml"))
    with pytest.raises(SpecError, match=r"gone.yaml: cannot be read: No such file"):
        site_request()
