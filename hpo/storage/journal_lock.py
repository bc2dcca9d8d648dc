"""Lock of a journal, which its writers take for each record. Readers need none."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from optuna.storages.journal._file import BaseJournalFileLock

from hpo.errors import StorageLocked
from hpo.machine.processes import status_fields
from hpo.text import cut, printable_line

# Seconds that a driver waits for the lock, and a command that nobody watches.
PATIENCE, SHORT_PATIENCE = 600.0, 10.0
# It is held for milliseconds. So a wait of seconds is worth a word.
_QUIET_SECONDS = 3.0
# Optuna takes its lock away from a program that has held it for so long and wrote nothing.
_GRACE_SECONDS = 30.0
_LONGEST_PAUSE = 0.05


class JournalLock(BaseJournalFileLock):
    """Lock that optuna-dashboard takes too, but that a killed driver does not leave behind.

    Optuna's own lock is a link, which stays after a kill until 30 seconds are over. hpo's processes first take a kernel
    lock, which dies with its holder. Their link spells the journal's path in a way of its own (`/./`). So a link of
    that spelling, found while holding the kernel lock, was left by a dead process.

    Args:
        journal: the file.
        say: told if the lock is waited for, and when that is over. Without it the wait is short.
    """

    def __init__(self, journal: Path, say: Callable[[str], object] | None = None) -> None:
        self._journal = journal
        self._own = f"{journal.parent}/./{journal.name}"
        self._link = f"{self._own}.lock"
        self._say = say
        self._file: int | None = None
        self._stopped = False

    def stop_waiting(self) -> None:
        """Let a wait raise at once, one that has begun too. For signal handlers."""
        self._stopped = True

    def acquire(self) -> bool:
        """Take the kernel lock, then Optuna's.

        Raises:
            StorageLocked: somebody else holds it for too long; says who, as far as that can be known.
            OSError: it cannot be made.
        """
        file = os.open(f"{self._own}.flock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if _lock(file) and self._linked():  # mostly
                self._file = file
                return True
            with self._waiting() as wait:
                while not _lock(file):
                    wait(lambda: _holder(file))
                foreign = _ForeignLink(self._journal, self._link, self._own)
                while not foreign.replaced():
                    wait(lambda: "a program other than hpo, such as optuna-dashboard")
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Give up Optuna's lock, then the kernel's."""
        file, self._file = self._file, None
        if file is None:
            return
        # Another program may have taken the link away meanwhile, if this process was stopped for 30 seconds.
        try:
            if os.readlink(self._link) == self._own:
                os.unlink(self._link)
        except OSError:
            pass
        os.close(file)

    def _linked(self) -> bool:
        try:
            os.symlink(self._own, self._link)
        except FileExistsError:
            return False
        return True

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[Callable[[Callable[[], str]], None]]:
        """Yield what pauses before the next try. It says when that takes long, and raises when it takes too long."""
        began, since = time.monotonic(), time.strftime("%H:%M:%S")
        patience = PATIENCE if self._say is not None else SHORT_PATIENCE
        said, pause = False, 0.001

        def wait(holder: Callable[[], str]) -> None:
            nonlocal said, pause
            waited = time.monotonic() - began
            if self._stopped or waited >= patience:
                raise StorageLocked(
                    f"the journal {self._journal} has been locked for {waited:.0f} s by {holder()}. Nothing can be "
                    "written meanwhile; what was finished is kept. Give the same command again when it is free"
                )
            if self._say is not None and not said and waited >= _QUIET_SECONDS:
                said = True
                self._say(
                    f"the journal {self._journal} is locked since {since} by {holder()}; the study waits for it, "
                    f"at most {patience:g} s"
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

        yield wait
        if said and self._say is not None:
            seconds = time.monotonic() - began
            self._say(f"the journal {self._journal} is free again after {seconds:.0f} s; the study goes on")


@contextlib.contextmanager
def journal_lock(path: Path) -> Iterator[None]:
    """Keep everybody else from writing the journal. Hold it briefly: drivers wait for it.

    Raises:
        StorageLocked: somebody else holds it for too long.
        OSError: it cannot be taken, for want of rights or room.
    """
    lock = JournalLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass
class _ForeignLink:
    """Optuna's lock in the hands of a program that is not hpo, as it was last seen and since when."""

    journal: Path
    link: str
    own: str
    seen: tuple[int, ...] = ()
    since: float = 0.0

    def replaced(self) -> bool:
        """Return True if the link is ours now."""
        with contextlib.suppress(OSError):
            if os.readlink(self.link) == self.own or self._abandoned():
                os.unlink(self.link)
        try:
            os.symlink(self.own, self.link)
        except FileExistsError:
            return False
        return True

    def _abandoned(self) -> bool:
        link = os.lstat(self.link)
        size = self.journal.stat().st_size if self.journal.exists() else 0
        seen = (link.st_ino, link.st_ctime_ns, size)
        if seen != self.seen:
            self.seen, self.since = seen, time.monotonic()
        return time.monotonic() - self.since > _GRACE_SECONDS


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: int) -> str:
    """Return who holds the kernel lock, and what to do if that process was stopped."""
    stat = os.fstat(file)
    place = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
    pid = 0
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "FLOCK" in fields and "->" not in fields and place in fields:
                pid = int(fields[4])
    if pid <= 0:
        return "a process that this host does not see: it runs on another host or in another container"
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        state = status_fields(pid)[0]
    except OSError:
        return f"process {pid}"
    who = f"process {pid} ({cut(printable_line(command), 80)})"
    if state in ("T", "t"):
        return f"{who}, which was stopped: `kill -CONT {pid}` lets it go on, `kill -KILL {pid}` ends it"
    return who
