"""Each trial finds the process as the first one did, whatever the last one left in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from litter import LITTER


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("litter.py"))],
        capture_output=True, text=True, cwd=tmp_path_factory.mktemp("litter"),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", LITTER)
def test_what_a_trial_leaves_is_put_back(found, name):
    assert found[name]["failures"] == []
    assert found[name]["after"] == found[name]["before"]
    if name not in ("locale", "CPUs"):  # what this machine has already
        assert found[name]["left"] != found[name]["before"]
