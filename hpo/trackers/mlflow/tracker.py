"""Tracker of the driver that starts the process which writes to MLflow.

It passes on what that process says, and waits for it at the end. Nothing here imports mlflow, and nothing is sent for a
trial: the other side reads what the driver stores.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hpo import layout
from hpo.machine.files import plain_opener
from hpo.machine.processes import status_fields
from hpo.machine.start import start_helper
from hpo.spec.models import StudySpec
from hpo.trackers.base import Progress, Tracker
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.process import MOST_BYTES, Order
from hpo.trial import Job, Outcome

# Seconds of waiting at the end: before it is said, and without a sign of life before it is given up.
_PATIENCE, _LONGEST_SILENCE = 2.0, 60.0


class MlflowTracker(Tracker):
    """Tracker that writes to MLflow by a process of its own.

    Args:
        spec: The study's study.yaml.
        runs: The runs folder.
        storage: The URL of the Optuna storage.
        say: Gets sentences for the user.
    """

    def __init__(self, spec: StudySpec, runs: Path, storage: str, say: Callable[[str], None]) -> None:
        self._spec = spec
        self._runs = runs
        self._storage = storage
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._closed = False

    def study_started(self, progress: Progress) -> None:
        """Start the process that writes."""
        spec, directory = self._spec, layout.study_directory(self._runs, self._spec.name)
        uri = place.tracking_uri(spec, self._runs)
        order = Order(
            str(self._runs), spec.name, self._storage, uri, place.experiment_name(spec),
            str(spec.root), str(spec.source), time.time(),
        )  # fmt: skip
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(directory / layout.MLFLOW_LOG, "ab", opener=plain_opener) as log:
            self._process = start_helper(
                "hpo.trackers.mlflow.process",
                theirs.fileno(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._channel.send(order.encoded())
        self._channel.setblocking(False)

    def trial_started(self, job: Job) -> None:
        """Pass on what the process said."""
        self._receive()

    def reported(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Pass on what the process said."""
        self._receive()

    def trial_finished(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        """Pass on what the process said."""
        self._receive()

    def close(self) -> None:
        """Wait until all is written, and say so if that takes long; Ctrl-C ends the wait."""
        if self._process is None:
            return
        try:
            self._drain()
        except KeyboardInterrupt:
            self._say(f"MLflow was not waited for; `{self._sync}` writes what it lacks")
        finally:
            self._process.kill()  # it has ended by itself, unless it was given up
            self._process.wait()
            self._process = None
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    @property
    def _sync(self) -> str:
        return place.sync_command(self._runs, self._spec.name)

    def _drain(self) -> None:
        if self._channel is None:
            return
        try:
            self._channel.send(json.dumps({"close": True}).encode())
        except OSError:
            self._receive()
        began = last_sign = time.monotonic()
        announced, worked = False, self._cpu_time()
        while self._channel is not None and not self._closed:
            if select.select([self._channel], [], [], 0.1)[0]:
                self._receive()
                last_sign = time.monotonic()
            # On a busy machine its low priority may make even the import of MLflow a matter of minutes.
            if self._cpu_time() != worked:
                worked, last_sign = self._cpu_time(), time.monotonic()
            if not announced and time.monotonic() - began > _PATIENCE:
                announced = True
                self._say("writing the last runs to MLflow (Ctrl-C leaves them for later) ...")
            if time.monotonic() - last_sign > _LONGEST_SILENCE:
                self._say(f"MLflow does not answer; `{self._sync}` writes what it lacks")
                return

    def _cpu_time(self) -> list[str]:
        """Return the ticks that the process has computed: they tell a slow one from a stuck one."""
        assert self._process is not None
        try:
            return status_fields(self._process.pid)[11:13]
        except OSError:
            return []

    def _receive(self) -> None:
        """Take in what the process has sent, without waiting."""
        while self._channel is not None:
            try:
                message = self._channel.recv(MOST_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._note_end()
                return
            content = json.loads(message)
            self._closed |= "closed" in content
            if "say" in content:
                self._say(content["say"])

    def _note_end(self) -> None:
        """Note that the process is gone: at its end, or by an error that its log tells."""
        assert self._channel is not None
        self._channel.close()
        self._channel = None
        if not self._closed:
            log = layout.study_directory(self._runs, self._spec.name) / layout.MLFLOW_LOG
            self._say(f"what writes to MLflow has ended ({log}); trials go on, `{self._sync}` writes what it lacks")
