"""Repair of a journal: each damaged record is replaced by a harmless one of its kind, so that ids stay as they were.

Optuna numbers studies and trials by the order of the records that create them. What a damaged record was follows from
its readable rest, and from the records after it: they name studies and trials that nothing else creates.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from hpo.doctor.journal_pieces import DOCTOR, Piece
from hpo.oracle.recovery import outcome_note
from hpo.storage.journal_records import (
    CREATE_STUDY,
    CREATE_TRIAL,
    DELETE_STUDY,
    KINDS,
    STUDY_SYSTEM_ATTR,
    STUDY_USER_ATTR,
    TRIAL_USER_ATTR,
    Record,
)
from hpo.storage.trial_attributes import OUTCOME
from hpo.text import show
from hpo.trial import LOST, Outcome

# So many records must name what nothing creates before the line that created it counts as removed, among so many that
# follow: one record alone may be what is wrong. So many lines, at most, are taken as removed at one place.
_WITNESSES, _WINDOW, _MOST_REMOVED = 2, 1000, 3
_FAILED = 3
_NOTE = "hpo:lost"


@dataclass(frozen=True)
class KnownStudy:
    """A study that a runs folder has in this journal: its name, its directions (as Optuna writes them), its identity.

    The identity is the value of the attribute `IDENTITY`.
    """

    name: str
    directions: list[int]
    identity: object


@dataclass
class Loss:
    """A place of a journal at which something is lost.

    Attributes:
        line: the number of the line that is damaged, or before which one was removed.
        why: why it is damaged; empty of a line that was removed.
        was: what it was, as far as can be told.
        done: what is written there, a clause in the imperative.
        records: what is written there.
    """

    line: int
    why: str
    was: str
    done: str
    records: list[Record] = field(default_factory=list)


@dataclass
class _Creation:
    """A creation of a study or a trial that is lost, in the damaged piece `hint` or in a line that was removed."""

    kind: int
    hint: Piece | None
    name: str = ""


class _Studies:
    """Studies and trials as Optuna numbers them, while the records of a journal pass by."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}  # of those that are not deleted
        self.count = 0
        self.trials: list[tuple[int, int]] = []  # study and number of each
        self._numbers: Counter[int] = Counter()

    def create(self, name: str) -> None:
        if self.number_of(name) is None:
            self.names[self.count] = name
            self.count += 1

    def number_of(self, name: str) -> int | None:
        return next((study for study, its in self.names.items() if its == name), None)

    def delete(self, study: int) -> None:
        self.names.pop(study, None)

    def create_trial(self, study: int) -> None:
        if study in self.names:
            self.trials.append((study, self._numbers[study]))
            self._numbers[study] += 1

    def study_of(self, trial: int | None) -> int | None:
        return self.trials[trial][0] if trial is not None and 0 <= trial < len(self.trials) else None

    def apply(self, piece: Piece) -> None:
        if piece.kind == CREATE_STUDY and piece.name is not None:
            self.create(piece.name)
        elif piece.kind == DELETE_STUDY and piece.study is not None:
            self.delete(piece.study)
        elif piece.kind == CREATE_TRIAL and piece.study is not None:
            self.create_trial(piece.study)


class _Holes:
    """Damaged pieces passed so far, with how many lost records of unknown kinds each has room for."""

    def __init__(self) -> None:
        self._open: list[list[int]] = []
        self._total = 0

    def add(self, at: int, room: int) -> None:
        if room > 0:
            self._open.append([at, room])
            self._total += room

    def take(self, number: int) -> list[int]:
        """Return the holes of so many records, the latest ones in their order; none if there is not so much room."""
        if not 0 < number <= self._total:
            return []
        taken: list[int] = []
        while len(taken) < number:
            hole = self._open[-1]
            here = min(hole[1], number - len(taken))
            taken += [hole[0]] * here
            hole[1] -= here
            if not hole[1]:
                self._open.pop()
        self._total -= number
        return taken[::-1]


class Repair:
    """Repair of a journal, as it follows from its pieces.

    Args:
        pieces: those of the journal.
        known: the studies that a runs folder has in this journal.

    Attributes:
        losses: by the index of the piece that is damaged, or before which a line was removed; empty if it is whole.
    """

    def __init__(self, pieces: Sequence[Piece], known: Iterable[KnownStudy]) -> None:
        self._pieces = pieces
        self._known = list(known)
        self._creations: dict[int, list[_Creation]] = defaultdict(list)
        self._deletions: dict[int, list[int]] = defaultdict(list)
        self._following = _next_of_same_worker(pieces)
        self._study_of_worker = _studies_of_workers(pieces)
        self._created_names = {piece.name for piece in pieces if piece.whole and piece.kind == CREATE_STUDY}
        self._identities: dict[int | None, list[object]] = defaultdict(list)
        # A process that goes on with a study writes its creation once more, and then about it.
        self._names_again: dict[int | None, list[str]] = defaultdict(list)
        for at, piece in enumerate(pieces):
            if piece.identity is not None:
                self._identities[piece.study].append(piece.identity)
            if piece.kind == CREATE_STUDY and piece.name is not None:
                following = self._following.get(at)
                study = None if following is None else following.study
                its = self._study_of_worker.get(piece.worker or "", Counter())
                self._names_again[next(iter(its)) if study is None and len(its) == 1 else study].append(piece.name)
        self._writers = _writers_of_trials(pieces)
        while self._find_study():
            pass
        self._find_trials()
        self.losses = dict(self._describe())

    def content(self, old: memoryview) -> Iterator[bytes | memoryview]:
        """Yield the parts of the repaired journal.

        Args:
            old: the journal.
        """
        for at, piece in enumerate(self._pieces):
            if at in self.losses:
                for record in self.losses[at].records:
                    yield json.dumps(record, separators=(",", ":")).encode() + b"\n"
            if not piece.why:
                yield old[piece.start : piece.end]
                yield b"\n"

    # --- what is lost

    def _find_study(self) -> bool:
        """Find one more creation or deletion of a study that is lost. Return False if there is none."""
        now, holes, deletions = _Studies(), _Holes(), _Holes()
        for at, piece in enumerate(self._pieces):
            self._apply_lost_studies(at, now)
            if not piece.whole:
                used = len(self._creations[at]) + len(self._deletions[at])
                holes.add(at, max(piece.room, piece.kind == CREATE_STUDY) - used)
                deletions.add(at, max(piece.room, piece.kind == DELETE_STUDY) - used)
                continue
            named = -1 if piece.study is None else piece.study
            missing = named + 1 - now.count
            if piece.kind == CREATE_STUDY and piece.name is not None:
                # What the same process wrote next was about this study, or about an earlier one.
                following = self._following.get(at)
                named = -1 if following is None or following.study is None else following.study
                existing = now.number_of(piece.name)
                if existing is not None and named >= now.count and (taken := deletions.take(1)):
                    self._deletions[taken[0]].append(existing)
                    return True
                missing = named + (existing is not None) - now.count
            if missing > 0:
                taken = holes.take(missing) or self._removed(at, CREATE_STUDY, named, now.count, missing)
                for hole in taken:
                    self._creations[hole].append(_Creation(CREATE_STUDY, self._hint(hole, CREATE_STUDY)))
                if taken:
                    return True
            now.apply(piece)
        return False

    def _apply_lost_studies(self, at: int, now: _Studies) -> None:
        for creation in self._creations.get(at, ()):
            if creation.kind == CREATE_STUDY:
                creation.name = self._name_of(now.count, now.names.values(), creation.hint)
                now.create(creation.name)
        for study in self._deletions.get(at, ()):
            now.delete(study)

    def _find_trials(self) -> None:
        """Find the creations of trials that are lost."""
        now, holes = _Studies(), _Holes()
        for at, piece in enumerate(self._pieces):
            self._apply_lost_studies(at, now)
            taken: Iterable[int] = ()
            if not piece.whole:
                created = piece.kind == CREATE_TRIAL
                if created and piece.headless and at > 0 and not self._pieces[at - 1].whole:
                    holes.add(at, 1)
                    created = False
                holes.add(at, piece.room - len(self._creations.get(at, ())) - len(self._deletions.get(at, ())))
                # Optuna left out what was created in a study that had been deleted.
                deleted = piece.study is not None and piece.study < now.count and piece.study not in now.names
                taken = [at] if created and not deleted else ()
            else:
                named = -1 if piece.trial is None else piece.trial
                missing = named + 1 - len(now.trials)
                if piece.kind == CREATE_TRIAL and piece.plain:
                    # What the same process wrote next was about this trial, or about an earlier one.
                    following = self._following.get(at)
                    named = -1 if following is None or following.trial is None else following.trial
                    missing = named - len(now.trials)
                taken = holes.take(missing) or self._removed(at, CREATE_TRIAL, named, len(now.trials), missing)
            for hole in taken if now.names else ():
                self._creations[hole].append(_Creation(CREATE_TRIAL, self._hint(hole, CREATE_TRIAL)))
                now.trials.append((0, 0))  # only their number counts here
            if piece.whole:
                now.apply(piece)

    def _removed(self, at: int, kind: int, number: int, count: int, missing: int) -> list[int]:
        """Return `at`, once for each line that was removed before it, if several records say that lines were.

        Args:
            at: the first piece that says so.
            kind: what they created.
            number: the study or trial that is named before it is created.
            count: how many there are before `at`.
            missing: how many lines were removed.
        """
        witnesses = 0
        for piece in self._pieces[at : at + _WINDOW] if 0 < missing <= _MOST_REMOVED else ():
            count += piece.kind == kind
            if count > number:
                break
            witnesses += piece.whole and number == (piece.trial if kind == CREATE_TRIAL else piece.study)
        return [at] * missing if witnesses >= _WITNESSES else []

    def _hint(self, at: int, kind: int) -> Piece | None:
        """Return the piece whose readable rest is of the next creation that was lost there."""
        piece = self._pieces[at]
        first = all(creation.kind != kind for creation in self._creations.get(at, ()))
        return piece if first and not (piece.whole or piece.doubled) and piece.kind in (None, kind) else None

    def _name_of(self, study: int, taken: Iterable[str], hint: Piece | None) -> str:
        """Return the name of a study whose creation is lost."""
        taken = set(taken)
        free = [known for known in self._known if known.name not in taken]
        alike = [known.name for known in free if known.identity in self._identities[study]]
        again = [name for name in self._names_again[study] if name not in taken]
        own = [hint.name] if hint is not None and hint.name is not None and hint.name not in taken else []
        for names in (alike, own, again, [one.name for one in free if one.name not in self._created_names]):
            if len(set(names)) == 1:
                return names[0]
        return f"lost-study-{study}"

    def _directions_of(self, name: str, hint: Piece | None) -> list[int]:
        named = [known.directions for known in self._known if known.name == name]
        named += [hint.directions] if hint is not None and hint.directions is not None else []
        named += [piece.directions for piece in self._pieces if piece.name == name and piece.directions]
        return named[0] if named else [1]

    def _study_of_trial(self, at: int, trial: int, hint: Piece | None, now: _Studies) -> tuple[int | None, bool]:
        """Return the study of a trial whose creation is lost, or None, and whether that is sure."""
        if hint is not None and hint.study is not None and hint.study < now.count:
            return (hint.study, True) if hint.study in now.names else (None, True)
        writers = [hint.worker] if hint is not None and hint.worker is not None else []
        for writer in [*writers, *self._writers[trial]]:
            for study, _ in self._study_of_worker[writer].most_common():
                if study in now.names:
                    return study, True
        # A trial of which nothing is told was queued, most likely by who wrote the record before.
        for near in chain(reversed(range(at)), range(at, len(self._pieces))):
            piece = self._pieces[near]
            of = now.study_of(piece.trial) if piece.study is None else piece.study
            if of is not None and of in now.names:
                return of, False
        return max(now.names, default=None), False

    # --- what is written in its place

    def _describe(self) -> Iterator[tuple[int, Loss]]:
        now = _Studies()
        began = _now()
        for at, piece in enumerate(self._pieces):
            if piece.kind == CREATE_TRIAL and piece.started is not None:
                began = piece.started
            if piece.why or at in self._creations:
                yield at, self._loss(at, began, now)
            if piece.whole:
                now.apply(piece)

    def _loss(self, at: int, began: str, now: _Studies) -> Loss:
        """Return what is lost at a piece, and let `now` see what takes its place."""
        piece, creations, deletions = self._pieces[at], self._creations.get(at, ()), self._deletions.get(at, ())
        was = _what(piece, now, self._study_of_worker)
        records: list[Record] = []
        parts: list[str] = []
        for creation in creations:
            if creation.kind == CREATE_STUDY:
                directions = self._directions_of(creation.name, creation.hint)
                records.append(_record(CREATE_STUDY, study_name=creation.name, directions=directions))
                parts.append(f"create study {show(creation.name)} again")
                now.create(creation.name)
                continue
            trial = len(now.trials)
            study, sure = self._study_of_trial(at, trial, creation.hint, now)
            if study is None:
                continue
            now.create_trial(study)
            number = now.trials[-1][1]
            which = f"trial {number} of study {show(now.names[study])}" + (
                "" if sure else " (a guess: nothing tells of which study it was)"
            )
            started = (creation.hint and creation.hint.started) or began
            if self._writers[trial]:
                records.append(_record(CREATE_TRIAL, study_id=study, datetime_start=started))
                parts.append(f"create {which} again, to which later records belong")
            else:
                line = f"line {piece.line}" if piece.why else f"a line before line {piece.line}"
                records.append(_failed_trial(study, number, started, line))
                parts.append(f"put a failed trial in the place of {which}")
        for study in deletions:
            parts.append(f"delete study {show(now.names.get(study, study))} again")
            records.append(_record(DELETE_STUDY, study_id=study))
            now.delete(study)
        if piece.restored is not None:
            records.append(piece.restored)
            parts.append("write it as it was: nothing is lost")
        elif not records:
            of_study = piece.kind in (CREATE_STUDY, DELETE_STUDY, STUDY_USER_ATTR, STUDY_SYSTEM_ATTR)
            kind, key = (STUDY_USER_ATTR, "study_id") if of_study else (TRIAL_USER_ATTR, "trial_id")
            records.append(_record(kind, **{key: -1, "user_attr": {_NOTE: f"{was} (line {piece.line})"}}))
            parts.append("put a record in its place that changes nothing")
        return Loss(piece.line, piece.why, was, " and ".join(parts), records)


def _next_of_same_worker(pieces: Sequence[Piece]) -> dict[int, Piece]:
    """Return, by its index, what the process that wrote a piece wrote next."""
    following: dict[int, Piece] = {}
    last: dict[str, int] = {}
    for at, piece in enumerate(pieces):
        if not piece.whole or piece.worker is None or piece.worker == DOCTOR:
            continue
        if piece.worker in last:
            following[last[piece.worker]] = piece
        last[piece.worker] = at
    return following


def _writers_of_trials(pieces: Sequence[Piece]) -> Mapping[int, dict[str, None]]:
    """Return who wrote about each trial, in order."""
    found: dict[int, dict[str, None]] = defaultdict(dict)
    for piece in pieces:
        if piece.whole and piece.trial is not None and piece.worker is not None:
            found[piece.trial][piece.worker] = None
    return found


def _studies_of_workers(pieces: Sequence[Piece]) -> Mapping[str, Counter[int]]:
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for piece in pieces:
        if piece.whole and piece.kind == CREATE_TRIAL and piece.worker is not None and piece.study is not None:
            found[piece.worker][piece.study] += 1
    return found


def _what(piece: Piece, now: _Studies, study_of_worker: Mapping[str, Counter[int]]) -> str:
    """Return what a damaged piece was, in words."""
    if not piece.why:
        return "the creation of what later lines write about"
    if piece.doubled:
        return "the creation of a trial"
    if piece.kind is None:
        return "a record that cannot be recognized"
    words = KINDS[piece.kind]
    if piece.name is not None:
        return words.replace("a study", f"study {show(piece.name)}")
    if piece.study in now.names:
        whole = f"study {show(now.names[piece.study])}"
        return words.replace("a study", whole).replace("a trial", f"a trial of {whole}")
    if piece.trial is not None and 0 <= piece.trial < len(now.trials):
        study, number = now.trials[piece.trial]
        name = now.names.get(study)
        whole = f"trial {number} of " + ("a study that was deleted" if name is None else f"study {show(name)}")
        return words.replace("a trial", whole)
    for study, _ in study_of_worker[piece.worker or ""].most_common(1) if piece.worker in study_of_worker else ():
        if study in now.names:
            return words.replace("a trial", f"a trial of study {show(now.names[study])}")
    return words


def _record(kind: int, **keys: object) -> Record:
    return {"op_code": kind, "worker_id": DOCTOR, **keys}


def _failed_trial(study: int, number: int, started: str, line: str) -> Record:
    moment = datetime.fromisoformat(started)
    reason = f"its record in the journal was damaged ({line})"
    lost = Outcome(number, "FAIL", cause=LOST, reason=reason)
    return _record(
        CREATE_TRIAL, study_id=study, datetime_start=started, state=_FAILED, value=None, values=None,
        datetime_complete=started, distributions={}, params={},
        user_attrs={OUTCOME: outcome_note(lost, moment.timestamp(), requeued=False, gpu=0.0)}, system_attrs={},
        intermediate_values={},
    )  # fmt: skip


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds")
