"""Checkpoint of a trial: a pickle, and after it a line with its SHA-256 and its lineage.

The lineage says which trial of which study the state is of. The digest covers both, so that a damaged file and one of
another trial are noticed. It is no signature: who may write the file can write the line too.

To unpickle may run any code. Plain data (numbers, text, bytes, lists, dicts, sets) are read without any. All else is
unpickled only if nobody but this user could write the file.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pickle
import pwd
import re
import stat
import urllib.parse
from pathlib import Path
from typing import IO, Any

from hpo.errors import CheckpointRefused
from hpo.machine.files import NotPlainError, open_plain, replacement
from hpo.text import one_line

# The line stands after the pickle, where a reader of pickles does not look: versions of hpo without it read the file.
_LINE = re.compile(rb"\nhpo checkpoint: sha256 ([0-9a-f]{64}), lineage (\S*)\n\Z")
_LONGEST_LINE = 4096
_BLOCK = 2**20
# Nobody but the owner may write a checkpoint, whatever the umask.
_MODE = 0o644


def write_checkpoint(path: Path, state: Any, lineage: str) -> None:
    """Write a state, or replace the file as a whole.

    Args:
        path: the file.
        state: anything that can be pickled.
        lineage: the study and the trial that the state is of; empty if they have no names.
    """
    with replacement(path, _MODE) as file:
        hashing = _Hashing(file)
        pickle.dump(state, hashing, protocol=pickle.HIGHEST_PROTOCOL)
        quoted = urllib.parse.quote(lineage, safe=":").encode()
        hashing.digest.update(quoted)
        file.write(b"\nhpo checkpoint: sha256 %b, lineage %b\n" % (hashing.digest.hexdigest().encode(), quoted))


def read_checkpoint(path: Path, lineage: str) -> Any:
    """Return the state in a file.

    Args:
        path: the file.
        lineage: the study and the trial whose state is expected; empty: of any.

    Raises:
        CheckpointRefused: the file is damaged, of another trial, or not safe to unpickle; the message says why.
    """
    try:
        file = _opened(path)
    except PermissionError:
        raise CheckpointRefused(f"{path} may not be read") from None
    with file:
        found = _verified_lineage(path, file)
        if lineage and found not in (None, lineage):
            raise CheckpointRefused(f"{path} is of another trial or study")
        try:
            return PlainUnpickler(_rewound(file)).load()
        except _NotPlain:
            doubt = _who_else_may_write(path, file)
        except Exception as error:
            if found is not None:
                raise  # the file is as it was written: the memory is full, say
            raise CheckpointRefused(f"{path} is damaged: {one_line(error)}") from error
        if doubt:
            raise CheckpointRefused(
                f"{path} holds objects, which running code restores, and {doubt}; `chmod go-w` and `chown` make it "
                "yours alone if you trust it"
            )
        return pickle.load(_rewound(file))


def check_checkpoint(path: Path) -> None:
    """Look whether a file is whole, without unpickling it.

    Raises:
        CheckpointRefused: it is cut off or damaged; the message says which.
    """
    with _opened(path) as file:
        _verified_lineage(path, file)


class _Hashing:
    """A file that computes the SHA-256 of what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


class _NotPlain(Exception):
    """The pickle names classes or functions."""


class PlainUnpickler(pickle.Unpickler):
    """Reader of pickles that call nothing: of numbers, texts, bytes, lists, tuples, dicts and sets."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Refuse whatever is no plain data."""
        raise _NotPlain(f"{module_name}.{global_name}")


def _opened(path: Path) -> IO[bytes]:
    try:
        return open_plain(path)
    except NotPlainError:  # a pipe, say, of which the end never comes
        raise CheckpointRefused(f"{path} is not a file") from None


def _verified_lineage(path: Path, file: IO[bytes]) -> str | None:
    """Return the lineage of a file, None if it has no line, as those of earlier versions of hpo."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_LINE))
    tail = file.read()
    line = _LINE.search(tail)
    end = size - len(line[0]) if line else size
    if not tail[: len(tail) - (size - end)].endswith(pickle.STOP):
        raise CheckpointRefused(f"{path} is cut off or damaged")
    if line is None:
        return None
    file.seek(0)
    digest, left = hashlib.sha256(), end
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    digest.update(line[2])
    if digest.hexdigest().encode() != line[1]:
        raise CheckpointRefused(f"{path} is damaged: its SHA-256 is not the one that was written with it")
    return urllib.parse.unquote(line[2].decode("ascii", "replace"))


def _rewound(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    return file


def _who_else_may_write(path: Path, file: IO[bytes]) -> str:
    """Return a clause that says who but this user could have written the file; empty if nobody."""
    for place, facts in ((path, os.fstat(file.fileno())), (path.parent, path.parent.stat())):
        if facts.st_uid not in (os.geteuid(), 0):
            return f"{place} belongs to {_user(facts.st_uid)}"
        if facts.st_mode & stat.S_IWOTH:
            return f"everybody may write {place}"
        if facts.st_mode & stat.S_IWGRP and not _is_private(facts.st_gid):
            return f"the group {_group(facts.st_gid)} may write {place}"
    return ""


def _is_private(gid: int) -> bool:
    """Return True if a group is this user's own, as most systems make one for each user: nobody else is in it."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _user(uid: int) -> str:
    try:
        return f"the user '{pwd.getpwuid(uid).pw_name}'"
    except KeyError:
        return f"another user (uid {uid})"


def _group(gid: int) -> str:
    try:
        return f"'{grp.getgrgid(gid).gr_name}'"
    except KeyError:
        return f"of gid {gid}"
