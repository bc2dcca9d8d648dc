"""`hpo` called in this process, and as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpo.cli.main import main

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Hpo = Callable[..., Said]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPO_RUNS", raising=False)
    monkeypatch.delenv("HPO_DEBUG", raising=False)


@pytest.fixture
def hpo(capsys: pytest.CaptureFixture[str]) -> Hpo:
    """Calls `hpo` with these arguments in this process."""

    def call(*args: object) -> Said:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **more}


@pytest.fixture
def hpo_process() -> Hpo:
    """Calls `python -m hpo` with these arguments, without a terminal."""

    def call(*args: object, **options: Any) -> Said:
        command = [sys.executable, "-m", "hpo", *map(str, args)]
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment(),
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
            **options,
        )
        return Said(ended.returncode, ended.stdout, ended.stderr)

    return call


@pytest.fixture
def finished(hpo: Hpo, study_yaml: Callable[..., Path]) -> Path:
    """The study.yaml of a study `toy` of 4 trials that has run in ./runs."""
    path = study_yaml()
    said = hpo("run", path, "--quiet")
    assert (said.code, said.err) == (0, "")
    return path
