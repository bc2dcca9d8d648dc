"""The page "The first study", followed word by word, each part in an empty folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hpo.cli.main import main
from hpo.spec.schema_file import editor_line

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "first-study.md"
_BLOCK = re.compile(r"```(python|yaml|console)\n(.*?)```", re.DOTALL)


@dataclass
class Part:
    """A part of the page: its steps are files to write, files that must be there, and commands with their outputs."""

    title: str
    steps: list[tuple[str, str, str]] = field(default_factory=list)


def parts() -> list[Part]:
    found = []
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        part = Part(section.partition("\n")[0])
        for kind, body in _BLOCK.findall(section):
            if kind == "console":
                for command, said in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
                    part.steps.append(("command", command, said))
            else:
                name, _, text = body.partition("\n")
                written = name == "# study.yaml"
                part.steps.append(("holds" if written else "file", name.removeprefix("# "), text if written else body))
        if part.steps:
            found.append(part)
    return found


def followed(part: Part, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str, str]]:
    """Follow a part in the working folder; yield what `hpo init` is said to print or write, and what it does."""
    for kind, what, text in part.steps:
        if kind == "file":
            Path(what).write_text(text, encoding="utf-8")
        elif kind == "holds":
            yield what, text, Path(what).read_text(encoding="utf-8").removeprefix(f"{editor_line()}\n")
        elif what.startswith("hpo init"):
            capsys.readouterr()
            assert main(shlex.split(what)[1:]) == 0
            yield what, text, capsys.readouterr().out


def test_the_page_has_a_part_for_each_origin() -> None:
    assert [part.title for part in parts()] == [
        "From your script",
        "From nothing",
        "From W&B",
        "From Optuna",
        "From a built-in study",
    ]


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.title)
def test_what_the_page_shows_is_what_is_printed(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path / "demo")
    for what, shown, done in followed(part, capsys):
        assert shown == done, what


@pytest.mark.slow
@pytest.mark.parametrize("part", parts()[:2], ids=lambda part: part.title)
def test_the_commands_run(part: Part, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    for kind, what, text in part.steps:
        if kind == "file":
            (folder / what).write_text(text, encoding="utf-8")
        if kind == "command":
            words = [sys.executable, "-P", "-m", *shlex.split(what)]
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
            assert done.returncode == 0, f"{what}\n{done.stdout}\n{done.stderr}"
