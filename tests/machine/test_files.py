"""Reading of files that something else may have replaced."""

import os
import socket
from pathlib import Path

import pytest

from hpo.machine.files import NotPlainError, parse_json, read_json, read_plain


def bind(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a named pipe"),
        (Path.mkdir, "a folder"),
        (bind, "a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
        (lambda path: path.symlink_to(path), "a link"),
    ],
)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    path = Path("odd")
    make(path)
    with pytest.raises(NotPlainError, match=f"it is {kind}, expected a plain file"):
        read_plain(path)


def test_the_null_device_is_an_empty_file():
    assert read_plain(os.devnull) == b""


def test_a_file_larger_than_expected_is_refused_unread(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(NotPlainError, match=f"it has {2**40} bytes, expected at most {2**30}"):
        read_plain(path)


def test_links_are_followed_unless_they_are_not_wanted(tmp_path):
    (tmp_path / "file").write_text("1")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    assert read_json(tmp_path / "link") == 1
    with pytest.raises(NotPlainError, match="a link"):
        read_json(tmp_path / "link", links=False)
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "dangling")
    with pytest.raises(OSError, match="null"):
        read_plain(f"{tmp_path}/a\0b")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, b"\xff\xfe", "9" * 5000, ""])
def test_json_that_cannot_be_read_is_one_kind_of_error(text):
    with pytest.raises(ValueError, match=r"JSON|nested|decode|digits|Expecting"):
        parse_json(text)
