"""Driver and pulse of a study, in its storage: one driver at a time, from whichever runs folder.

The lock in the study's folder (`hpo.storage.driver_lock`) says nothing to a driver that has the same storage and
another runs folder: it would take the trials of the first one for those of a dead driver. So a driver writes who it is
into the study, and counts up a pulse there. A pulse that does not change for a while is that of a dead driver; the
clocks of two machines are not compared for it, since they may differ.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.errors import StudyLocked
from hpo.machine.processes import status_fields
from hpo.storage.driver_lock import driver_text, sensible
from hpo.storage.trial_attributes import DRIVER, PULSE

if TYPE_CHECKING:
    import optuna

PULSE_SECONDS = 20.0
# A driver elsewhere whose pulse has not changed for so long is dead.
TIMEOUT_SECONDS = 3 * PULSE_SECONDS
# And one whose pulse is so old by this machine's clock, for those who do not wait.
_CERTAINLY_DEAD_SECONDS = 600.0
_PROC = Path("/proc")


@dataclass
class Driving:
    """The time in which this process is a study's driver.

    Attributes:
        lost: why it is no longer, for another driver has taken over; empty while it is. So it is with a process that
            was stopped for longer than others waited for its pulse.
        on_lost: told that, in another thread.
    """

    lost: str = ""
    on_lost: Callable[[str], object] = str


@contextlib.contextmanager
def driving(study: optuna.Study, directory: Path, say: Callable[[str], object]) -> Iterator[Driving]:
    """Be the study's driver, as its storage has it. The lock of the study's folder is held.

    Args:
        study: the study.
        directory: its folder.
        say: told if a driver elsewhere, which did not end cleanly, must be waited for.

    Raises:
        StudyLocked: another driver is at work, from another runs folder.
    """
    own = Driving()
    _refuse_second(study, directory, say)
    token = secrets.token_hex(8)
    study.set_user_attr(DRIVER, _own(directory) | {"token": token})
    study.set_user_attr(PULSE, [token, 0, time.time()])
    ended = threading.Event()

    def beat() -> None:
        for count in range(1, 2**31):
            if ended.wait(PULSE_SECONDS):
                return
            # A storage that is away is waited for elsewhere, and one that fails ends the run elsewhere.
            with contextlib.suppress(Exception):
                now = study.user_attrs.get(DRIVER) or {}
                if now.get("token") != token:
                    own.lost = f"the study is no longer this driver's: {_described(now)} has taken it over"
                    own.on_lost(own.lost)
                    return
                study.set_user_attr(PULSE, [token, count, time.time()])

    thread = threading.Thread(target=beat, daemon=True, name="hpo-pulse")
    thread.start()
    try:
        yield own
    finally:
        ended.set()
        thread.join(PULSE_SECONDS)
        with contextlib.suppress(Exception):  # the run ends, and may do so because the storage is away
            if (study.user_attrs.get(DRIVER) or {}).get("token") == token:
                study.set_user_attr(DRIVER, None)


def driver_elsewhere(study: optuna.Study, directory: Path) -> Mapping[str, Any] | None:
    """Return the driver at work on a study from another runs folder: host, pid, started, folder; else None.

    Of a driver on another machine it is not known for sure: it counts as dead ten minutes after its last pulse.

    Args:
        study: the study.
        directory: its folder in this runs folder.
    """
    known = _noted(study)
    if known is None or _is_of_folder(known, directory):
        return None
    alive = _is_alive(known)
    if alive is None:
        pulse = study.user_attrs.get(PULSE)
        last = pulse[2] if isinstance(pulse, list) and len(pulse) > 2 else 0.0
        alive = isinstance(last, (int, float)) and time.time() - last < _CERTAINLY_DEAD_SECONDS
    return known if alive else None


def _refuse_second(study: optuna.Study, directory: Path, say: Callable[[str], object]) -> None:
    known = _noted(study)
    if known is None or _is_of_folder(known, directory):
        return  # the lock of this folder is ours, so that its driver is dead
    alive = _is_alive(known)
    if alive is None:
        before = study.user_attrs.get(PULSE)
        say(
            f"{_described(known)} drove this study and did not end cleanly; waiting {TIMEOUT_SECONDS:.0f} s to see "
            "whether it still does"
        )
        until = time.monotonic() + TIMEOUT_SECONDS
        while not alive and time.monotonic() < until:
            time.sleep(1.0)
            alive = study.user_attrs.get(PULSE) != before
    if alive:
        raise StudyLocked(
            f"study '{directory.name}' is being driven by {_described(known)}, from another runs folder, "
            f"{known.get('folder', '?')}, with the same storage. Stop it there with `{_stop(known)}`, or run under "
            "another name with --new-name. If it hangs, end that process; a driver that is dead is taken over "
            "from without asking"
        )


def _noted(study: optuna.Study) -> Mapping[str, Any] | None:
    known = study.user_attrs.get(DRIVER)
    return known if isinstance(known, dict) and known.get("token") else None


def _own(directory: Path) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": time.time(),
        "folder": str(directory),
        "inode": directory.stat().st_ino,
        "machine": _machine(),
        "ticks": _ticks(os.getpid()),
    }


def _is_of_folder(known: Mapping[str, Any], directory: Path) -> bool:
    """Return True if a driver was that of this folder, which other machines may have at another path."""
    same_inode = known.get("inode") == directory.stat().st_ino
    return same_inode and (known.get("host") == socket.gethostname() or known.get("folder") == str(directory))


def _is_alive(known: Mapping[str, Any]) -> bool | None:
    """Return True or False for a driver of this machine; None for one of another, which cannot be seen from here."""
    if known.get("machine") != _machine():
        return None
    return bool(_ticks(known.get("pid", 0)) == known.get("ticks"))


def _machine() -> str:
    """Return what tells apart machines, their boots, and containers in which other processes are seen."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat(_PROC / 'self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def _ticks(pid: Any) -> str:
    """Return when a process started, in ticks since the boot; empty if it is not there or is dead."""
    try:
        fields = status_fields(pid)
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _described(known: Mapping[str, Any]) -> str:
    return driver_text(sensible(known))


def _stop(known: Mapping[str, Any]) -> str:
    folder = Path(str(known.get("folder", "?")))
    return f"hpo stop {shlex.quote(folder.name)} --runs {shlex.quote(str(folder.parent))}"
