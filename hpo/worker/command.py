"""Objectives that are command lines, as a worker runs them.

The program gets a process group of its own. Its JSON lines and its `hpo.report` calls become reports, and it is ended
when it is to stop. Reports come from stdout (`hpo.worker.printed_rows`) or over a Unix socket
(`hpo.worker.report_socket`). The final metrics are those of a JSON line without a step that holds every metric of the
study, else the values reported last. Everything the program prints goes to the trial's output.log.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from hpo import layout
from hpo.errors import ObjectiveError
from hpo.machine.files import open_plain, plain_opener
from hpo.machine.resources import kernel_kills
from hpo.objective.command_line import fill_command, not_placed
from hpo.objective.sources import sources_of
from hpo.text import listing
from hpo.trial import LARGEST_STEP, Interrupted, Job, Pruned, Stop, Trial
from hpo.worker import report_socket
from hpo.worker.children import die_with_parent
from hpo.worker.current_trial import environment
from hpo.worker.no_metric import PASSED_OVER, why_no_metric
from hpo.worker.out_of_memory import said_in
from hpo.worker.printed_rows import MOST_BYTES, Lines, NotJson, Row, RowReader

# A program told to stop through hpo.report unwinds by itself; one that prints JSON lines gets
# SIGTERM. Either has this long before SIGKILL.
GRACE_SECONDS = 10.0
_ERROR_LINES = 30
# Bytes at the end of what a program printed in which the error is looked for that ended it.
_ERROR_BYTES = 2**16
# Names by which other tools call the step.
_OTHER_STEPS = ("global_step", "iteration", "iter", "steps", "epochs")
# Characters of a line that is repeated in a message.
_EXCERPT = 120


class CommandFailed(Exception):
    """Error of a program that ended by itself.

    Attributes:
        output: the end of what it printed.
        out_of_memory: how it is known that memory ran out; empty if it did not.
    """

    def __init__(self, message: str, output: str, out_of_memory: str = "") -> None:
        super().__init__(message)
        self.output = output
        self.out_of_memory = out_of_memory


class NoMetric(Exception):
    """Error of a program that ended well without a metric of the study."""


def run_command(job: Job, trial: Trial, started: Callable[[int], None], observed: dict[str, Any]) -> dict[str, Any]:
    """Run the command to its end and return its final metrics, which need not be finite.

    Args:
        job: The job.
        trial: Receives the reports.
        started: Called with the process group to end if this worker dies.
        observed: Takes what is seen of the program (`Outcome.observed`).

    Raises:
        Pruned: The trial was stopped at a report.
        CommandFailed: The program ended with an error.
        NoMetric: It ended well, and did not report every metric.
        ObjectiveError: The program cannot be started.
    """
    sources = sources_of(job.objective)
    observed |= {"sources": sources.data(), "unread": () if sources.may_read else not_placed(job.objective, job.params)}
    arguments = fill_command(job.objective, job.params, job.constants, job.seed, job.directory, job.number)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(job.directory / layout.OUTPUT, "ab", buffering=0, opener=plain_opener))
        listener, address = stack.enter_context(report_socket.listening())
        kills_before = kernel_kills()
        began_at = log.tell()
        try:
            process = subprocess.Popen(
                arguments,
                cwd=job.objective.root,
                env={**os.environ, **environment(job, address)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
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
        session = stack.enter_context(
            contextlib.closing(_CommandSession(process, process.stdout, listener, job, trial, log))
        )
        metrics = session.run()
        observed["stepless"] = session.stepless
        if (code := process.wait()) != 0:
            raise _failure(code, job.directory / layout.OUTPUT, began_at, kills_before)
        if any(name not in metrics for name in job.metrics):
            raise NoMetric(why_no_metric(job.metrics, metrics, _tail(job.directory / layout.OUTPUT, began_at)))
        return metrics


def end_group(group: int) -> None:
    """Send SIGKILL to a process group, if any of it is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


@dataclass(frozen=True)
class _PassedOver:
    """Part of a program's output that is passed over: its kind, and more about it."""

    kind: str
    detail: str = ""


class _Notes:
    """Sentences about what is passed over: in the trial's output.log, one of each kind."""

    def __init__(self, log: IO[bytes]) -> None:
        self._log = log
        self._said: set[str] = set()

    def say(self, what: _PassedOver, line: bytes = b"") -> None:
        """Say that this is passed over, and the first line of it."""
        if what.kind in self._said:
            return
        self._said.add(what.kind)
        text = line[: 4 * _EXCERPT].decode("utf-8", errors="replace")
        shown = text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."
        parts = [what.kind, *([f"({what.detail})"] if what.detail else []), *([f"in `{shown}`"] if shown else [])]
        self._log.write(f"\n{PASSED_OVER} {' '.join(parts)}; this is said once\n".encode())


class _CommandSession:
    """Exchange with one running program."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        output: IO[bytes],
        listener: socket.socket,
        job: Job,
        trial: Trial,
        log: IO[bytes],
    ) -> None:
        self._process = process
        self._output = output
        self._log = log
        self._listener = listener
        self._names = job.metrics
        self._trial = trial
        self._notes = _Notes(log)
        self._reader = RowReader(job.metrics)
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, Lines] = {}
        self._stop: Stop | None = None
        self._deadline = float("inf")
        self._last: dict[str, float] = {}
        self._last_step = -1
        self._final: dict[str, float] | None = None
        self._without_step = 0
        self._other_step = ""

    @property
    def stepless(self) -> dict[str, Any]:
        """Number of JSON lines with a metric of the study and no step, if none had one, and their name for the step."""
        return {"lines": self._without_step, "name": self._other_step} if self._last_step < 0 else {}

    def close(self) -> None:
        self._selector.close()
        for peer in self._peers:
            peer.close()

    def run(self) -> dict[str, float]:
        """Serve the program until it has ended; return its final metrics."""
        output, peers = self._output, self._peers
        lines = Lines(lambda: self._notes.say(_PassedOver(f"a line of more than {MOST_BYTES} bytes")))
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
                    self._log.write(chunk)
                    for line in lines.feed(chunk):
                        self._printed(line)
                    if not chunk:
                        self._selector.unregister(output)
                        open_output = False
                elif key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._serve(key.fileobj, peers[key.fileobj])
            if time.monotonic() > self._deadline:
                end_group(self._process.pid)
        for line in lines.rest():
            self._printed(line)
        if self._stop is not None:
            raise self._stop.exception()
        return self._final if self._final is not None else self._last

    # --- over the socket

    def _accept(self) -> None:
        for peer in report_socket.accepted(self._listener):
            self._peers[peer] = Lines(partial(self._refuse, peer, f"it has more than {MOST_BYTES} bytes"))
            self._selector.register(peer, selectors.EVENT_READ)

    def _serve(self, peer: socket.socket, lines: Lines) -> None:
        try:
            chunk = peer.recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(peer)
            return
        for line in lines.feed(chunk):
            refused = self._received(line)
            if refused:
                self._refuse(peer, refused)
            else:
                self._answer(peer, asdict(self._stop) if self._stop else None)

    def _received(self, line: bytes) -> str:
        """Take a report of the socket. Return why it is refused, or an empty text."""
        try:
            row = self._reader.read(line.decode("utf-8", errors="replace"))
        except NotJson as error:
            return f"it is no JSON object: {error}"
        if row.step is None:
            return f"{row.wrong_step or 'its step'} is not a whole number from 0 to {LARGEST_STEP}"
        if not row.metrics:
            return "it holds no number"
        return self._report(row.step, row.metrics)

    def _refuse(self, peer: socket.socket, reason: str) -> None:
        self._answer(peer, {"refused": f"the report is refused: {reason}"})

    def _answer(self, peer: socket.socket, answer: dict[str, Any] | None) -> None:
        try:
            peer.sendall(f"{json.dumps(answer)}\n".encode())
        except OSError:  # it is gone, or it does not read its answers
            self._drop(peer)

    def _drop(self, peer: socket.socket) -> None:
        if self._peers.pop(peer, None) is not None:
            self._selector.unregister(peer)
            peer.close()

    # --- on stdout

    def _printed(self, line: bytes) -> None:
        try:
            row = self._reader.printed(line)
        except NotJson as error:
            self._notes.say(_PassedOver("a line that is not JSON", str(error)), line)
            return
        if row is not None and (passed_over := self._take(row)):
            self._notes.say(passed_over, line)

    def _take(self, row: Row) -> _PassedOver | None:
        """Take a printed row. Return what of it is passed over."""
        if row.wrong_step:
            return _PassedOver(f"a step that is no whole number from 0 to {LARGEST_STEP}", row.wrong_step)
        if row.step is None:
            self._without_step += any(name in row.metrics for name in self._names)
            self._other_step = next((name for name in _OTHER_STEPS if name in row.metrics), self._other_step)
            if missing := [name for name in self._names if name not in row.metrics]:
                return _PassedOver("a JSON line without a step that lacks a metric of the study", listing(missing))
            self._final = row.metrics
            return None
        if not row.metrics:
            return _PassedOver("a JSON line with a step and no number")
        stopped_before = self._stop is not None
        refused = self._report(row.step, row.metrics)
        if self._stop is not None and not stopped_before:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
        if refused:
            return _PassedOver("a report that cannot be kept", refused)
        return _PassedOver("values that are no numbers", listing(row.others, 5)) if row.others else None

    # --- both

    def _report(self, step: int, metrics: dict[str, float]) -> str:
        """Pass a report on. Return why it is refused, or an empty text."""
        if self._stop is None:
            try:
                self._trial.report(step, **metrics)
            except TypeError as error:
                return str(error)
            except Exception as stopped:
                self._stop = _as_stop(stopped)
                self._deadline = time.monotonic() + GRACE_SECONDS
        self._last |= metrics
        if step > self._last_step:
            # Training goes on: what was printed before is not its end.
            self._last_step, self._final = step, None
        return ""


def _as_stop(error: Exception) -> Stop:
    if not isinstance(error, Pruned):
        raise error
    return Stop(error.reason, isinstance(error, Interrupted))


def _failure(code: int, output: Path, began_at: int, kills_before: int) -> CommandFailed:
    """Return the error of a program that ended with a code other than 0.

    Args:
        code: the exit code; negative: the signal that killed it.
        output: the file with all that it printed.
        began_at: where in that file this program's output begins.
        kills_before: the kernel's count of processes that it killed for lack of memory, when the program started.
    """
    tail = _tail(output, began_at)
    said = said_in(tail)
    # A shell that runs the program has it as 128 + the signal.
    if not said and code in (-signal.SIGKILL, 128 + signal.SIGKILL) and kernel_kills() > kills_before:
        said = "the kernel killed the command for want of the host's memory"
    return CommandFailed(_exit_sentence(code), "\n".join(tail.splitlines()[-_ERROR_LINES:]), said)


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


def _tail(path: Path, began_at: int) -> str:
    """Return the end of what a program has printed; empty if the file is gone."""
    try:
        with open_plain(path) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(began_at, end - _ERROR_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
