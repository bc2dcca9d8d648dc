"""Objectives that are command lines, as a worker runs them.

The program gets a process group of its own. Its JSON lines and its `hpo.report` calls become reports, and it is ended
when it is to stop. Reports come from stdout (a JSON object with a `step` or `epoch` and numbers) or over the Unix
socket of `hpo.worker.current_trial`. The final metrics are a JSON line of numbers without a step, else the values
reported last. Everything the program prints goes to the trial's output.log.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from hpo import layout
from hpo.errors import ObjectiveError
from hpo.objective.command_line import fill_command
from hpo.trial import Job, Stop, Trial
from hpo.worker.current_trial import environment

# A program told to stop through hpo.report unwinds by itself; one that prints JSON lines gets
# SIGTERM. Either has this long before SIGKILL.
GRACE_SECONDS = 10.0
_ERROR_LINES = 30


class CommandFailed(Exception):
    """Error of a program that ended by itself; `output` is the end of what it printed."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def run_command(job: Job, trial: Trial, started: Callable[[int], None]) -> dict[str, Any]:
    """Run the command to its end and return its final metrics, unchecked.

    Args:
        job: The job.
        trial: Receives the reports.
        started: Called with the process group to end if this worker dies.

    Raises:
        Pruned: The trial was stopped at a report.
        CommandFailed: The program ended with an error.
        ObjectiveError: The program cannot be started.
        TypeError: A report does not hold numbers.
    """
    arguments = fill_command(job.objective, job.params, job.constants, job.seed, job.directory, job.number)
    # Not in the trial's directory: a Unix socket's path may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="hpo-") as folder, contextlib.ExitStack() as stack:
        path = str(Path(folder) / "report")
        log = stack.enter_context((job.directory / layout.OUTPUT).open("ab", buffering=0))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(path)
        listener.listen()
        try:
            process = subprocess.Popen(
                arguments,
                cwd=job.objective.root,
                env={**os.environ, **environment(job, path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_worker,
            )
        except OSError as error:
            raise ObjectiveError(
                f"the command `{' '.join(arguments)}` cannot be started in {job.objective.root}: {error.strerror}; "
                f"expected a program that is on the PATH or in that folder (`{arguments[0]}` is "
                f"{shutil.which(arguments[0]) or 'not found'})"
            ) from error
        stack.callback(end_group, process.pid)
        started(process.pid)
        assert process.stdout is not None  # it was opened with a pipe
        stack.enter_context(process.stdout)
        conversation = stack.enter_context(
            contextlib.closing(_CommandSession(process, process.stdout, listener, trial, log))
        )
        return conversation.run()


def end_group(group: int) -> None:
    """Send SIGKILL to a process group, if any of it is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_worker() -> None:
    """Ask Linux for SIGKILL when the worker dies; the driver ends the rest of the group."""
    if _libc is not None:
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class _CommandSession:
    """Exchange with one running program."""

    def __init__(
        self, process: subprocess.Popen[bytes], output: IO[bytes], listener: socket.socket, trial: Trial, log: IO[bytes]
    ) -> None:
        self._process = process
        self._output = output
        self._log = log
        self._listener = listener
        self._trial = trial
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, _Lines] = {}
        self._stop: Stop | None = None
        self._deadline = float("inf")
        self._last: dict[str, Any] = {}
        self._final: dict[str, Any] | None = None

    def close(self) -> None:
        self._selector.close()
        for peer in self._peers:
            peer.close()

    def run(self) -> dict[str, Any]:
        output, lines, peers = self._output, _Lines(), self._peers
        self._selector.register(output, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        open_output = True
        # The program's end is its exit: a grandchild may hold its stdout open for longer.
        while open_output or self._process.poll() is None:
            if self._process.poll() is not None:
                end_group(self._process.pid)
                if not self._selector.select(0.2):
                    break
            for key, _ in self._selector.select(0.2):
                if key.fileobj is output:
                    chunk = os.read(output.fileno(), 65536)
                    if chunk:
                        self._log.write(chunk)
                        for line in lines.feed(chunk):
                            self._printed(line)
                    else:
                        self._selector.unregister(output)
                        open_output = False
                        for line in lines.rest():
                            self._printed(line)
                elif key.fileobj is self._listener:
                    peer, _ = self._listener.accept()
                    peers[peer] = _Lines()
                    self._selector.register(peer, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self._serve(key.fileobj, peers[key.fileobj])
            if time.monotonic() > self._deadline:
                end_group(self._process.pid)
        for line in lines.rest():
            self._printed(line)
        code = self._process.wait()
        if self._stop is not None:
            raise self._stop.exception()
        if code != 0:
            raise CommandFailed(_exit_sentence(code), _tail(self._trial.directory / layout.OUTPUT))
        return self._final if self._final is not None else self._last

    def _serve(self, peer: socket.socket, lines: _Lines) -> None:
        try:
            chunk = peer.recv(65536)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._selector.unregister(peer)
            del self._peers[peer]
            peer.close()
            return
        for line in lines.feed(chunk):
            self._report(json.loads(line))
            answer = json.dumps(asdict(self._stop) if self._stop else None) + "\n"
            with contextlib.suppress(ConnectionError):
                peer.sendall(answer.encode())

    def _printed(self, line: bytes) -> None:
        if not line.lstrip().startswith(b"{"):
            return
        try:
            row = json.loads(line)
        except ValueError:
            return
        if "step" in row or "epoch" in row:
            self._report(row)
            if self._stop is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGTERM)
        elif row and all(isinstance(value, (int, float)) for value in row.values()):
            self._final = row

    def _report(self, row: dict[str, Any]) -> None:
        step = row.pop("step") if "step" in row else row.pop("epoch")
        self._last = {**self._last, **row}
        if self._stop is None:
            try:
                self._trial.report(step, **row)
            except Exception as stopped:
                self._stop = _as_stop(stopped)
                self._deadline = time.monotonic() + GRACE_SECONDS


def _as_stop(error: Exception) -> Stop:
    from hpo.trial import Interrupted, Pruned

    if not isinstance(error, Pruned):
        raise error
    return Stop(error.reason, isinstance(error, Interrupted))


class _Lines:
    """Splitter of bytes into whole lines."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        *whole, self._buffer = (self._buffer + chunk).split(b"\n")
        yield from whole

    def rest(self) -> Iterator[bytes]:
        if self._buffer:
            yield self._buffer
        self._buffer = b""


def _exit_sentence(code: int) -> str:
    if code >= 0:
        return f"the command exited with code {code}"
    return f"the command was killed by {signal_name(-code)}"


def signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGKILL (perhaps by the kernel, for want of memory)` for 9."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (perhaps by the kernel, for want of memory)" if number == signal.SIGKILL else name


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-_ERROR_LINES:])
