"""Pieces of a journal: its records, and the stretches between them that are damaged, with what they still tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from sys import intern
from typing import Any

from optuna.storages.journal._storage import JournalStorageReplayResult

from hpo.storage.journal import torn_record
from hpo.storage.journal_records import (
    CREATE_STUDY,
    CREATE_TRIAL,
    DELETE_STUDY,
    DISCARD,
    KEYS,
    LONGEST,
    PARAM,
    STATE,
    STUDY_USER_ATTR,
    Record,
    parse,
)
from hpo.storage.trial_attributes import IDENTITY

# Who writes what the doctor puts in place of a damaged record.
DOCTOR = "hpo-doctor"

_START = b'{"op_code":'
# The shortest records are longer than this. So what is shorter, beside a whole record, was none.
_SHORTEST = 40
# Bytes of a record, about. A power cut may leave zeros in place of several records and their line ends.
_USUAL = 100
# A longer one was the creation of a trial, with its kind and a key hurt. Nothing is deleted for a guess.
_LONGEST_DELETION = 115
_GRAPHIC = bytes(range(32, 127))
_NUMBER = rb'"%s":\s*(\d{1,9})\s*[,}]'
_PREFIX = re.compile(rb'\{"op_code":\d,"worker_id":"')
_WORKER = re.compile(rb'"worker_id":\s*"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-\d+)"')
_NAME = re.compile(rb'"study_name":\s*("(?:[^"\\]|\\.)*")\s*[,}]')
_DIRECTIONS = re.compile(rb'"directions":\s*(\[[012](?:,\s*[012])*\])\s*[,}]')
_STARTED = re.compile(rb'"datetime_start":\s*"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d)?)"')
# A trial in the queue: any state that a record of any kind can set follows from it.
_SCRATCH: list[Record] = [
    {"op_code": CREATE_STUDY, "worker_id": "", "study_name": "", "directions": [1]},
    {"op_code": CREATE_TRIAL, "worker_id": "", "study_id": 0, "datetime_start": None, "state": 4},
]
_KEYS = frozenset[str]().union(*KEYS.values())


@dataclass(slots=True)
class Piece:
    """A record, or a stretch of damaged bytes.

    Attributes:
        line: the number of its line, from 1.
        start: its first byte in the file.
        end: the byte behind it, without the line end.
        why: why it is damaged; empty of a whole record.
        room: how many records of unknown kinds may have been in it.
        restored: the record as it was, if the damage left nothing out.
        kind: its op_code; of a damaged one as far as can be told.
        study: the number of the study that it names.
        trial: the number of the trial that it names.
        worker: who wrote it.
        name: that of the study it creates.
        directions: those of the study it creates.
        started: `datetime_start`.
        plain: it creates a trial that starts at once. Such a trial's other records follow.
        headless: it does not begin as a record does. So it may be the rest of the damaged one before.
        values: how many values it gives a trial.
        identity: the attribute of that name that it gives a study.
        doubled: it creates a trial that the line before has created.
    """

    line: int
    start: int
    end: int
    why: str = ""
    room: int = 0
    restored: Record | None = None
    kind: int | None = None
    study: int | None = None
    trial: int | None = None
    worker: str | None = None
    name: str | None = None
    directions: list[int] | None = None
    started: str | None = None
    plain: bool = False
    headless: bool = False
    values: int | None = None
    identity: Any = None
    doubled: bool = False

    @property
    def whole(self) -> bool:
        """True if it says all that it said when it was written."""
        return not self.why or self.restored is not None


def pieces_of(path: Path) -> Iterator[Piece]:
    """Yield the pieces of a journal, in their order. A torn last line is left out."""
    start = number = 0
    before = b""
    with path.open("rb") as file:
        torn_at, torn = torn_record(file.fileno())
        while line := file.readline(LONGEST):
            number += 1
            end = start + len(line)
            if (torn and start == torn_at) or (not line.endswith(b"\n") and len(line) < LONGEST):
                yield from (piece for piece in _of_line(line, number, start) if not piece.why)
                return
            if line.endswith(b"\n"):
                doubled = line == before
                yield from (_once(piece) if doubled else piece for piece in _of_line(line[:-1], number, start))
            else:
                yield Piece(number, start, end, f"it is longer than {LONGEST >> 20} MiB")
                end += _pass_line(file)
            start, before = end, line


def _once(piece: Piece) -> Piece:
    """Return a piece of a line that repeats the one before, or what stands for it if that line has created its trial.

    Who creates a trial notes the microsecond, so that two such records are one that was written twice. A trial that is
    queued, or added as it ended elsewhere, may come twice, and so may those that the doctor creates again.
    """
    if piece.why or not piece.plain or piece.started is None or piece.worker == DOCTOR:
        return piece
    why = f"line {piece.line - 1} has it already; twice, it shifts the numbers of the trials after it"
    return Piece(piece.line, piece.start, piece.end, why, doubled=True)


def _pass_line(file: Any) -> int:
    passed = 0
    while rest := file.readline(LONGEST):
        passed += len(rest)
        if rest.endswith(b"\n"):
            break
    return passed


def _of_line(line: bytes, number: int, start: int) -> Iterator[Piece]:
    why = _flaw(line)
    if not why:
        yield _whole(Piece(number, start, start + len(line)), parse(line))
        return
    # A half-written record may have been glued to a whole one.
    cuts = sorted({0, *(found.start() for found in re.finditer(re.escape(_START), line)), len(line)})
    chunks = [(begin, line[begin:end]) for begin, end in pairwise(cuts)] or [(0, line)]
    for begin, chunk in chunks:
        piece = Piece(number, start + begin, start + begin + len(chunk))
        end = len(chunk) if not _flaw(chunk) else _end_of_record(chunk)
        if end:
            piece.end = piece.start + end
            yield _whole(piece, parse(chunk[:end]))
            rest = chunk[end:]
            piece = Piece(number, piece.end, start + begin + len(chunk))
        else:
            rest = chunk
        if len(rest) >= _SHORTEST or (rest and len(chunks) == 1 and not end) or (not line):
            piece.why = why
            yield _damaged(piece, rest)


def _flaw(chunk: bytes) -> str:
    """Return why a line cannot be replayed, or nothing."""
    try:
        record = parse(chunk)
        if record["op_code"] in (CREATE_TRIAL, PARAM, STATE):
            alone = {**record, **dict.fromkeys(record.keys() & {"study_id", "trial_id"}, 0), "worker_id": "-"}
            JournalStorageReplayResult("").apply_logs([*_SCRATCH, alone])
    except ValueError as error:
        return str(error)
    except Exception as error:
        return f"Optuna cannot replay it ({type(error).__name__})"
    return ""


def _end_of_record(chunk: bytes) -> int:
    """Return the length of a whole record with which a chunk begins; 0 if it begins with none."""
    try:
        text = chunk.decode("latin-1")  # a character a byte; Optuna writes ASCII
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return 0
    return 0 if _flaw(chunk[:end]) else end


def _whole(piece: Piece, record: Record) -> Piece:
    kind = piece.kind = record["op_code"]
    if kind == DISCARD:
        return piece
    piece.worker = intern(record["worker_id"])
    piece.study, piece.trial = record.get("study_id"), record.get("trial_id")
    if kind == CREATE_STUDY:
        piece.name, piece.directions = record["study_name"], record["directions"]
    elif kind == CREATE_TRIAL:
        piece.started, piece.plain = record["datetime_start"], "state" not in record
    elif kind == STATE and record["values"] is not None:
        piece.values = len(record["values"])
    elif kind == STUDY_USER_ATTR:
        piece.identity = record["user_attr"].get(IDENTITY)
    return piece


def _damaged(piece: Piece, rest: bytes) -> Piece:
    """Note what damaged bytes still tell."""
    restored = piece.restored = _restored(rest)
    if restored is not None:
        return _whole(piece, restored)
    kind = piece.kind = _kind(rest)
    piece.headless = not rest.startswith(_START)
    piece.study, piece.trial = _number(rest, b"study_id"), _number(rest, b"trial_id")
    if found := _WORKER.search(rest):
        piece.worker = intern(found[1].decode())
    if found := _STARTED.search(rest):
        with suppress(ValueError):
            piece.started = datetime.fromisoformat(found[1].decode()).isoformat()
    if kind == CREATE_STUDY:
        piece.name, piece.directions = _json(_NAME, rest), _json(_DIRECTIONS, rest)
    destroyed = len(rest) if kind is None else len(rest.translate(None, _GRAPHIC))
    piece.room = max(0 if kind is not None else 1, destroyed // _USUAL)
    if kind == DELETE_STUDY and len(rest) > _LONGEST_DELETION:
        piece.kind, piece.room = None, 1
    elif kind == DELETE_STUDY and piece.study is not None:
        piece.restored = {"op_code": kind, "worker_id": DOCTOR, "study_id": piece.study}
    return piece


def _restored(chunk: bytes) -> Record | None:
    """Return the record that a chunk was, if only its worker or its op_code was hurt: both follow from the rest."""
    try:
        record = json.loads(chunk.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    worker = record.pop("worker_id", "")
    if "\N{REPLACEMENT CHARACTER}" in json.dumps(record, ensure_ascii=False):
        return None
    if not isinstance(worker, str) or not worker.isascii():
        worker = DOCTOR
    said = record.pop("op_code", None)
    for kind in sorted(KEYS, key=lambda kind: kind != said):
        candidate = {"op_code": kind, "worker_id": worker, **record}
        # A key that is none of its own may be one of another kind, with a letter changed.
        # And the name of a study is compared with what its runs folder says.
        if (
            kind not in (DISCARD, CREATE_STUDY)
            and record.keys() <= KEYS[kind]
            and not _flaw(json.dumps(candidate).encode())
        ):
            return candidate
    return None


def _kind(chunk: bytes) -> int | None:
    """Return the kind of a damaged record, by the keys that can still be read; None if they do not tell."""
    marks = {key: f'"{key}":'.encode() in chunk for key in _KEYS}
    said = _number(chunk, b"op_code")
    weight = 1.5 if _PREFIX.match(chunk) else 0.5  # it may be what was hurt
    scores: dict[int, float] = {}
    for kind, keys in KEYS.items():
        own = sum(present for key, present in marks.items() if key in keys)
        foreign = sum(present for key, present in marks.items() if key not in keys)
        scores[kind] = own - foreign + (weight if said == kind else 0.0)
    best = max(scores, key=lambda kind: scores[kind])
    alone = sum(score == scores[best] for score in scores.values()) == 1
    return best if scores[best] >= 1.5 and alone and best != DISCARD else None


def _number(chunk: bytes, key: bytes) -> int | None:
    found = re.search(_NUMBER % key, chunk)
    return int(found[1]) if found else None


def _json(pattern: re.Pattern[bytes], chunk: bytes) -> Any:
    found = pattern.search(chunk)
    if found is None:
        return None
    try:
        return json.loads(found[1])
    except ValueError:
        return None
