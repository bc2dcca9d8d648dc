"""Values, lists and errors as messages write them, and passwords kept out."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable
from typing import Any

Scalar = str | int | float | bool | None

# `://user:` not followed by a port. The password goes to the last @, as it may hold one itself. With \b a long word is
# tried once, not from each of its letters.
_PASSWORD = re.compile(r"(\b\w+://[^\s:/@]*):(?!\d*(?:[/?\s]|$))\S*@")
_OPTION = re.compile(r"([?&])(?:sslpassword|password|passwd)=[^&\s]*&?")
_NO_OPTION_LEFT = re.compile(r"[?&](?=\s|$)")
# Control characters but for tabs and line ends, and those that turn the direction of what follows.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
LONGEST_REASON = 300


def redact(text: str) -> str:
    """Remove the password of every URL in `text`.

    `scheme://user:secret@host?password=x` becomes `scheme://user@host`. That URL still opens where the client finds
    the password by itself.
    """
    text = _OPTION.sub(r"\1", _PASSWORD.sub(r"\1@", text))
    return _NO_OPTION_LEFT.sub("", text)


def nearest(word: object, options: Iterable[object]) -> str:
    """Return ` Did you mean 'x'?` for the option spelled most like `word`, or an empty string if none is close."""
    names = [str(option) for option in options]
    match = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    return f" Did you mean '{match[0]}'?" if match else ""


def printable(text: str) -> str:
    """Return text that every file and database takes: lone surrogates and control characters become escapes."""
    encodable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", encodable)


def printable_line(text: str) -> str:
    """Return `printable(text)` with tabs and line ends as escapes too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def cut(text: str, limit: int) -> str:
    """Return a text cut to `limit` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def brief(value: object) -> str:
    """Return the repr of a value in one short line, whatever its size and whatever its `__repr__` does."""
    try:
        shown = reprlib.repr(value)
    except BaseException as error:  # it may even raise SystemExit
        shown = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return cut(printable(" ".join(shown.split())), 120)


def message_of(error: object) -> str:
    """Return `str(error)`, or a sentence if that raises."""
    try:
        return str(error)
    except BaseException as second:  # it may even raise SystemExit
        return f"its message cannot be read: that raises {type(second).__name__}"


def one_line(error: BaseException) -> str:
    """Return the message of an error without line ends, or `no message` if it has none."""
    return " ".join(message_of(error).split()) or "no message"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without passwords, or the error's class if it has no message."""
    lines = redact(message_of(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def listing(options: Iterable[object], limit: int = 12) -> str:
    """Return `a, b, c`, cut after `limit` entries."""
    names = [str(option) for option in options]
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names)} in all)"


def label(choice: Scalar) -> str:
    """Return a choice as it is written in Optuna's parameter names."""
    return choice if isinstance(choice, str) else show(choice)


def show(value: Any) -> str:
    """Return a value as YAML writes it, cut to 60 characters."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = value if isinstance(value, str) and value.strip() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def quote(value: Any) -> str:
    """Return `show(value)`, with quotes around text: the form in which messages repeat what was given."""
    return f"'{show(value)}'" if isinstance(value, str) else show(value)
