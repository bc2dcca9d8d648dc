"""The language a report is written in. Texts are English in the source; `languages/` has one catalogue a
further language (gettext's PO, extracted and kept up to date with Babel: `make messages`).

`tr` and `trn` translate into the language of the running `with language(...)` block, so that a figure, a
table and a sentence made within it agree. What the user named (metrics, parameters, causes in a log) is
never translated: it goes into a text as a value."""

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
# What stands between two sentences.
_BETWEEN = {ENGLISH: " ", "zh-TW": ""}
VARIABLE = "HPO_LANG"

_current: ContextVar[str] = ContextVar("language", default=ENGLISH)


def current() -> str:
    """A key of LANGUAGES."""
    return _current.get()


def chosen(given: str | None = None) -> str:
    """The language given, else $HPO_LANG, else English; `zh_tw` means `zh-TW`. Raises
    LanguageError for any other."""
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
    """Within the block, texts are in `code`, a key of LANGUAGES."""
    token = _current.set(code)
    try:
        yield
    finally:
        _current.reset(token)


def tr(message: str, /, **values: Any) -> str:
    """`message`, which must be a literal, translated; then each `{name}` in it replaced by its value."""
    return _translated(message, message, 1).format(**values)


def trn(singular: str, plural: str, n: int, /, **values: Any) -> str:
    """The message for `n` things; `{n}` in it is that number, with separators of thousands."""
    return _translated(singular, plural, n).format(n=whole(n), **values)


def mark(message: str) -> str:
    """`message` itself: tells the extraction that a constant will be given to `tr` where it is shown."""
    return message


def sentences(texts: Iterable[str]) -> str:
    """Those that are not empty, one after the other."""
    return _BETWEEN[current()].join(text for text in texts if text)


def file_stem(stem: str) -> str:
    """`report`, or `report.zh-TW` in that language: files of several languages lie side by side."""
    return stem if current() == ENGLISH else f"{stem}.{current()}"


def whole(n: int) -> str:
    """`12,345`, as the language groups its digits."""
    if -10_000 < n < 10_000:
        return str(n)
    from babel.numbers import format_decimal

    return str(format_decimal(n, locale=LANGUAGES[current()]))


def moment(when: datetime) -> str:
    """A date and a time to the minute, as the language writes them."""
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
    """The translations into `code`, any key of LANGUAGES but English."""
    from babel.messages.pofile import read_po

    with files("hpo.translation").joinpath(f"{LANGUAGES[code]}.po").open("rb") as file:
        return read_po(file, locale=LANGUAGES[code])
