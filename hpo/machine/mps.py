"""NVIDIA's Multi-Process Service (MPS), where the machine has it.

With it, kernels of several processes run on a GPU at the same time. Without it the processes take turns, and sharing a
GPU only fills the time that one leaves idle between its turns.

Commands, variables and files are those of https://docs.nvidia.com/deploy/mps (release 615, its interface "v2").

It sets no compute mode (that needs root) and limits nobody's memory or multiprocessors. It does not isolate: an
illegal access to memory, or a worker killed in the middle of a kernel, can end other processes on the same MPS server.
Their trials are lost attempts, and are retried.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hpo.machine.temporary import short_folder

PROGRAM = "nvidia-cuda-mps-control"
PIPES = "CUDA_MPS_PIPE_DIRECTORY"
LOGS = "CUDA_MPS_LOG_DIRECTORY"
DEFAULT_PIPES = Path("/tmp/nvidia-mps")

# A machine of many GPUs without NVIDIA's persistence daemon needs that long to get them going.
_START_SECONDS = 30.0
_COMMAND_SECONDS = 20.0
# Most bytes of the path of the folder around that of its pipes.
_LONGEST_FOLDER = 60
# A server that cannot start is gone again within this time.
_STAY_SECONDS = 1.0


@contextlib.contextmanager
def mps(folder: Path, say: Callable[[str], None] = lambda sentence: None) -> Iterator[dict[str, str]]:
    """Yield the environment variables by which workers find the MPS daemon of this machine; none without one.

    A daemon that runs already (in $CUDA_MPS_PIPE_DIRECTORY, or at the default place) is used and left running.
    Otherwise one is started for as long as the context lasts. A driver that was killed leaves its daemon behind, and
    the next driver with the same `folder` takes it over. Never raises.

    Args:
        folder: Folder for the logs of a daemon that is started.
        say: Called with a sentence that says what is used, or why nothing is.
    """
    running = Path(os.environ.get(PIPES) or DEFAULT_PIPES)
    if _listens(running):
        say(f"trials that share a GPU use the NVIDIA MPS that runs already, in {running}")
        yield {PIPES: str(running)} | {name: os.environ[name] for name in (LOGS,) if name in os.environ}
        return
    program = shutil.which(PROGRAM)
    if program is None:
        say(f"trials that share a GPU take turns on it: this machine has no NVIDIA MPS ({PROGRAM} is not on the PATH)")
        yield {}
        return
    pipes, logs = _pipes_of(folder), folder.resolve()
    ours = {PIPES: str(pipes), LOGS: str(logs)}
    failure = _prepare(pipes, logs) or _start(program, pipes, logs, _environment(ours))
    if failure:
        say(f"trials that share a GPU take turns on it: NVIDIA MPS did not start: {failure}")
        yield {}
        return
    say(f"trials that share a GPU use NVIDIA MPS (its logs are in {logs})")
    try:
        yield ours
    finally:
        if not _stop(program, pipes, _environment(ours)):
            say(f"NVIDIA MPS did not stop: end it with `echo quit | {PIPES}={pipes} {PROGRAM}`")


def _pipes_of(folder: Path) -> Path:
    """Return the folder of the pipes and sockets of the daemon of `folder`.

    It is on a local disk, as NVIDIA requires, while `folder` may be seen by many machines. Its name is short: the path
    of a socket has 107 characters at most.
    """
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    return short_folder(_LONGEST_FOLDER) / f"hpo-mps-{os.getuid()}-{digest}"


def _prepare(pipes: Path, logs: Path) -> str:
    """Make the folders; return the reason if that fails, such as a folder of another user or a link."""
    try:
        pipes.mkdir(mode=0o700, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        foreign = pipes.is_symlink() or pipes.stat().st_uid != os.getuid()
    except OSError as error:
        return str(error)
    return f"{pipes} was made by somebody else" if foreign else ""


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the daemon and of the commands to it.

    CUDA_VISIBLE_DEVICES would renumber the GPUs for the workers, which name them as the machine does. Only a list of
    UUIDs, which stay the same, is passed on. A newer protocol has other commands than those used here.
    """
    environment = {**os.environ, **ours}
    environment.pop("CUDA_MPS_PROTOCOL_VERSION", None)
    gpus = [gpu.strip() for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if not all(gpu.startswith(("GPU-", "MIG-")) for gpu in gpus):
        environment.pop("CUDA_VISIBLE_DEVICES", None)
    return environment


def _listens(pipes: Path) -> bool:
    """Return True if a daemon listens at the socket `control`; a dead one may have left its file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(pipes / "control"))
        except OSError as error:
            # Somebody listens, if in another way: nobody would be "connection refused".
            return error.errno == errno.EPROTOTYPE
    return True


def _start(program: str, pipes: Path, logs: Path, environment: Mapping[str, str]) -> str:
    """Start the daemon, unless one runs already, and its server; return the reason if that fails.

    The server is started here rather than by the first worker. A daemon whose server cannot start (because the GPUs are
    in exclusive use, for example) would make every worker's first use of CUDA fail. Nothing is left running after a
    failure.
    """
    try:
        failure = "" if _listens(pipes) else _start_daemon(program, pipes, logs, environment)
        if not failure and not _has_server(program, environment):
            failure = f"its server ended at once; {logs / 'server.log'} may say why"
    except (OSError, subprocess.SubprocessError) as error:
        failure = str(error)
    if failure:
        _stop(program, pipes, environment)
    return failure


def _start_daemon(program: str, pipes: Path, logs: Path, environment: Mapping[str, str]) -> str:
    # Into a file: the daemon may keep what it was started with open, and a pipe would wait for that.
    with (logs / "start.log").open("wb") as said:
        done = subprocess.run(
            [program, "-d"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            timeout=_START_SECONDS,
            start_new_session=True,
        )
    if done.returncode == 0 and _within(_START_SECONDS, lambda: _listens(pipes)):
        return ""
    lines = (logs / "start.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"{PROGRAM} -d ended with code {done.returncode}"


def _has_server(program: str, environment: Mapping[str, str]) -> bool:
    """Return True if the daemon has a server that stays; start one if there is none."""
    if not _servers(program, environment):
        _send_command(program, f"start_server -uid {os.getuid()}", environment)
    if not _within(_START_SECONDS, lambda: bool(_servers(program, environment))):
        return False
    servers = _servers(program, environment)
    time.sleep(_STAY_SECONDS)
    return bool(servers & _servers(program, environment))


def _servers(program: str, environment: Mapping[str, str]) -> set[str]:
    """Return the process ids of the daemon's servers."""
    return {word for word in _send_command(program, "get_server_list", environment).split() if word.isdigit()}


def _stop(program: str, pipes: Path, environment: Mapping[str, str]) -> bool:
    """End the daemon and its servers; return True if they are gone."""
    if _listens(pipes):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            _send_command(program, "quit", environment)
    if not _within(_COMMAND_SECONDS, lambda: not _listens(pipes)):
        return False
    shutil.rmtree(pipes, ignore_errors=True)
    return True


def _send_command(program: str, command: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [program], env=environment, input=f"{command}\n", capture_output=True, text=True, timeout=_COMMAND_SECONDS
    )
    return done.stdout


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= until:
            return False
        time.sleep(0.05)
    return True
