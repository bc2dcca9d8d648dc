"""The language of a report, and the translation of its texts.

Texts are English in the source. Each further language has one catalogue beside this module: a PO file of gettext,
extracted and kept up to date with Babel by `make messages`.

`tr` and `trn` translate into the language of the running `with language(...)` block, so that a figure, a table and a
sentence that are made in it agree. A text without a translation stays English. What the user named (metrics,
parameters, causes in a log) is never translated: it goes into a text as a value.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hpo.errors import LanguageError

if TYPE_CHECKING:
    from babel.messages import Catalog

ENGLISH = "en"
# As `--lang` takes it, and as HTML and Babel spell it.
LANGUAGES = {ENGLISH: "en", "zh-TW": "zh_Hant_TW"}
# Text between two sentences.
_BETWEEN = {ENGLISH: " ", "zh-TW": ""}
VARIABLE = "HPO_LANG"

_current: ContextVar[str] = ContextVar("language", default=ENGLISH)


def current() -> str:
    """Return the language of the running block, a key of LANGUAGES."""
    return _current.get()


def chosen(given: str | None = None) -> str:
    """Return the language that is asked for: the given one, else $HPO_LANG, else English.

    Case and the separator do not count: `zh_tw` means `zh-TW`.

    Raises:
        LanguageError: If reports are not written in that language.
    """
    asked = given or os.environ.get(VARIABLE) or ENGLISH
    for known in LANGUAGES:
        if asked.replace("_", "-").lower() == known.lower():
            return known
    where = "--lang" if given else f"${VARIABLE}"
    near = difflib.get_close_matches(asked, LANGUAGES, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]}?" if near else ""
    expected = " or ".join(LANGUAGES)
    raise LanguageError(f"{where} is '{asked}', which reports are not written in: expected {expected}{hint}")


@contextmanager
def language(code: str) -> Iterator[None]:
    """Make texts in the block be in `code`, a key of LANGUAGES."""
    token = _current.set(code)
    try:
        yield
    finally:
        _current.reset(token)


def tr(message: str, /, **values: Any) -> str:
    """Return `message`, which must be a literal, translated, with each `{name}` in it replaced by its value."""
    return _translated(message, message, 1).format(**values)


def trn(singular: str, plural: str, n: int, /, **values: Any) -> str:
    """Return the message for `n` things; `{n}` in it is that number, with separators of thousands."""
    return _translated(singular, plural, n).format(n=whole(n), **values)


def mark(message: str) -> str:
    """Return `message` itself.

    It tells the extraction that a constant will be given to `tr` where it is shown.
    """
    return message


def sentences(texts: Iterable[str]) -> str:
    """Join sentences as the language does, without the empty ones."""
    return _BETWEEN[current()].join(text for text in texts if text)


def file_stem(stem: str) -> str:
    """Return `report`, or `report.zh-TW` in that language: files of several languages lie side by side."""
    return stem if current() == ENGLISH else f"{stem}.{current()}"


def whole(n: int) -> str:
    """Return a whole number with its digits grouped as the language does: `12,345`."""
    if -10_000 < n < 10_000:
        return str(n)
    from babel.numbers import format_decimal

    return str(format_decimal(n, locale=LANGUAGES[current()]))


def moment(when: datetime) -> str:
    """Return a date and a time to the minute, as the language writes them."""
    from babel.dates import format_datetime

    # The pattern is Unicode's (UTS 35).
    return str(format_datetime(when, tr("d MMMM y, HH:mm"), locale=LANGUAGES[current()]))


def _translated(singular: str, plural: str, n: int) -> str:
    if current() == ENGLISH:
        return singular if n == 1 else plural
    found = catalogue(current()).get(singular)
    text = found.string if found is not None else ""
    # Languages without a plural have one form, and so has a message without a number.
    form = text if isinstance(text, str) else text[min(n != 1, len(text) - 1)]
    return form or (singular if n == 1 else plural)


@cache
def catalogue(code: str) -> Catalog:
    """Return the translations into `code`, any key of LANGUAGES but English."""
    from babel.messages.pofile import read_po

    with files("hpo.translation").joinpath(f"{LANGUAGES[code]}.po").open("rb") as file:
        return read_po(file, locale=LANGUAGES[code])
