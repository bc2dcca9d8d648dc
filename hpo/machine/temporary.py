"""Folders that a process needs only while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# A folder's mark that its process lives: it holds a lock on this file, which the kernel takes away when it dies.
_LOCK = "lock"
_PREFIX = "hpo-"
# Most bytes of the folder around that of multiprocessing: 107, less those of `/pymp-12345678/listener-12345678`.
_LONGEST_FOLDER = 70
# Seconds that processes which are ending may go on to write into a folder that is being removed.
_REMOVAL_SECONDS = 5.0


def short_folder(longest: int) -> Path:
    """Return the folder for temporary files, or /tmp if its path is longer than `longest` bytes.

    The path of a Unix socket has 107 bytes at most, and $TMPDIR in a queue's job may be longer than that.
    """
    folder = Path(tempfile.gettempdir())
    default = Path("/tmp")
    too_long = len(os.fsencode(folder)) > longest
    return default if too_long and os.access(default, os.W_OK | os.X_OK) else folder


@contextlib.contextmanager
def scratch_folder(longest: int) -> Iterator[Path]:
    """Yield a new folder for this process alone, which is removed at the end.

    What a killed process has left is removed by the next call, of whichever process of the same user. Processes that
    still write there are ended: those of a Ray whose driver was killed go on for a minute or two.

    Args:
        longest: most bytes that the path of the folder around it may have.
    """
    around = short_folder(longest)
    _remove_abandoned(around)
    folder = around / f"{_PREFIX}{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    with (folder / f"{_LOCK}.new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Under its own name only once it is held: another process would take it for an abandoned one.
        (folder / f"{_LOCK}.new").rename(folder / _LOCK)
        try:
            yield folder
        finally:
            _remove(folder)


@contextlib.contextmanager
def sockets_of_multiprocessing() -> Iterator[None]:
    """Have multiprocessing make its sockets where their paths are short enough.

    Below a long $TMPDIR its managers and listeners fail, and a DataLoader of torch with workers waits for ever.
    """
    if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_FOLDER:
        yield
        return
    with scratch_folder(_LONGEST_FOLDER) as folder:
        config: dict[str, str] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        config["tempdir"] = str(folder)
        try:
            yield
        finally:
            del config["tempdir"]


def _remove_abandoned(around: Path) -> None:
    """Remove the folders whose processes are dead."""
    for lock_file in around.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock_file.open("rb") as lock:
            if os.fstat(lock.fileno()).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _end_writers(lock_file.parent)
                _remove(lock_file.parent)


def _end_writers(folder: Path) -> None:
    """End this user's processes that have a file in a folder open for writing."""
    within = os.path.join(os.path.realpath(folder), "")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            # It stands for this very process, also when its number is given to another one meanwhile.
            handle = os.pidfd_open(int(process.name))
            try:
                if any(_is_written(process, opened.name, within) for opened in (process / "fd").iterdir()):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _is_written(process: Path, descriptor: str, within: str) -> bool:
    try:
        if not os.readlink(process / "fd" / descriptor).startswith(within):
            return False
        flags = (process / "fdinfo" / descriptor).read_text().partition("flags:")[2].split()[0]
    except FileNotFoundError:
        return False  # it has closed the file
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: until then another process may try again."""
    until = time.monotonic() + _REMOVAL_SECONDS
    while others := [path for path in folder.iterdir() if path.name != _LOCK]:
        for path in others:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if time.monotonic() > until:
            return
    shutil.rmtree(folder, ignore_errors=True)
