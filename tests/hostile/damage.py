"""Kinds of damage to files of a runs folder, each drawn by chance from a seed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpo import layout

# Owner of files that are not ours.
OTHER = 65534


@dataclass(frozen=True)
class Place:
    """A runs folder to be damaged, and the same as it was some trials earlier."""

    runs: Path
    earlier: Path
    chance: random.Random

    def others(self, path: Path) -> list[Path]:
        """Files of the same name that belong to other trials or studies."""
        return [other for other in sorted(self.runs.rglob(path.name)) if other != path and same_kind(other, path)]


def same_kind(one: Path, other: Path) -> bool:
    return one.is_dir() == other.is_dir()


# --- the content of a file


def flip_bit(place: Place, path: Path) -> str:
    content = bytearray(path.read_bytes())
    at, bit = place.chance.randrange(len(content)), place.chance.randrange(8)
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} flipped"


def flip_digit(place: Place, path: Path) -> str | None:
    """A number stays a number, and is another one."""
    content = bytearray(path.read_bytes())
    digits = [match.start() for match in re.finditer(rb"[0-9]", content)]
    if not digits:
        return None
    at = place.chance.choice(digits)
    before = content[at : at + 1]
    content[at : at + 1] = str((int(before) + place.chance.randint(1, 9)) % 10).encode()
    path.write_bytes(content)
    around = bytes(content[max(0, at - 40) : at + 20])
    return f"digit {before.decode()} of byte {at} is {chr(content[at])} now, in {around!r}"


def flip_digit_of_a_metric(place: Place, path: Path) -> str | None:
    """As `flip_digit`, in a number that has many digits: no step, no time, no state."""
    content = bytearray(path.read_bytes())
    numbers = [match.span() for match in re.finditer(rb"(?<=[:\[,])-?\d\.\d{6,}(?:e-?\d+)?", content)]
    if not numbers:
        return None
    start, end = place.chance.choice(numbers)
    before = bytes(content[start:end])
    digits = [k for k in range(start, min(start + 6, end)) if content[k : k + 1].isdigit()]
    at = place.chance.choice(digits)
    content[at : at + 1] = str((int(content[at : at + 1]) + place.chance.randint(1, 9)) % 10).encode()
    path.write_bytes(content)
    around = bytes(content[max(0, start - 60) : start])
    return f"{before.decode()} is {bytes(content[start:end]).decode()} now, after {around!r}"


def flip_bytes(place: Place, path: Path) -> str:
    content = bytearray(path.read_bytes())
    places = [place.chance.randrange(len(content)) for _ in range(place.chance.randint(2, 20))]
    for at in places:
        content[at] = place.chance.randrange(256)
    path.write_bytes(content)
    return f"bytes {sorted(places)} overwritten"


def cut(place: Place, path: Path) -> str:
    size = place.chance.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"cut to {size} bytes"


def cut_line_end(place: Place, path: Path) -> str:
    content = path.read_bytes()
    os.truncate(path, len(content) - 1)
    return "cut by 1 byte"


def zeros(place: Place, path: Path) -> str:
    """As a file system leaves that lost a block."""
    content = bytearray(path.read_bytes())
    start = place.chance.randrange(len(content))
    end = min(len(content), start + place.chance.choice([1, 16, 512, 4096]))
    content[start:end] = bytes(end - start)
    path.write_bytes(content)
    return f"bytes {start} to {end} are zero"


def garbage_tail(place: Place, path: Path) -> str:
    tail = place.chance.randbytes(place.chance.randint(1, 200))
    with path.open("ab") as file:
        file.write(tail)
    return f"{len(tail)} random bytes appended"


def garbage(place: Place, path: Path) -> str:
    path.write_bytes(place.chance.randbytes(place.chance.randint(1, 5000)))
    return "random bytes instead"


def other_json(place: Place, path: Path) -> str:
    text = place.chance.choice(
        ["null", "[]", "{}", "7", '"text"', "[" * 5000, '{"a": ' * 5000, "1e999", "[null]\n{}\n"]
    )
    path.write_text(text)
    return f"{text[:20]} instead"


def emptied(place: Place, path: Path) -> str:
    path.write_bytes(b"")
    return "emptied"


def _lines_changed(change: Callable[[random.Random, list[bytes]], str]) -> Callable[[Place, Path], str | None]:
    def hurt(place: Place, path: Path) -> str | None:
        lines = path.read_bytes().splitlines(keepends=True)
        if len(lines) < 2:
            return None
        done = change(place.chance, lines)
        path.write_bytes(b"".join(lines))
        return done

    return hurt


def _drop(chance: random.Random, lines: list[bytes]) -> str:
    at = chance.randrange(len(lines))
    lost = lines.pop(at)
    return f"line {at + 1} dropped: {lost[:120]!r}"


def _double(chance: random.Random, lines: list[bytes]) -> str:
    at = chance.randrange(len(lines))
    lines.insert(at, lines[at])
    return f"line {at + 1} is there twice: {lines[at][:120]!r}"


def _exchange(chance: random.Random, lines: list[bytes]) -> str:
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return f"lines {one + 1} and {other + 1} exchanged: {lines[one][:120]!r}, {lines[other][:120]!r}"


def _garble(chance: random.Random, lines: list[bytes]) -> str:
    at = chance.randrange(len(lines))
    before = lines[at]
    lines[at] = chance.choice(
        [b"garbage\n", b"\xff\xfe\n", b"null\n", b"{}\n", b"\n", before[: len(before) // 2] + b"\n"]
    )
    return f"line {at + 1} is {lines[at][:20]!r}: it was {before[:120]!r}"


def _join(chance: random.Random, lines: list[bytes]) -> str:
    at = chance.randrange(len(lines) - 1)
    lines[at] = lines[at][: chance.randrange(len(lines[at]))]
    return f"line {at + 1} is cut, and runs on with the next: {lines[at][-120:]!r}"


lines_dropped = _lines_changed(_drop)
lines_doubled = _lines_changed(_double)
lines_exchanged = _lines_changed(_exchange)
lines_garbled = _lines_changed(_garble)
lines_joined = _lines_changed(_join)


def row_altered(place: Place, path: Path) -> str | None:
    """A cell of a database holds something else, as whole as before."""
    with contextlib.closing(sqlite3.connect(path)) as base:
        table, column = place.chance.choice(
            [
                ("trial_values", "value"),
                ("trial_params", "param_value"),
                ("trial_intermediate_values", "intermediate_value"),
                ("trial_user_attributes", "value_json"),
                ("trial_system_attributes", "value_json"),
                ("study_user_attributes", "value_json"),
                ("trials", "state"),
                ("trials", "number"),
            ]
        )
        try:
            rows = base.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
        except sqlite3.Error:
            return None
        if not rows:
            return None
        rowid, before = place.chance.choice(rows)
        now = _altered(place.chance, before)
        with contextlib.suppress(sqlite3.IntegrityError):
            base.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (now, rowid))
        base.commit()
    return f"{table}.{column} of row {rowid} was {str(before)[:300]} and is {str(now)[:300]}"


def row_lost(place: Place, path: Path) -> str | None:
    with contextlib.closing(sqlite3.connect(path)) as base:
        tables = ["trials", "trial_values", "trial_params", "trial_intermediate_values", "trial_user_attributes"]
        table = place.chance.choice(tables)
        try:
            rows = base.execute(f"SELECT rowid, * FROM {table}").fetchall()
        except sqlite3.Error:
            return None
        if not rows:
            return None
        row = place.chance.choice(rows)
        base.execute(f"DELETE FROM {table} WHERE rowid = ?", (row[0],))
        base.commit()
    return f"row of {table} deleted: {str(row)[:300]}"


def _altered(chance: random.Random, value: object) -> object:
    if isinstance(value, float):
        return value + chance.choice([0.01, -0.25, 1.0])
    if isinstance(value, int):
        return value + chance.randint(1, 3)
    if value in ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"):
        return chance.choice(["RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"])
    text = str(value)
    digits = [k for k, letter in enumerate(text) if letter.isdigit()]
    if not digits:
        return text[: len(text) // 2]
    at = chance.choice(digits)
    return text[:at] + str((int(text[at]) + chance.randint(1, 9)) % 10) + text[at + 1 :]


# --- the file itself


def removed(place: Place, path: Path) -> str:
    _remove(path)
    return "removed"


def folder_instead(place: Place, path: Path) -> str:
    _remove(path)
    path.mkdir()
    if place.chance.random() < 0.5:
        (path / "file").write_text("x")
    return "a folder instead"


def fifo_instead(place: Place, path: Path) -> str:
    _remove(path)
    os.mkfifo(path)
    return "a FIFO instead"


def link_instead(place: Place, path: Path) -> str:
    """A link to nothing, to itself, or to something else: of this folder, for hpo may write there."""
    elsewhere = place.runs.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "file").write_text("of somebody else")
    target = place.chance.choice([elsewhere / "nothing", path, elsewhere, elsewhere / "file"])
    _remove(path)
    path.symlink_to(target)
    return f"a link to {target.relative_to(place.runs.parent)} instead"


def file_instead(place: Place, path: Path) -> str:
    _remove(path)
    path.write_text("file")
    return "a file instead"


def swapped(place: Place, path: Path) -> str | None:
    """As a restore that mixed up two trials, or two studies."""
    others = place.others(path)
    if not others:
        return None
    other = place.chance.choice(others)
    if other.is_relative_to(path) or path.is_relative_to(other):
        return None
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)
    return f"swapped with {other.relative_to(place.runs)}"


def from_another(place: Place, path: Path) -> str | None:
    others = place.others(path)
    if not others:
        return None
    other = place.chance.choice(others)
    if other.is_relative_to(path) or path.is_relative_to(other):
        return None
    _remove(path)
    _copy(other, path)
    return f"replaced by a copy of {other.relative_to(place.runs)}"


def from_earlier(place: Place, path: Path) -> str | None:
    """As a restore from a backup of some trials earlier."""
    earlier = place.earlier / path.relative_to(place.runs)
    if not earlier.exists():
        return None
    _remove(path)
    _copy(earlier, path)
    return "replaced by what it was some trials earlier"


def unreadable(place: Place, path: Path) -> str:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    path.chmod(0o700 if path.is_dir() else 0o600)
    return "of another owner, who alone may read it"


def unwritable(place: Place, path: Path) -> str:
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    path.chmod(0o755 if path.is_dir() else 0o644)
    return "of another owner, who alone may write it"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


Hurt = Callable[[Place, Path], str | None]

ANY_FILE: tuple[Hurt, ...] = (
    flip_bit, flip_bytes, cut, cut_line_end, zeros, garbage_tail, garbage, other_json, emptied, removed,
    folder_instead, fifo_instead, link_instead, swapped, from_another, from_earlier, unreadable, unwritable,
)  # fmt: skip
TEXT: tuple[Hurt, ...] = (
    flip_digit, flip_digit_of_a_metric, lines_dropped, lines_doubled, lines_exchanged, lines_garbled, lines_joined,
)  # fmt: skip
DATABASE: tuple[Hurt, ...] = (row_altered, row_altered, row_altered, row_lost)
FOLDER: tuple[Hurt, ...] = (
    removed, fifo_instead, link_instead, file_instead, swapped, from_another, from_earlier, unreadable, unwritable,
)  # fmt: skip
FOREIGN = (unreadable, unwritable)


@dataclass(frozen=True)
class Damage:
    """What was done to which file or folder; `path` counts from the runs folder."""

    kind: str
    path: Path
    said: str

    def __str__(self) -> str:
        return f"{self.path}: {self.said}"


def damage(place: Place, foreign: bool) -> Damage:
    """Damage one file or folder, drawn by chance. foreign: other owners may come too, whom root does not mind."""
    while True:
        path = place.chance.choice(place.chance.choice(list(_by_name(place.runs).values())))
        foreign_one = foreign and place.chance.random() < 0.5
        hurt = place.chance.choice([kind for kind in _kinds(path) if (kind in FOREIGN) == foreign_one])
        if path.is_file() and path.stat().st_size == 0:
            continue
        said = hurt(place, path)
        if said is not None:
            return Damage(
                hurt.__name__ if hurt.__name__ != "hurt" else _name_of(hurt), path.relative_to(place.runs), said
            )


def _kinds(path: Path) -> tuple[Hurt, ...]:
    if path.is_dir():
        return FOLDER
    if path.suffix == ".db":
        return ANY_FILE + DATABASE
    if path.suffix in (".log", ".jsonl", ".json", ".yaml", ".txt", ".md", ".lock"):
        return ANY_FILE + TEXT
    return ANY_FILE


def _name_of(hurt: Hurt) -> str:
    return next(name for name, value in globals().items() if value is hurt)


# Of these more come to harm: what a study cannot be without.
_OFTEN = {layout.JOURNAL: 4, "study.db": 4, layout.HISTORY: 4, layout.CHECKPOINT: 3, layout.SPEC: 2, layout.OWNER: 2}


def _by_name(runs: Path) -> dict[str, list[Path]]:
    """Files and folders by what they are, each as often as it is to be drawn."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_below(runs)):
        kind = "a trial's folder" if path.is_dir() and path.name.isdecimal() else path.name
        found.setdefault(kind, []).append(path)
    return {f"{kind} {k}": paths for kind, paths in found.items() for k in range(_OFTEN.get(kind, 1))}


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        if path.name.endswith((".flock", "-wal", "-shm")) or path.name == layout.MLFLOW_ARTIFACTS:
            continue
        yield path
        if path.is_dir():
            yield from _below(path)


def jobs_line() -> str:
    """A line of the list of a study's jobs."""
    job = {"queue": "slurm", "id": "17", "submitted": 1.0, "script": "/nowhere.sh", "command": ""}
    return json.dumps(job) + "\n"
