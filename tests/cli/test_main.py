from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from hpo import __version__, layout
from hpo.cli.main import BROKEN_PIPE, COMMANDS, cli, main
from hpo.spec.load import load_spec

from .conftest import Hpo, environment

HEAVY = ("torch", "ray", "mlflow", "plotly")


def test_help_lists_every_command_with_its_line(hpo: Hpo):
    said = hpo("--help")
    assert said.code == 0
    text = " ".join(said.out.split())  # a long line is broken
    for name, (_, line) in COMMANDS.items():
        assert f" {name} {line}" in text
    assert "Examples:" in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_says_what_the_table_says_and_has_examples(hpo: Hpo, name):
    said = hpo(name, "--help")
    assert said.code == 0
    assert COMMANDS[name][1] in " ".join(said.out.split())
    assert "\n  Examples:\n    hpo " + name in said.out
    assert f"Usage: hpo {name} " in said.out


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_called_as_the_table_calls_it(name):
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.name == name


def _imported(*args: str) -> set[str]:
    code = "import sys; from hpo.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, env=environment(), check=True
    )
    return set(ended.stderr.split())


def test_help_imports_no_command_and_nothing_heavy():
    imported = _imported("--help")
    assert not imported & {*HEAVY, "optuna", "pydantic", "pandas", "numpy", "rich"}
    assert not {module for module, _ in COMMANDS.values()} & imported


def test_check_imports_nothing_heavy(study_yaml):
    imported = _imported("check", str(study_yaml()))
    assert "hpo.spec.load" in imported
    assert not imported & set(HEAVY)


def test_status_imports_nothing_heavy(finished):
    assert not _imported("status") & set(HEAVY)


def test_help_answers_at_once():
    def seconds(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, env=environment(), check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Processor time beside that of the library of commands alone, taken in turn: a busy machine slows both.
    turns = [(seconds("-m", "hpo", "--help"), seconds("-c", "import click")) for _ in range(5)]
    assert min(ours for ours, _ in turns) < 4 * min(alone for _, alone in turns), turns


def test_version(hpo: Hpo):
    assert hpo("--version").out == f"hpo {__version__}\n"


def test_without_a_command_the_help_is_shown(hpo: Hpo):
    said = hpo()
    assert said.code == 2
    assert "Commands:" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["stauts"], "there is no command 'stauts'. Did you mean 'status'?"),
        (["xyzzy"], "there is no command 'xyzzy'. Expected one of init, run, check"),
        (["--verison"], "'--verison'. Did you mean '--version'?"),
        (["run"], "Missing argument 'STUDY.yaml'"),
        (["run", "a.yaml", "--trails", "3"], "'--trails'. Did you mean '--trials'?"),
        (["run", "a.yaml", "--trials", "0"], "'--trials': 0 is not in the range x>=1"),
        (["run", "a.yaml", "--workers", "two"], "'--workers': 'two' is not a valid integer range"),
        (["run", "a.yaml"], "a.yaml: there is no such file"),
        (["status", "toi"], "there is no study 'toi' in "),
        (["best", "--trial", "-1"], "'--trial': -1 is not in the range x>=0"),
        (["dashboard", "--port", "99999"], "'--port': 99999 is not in the range"),
    ],
)
def test_wrong_usage_is_a_sentence_and_exit_code_2(hpo: Hpo, args, message):
    said = hpo(*args)
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("hpo: ")
    assert message in said.err
    assert "Traceback" not in said.err


def test_debug_shows_the_traceback(hpo_process: Hpo, monkeypatch):
    assert "Traceback" not in hpo_process("status", "nope").err
    monkeypatch.setenv("HPO_DEBUG", "1")
    assert "Traceback" in hpo_process("status", "nope").err


def test_all_problems_of_a_study_are_said_below_each_other(hpo: Hpo, study_yaml):
    said = hpo("run", study_yaml(seed="many", budget={"trails": 3}))
    assert said.code == 2
    first, *others = said.err.splitlines()
    assert first.startswith("hpo: ")
    assert others
    assert all(line.startswith("     ") for line in others)


def test_the_installed_module_runs(hpo_process: Hpo):
    assert hpo_process("--version").out == f"hpo {__version__}\n"


def test_a_reader_that_leaves_is_no_error(finished):
    """As `hpo list --json | true`: the pipe is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "hpo", "list", "--json"]
    ended = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment(), timeout=300, check=False
    )
    os.close(write)
    assert ended.stderr == ""
    assert ended.returncode == BROKEN_PIPE


SECRET = "sesame-and-lilies"


@pytest.mark.parametrize(
    "args",
    [
        ["run", "study.yaml"],
        ["run", "study.yaml", "--json"],
        ["run", "study.yaml", "--set", f"storage=postgresql://me:{SECRET}@127.0.0.1:1/other"],
        ["run", "study.yaml", "--set", f"storge=postgresql://me:{SECRET}@127.0.0.1:1/other"],
        ["check", "study.yaml"],
        ["check", "study.yaml", "--json"],
        ["status", f"postgresql://me:{SECRET}@127.0.0.1:1/db"],
        ["list"],
    ],
)
def test_a_password_is_never_printed_nor_written(hpo: Hpo, study_yaml, tmp_path: Path, args):
    path = study_yaml(storage=f"postgresql://me:{SECRET}@127.0.0.1:1/db?sslpassword={SECRET}")
    said = hpo(*args)
    assert SECRET not in said.out + said.err
    written = [file for file in tmp_path.rglob("*") if file.is_file() and file != path]
    assert not [file for file in written if SECRET in file.read_text(errors="replace")]


@pytest.mark.parametrize("line", [["--runs", "{runs}", "list"], ["list", "--runs", "{runs}"]])
def test_the_runs_folder_may_stand_before_the_command(line, capsys, tmp_path):
    assert main([part.format(runs=tmp_path / "other") for part in line]) == 0
    assert f"there is no study in {tmp_path / 'other'}" in capsys.readouterr().err


def test_other_options_stand_behind_the_command(capsys):
    assert main(["--json", "list"]) == 2
    assert "Options of a command stand behind it." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("hpo re", {"resume", "report", "replay", "reproduce", "restore"}),
        ("hpo run studies/q", {"studies/quickstart.yaml"}),
        ("hpo run quick", {"quickstart"}),
        ("hpo run --wor", {"--workers"}),
        ("hpo status ", {"mine"}),
    ],
)
def test_the_shell_completes_commands_studies_and_options(words, expected, capfdbinary, monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / layout.SPEC).write_text("")
    monkeypatch.setenv("HPO_RUNS", str(tmp_path))
    monkeypatch.setenv("_HPO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert main([]) == 0
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert {line.removeprefix("plain,") for line in lines if line.startswith("plain,")} == expected


def test_the_built_in_studies_and_where_they_are(capsys):
    assert main(["list", "--built-in", "--json"]) == 0
    files = {row["study"]: row["file"] for row in json.loads(capsys.readouterr().out)}
    assert load_spec("studies/quickstart.yaml").source == Path(files["studies/quickstart.yaml"])
    assert main(["list", "--built-in"]) == 0
    assert "studies/quickstart.yaml" in (out := capsys.readouterr().out)
    assert "cp " in out


def test_a_study_whose_yaml_is_gone_is_listed(hpo: Hpo, tmp_path):
    (tmp_path / "runs" / "lost" / "trials").mkdir(parents=True)
    said = hpo("list")
    assert "lost" in said.out
    assert "its study.yaml is gone; `hpo run` the YAML that it was started with" in said.err
