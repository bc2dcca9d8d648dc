"""Snapshot of a journal, `<journal>.snapshot`: what its first records come to, so that only the last are replayed.

A study of 100,000 trials has two million records, and a trial that has ended never changes. So a driver adds a frame
from time to time: the trials that have ended since the frame before, all unfinished ones, and the studies. A frame
says up to which byte of the journal it is true, and the CRC-32 of the journal up to there.

The snapshot is a cache. It counts only as far as the journal still has the very bytes that it was made of. So a journal
that was damaged, repaired, restored or replaced is replayed itself, from the first frame on that differs. What is torn,
foreign or of another version is left out. The file can be deleted at any time.

Frames are pickles, which are several times as fast as JSON. They hold plain data alone, and the unpickler refuses all
else, so that no code can be in them. The file is only read if nobody could write it who could not write the journal.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pickle
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from hpo import layout
from hpo.machine.checkpoint import PlainUnpickler
from hpo.machine.files import open_plain, plain_opener
from hpo.storage.journal_replay import Replay, shared

# Bytes of a journal that are replayed without a snapshot: 20,000 records, in less than a second.
EVERY = 4 << 20
# Unfinished trials are in each frame. So the more they take, the fewer frames are added.
_REST = 4
_VERSION = b"hpo1"
# Version; lines and bytes of the journal, and their CRC-32; number of ended trials; bytes of the two pickles.
_HEAD = struct.Struct("<4sQQLQQQ")
_CHECK = struct.Struct("<L")  # CRC-32 of all that
_BLOCK = 1 << 20
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_STATES = {state.value: state for state in TrialState}


class Position(NamedTuple):
    """Place in a journal: so many lines, so many bytes, and the CRC-32 of these."""

    lines: int = 0
    bytes: int = 0
    crc: int = 0


@dataclass(frozen=True)
class _Frame:
    """Frame of a snapshot.

    Attributes:
        position: up to which place of the journal it is true.
        ended: number of trials that had ended there.
        finished: pickle of those that have ended since the frame before.
        rest: pickle of the unfinished trials, and of the studies.
        end: where the frame ends in the file.
    """

    position: Position
    ended: int
    finished: memoryview
    rest: memoryview
    end: int


_NONE = _Frame(Position(), 0, memoryview(b""), memoryview(b""), 0)


class Snapshot:
    """Snapshot of a journal.

    Args:
        journal: the journal.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._path = journal.with_name(f"{journal.name}{layout.SNAPSHOT}")
        self._forget()

    def _forget(self) -> None:
        self._tried = Position()
        self._rest = 0  # bytes of the last frame's
        self._last, self._inode = _NONE, 0

    def load(self, worker_id_prefix: str) -> tuple[Replay, Position]:
        """Return what the first records of the journal come to, and up to where; an empty one without a snapshot."""
        self._forget()
        # Whatever is wrong with a cache, the journal has it all.
        with contextlib.suppress(Exception), open_plain(self._path) as file, open_plain(self._journal) as journal:
            frames = list(_frames(file)) if _may_be_believed(file, journal) else []
            if frames:
                with ThreadPoolExecutor(1) as pool:
                    true = pool.submit(_true_of, journal, frames)
                    replay = _replay_of(frames, worker_id_prefix)
                    if true.result() < len(frames):
                        frames = frames[: true.result()]
                        replay = _replay_of(frames, worker_id_prefix)
                self._note(file, ([_NONE, *frames])[-1])
                return replay, self._tried
        return Replay(worker_id_prefix), Position()

    def add(self, replay: Replay, position: Position) -> None:
        """Add a frame, if the journal has grown by so much that it is worth one.

        Args:
            replay: what the journal comes to.
            position: up to where.
        """
        if position.bytes - self._tried.bytes < max(EVERY, _REST * self._rest):
            return
        self._tried = position  # if it cannot be written now, it is tried again later
        with contextlib.suppress(OSError), open(self._path, "a+b", opener=plain_opener) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two drivers may share a journal
            with open_plain(self._journal) as journal:
                if not _may_be_believed(file, journal):
                    return
                before = self._last_in(file, journal)
            file.truncate(before.end)
            if before.position.bytes < position.bytes:
                ended = len(replay.finished)
                finished = _packed(replay, replay.finished[before.ended :])
                rest = _packed(replay, replay.unfinished, _studies(replay))
                file.write(_framed(position, ended, finished, rest))
                file.flush()
                self._note(file, _Frame(position, ended, memoryview(b""), memoryview(rest), file.tell()))

    def _last_in(self, file: IO[bytes], journal: IO[bytes]) -> _Frame:
        """Return the last frame that is true; it is looked for only if somebody else has changed the file."""
        now = os.fstat(file.fileno())
        if (now.st_ino, now.st_size) == (self._inode, self._last.end):
            return self._last
        frames = list(_frames(file))
        return ([_NONE, *frames])[_true_of(journal, frames)]

    def _note(self, file: IO[bytes], last: _Frame) -> None:
        self._tried, self._rest = last.position, len(last.rest)
        self._last = replace(last, finished=_NONE.finished, rest=_NONE.rest)  # their content is large
        self._inode = os.fstat(file.fileno()).st_ino


# --- frames in the file


def _may_be_believed(file: IO[bytes], journal: IO[bytes]) -> bool:
    """Return True if nobody can have written the file who could not write the journal."""
    its, that = os.fstat(file.fileno()), os.fstat(journal.fileno())
    if its.st_mode & _OTHERS_WRITE & ~that.st_mode:
        return False
    return its.st_uid in (that.st_uid, os.geteuid(), 0) or bool(that.st_mode & _OTHERS_WRITE)


def _frames(file: IO[bytes]) -> Iterator[_Frame]:
    """Yield the whole frames that a file begins with."""
    file.seek(0)
    content, at, before, ended = memoryview(file.read()), 0, Position(), 0
    while len(content) - at >= _HEAD.size:
        version, lines, size, crc, count, *parts = _HEAD.unpack_from(content, at)
        body = at + _HEAD.size
        middle, end = body + parts[0], body + sum(parts)
        if version != _VERSION or size <= before.bytes or count < ended or len(content) - end < _CHECK.size:
            return
        if _CHECK.unpack_from(content, end)[0] != zlib.crc32(content[at:end]):
            return
        before, ended, at = Position(lines, size, crc), count, end + _CHECK.size
        yield _Frame(before, ended, content[body:middle], content[middle:end], at)


def _framed(position: Position, ended: int, finished: bytes, rest: bytes) -> bytes:
    content = _HEAD.pack(_VERSION, *position, ended, len(finished), len(rest)) + finished + rest
    return content + _CHECK.pack(zlib.crc32(content))


def _true_of(journal: IO[bytes], frames: Sequence[_Frame]) -> int:
    """Return how many of the frames were made of the bytes that a journal begins with."""
    at = crc = 0
    for number, frame in enumerate(frames):
        while at < frame.position.bytes:
            block = os.pread(journal.fileno(), min(_BLOCK, frame.position.bytes - at), at)
            if not block:
                return number
            at, crc = at + len(block), zlib.crc32(block, crc)
        if crc != frame.position.crc:
            return number
    return len(frames)


# --- their content


def _packed(replay: Replay, ids: Iterable[int], more: Any = None) -> bytes:
    """Return trials as a pickle: texts that many share, such as keys, and sets of distributions are in it once."""
    spaces: dict[tuple[tuple[str, str], ...], int] = {}
    rows = []
    for one in ids:
        trial = replay._trials[one]
        space = tuple((name, distribution_to_json(each)) for name, each in trial.distributions.items())
        rows.append(
            (
                one, replay._trial_id_to_study_id[one], trial.number, trial.state.value, trial._values,
                _microseconds(trial.datetime_start), _microseconds(trial.datetime_complete),
                shared(trial.params), spaces.setdefault(space, len(spaces)),
                shared(trial.user_attrs), shared(trial.system_attrs), trial.intermediate_values,
            )
        )  # fmt: skip
    return pickle.dumps((list(spaces), rows, more), protocol=5)


def _studies(replay: Replay) -> tuple[int, list[tuple[Any, ...]]]:
    known = [
        (one._study_id, one.study_name, [each.value for each in one.directions], one.user_attrs, one.system_attrs)
        for one in replay.get_all_studies()
    ]
    return replay._next_study_id, known


def _replay_of(frames: Sequence[_Frame], worker_id_prefix: str) -> Replay:
    """Return what the journal came to at the last of the frames."""
    known: dict[str, BaseDistribution] = {}
    trials: dict[int, tuple[int, FrozenTrial]] = {}
    replay = Replay(worker_id_prefix)
    if not frames:
        return replay
    for part in (*(frame.finished for frame in frames), frames[-1].rest):
        spaces, rows, more = PlainUnpickler(io.BytesIO(part)).load()
        shared = [{name: _distribution(text, known) for name, text in space} for space in spaces]
        for one, study, number, state, values, started, ended, params, space, user, system, steps in rows:
            trials[one] = study, FrozenTrial(
                number, _STATES[state], None, _time(started), _time(ended), params, shared[space], user, system, steps,
                one, values=values,
            )  # fmt: skip
    replay._next_study_id, studies = more
    replay._study_id_to_trial_ids = {study: [] for study in range(replay._next_study_id)}
    for study, name, directions, user, system in studies:
        replay._studies[study] = FrozenStudy(
            name, None, user, system, study, directions=[StudyDirection(each) for each in directions]
        )
    replay.fill(trials[one] for one in range(len(trials)))
    for one, (_, trial) in trials.items():  # as they were kept: the finished ones in their order, then the others
        if trial.state.is_finished():
            replay.finished.append(one)
        else:
            replay.unfinished[one] = None
    replay.log_number_read = frames[-1].position.lines
    return replay


def _distribution(text: str, known: dict[str, BaseDistribution]) -> BaseDistribution:
    if text not in known:
        known[text] = json_to_distribution(text)
    return known[text]


def _microseconds(time: datetime | None) -> int | None:
    """Return a local time as microseconds since the epoch: another reader may have another time zone."""
    return None if time is None else round(1e6 * time.timestamp())


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else datetime.fromtimestamp(microseconds / 1e6)
