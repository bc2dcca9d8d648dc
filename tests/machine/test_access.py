"""Who may not use a file, and why, as a sentence."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from other_user import as_other_user, as_root

from hpo.errors import AccessDenied
from hpo.machine.access import denial, is_denied, may_write, name_of, require_write, told_denials, why_denied


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hpo-access-", dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@as_root
def test_the_obstacle_is_what_is_named(place: Path) -> None:
    (place / "closed" / "in").mkdir(parents=True)
    (place / "closed").chmod(0o700)
    (place / "open").mkdir(mode=0o755)
    (place / "open" / "file").touch(mode=0o640)
    (place / "open" / "link").symlink_to(place / "closed" / "in")
    (place / "own").mkdir(mode=0o777)
    (place / "own").chmod(0o1777)

    def call() -> int:
        def obstacle(path: str) -> str:
            assert not may_write(place / path)
            with pytest.raises(AccessDenied, match=r"^it is so: "):
                require_write(place / path, "it is so")
            why = why_denied(place / path)
            assert why.endswith(", and you are nobody")
            return why.removeprefix(f"{place}/").partition(" belongs to ")[0]

        assert obstacle("closed") == "closed"
        assert obstacle("closed/in/new") == "closed"
        assert obstacle("open") == "open"
        assert obstacle("open/new/er") == "open"
        assert obstacle("open/file") == "open/file"
        assert obstacle("open/file/below") == "open/file"
        assert not may_write(place / "open" / "link")
        assert may_write(place / "own" / "new" / "er")
        assert why_denied(place / "open" / "file").partition(" belongs to ")[2].startswith("root (mode 640)")
        with pytest.raises(AccessDenied, match=r"open/file cannot be used: .* belongs to root"), told_denials():
            (place / "open" / "file").read_text()
        return 0

    as_other_user(place / "own", lambda: 0)
    said = as_other_user(place / "own", call)
    assert said.code == 0, said.err


def test_other_errors_pass() -> None:
    assert not is_denied(FileNotFoundError(errno.ENOENT, "no such file"))
    assert not is_denied(ValueError())
    with pytest.raises(FileNotFoundError), told_denials():
        Path("/nowhere").read_text()
    assert str(denial(PermissionError(errno.EACCES, "Permission denied"))) == "Permission denied"


def test_who_has_no_name_has_a_number() -> None:
    assert name_of(os.getuid())
    assert name_of(3_999_999_999) == "user 3999999999"
