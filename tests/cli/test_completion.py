"""Completion by real shells: what a TAB offers for commands, studies, trials and files."""

import os
import shutil
import subprocess
import sys

import pytest

from hpo import layout
from hpo.cli.main import COMMANDS, main

from .conftest import environment

SHELLS = ("bash", "zsh", "fish")
# What a shell does at a TAB, for the line in $LINE.
ASK = {
    "bash": """
        eval "$(hpo completion bash)"
        compopt() { echo "[files: ${@: -1}]"; }
        read -r -a COMP_WORDS <<< "$LINE"
        case $LINE in *" ") COMP_WORDS+=("") ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _hpo_completion hpo "${COMP_WORDS[COMP_CWORD]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { : }
        compadd() { print -rl -- $completions }
        _describe() { print -rl -- ${completions_with_descriptions%%:*} }
        _path_files() { print -r "[files]" }
        eval "$(hpo completion zsh)"
        words=(${=LINE}); [[ $LINE == *" " ]] && words+=("")
        CURRENT=$#words
        _hpo_completion
    """,
    "fish": """
        hpo completion fish | source
        complete -C "$LINE" | string split -f1 \\t
    """,
}
FILES = {"bash": ["[files: default]"], "zsh": ["[files]"], "fish": []}


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Return what a shell offers for a line, and fail if it prints an error."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "hpo").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m hpo "$@"\n')
    (programs / "hpo").chmod(0o755)
    for name, trials in (("mine", (0, 1, 12, 13)), ("minor", (5,))):
        folder = tmp_path / "runs" / name
        for number in trials:
            (folder / "trials" / str(number)).mkdir(parents=True)
        (folder / layout.SPEC).write_text(f"name: {name}\n")
    (tmp_path / "study.yaml").write_text("# a study\nname: 'mine'\n")

    def offered(shell: str, line: str) -> list[str]:
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        extra = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "LINE": line, "HOME": str(tmp_path)}
        options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
        said = subprocess.run(
            [shell, *options, "-c", ASK[shell]],
            capture_output=True, text=True, env=environment(**extra), timeout=300, check=False,
        )  # fmt: skip
        assert said.stderr == ""
        return [found for found in said.stdout.split("\n") if found]

    return offered


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_completes_commands_studies_and_trials(ask, shell):
    assert set(ask(shell, "hpo st")) == {"status", "stop"}
    assert set(ask(shell, "hpo status mi")) - set(FILES[shell]) == {"mine", "minor"}
    assert set(ask(shell, "hpo kill mine 1")) == {"1", "12", "13"}
    assert set(ask(shell, "hpo diagnose mine/1")) == {"mine/1", "mine/12", "mine/13"}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_completes_files_where_files_are_expected(ask, shell):
    assert ask(shell, "hpo check stu")[:1] == (FILES[shell] or ["study.yaml"])
    assert "mitochondria_small" in ask(shell, "hpo run mitochondria_s")
    assert ask(shell, "hpo import-knowledge stu")[:1] == (FILES[shell] or ["study.yaml"])


def complete(capfdbinary, monkeypatch, words: str) -> tuple[set[str], int]:
    monkeypatch.setenv("_HPO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    code = main([])
    said = capfdbinary.readouterr()
    assert said.err == b""
    return {line.removeprefix("plain,") for line in said.out.decode().splitlines() if line}, code


def study(folder, name, *numbers):
    for number in numbers:
        (folder / name / "trials" / str(number)).mkdir(parents=True)
    (folder / name / layout.SPEC).write_text("")


def test_the_runs_folder_of_the_line_counts_before_and_behind_the_command(capfdbinary, monkeypatch, tmp_path):
    study(tmp_path / "runs", "here", 1)
    study(tmp_path / "elsewhere", "there", 7)
    for words in ("hpo --runs elsewhere kill ", "hpo kill --runs elsewhere "):
        assert complete(capfdbinary, monkeypatch, words)[0] == {"file,", "there"}
    assert complete(capfdbinary, monkeypatch, "hpo --runs elsewhere kill there ")[0] == {"7"}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert complete(capfdbinary, monkeypatch, "hpo status --runs ~/elsewhere ")[0] == {"file,", "there"}
    assert complete(capfdbinary, monkeypatch, "hpo status --runs ")[0] == {"dir,"}


def test_trials_are_those_of_the_study_that_a_yaml_names_and_none_twice(capfdbinary, monkeypatch, tmp_path):
    study(tmp_path / "runs", "mine", 3, 4)
    (tmp_path / "study.yaml").write_text("# which?\nname: mine\n")
    assert complete(capfdbinary, monkeypatch, "hpo kill study.yaml ")[0] == {"3", "4"}
    assert complete(capfdbinary, monkeypatch, "hpo kill mine 3 ")[0] == {"4"}
    assert complete(capfdbinary, monkeypatch, "hpo logs --trial ")[0] == {"3", "4"}
    assert complete(capfdbinary, monkeypatch, "hpo kill nobody ")[0] == set()


def test_of_nothing_that_can_be_read_nothing_is_offered_and_nothing_printed(capfdbinary, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    assert complete(capfdbinary, monkeypatch, "hpo --runs file status ") == ({"file,"}, 0)
    assert complete(capfdbinary, monkeypatch, "hpo kill --runs file mine ") == (set(), 0)
    assert complete(capfdbinary, monkeypatch, "hpo --runs 'open quote ")[1] == 0
    assert complete(capfdbinary, monkeypatch, "hpo --nosuch status ")[1] == 0
    monkeypatch.setitem(COMMANDS, "status", ("hpo.cli.no_such_module:status", ""))
    assert complete(capfdbinary, monkeypatch, "hpo status ") == (set(), 1)


def test_no_heavy_library_is_imported_for_a_name(tmp_path):
    code = (
        "import sys; from hpo.cli.main import main; main([]); print({'optuna', 'torch', 'pandas'} & set(sys.modules))"
    )
    line = {"_HPO_COMPLETE": "bash_complete", "COMP_WORDS": "hpo kill ", "COMP_CWORD": "2"}
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment(**line), capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-1] == "set()"


def test_a_shell_that_is_not_known_is_a_sentence(capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert main(["completion"]) == 2
    assert "$SHELL is 'tcsh'; expected one of bash, zsh, fish" in capsys.readouterr().err
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert main(["completion"]) == 0
    assert "complete --no-files --command hpo" in capsys.readouterr().out
