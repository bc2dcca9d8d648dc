"""The driver's side of `hpo pause`, `stop`, `kill` and `extend`: a thread that carries out requests.

It also answers while the driver's own thread is busy: training (inline engine), waiting for a database, writing the
report. So it touches neither the storage nor a trial. It sets the Oracle's flags, and writes what must outlive the
driver into `steering.json` and `study.yaml`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpo import layout
from hpo.control import requests
from hpo.control.requests import Answer, Pause, Request
from hpo.errors import ControlError
from hpo.text import listing

if TYPE_CHECKING:
    from hpo.oracle.run_control import RunControl

# How often the folder is looked into.
_POLL_SECONDS = 0.25
_REFRESH_SECONDS = 1.0


class ControlServer:
    """Server of requests, used by the thread that holds the driver's lock and closed before it gives that up.

    Attributes:
        stopped_by: user@host who stopped the study with `hpo stop`, or empty.
    """

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self.stopped_by = ""
        self._directory = directory
        self._name = directory.name
        self._say = say
        self._folder = requests.prepare_request_folder(directory)
        self._oracle: RunControl | None = None
        self._thread = threading.Thread(target=self._serve, name="hpo-control", daemon=True)
        # Held while a request is obeyed, and while the driver decides that nothing will run any more.
        self._lock = threading.Lock()
        self._over = False
        self._closing = threading.Event()
        self._answered_ids: set[str] = set()  # where a request cannot be taken away
        self._handlers: Mapping[str, Callable[[Request], Answer]] = {
            "pause": self._pause,
            "resume": self._resume,
            "stop": self._stop,
            "kill": self._kill,
            "extend": self._extend,
        }

    def start(self, oracle: RunControl) -> None:
        """Begin to answer requests."""
        self._oracle = oracle
        self._thread.start()

    @contextlib.contextmanager
    def serving(self, oracle: RunControl) -> Iterator[None]:
        """Context in which an engine runs and the runner handles signals.

        Only then is there anything to stop or to kill.
        """
        self.start(oracle)
        try:
            yield
        finally:
            with self._lock:
                self._over = True

    def should_finish(self) -> bool:
        """Return True if the study ends with the engine that has just ended.

        False if its budget was extended in the meantime. After a True no request brings another trial.
        """
        with self._lock:
            assert self._oracle is not None
            self._over = not self._oracle.extended
            return self._over

    def close(self) -> None:
        """Answer pending requests, and end the thread."""
        if self._oracle is None:
            return
        with self._lock:
            self._over = True
        self._closing.set()
        self._thread.join()

    def _serve(self) -> None:
        refreshed = 0.0
        while True:
            closing = self._closing.wait(_POLL_SECONDS)
            if time.monotonic() - refreshed > _REFRESH_SECONDS:
                refreshed = time.monotonic()
                requests.refresh(self._folder)
            try:
                for pending in requests.pending_requests(self._folder):
                    self._answer(pending)
            except OSError:
                pass  # the folder is away for a moment, or was removed: a study needs no steering
            if closing:
                return

    def _answer(self, pending: Request | tuple[str, Answer]) -> None:
        id = pending.id if isinstance(pending, Request) else pending[0]
        if id in self._answered_ids:
            return
        self._answered_ids.add(id)
        answer = self._execute(pending) if isinstance(pending, Request) else pending[1]
        requests.write_answer(self._folder, id, answer)
        if isinstance(pending, Request) and answer.ok and not self._over:
            self._say(f"{answer.said} (asked by {pending.by})")

    def _execute(self, request: Request) -> Answer:
        try:
            with self._lock:
                return self._handlers[request.action](request)
        except ControlError as error:
            return Answer(str(error), ok=False)
        except OSError as error:
            return Answer(f"{self._directory / layout.STEERING} cannot be written: {error.strerror}", ok=False)
        except Exception as error:  # whatever was in the request: it must not end the driver
            return Answer(f"the request was refused ({type(error).__name__}: {error})", ok=False)

    # --- what can be pending

    def _pause(self, request: Request) -> Answer:
        oracle, now = self._running_oracle, bool(request.arguments.get("now"))
        kept = requests.read_steering(self._directory)
        already = kept.paused is not None
        if kept.paused is None:
            kept = replace(kept, paused=Pause(time.time(), request.by))
            requests.write_steering(self._directory, kept)
        oracle.pause(now)
        said = f"study '{self._name}' is paused" + (f" already, {kept.paused}" if already else "")
        if self._over:
            return Answer(f"{said}; this run of it has just ended")
        return Answer(f"{said}: {self._running_trials(now)}")

    def _resume(self, request: Request) -> Answer:
        kept = requests.read_steering(self._directory)
        if kept.paused is None:
            return Answer(f"study '{self._name}' is not paused")
        requests.write_steering(self._directory, replace(kept, paused=None))
        self._running_oracle.resume()
        return Answer(f"study '{self._name}' goes on; it was paused {kept.paused}")

    def _stop(self, request: Request) -> Answer:
        if self._over:
            return Answer(f"study '{self._name}' has ended; its report is being written")
        oracle, now = self._running_oracle, bool(request.arguments.get("now"))
        self.stopped_by = request.by
        oracle.interrupt("the study is being stopped")
        if now:
            # As Ctrl-C does it the second time: the runner's handler ends what the driver's thread is at.
            os.kill(os.getpid(), signal.SIGTERM)
        return Answer(f"study '{self._name}' is being stopped: {self._running_trials(True, now)}")

    def _kill(self, request: Request) -> Answer:
        oracle = self._running_oracle
        numbers = request.arguments.get("trials")
        if not isinstance(numbers, list) or not numbers or not all(type(number) is int for number in numbers):
            raise ControlError(f"the trials to kill are {numbers!r}; expected their numbers, such as [3, 4]")
        running = oracle.running
        unknown = sorted(set(numbers) - set(running))
        if self._over or unknown:
            there = f"{_trials(running)} running" if running else "no trial is"
            raise ControlError(
                f"{_trials(unknown or numbers)} not running in study '{self._name}'; {there}. Nothing was killed"
            )
        reason = f"killed by {request.by} with `hpo kill`"
        killed = sorted({number for number in numbers if oracle.kill(number, reason)})
        ends = "at once" if oracle.spec.engine.name != "inline" else "at the next report (inline engine)"
        if not killed:
            raise ControlError(f"{_trials(numbers)} not running in study '{self._name}' any more")
        return Answer(f"{_trials(killed)} being ended {ends}, as failed; that counts, and is not tried again")

    def _extend(self, request: Request) -> Answer:
        kept = requests.read_steering(self._directory)
        if request.id in kept.answered:  # obeyed by a driver that died before it said so
            return Answer(kept.answered[request.id])
        oracle = self._running_oracle
        before = oracle.spec.budget
        after = requests.extended_budget(self._name, before, request.arguments)
        said = requests.extension_sentence(self._name, before, after)
        requests.write_steering(self._directory, requests.extend_steering(kept, after).remembering(request.id, said))
        requests.record(requests.with_budget(oracle.spec, after), self._directory)
        oracle.extend(after)
        return Answer(f"{said}; this run of it has just ended" if self._over else said)

    @property
    def _running_oracle(self) -> RunControl:
        assert self._oracle is not None  # `start` was called before the thread began
        return self._oracle

    def _running_trials(self, ends: bool, now: bool = False) -> str:
        running = self._running_oracle.running
        if not running:
            return "no trial is running"
        if not ends:
            return f"{_trials(running)} running to the end, no other starts"
        when = "now" if now else "at the next report"
        return f"{_trials(running)} ending {when}, to be tried again later"


def _trials(numbers: tuple[int, ...] | list[int]) -> str:
    """Return `trial 3 is` or `trials 3, 4 are`."""
    return f"trial{'' if len(numbers) == 1 else 's'} {listing(numbers)} {'is' if len(numbers) == 1 else 'are'}"
