"""NVIDIA MPS, with a stand-in for its control program."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpo.machine import mps as module
from hpo.machine.mps import LOGS, PIPES, PROGRAM, mps

STAND_IN = Path(__file__).with_name("mps_stand_in.py")


@dataclass
class Installed:
    """The stand-in on the PATH; `temporary`: where the sockets go; `said`: the sentences."""

    home: Path
    temporary: Path
    said: list[str] = field(default_factory=list)

    def behave(self, behaviour: str) -> None:
        (self.home / "behaviour").write_text(behaviour)

    def calls(self) -> list[dict[str, Any]]:
        lines = (self.home / "calls.jsonl").read_text().splitlines() if (self.home / "calls.jsonl").exists() else []
        return [json.loads(line) for line in lines]

    def commands(self) -> list[str]:
        return [call["command"] for call in self.calls()]

    def daemons(self) -> list[Path]:
        return sorted(self.temporary.glob("*/nvidia-cuda-mps-control.pid"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    home = tmp_path / "bin"
    home.mkdir()
    (home / PROGRAM).write_text(f"#!{sys.executable} -IS\n{STAND_IN.read_text()}")
    (home / PROGRAM).chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv(LOGS, raising=False)
    # Whatever runs on this machine is not part of these tests.
    monkeypatch.setenv(PIPES, str(tmp_path / "none"))
    monkeypatch.setattr(module, "_STAY_SECONDS", 0.1)
    with tempfile.TemporaryDirectory(prefix="mps") as temporary:
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        given = Installed(home, Path(temporary))
        yield given
        for pid in given.daemons():
            os.kill(int(pid.read_text()), signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs that is nobody's child here."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def soon(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    return true()


def test_a_machine_without_it_has_no_variables(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with mps(tmp_path / "mps", installed.said.append) as environment:
        assert environment == {}
    assert installed.said == [
        "trials that share a GPU take turns on it: this machine has no NVIDIA MPS "
        "(nvidia-cuda-mps-control is not on the PATH)"
    ]
    assert not (tmp_path / "mps").exists()


def test_it_is_started_for_as_long_as_it_is_needed(installed: Installed, tmp_path: Path) -> None:
    with mps(tmp_path / "mps", installed.said.append) as environment:
        (pid,) = installed.daemons()
        daemon = int(pid.read_text())
        assert alive(daemon)
        assert environment == {PIPES: str(pid.parent), LOGS: str(tmp_path / "mps")}
        assert pid.parent.stat().st_mode & 0o777 == 0o700
        # It outlives a Ctrl-C on the terminal, which its driver may want to survive.
        assert os.getsid(daemon) != os.getsid(0)
    assert soon(lambda: not alive(daemon))
    assert list(installed.temporary.iterdir()) == []
    assert installed.commands()[:3] == ["-d", "get_server_list", f"start_server -uid {os.getuid()}"]
    assert installed.commands()[-2:] == ["get_server_list", "quit"]
    for call in installed.calls():
        assert call["environment"] == environment
    assert installed.said == [f"trials that share a GPU use NVIDIA MPS (its logs are in {tmp_path / 'mps'})"]


def test_it_is_stopped_after_an_error(installed: Installed, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), mps(tmp_path):
        raise ZeroDivisionError
    assert installed.commands()[-1] == "quit"
    assert installed.daemons() == []


@pytest.mark.parametrize("place", ["the variable", "the default"])
@pytest.mark.parametrize("behaviour", ["", "packets"])
def test_a_daemon_that_runs_already_is_used_and_left_running(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, behaviour: str
) -> None:
    installed.behave(behaviour)
    pipes = installed.temporary / "theirs"
    pipes.mkdir()
    environment = {**os.environ, PIPES: str(pipes)}
    subprocess.run([installed.home / PROGRAM, "-d"], env=environment, check=True)
    assert soon((pipes / "nvidia-cuda-mps-control.pid").exists)
    if place == "the variable":
        monkeypatch.setenv(PIPES, str(pipes))
        monkeypatch.setenv(LOGS, "/their/logs")
    else:
        monkeypatch.delenv(PIPES)
        monkeypatch.setattr(module, "DEFAULT_PIPES", pipes)
    with mps(tmp_path / "mps", installed.said.append) as given:
        assert given == {PIPES: str(pipes)} | ({LOGS: "/their/logs"} if place == "the variable" else {})
    assert installed.commands() == ["-d"]
    assert installed.said == [f"trials that share a GPU use the NVIDIA MPS that runs already, in {pipes}"]
    (pid,) = installed.daemons()
    assert alive(int(pid.read_text()))


def test_what_a_dead_daemon_left_is_no_daemon(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipes = installed.temporary / "dead"
    pipes.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(pipes / "control"))
    monkeypatch.setenv(PIPES, str(pipes))
    with mps(tmp_path) as environment:
        assert environment[PIPES] != str(pipes)
    assert installed.commands()[0] == "-d"


def test_the_daemon_of_a_killed_driver_is_taken_over(installed: Installed, tmp_path: Path) -> None:
    code = f"""
        import sys, tempfile, time
        from pathlib import Path
        from hpo.machine.mps import mps
        tempfile.tempdir = {str(installed.temporary)!r}
        with mps(Path({str(tmp_path)!r})):
            print("started", flush=True)
            time.sleep(60)
    """
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "started\n"
    driver.kill()
    driver.wait()
    driver.stdout.close()
    (pid,) = installed.daemons()
    daemon = int(pid.read_text())
    assert alive(daemon)
    with mps(tmp_path) as environment:
        assert environment[PIPES] == str(pid.parent)
    assert soon(lambda: not alive(daemon))
    assert installed.commands().count("-d") == 1
    assert installed.commands().count(f"start_server -uid {os.getuid()}") == 1


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("no start", "Cannot start: no device"),
        ("no server", "its server ended at once; {logs}/server.log may say why"),
        ("dying server", "its server ended at once; {logs}/server.log may say why"),
    ],
)
def test_one_that_does_not_start_is_done_without(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, reason: str
) -> None:
    installed.behave(behaviour)
    monkeypatch.setattr(module, "_START_SECONDS", 1.0)
    with mps(tmp_path, installed.said.append) as environment:
        assert environment == {}
    expected = reason.format(logs=tmp_path)
    assert installed.said == [f"trials that share a GPU take turns on it: NVIDIA MPS did not start: {expected}"]
    assert installed.daemons() == []
    assert (installed.commands()[-1] == "quit") == (behaviour != "no start")


def test_one_that_does_not_stop_is_said(installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.behave("deaf")
    with mps(tmp_path, installed.said.append) as environment:
        monkeypatch.setattr(module, "_COMMAND_SECONDS", 0.5)
    assert installed.said[-1] == (
        f"NVIDIA MPS did not stop: end it with `echo quit | {PIPES}={environment[PIPES]} {PROGRAM}`"
    )


@pytest.mark.parametrize(
    ("given", "passed"),
    [("0,1", None), ("GPU-1a2b, GPU-3c4d", "GPU-1a2b, GPU-3c4d"), ("MIG-1a2b", "MIG-1a2b"), ("GPU-1a2b,1", None)],
)
def test_gpus_keep_their_numbers(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, passed: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setenv("CUDA_MPS_PROTOCOL_VERSION", "3")
    with mps(tmp_path):
        pass
    for call in installed.calls():
        assert call["environment"].get("CUDA_VISIBLE_DEVICES") == passed
        assert "CUDA_MPS_PROTOCOL_VERSION" not in call["environment"]


def test_a_link_in_place_of_its_folder_is_not_followed(installed: Installed, tmp_path: Path) -> None:
    pipes = module._pipes_of(tmp_path)
    pipes.symlink_to(tmp_path)
    with mps(tmp_path, installed.said.append) as environment:
        assert environment == {}
    assert installed.said[0].endswith(f"{pipes} was made by somebody else")
    assert installed.commands() == []


def test_folders_of_long_names_have_daemons_too(installed: Installed, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    with mps(folder) as environment:
        assert len(environment[PIPES]) < 80
        assert environment[LOGS] == str(folder)
