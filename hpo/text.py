"""Values, lists and errors as messages write them, and passwords kept out."""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus, unquote_plus

Scalar = str | int | float | bool | None

# Where a URL begins, and its user: all up to the first colon, an `@` too. A host in brackets is no user.
_URL_WITH_USER = re.compile(r"(?<![\w+.:@/%-])([A-Za-z][\w+.:-]*)://(?!\[)([^\s:/]*):")
_PORT = re.compile(r"\d+(?:[/?#\s]|[^\w\s@]*(?:\s|$))")
_QUERY = re.compile(r"[?&#](?=[\w.-]+=)")
# A query, without the punctuation of the sentence that it ends in.
_QUERY_IN_TEXT = re.compile(r"""[?#][\w.%-]+=\S*?(?=[\'")>\],.;:]*(?:\s|$))""")
_PAIR = re.compile(r"([?&#])([^=&#]*)(=[^&#]*)?")
_SECRET = re.compile(
    r"[\w.-]*(?:password|passwd|passphrase|pwd|secret|token|signature|credentials?)|pass|sig|auth"
    r"|(?:[\w.-]*(?:api|access|private|account|auth|secret)[_-]?)?key",
    re.IGNORECASE,
)
# `password=x` of libpq's connection strings, and `PWD=x;` of ODBC's, in quotes or braces too.
_WORD = re.compile(
    r"""(?<![\w.?&#%-])(?:\w*(?:password|passwd)=(?:'(?:[^'\\]|\\.)*'|"[^"]*"|\{(?:[^}]|\}\})*\}|[^\s;&]*)[;]?"""
    r"|pwd=(?:\{(?:[^}]|\}\})*\}|[^;\n]*(?=;)|\S*);?)",
    re.IGNORECASE,
)
# Control characters but for tabs and line ends, and those that turn the direction of what follows.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
LONGEST_REASON = 300


def redact(text: str) -> str:
    """Remove the password of every URL and of every connection string in `text`.

    `scheme://user:secret@host?password=x` becomes `scheme://user@host`. That URL still opens where the client finds
    the password by itself. Tokens, keys and signatures in a query go too. URLs are read as SQLAlchemy and browsers do;
    where they disagree, or the URL is wrong, rather more is removed than less.
    """
    if "=" not in text and "://" not in text:
        return text
    return _WORD.sub("", _QUERY_IN_TEXT.sub(_without_secrets, _without_passwords(text)))


def _without_passwords(text: str) -> str:
    kept, position = [], 0
    while found := _URL_WITH_USER.search(text, position):
        kept.append(text[position : found.end() - 1])
        rest = text[found.end() :].partition("\n")[0]
        position = found.end() - 1 + _length_of_password(found[1], rest, alone=found.start() == 0)
    return "".join([*kept, text[position:]])


def _length_of_password(scheme: str, rest: str, alone: bool) -> int:
    """Return the length of `:password`, 0 if it is a port or nothing.

    Args:
        scheme: that of the URL.
        rest: the line after `scheme://user:`.
        alone: the text begins with the URL, so that it is hardly a sentence.
    """
    word = rest.split(maxsplit=1)[0] if rest.strip() and not rest[0].isspace() else ""
    place = _QUERY.split(word, maxsplit=1)[0]
    if port := _PORT.match(rest):
        possible = rest if alone and port[0][-1:].isspace() else place
        if scheme.lower().startswith("http") or "@" not in possible:
            return 0
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority[len(place) :]:  # it holds spaces, perhaps behind an @
        return 1 + authority.rindex("@")
    if "@" in place:
        return 1 + place.rindex("@")
    if "@" in word:
        return 1 + word.rindex("@")
    if "@" in rest and "://" not in rest[: rest.index("@")]:  # it holds spaces
        after = rest[rest.index("@") :].split(maxsplit=1)[0]
        return 1 + rest.index("@") + after.rindex("@")
    return 1 + len(word) if word.endswith("...") else 0  # cut off within the password


def _without_secrets(query: re.Match[str]) -> str:
    kept = ""
    for mark, name, value in _PAIR.findall(query[0]):
        if _SECRET.fullmatch(name):
            continue
        if "%" in value and (decoded := unquote_plus(value[1:])) != (cleaned := redact(decoded)):
            value = f"={quote_plus(cleaned)}"
        kept += (mark if kept or mark == "#" else query[0][0]) + name + value
    return kept


def nearest(word: object, options: Iterable[object], cutoff: float = 0.6) -> str:
    """Return ` Did you mean 'x'?` for the option spelled most like `word`, or an empty string if none is close."""
    match = nearest_name(word, options, cutoff)
    return f" Did you mean '{match}'?" if match else ""


def nearest_name(word: object, options: Iterable[object], cutoff: float = 0.6) -> str:
    """Return the option spelled most like `word`, or an empty string if none is close.

    The only option that begins with the word is the closest: `max` for `maximize`.

    Args:
        word: What was given.
        options: What there is.
        cutoff: Least similarity by `difflib`, 0 to 1.
    """
    names = [str(option) for option in options]
    begun = [name for name in names if len(str(word)) >= 3 and name.startswith(str(word))]
    if len(begun) == 1:
        return begun[0]
    return next(iter(difflib.get_close_matches(str(word), names, n=1, cutoff=cutoff)), "")


def printable(text: str) -> str:
    """Return text that every file and database takes: lone surrogates and control characters become escapes."""
    encodable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", encodable)


def presentable(text: str) -> str:
    """Return `printable(text)` without passwords: the form in which a text reaches a terminal, a log or a report."""
    return printable(redact(text))


def printable_json(text: str) -> str:
    """Return a JSON document whose control characters, which stand in its strings alone, are JSON's escapes."""
    return re.sub(rf"(?!\n)(?:{_CONTROL.pattern}|[\ud800-\udfff])", lambda found: f"\\u{ord(found[0]):04x}", text)


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


def count(n: int, noun: str) -> str:
    """Return `1 trial` or `3 trials`, in English; what a report shows is counted by `trn`."""
    return f"{n} {noun if n == 1 else noun + 's'}"


def label(choice: Scalar) -> str:
    """Return a choice as it is written in Optuna's parameter names."""
    return choice if isinstance(choice, str) else _written(choice)


def show(value: Any) -> str:
    """Return a value as YAML writes it, cut to 60 characters; small and large numbers as 5e-4 and 1e20."""
    return exact(value) if isinstance(value, float) else _written(value)


def exact(value: float) -> str:
    """Return a float with all its digits, in the form in which reports round it: 0.001, 5e-4, 1e20."""
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e16:
        return repr(value)
    return f"{Decimal(repr(value)):e}".replace("e+", "e")


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = value if isinstance(value, str) and value.strip() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def quote(value: Any) -> str:
    """Return `show(value)`, with quotes around text: the form in which messages repeat what was given."""
    return f"'{show(value)}'" if isinstance(value, str) else show(value)
