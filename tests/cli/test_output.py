"""No text of a trial, a file or a storage steers the terminal; colours stay."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import REPOSITORY, Hpo, environment

# Sets the clipboard, moves the cursor, changes the title (in one byte too), and turns the direction of the text.
HOSTILE = "a\x1b]52;c;cm0gLXJm\x07b\x1b[2J\x1b[1A\x9b31m\u202ec"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_all_output_goes_through_one_place() -> None:
    calls = re.compile(r"click\.(secho|echo)\(|(?<![\w.])print\(|sys\.std(out|err)\.write")
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((REPOSITORY / "hpo" / "cli").glob("*.py"))
        for line in path.read_text().splitlines()
        if path.name != "output.py" and calls.search(line)
    ]
    assert found == ["progress.py: print(presentable(line), file=self._stream, flush=True)"]


@pytest.fixture
def hostile(study_yaml, runs: Path, hpo: Hpo) -> Path:
    """A study whose choices and files hold control sequences."""
    path = study_yaml("smooth", search_space={"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": [HOSTILE, "plain"]}})
    said = hpo("run", path)
    assert said.code == 0, said.err
    assert CONTROL.search(said.out + said.err) is None
    study = runs / "toy"
    with (study / "driver.log").open("a") as log:
        log.write(f"{HOSTILE}\n")
    (study / "trials" / "0" / "output.log").write_text(f"\x1b[31mred\x1b[0m 10%\r20%\t{HOSTILE}\n")
    (study / "trials" / "0" / "error.txt").write_text(f"{HOSTILE}\n")
    return path


def test_no_command_prints_a_control_sequence(hostile: Path, runs: Path, hpo: Hpo) -> None:
    for args in (
        ("check", hostile), ("check", hostile, "--json"), ("status",), ("status", "--json"), ("list",),
        ("list", "--json"),
        ("best", "--json"), ("doctor",), ("doctor", "--json"), ("compare", "toy", "toy"), ("report", "toy"),
        ("diagnose", "toy"), ("replay", "toy", "--pruner", "median"), ("status", f"no{HOSTILE}"),
        ("run", f"no{HOSTILE}.yaml"), ("logs", "toy", "--trial", "99"), (f"no{HOSTILE}",), ("best", "--trial", HOSTILE),
        ("check", hostile, "--set", f"{HOSTILE}=1"), ("check", hostile, "--set", f"sampler={HOSTILE!r}"),
    ):  # fmt: skip
        said = hpo(*args)
        assert CONTROL.search(said.out + said.err) is None, args
        if "--json" in args:
            json.loads(said.out)
    assert json.loads(hpo("best", "--json").out)["params"]["kind"] in (HOSTILE, "plain")
    assert yaml.safe_load(hpo("best").out)["search_space"]["kind"] in (HOSTILE, "plain"), (
        "what is saved stays as it was"
    )
    for name in ("report.md", "report.json"):
        assert CONTROL.search((runs / "toy" / name).read_text()) is None, name


def on_a_terminal(*args: object) -> str:
    """What `hpo` writes to a terminal."""
    master, slave = pty.openpty()
    command = [sys.executable, "-P", "-m", "hpo", *map(str, args)]
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment(TERM="xterm")) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                block = os.read(master, 65536)
            except OSError:  # the other side is closed
                break
            written += block
        process.wait()
    os.close(master)
    return written.decode()


def test_what_a_trial_printed_cannot_steer_the_terminal(hostile: Path, hpo: Hpo) -> None:
    shown = on_a_terminal("logs", "toy", "--trial", "0")
    assert "\x1b[31mred\x1b[0m 10%\r20%\ta\\x1b]52;c;cm0gLXJm\\x07b\\x1b[2J" in shown
    assert CONTROL.search(shown.replace("\x1b[31m", "").replace("\x1b[0m", "").replace("\r", "")) is None
    for args in (("logs", "toy"), ("best", "toy")):
        assert CONTROL.search(on_a_terminal(*args).replace("\r", "")) is None
    assert "a\x1b]52;c;cm0gLXJm\x07b" in hpo("logs", "toy", "--trial", "0").out, "into a file it goes as it is"


@pytest.mark.slow
def test_the_live_display_moves_the_cursor_and_nothing_else_does(study_yaml, runs: Path) -> None:
    path = study_yaml(
        "smooth", search_space={"x": {"low": 0.0, "high": 1.0}, "kind": {"choices": [HOSTILE, HOSTILE * 2]}}
    )
    shown = on_a_terminal("run", path)
    assert "\x1b[2K" in shown
    assert "\\x1b]52;c" in shown
    for sequence in ("\x1b]52", "\x07", "\x1b[2J", "\x9b", "\u202e"):
        assert sequence not in shown
