"""Segments: histories of many finished trials in one file, `trials/histories/<k>.jsonl`, instead of a folder each.

A hundred thousand cheap trials would leave as many folders with a history of a kilobyte and an empty output.log in
each. The history of a trial that left nothing else is appended to the segment of its thousand numbers, and its folder
is removed. Trials that ended last keep theirs, so that small studies have no segments.

Rows are those of `hpo.storage.history`, each with its owner and its CRC. A kill in between leaves a history in both
places: then the folder's counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from hpo import layout
from hpo.machine.files import plain_opener, read_plain
from hpo.storage.history import is_whole_row_of, mark_of, owner_in

TRIALS = 1000  # of a segment
# So many of the trials that ended last keep their folders; the others are put away so many at a time.
KEPT, BATCH = 1000, 200


def segment_of(directory: Path, number: int) -> Path:
    """Return the segment of a trial, whether or not it is in it.

    Args:
        directory: the study's folder.
        number: the trial's.
    """
    return layout.segments_directory(directory) / f"{number // TRIALS}.jsonl"


class SegmentWriter:
    """Writer of a study's segments. Only the study's driver may have one.

    Args:
        directory: the study's folder.
        ended: the trials of earlier runs that have ended for good, each with its start in the storage.
    """

    def __init__(self, directory: Path, ended: Iterable[tuple[int, float | None]]) -> None:
        self._directory = directory
        there = _names(layout.trials_directory(directory))
        self._ended = deque((number, started) for number, started in ended if str(number) in there)

    def on_trial_finished(self, number: int, started: float | None) -> None:
        """Take in that a trial has ended for good, and put a batch of earlier ones away if there are enough of them."""
        self._ended.append((number, started))
        if len(self._ended) >= KEPT + BATCH:
            # What cannot be put away stays where it is: it costs files, not the study.
            with contextlib.suppress(OSError):
                self._put_away([self._ended.popleft() for _ in range(BATCH)])

    def _put_away(self, batch: Iterable[tuple[int, float | None]]) -> None:
        segments: dict[Path, list[tuple[Path, bytes]]] = {}
        for number, started in batch:
            folder = layout.trial_directory(self._directory, number)
            if started is not None and (content := _history_alone(folder, mark_of(number, started))):
                segments.setdefault(segment_of(self._directory, number), []).append((folder, content))
        for segment, histories in segments.items():
            segment.parent.mkdir(exist_ok=True)
            _append(segment, b"".join(content for _, content in histories))
            for folder, _ in histories:
                for name in (layout.HISTORY, layout.OUTPUT):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(folder / name)
                folder.rmdir()


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _history_alone(folder: Path, mark: str) -> bytes:
    """Return the history of a trial that left nothing else; nothing of another one, or if a row is not its own."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                plain = entry.is_file(follow_symlinks=False)
                empty = entry.name == layout.OUTPUT and plain and entry.stat(follow_symlinks=False).st_size == 0
                if not empty and not (entry.name == layout.HISTORY and plain):
                    return b""
        content = read_plain(folder / layout.HISTORY, links=False)
    except OSError:
        return b""
    whole = content.endswith(b"\n") and not os.path.islink(folder)
    return content if whole and all(is_whole_row_of(line, mark) for line in content.decode().splitlines()) else b""


def _append(segment: Path, content: bytes) -> None:
    with open(segment, "a+b", opener=plain_opener) as file:
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":  # a kill has torn the last row
            content = b"\n" + content
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class SegmentReader:
    """Reader of the segments of a study, which keeps the rows of the last one, as lines."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: tuple[object, ...] = ()
        self._lines: dict[str, list[str]] = {}

    def lines(self, number: int, mark: str) -> list[str]:
        """Return the lines of a trial; none if it is not in its segment.

        Args:
            number: the trial's.
            mark: that of its rows.

        Raises:
            OSError: this user may not read it, or the disk fails.
        """
        path = segment_of(self._directory, number)
        try:
            now = os.stat(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return []
            raise
        seen = (path, now.st_ino, now.st_size, now.st_mtime_ns)
        if seen != self._seen:
            self._lines = {}
            for line in read_plain(path).decode(errors="replace").splitlines():
                self._lines.setdefault(owner_in(line), []).append(line)
            self._seen = seen
        return self._lines.get(mark, [])
