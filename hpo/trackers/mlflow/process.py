"""Process that keeps MLflow up to date while a study runs: `hpo.trackers.mlflow.process FD`.

It reads what the driver has written (the Optuna study, the history files) every two seconds. So the driver pays
nothing for a trial and waits for no server.

FD is a socket to the driver. From the driver come an order (where everything is) and at the end `{"close": true}`. To
it go `{"say": sentence}`, while closing `{}` as a sign of life, and last `{"closed": true}`. If the driver is gone,
this process ends at once; the next driver's process finishes what is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo import layout
from hpo.storage.load_study import load_study
from hpo.text import redact
from hpo.trackers.mlflow import place
from hpo.trackers.mlflow.provenance import provenance
from hpo.trackers.mlflow.records import began, study_status

if TYPE_CHECKING:
    from optuna import Study

    from hpo.spec.models import StudySpec
    from hpo.trackers.mlflow.mirror import Mirror

PERIOD = 2.0
_LONGEST_WAIT = 30.0
# How long it tries at the end, when a database or a server is being restarted just then.
_LAST_PATIENCE = 6.0
MOST_BYTES = 65536


@dataclass(frozen=True)
class Order:
    """Order of the driver; the two URLs may hold passwords, which no command line may."""

    runs: str
    study: str
    storage: str
    tracking_uri: str
    experiment: str
    root: str
    source: str
    since: float

    def encoded(self) -> bytes:
        """Return the order as it is sent."""
        return json.dumps(asdict(self)).encode()


class _DriverGone(BaseException):
    """The driver has ended. No Exception: what guards against a failing store must let it pass."""


class _Channel:
    """Socket to the driver. `closing`: the driver has asked for the end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._driver = os.getppid()
        self.closing = False

    def order(self) -> Order:
        return Order(**json.loads(self._connection.recv(MOST_BYTES)))

    def listen(self, seconds: float) -> None:
        """Wait for the driver, at most so long. Raises _DriverGone."""
        ready = select.select([self._connection], [], [], seconds)[0]
        try:
            gone = bool(ready) and not self._connection.recv(MOST_BYTES)
        except OSError:
            gone = True
        # A child that the objective forked may hold the socket open.
        if gone or os.getppid() != self._driver:
            raise _DriverGone
        self.closing |= bool(ready)

    def between(self) -> None:
        """Take in what the driver says between two runs, and give a sign of life if it waits."""
        self.listen(0)
        if self.closing:
            self.send({})

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self._connection.send(json.dumps(message).encode())
        except OSError:
            raise _DriverGone from None

    def say(self, text: str) -> None:
        self.send({"say": text})


def main() -> None:
    """Write one study to MLflow until the driver asks for the end or is gone."""
    os.nice(19)
    channel = _Channel(socket.socket(fileno=int(sys.argv[1])))
    with contextlib.suppress(_DriverGone):
        order = channel.order()
        with place.writer_lock(layout.study_directory(Path(order.runs), order.study), lambda: channel.listen(0.2)):
            _follow(order, channel)
        channel.send({"closed": True})


def _follow(order: Order, channel: _Channel) -> None:
    runs = Path(order.runs)
    key = place.keep_place(layout.study_directory(runs, order.study), order.tracking_uri, order.experiment).key
    tags = provenance(Path(order.root), Path(order.source))
    where = f"MLflow at {redact(order.tracking_uri)}"
    recorded = layout.study_directory(runs, order.study) / layout.SPEC
    loaded: tuple[StudySpec, Study] | None = None
    written: int | None = None
    mirror: Mirror | None = None
    failures, left = 0, [0]
    trouble, said = "", False
    until = float("inf")
    while True:
        last = channel.closing
        if last:
            until = min(until, time.monotonic() + _LAST_PATIENCE)
        reading = True
        try:
            if (now := recorded.stat().st_mtime_ns) != written:
                # Its budget may grow while it runs (`hpo extend`).
                written, loaded, mirror = now, None, None
            loaded = loaded or load_study(runs, order.study, order.storage)
            spec, study = loaded
            trials = study.get_trials(deepcopy=False)
            reading = False
            if mirror is None:
                from hpo.trackers.mlflow.mirror import Mirror

                mirror = Mirror(
                    spec, runs, order.tracking_uri, order.experiment, key, began(trials, order.since),
                    tags, order.since, channel.say, channel.between,
                )  # fmt: skip
                mirror.open_parent()
            left = mirror.update(trials, last)
            if last:
                mirror.close(trials, study_status(spec, trials))
            if said:
                channel.say(f"{where} can be written again; what was missing is being written")
            failures, trouble, said = 0, "", False
        except Exception as error:
            from hpo.trackers.mlflow.client import reason

            traceback.print_exc()
            failures += 1
            trouble = reason(error)
            if reading:
                # While it runs, the driver says that the study's own database is away.
                trouble = f"the study cannot be read: {trouble}"
            else:
                mirror = None
                if not said and not last:
                    said = True
                    channel.say(f"{where} cannot be written: {trouble}; trials go on, and it is tried again")
        if last and not (trouble and time.monotonic() + PERIOD < until):
            if trouble or left:
                why = trouble or f"trials {', '.join(map(str, left))} were refused"
                command = place.sync_command(runs, order.study)
                channel.say(f"{where} lacks runs of this study ({why}); `{command}` writes them")
            return
        if last:
            channel.send({})
            channel.listen(PERIOD)
        else:
            wait = min(PERIOD * 2.0 ** min(failures, 8), _LONGEST_WAIT)
            channel.listen(0 if channel.closing else wait)
